"""Rows by Microsoft's bulk copy, and the connections of an engine."""

from __future__ import annotations

import logging
import threading

import pytest

from shared.errors import DataError, TransientError
from shared.warehouses.azure_sql import arrays, loader
from tests.exports import doctor_findings
from tests.servers import free_port, odbc
from tests.suites.warehouse_suite import row
from tests.warehouses.azure_sql.loader_samples import batch, filled, staging, stored


def test_copy_gets_whole_tables(plain, copied, monkeypatch):
    """Gathered to what is worth a call; every text of any length, but those of the key."""
    monkeypatch.setattr(loader, "_COPY_BYTES", 1_000)
    columns = {"Key": "text", "Name": "text"}
    batches = [batch(columns, *[(f"k{n}", "x") for n in range(s, s + 20)], first=s) for s in range(0, 100, 20)]

    loaded = filled(plain, "copy", staging(columns), *batches)

    assert 100 == loaded.rows == sum(rows.num_rows for rows in copied.sent)
    assert 1 < len(copied.sent) < 5
    assert 100 == len(stored(plain, staging(columns)))
    assert {"Key": 450, "Name": -1} == dict(
        plain.units.run(lambda s: s.fetch(
            "SELECT COLUMN_NAME, CHARACTER_MAXIMUM_LENGTH FROM INFORMATION_SCHEMA.COLUMNS WHERE DATA_TYPE = 'nvarchar'"
        ))
    )  # fmt: skip


def test_copy_that_lost_rows_is_noticed(plain, copied):
    """What it says arrived is compared with what was sent."""
    copied.answer = staticmethod(lambda rows: rows.num_rows - 1)

    with pytest.raises(TransientError, match="3 rows were copied, but 2 arrived"):
        filled(plain, "copy", staging({"Key": "text"}), batch({"Key": "text"}, ("a",), ("b",), ("c",)))


def test_copy_that_failed_halfway_leaves_no_row_twice(plain, copied):
    """Some of its rows are in: they are taken out before all are sent one by one."""

    def half(rows):
        sending = rows.slice(0, 2).to_batches()[0]
        plain.units.run(lambda session: arrays.insert_many(session, "[staging].[s_0123456789abcdef_0]", sending))
        raise DataError("lost", fix="x")

    copied.answer = staticmethod(half)

    filled(plain, "copy", staging({"Key": "text"}), batch({"Key": "text"}, ("a",), ("b",), ("c",)))

    assert [(0, "a"), (1, "b"), (2, "c")] == stored(plain, staging({"Key": "text"}))


def test_copy_that_cannot_connect_gives_way_to_arrays(plain, copied, caplog, monkeypatch):
    """With a warning: it is slower, and somebody may want to know why."""
    monkeypatch.setattr(copied, "open", lambda _: (_ for _ in ()).throw(DataError("bulk copy: gone", fix="x")))

    with caplog.at_level(logging.WARNING, "sluice"):
        loaded = filled(plain, "copy", staging({"Key": "text"}), batch({"Key": "text"}, ("a",)))

    assert (1, [(0, "a")]) == (loaded.rows, stored(plain, staging({"Key": "text"})))
    assert "bulk copy: gone; rows are sent in arrays" in caplog.text


REAL_COPY = """
from shared.errors import DataError
from shared.warehouses.azure_sql import bulk_copy, odbc
bulk_copy.LOGIN_TIMEOUT = 1
try:
    bulk_copy.BulkCopy(odbc.address({url!r})).open()
except DataError as error:
    print(json.dumps(str(error)))
"""


def test_real_bulk_copy_tells_of_a_closed_port():
    """Microsoft's own package, as far as it gets without a server."""
    pytest.importorskip("mssql_python", reason="bulk copy needs mssql-python")
    libraries = odbc.libraries()

    told = odbc.run(libraries, REAL_COPY.format(url=f"mssql://app:hunter2@127.0.0.1:{free_port()}/sales"))

    assert told.startswith("bulk copy: OperationalError: ")
    assert "hunter2" not in told


@pytest.fixture
def most(server, monkeypatch):
    """The most connections that were open at once."""
    seen = [0]
    connect = server.connect

    def counted(*told, **more):
        connection = connect(*told, **more)
        seen[0] = max(seen[0], server.open_connections)
        return connection

    monkeypatch.setattr(server, "connect", counted)
    return seen


@pytest.mark.parametrize("connections", [1, 2])
def test_connections_are_no_more_than_allowed(bay, server, most, tmp_path, monkeypatch, connections):
    """However many parts there are; one is enough for everything, and none stays open."""
    monkeypatch.setattr(loader, "_PART_BYTES", 200)
    case = bay.case(tmp_path, WAREHOUSE_LOADER="bulk", WAREHOUSE_CONNECTIONS=str(connections))
    file = case.write("full", 5, [row(n, f"n{n}", 1) for n in range(200)], groups=20)

    result = case.load(file)
    open_after = server.open_connections

    assert (None, 200) == (result.run.error, result.run.inserted)
    assert (True, 0) == (most[0] <= connections, open_after)


def test_who_finds_all_connections_taken_waits_for_one(bay, server):
    """Loads of several tables share them."""
    engine, told = bay.engine(WAREHOUSE_CONNECTIONS="1"), []
    later = threading.Thread(target=lambda: told.append(engine.units.run(lambda session: session.first("SELECT 1"))))

    with engine.units.connection():
        later.start()
        later.join(0.2)
        meanwhile = list(told), server.open_connections
    later.join(30)

    assert (([], 1), [1]) == (meanwhile, told)


def test_looking_leaves_no_connection_open(bay, server, tmp_path):
    """A serverless database sleeps only when nobody is connected."""
    case = bay.case(tmp_path)
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
