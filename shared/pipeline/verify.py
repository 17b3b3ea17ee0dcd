"""Compare a feed's table with a full of it, or with its source: counts and checksums first, then rows that differ.

The source is read, cast and staged as a load does it, and the warehouse compares. Nothing is merged.
"""

from __future__ import annotations

import datetime as dt
import shlex

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from shared.comparing import RANGE_ROWS, CompareOptions, Compares, Comparison
from shared.contract import cursor
from shared.declared import Layout
from shared.errors import LOAD_AGAIN, ConfigError, DataError
from shared.ids import run_id
from shared.model import MAIN, Feed, FeedName, Plan, Run, Unit, to_text
from shared.pipeline import pull
from shared.pipeline.csv import text_layout
from shared.pipeline.destinations import targets
from shared.pipeline.folder import exports_source
from shared.pipeline.progress import Progress
from shared.pipeline.runner import Runner, RunOptions
from shared.settings import Settings
from shared.sources import KINDS, Source, open_pull_source
from shared.sources.csv.files import FileOptions, text_files, text_unit
from shared.sources.csv.source import CsvSource
from shared.sources.exports.choice import load_plans, one_client
from shared.sources.exports.listing import FindOptions, export_unit, find_exports
from shared.stores import open_store
from shared.stores.expiry import refuse_expired
from shared.text import counted

SOURCE = "source"
"""What ``--against`` says for the source itself."""
_LOOKED_AT = 200
"""Runs in which a later full is looked for."""
_ALWAYS_PASS = 10
"""So many deletions need no leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What to compare a table with."""

    against: str = SOURCE
    """A folder, file or URL of a full export, or SOURCE."""
    exported_at: str | None = None
    """Text of records; it goes before what the path of an export says."""
    destination: str | None = None
    """By default the first one of the feed."""
    most: int = 20
    """Differences that are listed."""
    range_rows: int = RANGE_ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What comparing a table has found."""

    feed: str
    destination: str
    against: str
    """What was compared with it, for people."""
    at: str
    """Text of records: the time of the full, or when the reading began."""
    found: Comparison
    rejected: int
    """Rows of the source that a load would reject."""
    notes: tuple[str, ...] = ()
    repair: str | None = None
    """The command that repairs the differences; None if there are none."""


@dataclass(frozen=True, slots=True)
class _Against:
    """What a table is compared with."""

    name: str
    unit: Unit
    source: Source


def verify(
    runner: Runner, settings: Settings, feed: str, options: VerifyOptions, progress: Progress | None = None
) -> Verification:  # fmt: skip
    """Compare the table of *feed* in one destination. It has to be staged, so that takes as long as a load does.

    ConfigError if there is nothing to compare, DataError if a load would refuse the source.
    """
    known, into = _feed(runner, feed), targets(runner, feed, options.destination)[0].runner
    if not isinstance(into.warehouse, Compares):
        raise ConfigError(
            f"sluice verify does not compare tables in Snowflake yet, where {feed} goes",
            fix="Name another destination of the feed with --destination",
        )
    if not into.warehouse.columns(known):
        raise ConfigError(f"there is no table {feed} yet", fix=f"Load it first: {_loading(known, options.against)}")
    began, shown = into.now(), progress or Progress()
    with _opened(runner, settings, known, options, to_text(began)) as against:
        if KINDS[known.source].delivers == "text":
            into = into.with_system(into.systems[known.system].with_layout(known.table, _layout(runner, known)))
        run, found, rejected = _compared(into, known, against, began, options, shown)
    at = run.exported_at or to_text(began)
    late = _later_full(into, feed, at)
    return Verification(
        feed=feed, destination=into.destination, against=against.name, at=at, found=found, rejected=rejected,
        notes=tuple(_notes(known, found, rejected, late)),
        repair=None if found.equal or late else _repair(known, found, options, into.destination, run),
    )  # fmt: skip


def _feed(runner: Runner, name: str) -> Feed:
    parsed = FeedName.parse(name)
    system = runner.systems.get(parsed.system)
    if system is None:
        raise ConfigError(f"there is no system {parsed.system!r}", fix=f"Choose one of {', '.join(runner.systems)}")
    bare = Feed(system=parsed.system, table=parsed.table, source="", keys=())
    return system.feed(parsed.table, list(runner.warehouse.columns(bare)))


# -- what it is compared with


@contextmanager
def _opened(runner: Runner, settings: Settings, feed: Feed, options: VerifyOptions, now: str) -> Iterator[_Against]:
    delivers = KINDS[feed.source].delivers
    if options.against == SOURCE and delivers != "windows":
        raise ConfigError(
            f"{feed.name} comes in files, so there is no source to ask",
            fix="Name a full export of it with --against FOLDER",
        )
    if options.against == SOURCE:
        source = open_pull_source(feed, settings)
        try:
            yield _Against(f"source {feed.system}", pull.whole(feed, source, now=now), source)
        finally:
            source.close()
    elif delivers == "windows":
        raise ConfigError(f"{feed.name} is read from its source, not from files", fix="Leave out --against")
    else:
        yield (_export if delivers == "exports" else _text)(runner, settings, feed, options)


def _export(runner: Runner, settings: Settings, feed: Feed, options: VerifyOptions) -> _Against:
    """The newest full of the folder."""
    store = open_store(options.against, settings)
    refuse_expired(store.expires, runner.now())
    client = runner.systems[feed.system].client
    wanted = FindOptions(
        client=client, exported_at=options.exported_at, tables=(feed.table,), settle_seconds=settings.settle,
        ahead_seconds=settings.cursor_ahead,
    )  # fmt: skip
    try:
        exports, _ = find_exports(store, wanted, runner.now())
    except ConfigError:  # its path may not say that it is a full
        exports, _ = find_exports(store, replace(wanted, kind="full"), runner.now())
    (plan,) = load_plans(one_client(exports, client), everything=False)
    if not plan.fulls:
        raise ConfigError(
            f"there is no complete full of {feed.name} in that folder, only what is merged as a delta",
            fix="Name the folder of a full export",
        )
    full = plan.fulls[0]
    return _Against(full.folder, export_unit(full, store), exports_source(store, settings))


def _text(runner: Runner, settings: Settings, feed: Feed, options: VerifyOptions) -> _Against:
    store = open_store(options.against, settings)
    refuse_expired(store.expires, runner.now())
    found = list(text_files(store))
    if len(found) != 1:
        raise ConfigError(f"{len(found)} files are there, and a full of {feed.name} is one", fix="Name one file")
    source = CsvSource(store, _layout(runner, feed), batch_rows=settings.batch_size)
    latest = runner.now() + dt.timedelta(seconds=runner.cursor_ahead)
    unit = text_unit(found[0], store, FileOptions(full=True, exported_at=options.exported_at), latest)
    return _Against(found[0].name, unit, source)


def _layout(runner: Runner, feed: Feed) -> Layout:
    return text_layout(runner.systems, FeedName(feed.system, feed.table))


# -- staging and comparing


def _compared(
    runner: Runner, feed: Feed, against: _Against, began: dt.datetime, options: VerifyOptions, progress: Progress
) -> tuple[Run, Comparison, int]:
    """The run that only compares, what it found, and how many rows of the source are rejected."""
    assert isinstance(runner.warehouse, Compares)  # noqa: S101 - verify has looked
    unit = replace(against.unit, complete=True)  # so that all rows are staged
    run = runner.run_for(feed.name, unit, RunOptions(again=True, dry_run=True), verify_history=False)
    assert run is not None  # noqa: S101 - again=True always gives a run
    run = replace(run, id=run_id(feed.name, [(f"verify {began}", 0)], dry=True))
    plan = runner.plan(run, unit, against.source)
    if plan.faulty:
        raise DataError(f"a part of it cannot be read: {next(iter(plan.faulty.values()))}", fix=LOAD_AGAIN)
    progress.start(feed.name, sum(part.rows for part in plan.slices))
    try:
        with runner.warehouse.owned(run, lambda: None):
            staged = [runner.stage(plan, part, against.source, progress.rows) for part in plan.slices]
            progress.phase(f"{feed.name}: comparing")
            finished = replace(run, finished=to_text(runner.now()))
            chosen = CompareOptions(
                began=began.replace(tzinfo=None), loaded_to=_loaded_to(runner, plan.feed, plan), most=options.most,
                range_rows=options.range_rows,
            )  # fmt: skip
            found = runner.warehouse.compare(plan, staged, finished, chosen)
    finally:
        runner.tidy(plan, dry_run=True)
    return finished, found, sum(part.rejected for part in staged)


def _loaded_to(runner: Runner, feed: Feed, plan: Plan) -> Any:
    """The watermark of a pull feed as a value of its cursor, if it has one of that type."""
    mark = runner.ledger.watermark(feed.name)
    kind = next((column.type for column in plan.columns if column.name == feed.cursor), None)
    if not KINDS[feed.source].pulled or mark.value is None or mark.type is None or kind is None:
        return None
    return cursor.typed(mark.type, mark.value) if cursor.family(kind) == cursor.family(mark.type) else None


# -- what is said of it


def _later_full(runner: Runner, feed: str, at: str) -> str | None:
    """The time of a complete full exported after *at* that is loaded already: then loading this one repairs nothing."""
    runs = runner.warehouse.runs(feed, limit=_LOOKED_AT)
    fulls = (run.exported_at for run in runs if run.status == "done" and run.complete and run.kind != "keys")
    return max((time for time in fulls if time and time > at), default=None)


def _notes(feed: Feed, found: Comparison, rejected: int, late: str | None) -> Iterator[str]:
    if late:
        yield f"a full of {late[:19]} is loaded already, which goes before this one: compare the table with that one"
    if found.later:
        newer = (
            "are not loaded yet, or are newer in the table" if KINDS[feed.source].pulled else "are newer in the table"
        )
        yield f"{counted(found.later, 'row')} differ, but {newer}: no difference"
    if rejected:
        yield f"{counted(rejected, 'row')} of the source would be rejected, and cannot be compared"
    if found.uncompared:
        yield f"the source lacks {', '.join(found.uncompared)}: loads leave these columns as they are"
    if pull.forgets(feed) and found.extra:
        yield f"{feed.system} forgets rows: those that only the table has need not be deleted there"


def _repair(feed: Feed, found: Comparison, options: VerifyOptions, destination: str, run: Run) -> str | None:
    """The command that repairs what differs."""
    only_extra = not (found.missing or found.differing or found.lacking or found.unlike)
    if only_extra and pull.forgets(feed):
        return None
    words = [_loading(feed, options.against), *([] if destination == MAIN else [f"--destination {destination}"])]
    if KINDS[feed.source].pulled:
        words.append("--keys" if only_extra else "--full")
    else:
        if options.exported_at or not run.exported_at:  # without its time a full is merged as a delta
            words.append(f"--exported-at {options.exported_at or 'T'}")
        words.append("--again")
    if found.extra > _ALWAYS_PASS and found.extra > feed.max_delete_share * found.rows:
        words.append("--max-delete-share 1")
    return " ".join(words)


def _loading(feed: Feed, place: str = "FOLDER") -> str:
    """The command that loads *feed*.

    >>> _loading(Feed(system="shop", table="item", source="exports", keys=()), "my folder")
    "sluice load 'my folder' --system shop --tables item"
    """
    place = "FOLDER" if place == SOURCE else place
    if KINDS[feed.source].pulled:
        return f"sluice sync {feed.system} {feed.table}"
    if KINDS[feed.source].delivers == "text":
        return f"sluice csv {feed.system} {feed.table} {shlex.quote(place)} --full"
    return f"sluice load {shlex.quote(place)} --system {feed.system} --tables {feed.table}"
