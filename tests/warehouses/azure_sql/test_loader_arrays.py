"""Rows in arrays of parameters, values that the server refuses, and answers that were lost."""

from __future__ import annotations

import json

from decimal import Decimal

import pyarrow as pa
import pytest

from shared.contract.conform import ROW
from shared.errors import DataError
from shared.warehouses.azure_sql import arrays, loader
from shared.warehouses.azure_sql import engine as azure_engine
from shared.warehouses.server.warehouse import ServerWarehouse
from tests.standins.tsql import cursor, errors
from tests.standins.tsql import engine as stand_in
from tests.suites.warehouse_suite import WarehouseCase, row, some
from tests.warehouses.azure_sql.loader_samples import WAYS, batch, filled, sent, staging, stored


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
