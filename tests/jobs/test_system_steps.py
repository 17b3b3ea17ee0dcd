"""The steps of a system's job over the real App: late, twice, with any one call of any port lost; a hundred tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import stamina

import function_app

from shared import sources
from shared.jobs.activities import run_activity
from shared.jobs.summary import read_record
from tests.exports import START, Clock, open_test_app
from tests.jobs.job_steps import STARTED
from tests.quick import quick_if
from tests.standins.durable_host import DurableHost
from tests.standins.fakes import Calls, Watched

TOY = """
[system]
name = "crm"
source = "toy"

[defaults]
keys = ["Id"]
cursor = "At"

[tables]
"""
WORK = {"kind": "system", "system": "crm"}


@pytest.fixture(scope="module", autouse=True)
def toy():
    """Three rows in every table, whatever its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sources.KINDS, "toy", sources.SourceKind("tests.sources.toy", delivers="windows"))
        yield


def open_crm(folder: Any, count: int = 2, **env: str) -> Any:
    (folder / "catalog").mkdir(parents=True)
    tables = "\n".join(f"t{n:02} = {{}}" for n in range(count))
    (folder / "catalog" / "crm.toml").write_text(f"{TOY}{tables}\n")
    return open_test_app(
        folder, Clock(), STATE_URL=str(folder / "state"), CATALOG_PATH=str(folder / "catalog"), **env
    )  # fmt: skip


def request(**more: Any) -> dict[str, Any]:
    return {"job": "sync:crm", "started": STARTED, "work": WORK, **more}


def of_table(table: int, **more: Any) -> dict[str, Any]:
    work = {"kind": "feed", "feed": f"crm.t{table:02}"}
    return {"job": "sync:crm", "started": STARTED, "work": work, "table": table, **more}


STEPS = [
    ("open_tables", request()),
    ("take_table", request(lane=0, after=-1)),
    ("take_table", request(lane=1, after=-1)),
    *((name, of_table(table, unit=0, **more))
      for table in (1, 0) for name, more in (
          ("plan", {}), ("stage", {"slice": 0}), ("stage", {"slice": 1}), ("publish", {}), ("tidy", {})
      )),
    *(("finish_table", of_table(table, units=1)) for table in (0, 1)),
    ("finish", request(units=2)),
]  # fmt: skip
"""Of two tables in two lanes."""
NAMES = [name for name, _ in STEPS]
EACH = [quick_if(name not in NAMES[:n], n, id=f"{n}-{name}") for n, name in enumerate(NAMES)]
"""The first step of each name is quick."""


def left(app: Any) -> dict[str, Any]:
    """Rows, runs, watermarks, and the names of documents that stay."""
    with app.warehouse._session() as session:
        found = session.connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        tables = [name for (name,) in found]
        rows = {
            name: session.connection.execute(f"SELECT * FROM crm.{name} ORDER BY 1").fetchall()
            for name in tables if name.startswith("t")
        }  # fmt: skip
    feeds = [f"crm.{name}" for name in rows]
    documents = {entry.name for entry in app.documents.entries("") if not entry.name.startswith(("told/", "clients/"))}
    runs = sorted((run.feed, run.status, run.inserted) for run in app.warehouse.runs())
    marks = [app.ledger.watermark(feed).value for feed in feeds]
    return {"tables": tables, "rows": rows, "runs": runs, "marks": marks, "documents": documents}


@pytest.fixture(scope="module")
def calm(tmp_path_factory, toy):
    """What is left by steps that each come once."""
    app = open_crm(tmp_path_factory.mktemp("calm"))
    for name, given in STEPS:
        run_activity(app, name, given)
    return left(app)


def test_steps_in_order_are_a_sync_of_all_tables(tmp_path, calm):
    """Rows are in the tables, the summary is kept, and nothing else but what is remembered of feeds."""
    assert [("crm.t00", "done", 3), ("crm.t01", "done", 3)] == calm["runs"]
    assert ["3", "3"] == calm["marks"]
    assert {"jobs/sync:crm/summary"} == {name for name in calm["documents"] if not name.startswith(("feeds/", "runs/"))}


@pytest.mark.parametrize("which", EACH)
def test_a_step_that_comes_twice_changes_nothing(which, tmp_path, calm):
    """It returns the same, too: a lane gets the table that it has taken."""
    app = open_crm(tmp_path)
    for number, (name, given) in enumerate(STEPS):
        answers = [run_activity(app, name, given) for _ in range(2 if number == which else 1)]

        assert answers[0] == answers[-1]
    assert calm == left(app)


@pytest.mark.parametrize("which", EACH)
def test_a_step_that_comes_after_its_job_has_ended_changes_nothing(which, tmp_path, calm):
    """No lease is acquired that nobody would release; a list of tables that was kept again is removed by age."""
    app = open_crm(tmp_path)
    for name, given in STEPS:
        run_activity(app, name, given)
    record = read_record(app.documents, "sync:crm")

    run_activity(app, *STEPS[which])
    after = left(app)
    more = after.pop("documents") - calm["documents"]

    assert {name: value for name, value in calm.items() if name != "documents"} == after
    assert more <= {f"jobs/sync:crm/{STARTED}/{name}" for name in ("tables", "0/unit", "1/unit")}
    assert record == read_record(app.documents, "sync:crm")


def run_job(app: Any, calls: Calls, monkeypatch: Any, **options: Any) -> Any:
    watched = replace(
        app, warehouse=Watched(app.warehouse, calls), ledger=Watched(app.ledger, calls),
        documents=Watched(app.documents, calls),
    )  # fmt: skip
    monkeypatch.setattr("shared.app.current", lambda: watched)
    with DurableHost(
        function_app.app, check_determinism=False, start=START, payload_limit=45 << 10, **options
    ) as durable:
        return durable.run("system_job", {"work": WORK}, "sync:crm"), durable


CALLS = 101
"""At most so many calls does a job of two tables make."""
SOME = range(1, CALLS, 19)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("lost", [quick_if(n in SOME, n) for n in range(1, CALLS + 1)])
def test_losing_any_one_call_of_a_job_changes_nothing(lost, after, tmp_path, monkeypatch, calm):
    """Whichever call of warehouse, ledger or documents it is, before or after it took effect."""
    app, calls = open_crm(tmp_path), Calls(lost, after=after)
    with stamina.set_testing(True, attempts=1):
        job, _ = run_job(app, calls, monkeypatch)
    found = left(app)

    assert "done" == job.output["status"], calls.lost
    assert calm == found, calls.lost


def test_a_job_makes_no_more_calls_than_the_test_above_loses(tmp_path, monkeypatch):
    """Else some would never be lost."""
    calls = Calls()
    run_job(open_crm(tmp_path), calls, monkeypatch)

    assert CALLS - 10 < len(calls.names) <= CALLS


@pytest.mark.slow
def test_a_hundred_tables_are_one_job_and_one_summary(tmp_path, monkeypatch):
    """In payloads as small as those of one, without anything left behind."""
    app = open_crm(tmp_path, 100)

    job, durable = run_job(app, Calls(), monkeypatch)
    record = read_record(app.documents, "sync:crm")
    largest, what = durable.largest_payload()

    assert {"status": "done", "files": 100, "done": 100, "failed": 0} == job.output
    assert (300, 0, 0.0) == (record.summary.inserted, record.summary.failed, record.summary.behind or 0.0)
    assert largest < 1_500, what
    assert {"jobs/sync:crm/summary"} == {
        name for name in left(app)["documents"] if not name.startswith(("feeds/", "runs/"))
    }
