"""The CSV that BULK INSERT is given: exact bytes of every type, and what a reader of RFC 4180 makes of them."""

from __future__ import annotations

import datetime as dt
import math
import struct

from decimal import Decimal, localcontext

import pyarrow as pa
import pytest

from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.contract import types
from shared.contract.conform import ROW
from shared.errors import DataError
from shared.warehouses.server import csv
from shared.warehouses.server.csv import encode

DAYS = st.dates()
MOMENTS = st.datetimes()
at = dt.datetime.fromisoformat
# Every character a contract lets through: all but NUL and lone surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
CALM = settings(deadline=None)
SINGLES = st.floats(allow_nan=False, allow_infinity=False, width=32)


def rows_of(kind, values):
    """A batch as staging gets it: the row's number, then one column."""
    schema = pa.schema([(ROW, pa.int64()), ("value", types.to_arrow(kind))])
    return pa.record_batch([list(range(len(values))), values], schema=schema)


def written(kind, *values):
    """The fields of one column as bytes, cut out of CSV in which they hold no line break."""
    text = bytes(encode(rows_of(kind, list(values))))
    lines = text.split(b"\n")
    assert b"" == lines.pop(), "the last row ends with a line break, too"
    return [line.partition(b",")[2] for line in lines]


def read(data):
    """A reader of RFC 4180, written for these tests: rows of text, or None for a field without anything, not quotes."""
    text, rows, row, here = data.decode("utf-8"), [], [], 0
    while here < len(text):
        if text[here] == '"':
            said, here = quoted(text, here + 1)
        else:
            end = min(found for stop in ",\n" if (found := text.find(stop, here)) >= 0)
            said, here = text[here:end] or None, end
            assert said is None or not set(said) & set('"\r'), "not without quotes"
        row.append(said)
        assert text[here] in ",\n", "a field ends with a comma or a line break"
        if text[here] == "\n":
            rows.append(row)
            row = []
        elif text[here + 1 : here + 2] == "\n":
            row.append(None)
            rows.append(row)
            row, here = [], here + 1
        here += 1
    assert [] == row, "the last row ends with a line break, too"
    return rows


def quoted(text, start):
    """The text after an opening quote, and the place after the closing one."""
    said = []
    while True:
        end = text.index('"', start)
        said.append(text[start:end])
        if text[end + 1] != '"':
            return "".join(said), end + 1
        said.append('"')
        start = end + 2


def values_read(kind, values):
    """What comes back of one column, after the numbers of the rows were compared."""
    rows = read(bytes(encode(rows_of(kind, values))))
    assert [str(number) for number in range(len(values))] == [row[0] for row in rows]
    return [row[1] for row in rows]


EXACT = [
    ("boolean", [True, False, None], [b"1", b"0", b""]),
    ("smallint", [-(2**15), 2**15 - 1, None], [b"-32768", b"32767", b""]),
    ("integer", [-(2**31), 2**31 - 1, None], [b"-2147483648", b"2147483647", b""]),
    ("bigint", [-(2**63), 2**63 - 1, 0], [b"-9223372036854775808", b"9223372036854775807", b"0"]),
    ("decimal(18,2)", [Decimal("0.01"), Decimal("-0.10"), None], [b"0.01", b"-0.10", b""]),
    ("decimal(18,6)", [Decimal("0"), Decimal("0.000001"), Decimal("-1")], [b"0.000000", b"0.000001", b"-1.000000"]),
    ("decimal(18,7)", [Decimal("0"), Decimal("-1E-7"), None], [b'"0.0000000"', b'"-0.0000001"', b""]),
    (
        "decimal(38,10)",
        [Decimal("9" * 28 + "." + "9" * 10), Decimal("-" + "9" * 28 + "." + "9" * 10)],
        [b'"' + b"9" * 28 + b"." + b"9" * 10 + b'"', b'"-' + b"9" * 28 + b"." + b"9" * 10 + b'"'],
    ),
    (
        "decimal(38,38)",
        [Decimal("1E-38"), Decimal("-1E-38")],
        [b'"0.' + b"0" * 37 + b'1"', b'"-0.' + b"0" * 37 + b'1"'],
    ),
    ("decimal(38,0)", [Decimal(10**38 - 1), Decimal(-(10**38) + 1)], [b"9" * 38, b"-" + b"9" * 38]),
    ("real", [0.1, 3.4028235e38, None], [b"0.1", b"3.4028235e+38", b""]),
    ("double", [0.1, 1e-300, 5e-324], [b"0.1", b"1e-300", b"5e-324"]),
    ("double", [1.7976931348623157e308, -1.5, None], [b"1.7976931348623157e+308", b"-1.5", b""]),
    ("date", [dt.date(1, 1, 1), dt.date(9999, 12, 31), None], [b"0001-01-01", b"9999-12-31", b""]),
    ("time", [dt.time(0), dt.time(23, 59, 59), None], [b"00:00:00", b"23:59:59", b""]),
    ("time", [dt.time(0), dt.time(23, 59, 59, 999_999)], [b"00:00:00.000000", b"23:59:59.999999"]),
    (
        "timestamp",
        [at("0001-01-01"), at("9999-12-31T23:59:59.999999"), None],
        [b'"0001-01-01T00:00:00.000000"', b'"9999-12-31T23:59:59.999999"', b""],
    ),
    (
        "timestamp",
        [at("1969-12-31T23:59:59"), None, at("2024-02-29")],
        [b'"1969-12-31T23:59:59"', b"", b'"2024-02-29T00:00:00"'],
    ),
    ("binary", [b"", b"\x00", b"\xff\x10 ", None], [b'""', b'"00"', b'"ff1020"', b""]),
    ("text", ["", "NULL", None, " a b ", '"'], [b'""', b'"NULL"', b"", b'" a b "', b'""""']),
    ("text", ["1", "a,b", "e\u0301 \U0001f600"], [b'"1"', b'"a,b"', '"e\u0301 \U0001f600"'.encode()]),
]


@pytest.mark.parametrize(("kind", "values", "expected"), EXACT)
def test_every_type_has_its_bytes(kind, values, expected):
    assert expected == written(kind, *values)


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in EXACT}))
def test_column_of_nothing_but_null_is_empty_fields(kind):
    assert [b"", b""] == written(kind, None, None)


def test_batch_without_rows_is_no_bytes():
    assert b"" == bytes(encode(rows_of("text", [])))


def test_null_and_empty_text_differ_in_every_place():
    schema = pa.schema([(ROW, pa.int64()), *((name, pa.string()) for name in "abc")])
    batch = pa.record_batch([[0, 1, 2], ["", None, None], [None, "", None], ["", None, None]], schema=schema)

    assert b'0,"",,""\n1,,"",\n2,,,\n' == bytes(encode(batch))
    assert [["0", "", None, ""], ["1", None, "", None], ["2", None, None, None]] == read(bytes(encode(batch)))


@CALM
@given(st.lists(TEXTS | st.none(), max_size=20))
@example(
    ["a\rb", "\r\n", "\n", "\r", '"', '""', ',"', " ", "\t", "\u2028", "\ufeff", "e\u0301", "\U0010ffff", "\u0085"]
)
def test_texts_come_back_as_they_were(values):
    assert values == values_read("text", values)


def test_long_texts_come_back_as_they_were():
    long = ["x" * 100_000, "\U0001f600" * 5_000, '"' * 9_000, "\n" * 9_000]

    assert [True] * 4 == [one == other for one, other in zip(long, values_read("text", long), strict=True)]


@CALM
@given(st.lists(TEXTS | st.none(), min_size=1), st.lists(MOMENTS | st.none(), min_size=1))
def test_columns_do_not_disturb_each_other(texts, moments):
    """Texts that look like instants or hold quotes and blanks stay apart from columns that get quotes from us."""
    rows = min(len(texts), len(moments))
    schema = pa.schema([(ROW, pa.int64()), ("text", pa.string()), ("at", pa.timestamp("us")), ("again", pa.string())])
    batch = pa.record_batch([list(range(rows)), texts[:rows], moments[:rows], texts[:rows]], schema=schema)

    back = read(bytes(encode(batch)))

    assert texts[:rows] == [row[1] for row in back] == [row[3] for row in back]
    assert moments[:rows] == [row[2] and dt.datetime.fromisoformat(row[2]) for row in back]


@CALM
@given(st.data(), st.integers(1, 38))
def test_decimals_are_plain_digits_of_their_scale(data, precision):
    scale = data.draw(st.integers(0, precision))
    numbers = data.draw(st.lists(st.integers(-(10**precision) + 1, 10**precision - 1) | st.none(), max_size=20))
    with localcontext(prec=50):
        values = [None if number is None else Decimal(number).scaleb(-scale) for number in numbers]
        expected = [None if value is None else f"{value:f}" for value in values]

    assert expected == values_read(f"decimal({precision},{scale})", values)


@CALM
@given(st.lists(FLOATS | st.none(), max_size=20))
def test_doubles_come_back_bit_by_bit(values):
    back = [None if text is None else float(text) for text in values_read("double", values)]

    assert [bits("d", value) for value in values] == [bits("d", value) for value in back]


@CALM
@given(st.lists(SINGLES | st.none(), max_size=20))
def test_reals_come_back_bit_by_bit(values):
    back = [None if text is None else float(text) for text in values_read("real", values)]

    assert [bits("f", value) for value in values] == [bits("f", value) for value in back]


def bits(kind, value):
    return None if value is None else struct.pack(kind, value)


@CALM
@given(st.lists(MOMENTS | st.none(), max_size=20))
@example([at("0999-01-01"), at("1582-10-10T01:02:03"), None])
def test_instants_come_back_with_t_and_seconds(values):
    texts = values_read("timestamp", values)

    assert values == [text and dt.datetime.fromisoformat(text) for text in texts]
    assert all(text[10] == "T" and len(text) in (19, 26) for text in texts if text)


@CALM
@given(st.lists(st.times() | st.none(), max_size=20))
def test_times_come_back(values):
    assert values == [text and dt.time.fromisoformat(text) for text in values_read("time", values)]


@CALM
@given(st.lists(DAYS | st.none(), max_size=20))
def test_dates_come_back(values):
    assert values == [text and dt.date.fromisoformat(text) for text in values_read("date", values)]


@CALM
@given(st.lists(st.binary(max_size=50) | st.none(), max_size=20))
@example([bytes(range(256)) * 40, b"", None])
def test_bytes_come_back(values):
    assert values == [None if text is None else bytes.fromhex(text) for text in values_read("binary", values)]


@pytest.mark.parametrize(("kind", "values"), [(kind, values) for kind, values, _ in EXACT])
def test_slice_of_a_batch_is_written_like_a_batch_of_its_own(kind, values):
    """Arrays of a slice share memory with the rows around them."""
    others = [None, *reversed(values)]
    inside = rows_of(kind, [*others, *values, *others]).slice(len(others), len(values))
    alone = inside.take(pa.array(range(len(values))))

    assert bytes(encode(alone)) == bytes(encode(inside))


@pytest.mark.parametrize(
    ("kind", "value", "named"),
    [("double", math.nan, "NaN"), ("real", math.inf, "NaN"), ("double", -math.inf, "NaN"), ("text", "a\0b", "NUL")],
)
def test_what_cannot_be_staged_is_refused(kind, value, named):
    with pytest.raises(DataError, match=named):
        encode(rows_of(kind, [value, None]))


def test_year_of_five_digits_is_refused():
    """It would move the T of every instant after it."""
    late = pa.array([300_000_000_000_000_000, 0], pa.timestamp("us"))

    with pytest.raises(DataError, match="9999"):
        encode(pa.record_batch([pa.array([0, 1]), late], names=[ROW, "at"]))


@given(values=st.lists(st.none() | st.binary(max_size=9), max_size=9), start=st.integers(0, 9))
def test_hex_of_any_binary_is_that_of_python(values, start):
    """NULLs, empty values and parts of a longer array, as loaders send them."""
    part = pa.array(values, pa.binary()).slice(min(start, len(values)))

    made = csv.hex_text(part)

    assert [None if value is None else value.hex() for value in part.to_pylist()] == made.to_pylist()
    made.validate(full=True)
