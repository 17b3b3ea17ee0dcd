"""The doctor on Azure SQL: driver, sign-in, rights, staging container, and a canary for every load method."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys

import pytest
import stamina

from shared.errors import DataError
from shared.model import Finding
from shared.warehouses.azure_sql import canary, loader
from shared.warehouses.azure_sql.session import MSSQLSession
from shared.warehouses.server.warehouse import ServerWarehouse
from tests.exports import doctor_findings, open_test_app
from tests.standins.tsql import bulk as server_bulk
from tests.standins.tsql import engine as stand_in


@pytest.fixture(autouse=True)
def _two_attempts():
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


# -- Azure SQL


@pytest.fixture
def examined(tmp_path, server):
    """What the doctor finds over an engine; nothing is to stay behind."""

    def examine(engine):
        app = dataclasses.replace(open_test_app(tmp_path), warehouse=ServerWarehouse(engine))
        found = list(doctor_findings(app))
        server._faults.clear()
        tables = server.query("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'staging'")
        blobs = list(engine.staging.container.client.list_blob_names()) if engine.staging.container is not None else []
        assert ([], [], 0) == (tables, blobs, server.open_connections)
        return [one for one in found if one.check.startswith("warehouse")]

    return examine


def reported(findings):
    return {one.check: (one.status, one.message) for one in findings}


def of(findings, check):
    return [one for one in findings if one.check == check]


@pytest.fixture
def arrays_only(new_engine):
    return new_engine(env={"WAREHOUSE_LOADER": "array"})


ODD = f"{len(canary.CASES)} odd rows came back unchanged"


def test_healthy_database_without_a_container(examined, arrays_only):
    """Driver, sign-in, rights, log rate, canary."""
    assert {
        "warehouse: driver": ("ok", "ODBC Driver 18 for SQL Server"),
        "warehouse: sign-in": ("ok", "app in sluice, SQL Server 12.0.2000.8"),
        "warehouse: rights": ("ok", "create table, create view, create schema"),
        "warehouse: log rate": ("ok", "the tier allows 4.7 MB/s"),
        "warehouse: staging": ("skipped", "STAGING_URL is not set: rows are loaded with bulk copy or in arrays"),
        "warehouse: canary (array)": ("ok", ODD),
    } == reported(examined(arrays_only))


def test_healthy_database_with_a_container(examined, with_container):
    """The canary goes the way of a real load, and so do a bad row and a rollback."""
    found = reported(examined(with_container.engine()))

    assert {"ok"} == {status for status, _ in found.values()}
    assert ("ok", ODD) == found["warehouse: canary (bulk)"]
    assert "it is refused" in found["warehouse: canary, bad row"][1]
    assert "leaves nothing" in found["warehouse: canary, rollback"][1]
    assert "administer database bulk operations" in found["warehouse: rights"][1]


def test_rights_that_are_lacking_are_named(examined, with_container, server):
    """All at once, with the script that gives them; what can be looked at without them is."""
    server.permissions = {"CREATE VIEW": False, "ADMINISTER DATABASE BULK OPERATIONS": False}

    found = examined(with_container.engine())

    (rights,) = of(found, "warehouse: rights")
    assert ("failed", "the user lacks CREATE VIEW, ADMINISTER DATABASE BULK OPERATIONS") == (
        rights.status,
        rights.message,
    )
    assert "sluice sql setup" in rights.fix
    assert "ok" == reported(found)["warehouse: canary (bulk)"][0]


def test_right_to_bulk_loads_is_not_missed_without_a_container(examined, arrays_only, server):
    """Nobody needs it then."""
    server.permissions = {"ADMINISTER DATABASE BULK OPERATIONS": False}

    assert "ok" == reported(examined(arrays_only))["warehouse: rights"][0]


@pytest.mark.parametrize(
    ("number", "words"), [(18456, "sluice sql setup"), (40615, "firewall"), (4060, "database's name")]
)
def test_sign_in_that_is_refused_ends_the_checks(examined, arrays_only, server, number, words):
    """There is nothing more to try; the fix says who has to do what."""
    server.fail_next("CONNECT", number, times=9)

    found = examined(arrays_only)

    assert ["warehouse: driver", "warehouse"] == [one.check for one in found]
    assert words in found[-1].fix


def test_missing_driver_is_reported(examined, arrays_only, server, monkeypatch):
    """By the name of the package to install."""
    monkeypatch.setattr(server, "drivers", list)
    monkeypatch.setitem(sys.modules, "mssql_python_odbc", None)

    (found,) = examined(arrays_only)

    assert ("failed", True) == (found.status, "msodbcsql18" in found.fix)


def test_container_that_is_missing_is_reported(examined, with_container, azurite, tmp_path):
    """By its name, with the setting to correct."""
    engine = with_container.engine({"STAGING_URL": f"{azurite.blob_url}/nowhere-to-be-found"})
    app = dataclasses.replace(open_test_app(tmp_path), warehouse=ServerWarehouse(engine))

    last = list(doctor_findings(app))[-1]

    assert "failed" == last.status
    assert "nowhere-to-be-found" in last.message
    assert "STAGING_URL" in last.fix


@pytest.mark.parametrize(
    ("number", "words"), [(12703, "STAGING_DATA_SOURCE"), (4861, "Storage Blob Data Reader"), (4860, "same container")]
)
def test_way_of_the_database_to_the_container_is_tried(examined, with_container, server, number, words):
    """The app can write there, but the server does not find or may not read it."""
    server.fail_next("BULK INSERT", number, times=9)

    found = examined(with_container.engine())

    assert ("failed", True) == (found[-1].status, words in found[-1].fix)


# -- what a canary dies of


def spoilt(monkeypatch, change):
    """Let BULK INSERT read its file in another way."""
    read = server_bulk.read
    monkeypatch.setattr(server_bulk, "read", lambda *args: change(read(*args)))


def each(convert):
    return lambda rows: [[None if field is None else convert(field) for field in row] for row in rows]


SPOILT = {
    "empty text becomes NULL": (each(lambda field: field or None), "empty text is not NULL"),
    "text is cut at 8,000 bytes": (each(lambda field: field[:8_000]), "text beyond 8,000 bytes"),
    "CR LF becomes LF": (each(lambda field: field.replace(b"\r\n", b"\n")), "LF, CR LF and a lone CR are text"),
    "blanks are cut off": (each(lambda field: field.rstrip(b" ")), "tabs and blanks at both ends"),
    "a row vanishes": (lambda rows: [row for row in rows if row[0] != b"5"], "the row is missing"),
    "a row doubles": (lambda rows: [*rows, rows[-1]], f"{len(canary.CASES) + 1} rows came back"),
    "quotes stay doubled": (each(lambda field: field.replace(b'"', b'""')), "commas and quotes are text"),
    "years before 1753 are lost": (
        each(lambda field: b"1753-01-01" if field.startswith(b"0001-01-01") and len(field) == 10 else field),
        "the first moment: column Day",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_canary_notices(examined, with_container, monkeypatch, name):
    """What BULK INSERT is documented to do nowhere: the row that shows it is named, and the way to avoid."""
    change, words = SPOILT[name]
    spoilt(monkeypatch, change)
    monkeypatch.setattr(loader.StagingLoader, "_insert_part", no_counting)

    found = of(examined(with_container.engine()), "warehouse: canary (bulk)")

    assert {"failed"} == {one.status for one in found}
    assert any(words in one.message for one in found), found
    assert all("WAREHOUSE_LOADER" in one.fix for one in found)
    assert all(len(one.message) < 300 for one in found)


def no_counting(self, container, part, _end):
    """A part is loaded, and its rows are not counted: that would be noticed before the canary is looked at."""
    self.units.run(lambda session: session.execute(container.bulk_insert(self.table, part.name)))


def test_canary_notices_a_part_that_is_refused(examined, with_container, server):
    """A load would go on row by row, slowly and every time: that is no bulk load to be trusted."""
    server.fail_next("BULK INSERT", 4864, times=2)

    found = of(examined(with_container.engine()), "warehouse: canary (bulk)")

    assert ["failed"] == [one.status for one in found]
    assert "4864" in found[0].message


def test_canary_notices_bad_rows_that_are_dropped(examined, with_container, monkeypatch):
    """As BULK INSERT does by default, up to ten of them, and reports success."""
    monkeypatch.setattr(server_bulk, "_refuse", lambda faults, _: {fault.row for fault in faults})

    (found,) = of(examined(with_container.engine()), "warehouse: canary, bad row")

    assert ("failed", True) == (found.status, "dropped" in found.message)
    assert "WAREHOUSE_LOADER" in found.fix


def test_canary_notices_rows_that_outlive_a_rollback(examined, with_container, server, monkeypatch):
    """A load that failed would leave half of its rows."""
    from shared.warehouses.azure_sql import checks, tsql

    load = server_bulk.load

    def committed(connection, *rest):
        done = load(connection, *rest)
        connection.execute("COMMIT; BEGIN")
        return done

    monkeypatch.setattr(server_bulk, "load", committed)
    monkeypatch.setattr(checks._Canary, "_bad_row", lambda *_: Finding("x", "ok", tsql.COMMIT))

    (found,) = of(examined(with_container.engine()), "warehouse: canary, rollback")

    assert ("failed", "1 rows remained after a rollback") == (found.status, found.message)


def test_canary_of_arrays_notices_what_comes_back_wrong(examined, arrays_only, monkeypatch):
    """The same rows, by the other way."""
    arrow = stand_in.bulk.arrow

    def changed(columns, rows, sizes, blind):
        return arrow(columns, [[None if value == "" else value for value in row] for row in rows], sizes, blind)

    monkeypatch.setattr(stand_in.bulk, "arrow", changed)

    found = of(examined(arrays_only), "warehouse: canary (array)")

    assert {"failed"} == {one.status for one in found}
    assert any("empty text is not NULL" in one.message for one in found)


def test_bulk_copy_that_cannot_be_used_is_a_warning(examined, plain, copy):
    """Loads go on in arrays, and so does the canary; who wants speed has to know."""

    def refuse():
        raise DataError("bulk copy: no libltdl", fix="x")

    copy.fail = staticmethod(refuse)

    found = reported(examined(plain))

    assert ("warning", "bulk copy: no libltdl; rows are loaded in arrays, which is slow") == found[
        "warehouse: bulk copy"
    ]
    assert ("ok", ODD) == found["warehouse: canary (array)"]
    assert "warehouse: canary (copy)" not in found


def test_bulk_copy_that_works_carries_the_canary(examined, new_engine, copy):
    """Tried by itself first, then with the odd rows; the arrays that it falls back to as well."""
    found = reported(examined(new_engine(env={"WAREHOUSE_LOADER": "copy"}, copy=copy)))

    assert ("ok", ODD) == found["warehouse: canary (copy)"]
    assert ("ok", ODD) == found["warehouse: canary (array)"]
    assert "warehouse: bulk copy" not in found


def test_lost_connection_within_the_canary_is_reported_and_cleaned_up(examined, with_container, server):
    """It is tried again first, as every unit of work is."""
    server.fail_next("BULK INSERT", 10054, times=1)

    assert {"ok"} == {one.status for one in examined(with_container.engine())}


def test_errors_of_the_canary_are_ours(examined, with_container, server):
    """A server that is busy for long ends the checks, not the program."""
    server.fail_next("BULK INSERT", 40501, times=2)

    found = examined(with_container.engine())

    assert ("warehouse", "failed") == (found[-1].check, found[-1].status)
    assert found[-1].fix.startswith("Several tries have failed: load again later")


@pytest.mark.parametrize("setting", ["auto", "direct"])
def test_canary_notices_microseconds_that_the_direct_method_loses(
    examined, new_engine, copy, server, monkeypatch, setting
):
    """It binds single values, as no other method does."""
    run = MSSQLSession.batch

    def losing(self, text, parameters):
        cut = [v.replace(microsecond=0) if isinstance(v, dt.datetime) else v for v in parameters]
        return run(self, text, cut)

    monkeypatch.setattr(MSSQLSession, "batch", losing)

    found = examined(new_engine(env={"WAREHOUSE_LOADER": setting}, copy=copy))

    direct = of(found, "warehouse: canary (direct)")
    assert {"failed"} == {one.status for one in direct}
    assert any("column Moment" in one.message for one in direct)
    assert "ok" == reported(found)["warehouse: canary (array)"][0]


def test_canary_takes_every_method_of_auto(examined, with_container):
    """Those for few, some and many rows; a part that is refused goes in arrays."""
    checks = [one.check for one in examined(with_container.engine())]

    assert ["warehouse: canary (direct)", "warehouse: canary (array)", "warehouse: canary (bulk)"] == [
        check for check in checks if "(" in check
    ]
