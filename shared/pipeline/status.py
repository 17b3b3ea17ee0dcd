"""What a status page shows: feeds with their freshness and last runs, as plain data for every host."""

from __future__ import annotations

import datetime as dt

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple, Protocol, TypeAlias

from shared.model import MAIN, Feed, FeedName, Kind, Run, from_text
from shared.pipeline.spans import ALWAYS, Span
from shared.warehouses import History

RUNS_SHOWN = 20
"""Runs of a feed that its chart has."""
REPORTS_SHOWN = 50
"""Runs on the page of a feed."""
_MOST_FILES = 100
_MOST_REJECTS = 100_000
"""Rejects whose reasons are counted, where nobody counted them during the run."""

State: TypeAlias = Literal["ok", "late", "failed", "paused", "never"]
STATES: tuple[State, ...] = ("failed", "late", "paused", "ok", "never")
"""What may be said of a feed, what needs somebody first. ``never``: no run is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceReport:
    """What became of one slice of a run."""

    number: int
    origin: str
    rows: int = 0
    rejected: int = 0
    seconds: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One run, or one unit that failed before it was one, with all that a page says of it."""

    key: str
    """What it is found by: unique within its feed."""
    feed: str
    status: Literal["done", "failed", "dry"]
    started: str
    """Text of records, as ``finished``."""
    finished: str
    run: str | None = None
    job: str | None = None
    destination: str = MAIN
    kind: Kind | None = None
    place: str = ""
    files: tuple[str, ...] = ()
    """The first hundred."""
    client: str | None = None
    exported_at: str | None = None
    complete: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    """Of rows, by outcome, with ``read``, ``absent`` and ``values_rejected``; without those that are 0."""
    size: int = 0
    """Bytes sent to the warehouse."""
    seconds: float = 0.0
    """How long all slices together took to stage."""
    log_rate: int | None = None
    note: str | None = None
    error: str | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    """The commonest reasons for rejects (code and column), and how often each was found."""
    slices: tuple[SliceReport, ...] = ()

    @property
    def read(self) -> int:
        return self.counts.get("read", 0)

    @property
    def took(self) -> float:
        """Seconds from its start to its end."""
        began, ended = from_text(self.started), from_text(self.finished)
        return max(0.0, (ended - began).total_seconds()) if began and ended else 0.0

    @property
    def brought_data(self) -> bool:
        """As the watchdog sees it: a window, or a comparison of keys, may change nothing."""
        changed = sum(self.counts.get(name, 0) for name in ("inserted", "updated", "deleted", "undeleted"))
        return self.status == "done" and (self.kind not in ("window", "keys") or changed > 0)


@dataclass(frozen=True, slots=True)
class Point:
    """A run in a chart."""

    finished: str
    rows: int
    failed: bool
    day: str = ""
    """The beginning of its key, which says where its report is kept; empty if an older version wrote this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRuns:
    """The end of a feed's history: what an overview shows of it."""

    feed: str
    last: RunReport | None = None
    data_at: str | None = None
    """When data last came (text of records)."""
    points: tuple[Point, ...] = ()
    """The last runs, oldest first."""

    def with_run(self, report: RunReport) -> FeedRuns:
        """With *report* as its last run; once more with the same one, nothing changes."""
        point = Point(report.finished, report.read, report.status == "failed", report.key[:10])
        known = self.points if point in self.points else (*self.points, point)
        return FeedRuns(
            feed=self.feed, last=report, data_at=report.finished if report.brought_data else self.data_at,
            points=known[-RUNS_SHOWN:],
        )  # fmt: skip


class Recent(NamedTuple):
    """What an overview needs of all feeds."""

    runs: Mapping[str, FeedRuns]
    """The end of each feed's history, by feed."""
    paused: frozenset[str] = frozenset()
    """The feeds that are paused."""


class RunLog(Protocol):
    """The runs of all feeds, as a host keeps them for its pages."""

    def recent(self) -> Recent:
        """What is known of all feeds."""
        ...

    def latest(self, feed: str) -> FeedRuns:
        """The end of one feed's history."""
        ...

    def is_paused(self, feed: str) -> bool:
        """Whether one feed is paused."""
        ...

    def of_feed(self, feed: str, span: Span = ALWAYS) -> list[RunReport]:
        """The last runs of a feed that began in *span*, newest first, at most fifty."""
        ...

    def run(self, feed: str, key: str) -> RunReport | None:
        """One run with all that is known of it."""
        ...


class HistoryLog:
    """The runs that a warehouse has, for a host where no jobs keep them."""

    def __init__(self, history: History) -> None:
        self._history = history

    def recent(self) -> Recent:
        found: dict[str, FeedRuns] = {}
        for run in reversed(self._history.recent(RUNS_SHOWN)):
            found[run.feed] = found.get(run.feed, FeedRuns(feed=run.feed)).with_run(report_of(run))
        return Recent(found)

    def latest(self, feed: str) -> FeedRuns:
        return self.recent().runs.get(feed, FeedRuns(feed=feed))

    def is_paused(self, feed: str) -> bool:
        return False

    def of_feed(self, feed: str, span: Span = ALWAYS) -> list[RunReport]:
        found = self._history.runs(feed, limit=None if span else REPORTS_SHOWN)
        return [report_of(run) for run in found if span.takes(run.started)][:REPORTS_SHOWN]

    def run(self, feed: str, key: str) -> RunReport | None:
        run = self._history.run(key)
        if run is None or run.feed != feed:
            return None
        rejects = islice(self._history.rejects(feed, key), _MOST_REJECTS) if run.rejected + run.values_rejected else ()
        reasons = Counter(" ".join(filter(None, (one["code"], one["column"]))) for one in rejects)
        return report_of(run, reasons=dict(reasons.most_common(10)))


def report_of(
    run: Run, *, key: str | None = None, job: str | None = None, destination: str = MAIN,
    reasons: Mapping[str, int] | None = None, slices: Sequence[SliceReport] = (),
) -> RunReport:  # fmt: skip
    """The report of a run that has ended."""
    return RunReport(
        key=key or run.id, feed=run.feed, status=run.status, started=run.started, finished=run.finished or run.started,
        run=run.id, job=job, destination=destination, kind=run.kind, place=run.files[0] if run.files else "",
        files=run.files[:_MOST_FILES], client=run.client, exported_at=run.exported_at, complete=run.complete,
        counts={name: getattr(run, name) for name in COUNTED if getattr(run, name)},
        size=run.size, seconds=run.seconds, log_rate=run.log_rate, note=run.note, error=run.error,
        reasons=reasons or {}, slices=tuple(slices),
    )  # fmt: skip


COUNTED = (
    "read", "inserted", "updated", "deleted", "undeleted", "unchanged", "stale", "superseded", "rejected", "absent",
    "values_rejected",
)  # fmt: skip
"""Counts of a run, as its report orders them."""


# -- the overview


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """One feed as it stands now."""

    name: str
    state: State
    age: float | None
    """Seconds since data came; None if it never did."""
    limit: float | None
    """How many seconds that may be, if the catalog says so."""
    schedule: str | None
    runs: FeedRuns

    @property
    def system(self) -> str:
        return FeedName.parse(self.name).system

    @property
    def freshness(self) -> str:
        """For people.

        >>> FeedStatus(name="a.b", state="ok", age=7_380, limit=86_400, schedule=None,
        ...     runs=FeedRuns(feed="a.b")).freshness
        '2 h old, up to 24 h'
        """
        if self.age is None:
            return "no data yet"
        return f"{_roughly(self.age)} old{f', up to {_roughly(self.limit)}' if self.limit is not None else ''}"


def _roughly(seconds: float) -> str:
    """
    >>> [_roughly(seconds) for seconds in (4, 125, 7_380, 200_000)]
    ['0 min', '2 min', '2 h', '2 days']
    """
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which feeds to show; empty for all."""

    system: str = ""
    state: str = ""
    text: str = ""
    span: Span = ALWAYS
    """When one of the last twenty runs ended."""

    def takes(self, feed: FeedStatus) -> bool:
        words = f"{feed.name} {feed.runs.last.error or '' if feed.runs.last else ''}".casefold()
        return (
            self.system in ("", feed.system) and self.state in ("", feed.state) and self.text.casefold() in words
            and (not self.span or any(self.span.takes(point.finished) for point in feed.runs.points))
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All feeds that a filter takes, those that need somebody first."""

    feeds: tuple[FeedStatus, ...]
    systems: tuple[str, ...]
    """All of them, whatever the filter."""
    states: Mapping[State, int]
    """How many feeds are in each state, whatever the filter."""


def overview(feeds: Iterable[Feed], log: RunLog, now: dt.datetime, chosen: Filter = Filter()) -> Overview:
    """Every feed that is declared or has run, as it stands at *now* (aware)."""
    found = statuses(feeds, log, now)
    shown = [one for one in found if chosen.takes(one)]
    return Overview(
        feeds=tuple(sorted(shown, key=lambda one: (STATES.index(one.state), one.name))),
        systems=tuple(sorted({one.system for one in found})),
        states={state: count for state in STATES if (count := sum(one.state == state for one in found))},
    )  # fmt: skip


def statuses(feeds: Iterable[Feed], log: RunLog, now: dt.datetime) -> list[FeedStatus]:
    """Every feed that is declared or has run."""
    declared = {feed.name: feed for feed in feeds}
    runs, paused = log.recent()
    return [
        feed_status(name, declared.get(name), runs.get(name, FeedRuns(feed=name)), name in paused, now)
        for name in dict.fromkeys((*declared, *runs))
    ]


def feed_status(name: str, feed: Feed | None, runs: FeedRuns, paused: bool, now: dt.datetime) -> FeedStatus:
    """One feed as it stands at *now* (aware)."""
    came = from_text(runs.data_at)
    age = max(0.0, (now.astimezone(dt.UTC).replace(tzinfo=None) - came).total_seconds()) if came else None
    limit = feed.max_age_hours * 3600 if feed and feed.max_age_hours else None
    return FeedStatus(
        name=name, state=_state(runs, age, limit, paused), age=age, limit=limit,
        schedule=feed.schedule if feed else None, runs=runs,
    )  # fmt: skip


def _state(runs: FeedRuns, age: float | None, limit: float | None, paused: bool) -> State:
    if paused:
        return "paused"
    if runs.last is None:
        return "never"
    if runs.last.status == "failed":
        return "failed"
    return "late" if limit is not None and (age is None or age > limit) else "ok"
