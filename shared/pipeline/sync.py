"""Sync the tables of one system that is pulled: each window by window until it has caught up, several at once."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from shared.catalog import System
from shared.contract import cursor
from shared.errors import ConfigError
from shared.model import OUTCOMES, Feed, Run, Unit, from_text, to_text
from shared.pipeline import pull
from shared.pipeline.folder import parse_time
from shared.pipeline.keys import keys_unit
from shared.pipeline.relations import in_order
from shared.pipeline.runner import Bug, Progress, Result, Runner, RunOptions, error_text
from shared.settings import Settings
from shared.sources import KINDS, Probe, PullSource, open_pull_sources, probe

Open: TypeAlias = "Callable[[Sequence[Feed], Settings], list[PullSource]]"
SyncOutcome: TypeAlias = Literal["done", "no news", "failed", "skipped"]

_COUNTS = ("read", *OUTCOMES, "absent", "values_rejected")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions(RunOptions):
    """What to read of the tables."""

    full: bool = False
    """Read them whole, and find what is gone."""
    keys: bool = False
    """Read their keys alone, and find what is gone."""
    since: str | None = None
    """Read again from this value of the cursor, as an operator writes it. The watermark is never lowered."""
    limit: int | None = None
    """At most about so many rows of each table; the next sync goes on from there."""
    batch_rows: int | None = None
    """Rows in memory at once; by default the setting."""
    keep_raw: str | None = None
    """Folder in which answers of an API are kept as they come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSync:
    """What became of one table."""

    feed: str
    outcome: SyncOutcome
    reason: str | None = None
    """Why it failed or was skipped."""
    windows: Sequence[Result] = ()
    """What became of each window, or of the table read whole."""
    seconds: float = 0.0
    watermark: str | None = None
    behind: float | None = None
    """Seconds of the source's time that are not read yet: 0 once it has caught up, None where that is not known."""

    @property
    def failed(self) -> bool:
        return self.outcome == "failed"

    @property
    def loaded(self) -> bool:
        return self.outcome in ("done", "no news")

    @property
    def runs(self) -> Iterator[Run]:
        return (window.run for window in self.windows if window.run is not None)

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows of all windows by outcome, as in a Run."""
        runs = list(self.runs)
        return {name: sum(getattr(run, name) for run in runs) for name in _COUNTS}


def sync(
    runner: Runner,
    settings: Settings,
    system: str,
    names: Sequence[str],
    options: SyncOptions,
    progress: Progress | None = None,
    open_sources: Open = open_pull_sources,
) -> Iterator[TableSync]:
    """Sync the tables *names* of *system*, all by default, a result as each is done. One that fails stops no other.

    Those that others refer to come first, so that their rows are there.

    ConfigError, before anything is read, for a system or a table that is not declared or is not pulled. If the
    iteration is abandoned, tables that have begun end at their next batch, and their next sync goes on from there.
    """
    feeds = feeds_to_sync(runner.systems, system, names)
    if options.batch_rows is not None:
        settings = replace(settings, batch_rows=options.batch_rows)
    if options.keep_raw is not None:
        settings = replace(settings, keep_raw=options.keep_raw)
    if options.limit is not None:
        settings = replace(settings, sync_rows=options.limit)
    opened = {feed.name: source for feed, source in zip(feeds, open_sources(feeds, settings), strict=True)}
    stop = threading.Event()
    shown = progress or Progress()
    with ThreadPoolExecutor(settings.sync_tables, thread_name_prefix="sync") as pool:
        try:
            for level in in_order(feeds):
                tables = [_Table(runner, feed, opened[feed.name], options, shown.table(), stop) for feed in level]
                for done in as_completed([pool.submit(table.sync) for table in tables]):
                    yield done.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
            for source in opened.values():
                source.close()


def feeds_to_sync(systems: Mapping[str, System], system: str, tables: Sequence[str]) -> list[Feed]:
    """The feeds of *tables* in *system*, all that are pulled by default. ConfigError says which ones there are."""
    pulled = {name: [feed for feed in one.feeds() if KINDS[feed.source].pulled] for name, one in systems.items()}
    known = [name for name, feeds in pulled.items() if feeds]
    if system not in known:
        kinds = " or ".join(f'"{name}"' for name, kind in KINDS.items() if kind.pulled)
        problem = f"system {system!r} has no table to sync" if system in systems else f"there is no system {system!r}"
        fix = f"Choose one of {', '.join(known)}" if known else f"Declare a system with source {kinds} in the catalog"
        raise ConfigError(problem, fix=fix)
    by_table = {feed.table: feed for feed in pulled[system]}
    if missing := [table for table in tables if table not in by_table]:
        raise ConfigError(
            f"system {system!r} has no table {', '.join(map(repr, missing))} to sync",
            fix=f"Choose of {', '.join(by_table)}",
        )
    return [by_table[table] for table in dict.fromkeys(tables)] if tables else list(by_table.values())


def probed(systems: Mapping[str, System], settings: Settings, system: str, table: str) -> tuple[Feed, Probe]:
    """A table of an API, and its first page. ConfigError if there is no such table, or if it is of no API."""
    (feed,) = feeds_to_sync(systems, system, [table])
    return feed, probe(feed, settings)


class _Stopped(KeyboardInterrupt):
    """The sync was abandoned. No error: whatever was merged stays, and the rest is read by the next sync."""


class _Skipped(Exception):  # noqa: N818 - no error: there is nothing to do
    """Why a table is not synced."""


@dataclass(frozen=True, slots=True)
class _Table:
    """The sync of one table, in a thread of its own."""

    runner: Runner
    feed: Feed
    source: PullSource
    options: SyncOptions
    shown: Progress
    stop: threading.Event

    def sync(self) -> TableSync:
        since = self.runner.timer()
        windows: list[Result] = []
        outcome: SyncOutcome = "done"
        reason, caught_up = None, False
        try:
            caught_up = self._windows(windows)
            if not any(pull.has_news(result.run) for result in windows if result.run):
                outcome = "no news"
        except _Skipped as skipped:
            outcome, reason = "skipped", str(skipped)
        except Exception as error:  # noqa: BLE001 - a table that fails, even by a bug, stops no other
            outcome, reason = "failed", error_text(error)
        return self._result(outcome, reason, windows, caught_up=caught_up, seconds=self.runner.timer() - since)

    def _windows(self, windows: list[Result]) -> bool:
        """Sync window by window, collecting the results; whether that has caught up with the source. Keys never do."""
        if self.feed.cursor is None and (self.options.limit is not None or self.options.since is not None):
            raise _Skipped("it has no cursor, so only all of it can be read")
        after, more = self._since(), True
        while more:
            self._check()
            unit = self._unit(after)
            if unit is None or self._is_unchanged(unit):
                break
            windows.append(self._window(unit))
            more = unit.more and not self.options.dry_run and self.options.limit is None
            after = unit.window.ceiling if unit.window else None
        return not self.options.keys and not (windows and unit and unit.more)

    def _window(self, unit: Unit) -> Result:
        progress = _Watched(self.shown, self.runner.timer, self._check)
        name, place = self.feed.name, unit.work_items[0].name
        try:
            result = self.runner.run_unit(name, unit, self.source, self.options, place=place, progress=progress)
        except Exception as error:  # it was logged and recorded where it was raised
            raise Bug(f"{type(error).__name__}: {error}") from error
        self.shown.end(result)
        if not result.failed or result.run is None:
            return result
        if unit.seen is not None and unit.seen.etag != self.runner.ledger.watermark(name).etag:
            raise _Skipped("another process is syncing it")
        raise Bug(result.run.error)

    def _unit(self, after: str | None) -> Unit | None:
        now = to_text(self.runner.now())
        if self.options.keys:
            return keys_unit(self.feed, now=now)
        if self.options.full:
            return pull.whole(self.feed, self.source, now=now)
        return pull.window(self.feed, self.source, self.runner.ledger, now=now, after=after)

    def _is_unchanged(self, unit: Unit) -> bool:
        if self.options.full or self.options.keys or self.options.since is not None:
            return False
        return pull.is_unchanged(self.feed, unit, self.source, self.runner.ledger)

    def _since(self) -> str | None:
        """``since`` as cursor text of the feed. None if it is beyond the watermark: nothing is left out.

        ConfigError if the cursor is of another type.
        """
        text, mark = self.options.since, self.runner.ledger.watermark(self.feed.name)
        if text is None:
            return None
        known = mark.type
        for kind in (known,) if known else ("timestamp", "decimal"):
            with contextlib.suppress(ValueError, ArithmeticError):
                since = parse_time(text) if kind == "timestamp" else cursor.text(cursor.typed(kind, text))
                return None if mark.value is not None and cursor.later(kind, since, mark.value) == since else since
        raise ConfigError(
            f"--since {text} is no value of cursor {self.feed.cursor!r}"
            + (f", which is of type {known}" if known else ""),
            fix="Write a time such as 2026-02-24T12:00:00, or a number if the cursor is one",
        )

    def _check(self) -> None:
        if self.stop.is_set():
            raise _Stopped

    def _result(
        self, outcome: SyncOutcome, reason: str | None, windows: list[Result], *, caught_up: bool, seconds: float
    ) -> TableSync:
        mark = self.runner.ledger.watermark(self.feed.name)
        behind = 0.0 if caught_up else None
        if not caught_up and not self.options.keys and mark.type == "timestamp" and (seen := from_text(mark.value)):
            behind = (self.runner.now().astimezone(dt.UTC).replace(tzinfo=None) - seen).total_seconds()
        return TableSync(
            feed=self.feed.name, outcome=outcome, reason=reason, windows=windows, seconds=seconds,
            watermark=mark.value, behind=behind,
        )  # fmt: skip


class _Watched(Progress):
    """Shows rows and rows a second of one window, and lets it be stopped between batches."""

    def __init__(self, shown: Progress, timer: Callable[[], float], check: Callable[[], None]) -> None:
        super().__init__()
        self._shown, self._timer, self._check = shown, timer, check
        self._since, self._rows = 0.0, 0

    def start(self, label: str, rows: int) -> None:
        self._since, self._rows = self._timer(), 0
        self._shown.start(label, rows)

    def rows(self, count: int) -> None:
        self._check()
        self._rows += count
        self._shown.rows(count)
        self._shown.detail(f"{self._rows / max(self._timer() - self._since, 1e-3):,.0f} rows/s")

    def phase(self, label: str) -> None:
        self._check()
        self._shown.phase(label)

    def wait(self, text: str) -> None:
        self._shown.wait(text)

    def warn(self, text: str) -> None:
        self._shown.warn(text)
