"""Sync the tables of one system that is pulled: each window by window until it has caught up, several at once."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import cmp_to_key
from typing import Literal, TypeAlias

from shared.catalog import System
from shared.contract import cursor
from shared.errors import ConfigError
from shared.model import MAIN, OUTCOMES, Feed, Run, Unit, Watermark, from_text, to_text
from shared.pipeline import pull
from shared.pipeline.destinations import Stopped, Target, destinations_of, run_in_each, targets
from shared.pipeline.folder import parse_time
from shared.pipeline.keys import keys_unit
from shared.pipeline.order import side_by_side
from shared.pipeline.pieces import InPieces, traffic_of
from shared.pipeline.progress import Progress, Result
from shared.pipeline.runner import Bug, Runner, RunOptions, error_text
from shared.pipeline.watched import Watched
from shared.settings import Settings, naming_setting
from shared.sources import KINDS, PullSource, open_pull_sources
from shared.traffic import Traffic

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
    destination: str | None = None
    """Sync into this one only, and only tables that go there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSync:
    """What became of one table in one destination."""

    feed: str
    outcome: SyncOutcome
    destination: str = MAIN
    reason: str | None = None
    """Why it failed or was skipped."""
    windows: Sequence[Result] = ()
    """What became of each window, or of the table read whole."""
    seconds: float = 0.0
    watermark: str | None = None
    behind: float | None = None
    """Seconds of the source's time that are not read yet: 0 once it has caught up, None where that is not known."""
    calls: Traffic | None = None
    """Of the API that it was read from, for all destinations."""

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
    """Sync the tables *names* of *system*, all by default, a result for each destination as each table is done.

    Neither a table that fails nor a destination stops another.

    Those that others refer to come first, so that their rows are there. Those whose last sync ended its process come
    last and one by one: they may do it again, and then no other table has begun.

    ConfigError, before anything is read, for a system or a table that is not declared or is not pulled. If the
    iteration is abandoned, tables that have begun end at their next batch, and their next sync goes on from there.
    """
    feeds = _of_destination(runner, feeds_to_sync(runner.systems, system, names), options.destination, names)
    if options.batch_rows is not None:
        settings = replace(settings, batch_rows=options.batch_rows)
    if options.keep_raw is not None:
        settings = replace(settings, keep_raw=options.keep_raw)
    if options.limit is not None:
        settings = replace(settings, sync_rows=options.limit)
    sources = open_sources(feeds, settings)
    opened = {
        feed.name: InPieces(source, settings.sync_step, runner.timer) if KINDS[feed.source].in_pieces else source
        for feed, source in zip(feeds, sources, strict=True)
    }
    stop = threading.Event()
    shown = progress or Progress()
    with ThreadPoolExecutor(settings.sync_tables, thread_name_prefix="sync") as pool:
        try:
            for level in side_by_side(runner, feeds):
                tables = [_Table(runner, feed, opened[feed.name], options, shown.table(), stop) for feed in level]
                for done in as_completed([pool.submit(table.sync) for table in tables]):
                    yield from done.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
            for source in sources:
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


def _of_destination(runner: Runner, feeds: list[Feed], chosen: str | None, names: Sequence[str]) -> list[Feed]:
    """Those of *feeds* that go to the *chosen* destination. ConfigError if none does, or one of *names* does not."""
    going = [feed for feed in feeds if chosen is None or chosen in destinations_of(runner, feed.name)]
    lost = next((feed for feed in feeds if feed not in going), None)
    if lost is not None and (names or not going):
        targets(runner, lost.name, chosen)  # raises
    return going


class _Skipped(Exception):  # noqa: N818 - no error: there is nothing to do
    """Why a table is not synced."""


@dataclass(slots=True)
class _DestinationSync:
    """How far the sync of a table into one destination is."""

    target: Target
    windows: list[Result] = field(default_factory=list)
    outcome: SyncOutcome | None = None
    """None while it goes on."""
    reason: str | None = None
    caught_up: bool = False

    @property
    def runner(self) -> Runner:
        return self.target.runner

    def stop_for(self, error: Exception) -> None:
        """End it, unless it has ended, as skipped or failed by *error*."""
        if self.outcome is None:
            is_skipped = isinstance(error, _Skipped)
            self.outcome = "skipped" if is_skipped else "failed"
            self.reason = str(error) if is_skipped else naming_setting(error_text(error), self.target.name)

    def end(self, *, caught_up: bool) -> None:
        news = any(pull.has_news(result.run) for result in self.windows if result.run)
        self.outcome, self.caught_up = "done" if news else "no news", caught_up


@dataclass(frozen=True, slots=True)
class _Table:
    """The sync of one table into its destinations, in a thread of its own."""

    runner: Runner
    feed: Feed
    source: PullSource
    options: SyncOptions
    shown: Progress
    stop: threading.Event

    def sync(self) -> list[TableSync]:
        since = self.runner.timer()
        states: list[_DestinationSync] = []
        try:
            states = [
                _DestinationSync(target) for target in targets(self.runner, self.feed.name, self.options.destination)
            ]
            self._sync(states)
        except Exception as error:  # noqa: BLE001 - a table that fails, even by a bug, stops no other
            for state in states:
                state.stop_for(error)
        return [self._result(state, seconds=self.runner.timer() - since) for state in states]

    def _sync(self, states: Sequence[_DestinationSync]) -> None:
        """Sync the destinations that are ahead first. Those behind them end where they have ended, at the latest."""
        for state in states:
            if isinstance(state.target.found, ConfigError):
                state.stop_for(state.target.found)
        if self.feed.cursor is None and (self.options.limit is not None or self.options.since is not None):
            raise _Skipped("it has no cursor, so only all of it can be read")
        if self.options.keys and pull.forgets(self.feed):
            raise _Skipped("its API forgets rows, so the keys that it lacks are not those of deleted rows")
        last: Watermark | None = None
        for together in self._groups([state for state in states if state.outcome is None]):
            try:
                last = self._windows(together, last) or last
            except Exception as error:  # noqa: BLE001 - destinations that are behind others stop none of these
                for state in together:
                    state.stop_for(error)

    def _groups(self, states: Sequence[_DestinationSync]) -> list[list[_DestinationSync]]:
        """The destinations that can read the same windows, those that are ahead of others first."""
        if len(states) < 2 or self.feed.cursor is None or self.options.full or self.options.keys:
            return [list(states)] if states else []
        groups: dict[pull.Place, list[_DestinationSync]] = {}
        for state in states:
            groups.setdefault(pull.place_of(state.runner.ledger.watermark(self.feed.name)), []).append(state)
        return [groups[mark] for mark in sorted(groups, key=cmp_to_key(pull.compared), reverse=True)]

    def _windows(self, states: list[_DestinationSync], until: Watermark | None) -> Watermark | None:
        """Sync window by window, at most *until* there; where it has ended. Keys never catch up."""
        first, after, unit = states[0], self._since(states[0]), None
        while states:
            self._check()
            unit = self._unit(states[0], after, until)
            units = self._units(states, unit, after)
            states = [state for state in states if state.outcome is None]
            unchanged = self._are_unchanged(states, units)
            for state in unchanged:
                state.end(caught_up=self._has_caught_up(state, unit))
            states = [state for state in states if state not in unchanged]
            if unit is None or not states:
                break
            self._window(states, units)
            states = [state for state in states if state.outcome is None]
            if not unit.more or self.options.dry_run or self.options.limit is not None:
                for state in states:
                    state.end(caught_up=self._has_caught_up(state, unit))
                break
            after = unit.window.ceiling if unit.window else None
        if unit is None or unit.window is None or first.outcome not in ("done", "no news"):
            return None
        return replace(first.runner.ledger.watermark(self.feed.name), value=unit.window.ceiling)

    def _has_caught_up(self, state: _DestinationSync, unit: Unit | None) -> bool:
        return not self.options.keys and not (state.windows and unit and unit.more)

    def _window(self, states: Sequence[_DestinationSync], units: Mapping[str, Unit]) -> None:
        progress = Watched(self.shown, self.runner.timer, self._check, lambda: traffic_of(self.source))
        into = [state.target for state in states]
        name, place = self.feed.name, units[into[0].name].work_items[0].name
        try:
            results = run_in_each(into, name, units, self.source, self.options, place=place, progress=progress)
        except Exception as error:  # it was logged and recorded where it was raised
            raise Bug(f"{type(error).__name__}: {error}") from error
        for state, result in zip(states, results, strict=True):
            self.shown.end(result)
            if result.failed and result.run is not None:
                self._fail(state, units[state.target.name], str(result.run.error))
            else:
                state.windows.append(result)

    def _fail(self, state: _DestinationSync, unit: Unit, error: str) -> None:
        if unit.seen is not None and unit.seen.etag != state.runner.ledger.watermark(self.feed.name).etag:
            state.stop_for(_Skipped("another process is syncing it"))
        state.stop_for(Bug(error))

    def _units(self, states: Sequence[_DestinationSync], unit: Unit | None, after: str | None) -> dict[str, Unit]:
        """The *unit* of the first destination as that of each one, which starts from its own watermark.

        One whose watermark was moved since it was found to be that of the others is skipped.
        """
        if unit is None or unit.seen is None:
            return {} if unit is None else {state.target.name: unit for state in states}
        units = {states[0].target.name: unit}
        for state in states[1:]:
            mark = state.runner.ledger.watermark(self.feed.name)
            if after is None and pull.place_of(mark) != pull.place_of(unit.seen):
                state.stop_for(_Skipped("another process is syncing it"))
            units[state.target.name] = replace(unit, seen=mark, note=mark.note)
        return units

    def _unit(self, state: _DestinationSync, after: str | None, until: Watermark | None) -> Unit | None:
        """What the destination reads next; those that are with it read the same."""
        now = to_text(self.runner.now())
        if self.options.keys:
            return keys_unit(self.feed, now=now)
        if self.options.full:
            return pull.whole(self.feed, self.source, now=now)
        unit = pull.window(self.feed, self.source, state.runner.ledger, now=now, after=after)
        return unit if unit is None or until is None else pull.up_to(self.feed.name, unit, until)

    def _are_unchanged(self, states: Sequence[_DestinationSync], units: Mapping[str, Unit]) -> list[_DestinationSync]:
        """The destinations whose unit has nothing new. Those with the same fingerprint know it by one query."""
        if not units:
            return list(states)
        if self.options.full or self.options.keys or self.options.since is not None:
            return []
        known: dict[Watermark, bool] = {}
        found: list[_DestinationSync] = []
        for state in states:
            unit = units[state.target.name]
            mark = unit.seen or state.runner.ledger.watermark(self.feed.name)
            alike = replace(mark, etag=None, note=None)
            if alike not in known:
                known[alike] = pull.is_unchanged(self.feed, unit, self.source, mark)
            found += [state] if known[alike] else []
        return found

    def _since(self, state: _DestinationSync) -> str | None:
        """``since`` as cursor text of the feed. None if it is beyond the watermark: nothing is left out.

        ConfigError if the cursor is of another type.
        """
        text, mark = self.options.since, state.runner.ledger.watermark(self.feed.name)
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
            raise Stopped

    def _result(self, state: _DestinationSync, *, seconds: float) -> TableSync:
        found = state.target.found
        mark = found.ledger.watermark(self.feed.name) if isinstance(found, Runner) else Watermark()
        behind = 0.0 if state.caught_up else None
        if (
            not state.caught_up
            and not self.options.keys
            and mark.type == "timestamp"
            and (seen := from_text(mark.value))
        ):
            behind = (self.runner.now().astimezone(dt.UTC).replace(tzinfo=None) - seen).total_seconds()
        return TableSync(
            feed=self.feed.name, destination=state.target.name, outcome=state.outcome or "failed", reason=state.reason,
            windows=state.windows, seconds=seconds, watermark=mark.value, behind=behind,
            calls=traffic_of(self.source),
        )  # fmt: skip
