"""How rows get into Azure SQL: arrays, CSV parts by way of a real Azurite, bulk copy; on the T-SQL stand-in."""

from __future__ import annotations

import json
import logging
import threading

from decimal import Decimal

import pyarrow as pa
import pytest

from hypothesis import HealthCheck, given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st

from shared.contract.conform import ROW
from shared.errors import ConfigError, DataError, TransientError
from shared.warehouses.azure_sql import arrays, canary
from shared.warehouses.azure_sql.loader import LoadLimits, choose_method
from shared.warehouses.merge import shape
from shared.warehouses.merge.session import STAGING
from shared.warehouses.server.warehouse import ServerWarehouse
from tests.servers import free_port, odbc
from tests.standins.tsql import cursor, errors
from tests.standins.tsql import engine as stand_in
from tests.suites.warehouse_case import WarehouseCase, row, some
from tests.warehouses.azure_sql.samples import METHODS, batch, filled, sent, staging, stored

pytestmark = pytest.mark.usefixtures("_no_waits")


@pytest.fixture
def engine(request):
    """An engine for a method, with limits of its own; only bulk loads need Azurite."""

    def of(method, **limits):
        more = {"limits": LoadLimits(**limits)}
        if method == "bulk":
            return request.getfixturevalue("with_container").engine(**more)
        return request.getfixturevalue("new_engine")(copy=request.getfixturevalue("copy"), **more)

    return of


# -- which method


@pytest.mark.parametrize(
    ("forced", "rows", "container", "copy", "method"),
    [
        ("auto", 0, True, True, "direct"), ("auto", 20, False, False, "direct"), ("auto", 21, True, True, "array"),
        ("auto", 5_000, True, True, "array"), ("auto", 5_001, True, True, "bulk"), ("auto", 5_001, True, False, "bulk"),
        ("auto", 5_001, False, True, "copy"), ("auto", 5_001, False, False, "array"),
        ("direct", 20, True, True, "direct"), ("direct", 21, True, True, "array"), ("array", 9**9, True, True, "array"),
        ("bulk", 1, True, True, "bulk"), ("bulk", 1, False, True, "bulk"), ("copy", 1, True, False, "copy"),
    ],
)  # fmt: skip
def test_method_is_chosen_by_rows_and_by_what_is_there(forced, rows, container, copy, method):
    """Few need no detour; many are worth a file, else a connection of their own; a setting goes first."""
    assert method == choose_method(forced, rows, container=container, copy=copy)


def test_bulk_without_a_container_says_what_is_missing(plain):
    """Whoever forces it has to name one."""
    with pytest.raises(ConfigError, match="STAGING_URL is not set"):
        filled(plain, "bulk", staging({"Key": "text"}))


# -- what went in comes out


@pytest.mark.parametrize("method", METHODS)
def test_odd_rows_come_back_as_they_went(engine, method):
    """Those of the doctor's canary: every type at its ends, line breaks, empty text beside NULL."""
    table = shape.staging(canary.FEED, canary.COLUMNS, "canary_0", STAGING)
    loading = engine(method)

    loaded = filled(loading, method, table, canary.batch())

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


@pytest.mark.parametrize("method", METHODS)
@of_hypothesis(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_any_rows_come_back_as_they_went(engine, method, rows):
    """Of all types at once, NULLs anywhere."""
    table, loading = staging(COLUMNS), engine(method)
    wanted = batch(COLUMNS, *rows)

    loaded = filled(loading, method, table, wanted)

    assert len(rows) == loaded.rows
    assert wanted.to_pylist() == [
        dict(zip(wanted.schema.names, found, strict=True)) for found in stored(loading, table)
    ]


def test_second_load_replaces_the_first(bulk):
    """A slice is staged anew each time, by whatever method."""
    table = staging({"Key": "text"})
    for method in ("array", "bulk", "array"):
        filled(bulk, method, table, batch({"Key": "text"}, ("a",), ("b",)))

    assert [(0, "a"), (1, "b")] == stored(bulk, table)


@pytest.mark.parametrize("method", METHODS)
def test_load_of_nothing_makes_an_empty_table(engine, method):
    """The merge finds it, and no row in it."""
    table, loading = staging({"Key": "text"}), engine(method)

    loaded = filled(loading, method, table)

    assert (0, 0, []) == (loaded.rows, loaded.size, stored(loading, table))


# -- arrays


@pytest.fixture
def sizes(monkeypatch):
    """What the driver was given of its parameters, and how many rows it got, call by call."""
    reported, calls = [], []
    monkeypatch.setattr(cursor.Cursor, "setinputsizes", lambda self, sizes: reported.append(sizes))
    monkeypatch.setattr(
        cursor.Cursor, "executemany", lambda self, sql, rows: calls.append((self.fast_executemany, len(rows)))
    )
    return reported, calls


def test_driver_gets_the_type_of_every_parameter(plain, sizes):
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
def test_chunks_stay_small_at_the_width_of_their_widest_row(engine, sizes, width, calls):
    """The driver keeps every row of a call at the full width of the widest."""
    loading = engine("array", chunk_rows=30, chunk_bytes=8 * (32 + 2 * 1_000))

    filled(loading, "array", staging({"Name": "text"}), batch({"Name": "text"}, *[("x" * width,)] * 100))

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


def test_parts_are_loaded_side_by_side(engine, server, with_container):
    """Each in a transaction of its own, and no more of them than there may be connections."""
    bulk = engine("bulk", part_bytes=100)
    columns, together = {"Key": "text"}, threading.Barrier(3)
    with_container.seen = lambda data: (together.wait(30), data)[
        1
    ]  # three have to be on their way before one may go on
    batches = [
        batch(columns, *[(f"k{n}",) for n in range(start, start + 50)], first=start) for start in range(0, 300, 50)
    ]

    loaded = filled(bulk, "bulk", staging(columns), *batches)

    assert 6 == len(sent(server, "BULK INSERT"))
    assert 300 == loaded.rows
    assert [(n, f"k{n}") for n in range(300)] == stored(bulk, staging(columns))
    assert [] == with_container.blobs()
    assert server.open_connections <= 3


def test_blobs_lie_in_the_folder_of_the_staging_url(bulk, server):
    """Below a folder of the table, and the server finds them by the same path."""
    filled(bulk, "bulk", staging({"Key": "text"}), batch({"Key": "text"}, ("a",)))

    (statement,) = sent(server, "BULK INSERT")
    assert "FROM N'in/here/s_0123456789abcdef_0/0.csv'" in statement


def test_row_that_did_not_arrive_is_noticed(bulk, with_container):
    """The server reports success; the counts do not agree, and nothing of the part stays."""
    with_container.seen = lambda data: data[: data.rstrip(b"\n").rindex(b"\n") + 1]

    with pytest.raises(TransientError, match="3 rows were sent, but 2 arrived"):
        filled(bulk, "bulk", staging({"Key": "text"}), batch({"Key": "text"}, ("a",), ("b",), ("c",)))
    assert [] == stored(bulk, staging({"Key": "text"}))


@pytest.mark.parametrize("number", [4863, 4864, 4867, 4879, 13812])
def test_part_that_is_refused_goes_row_by_row(bulk, server, with_container, caplog, number):
    """Read back from its blob, all types as they were: a refusal costs time, and no row that is fine."""
    table = shape.staging(canary.FEED, canary.COLUMNS, "canary_0", STAGING)
    server.fail_next("BULK INSERT", number)

    with caplog.at_level(logging.WARNING, "sluice"):
        loaded = filled(bulk, "bulk", table, canary.batch())

    assert [] == list(canary.failures(stored(bulk, table)))
    assert (len(canary.CASES), ()) == (loaded.rows, loaded.refused)
    assert "the rows of that part are sent in arrays" in caplog.text
    assert [] == with_container.blobs()


def test_part_that_is_broken_on_its_way_goes_row_by_row(bulk, with_container):
    """What the server read is not what the app had written."""
    with_container.seen = lambda data: data.replace(b'"b"', b'"b" x')

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


def failing(problem):
    """Something that takes anything and fails."""

    def fail(*_):
        raise DataError(problem, fix="x")

    return fail


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


@pytest.mark.parametrize("method", METHODS)
def test_refused_value_costs_its_row_alone(engine, method, server, copy, picky):
    """Found by halving, with what the server says of it."""
    if method == "bulk":
        server.fail_next("BULK INSERT", 4864)
    if method == "copy":
        copy.arrive = staticmethod(failing("refused"))
    texts = ["no" if n in (0, 700, 999) else f"t{n}" for n in range(1_000)]
    table, loading = staging({"Text": "text"}), engine(method)

    loaded = filled(loading, method, table, batch({"Text": "text"}, *[(text,) for text in texts]))

    assert [n for n in range(1_000) if n not in (0, 700, 999)] == [row[0] for row in stored(loading, table)]
    assert (997, [0, 700, 999]) == (loaded.rows, [one.row.column(0)[0].as_py() for one in loaded.refused])
    assert {(None, "refused_by_server")} == {(one.column, one.code) for one in loaded.refused}
    assert "Error converting data type" in loaded.refused[0].reason
    assert len(picky) < 70, "halving, not counting"


@pytest.mark.usefixtures("picky")
def test_too_many_refused_rows_end_the_load(engine):
    """Something is wrong with all of them then, and looking for each would take for ever."""
    loading = engine("array", refused_rows=10)

    with pytest.raises(DataError, match="more than 10 rows; the last reason was: Azure SQL: Error converting"):
        filled(loading, "array", staging({"Text": "text"}), batch({"Text": "text"}, *[("no",)] * 30))


@pytest.mark.usefixtures("picky")
def test_refused_rows_are_kept_as_rejects(plain, server, tmp_path):
    """With their place in the file, and the row as it was, to be corrected and loaded again."""
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


@pytest.mark.parametrize(("method", "match"), [("array", "INSERT INTO [staging]"), ("bulk", "BULK INSERT")])
def test_rows_whose_commit_has_no_answer_are_not_doubled(engine, server, method, match):
    """Whatever the first try left is taken out in the same transaction as the second goes in."""
    table, loading = staging({"Key": "text"}), engine(method, chunk_rows=10, part_bytes=50)
    batches = [batch({"Key": "text"}, *[(f"k{n}",) for n in range(s, s + 10)], first=s) for s in (0, 10, 20)]
    lose_commit_after(server, match, times=2)

    loaded = filled(loading, method, table, *batches)

    assert 30 == loaded.rows
    assert [(n, f"k{n}") for n in range(30)] == stored(loading, table)
    assert 5 == len(sent(server, match))


# -- bulk copy


def test_copy_gets_whole_tables(engine, copy):
    """Gathered to what is worth a call; every text of any length, but those of the key."""
    plain = engine("copy", copy_bytes=1_000)
    columns = {"Key": "text", "Name": "text"}
    batches = [batch(columns, *[(f"k{n}", "x") for n in range(s, s + 20)], first=s) for s in range(0, 100, 20)]

    loaded = filled(plain, "copy", staging(columns), *batches)

    assert 100 == loaded.rows == sum(rows.num_rows for rows in copy.sent)
    assert 1 < len(copy.sent) < 5
    assert 100 == len(stored(plain, staging(columns)))
    assert {"Key": 450, "Name": -1} == dict(
        plain.units.run(lambda s: s.fetch(
            "SELECT COLUMN_NAME, CHARACTER_MAXIMUM_LENGTH FROM INFORMATION_SCHEMA.COLUMNS WHERE DATA_TYPE = 'nvarchar'"
        ))
    )  # fmt: skip


def test_copy_that_lost_rows_is_noticed(plain, copy):
    """What it says arrived is compared with what was sent."""
    copy.arrive = staticmethod(lambda rows: rows.num_rows - 1)

    with pytest.raises(TransientError, match="3 rows were copied, but 2 arrived"):
        filled(plain, "copy", staging({"Key": "text"}), batch({"Key": "text"}, ("a",), ("b",), ("c",)))


def test_copy_that_failed_halfway_leaves_no_row_twice(plain, copy):
    """Some of its rows are in: they are taken out before all are sent in arrays."""

    def half(rows):
        sending = rows.slice(0, 2).to_batches()[0]
        plain.units.run(lambda session: arrays.insert_many(session, "[staging].[s_0123456789abcdef_0]", sending))
        raise DataError("lost", fix="x")

    copy.arrive = staticmethod(half)

    filled(plain, "copy", staging({"Key": "text"}), batch({"Key": "text"}, ("a",), ("b",), ("c",)))

    assert [(0, "a"), (1, "b"), (2, "c")] == stored(plain, staging({"Key": "text"}))


def test_copy_that_cannot_connect_gives_way_to_arrays(plain, copy, caplog):
    """With a warning: it is slower, and somebody may want to know why."""
    copy.fail = staticmethod(failing("bulk copy: gone"))

    with caplog.at_level(logging.WARNING, "sluice"):
        loaded = filled(plain, "copy", staging({"Key": "text"}), batch({"Key": "text"}, ("a",)))

    assert (1, [(0, "a")]) == (loaded.rows, stored(plain, staging({"Key": "text"})))
    assert "bulk copy: gone; rows are sent in arrays from here on" in caplog.text


def test_copy_that_failed_once_is_not_tried_again(engine, copy, caplog):
    """Neither for later rows of the table nor for other tables of the process: its state is unknown."""
    plain = engine("copy", copy_bytes=1)
    copy.arrive = staticmethod(failing("bulk copy: PanicException"))
    batches = [batch({"Key": "text"}, (f"k{n}",), first=n) for n in range(3)]

    with caplog.at_level(logging.WARNING, "sluice"):
        filled(plain, "copy", staging({"Key": "text"}), *batches)
        filled(plain, "copy", staging({"Key": "text"}), *batches)

    assert (1, 1) == (len(copy.sent), copy.opened)
    assert 1 == caplog.text.count("rows are sent in arrays from here on")
    assert [(n, f"k{n}") for n in range(3)] == stored(plain, staging({"Key": "text"}))


REAL_COPY = """
from shared.errors import DataError
from shared.mssql import odbc
from shared.warehouses.azure_sql import bulk_copy
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

    reported = odbc.run(libraries, REAL_COPY.format(url=f"mssql://app:hunter2@127.0.0.1:{free_port()}/sales"))

    assert reported.startswith("bulk copy: OperationalError: ")
    assert "hunter2" not in reported
