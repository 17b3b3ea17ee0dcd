"""Jobs whose warehouse is a data lake: as the main one, as the second one, and in a container."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import stamina

import function_app

from shared.jobs.summary import read_record
from tests.exports import Clock, export_path, open_test_app, write_parquet
from tests.jobs.job_steps import file_work, row
from tests.pipeline.test_destinations import CATALOG, SHOP, Down
from tests.quick import quick_if
from tests.standins.durable_host import DurableHost
from tests.standins.fakes import Calls, MemoryPullSource, Watched

JOB = "blob:1"
KINDS = ("lake and DuckDB", "DuckDB and lake", "lake and lake")
SCHEMA = pa.schema([("Id", pa.int64()), ("At", pa.int64()), ("Name", pa.string())])


@pytest.fixture
def make(tmp_path):
    """Makes apps with two warehouses in a folder of their own."""

    def made(kind, **env):
        folder = tmp_path / "app"
        (folder / "catalog").mkdir(parents=True)
        for system, text in (("coolr", CATALOG), ("shop", SHOP)):
            (folder / "catalog" / f"{system}.toml").write_text(text)
        urls = [
            f"lake:///{folder}/lake{n}" if name == "lake" else f"duckdb:///{folder}/{n}.duckdb"
            for n, name in enumerate(kind.split(" and "))
        ]
        places = {"WAREHOUSE_URL": urls[0], "WAREHOUSE_URL_LAKE": urls[1], "SHOP_DATABASE_URL": "mysql://u:p@h/d"}
        return open_test_app(
            folder, Clock(), SLICE_ROWS="5", SYNC_ROWS="3", STATE_URL=str(folder / "state"),
            CATALOG_PATH=str(folder / "catalog"), **{**places, **env},
        )  # fmt: skip

    return made


@pytest.fixture
def work(tmp_path):
    """One exported file of two slices; one of its rows is rejected."""
    path = export_path(tmp_path / "exports", "full", "20260224110000", "location")
    return file_work(write_parquet(path, [row(key) for key in (*range(9), None)], 5))


def run(app, work, monkeypatch, orchestrator="file_job", job=JOB):
    monkeypatch.setattr("shared.app.current", lambda: app)
    start = app.now.forward(minutes=1)
    with stamina.set_testing(True, attempts=1), DurableHost(function_app.app, start=start) as durable:
        return durable.run(orchestrator, {"work": work}, job)


def warehouses(app):
    return (app.warehouse, app.others["lake"])


def contents(app, table="coolr.location"):
    """The rows of both, without who brought them and when."""
    found = []
    for warehouse in warehouses(app):
        names, rows = warehouse.table_rows(*table.split("."))
        own = [n for n, name in enumerate(names) if name not in ("FirstSyncAt", "SyncedAt", "SyncedBy")]
        found.append(sorted([repr([row[n] for n in own]) for row in rows]))
    return found


def staged(app):
    """What is left of staging, of the lakes."""
    lakes = [Path(one._storage.name) for one in warehouses(app) if hasattr(one, "_storage")]
    return [path for lake in lakes for path in (lake / "_staging").rglob("*") if path.name.startswith(("s_", "w_"))]


@pytest.mark.parametrize("kind", [quick_if(kind == KINDS[0], kind) for kind in KINDS])
def test_a_file_is_published_in_each(kind, make, work, monkeypatch):
    """With its rejects, once whatever is repeated, and nothing stays staged."""
    app = make(kind)

    first, again = (run(app, work, monkeypatch).output for _ in range(2))

    assert {"status": "done", "files": 2, "done": 2, "failed": 0} == first
    assert 0 == again["failed"]
    main, other = contents(app)
    assert 9 == len(main)
    assert main == other
    assert [1, 1] == [len(list(one.rejects("coolr.location"))) for one in warehouses(app)]
    assert [1, 1] == [len(one.runs("coolr.location")) for one in warehouses(app)]
    assert [] == staged(app)


@pytest.mark.parametrize("kind", [quick_if(kind == KINDS[1], kind) for kind in KINDS])
def test_one_that_is_down_is_healed_by_the_next_job(kind, make, work, monkeypatch):
    app = make(kind)
    down = replace(app, others={"lake": Down(app.others["lake"], {"merge"})})

    partly, healed = run(down, work, monkeypatch).output, run(app, work, monkeypatch).output

    assert ("partly", "done") == (partly["status"], healed["status"])
    main, other = contents(app)
    assert 9 == len(main)
    assert main == other
    assert [] == staged(app)


CALLS = 84
"""At most so many calls does a job of two slices and two destinations make (tests/jobs/test_destinations.py)."""


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("lost", range(1, CALLS, 6))
def test_losing_any_one_call_changes_nothing(lost, after, make, work, monkeypatch):
    """Whichever port it is a call of, before or after it took effect."""
    app, calls = make(KINDS[2]), Calls(lost, after=after)
    watched = replace(
        app, warehouse=Watched(app.warehouse, calls), ledger=Watched(app.ledger, calls),
        documents=Watched(app.documents, calls), others={"lake": Watched(app.others["lake"], calls)},
    )  # fmt: skip

    job = run(watched, work, monkeypatch)

    assert "done" == job.output["status"], calls.lost
    main, other = contents(app)
    assert 9 == len(main), calls.lost
    assert main == other, calls.lost
    assert [1, 1] == [len(one.runs("coolr.location")) for one in warehouses(app)], calls.lost


@pytest.mark.parametrize("kind", [quick_if(False, kind) for kind in KINDS])
def test_windows_are_read_into_each_and_what_is_gone_is_deleted(kind, make, monkeypatch):
    """A table of a database, window by window, and then its keys."""
    source = MemoryPullSource(SCHEMA, [], "At", "bigint", slice_rows=2, sync_rows=3)
    monkeypatch.setattr("shared.jobs.work.open_pull_source", lambda feed, settings: source)
    source.rows += [{"Id": at, "At": at, "Name": str(at)} for at in range(8)]
    app, work = make(kind), {"kind": "feed", "feed": "shop.item"}

    run(app, work, monkeypatch, job="sync:shop.item")
    first = contents(app, "shop.item")
    del source.rows[0]
    run(app, {**work, "keys": True}, monkeypatch, job="keys:shop.item")

    assert 8 == len(first[0])
    assert first[0] == first[1]
    gone = [(one.destination, one.absent) for one in read_record(app.documents, "keys:shop.item").outcomes]
    assert [(None, 1), ("lake", 1)] == gone
    main, other = contents(app, "shop.item")
    assert main == other != first[0]


@pytest.mark.slow
def test_the_main_one_may_lie_in_a_container(make, work, azurite, container, monkeypatch):
    """Steps of a job may run on several machines: what is staged lies in the container, too."""
    url = f"lake+{azurite.blob_url}/{container.container_name}/lake"
    app = make(KINDS[1], WAREHOUSE_URL=url, STORAGE_CONNECTION_STRING=azurite.connection_string)

    job = run(app, work, monkeypatch)

    assert {"status": "done", "files": 2, "done": 2, "failed": 0} == job.output
    main, other = contents(app)
    assert 9 == len(main)
    assert main == other
    assert [] == [name for name in container.list_blob_names() if "/s_" in name or "/w_" in name]
