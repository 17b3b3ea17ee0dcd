"""What a load of Azure SQL, or the doctor, advises is done, and then the load passes; on the T-SQL stand-in."""

from __future__ import annotations

import datetime as dt
import sys
import types

from importlib import machinery

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import stamina

from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from shared.azure import identity
from shared.mssql import odbc
from shared.warehouses.azure_sql import engine as azure_engine
from shared.warehouses.azure_sql.bulk_copy import BulkCopy
from shared.warehouses.azure_sql.loader import LoadLimits
from shared.warehouses.server.warehouse import ServerWarehouse
from tests.advice import advised, advises, follows
from tests.exports import doctor_findings
from tests.servers.proxy import Fault, Proxy, busy
from tests.standins.tsql import bulk as server_bulk
from tests.standins.tsql import engine as stand_in
from tests.standins.tsql import errors
from tests.suites.warehouse_case import WarehouseCase, row
from tests.warehouses.azure_sql.samples import URL

ROWS = [row(n, f"n{n}") for n in range(30)]


@pytest.fixture(autouse=True)
def _two_attempts():
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


@pytest.fixture
def lab(tmp_path, server, new_engine, copy):
    """Makes a case with those settings over one server and one folder: what a person does is to set others."""

    def make(engine=None, **env):
        chosen = engine or new_engine(env={"WAREHOUSE_LOADER": "array", **env}, copy=copy)
        return WarehouseCase(tmp_path, server.query, instead={"warehouse": ServerWarehouse(chosen)})

    return make


def passes(case, rows=ROWS, **how):
    """The same export, loaded after what was advised is done."""
    run = case.loaded("full", 5, *rows, **how)
    assert (len(rows), 0) == (run.inserted, run.rejected)


# -- the staging container


def test_bulk_needs_a_staging_container(lab, with_container):
    said = lab(WAREHOUSE_LOADER="bulk").refused("full", 5, *ROWS)

    advises("Set it to the staging container", said)
    passes(lab(with_container.engine({"WAREHOUSE_LOADER": "bulk"})))


def test_the_staging_container_is_created(lab, with_container, azurite):
    """The server is given the same one."""
    absent = f"{azurite.blob_url}/absent-{with_container.container.container_name}"
    there = {"WAREHOUSE_LOADER": "bulk", "STAGING_URL": absent}

    said = lab(with_container.engine(there)).refused("full", 5, *ROWS)

    advises("Correct the container in STAGING_URL, or create it", said)
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        with_container.container = service.create_container(absent.rpartition("/")[2])
        passes(lab(with_container.engine(there)))
        with_container.container.delete_container()


def sas_of(azurite, container, rights):
    return generate_container_sas(
        azurite.account, container.container_name, account_key=azurite.key,
        expiry=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), permission=ContainerSasPermissions.from_string(rights),
    )  # fmt: skip


SIGN_INS = [
    follows(
        "Give the app's identity the role Storage Blob Data Contributor on it, or make a SAS that has not expired,"
        " to read, write, delete and list, and let this host through the account's firewall",
        "AuthorizationPermissionMismatch",
    ),
    follows(
        "Make a new SAS with the rights to read, write, delete and list, or let the app's identity sign in",
        "AuthenticationFailed",
    ),
]


@pytest.mark.parametrize(("advice", "code"), SIGN_INS)
def test_a_sas_of_the_staging_container_is_made_anew(lab, with_container, azurite, advice, code):
    """A proxy refuses the old one by Azure's code, which Azurite words otherwise."""
    old, new = (sas_of(azurite, with_container.container, rights) for rights in ("rl", "rwdl"))
    with Proxy.to(azurite.blob_url) as proxy:
        url = proxy.through(f"{with_container.container.url}/in/here")
        # Found by its rights: some characters of a signature come quoted in another way.
        proxy.faults.append(Fault(lambda request: "sp=rl&" in request.target, 99, busy(403, code=code)))
        said = lab(with_container.engine({"WAREHOUSE_LOADER": "bulk", "STAGING_URL": f"{url}?{old}"})).refused(
            "full", 5, *ROWS
        )

        advises(advice, said)
        passes(lab(with_container.engine({"WAREHOUSE_LOADER": "bulk", "STAGING_URL": f"{url}?{new}"})))


def test_rows_that_did_not_arrive_are_loaded_again(lab, with_container, copy):
    """By either way of many rows."""
    with_container.seen = lambda data: data[: data.rstrip(b"\n").rindex(b"\n") + 1]
    bulk = lab(with_container.engine({"WAREHOUSE_LOADER": "bulk"}))
    advises("Load it again", bulk.refused("full", 5, *ROWS))
    with_container.seen = lambda data: data
    passes(bulk)

    copied = lab(WAREHOUSE_LOADER="copy")
    copy.arrive = staticmethod(lambda rows: rows.num_rows - 1)
    advises("Load it again", copied.refused("full", 5, *ROWS, table="hard"))
    copy.arrive = staticmethod(lambda rows: rows.num_rows)
    passes(copied, table="hard")


def test_the_external_data_source_is_created_by_the_setup(lab, with_container, server, sluice, monkeypatch):
    """The setup takes Azure's own addresses alone; the stand-in knows a data source by its name."""
    bulk = lab(with_container.engine({"WAREHOUSE_LOADER": "bulk"}))
    server.external_data_sources.clear()

    said = bulk.refused("full", 5, *ROWS)

    advises("Create the external data source, and name it in STAGING_DATA_SOURCE (sluice sql setup)", said)
    monkeypatch.setattr(odbc, "load_pyodbc", lambda: server)
    url = "https://acme.blob.core.windows.net/staging?sv=1&sp=rl&sig=abc"
    assert 0 == sluice("sql", "setup", "--user", "app", "--apply", WAREHOUSE_URL=URL, STAGING_URL=url).exit_code
    passes(bulk)


def test_a_database_that_is_busy_is_loaded_later(lab, server):
    case = lab()
    server.fail_next("CREATE TABLE", 40501, times=2)

    said = case.refused("full", 5, *ROWS)

    advises(
        "Several tries have failed: load again later, and if it lasts, see whether the database is online and within"
        " its limits (Azure portal)",
        said,
    )
    passes(case)


# -- rows that the server refuses


@pytest.fixture
def picky(monkeypatch):
    """The server refuses arrays with a text of "no", and texts of "no" within a statement."""
    arrow = stand_in.bulk.arrow

    def checked(columns, rows, sizes, blind):
        if any("no" in one for one in rows):
            raise errors.raised(8114, "Error converting data type nvarchar to something.", state="22018")
        return arrow(columns, rows, sizes, blind)

    monkeypatch.setattr(stand_in.bulk, "arrow", checked)


@pytest.mark.usefixtures("picky")
def test_values_that_the_server_refuses_are_corrected(lab, new_engine):
    case = lab(new_engine(env={"WAREHOUSE_LOADER": "array"}, limits=LoadLimits(refused_rows=10)))

    said = case.refused("full", 5, *[row(n, "no") for n in range(30)])

    advises("Correct that value in the export, or declare the column as text under types in the catalog", said)
    passes(case)


@pytest.mark.usefixtures("picky")
def test_a_row_of_few_that_the_server_refuses_is_rejected_by_arrays(lab):
    rows = [row(1, "no"), row(2, "yes")]

    said = lab(WAREHOUSE_LOADER="direct").refused("delta", 5, *rows)

    advises("Load it with WAREHOUSE_LOADER=array, which rejects such rows one by one", said)
    run = lab(WAREHOUSE_LOADER="array").loaded("delta", 5, *rows, options={"max_reject_share": 1.0})
    assert (1, 1) == (run.inserted, run.rejected)


def test_a_table_of_too_many_columns_is_exported_with_fewer(lab, monkeypatch):
    monkeypatch.setattr(azure_engine, "MOST_COLUMNS", 8)
    more = {f"More{n}": n for n in range(2)}
    kinds = dict.fromkeys(more, pa.int32())

    said = lab().refused("full", 5, row(1, **more), types=kinds)

    advises("Export fewer columns", said)
    passes(lab(), [row(1)])


# -- connections


def test_an_address_without_an_answer_is_corrected(lab, server, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(server, "connect", _no_answer)
        said = lab().refused("full", 5, *ROWS)

    (setting,) = advises("Correct host and port in {}, or let this machine through the server's firewall", said)
    assert "WAREHOUSE_URL" == setting
    passes(lab())


def _no_answer(*_, **__):
    raise errors.OperationalError(
        "HYT00", "[HYT00] [Microsoft][ODBC Driver 18 for SQL Server]Login timeout expired (0)"
    )


def test_an_app_without_an_identity_signs_in(monkeypatch):
    """As ``az login`` does on this machine."""
    where = odbc.address("mssql://db.test/sales")
    nobody, somebody = (types.SimpleNamespace(get_token=call) for call in (_no_identity, _signed_in))
    monkeypatch.setattr(identity, "credential", lambda: nobody)
    odbc.credential.cache_clear()

    with advised("Check the identity of this app (or run az login), and the client id in {}") as advice:
        odbc.token(where)
    assert ("WAREHOUSE_URL",) == advice.values

    monkeypatch.setattr(identity, "credential", lambda: somebody)
    odbc.credential.cache_clear()
    assert "a token" == odbc.token(where)
    odbc.credential.cache_clear()


def _no_identity(_scope):
    raise ClientAuthenticationError("nobody has signed in")


def _signed_in(_scope):
    return types.SimpleNamespace(token="a token")


# -- what the doctor finds


def failing(case):
    """The canary's finding, which has to be there."""
    return next(one for one in doctor_findings(case.app) if "canary" in one.check and one.status == "failed")


def healthy(case):
    found = [one for one in doctor_findings(case.app) if "canary" in one.check]
    assert {"ok"} == {one.status for one in found}


def test_a_way_to_load_that_spoils_rows_is_avoided(lab, copy):
    """Microsoft's bulk copy loses empty text here."""
    send = copy.send

    def changed(self, table, rows):
        texts = [i for i, field in enumerate(rows.schema) if pa.types.is_string(field.type)]
        for index in texts:
            column = rows.column(index)
            rows = rows.set_column(index, rows.schema[index], pc.if_else(pc.equal(column, ""), None, column))
        return send(self, table, rows)

    copy.send = changed
    found = failing(lab(WAREHOUSE_LOADER="copy"))

    advises("Set WAREHOUSE_LOADER=array", found.fix)
    healthy(lab(WAREHOUSE_LOADER="array"))
    passes(lab(WAREHOUSE_LOADER="array"))


def test_a_bulk_insert_that_drops_rows_is_avoided(lab, with_container, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(server_bulk, "_refuse", lambda faults, _: {fault.row for fault in faults})
        found = failing(lab(with_container.engine()))

        advises("Set WAREHOUSE_LOADER=copy or array, and report it", found.fix)
        healthy(lab(with_container.engine({"WAREHOUSE_LOADER": "array"})))
        passes(lab(with_container.engine({"WAREHOUSE_LOADER": "array"})))


@pytest.fixture
def no_driver(monkeypatch):
    """Microsoft's package is there, and what it needs is not."""
    spec = machinery.ModuleSpec("mssql_python", None)
    driver = types.SimpleNamespace(pooling=lambda **_: None, connect=_no_connection, __spec__=spec)
    monkeypatch.setitem(sys.modules, "mssql_python", driver)


def _no_connection(*_, **__):
    raise RuntimeError("no libltdl")


@pytest.mark.usefixtures("no_driver")
def test_a_bulk_copy_that_fails_is_avoided(lab, new_engine):
    with advised("Set WAREHOUSE_LOADER=array"):
        BulkCopy(odbc.address(URL)).open()
    (found,) = [one for one in doctor_findings(lab(new_engine()).app) if one.check == "warehouse: bulk copy"]
    advises(
        "Install what mssql-python needs (libltdl7, libkrb5-3), or set STAGING_URL, or WAREHOUSE_LOADER=array",
        found.fix,
    )

    case = lab(WAREHOUSE_LOADER="array")
    assert not [one for one in doctor_findings(case.app) if one.check == "warehouse: bulk copy"]
    passes(case)
