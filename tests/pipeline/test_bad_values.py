"""Cursors, deletion flags, types and values out of the ordinary."""

from __future__ import annotations

import datetime as dt

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipeline.bad_input import (
    FIRST,
    LENIENT,
    MORNING,
    SECOND,
    THIRD,
    Lab,
    case,
    refused_alone,
    reported,
    thing,
    things,
)

pytestmark = pytest.mark.usefixtures("reading")  # both ways into DuckDB

# -- cursors


def with_cursor(values: Any, kind: pa.DataType | None = None) -> pa.Table:
    table = things(*range(len(values)))
    return table.set_column(1, "ModifiedOn", values if isinstance(values, pa.Array) else pa.array(values, kind))


@case("cursor-null")
def test_a_row_without_cursor_is_below_every_other(lab, row):
    """NULL is the lowest cursor: it is stored where nothing is, and gives way to anything."""
    lab.put(with_cursor([None, MORNING]), "delta", FIRST)
    lab.put(with_cursor([MORNING, None]), "delta", SECOND)

    first, second = (result.run for result in lab.load())

    assert (2, 1, 1) == (first.inserted, second.updated, second.stale)
    assert [MORNING, MORNING] == lab.column("ModifiedOn")
    row.holds("loaded", "NULL is stored")


@case("cursor-year-1")
def test_a_cursor_in_the_year_1_is_stored(lab, row):
    """.NET's DateTime.MinValue is an instant like any other, and a very old one."""
    lab.put(with_cursor([dt.datetime(1, 1, 1)], pa.timestamp("us")))  # noqa: DTZ001

    assert {"inserted": 1} == lab.counts()
    row.holds("loaded", lab.column("ModifiedOn")[0].isoformat())


@case("cursor-9999")
def test_a_cursor_in_the_year_9999_is_rejected(lab, row):
    """It would win over every later change until the next full."""
    lab.put(with_cursor([dt.datetime(9999, 12, 31)], pa.timestamp("us")))  # noqa: DTZ001

    assert {"rejected": 1} == lab.counts()
    row.holds("row rejected", lab.rejects())


@case("cursor-beyond-calendar")
def test_a_cursor_beyond_the_calendar_is_rejected(lab, row):
    """No engine here holds it; the raw row is kept with what it was."""
    lab.put(with_cursor(pa.array([2**62, -(2**62)], pa.timestamp("us"))))

    assert {"rejected": 2} == lab.counts()
    row.holds("row rejected", lab.rejects())


@case("cursor-zones")
def test_cursors_with_and_without_zone_are_the_same_instants(lab, row):
    """What has no zone is in UTC; what has one is brought to UTC."""
    berlin = pa.array([MORNING], pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "Europe/Berlin"))
    lab.put(with_cursor([MORNING]), "delta", FIRST)
    lab.put(with_cursor(berlin), "delta", SECOND)

    first, second = (result.run for result in lab.load())

    assert (1, 1) == (first.inserted, second.unchanged)
    row.holds("loaded", lab.column("ModifiedOn")[0].isoformat())


@case("cursor-zone-setting")
def test_the_zone_of_cursors_without_one_can_be_set(tmp_path, row):
    """A setting says what clock the exporting system goes by."""
    lab = Lab(tmp_path, COOLR_TIMEZONE="Europe/Amsterdam")
    lab.put(with_cursor([MORNING]))
    lab.load()

    row.holds("loaded", lab.column("ModifiedOn")[0].isoformat())


@case("cursor-ns")
def test_nanoseconds_are_cut_off(lab, row):
    """Instants are kept in microseconds, and never rounded up into the future."""
    ns = pa.array([1771920000_123456_999], pa.timestamp("ns"))
    lab.put(with_cursor(ns))
    lab.load()

    row.holds("loaded", lab.column("ModifiedOn")[0].isoformat())


@case("cursor-int96")
def test_int96_timestamps_are_read(lab, row):
    """Spark's and Hive's old timestamps, also those that nanoseconds in 64 bits could not hold."""
    lab.path().parent.mkdir(parents=True)
    times = [MORNING, dt.datetime(1500, 1, 1)]  # noqa: DTZ001
    pq.write_table(with_cursor(times), lab.path(), use_deprecated_int96_timestamps=True)
    lab.load()

    assert sorted(times) == lab.column("ModifiedOn")
    row.holds("loaded", lab.column("ModifiedOn")[1].isoformat())


@case("cursor-text")
def test_cursors_in_text_are_read_where_the_catalog_says_so(tmp_path, row):
    """ISO 8601, with zone or without, also with the seven digits of .NET."""
    lab = Lab(tmp_path, catalog=None)
    lab.put(with_cursor(["2026-02-24T08:00:00.1234567Z", "2026-02-24 10:00:00.123456+02:00"]), table="thing")
    lab.load()

    found = lab.column("ModifiedOn")

    assert found[0] == found[1]
    row.holds("loaded", found[0].isoformat())


@case("cursor-no-order")
def test_a_cursor_without_order_refuses_the_file(lab, row):
    """Bytes are neither earlier nor later than others."""
    lab.put(with_cursor([b"1"]))

    row.holds("file refused", refused_alone(lab))


# -- deletion flags


def with_flag(values: Sequence[Any], kind: pa.DataType | None = None) -> pa.Table:
    return things(*range(len(values))).set_column(2, "IsDeleted", pa.array(values, kind))


@case("flag-kinds")
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, False, None], pa.bool_()),
        ([1, 0, None], pa.int64()),
        ([1.0, 0.0, None], pa.float64()),
        ([Decimal(1), Decimal(0), None], pa.decimal128(1, 0)),
        (["true", "False", None], pa.string()),
        ([" Y ", "n", None], pa.large_string()),
    ],
)
def test_a_deletion_flag_may_be_bool_number_or_text(lab, row, values, kind):
    """Whatever it is written as, yes is a tombstone; no and NULL are active rows."""
    lab.put(with_flag(values, kind))
    lab.load()

    found = lab.sql('SELECT "IsDeleted", "DeletedAt" FROM coolr.thing ORDER BY "ThingId"')

    assert [(True, MORNING), (False, None), (None, None)] == found
    row.holds("loaded", "boolean")


@case("flag-null-column")
def test_a_flag_column_without_type_flags_nothing(lab, row):
    """A column of nothing but NULL says no."""
    lab.put(with_flag([None, None], pa.null()))
    lab.load()

    assert [1, 2] == lab.column("ThingId", "thing_active")
    row.holds("loaded", "NULL")


@case("flag-unreadable")
@pytest.mark.parametrize("values", [["maybe", "no"], [2, 0], [float("nan"), 0.0]])
def test_a_flag_that_is_neither_yes_nor_no_rejects_its_row(lab, row, values):
    """Whether the row is deleted decides what becomes of it: it cannot go on without."""
    lab.put(with_flag(values))

    assert {"rejected": 1, "inserted": 1} == lab.counts()
    row.holds("row rejected", lab.rejects())


# -- types that change


@case("int-turns-text")
def test_a_column_that_turns_from_number_to_text_is_refused(lab, row):
    """The error names the column, both types and the file; the table stays as it is."""
    lab.put(things(5), "delta", FIRST)
    lab.put(things("five"), "delta", SECOND)

    _, second = (result.run for result in lab.load())

    assert [5] == lab.column("Value")
    assert str(lab.path("delta", SECOND)) in second.error
    row.holds("run refused", reported(second.error))


def declaring(folder, kind):
    return Lab(folder, LENIENT.replace("[undeclared]", f'types = {{ Value = "{kind}" }}\n[undeclared]'))


@case("int-declared-text")
def test_a_column_that_turned_to_text_is_converted_once_it_is_declared(tmp_path, row):
    """The file that was refused is loaded, and the number is its digits."""
    lab = Lab(tmp_path)
    lab.put(things(5), "delta", FIRST)
    lab.put([thing(2, Value="five")], "delta", SECOND)
    lab.load()

    lab = declaring(tmp_path, "text")
    lab.load()

    row.holds("loaded", (lab.sql('SELECT typeof("Value") FROM coolr.thing LIMIT 1'), lab.column("Value")))


@case("declared-unfit")
def test_a_declared_type_that_a_stored_value_does_not_fit_refuses_the_run(tmp_path, row):
    """With the value; the column stays as it was."""
    lab = Lab(tmp_path)
    lab.put(things("5", "five"), "delta", FIRST)
    lab.load()
    lab = declaring(tmp_path, "bigint")
    lab.put(things(6), "delta", SECOND)

    row.holds("run refused", lab.error())
    assert ["5", "five"] == lab.column("Value")


@case("int-widens")
def test_a_number_that_outgrows_its_column_widens_it(lab, row):
    """From integer to bigint and on to decimal, nothing is lost."""
    lab.put(things(5, kind=pa.int32()), "delta", FIRST)
    lab.put(things(2**40), "delta", SECOND)
    lab.put(things(Decimal("1.5")), "delta", THIRD)
    later = [lab.load(lab.path("delta", stamp).parent) for stamp in (FIRST, SECOND, THIRD)]

    assert ["done"] * 3 == [results[0].run.status for results in later]
    row.holds("loaded", lab.sql("SELECT data_type FROM information_schema.columns WHERE column_name = 'Value'"))


@case("column-vanishes")
def test_a_column_that_vanishes_keeps_its_values_and_may_come_back(lab, row):
    """What a file does not have, it does not change."""
    noon = MORNING + dt.timedelta(hours=4)
    lab.put([thing(1, Value="kept"), thing(2, Value="old")], "delta", FIRST)
    lab.put([thing(1, ModifiedOn=noon, Other=1), thing(2, ModifiedOn=noon, Other=2)], "delta", SECOND)
    lab.put([thing(2, ModifiedOn=noon + dt.timedelta(hours=1), Value="back")], "delta", THIRD)
    lab.load()

    found = lab.sql('SELECT "ThingId", "Value", "Other" FROM coolr.thing ORDER BY 1')

    assert [(1, "kept", 1), (2, "back", 2)] == found
    row.holds("loaded", "stored values stay")


# -- values


@case("not-finite")
def test_nan_and_infinity_are_set_aside(lab, row):
    """SQL Server has no such numbers: the row goes on without the value."""
    lab.put(things(float("nan"), float("inf"), float("-inf"), 1.5))

    assert {"values_rejected": 3, "inserted": 4} == lab.counts()
    assert [1.5, None, None, None] == lab.column("Value")
    row.holds("value rejected", lab.rejects())


@case("nul-in-text")
def test_text_with_a_nul_is_set_aside(lab, row):
    """PostgreSQL cannot store it; the raw row keeps it, escaped."""
    lab.put(things("a\0b", "ab"))

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert ["ab", None] == lab.column("Value")
    assert r"a\u0000b" in lab.rejects()[0]["raw"]
    row.holds("value rejected", lab.rejects())


@case("not-utf8")
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_text_that_is_not_utf8_is_set_aside(lab, row, kind):
    """Latin-1 in a text column is not guessed at; the raw row keeps the bytes, escaped."""
    lab.put(things(pa.array([b"caf\xe9", "café".encode()], pa.binary()).view(pa.string()).cast(kind)))

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert ["café", None] == lab.column("Value")
    assert r"caf\\xe9" in lab.rejects()[0]["raw"]
    row.holds("value rejected", lab.rejects())


@case("not-utf8-key")
def test_a_key_that_is_not_utf8_rejects_its_row(lab, row):
    """A key that cannot be read is no key."""
    keys = pa.array([b"caf\xe9", b"b"], pa.binary()).view(pa.string())
    lab.put(things(1, 2).set_column(0, "ThingId", keys))

    assert {"rejected": 1, "inserted": 1} == lab.counts()
    assert ["b"] == lab.column("ThingId")
    row.holds("row rejected", lab.rejects())


@case("out-of-range")
def test_a_value_too_large_for_the_type_the_catalog_gives_is_set_aside(lab, row):
    """The catalog says smallint, the file has 70,000."""
    rows = [{"SmallId": n, "ModifiedOn": MORNING, "IsDeleted": False, "Amount": n} for n in (7, 70_000)]
    lab.put(rows, table="small")

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert [7, None] == lab.column("Amount", "small")
    row.holds("value rejected", lab.rejects("coolr.small"))


@case("unreadable")
def test_text_that_is_no_number_is_set_aside_where_the_catalog_wants_one(lab, row):
    """The catalog says smallint, the file has text."""
    rows = [{"SmallId": n, "ModifiedOn": MORNING, "IsDeleted": False, "Amount": n2} for n, n2 in ((1, " 7 "), (2, "x"))]
    lab.put(rows, table="small")

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert [7, None] == lab.column("Amount", "small")
    row.holds("value rejected", lab.rejects("coolr.small"))


@case("date-beyond-calendar")
def test_a_date_beyond_the_year_9999_is_set_aside(lab, row):
    """Parquet can hold millions of years; databases cannot."""
    lab.put(things(pa.array([2**30, 0], pa.date32())))

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert [dt.date(1970, 1, 1), None] == lab.column("Value")
    row.holds("value rejected", lab.rejects())


@case("nested-not-json")
def test_a_nested_value_that_json_cannot_hold_is_set_aside(lab, row):
    """NaN, or bytes that are not UTF-8, somewhere inside."""
    latin = pa.array([b"caf\xe9", b"ok"], pa.binary()).view(pa.string())
    lab.put(things(pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), latin)))

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert ['["ok"]', None] == lab.column("Value")
    row.holds("value rejected", lab.rejects())


KEPT: Mapping[str, tuple[pa.Array[Any], str, Any]] = {
    "type-list": (pa.array([[1, None]]), "VARCHAR", "[1, null]"),
    "type-struct": (pa.array([{"a": "é", "b": Decimal("1.50")}]), "VARCHAR", '{"a": "é", "b": "1.50"}'),
    "type-map": (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())), "VARCHAR", '[["k", 1]]'),
    "type-dictionary": (pa.array(["a"]).dictionary_encode(), "VARCHAR", "a"),
    "type-uint8": (pa.array([2**8 - 1], pa.uint8()), "SMALLINT", 255),
    "type-uint16": (pa.array([2**16 - 1], pa.uint16()), "INTEGER", 65_535),
    "type-uint32": (pa.array([2**32 - 1], pa.uint32()), "BIGINT", 4_294_967_295),
    "type-uint64": (pa.array([2**64 - 1], pa.uint64()), "DECIMAL(20,0)", Decimal(2**64 - 1)),
    "type-float16": (pa.array([1.5], pa.float16()), "FLOAT", 1.5),
    "type-decimal": (pa.array([Decimal("1.50")], pa.decimal128(18, 2)), "DECIMAL(18,2)", Decimal("1.50")),
    "type-decimal256": (pa.array([Decimal("1.50")], pa.decimal256(38, 2)), "DECIMAL(38,2)", Decimal("1.50")),
    "type-time": (pa.array([dt.time(1, 2, 3, 4)], pa.time64("ns")), "TIME", dt.time(1, 2, 3, 4)),
    "type-date": (pa.array([dt.date(2026, 2, 24)]), "DATE", dt.date(2026, 2, 24)),
    "type-binary": (pa.array([b"\0\xff"]), "BLOB", b"\0\xff"),
    "type-uuid": (pa.array([bytes(range(0xF0, 0x100))], pa.uuid()), "VARCHAR", "f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff"),
    "type-duration": (pa.array([90], pa.duration("s")), "BIGINT", 90_000_000),
    "type-large-string": (pa.array(["a"], pa.large_string()), "VARCHAR", "a"),
    "type-string-view": (pa.array(["a"], pa.string_view()), "VARCHAR", "a"),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A table with a column of each type, loaded twice."""
    lab = Lab(tmp_path_factory.mktemp("kept"))
    table = things(0)
    for name, (array, _, _) in KEPT.items():
        table = table.append_column(name, array)
    lab.put(table, "delta", FIRST)
    lab.put(table, "delta", SECOND)
    assert [(1, 0), (0, 1)] == [(result.run.inserted, result.run.unchanged) for result in lab.load()]
    return lab


@pytest.mark.parametrize("name", KEPT)
def test_every_type_parquet_has_is_kept_as_the_page_says(kept, row, name):
    """Each is stored in the type of its row on the page, with its value; a second file changes nothing."""
    _, kind, value = KEPT[name]

    assert [value] == kept.column(name)
    assert [(kind,)] == kept.sql(
        f"SELECT data_type FROM information_schema.columns WHERE table_name = 'thing' AND column_name = '{name}'"
    )
    row.holds("loaded", kind)


@case("type-null")
def test_a_column_without_type_is_stored_once_it_has_one(lab, row):
    """Nothing but NULL tells no type: the column waits for a file that does."""
    lab.put(things(pa.nulls(1)), "delta", FIRST)
    lab.put(things(7), "delta", SECOND)
    lab.put(
        things(pa.nulls(1)).set_column(1, "ModifiedOn", pa.array([MORNING + dt.timedelta(hours=1)])), "delta", THIRD
    )
    before, after = (lab.load(lab.path("delta", stamp).parent)[0].run for stamp in (FIRST, SECOND))

    assert (1, 1) == (before.inserted, after.updated)
    assert [7] == lab.column("Value")
    lab.load()
    assert [None] == lab.column("Value")
    row.holds("loaded", "not stored")


@case("type-decimal-39")
def test_a_decimal_of_more_than_38_digits_refuses_the_file(lab, row):
    """No engine here holds it without loss."""
    lab.put(things(pa.array([Decimal(1)], pa.decimal256(39, 0))))

    row.holds("file refused", refused_alone(lab))
