"""Rows in CSV parts by way of a real Azurite, and what stays behind."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import threading

import pytest

from click.testing import CliRunner

from shared.cli.main import main
from shared.errors import ConfigError, TransientError
from shared.warehouses.azure_sql import canary, loader
from shared.warehouses.merge import shape
from shared.warehouses.server.warehouse import STAGING
from tests.suites.warehouse_suite import row
from tests.warehouses.azure_sql.loader_samples import batch, filled, sent, staging, stored


def test_parts_are_loaded_side_by_side(bulk, server, bay, monkeypatch):
    """Each in a transaction of its own, and no more of them than there may be connections."""
    monkeypatch.setattr(loader, "_PART_BYTES", 100)
    columns, together = {"Key": "text"}, threading.Barrier(3)
    bay.seen = lambda data: (together.wait(30), data)[1]  # three have to be on their way before one may go on
    batches = [
        batch(columns, *[(f"k{n}",) for n in range(start, start + 50)], first=start) for start in range(0, 300, 50)
    ]

    loaded = filled(bulk, "bulk", staging(columns), *batches)

    assert 6 == len(sent(server, "BULK INSERT"))
    assert 300 == loaded.rows
    assert [(n, f"k{n}") for n in range(300)] == stored(bulk, staging(columns))
    assert [] == bay.blobs()
    assert server.open_connections <= 3


def test_blobs_lie_in_the_folder_of_the_staging_url(bulk, server):
    """Below a folder of the table, and the server finds them by the same path."""
    filled(bulk, "bulk", staging({"Key": "text"}), batch({"Key": "text"}, ("a",)))

    (statement,) = sent(server, "BULK INSERT")
    assert "FROM N'in/here/s_0123456789abcdef_0/0.csv'" in statement


def test_row_that_did_not_arrive_is_noticed(bulk, bay):
    """The server reports success; the counts do not agree, and nothing of the part stays."""
    bay.seen = lambda data: data[: data.rstrip(b"\n").rindex(b"\n") + 1]

    with pytest.raises(TransientError, match="3 rows were sent, but 2 arrived"):
        filled(bulk, "bulk", staging({"Key": "text"}), batch({"Key": "text"}, ("a",), ("b",), ("c",)))
    assert [] == stored(bulk, staging({"Key": "text"}))


@pytest.mark.parametrize("number", [4863, 4864, 4867, 4879, 13812])
def test_part_that_is_refused_goes_row_by_row(bulk, server, bay, caplog, number):
    """Read back from its blob, all types as they were: a refusal costs time, and no row that is fine."""
    table = shape.staging(canary.FEED, canary.COLUMNS, "canary_0", STAGING)
    server.fail_next("BULK INSERT", number)

    with caplog.at_level(logging.WARNING, "sluice"):
        loaded = filled(bulk, "bulk", table, canary.batch())

    assert [] == list(canary.failures(stored(bulk, table)))
    assert (len(canary.CASES), ()) == (loaded.rows, loaded.refused)
    assert "the rows of that part are sent in arrays" in caplog.text
    assert [] == bay.blobs()


def test_part_that_is_broken_on_its_way_goes_row_by_row(bulk, bay):
    """What the server read is not what the app had written."""
    bay.seen = lambda data: data.replace(b'"b"', b'"b" x')

    loaded = filled(bulk, "bulk", staging({"Key": "text"}), batch({"Key": "text"}, ("a",), ("b",), ("c",)))

    assert (3, ()) == (loaded.rows, loaded.refused)
    assert ["a", "b", "c"] == [row[1] for row in stored(bulk, staging({"Key": "text"}))]


def test_text_longer_than_a_block_can_be_read_back(bulk, server):
    """The reader of parts cuts them into blocks, and a row has to fit one."""
    server.fail_next("BULK INSERT", 4864)
    columns = {"Key": "text", "Name": "text"}
    long = "xy\n" * 4_000_000

    filled(bulk, "bulk", staging(columns), batch(columns, ("a", "before"), ("b", long), ("c", "after")))

    assert ["before", long, "after"] == [row[2] for row in stored(bulk, staging(columns))]


def test_refusal_of_anything_but_values_ends_the_load(bulk, server):
    """Rows one by one would not help where the container cannot be read."""
    server.fail_next("BULK INSERT", 4861)

    with pytest.raises(ConfigError, match="4861"):
        filled(bulk, "bulk", staging({"Key": "text"}), batch({"Key": "text"}, ("a",)))
    assert [] == sent(server, "INSERT INTO [staging]")


@pytest.mark.parametrize("fails", [False, True])
def test_tidy_leaves_neither_tables_nor_blobs(bay, server, tmp_path, monkeypatch, fails):
    """After success, and after a failure in the middle of it."""
    case = bay.case(tmp_path, WAREHOUSE_LOADER="bulk")
    case.loaded("full", 4, *[row(n, "a", 1) for n in range(30)])
    if fails:
        monkeypatch.setattr(loader, "remove", lambda *_: None)
        server.fail_next("BULK INSERT", 4861)
        told = case.write("delta", 5, [row(n, "b", 2) for n in range(30)])
        monkeypatch.undo()
        assert "4861" in case.load(told).run.error
    else:
        case.loaded("delta", 5, *[row(n, "b", 2) for n in range(30)])

    assert [] == bay.blobs()
    assert [] == server.query("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'staging'")
    assert 0 == server.open_connections


def test_leftovers_of_others_go_after_a_day(bay, server, tmp_path):
    """A process that died leaves tables and blobs; one that still works on them is not a day old."""
    case = bay.case(tmp_path, WAREHOUSE_LOADER="bulk")
    case.loaded("full", 4, row(1))
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    for age, run in ((25, "a"), (23, "b")):
        server.now = lambda age=age: now - dt.timedelta(hours=age)
        with contextlib.closing(server.connect(autocommit=True)) as connection:
            connection.execute(f"CREATE TABLE [staging].[s_{run * 16}_0] ([a] int)")
            connection.execute(f"CREATE TABLE [staging].[mine_{run}] ([a] int)")
    bay.container.upload_blob(f"in/here/s_{'c' * 16}_0/0.csv", b"")
    bay.container.upload_blob("elsewhere/s_dddddddddddddddd_0/0.csv", b"")

    server.now = lambda: now
    case.loaded("delta", 5, row(2))
    soon = bay.blobs(), server.query("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'staging'")
    server.now = lambda: now + dt.timedelta(hours=25)
    case.loaded("delta", 6, row(3))
    later = bay.blobs(), server.query("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'staging'")

    kept = [("mine_a",), ("mine_b",)]
    elsewhere = "elsewhere/s_dddddddddddddddd_0/0.csv"
    assert ([elsewhere, f"in/here/s_{'c' * 16}_0/0.csv"], [*kept, ("s_bbbbbbbbbbbbbbbb_0",)]) == (
        soon[0],
        sorted(soon[1]),
    )
    assert ([elsewhere], kept) == (later[0], sorted(later[1]))


def test_history_has_size_seconds_and_log_rate(bay, server, tmp_path, monkeypatch):
    """What a load reached beside what the tier allows; by hand and as JSON."""
    case = bay.case(tmp_path, WAREHOUSE_LOADER="bulk")
    case.loaded("full", 5, *[row(n) for n in range(30)])
    monkeypatch.setattr("shared.app.current", lambda: case.app)

    (told,) = json.loads(CliRunner().invoke(main, ["history", "--json"], catch_exceptions=False).stdout)

    assert [(4_718_592,)] == server.query("SELECT [log_rate] FROM [ingest].[run]")
    assert 4_718_592 == told["log_rate"]
    assert told["size"] > 500
    assert told["seconds"] > 0


def test_log_rate_that_may_not_be_read_is_left_open(bay, server, tmp_path):
    """The right to see it is a comfort, not a need: the load goes on."""
    server.log_rate = None
    case = bay.case(tmp_path)

    run = case.loaded("full", 5, *[row(n) for n in range(30)])

    assert (None, 30) == (run.log_rate, run.inserted)


def test_slower_way_is_shown_to_a_person_once(bay, server, tmp_path, monkeypatch):
    """With its reason, on the error output of a load that nobody asked to be verbose."""
    case = bay.case(tmp_path, WAREHOUSE_LOADER="bulk", SLICE_ROWS="20")
    file = case.write("full", 5, [row(n) for n in range(40)], groups=20)
    server.fail_next("BULK INSERT", 4863, times=2)
    monkeypatch.setattr("shared.app.current", lambda: case.app)

    result = CliRunner().invoke(main, ["load", str(file.parent)], catch_exceptions=False)

    assert 0 == result.exit_code, result.output
    warnings = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert [True] == ["the rows of that part are sent in arrays, which is slower." in line for line in warnings]
