"""The API of Sluice: start jobs, and see how they stand. No Airflow in here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from sluice_airflow.errors import SluiceError

TIMEOUT_SECONDS = (10, 60)
RETRIES = 5
_BUSY = (429, 500, 502, 503, 504)
_ENDED = {"done", "partly", "failed", "completed", "terminated", "canceled"}
_FAILED = {"partly", "failed", "terminated", "canceled"}


@dataclass(frozen=True)
class Progress:
    """How jobs stand, and those that they started."""

    running: tuple[str, ...]
    """Ids of jobs that have not ended."""
    summaries: tuple[Mapping[str, Any], ...]
    """Summaries of the jobs that have ended, with counts, as the API gives them."""
    failures: tuple[SluiceError, ...]
    """Why jobs have failed, one for each job."""

    @property
    def error(self) -> SluiceError | None:
        """One error for all failures; it may be retried if each of them may."""
        if not self.failures:
            return None
        retryable = all(failure.retryable for failure in self.failures)
        return SluiceError("; ".join(map(str, self.failures)), retryable=retryable)


class SluiceClient:
    """One app. *url* is that of its API, such as ``https://<app>.azurewebsites.net/api``; *key* is a function key.

    A busy or unreachable app is tried again, with growing pauses and as long as Retry-After says. Starting a job twice
    is safe: the app refuses the second one while the first runs.
    """

    def __init__(self, url: str, key: str, *, pause: float = 1.0) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1"):
            raise SluiceError(f"the key would be sent unencrypted to {url}; write https", retryable=False)
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["x-functions-key"] = key
        retry = Retry(
            RETRIES, status_forcelist=_BUSY, allowed_methods=None, backoff_factor=pause, raise_on_status=False
        )
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def run_feed(self, feed: str, body: Mapping[str, Any] | None = None) -> list[str]:
        """Sync a pull feed, or load what the exports container has of another. The ids of the jobs to wait for."""
        return self._start(f"feeds/{quote(feed, safe='')}/run", body)

    def run_system(self, system: str, feeds: Iterable[str] = ()) -> list[str]:
        """Sync the pull feeds of a system, or those named. The ids of the jobs to wait for."""
        named = {"feeds": ",".join(feeds)}
        return self._start(f"systems/{quote(system, safe='')}/run", None, named if named["feeds"] else None)

    def job(self, id: str) -> dict[str, Any]:
        """How one job stands, as the API gives it."""
        return self._send("GET", f"jobs/{quote(id, safe='')}")

    def progress(self, jobs: Sequence[str]) -> Progress:
        """How *jobs* stand, and all that they found: a search of the exports container starts jobs of its own."""
        running, summaries, failures = [], [], []
        wanted, known = list(jobs), set(jobs)
        while wanted:
            job = self.job(wanted.pop(0))
            found = [id for id in (job.get("progress") or {}).get("jobs", ()) if id not in known]
            wanted += found
            known |= {*found}
            if job["state"] not in _ENDED:
                running.append(job["job"])
            elif job["state"] in _FAILED:
                failures.append(failure(job))
            if job["state"] in _ENDED and job["summary"]:
                summaries.append(job["summary"])
        return Progress(tuple(running), tuple(summaries), tuple(failures))

    def _start(self, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str] | None = None) -> list[str]:
        return [job["job"] for job in self._send("POST", path, json=dict(body or {}), params=query)["jobs"]]

    def _send(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        """A redirect is not followed: the key would go along."""
        try:
            response = self._session.request(
                method, f"{self._url}/{path}", timeout=TIMEOUT_SECONDS, allow_redirects=False, **rest
            )
        except requests.RequestException as error:
            raise SluiceError(f"the app does not answer: {type(error).__name__}", retryable=True) from error
        if response.status_code not in (200, 202):
            raise SluiceError(_reason(response), retryable=response.status_code in (*_BUSY, 409))
        content: dict[str, Any] = response.json()
        return content


def failure(job: Mapping[str, Any]) -> SluiceError:
    """Why a job failed: the errors of its units, or why it was ended."""
    errors = [
        f"{unit.get('feed') or unit.get('place')}: {unit.get('error') or 'no error was recorded'}"
        for unit in job.get("units", ())
        if unit["status"] == "failed"
    ]
    reasons = errors or [job.get("reason") or "no error was recorded"]
    return SluiceError(f"job {job['job']} is {job['state']}: {'; '.join(reasons)}", retryable=bool(job["retryable"]))


def _reason(response: requests.Response) -> str:
    if response.status_code in (401, 403):
        return f"the app refuses the key ({response.status_code}); give a function key as password of the connection"
    try:
        reported = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        reported = "no reason is given"
    return f"the app answers {response.status_code}: {reported}"
