"""Losing any one call to any port, before or after it takes effect, changes nothing: the host repeats the verb."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shutil

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pytest

from shared import pipeline
from shared.catalog import System
from shared.errors import DataError, TransientError
from shared.ledger.sqlite import SqliteLedger
from shared.model import Plan, Run, Slice, Staged, Unit, from_json, instant
from shared.sources import Source
from shared.sources.exports import ExportsSource, Told, find, unit
from shared.stores import open_store
from shared.warehouses import Limits
from shared.warehouses.duckdb import DuckDBWarehouse
from tests.exports import START, export_path, write_parquet
from tests.fakes import Calls, MemoryPullSource, Watched

T = TypeVar("T")
EPOCH = START.replace(tzinfo=None)
FAR = EPOCH + dt.timedelta(days=30)
SCHEMA = pa.schema(
    [("ItemId", pa.int64()), ("ModifiedOn", pa.timestamp("us")), ("IsDeleted", pa.bool_()), ("A", pa.int32())]
)


def at(minutes: int) -> dt.datetime:
    return EPOCH + dt.timedelta(minutes=minutes)


def row(key: int | None, cursor: dt.datetime | None, a: object = 1, *, deleted: bool = False, **more: object) -> dict:
    return {"ItemId": key, "ModifiedOn": cursor, "IsDeleted": deleted, "A": a, **more}


@dataclass(frozen=True)
class Place:
    """A warehouse and a ledger, and what one call to a port of theirs goes through."""

    folder: Path

    def warehouse(self) -> DuckDBWarehouse:
        return DuckDBWarehouse(self.folder / "warehouse.duckdb", "250MB", 5.0)

    def ledger(self) -> SqliteLedger:
        return SqliteLedger(self.folder / "ledger.db", 5.0)


class Host:
    """Calls the verbs as Durable does: each until it works, and with records that went through JSON."""

    def __init__(self, place: Place, calls: Calls, max_reject_share: float = 1.0) -> None:
        self.calls = calls
        self.real = place.warehouse()
        self.warehouse: Any = Watched(self.real, calls)
        self.ledger: Any = Watched(place.ledger(), calls)
        rule = {
            "keys": ("{table}Id",), "cursor": "ModifiedOn", "deleted": "IsDeleted", "max_reject_share": max_reject_share,
        }  # fmt: skip
        self.system = System(
            name="shop", source="exports", client=None, tables={}, undeclared=rule, file=Path("shop.toml")
        )

    def load(self, export: Path, now: dt.datetime) -> None:
        """Take the only table of the export in a folder."""
        store: Any = Watched(open_store(str(export)), self.calls)
        source: Any = Watched(ExportsSource(store, slice_rows=2, batch_rows=1), self.calls)
        (offer,) = tried(lambda: find(store, Told(), now.replace(tzinfo=dt.UTC)))
        self.take(tried(lambda: unit(offer, store)), source, now)

    def pull(self, source: MemoryPullSource, now: dt.datetime) -> None:
        watched: Any = Watched(source, self.calls)
        feed = self.system.feed("item", SCHEMA.names)
        work = tried(lambda: pipeline.window(feed, watched, self.ledger))
        assert work is not None
        self.take(work, watched, now)

    def take(self, work: Unit, source: Source, now: dt.datetime) -> None:
        work = passed_on(work)
        run = tried(lambda: pipeline.asked("shop.item", work, self.ledger, instant(now)))
        if run is None:
            return
        plan = passed_on(tried(lambda: pipeline.plan(passed_on(run), work, source, self.system)))
        try:
            staged = [passed_on(tried(lambda part=part: self._stage(plan, part, source))) for part in plan.slices]
            tried(lambda: self._publish(plan, staged, now))
        except DataError as error:
            said = str(error)
            tried(lambda: pipeline.fail(run, work, said, self.warehouse, self.ledger, instant(now)))
        finally:
            tried(lambda: pipeline.tidy(plan, self.warehouse))

    def _stage(self, plan: Plan, part: Slice, source: Source) -> Staged:
        return pipeline.stage(plan, part, source, self.warehouse, allowance=pipeline.Allowance(86_400))

    def _publish(self, plan: Plan, staged: list[Staged], now: dt.datetime) -> Run:
        limits = Limits(max_delete_share=1.0)
        return pipeline.publish(
            plan, staged, self.warehouse, self.ledger, limits=limits, finished=instant(now)
        ).run  # fmt: skip


def tried(verb: Callable[[], T]) -> T:
    """What *verb* says, at the second try if a call was lost in the first."""
    try:
        return verb()
    except TransientError:
        return verb()


def passed_on(record: T) -> T:
    return from_json(type(record), json.loads(json.dumps(asdict(record))))


def everything(place: Place) -> dict[str, Any]:
    """All that must not depend on a lost call."""
    with place.warehouse()._session() as session:
        names = [
            (schema, table)
            for schema, table in session.connection.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = '_sluice' ORDER BY ALL"
            ).fetchall()
        ]
        tables = {
            f"{schema}.{table}": (session.columns(schema, table), sorted(_rows(session, schema, table), key=repr))
            for schema, table in names
        }
    with contextlib.closing(__import__("sqlite3").connect(place.folder / "ledger.db")) as db:
        ledger = {name: db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in ("watermark", "work")}
    beside = sorted(path.name for path in place.folder.iterdir())
    return {**tables, **ledger, "files": beside}


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
    export = write_parquet(export_path(root / "first", "full", "20260224121000", "item"), rows, 1, SCHEMA)
    return Case(lambda host: host.load(export.parent, at(60)))


def delta(root: Path) -> Case:
    """A delta with rejected rows and values, a row twice, a new column and a wider one."""
    wider = pa.schema([*list(SCHEMA)[:3], ("A", pa.int64()), ("B", pa.float64())])
    rows = [
        row(1, at(12), 1 << 40, B=1.0), row(None, at(12), 5, B=1.0), row(2, at(13), 6, B=float("nan")),
        row(4, at(11), 7, B=2.0), row(4, at(12), 8, B=2.0, deleted=True),
    ]  # fmt: skip
    export = write_parquet(export_path(root / "delta", "delta", "20260224122000", "item"), rows, 1, wider)
    return Case(lambda host: host.load(export.parent, at(61)), first(root).load)


def full(root: Path) -> Case:
    """A complete full: one row it lacks is gone, one that was rejected is not."""
    rows = [row(1, at(15), 9), row(2, FAR), row(5, at(14), 1)]
    export = write_parquet(export_path(root / "full", "full", "20260224123000", "item"), rows, 1, SCHEMA)
    earlier = delta(root)

    def before(host: Host) -> None:
        earlier.before(host)
        earlier.load(host)

    return Case(lambda host: host.load(export.parent, at(62)), before)


def failing(root: Path) -> Case:
    """A delta in which a column has turned into text: it is refused, and the run says why."""
    odd = pa.schema([*list(SCHEMA)[:3], ("A", pa.string())])
    rows = [row(1, at(12), "x"), row(2, FAR, "y")]
    export = write_parquet(export_path(root / "odd", "delta", "20260224122000", "item"), rows, 1, odd)
    return Case(lambda host: host.load(export.parent, at(61)), first(root).load)


def pulled(_: Path) -> Case:
    """A window over a feed that has a watermark already."""
    rows = [row(1, at(1)), row(2, at(2)), row(3, at(3))]
    later = [row(3, at(3)), row(1, at(4), 2), row(2, at(5), 3, deleted=True), row(4, FAR, 1)]

    def pull(rows: list[dict[str, Any]], now: dt.datetime) -> Loads:
        return lambda host: host.pull(MemoryPullSource(SCHEMA, rows, "ModifiedOn", "timestamp"), now)

    return Case(pull(later, at(61)), pull(rows, at(60)))


CASES = (first, delta, full, failing, pulled)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_losing_any_one_call_changes_nothing(case, after, tmp_path):
    """Whichever call is lost, table, history, rejects, ledger and files end as if none had been."""
    told = case(tmp_path)
    start = prepared(told, tmp_path / "start")
    calm = Calls()
    expected = attacked(told, start, tmp_path / "calm", calm)
    lost: list[str] = []

    for number in range(1, calm.made + 1):
        calls = Calls(number, after=after)
        found = attacked(told, start, tmp_path / f"lost{number}", calls)

        assert calls.lost is not None
        assert expected == found, calls.lost
        lost.append(calls.lost)

    assert calm.made == len(lost) > 20


def prepared(told: Case, folder: Path) -> Place:
    folder.mkdir()
    place = Place(folder)
    told.before(Host(place, Calls()))
    return place


def attacked(told: Case, start: Place, folder: Path, calls: Calls) -> dict[str, Any]:
    place = Place(Path(shutil.copytree(start.folder, folder)))
    host = Host(place, calls)
    with host.real._session():  # held open: opening the file anew for each verb is most of the time
        told.load(host)
    return everything(place)
