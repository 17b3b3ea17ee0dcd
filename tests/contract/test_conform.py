"""A batch fits its contract, or a file, a row or a value is rejected."""

from __future__ import annotations

import datetime as dt
import json

from dataclasses import astuple
from typing import Any

import pyarrow as pa
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contract.conform import ROW, Conformed, Contract, fit
from shared.contract.raw_rows import raw_row
from shared.errors import DataError
from shared.model import Column, Feed

FEED = Feed(system="s", table="t", source="exports", keys=("Id",), cursor="M", deleted="D")
NOON = dt.datetime(2026, 2, 24, 12)  # noqa: DTZ001 - naive UTC, as everywhere inside
SCHEMA = pa.schema([("Id", pa.int64()), ("M", pa.timestamp("us")), ("D", pa.bool_()), ("V", pa.float64())])


def conformed(rows: Any, feed: Feed = FEED, first_row: int = 0, **more: Any) -> Conformed:
    batch = rows if isinstance(rows, pa.RecordBatch) else pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    return Contract(feed, fit({"f": batch.schema}, feed), **more).conform(batch, first_row)


def line(key: Any = 1, cursor: Any = NOON, deleted: Any = False, value: Any = 1.0) -> dict[str, Any]:
    return {"Id": key, "M": cursor, "D": deleted, "V": value}


# -- the file


def test_columns_are_stored_as_the_catalog_spells_them():
    """Files may spell keys, cursor, flag and typed columns in any case."""
    feed = Feed(system="s", table="t", source="exports", keys=("Id",), cursor="M", types={"Other": "date"})
    schema = pa.schema([("ID", pa.int64()), ("m", pa.timestamp("us")), ("OTHER", pa.string()), ("Free", pa.string())])

    assert (
        Column("ID", "Id", "bigint"),
        Column("m", "M", "timestamp"),
        Column("OTHER", "Other", "date"),
        Column("Free", "Free", "text"),
    ) == fit({"f": schema}, feed)


@pytest.mark.parametrize("name", ["FirstSyncAt", "syncedat", "SYNCEDBY", "DeletedAt", ROW])
def test_our_own_names_get_a_suffix(name):
    """Without regard to case, as in the databases."""
    assert Column(name, f"{name}_source", "bigint") == fit({"f": SCHEMA.append(pa.field(name, pa.int64()))}, FEED)[-1]


@pytest.mark.parametrize("name", ["", " ", "x" * 64, "é" * 32, "a\0"])
def test_a_name_that_cannot_be_stored_is_refused(name):
    """Empty, over 63 bytes of UTF-8, or with a NUL."""
    with pytest.raises(DataError, match=r"^f has a column name that cannot be stored"):
        fit({"f": SCHEMA.append(pa.field(name, pa.int64()))}, FEED)


def test_the_longest_name_is_63_bytes():
    """PostgreSQL's limit, on every engine."""
    assert "x" * 63 == fit({"f": SCHEMA.append(pa.field("x" * 63, pa.int64()))}, FEED)[-1].name


@pytest.mark.parametrize("name", ["Id", "ID", "v"])
def test_two_columns_of_one_name_are_refused(name):
    """The same name, or one that differs only in case."""
    with pytest.raises(DataError, match="two columns that differ only in case"):
        fit({"f": SCHEMA.append(pa.field(name, pa.int64()))}, FEED)


@pytest.mark.parametrize("missing", ["Id", "M", "D"])
def test_a_file_must_have_key_cursor_and_flag(missing):
    """Without them no row can be accepted."""
    schema = SCHEMA.remove(SCHEMA.get_field_index(missing))

    with pytest.raises(DataError, match=rf"^f lacks column '{missing}' of feed s\.t"):
        fit({"f": schema}, FEED)


def test_a_type_that_cannot_be_stored_is_refused_unless_the_catalog_declares_one():
    """The values are cast to the declared type."""
    schema = SCHEMA.append(pa.field("Wide", pa.decimal256(50, 0)))
    feed = Feed(system="s", table="t", source="exports", keys=("Id",), types={"Wide": "decimal(38,0)"})

    with pytest.raises(DataError, match=r"column 'Wide' of type decimal256\(50, 0\)"):
        fit({"f": schema}, FEED)
    assert "decimal(38,0)" == fit({"f": schema}, feed)[-1].type


def test_parts_of_a_table_have_the_wider_type():
    """A column without type in one part has the type of the other; the spelling is the first one's."""
    one = SCHEMA.append(pa.field("N", pa.int32())).append(pa.field("E", pa.null()))
    other = SCHEMA.append(pa.field("n", pa.int64())).append(pa.field("E", pa.string()))

    found = fit({"a": one, "b": other}, FEED)

    assert (Column("N", "N", "bigint"), Column("E", "E", "text")) == found[-2:]


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ([pa.field("X", pa.int8())], "only one of them has column 'X'"),
        ([pa.field("V2", pa.string())], "b has column 'V2' as text, a has it as double"),
    ],
)
def test_incompatible_parts_are_refused(extra, reason):
    """The error names both files and the column."""
    first = SCHEMA if extra[0].name == "X" else SCHEMA.append(pa.field("V2", pa.float64()))

    with pytest.raises(DataError, match=reason):
        fit({"a": first, "b": pa.schema([*SCHEMA, *extra])}, FEED)


# -- rows and values


def test_a_good_row_is_accepted_with_its_number():
    """Rows are numbered within their run."""
    found = conformed([line(1), line(2)], first_row=40)

    assert [40, 41] == found.accepted.column(ROW).to_pylist()
    assert ([], 0, 0) == (found.rejects, found.rejected, found.present.num_rows)


def test_a_row_without_a_key_is_rejected_and_no_key_is_present():
    """The reject has its number, code, reason and raw row."""
    found = conformed([line(None, value=7.0), line(2)])

    assert [2] == found.accepted.column("Id").to_pylist()
    assert [(0, "row", "Id", "key_null", "no key")] == [astuple(reject)[:5] for reject in found.rejects]
    assert {"Id": None, "M": "2026-02-24T12:00:00", "D": False, "V": 7.0} == json.loads(found.rejects[0].raw)
    assert (1, 0) == (found.rejected, found.present.num_rows)


def test_a_faulty_value_is_rejected_and_its_row_accepted():
    """NULL takes its place."""
    found = conformed([line(1, value=float("nan"))])

    assert [None] == found.accepted.column("V").to_pylist()
    assert [("value", "V", "not_finite")] == [astuple(reject)[1:4] for reject in found.rejects]
    assert 0 == found.rejected


def test_a_faulty_value_of_a_rejected_row_is_no_reject_of_its_own():
    """The whole row is kept already."""
    found = conformed([line(None, value=float("nan"))])

    assert [("row", "key_null")] == [(reject.scope, reject.code) for reject in found.rejects]


def test_a_row_is_rejected_once_for_its_first_fault():
    """However many there are."""
    found = conformed([line(None, dt.datetime(9999, 1, 1))], latest_cursor=NOON)  # noqa: DTZ001

    assert ["key_null"] == [reject.code for reject in found.rejects]


def test_the_key_of_a_rejected_row_counts_as_present_if_it_can_be_read():
    """So that a complete full does not count it as absent."""
    found = conformed([line(5, dt.datetime(9999, 1, 1)), line(None)], latest_cursor=NOON)  # noqa: DTZ001

    assert [5] == found.present.column("Id").to_pylist()
    assert 2 == found.rejected


def test_a_cursor_may_be_as_late_as_is_allowed_but_no_later():
    """The limit itself is accepted, and so is NULL."""
    late = NOON + dt.timedelta(microseconds=1)

    found = conformed([line(1, NOON), line(2, late), line(3, None)], latest_cursor=NOON)

    assert [1, 3] == found.accepted.column("Id").to_pylist()
    assert ["cursor_in_future"] == [reject.code for reject in found.rejects]
    assert [1, 2, 3] == conformed([line(1, NOON), line(2, late), line(3, None)]).accepted.column("Id").to_pylist()


def test_a_key_that_cannot_be_cast_rejects_its_row_for_that_reason():
    """Not as a missing key."""
    feed = Feed(system="s", table="t", source="exports", keys=("Id",), types={"Id": "smallint"})
    batch = pa.RecordBatch.from_pydict({"Id": [1, 70_000, None]})

    found = conformed(batch, feed)

    assert ["key_null", "out_of_range"] == sorted(reject.code for reject in found.rejects)
    assert [1] == found.accepted.column("Id").to_pylist()
    assert "int64 value that does not fit smallint" in {reject.reason for reject in found.rejects}


def test_a_key_column_without_type_rejects_every_row():
    """Nothing in it is a key."""
    batch = pa.RecordBatch.from_pydict({"Id": pa.nulls(2), "V": pa.array([1, 2])})
    found = conformed(batch, Feed(system="s", table="t", source="exports", keys=("Id",)))

    assert (2, 0, 0) == (found.rejected, found.accepted.num_rows, found.present.num_rows)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([b"\xff"], pa.binary()).view(pa.string()),
        pa.array([b"\xff"], pa.binary()).view(pa.string()).dictionary_encode(),
        pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array([b"\xff"], pa.binary()).view(pa.string())),
        pa.StructArray.from_arrays([pa.array([b"\xff"], pa.binary()).view(pa.string())], ["a"]),
        pa.array([2**62], pa.timestamp("us")),
        pa.array([2**60 + 1], pa.timestamp("ns")),
        pa.array([2**62], pa.duration("s")),
        pa.array([2**31 - 1], pa.date32()),
        pa.array([-1]).view(pa.time64("us")),
        pa.array([float("nan")]),
        pa.array(["a\0"]),
        pa.array([b"\xff\0"]),
    ],
    ids=lambda array: str(array.type),
)
def test_any_raw_row_can_be_written(array):
    """As JSON on one line that Python reads back."""
    text = raw_row(pa.RecordBatch.from_arrays([array], ['x"']), 0)

    assert 'x"' in json.loads(text)
    assert json.loads(text)['x"'] is not None
    assert 1 == len(text.splitlines())


KEYS = st.none() | st.integers(0, 9)
ROWS = st.lists(
    st.builds(
        line, KEYS, st.none() | st.sampled_from([NOON, dt.datetime(9999, 1, 1)]),  # noqa: DTZ001
        st.none() | st.booleans(), st.none() | st.floats(),
    )
)  # fmt: skip


@settings(deadline=None)
@given(rows=ROWS, first=st.integers(0, 2**40))
def test_every_row_is_accepted_or_rejected_once(rows, first):
    """In order, each with its own number; ``present`` has the keys of rejected rows that could be read."""
    found = conformed(rows, first_row=first, latest_cursor=NOON)

    rejected = [reject.row for reject in found.rejects if reject.scope == "row"]
    accepted = [number - first for number in found.accepted.column(ROW).to_pylist()]
    assert list(range(len(rows))) == sorted(accepted + rejected)
    assert accepted == sorted(accepted)
    assert len(rejected) == found.rejected
    expected = [row["Id"] is None or (row["M"] or NOON) > NOON for row in rows]
    assert [n for n, bad in enumerate(expected) if bad] == sorted(rejected)
    assert sorted(rows[n]["Id"] for n in rejected if rows[n]["Id"] is not None) == sorted(
        found.present.column("Id").to_pylist()
    )
