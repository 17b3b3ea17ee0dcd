"""The runs of jobs as documents, for pages: to look at them wakes no database.

``runs/<feed>/<key>`` has all of one run, ``feeds/<feed>/runs`` the end of a feed's history. Of two runs of a feed that
end at the same moment the latter may lack one until the next run; the former never does.
"""

from __future__ import annotations

import datetime as dt
import json

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, TypeVar

from shared.documents import DocumentEntry, Documents, quoted, to_json
from shared.ids import plain_name
from shared.jobs.feed_state import FeedStates
from shared.jobs.request import SliceResult, UnitOutcome, UnitRequest, short
from shared.model import MAIN, Plan, Run, from_json, to_text
from shared.pipeline.pieces import rests
from shared.pipeline.spans import ALWAYS, Span, prefixes_of
from shared.pipeline.status import COUNTED, REPORTS_SHOWN, FeedRuns, Recent, RunReport, SliceReport, report_of

if TYPE_CHECKING:
    from shared.app import App

T = TypeVar("T")
R = TypeVar("R")
_TIME = 26
"""Characters of a time (text of records), which keys begin with."""
_SLICES = 200
_FEW = 20
"""So many documents are rather read again than kept as read."""
_AT_ONCE = 16
_SETTLED_SECONDS = 300.0
"""A document that is older than that when it is read has no later content of the same time."""
_CACHE = "status/overview"
"""What was read of ``feeds/<feed>/runs``, with the time of each document: two readers may write it, in any order."""
_LONGEST_NAME = 250
"""Of a document's part: a feed with a longer name cannot be paused."""
_RUNS, _PAUSED = "runs", "paused"


class DocumentedRuns:
    """The log of runs in the app's documents."""

    def __init__(self, documents: Documents, now: Callable[[], dt.datetime]) -> None:
        self._documents, self._now = documents, now

    def add(self, report: RunReport) -> None:
        """Keep what became of a run. The same one again changes nothing."""
        self._documents.put(f"runs/{plain_name(report.feed)}/{report.key}", to_json(asdict(report)))
        latest = self.latest(report.feed).with_run(replace(report, slices=(), files=()))
        self._documents.put(f"feeds/{plain_name(report.feed)}/{_RUNS}", to_json(asdict(latest)))

    def recent(self) -> Recent:
        entries = list(self._documents.entries("feeds/"))
        listed = {one.name: one for one in entries if one.name.endswith(f"/{_RUNS}")}
        known = json.loads(self._documents.get(_CACHE) or b"{}")
        valid = {name: known[name] for name, one in listed.items() if name in known and known[name][0] == one.modified}
        fresh = [one for name, one in listed.items() if name not in valid]
        contents = dict(zip((one.name for one in fresh), _together(self._content, fresh), strict=True))
        settled = {
            one.name: [one.modified, contents[one.name]] for one in fresh
            if contents[one.name] is not None and one.modified + _SETTLED_SECONDS < self._now().timestamp()
        }  # fmt: skip
        if len(settled) > _FEW:
            self._documents.put(_CACHE, to_json({**valid, **settled}))
        rows = (*(content for _, content in valid.values()), *contents.values())
        found = from_json(list[FeedRuns], [row for row in rows if row is not None])
        names = (one.name.removeprefix("feeds/") for one in entries if one.name.endswith(f"/{_PAUSED}"))
        return Recent({one.feed: one for one in found}, frozenset(name.removesuffix(f"/{_PAUSED}") for name in names))

    def latest(self, feed: str) -> FeedRuns:
        return self._read(f"feeds/{plain_name(feed)}/{_RUNS}", FeedRuns) or FeedRuns(feed=feed)

    def of_feed(self, feed: str, span: Span = ALWAYS) -> list[RunReport]:
        found = _together(lambda name: self._read(name, RunReport), self._names(feed, span))
        return [one for one in reversed(found) if one is not None]

    def _names(self, feed: str, span: Span) -> list[str]:
        """The documents of the last runs, oldest first. Keys begin with a time, so that few days are listed."""
        folder, found = f"runs/{plain_name(feed)}/", set[str]()
        for prefix in span.prefixes(self._now()) if span else self._last_days(feed):
            listed = (one.name for one in self._documents.entries(f"{folder}{prefix}"))
            found |= {name for name in listed if span.takes(name.removeprefix(folder)[:_TIME])}
            if len(found) >= REPORTS_SHOWN:
                break
        return sorted(found)[-REPORTS_SHOWN:]

    def _last_days(self, feed: str) -> list[str]:
        """The days of the runs in the chart; all of them if an older version wrote some of these."""
        days = {point.day for point in self.latest(feed).points}
        return [""] if "" in days else prefixes_of(days)

    def run(self, feed: str, key: str) -> RunReport | None:
        return self._read(f"runs/{plain_name(feed)}/{key}", RunReport)

    def is_paused(self, feed: str) -> bool:
        return len(quoted(feed)) <= _LONGEST_NAME and FeedStates(self._documents).paused(feed)

    def _content(self, entry: DocumentEntry) -> dict[str, object] | None:
        content = self._documents.get(entry.name)
        return None if content is None else dict(json.loads(content))

    def _read(self, name: str, kind: type[T]) -> T | None:
        content = self._documents.get(name)
        return None if content is None else from_json(kind, json.loads(content))


def record_unit(
    app: App, request: UnitRequest, outcome: UnitOutcome,
    *, plan: Plan | None = None, run: Run | None = None, slices: Mapping[int, SliceResult] | None = None,
) -> None:  # fmt: skip
    """Keep what became of a unit, if it did anything. *slices* are the results of the plan's slices, by number."""
    report = _report(request, outcome, app.now(), plan=plan, run=run, slices=slices)
    if report is not None:
        DocumentedRuns(app.documents, app.now).add(report)


def _report(
    request: UnitRequest, outcome: UnitOutcome, now: dt.datetime,
    *, plan: Plan | None = None, run: Run | None = None, slices: Mapping[int, SliceResult] | None = None,
) -> RunReport | None:  # fmt: skip
    """The report of a unit that has ended; None if it did nothing: it had no news, or was loaded already."""
    if outcome.feed is None or outcome.status not in ("done", "failed"):
        return None
    destination = outcome.destination or MAIN
    key = f"{request.started}-{request.table or 0:04}-{request.unit:04}-{destination}"
    reports = _slice_reports(plan, slices or {})
    known = run or (plan.run if plan else None)
    if known is None:
        return RunReport(
            key=key, feed=outcome.feed, status="failed", started=request.started, finished=to_text(now),
            job=request.job, destination=destination, place=outcome.place, error=outcome.error, note=outcome.note,
        )  # fmt: skip
    report = report_of(
        known, key=key, job=request.job, destination=destination, reasons=_reasons((slices or {}).values()),
        slices=reports,
    )  # fmt: skip
    counts = {name: count for name in COUNTED if (count := getattr(outcome, name))}
    return replace(
        report, status="done" if outcome.status == "done" else "failed", started=request.started, counts=counts,
        finished=(run.finished if run else None) or to_text(now), place=outcome.place, error=outcome.error,
        note=outcome.note, files=tuple(map(short, report.files)),
    )  # fmt: skip


def _slice_reports(plan: Plan | None, slices: Mapping[int, SliceResult]) -> list[SliceReport]:
    staged = {number: one.staged for number, one in slices.items() if one.staged is not None}
    parts = (*plan.slices, *rests(staged))[:_SLICES] if plan else ()
    return [_slice_report(part.number, short(part.origin), slices.get(part.number)) for part in parts]


def _slice_report(number: int, origin: str, result: SliceResult | None) -> SliceReport:
    if result is None:
        return SliceReport(number=number, origin=origin, error="not staged")
    if result.staged is None:
        error = result.fault.problem if result.fault else result.missed or ""
        return SliceReport(number=number, origin=origin, error=short(error))
    staged = result.staged
    return SliceReport(
        number=number, origin=origin, rows=staged.rows, rejected=staged.rejected, seconds=staged.seconds
    )  # fmt: skip


def _reasons(results: Iterable[SliceResult]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for result in results:
        for reason, count in (result.staged.reasons if result.staged else {}).items():
            counts[reason] = counts.get(reason, 0) + count
    return dict(sorted(counts.items(), key=lambda one: -one[1])[:10])


def _together(call: Callable[[T], R], values: Sequence[T]) -> list[R]:
    if len(values) < 2:
        return [call(value) for value in values]
    with ThreadPoolExecutor(min(_AT_ONCE, len(values))) as threads:
        return list(threads.map(call, values))
