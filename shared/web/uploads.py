"""What may be done with files that people upload, for the API and the pages: each kept with who did it."""

from __future__ import annotations

import shlex
import tempfile

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError, DataError, RequestRefused
from shared.jobs.feed_state import FeedStates
from shared.jobs.request import Start
from shared.jobs.run_log import DocumentedRuns
from shared.jobs.uploads import (
    MOST_BYTES,
    Upload,
    link_of,
    load_upload,
    new_upload,
    try_upload,
    upload_of,
    write_content,
)
from shared.model import FeedName, to_text
from shared.pipeline.progress import Result
from shared.pipeline.replay import replay
from shared.pipeline.status import report_of
from shared.web import api
from shared.web.responses import Response

if TYPE_CHECKING:
    from shared.app import App

_MOST_REJECTS = 5_000_000
"""Bytes of corrected rejects that a request may load: it waits for the merge."""


def add(app: App, feed: str, name: str, content: bytes, *, full: bool, by: str) -> Upload:
    """Keep a file, or without *content* that somebody will write it to storage."""
    upload = new_upload(app, feed, name, full=full, by=by)
    if content:
        write_content(app, upload, content)
    api.keep_action(app, feed, "upload", by, upload.name)
    return upload


def start(app: App, upload: Upload, by: str) -> Start:
    """The job that loads an upload."""
    job = load_upload(app, upload)
    keep_load(app, upload, by)
    return job


def keep_load(app: App, upload: Upload, by: str) -> None:
    """Keep who had an upload loaded."""
    api.keep_action(app, upload.feed, "load", by, f"{upload.name}, {'full' if upload.full else 'delta'}")


def load_rejects(app: App, feed: str, name: str, content: bytes, by: str) -> list[Result]:
    """Load corrected rejects at once: a result for each run that rejected some of them. Their reports are kept.

    RequestRefused if the feed is paused, or if there are too many.
    """
    known = api.known(app, feed)
    if not content:
        raise RequestRefused(400, "the file is empty")
    if len(content) > _MOST_REJECTS:
        size, command = _MOST_REJECTS // 1_000_000, f"sluice rejects {shlex.quote(feed)} --replay FILE"
        raise RequestRefused(413, f"the file is larger than {size} MB: load it with `{command}`")
    if FeedStates(app.documents).paused(feed):
        raise RequestRefused(409, "the feed is paused: resume it first")
    resolved = app.resolved_where_possible([FeedName.parse(known).system])
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        path = Path(folder) / "rejects.csv"
        path.write_bytes(content)
        try:
            results = list(replay(resolved.runner, known, path))
        except (ConfigError, DataError) as error:
            raise RequestRefused(400, str(error).replace(f"{folder}/", "")) from error
    _report(app, results)
    api.keep_action(app, known, "replay", by, name)
    return results


def _report(app: App, results: list[Result]) -> None:
    log = DocumentedRuns(app.documents, app.now)
    for one in results:
        if one.run is not None:
            log.add(report_of(one.run, key=f"{to_text(app.now())}-{one.run.id}", destination=one.destination))
            if one.loaded:
                FeedStates(app.documents).record_data(one.run)


# -- the API


def created(app: App, query: Mapping[str, str], content: bytes) -> Response:
    """A file of a ``feed`` with a ``name``, ``full`` or not. Without content: where to write it."""
    if len(content) > MOST_BYTES:
        raise RequestRefused(
            413,
            f"the file is larger than {MOST_BYTES // 1_000_000} MB: send none, and write it to the link in the answer",
        )
    full = query.get("full", "").lower()
    if full not in ("", "true", "false"):
        raise RequestRefused(400, "full must be true or false")
    upload = add(app, query.get("feed", ""), query.get("name", ""), content, full=full == "true", by="the API")
    return Response(201, {"upload": upload.id, "feed": upload.feed, **({} if content else _link(app, upload))})


def acted(app: App, id: str, action: str) -> tuple[Response | None, list[Start]]:
    """Say anew where to write an upload, try it, or load it: the answer, or the job to start."""
    upload = upload_of(app.documents, id)
    if action == "link":
        return Response(200, {"upload": upload.id, "feed": upload.feed, **_link(app, upload)}), []
    if action == "check":
        return Response(200, {"upload": upload.id, "feed": upload.feed, **asdict(try_upload(app, upload))}), []
    return None, [start(app, upload, "the API")]


def _link(app: App, upload: Upload) -> dict[str, Any]:
    link = link_of(app, upload)
    if link is None:
        raise RequestRefused(409, "the app cannot sign links for its storage: send the file in the request")
    return {"url": link.url, "minutes": link.minutes}


def corrected(app: App, feed: str, content: bytes) -> Response:
    """Corrected rejects of a feed."""
    results = load_rejects(app, feed, "", content, "the API")
    runs = [
        {"run": one.run.id if one.run else None, "destination": one.destination, "place": one.place,
         "status": one.run.status if one.run else "skipped", "read": one.run.read if one.run else 0,
         "rejected": one.run.rejected if one.run else 0, "error": one.run.error if one.run else one.skipped}
        for one in results
    ]  # fmt: skip
    return Response(200, {"feed": feed, "runs": runs})
