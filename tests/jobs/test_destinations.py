"""Jobs of feeds that go to two warehouses: staged by one reading, published in each, each healed by the next job."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
import stamina

import function_app

from shared.errors import ConfigError
from shared.jobs import triggers
from shared.jobs.summary import read_record
from shared.jobs.work import Exports
from shared.sources.exports.parquet import ExportsSource
from tests.arrivals import STAMP, rows
from tests.arrivals import Exports as ExportsContainer
from tests.exports import Clock, export_path, open_test_app, write_parquet
from tests.jobs.job_steps import file_work, row
from tests.pipeline.test_destinations import CATALOG, SHOP, Down, is_equal
from tests.standins.durable_host import DurableHost
from tests.standins.fakes import Calls, MemoryPullSource, Watched

JOB = "blob:1"


@pytest.fixture
def make(tmp_path):
    """Makes apps with two warehouses in a folder of their own."""

    def made(name="app"):
        folder = tmp_path / name
        (folder / "catalog").mkdir(parents=True)
        for system, text in (("coolr", CATALOG), ("shop", SHOP)):
            (folder / "catalog" / f"{system}.toml").write_text(text)
        return open_test_app(
            folder, Clock(), SLICE_ROWS="5", STATE_URL=str(folder / "state"), CATALOG_PATH=str(folder / "catalog"),
            WAREHOUSE_URL_LAKE=f"duckdb:///{folder}/lake.duckdb", SHOP_DATABASE_URL="mysql://u:p@h/d", SYNC_ROWS="3",
        )  # fmt: skip

    return made


@pytest.fixture
def app(make):
    return make()


@pytest.fixture
def work(tmp_path):
    """One exported file of two slices."""
    path = export_path(tmp_path / "exports", "full", "20260224110000", "location")
    return file_work(write_parquet(path, [row(key) for key in range(9)], 5))


def run(app: Any, work: Any, monkeypatch: Any, orchestrator: str = "file_job", job: str = JOB) -> Any:
    """A minute after the job before it."""
    monkeypatch.setattr("shared.app.current", lambda: app)
    start = app.now.forward(minutes=1)
    with stamina.set_testing(True, attempts=1), DurableHost(function_app.app, start=start) as durable:
        return durable.run(orchestrator, {"work": work}, job)


def with_lake(app: Any, *fails: str) -> Any:
    return replace(app, others={"lake": Down(app.others["lake"], set(fails))})


def units(app: Any, job: str = JOB) -> list[tuple[str | None, str]]:
    return [(one.destination, one.status) for one in read_record(app.documents, job).outcomes]


def left(app: Any) -> list[str]:
    """Documents that a job must not leave behind, and staging tables."""
    names = [one.name for one in app.documents.entries("") if one.name.startswith("leases/") or "/slice/" in one.name]
    for warehouse in (app.warehouse, app.others["lake"]):
        with warehouse._session() as session:
            tables = session.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        names += [name for (name,) in tables if name.startswith("s_")]
    return names


def test_a_file_is_read_once_and_published_in_each(app, work, monkeypatch):
    read, reads = ExportsSource.read, Counter()

    def counted(self, part):
        reads[part.number] += 1
        return read(self, part)

    monkeypatch.setattr(ExportsSource, "read", counted)
    job = run(app, work, monkeypatch)

    assert {"status": "done", "files": 2, "done": 2, "failed": 0} == job.output
    assert [(None, "done"), ("lake", "done")] == units(app)
    assert {0: 1, 1: 1} == reads
    assert is_equal(app)
    assert [] == left(app)


@pytest.mark.parametrize("call", ["stage", "merge", "reject"])
def test_a_destination_that_is_down_stops_no_other_and_is_healed_by_the_next_job(app, work, monkeypatch, call):
    job = run(with_lake(app, call), work, monkeypatch)

    assert {"status": "partly", "files": 2, "done": 1, "failed": 1} == job.output
    record = read_record(app.documents, JOB)
    assert record.retryable
    assert "coolr.location failed: in lake: " in record.summary.failures[0]

    assert "done" == run(app, work, monkeypatch).output["status"]
    assert [(None, "skipped"), ("lake", "done")] == units(app)
    assert is_equal(app)
    assert [] == left(app)


def test_the_main_one_that_is_down_stops_no_other(app, work, monkeypatch):
    job = run(replace(app, warehouse=Down(app.warehouse, {"merge"})), work, monkeypatch)

    assert {"status": "partly", "files": 2, "done": 1, "failed": 1} == job.output
    run(app, work, monkeypatch)
    assert is_equal(app)


def test_a_destination_that_no_setting_names_fails_alone(app, work, monkeypatch):
    job = run(replace(app, others={}), work, monkeypatch)

    assert {"status": "partly", "files": 2, "done": 1, "failed": 1} == job.output
    assert "Set WAREHOUSE_URL_LAKE to the URL of its warehouse" in read_record(app.documents, JOB).outcomes[1].error


def watched(app: Any, calls: Calls) -> Any:
    return replace(
        app, warehouse=Watched(app.warehouse, calls), ledger=Watched(app.ledger, calls),
        documents=Watched(app.documents, calls), others={"lake": Watched(app.others["lake"], calls)},
    )  # fmt: skip


CALLS = 87
"""At most so many calls does a job of two slices and two destinations make."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "lost", [pytest.param(n, marks=() if n % 14 == 1 else pytest.mark.slow) for n in range(1, CALLS + 1)]
)
def test_losing_any_one_call_changes_nothing(lost, after, make, work, monkeypatch):
    """Whichever port it is a call of, before or after it took effect."""
    app, calls = make(), Calls(lost, after=after)

    job = run(watched(app, calls), work, monkeypatch)

    assert "done" == job.output["status"], calls.lost
    assert is_equal(app), calls.lost
    assert [1, 1] == [len(one.runs("coolr.location")) for one in (app.warehouse, app.others["lake"])], calls.lost


def test_a_job_makes_no_more_calls_than_the_test_above_loses(app, work, monkeypatch):
    calls = Calls()
    run(watched(app, calls), work, monkeypatch)

    assert CALLS - 12 < len(calls.names) <= CALLS


# -- windows

SCHEMA = pa.schema([("Id", pa.int64()), ("At", pa.int64()), ("Name", pa.string())])


@pytest.fixture
def shop(monkeypatch):
    """The rows of a table to pull, and the windows that were planned of it."""
    source = MemoryPullSource(SCHEMA, [], "At", "bigint", slice_rows=2, sync_rows=3)
    calls = Calls()
    monkeypatch.setattr("shared.jobs.work.open_pull_source", lambda feed, settings: Watched(source, calls, "source"))
    source.calls = calls
    return source


def put(shop: Any, *ats: int) -> None:
    shop.rows += [{"Id": at, "At": at, "Name": str(at)} for at in ats]


def described(shop: Any) -> int:
    count = sum(name == "source.describe" for name in shop.calls.names)
    shop.calls.names.clear()
    return count


PULL = {"kind": "feed", "feed": "shop.item"}
SYNC = "sync:shop.item"


def sync(app: Any, monkeypatch: Any) -> dict[Any, list[str]]:
    run(app, PULL, monkeypatch, job=SYNC)
    found: dict[Any, list[str]] = {}
    for name, status in units(app, SYNC):
        found.setdefault(name, []).append(status)
    return found


def marks(app: Any) -> set[str | None]:
    return {app.runner.of(name).ledger.watermark("shop.item").value for name in ("main", "lake")}


def test_windows_are_planned_and_read_once_for_destinations_in_step(app, shop, monkeypatch):
    put(shop, *range(8))

    assert {None: ["done"] * 3, "lake": ["done"] * 3} == sync(app, monkeypatch)
    assert 3 == described(shop)
    assert is_equal(app, "shop", "item")


def test_one_that_lags_catches_up_in_the_same_job_and_then_reads_with_the_others(app, shop, monkeypatch):
    put(shop, *range(4))
    sync(app, monkeypatch)
    put(shop, *range(4, 12))
    lagging = sync(with_lake(app, "stage"), monkeypatch)
    assert (["done"] * 3, ["failed"]) == (lagging[None], lagging["lake"])
    put(shop, 20)

    found = sync(app, monkeypatch)

    assert (["done"], ["done"] * 3) == (found[None], found["lake"])
    assert {"20"} == marks(app) or len(marks(app)) == 1
    assert is_equal(app, "shop", "item")
    assert 0.0 == max(one.behind or 0.0 for one in read_record(app.documents, SYNC).outcomes)

    put(shop, 30)
    described(shop)
    sync(app, monkeypatch)
    assert 1 == described(shop)
    assert [] == left(app)


@pytest.mark.slow
def test_one_that_is_far_behind_leaves_the_rest_to_the_next_job(app, shop, monkeypatch):
    """So that the first is not kept from its next sync."""
    put(shop, *range(36))
    sync(with_lake(app, "stage"), monkeypatch)

    found = sync(app, monkeypatch)
    assert 10 == len(found["lake"])
    assert len(marks(app)) == 2

    sync(app, monkeypatch)
    assert len(marks(app)) == 1
    assert is_equal(app, "shop", "item")


def test_keys_are_read_once_and_compared_in_each(app, shop, monkeypatch):
    put(shop, *range(4))
    sync(app, monkeypatch)
    del shop.rows[0]
    described(shop)

    run(app, {**PULL, "keys": True}, monkeypatch, job="keys:shop.item")

    assert [(None, 1), ("lake", 1)] == [
        (one.destination, one.absent) for one in read_record(app.documents, "keys:shop.item").outcomes
    ]
    assert 1 == described(shop)


def test_the_tables_of_a_system_are_summed_up_by_destination(app, shop, monkeypatch):
    put(shop, *range(4))
    work = {"kind": "system", "system": "shop", "feeds": ["item"]}

    job = run(with_lake(app, "merge"), work, monkeypatch, "system_job", "sync:shop")

    assert {"status": "partly", "files": 2, "done": 1, "failed": 1} == job.output
    run(app, work, monkeypatch, "system_job", "sync:shop")
    assert [(None, "no news"), ("lake", "done")] == units(app, "sync:shop")
    assert is_equal(app, "shop", "item")


def test_a_source_that_cannot_be_opened_is_a_fault_of_each(app, work, monkeypatch):
    """Not a step that is repeated until it has failed too often."""
    opened = iter([True])  # by the plan alone
    store = Exports.store

    def gone(self, url):
        if next(opened, False):
            return store(self, url)
        raise ConfigError("there is no such container", fix="Make it")

    monkeypatch.setattr(Exports, "store", gone)
    job = run(app, work, monkeypatch)

    assert {"status": "failed", "files": 2, "done": 0, "failed": 2} == job.output
    errors = [one.error for one in read_record(app.documents, JOB).outcomes]
    assert ["there is no such container. Make it.", "in lake: there is no such container. Make it."] == errors


def test_a_destination_that_is_added_later_is_filled_by_the_search_for_missed_files(
    app, azurite, container, tmp_path, monkeypatch
):
    """Of files that the first one has, each job loads them into the other one alone."""
    urls = {"STORAGE_CONNECTION_STRING": azurite.connection_string, "EXPORTS_URL": container.url}
    app = replace(app, settings=replace(app.settings, **{name.lower(): url for name, url in urls.items()}))
    exports = ExportsContainer(container, azurite, tmp_path)
    exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(3))
    (start,) = triggers.missed_files(app)
    run(with_lake(app, "stage"), start.input["work"], monkeypatch, job=start.job)
    assert [(None, "done"), ("lake", "failed")] == units(app, start.job)

    (again,) = triggers.missed_files(app)
    run(app, again.input["work"], monkeypatch, job=again.job)

    assert [(None, "skipped"), ("lake", "done")] == units(app, start.job)
    assert is_equal(app)
    assert [] == list(triggers.missed_files(app))
