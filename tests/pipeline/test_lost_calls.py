"""Losing any one call to any port, before or after it takes effect, changes nothing: the host repeats the verb."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shutil
import sqlite3

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pytest

from shared.catalog import System
from shared.errors import ConflictError, DataError, TransientError
from shared.ledger.sqlite import SqliteLedger
from shared.model import Plan, Record, Run, Slice, Staged, Unit, Watermark, Window, from_json, to_text
from shared.pipeline import pull, verbs
from shared.pipeline.keys import keys_unit
from shared.sources import Source
from shared.sources.exports.listing import FindOptions, export_unit, find_exports
from shared.sources.exports.parquet import ExportsSource
from shared.stores import open_store
from shared.warehouses import Limits
from shared.warehouses.duckdb.engine import DuckDBWarehouse
from tests.exports import START, export_path, write_parquet
from tests.standins.fakes import Calls, MemoryLedger, MemoryPullSource, Watched

T = TypeVar("T")
EPOCH = START.replace(tzinfo=None)
FAR = EPOCH + dt.timedelta(days=30)
NOW = to_text(EPOCH)
SCHEMA = pa.schema(
    [("ItemId", pa.int64()), ("ModifiedOn", pa.timestamp("us")), ("IsDeleted", pa.bool_()), ("A", pa.int32())]
)


def at(minutes: int) -> dt.datetime:
    return EPOCH + dt.timedelta(minutes=minutes)


def row(key: int | None, cursor: dt.datetime | None, a: object = 1, *, deleted: bool = False, **more: object) -> dict:
    return {"ItemId": key, "ModifiedOn": cursor, "IsDeleted": deleted, "A": a, **more}


@dataclass(frozen=True)
class Position:
    """A warehouse and a ledger, and what one call to a port of theirs goes through."""

    folder: Path

    def warehouse(self) -> DuckDBWarehouse:
        return DuckDBWarehouse(self.folder / "warehouse.duckdb", "250MB", 5.0)

    def ledger(self) -> SqliteLedger:
        return SqliteLedger(self.folder / "ledger.db", 5.0)


class Host:
    """Calls the verbs as Durable does: each until it works, and with records that went through JSON."""

    def __init__(self, place: Position, calls: Calls) -> None:
        self.calls = calls
        self.real = place.warehouse()
        self.warehouse: Any = Watched(self.real, calls)
        self.ledger: Any = Watched(place.ledger(), calls)
        rule = {
            "keys": ("{table}Id",), "cursor": "ModifiedOn", "deleted": "IsDeleted", "max_reject_share": 1.0,
        }  # fmt: skip
        self.system = System(
            name="shop", source="exports", client=None, tables={}, undeclared=rule, file=Path("shop.toml")
        )

    def load(self, export: Path, now: dt.datetime) -> None:
        """Take the only table of the export in a folder."""
        store: Any = Watched(open_store(str(export)), self.calls)
        source: Any = Watched(ExportsSource(store, slice_rows=2, batch_rows=1), self.calls)
        (offered,), _ = tried(lambda: find_exports(store, FindOptions(), now.replace(tzinfo=dt.UTC)))
        self.take(tried(lambda: export_unit(offered, store)), source, now)

    def pull(self, source: MemoryPullSource, now: dt.datetime) -> None:
        watched: Any = Watched(source, self.calls)
        feed = self.system.feed("item", SCHEMA.names)
        work = tried(lambda: pull.window(feed, watched, self.ledger, now=to_text(now)))
        assert work is not None
        self.take(work, watched, now)

    def compare(self, source: MemoryPullSource, now: dt.datetime) -> None:
        """Compare the keys of the source, read from a minute before *now* on."""
        watched: Any = Watched(source, self.calls)
        feed = self.system.feed("item", SCHEMA.names)
        self.take(keys_unit(feed, now=to_text(now - dt.timedelta(minutes=1))), watched, now)

    def take(self, work: Unit, source: Source, now: dt.datetime) -> None:
        work = passed_on(work)
        run = tried(lambda: verbs.run_for("shop.item", work, self.ledger, to_text(now)))
        if run is None:
            return
        plan = passed_on(tried(lambda: verbs.plan(passed_on(run), work, source, self.system)))
        try:
            staged = [passed_on(tried(lambda part=part: self._stage(plan, part, source))) for part in plan.slices]
            tried(lambda: self._publish(plan, staged, now))
        except DataError as error:
            said = str(error)
            tried(lambda: verbs.fail(run, work, said, self.warehouse, self.ledger, to_text(now)))
        finally:
            tried(lambda: verbs.tidy(plan, self.warehouse))

    def _stage(self, plan: Plan, part: Slice, source: Source) -> Staged:
        return verbs.stage(plan, part, source, self.warehouse, cursor_ahead=86_400)

    def _publish(self, plan: Plan, staged: list[Staged], now: dt.datetime) -> Run:
        limits = Limits(max_delete_share=1.0)
        return verbs.publish(
            plan, staged, self.warehouse, self.ledger, limits=limits, finished=to_text(now)
        ).run  # fmt: skip


def tried(verb: Callable[[], T]) -> T:
    """What *verb* says, at the second try if a call was lost in the first."""
    try:
        return verb()
    except TransientError:
        return verb()


def passed_on(record: T) -> T:
    return from_json(type(record), json.loads(json.dumps(asdict(record))))


def everything(place: Position, warehouse: DuckDBWarehouse) -> dict[str, Any]:
    """All that must not depend on a lost call."""
    with warehouse._session() as session:
        listed = "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = '_sluice'"
        names = session.connection.execute(listed).fetchall()
        tables = {".".join(name): (session.columns(*name), sorted(_rows(session, *name), key=repr)) for name in names}
    with contextlib.closing(sqlite3.connect(place.folder / "ledger.db")) as db:
        ledger = {name: db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in ("watermark", "work")}
    return {**tables, **ledger}


def _rows(session: Any, schema: str, table: str) -> list[tuple[Any, ...]]:
    return session.connection.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()


# -- what is loaded, each over what was loaded before

Loads = Callable[[Host], None]


@dataclass(frozen=True)
class Case:
    """Calm loads first, then the one that loses a call."""

    load: Loads
    before: Loads = lambda host: None


def first(root: Path) -> Case:
    """A first load of two slices: one staging table becomes the target, the other joins it."""
    rows = [row(1, at(1)), row(2, at(2), deleted=True), row(3, FAR), row(4, at(1))]
    export = write_parquet(export_path(root / "first", "full", "20260224121000", "item"), rows, 2, SCHEMA)
    return Case(lambda host: host.load(export.parent, at(60)))


def delta(root: Path) -> Case:
    """A delta with rejected rows and values, a row twice, a new column and a wider one."""
    wider = pa.schema([*list(SCHEMA)[:3], ("A", pa.int64()), ("B", pa.float64())])
    rows = [
        row(1, at(12), 1 << 40, B=1.0), row(None, at(12), 5, B=1.0), row(2, at(13), 6, B=float("nan")),
        row(4, at(11), 7, B=2.0), row(4, at(12), 8, B=2.0, deleted=True),
    ]  # fmt: skip
    export = write_parquet(export_path(root / "delta", "delta", "20260224122000", "item"), rows, 2, wider)
    return Case(lambda host: host.load(export.parent, at(61)), first(root).load)


def full(root: Path) -> Case:
    """A complete full: one row it lacks is gone, one that was rejected is not."""
    rows = [row(1, at(15), 9), row(2, FAR), row(5, at(14), 1)]
    export = write_parquet(export_path(root / "full", "full", "20260224123000", "item"), rows, 2, SCHEMA)
    earlier = delta(root)

    def before(host: Host) -> None:
        earlier.before(host)
        earlier.load(host)

    return Case(lambda host: host.load(export.parent, at(62)), before)


def failing(root: Path) -> Case:
    """A delta in which a column has turned into text: it is refused, and the run says why."""
    odd = pa.schema([*list(SCHEMA)[:3], ("A", pa.string())])
    rows = [row(1, at(12), "x"), row(2, FAR, "y")]
    export = write_parquet(export_path(root / "odd", "delta", "20260224122000", "item"), rows, 2, odd)
    return Case(lambda host: host.load(export.parent, at(61)), first(root).load)


def pulled(_: Path) -> Case:
    """A window over a feed that has a watermark already."""
    rows = [row(1, at(1)), row(2, at(2)), row(3, at(3))]
    later = [row(3, at(3)), row(1, at(4), 2), row(2, at(5), 3, deleted=True), row(4, FAR, 1)]

    def pull(rows: list[dict[str, Any]], now: dt.datetime) -> Loads:
        return lambda host: host.pull(MemoryPullSource(SCHEMA, rows, "ModifiedOn", "timestamp"), now)

    return Case(pull(later, at(61)), pull(rows, at(60)))


def compared(_: Path) -> Case:
    """Keys, over what windows have brought: two rows are gone, and a key is unknown."""
    rows = [row(1, at(1)), row(2, at(2)), row(3, at(3)), row(4, at(4), deleted=True), row(5, at(5))]
    left = [row(2, at(2)), row(4, at(4), deleted=True), row(5, at(5)), row(6, at(6))]

    def source(rows: list[dict[str, Any]]) -> MemoryPullSource:
        return MemoryPullSource(SCHEMA, rows, "ModifiedOn", "timestamp")

    return Case(lambda host: host.compare(source(left), at(62)), lambda host: host.pull(source(rows), at(60)))


CASES = (first, delta, full, failing, pulled, compared)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_losing_any_one_call_changes_nothing(case, after, tmp_path):
    """Whichever call is lost, table, history, rejects, ledger and files end as if none had been.

    Every sixth call, and of calls that repeat the one before them (reads of one file, batches of one slice) only the
    first: the slow test below loses each.
    """
    check_lost_calls(case(tmp_path), tmp_path, lambda names: _changes_of(names)[3 * int(after) :: 6], after=after)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_losing_any_one_call_changes_nothing_and_each_read_is_a_call(case, after, tmp_path):
    """The same for every call, each single read and batch among them."""
    check_lost_calls(case(tmp_path), tmp_path, lambda names: range(len(names)), after=after)


def check_lost_calls(
    reported: Case, folder: Path, chosen: Callable[[Sequence[str]], Iterable[int]], *, after: bool
) -> None:
    start = prepared(reported, folder / "start")
    calm = Calls()
    expected = attacked(reported, start, folder / "calm", calm)
    ports = {name.removeprefix("next of ").partition(".")[0] for name in calm.names}

    for number in chosen(calm.names):
        calls = Calls(number + 1, after=after)
        found = attacked(reported, start, folder / f"lost{number}", calls)

        assert calls.lost is not None
        assert expected == found, calls.lost
    assert ports >= {"SqliteLedger", "DuckDBWarehouse"}


def _changes_of(names: Sequence[str]) -> list[int]:
    return [n for n, name in enumerate(names) if n == 0 or names[n - 1] != name]


def prepared(reported: Case, folder: Path) -> Position:
    folder.mkdir()
    place = Position(folder)
    reported.before(Host(place, Calls()))
    return place


def attacked(reported: Case, start: Position, folder: Path, calls: Calls) -> dict[str, Any]:
    place = Position(Path(shutil.copytree(start.folder, folder)))
    host = Host(place, calls)
    with host.real._session():  # held open: opening the file anew for each verb is most of the time
        reported.load(host)
        held = everything(place, host.real)
    return {**held, "files": sorted(path.name for path in folder.iterdir())}


# -- pull feeds


def test_an_overtaken_pull_run_gives_up(tmp_path):
    """Two runs start from one watermark; the one that comes second merges nothing and says so."""
    host, clock = Host(Position(tmp_path), Calls()), at(60)
    source = MemoryPullSource(SCHEMA, [row(1, at(1))], "ModifiedOn", "timestamp")
    feed = host.system.feed("item", SCHEMA.names)
    slow = pull.window(feed, source, host.ledger, now=NOW)
    source.rows.append(row(2, at(2)))
    host.pull(source, clock)
    before = everything(Position(tmp_path), host.real)

    with pytest.raises(ConflictError, match="advanced by another run"):
        host.take(slow, source, clock)

    assert before == everything(Position(tmp_path), host.real)


def test_a_pull_run_that_is_overtaken_while_it_merges_leaves_the_watermark_alone(tmp_path):
    """The other one commits between the merge and the commit of the first."""
    host, clock = Host(Position(tmp_path), Calls()), at(60)
    source = MemoryPullSource(SCHEMA, [row(1, at(1))], "ModifiedOn", "timestamp")
    host.ledger = Overtaking(Position(tmp_path).ledger(), Watermark(to_text(at(9)), "timestamp"))

    with pytest.raises(ConflictError, match="advanced by another run"):
        host.pull(source, clock)

    assert to_text(at(9)) == host.ledger.watermark("shop.item").value


class Overtaking:
    """A ledger in which another run commits just before each commit."""

    def __init__(self, ledger: SqliteLedger, mark: Watermark) -> None:
        self._ledger, self._mark = ledger, mark

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def commit(self, feed: str, records: Any, mark: Watermark | None = None) -> None:
        other = Record(work="another", name="another", run="another", status="done", times=0)
        self._ledger.commit(feed, [other], self._mark)
        self._ledger.commit(feed, records, mark)


def test_the_watermark_of_a_pull_feed_is_at_most_the_ceiling(tmp_path):
    """A row that changes while it is read shows a cursor beyond the window; the next window reads it again."""
    host = Host(Position(tmp_path), Calls())
    source = MemoryPullSource(SCHEMA, [row(1, at(1)), row(2, at(5))], "ModifiedOn", "timestamp")
    feed = host.system.feed("item", SCHEMA.names)
    work = pull.window(feed, source, host.ledger, now=NOW)
    source.read = lambda part: iter([pa.RecordBatch.from_pylist([row(1, at(1)), row(2, at(8))], schema=SCHEMA)])
    host.take(work, source, at(60))

    assert to_text(at(5)) == host.ledger.watermark("shop.item").value


def test_a_window_begins_below_the_watermark_by_the_overlap(tmp_path):
    """What was committed late, with a cursor below the watermark, is found within the overlap."""
    host = Host(Position(tmp_path), Calls())
    source = MemoryPullSource(SCHEMA, [row(1, at(10))], "ModifiedOn", "timestamp")
    host.pull(source, at(60))
    feed = replace(host.system.feed("item", SCHEMA.names), overlap_seconds=120)

    first, again = (pull.window(feed, source, ledger, now=NOW) for ledger in (MemoryLedger(), host.ledger))

    assert Window(None, to_text(at(10))) == first.window
    assert Window(to_text(at(8)), to_text(at(10))) == again.window


def test_an_empty_source_gives_no_window(tmp_path):
    """There is nothing to read, and no ceiling to read up to."""
    host = Host(Position(tmp_path), Calls())
    source = MemoryPullSource(SCHEMA, [], "ModifiedOn", "timestamp")

    assert None is pull.window(host.system.feed("item", SCHEMA.names), source, host.ledger, now=NOW)


def test_a_number_as_cursor_is_compared_as_a_number(tmp_path):
    """10 is above 9, though not as text."""
    schema = pa.schema([("ItemId", pa.int64()), ("ModifiedOn", pa.int64()), ("IsDeleted", pa.bool_())])
    host = Host(Position(tmp_path), Calls())
    source = MemoryPullSource(schema, [{"ItemId": 1, "ModifiedOn": 9, "IsDeleted": False}], "ModifiedOn", "bigint")
    host.pull(source, at(60))
    source.rows.append({"ItemId": 2, "ModifiedOn": 10, "IsDeleted": False})
    host.pull(source, at(61))
    source.rows.append({"ItemId": 3, "ModifiedOn": 10, "IsDeleted": False})

    work = pull.window(host.system.feed("item", schema.names), source, host.ledger, now=NOW)

    assert Watermark("10", "bigint", "2") == replace(host.ledger.watermark("shop.item"), fingerprint=None)
    assert Window("10", "10") == work.window


def test_a_row_with_the_cursor_of_the_watermark_is_taken_even_if_the_window_is_the_same(tmp_path):
    """Two rows share the highest cursor, and the second is committed after the first was read."""
    host = Host(Position(tmp_path), Calls())
    source = MemoryPullSource(SCHEMA, [row(1, at(1))], "ModifiedOn", "timestamp")
    host.pull(source, at(60))
    host.pull(source, at(61))
    source.rows.append(row(2, at(1)))
    host.pull(source, at(62))

    assert 2 == host.real.profile(host.system.feed("item", SCHEMA.names)).rows
