"""What loads of Azure SQL leave behind, which connections they hold, and what history says of them."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import threading

import pytest

from click.testing import CliRunner

from shared.cli.main import main
from shared.warehouses.azure_sql.loader import LoadLimits
from tests.exports import doctor_findings
from tests.suites.warehouse_case import row

pytestmark = pytest.mark.usefixtures("_no_waits")


def tables(server):
    """The staging tables there are."""
    return server.query("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'staging'")


# -- what stays behind


@pytest.mark.parametrize("fails", [False, True])
def test_tidy_leaves_neither_tables_nor_blobs(with_container, server, tmp_path, fails):
    """After success, and after a failure in the middle of it."""
    case = with_container.case(tmp_path, {"WAREHOUSE_LOADER": "bulk"})
    case.loaded("full", 4, *[row(n, "a", 1) for n in range(30)])
    if fails:
        server.fail_next("BULK INSERT", 4861)
        reported = case.write("delta", 5, [row(n, "b", 2) for n in range(30)])
        assert "4861" in case.load(reported).run.error
    else:
        case.loaded("delta", 5, *[row(n, "b", 2) for n in range(30)])

    assert [] == with_container.blobs()
    assert [] == tables(server)
    assert 0 == server.open_connections


def test_leftovers_of_others_go_after_a_day(with_container, server, tmp_path):
    """A process that died leaves tables and blobs; one that still works on them is not a day old."""
    case = with_container.case(tmp_path, {"WAREHOUSE_LOADER": "bulk"})
    case.loaded("full", 4, row(1))
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    for age, run in ((25, "a"), (23, "b")):
        server.now = lambda age=age: now - dt.timedelta(hours=age)
        with contextlib.closing(server.connect(autocommit=True)) as connection:
            connection.execute(f"CREATE TABLE [staging].[s_{run * 16}_0] ([a] int)")
            connection.execute(f"CREATE TABLE [staging].[mine_{run}] ([a] int)")
    with_container.container.upload_blob(f"in/here/s_{'c' * 16}_0/0.csv", b"")
    with_container.container.upload_blob("elsewhere/s_dddddddddddddddd_0/0.csv", b"")

    server.now = lambda: now
    case.loaded("delta", 5, row(2))
    soon = (
        with_container.blobs(),
        tables(server),
    )
    server.now = lambda: now + dt.timedelta(hours=25)
    case.loaded("delta", 6, row(3))
    later = (
        with_container.blobs(),
        tables(server),
    )

    kept = [("mine_a",), ("mine_b",)]
    elsewhere = "elsewhere/s_dddddddddddddddd_0/0.csv"
    assert ([elsewhere, f"in/here/s_{'c' * 16}_0/0.csv"], [*kept, ("s_bbbbbbbbbbbbbbbb_0",)]) == (
        soon[0],
        sorted(soon[1]),
    )
    assert ([elsewhere], kept) == (later[0], sorted(later[1]))


# -- connections


@pytest.fixture
def most(server, monkeypatch):
    """The most connections that were open at once."""
    seen = [0]
    connect = server.connect

    def counted(*reported, **more):
        connection = connect(*reported, **more)
        seen[0] = max(seen[0], server.open_connections)
        return connection

    monkeypatch.setattr(server, "connect", counted)
    return seen


@pytest.mark.parametrize("connections", [1, 2])
def test_connections_are_no_more_than_allowed(with_container, server, most, tmp_path, connections):
    """However many parts there are; one is enough for all work. One more holds the run, and none stays open."""
    case = with_container.case(
        tmp_path, {"WAREHOUSE_LOADER": "bulk", "WAREHOUSE_CONNECTIONS": str(connections)},
        limits=LoadLimits(part_bytes=200),
    )  # fmt: skip
    file = case.write("full", 5, [row(n, f"n{n}", 1) for n in range(200)], groups=20)

    result = case.load(file)
    open_after = server.open_connections

    assert (None, 200) == (result.run.error, result.run.inserted)
    assert (True, 0) == (most[0] <= connections + 1, open_after)


def test_who_finds_all_connections_taken_waits_for_one(with_container, server):
    """Loads of several tables share them."""
    engine, results = with_container.engine({"WAREHOUSE_CONNECTIONS": "1"}), []
    later = threading.Thread(target=lambda: results.append(engine.units.run(lambda session: session.first("SELECT 1"))))

    with engine.units.connection():
        later.start()
        later.join(0.2)
        meanwhile = list(results), server.open_connections
    later.join(30)

    assert (([], 1), [1]) == (meanwhile, results)


def test_looking_leaves_no_connection_open(with_container, server, tmp_path):
    """A serverless database sleeps only when nobody is connected."""
    case = with_container.case(tmp_path)
    case.loaded("full", 5, *[row(n) for n in range(20)], row(None))
    left = {}

    looks = {
        "runs": case.app.warehouse.runs,
        "run": lambda: case.app.warehouse.run("x"),
        "rejects": lambda: list(case.app.warehouse.rejects("shop.item")),
        "the first reject alone": lambda: next(iter(case.app.warehouse.rejects("shop.item"))),
        "profile": lambda: case.app.warehouse.profile(case.feed()),
        "doctor": lambda: list(doctor_findings(case.app)),
        "the first check alone": lambda: next(iter(doctor_findings(case.app))),
    }
    for name, look in looks.items():
        look()
        left[name] = server.open_connections

    assert dict.fromkeys(looks, 0) == left


# -- what history says of it


def test_history_has_size_seconds_and_log_rate(with_container, server, tmp_path, monkeypatch):
    """What a load reached beside what the tier allows; by hand and as JSON."""
    case = with_container.case(tmp_path, {"WAREHOUSE_LOADER": "bulk"})
    case.loaded("full", 5, *[row(n) for n in range(30)])
    monkeypatch.setattr("shared.app.current", lambda: case.app)

    (reported,) = json.loads(CliRunner().invoke(main, ["history", "--json"], catch_exceptions=False).stdout)

    assert [(4_718_592,)] == server.query("SELECT [log_rate] FROM [ingest].[run]")
    assert 4_718_592 == reported["log_rate"]
    assert reported["size"] > 500
    assert reported["seconds"] > 0


def test_log_rate_that_may_not_be_read_is_left_open(with_container, server, tmp_path):
    """The right to see it is a comfort, not a need: the load goes on."""
    server.log_rate = None
    case = with_container.case(tmp_path)

    run = case.loaded("full", 5, *[row(n) for n in range(30)])

    assert (None, 30) == (run.log_rate, run.inserted)


def test_a_slower_method_is_reported_to_a_person_once(with_container, server, tmp_path, monkeypatch):
    """With its reason, on the error output of a load that nobody asked to be verbose."""
    case = with_container.case(tmp_path, {"WAREHOUSE_LOADER": "bulk", "SLICE_ROWS": "20"})
    file = case.write("full", 5, [row(n) for n in range(40)], groups=20)
    server.fail_next("BULK INSERT", 4863, times=2)
    monkeypatch.setattr("shared.app.current", lambda: case.app)

    result = CliRunner().invoke(main, ["load", str(file.parent)], catch_exceptions=False)

    assert 0 == result.exit_code, result.output
    warnings = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert [True] == ["the rows of that part are sent in arrays, which is slower." in line for line in warnings]
