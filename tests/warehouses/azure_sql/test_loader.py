"""How rows get into Azure SQL: arrays, CSV parts by way of a real Azurite, bulk copy; on the T-SQL stand-in."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import threading

from decimal import Decimal

import pyarrow as pa
import pytest
import sqlalchemy as sa
import stamina

from azure.core.exceptions import ResourceNotFoundError
from click.testing import CliRunner
from hypothesis import HealthCheck, given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st

from shared.cli.main import main
from shared.contract import types
from shared.contract.conform import ROW
from shared.errors import ConfigError, DataError, TransientError
from shared.model import Column, Feed
from shared.settings import Settings
from shared.warehouses.azure_sql import arrays, canary, loader
from shared.warehouses.azure_sql import engine as azure_engine
from shared.warehouses.azure_sql import odbc as our_odbc
from shared.warehouses.azure_sql.engine import AzureSQL
from shared.warehouses.azure_sql.loader import choose
from shared.warehouses.azure_sql.staged_form import as_merged
from shared.warehouses.merge import ddl, shape
from shared.warehouses.server.warehouse import STAGING, ServerWarehouse
from tests.exports import doctor_findings
from tests.servers import free_port, odbc
from tests.standins.tsql import cursor, errors
from tests.standins.tsql import engine as stand_in
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_suite import WarehouseCase, row, some

URL = "mssql://app:hunter2@db.test/sales"
FEED = Feed(system="shop", table="item", source="exports", keys=("Key",))
WAYS = ("array", "bulk", "copy")


@pytest.fixture(autouse=True)
def _no_waits():
    with stamina.set_testing(True, attempts=99, cap=True):
        yield


class Bay:
    """The stand-in with a staging container behind it, and an engine on both."""

    def __init__(self, server, container, azurite):
        self.server, self.container = server, container
        self.seen = lambda data: data
        self.env = {
            "WAREHOUSE_URL": URL, "WAREHOUSE_CONNECTIONS": "3", "WAREHOUSE_LOCK_TIMEOUT": "5",
            "STAGING_URL": f"{container.url}/in/here", "STORAGE_CONNECTION_STRING": azurite.connection_string,
        }  # fmt: skip
        server.blobs = self.blob
        server.external_data_sources.append({"name": "sluice_staging"})

    def blob(self, _source, path):
        try:
            return self.seen(self.container.download_blob(path).readall())
        except ResourceNotFoundError:
            return None

    def engine(self, **env):
        told = Settings.from_env({**self.env, **env})
        return AzureSQL(told, our_odbc.address(URL), self.server)

    def case(self, folder, **env):
        return WarehouseCase(folder, self.server.query, instead={"warehouse": ServerWarehouse(self.engine(**env))})

    def blobs(self):
        return sorted(self.container.list_blob_names())


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def bay(server, container, azurite):
    return Bay(server, container, azurite)


@pytest.fixture
def bulk(bay):
    """An engine that loads by CSV parts."""
    return bay.engine()


@pytest.fixture
def plain(server):
    """An engine without a staging container."""
    return AzureSQL(Settings.from_env({"WAREHOUSE_URL": URL}), our_odbc.address(URL), server)


class Copied:
    """Bulk copy that arrives by another way, and remembers what was sent."""

    sent: list[pa.Table]
    engine: AzureSQL
    answer = staticmethod(lambda rows: rows.num_rows)

    def __init__(self, where):
        assert URL.endswith(where.database)

    @staticmethod
    def is_here():
        return True

    def open(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def send(self, table, rows):
        answer = self.answer(rows)
        self.sent.append(rows)
        for batch in rows.to_batches():
            self.engine.units.run(lambda session, batch=batch: arrays.insert_many(session, table, batch))
        return answer


@pytest.fixture
def copied(monkeypatch, plain):
    kind = type("Copied", (Copied,), {"sent": [], "engine": plain})
    monkeypatch.setattr(azure_engine, "BulkCopy", kind)
    return kind


@pytest.fixture
def engine(request, server):
    """The engine for a way of loading; only bulk loads need Azurite."""

    def of(way):
        return request.getfixturevalue({"bulk": "bulk", "copy": "plain", "array": "plain"}[way])

    return of


def staging(columns, name="s_0123456789abcdef_0", feed=FEED):
    return shape.staging(feed, [Column(c, c, kind) for c, kind in columns.items()], name, STAGING)


def batch(columns, *rows, first=0):
    """Rows as staging gets them, numbered from *first* on."""
    schema = pa.schema([(ROW, pa.int64()), *((name, types.to_arrow(kind)) for name, kind in columns.items())])
    told = [dict(zip(schema.names, (first + n, *values), strict=True)) for n, values in enumerate(rows)]
    return pa.RecordBatch.from_pylist(told, schema=schema)


def stored(engine, table):
    """What is in a staging table as a merge reads it, in the order of the rows' numbers."""
    source = as_merged(table)
    return engine.units.run(lambda session: session.rows(sa.select(*source.c).order_by(source.c[ROW])))


def filled(engine, way, table, *batches):
    engine.units.run(lambda session: ddl.create_schema(session, STAGING))
    return engine.load_by(way, table, iter(batches))


def sent(server, text):
    return [statement for statement in server.statements if text in statement]


# -- which way


@pytest.mark.parametrize(
    ("forced", "rows", "container", "copy", "way"),
    [
        ("auto", 0, True, True, "direct"), ("auto", 20, False, False, "direct"), ("auto", 21, True, True, "array"),
        ("auto", 5_000, True, True, "array"), ("auto", 5_001, True, True, "bulk"), ("auto", 5_001, True, False, "bulk"),
        ("auto", 5_001, False, True, "copy"), ("auto", 5_001, False, False, "array"),
        ("direct", 20, True, True, "direct"), ("direct", 21, True, True, "array"), ("array", 9**9, True, True, "array"),
        ("bulk", 1, True, True, "bulk"), ("bulk", 1, False, True, "bulk"), ("copy", 1, True, False, "copy"),
    ],
)  # fmt: skip
def test_way_is_chosen_by_rows_and_by_what_is_there(forced, rows, container, copy, way):
    """Few need no detour; many are worth a file, else a connection of their own; a setting goes first."""
    assert way == choose(forced, rows, container=container, copy=copy)


def test_bulk_without_a_container_says_what_is_missing(plain):
    """Whoever forces it has to name one."""
    with pytest.raises(ConfigError, match="STAGING_URL is not set"):
        filled(plain, "bulk", staging({"Key": "text"}))


# -- what went in comes out


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("way", WAYS)
def test_odd_rows_come_back_as_they_went(engine, way):
    """Those of the doctor's canary: every type at its ends, line breaks, empty text beside NULL."""
    table = shape.staging(canary.FEED, canary.COLUMNS, "canary_0", STAGING)
    loading = engine(way)

    loaded = filled(loading, way, table, canary.batch())

    assert [] == list(canary.failures(stored(loading, table)))
    assert (len(canary.CASES), ()) == (loaded.rows, loaded.refused)
    assert loaded.size > 0
    assert "Last" in loaded.long


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from('",\r\n\t '))
VALUES = {
    "text": TEXTS, "boolean": st.booleans(), "smallint": st.integers(-(2**15), 2**15 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1), "bigint": st.integers(-(2**63), 2**63 - 1),
    "decimal(38,10)": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}E-10")),
    "real": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False), "date": st.dates(), "time": st.times(),
    "timestamp": st.datetimes(), "binary": st.binary(),
}  # fmt: skip
COLUMNS = {f"{n} {kind}": kind for n, kind in enumerate(VALUES)}
ROWS = st.lists(st.tuples(*(st.none() | values for values in VALUES.values())), min_size=1, max_size=8)


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("way", WAYS)
@of_hypothesis(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_any_rows_come_back_as_they_went(engine, way, rows):
    """Of all types at once, NULLs anywhere."""
    table, loading = staging(COLUMNS), engine(way)
    wanted = batch(COLUMNS, *rows)

    loaded = filled(loading, way, table, wanted)

    assert len(rows) == loaded.rows
    assert wanted.to_pylist() == [
        dict(zip(wanted.schema.names, found, strict=True)) for found in stored(loading, table)
    ]


def test_second_load_replaces_the_first(bulk):
    """A slice is staged anew each time, by whatever way."""
    table = staging({"Key": "text"})
    for way in ("array", "bulk", "array"):
        filled(bulk, way, table, batch({"Key": "text"}, ("a",), ("b",)))

    assert [(0, "a"), (1, "b")] == stored(bulk, table)


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("way", WAYS)
def test_load_of_nothing_makes_an_empty_table(engine, way):
    """The merge finds it, and no row in it."""
    table, loading = staging({"Key": "text"}), engine(way)

    loaded = filled(loading, way, table)

    assert (0, 0, []) == (loaded.rows, loaded.size, stored(loading, table))


# -- arrays


@pytest.fixture
def sizes(monkeypatch):
    """What the driver was told of its parameters, and how many rows it got, call by call."""
    told, calls = [], []
    monkeypatch.setattr(cursor.Cursor, "setinputsizes", lambda self, sizes: told.append(sizes))
    monkeypatch.setattr(
        cursor.Cursor, "executemany", lambda self, sql, rows: calls.append((self.fast_executemany, len(rows)))
    )
    return told, calls


def test_driver_is_told_the_type_of_every_parameter(plain, sizes):
    """Else it asks the server, and takes text that is longer than the first for an error."""
    columns = {"Key": "text", "Exact": "decimal(9,2)", "Bytes": "binary", "Long": "text", "Flag": "boolean",
               "Small": "smallint", "Whole": "integer", "Real": "real", "Double": "double", "Day": "date",
               "Time": "time", "Moment": "timestamp"}  # fmt: skip
    values = ("🔑a", Decimal(1), b"\0\1", "x" * 4_001, *[None] * 8)

    filled(plain, "array", staging(columns), batch(columns, values))

    assert {
        ROW: (-5, 19, 0), "Key": (-9, 3, 0), "Exact": (3, 9, 2), "Bytes": (-9, 4, 0), "Long": (-9, 0, 0),
        "Flag": (-7, 1, 0), "Small": (5, 5, 0), "Whole": (4, 10, 0), "Real": (7, 24, 0), "Double": (8, 53, 0),
        "Day": (91, 10, 0), "Time": (-154, 15, 6), "Moment": (93, 26, 6),
    } == dict(zip([ROW, *columns], sizes[0][0], strict=True))  # fmt: skip
    assert [(True, 1)] == sizes[1]


@pytest.mark.parametrize(("width", "calls"), [(10, [30, 30, 30, 10]), (1_000, [8] * 12 + [4])])
def test_chunks_stay_small_at_the_width_of_their_widest_row(plain, sizes, monkeypatch, width, calls):
    """The driver keeps every row of a call at the full width of the widest."""
    monkeypatch.setattr(arrays, "_CHUNK_ROWS", 30)
    monkeypatch.setattr(arrays, "_CHUNK_BYTES", 8 * (32 + 2 * 1_000))

    filled(plain, "array", staging({"Name": "text"}), batch({"Name": "text"}, *[("x" * width,)] * 100))

    assert [(True, count) for count in calls] == sizes[1]


def test_long_text_gets_room_before_it_arrives(plain, server):
    """The columns of what came before are ordinary ones, which the server fills faster."""
    columns = {"Key": "text", "Name": "text"}
    batches = [
        batch(columns, (f"k{n}", text), first=n) for n, text in enumerate(["a", "🔑" * 2_000, "🔑" * 2_001, "z"])
    ]

    loaded = filled(plain, "array", staging(columns), *batches)

    assert {"Name"} == loaded.long
    altered = [n for n, text in enumerate(server.statements) if "ALTER COLUMN [Name]" in text]
    before = sum("INSERT INTO" in text for text in server.statements[: altered[0]])
    assert (1, 2) == (len(altered), before)
    assert ["a", "🔑" * 2_000, "🔑" * 2_001, "z"] == [row[2] for row in stored(plain, staging(columns))]


# -- parts


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


# -- values that the server refuses


@pytest.fixture
def picky(monkeypatch):
    """The server refuses rows with a text of "no", for no reason that could be known before."""
    arrow, calls = stand_in.bulk.arrow, []

    def checked(columns, rows, sizes, blind):
        calls.append(len(rows))
        if any("no" in row for row in rows):
            raise errors.raised(8114, "Error converting data type nvarchar to something.", state="22018")
        return arrow(columns, rows, sizes, blind)

    monkeypatch.setattr(stand_in.bulk, "arrow", checked)
    return calls


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("way", WAYS)
def test_refused_value_costs_its_row_alone(engine, way, server, picky):
    """Found by halving, with what the server says of it."""
    if way == "bulk":
        server.fail_next("BULK INSERT", 4864)
    if way == "copy":
        azure_engine.BulkCopy.answer = staticmethod(lambda _: (_ for _ in ()).throw(DataError("refused", fix="x")))
    texts = ["no" if n in (0, 700, 999) else f"t{n}" for n in range(1_000)]
    table, loading = staging({"Text": "text"}), engine(way)

    loaded = filled(loading, way, table, batch({"Text": "text"}, *[(text,) for text in texts]))

    assert [n for n in range(1_000) if n not in (0, 700, 999)] == [row[0] for row in stored(loading, table)]
    assert (997, [0, 700, 999]) == (loaded.rows, [one.row.column(0)[0].as_py() for one in loaded.refused])
    assert {(None, "refused_by_server")} == {(one.column, one.code) for one in loaded.refused}
    assert "Error converting data type" in loaded.refused[0].reason
    assert len(picky) < 70, "halving, not counting"


@pytest.mark.usefixtures("picky")
def test_too_many_refused_rows_end_the_load(plain, monkeypatch):
    """Something is wrong with all of them then, and looking for each would take for ever."""
    assert 1_000 == loader._MOST_REFUSED
    monkeypatch.setattr(loader, "_MOST_REFUSED", 10)

    with pytest.raises(DataError, match="refuses more than 10 rows, the last one says: Azure SQL: Error converting"):
        filled(plain, "array", staging({"Text": "text"}), batch({"Text": "text"}, *[("no",)] * 30))


@pytest.mark.usefixtures("picky")
def test_refused_rows_are_kept_as_rejects(plain, server, tmp_path):
    """With their place in the file, and the row as it was, to be mended and loaded again."""
    case = WarehouseCase(
        tmp_path, server.query, instead={"warehouse": ServerWarehouse(plain)}, WAREHOUSE_LOADER="array"
    )
    rows = [row(n, "no" if n == 17 else f"n{n}", 1) for n in range(40)]

    run = case.loaded("full", 5, *rows, options={"max_delete_share": 1.0})

    assert {"inserted": 39, "rejected": 1, "read": 40} == some(run)
    (kept,) = case.app.warehouse.rejects("shop.item")
    assert ("refused_by_server", 17) == (kept["code"], json.loads(kept["raw"])["ItemId"])
    assert kept["place"].endswith("item.parquet row 18")


def test_keys_that_no_index_holds_are_rejected(plain, server, tmp_path):
    """At 450 units of UTF-16; in halves where the key has two columns."""
    case = WarehouseCase(tmp_path, server.query, instead={"warehouse": ServerWarehouse(plain)})
    keys = ["k" * 450, "k" * 451, "🔑" * 225, "🔑" * 226, *(f"k{n}" for n in range(36))]

    run = case.loaded("full", 5, *[row(key) for key in keys], key=pa.string())

    assert {"inserted": 38, "rejected": 2, "read": 40} == some(run)
    kept = list(case.app.warehouse.rejects("shop.item"))
    assert [("key_too_long", "ItemId")] * 2 == [(one["code"], one["column"]) for one in kept]
    assert ["k" * 451, "🔑" * 226] == [json.loads(one["raw"])["ItemId"] for one in kept]
    assert all("450 characters" in one["reason"] for one in kept)


def test_long_text_widens_the_table(plain, server, tmp_path):
    """Ordinary columns first; the one that needs it becomes one without a limit, and no other."""
    case = WarehouseCase(tmp_path, server.query, instead={"warehouse": ServerWarehouse(plain)})
    case.loaded("full", 5, *[row(n, "short", Other="x") for n in range(30)], types={"Other": pa.string()})
    case.loaded("delta", 6, *[row(n, "é" * 5_000, 2, Other="y") for n in range(30)], types={"Other": pa.string()})

    lengths = dict(server.query(
        "SELECT COLUMN_NAME, CHARACTER_MAXIMUM_LENGTH FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'item'"
    ))  # fmt: skip
    assert (-1, 4_000) == (lengths["Name"], lengths["Other"])
    assert [("é" * 5_000,)] * 30 == case.rows("Name")


# -- lost answers


def lose_commit_after(server, match, times=1):
    """The connection is lost right after the next commits that follow *match* took effect."""
    note, left = server._note, [times]

    def watched(text):
        if match in text and left[0]:
            left[0] -= 1
            server.fail_next("^COMMIT TRANSACTION", 0, after=True)
        note(text)

    server._note = watched


@pytest.mark.parametrize(("way", "match"), [("array", "INSERT INTO [staging]"), ("bulk", "BULK INSERT")])
def test_rows_whose_arrival_nobody_heard_of_are_not_doubled(engine, server, monkeypatch, way, match):
    """Whatever the first try left is taken out in the same transaction as the second goes in."""
    monkeypatch.setattr(arrays, "_CHUNK_ROWS", 10)
    monkeypatch.setattr(loader, "_PART_BYTES", 50)
    table, loading = staging({"Key": "text"}), engine(way)
    batches = [batch({"Key": "text"}, *[(f"k{n}",) for n in range(s, s + 10)], first=s) for s in (0, 10, 20)]
    lose_commit_after(server, match, times=2)

    loaded = filled(loading, way, table, *batches)

    assert 30 == loaded.rows
    assert [(n, f"k{n}") for n in range(30)] == stored(loading, table)
    assert 5 == len(sent(server, match))


# -- bulk copy


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


def test_a_slower_way_is_told_to_a_person_once(bay, server, tmp_path, monkeypatch):
    """With its reason, on the error output of a load that nobody asked to be verbose."""
    case = bay.case(tmp_path, WAREHOUSE_LOADER="bulk", SLICE_ROWS="20")
    file = case.write("full", 5, [row(n) for n in range(40)], groups=20)
    server.fail_next("BULK INSERT", 4863, times=2)
    monkeypatch.setattr("shared.app.current", lambda: case.app)

    result = CliRunner().invoke(main, ["load", str(file.parent)], catch_exceptions=False)

    assert 0 == result.exit_code, result.output
    told = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert [True] == ["the rows of that part are sent in arrays, which is slower." in line for line in told]


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


# -- what stays behind


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


# -- connections


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


# -- what history says of it


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
