"""Many rows at once: arrays of parameters as fast_executemany sends them, and BULK INSERT of CSV.

The CSV is read by the letter of RFC 4180, apart from any code of the app: a quoted empty field is an empty text, a bare
one is NULL, and whatever else the database might let pass is refused. Fields are converted as BULK INSERT documents it.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
import uuid

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple, TypeAlias

import duckdb
import pyarrow as pa

from tests.standins.tsql import errors
from tests.standins.tsql.catalog import Column, Table, Type, quoted
from tests.standins.tsql.script import Tokens, closing, split
from tests.standins.tsql.translate import name_of
from tests.standins.tsql.values import constant

Blobs: TypeAlias = "Callable[[str, str], bytes | None]"
"""Bytes of a blob by name of the data source and path; None if it is not there."""

# -- arrays of parameters


def arrow(
    columns: Sequence[Column], rows: Sequence[Sequence[Any]], sizes: Sequence[Any] | None, blind: bool
) -> pa.Table:
    """*rows* as columns c0, c1 ...; *blind*: into a temporary table, whose columns the driver cannot ask for."""
    arrays = {}
    for n, (column, values) in enumerate(zip(columns, zip(*rows, strict=True), strict=True)):
        size = sizes[n] if sizes and n < len(sizes) else None
        width = _buffer(size) if size is not None else 255 if blind else 0
        arrays[f"c{n}"] = pa.array([_as_sent(value, column, size, width) for value in values])
    return pa.table(arrays)


def _buffer(size: Any) -> int:
    """Units a text parameter holds; 0 for any number."""
    kind, *rest = size if isinstance(size, (tuple, list)) else (None, size)
    return int(rest[0] or 0) if kind in (None, -9, -8, 12, 1) and rest else 0


def _as_sent(value: Any, column: Column, size: Any, width: int) -> Any:
    if isinstance(value, str) and width and _units(value) > width:
        raise errors.of_driver(
            "22001", f"String data, right truncation: length {2 * _units(value)} buffer {2 * width} (0) (SQLExecute)"
        )
    if isinstance(value, float) and not math.isfinite(value):
        constant(value)  # raises
    if isinstance(value, Decimal):
        scale = size[2] if isinstance(size, (tuple, list)) and size[0] in (2, 3) else column.type.scale
        if scale is not None and -int(value.as_tuple().exponent) > scale:
            raise errors.of_driver("HY000", "Converting decimal loses precision (0) (SQLExecute)")
    if isinstance(value, (dt.datetime, dt.time)):
        return value.replace(tzinfo=None)
    return value


def _units(value: str) -> int:
    return len(value.encode("utf-16-le")) // 2


# -- BULK INSERT


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a BULK INSERT asks for."""

    schema: str
    table: str
    path: str
    options: Mapping[str, str]
    """By name in upper case; the value of a mere flag is empty."""


_KNOWN = {
    "DATA_SOURCE", "FORMAT", "CODEPAGE", "FIELDTERMINATOR", "FIELDQUOTE", "ROWTERMINATOR", "KEEPNULLS", "TABLOCK",
    "MAXERRORS", "ROWS_PER_BATCH",
}  # fmt: skip
_EXPECTED = {"FORMAT": "CSV", "CODEPAGE": "65001", "FIELDTERMINATOR": ",", "ROWTERMINATOR": "0x0a"}
"""What an order must say, as no other reader is here."""


def order(of: Tokens) -> Order:
    """Read BULK INSERT t FROM 'path' WITH (...)."""
    schema, table, place = name_of(of, 2)
    path = of[place + 1].value
    options: dict[str, str] = {}
    for part in split(of[place + 4 : closing(of, place + 3)], ","):
        options[part[0].word] = part[2].value if len(part) > 1 else ""
    if unknown := set(options) - _KNOWN:
        raise NotImplementedError(f"the stand-in does not imitate BULK INSERT with {', '.join(unknown)}")
    return Order(schema=schema, table=table, path=path, options=options)


def load(
    connection: duckdb.DuckDBPyConnection, table: Table, order: Order, blobs: Blobs | None,
    sources: Sequence[Mapping[str, Any]],
) -> int:  # fmt: skip
    """Insert the rows of a CSV file, all of them or none; their number."""
    data = _content(table, order, blobs, sources)
    for option, value in _EXPECTED.items():
        if order.options.get(option, "").lower() != value.lower():
            raise NotImplementedError(f"the stand-in reads no other {option} than {value}")
    rows = read(data, len(table.columns), order.options.get("FIELDQUOTE", '"').encode(), order.path)
    keep_nulls = "KEEPNULLS" in order.options
    if not keep_nulls and table.defaults:
        raise NotImplementedError("the stand-in fills no defaults in: say KEEPNULLS")
    columns, faults = _converted(table, rows)
    bad = _refuse(faults, int(order.options.get("MAXERRORS", 10)))
    kept = [n for n in range(len(rows)) if n not in bad]
    if not kept:
        return 0
    arrays = {f"c{n}": pa.array([values[row] for row in kept], _arrow(table.columns[n].type))
              for n, values in enumerate(columns)}  # fmt: skip
    names = ", ".join(quoted(column.name) for column in table.columns)
    done = run_with(connection, pa.table(arrays), f"INSERT INTO {table.quoted} ({names}) SELECT * FROM _rows")
    return int(done[0][0])


def run_with(connection: duckdb.DuckDBPyConnection, rows: pa.Table, sql: str) -> list[tuple[Any, ...]]:
    """Run *sql* with *rows* as ``_rows``, which an error takes away together with the transaction."""
    connection.register("_rows", rows)
    done = connection.execute(sql).fetchall()
    connection.unregister("_rows")
    return done


def _content(table: Table, order: Order, blobs: Blobs | None, sources: Sequence[Mapping[str, Any]]) -> bytes:
    source = order.options.get("DATA_SOURCE")
    if table.name.startswith("#"):
        raise errors.raised(4834, "You do not have permission to use the bulk load statement.")
    if source is None:
        raise errors.raised(12713, "Local file can not be used in OPENROWSET.")
    if source not in {known["name"] for known in sources}:
        raise errors.raised(12703, f'Referenced external data source "{source}" not found.')
    data = blobs(source, order.path) if blobs else None
    if data is None:
        raise errors.raised(
            4860, f'Cannot bulk load. The file "{order.path}" does not exist or you don\'t have file access rights.'
        )
    return data


def read(data: bytes, width: int, quote: bytes = b'"', path: str = "") -> list[list[bytes | None]]:
    r"""The rows of a CSV file, LF after each but perhaps the last. A bare empty field is None.

    >>> read(b'1,"a ""b"",\n",\n2,"",x', 3)
    [[b'1', b'a "b",\n', None], [b'2', b'', b'x']]
    """
    rows: list[list[bytes | None]] = []
    row: list[bytes | None] = []
    field, place, end, twice = _field(quote), 0, len(data), quote * 2
    while place < end or row:
        found = field.match(data, place)
        if found is None:
            raise _broken(path, len(rows), len(row))
        inner, bare, sign = found.groups()
        row.append(inner.replace(twice, quote) if inner is not None else bare or None)
        place = found.end()
        if sign == b"," and len(row) < width:
            continue
        if sign == b",":
            raise _broken(path, len(rows), len(row))
        if len(row) < width:
            if place >= end:
                raise errors.raised(4832, "Bulk load: An unexpected end of file was encountered in the data file.")
            raise _broken(path, len(rows), len(row))
        rows.append(row)
        row = []
    return rows


def _field(quote: bytes) -> re.Pattern[bytes]:
    q = re.escape(quote)
    return re.compile(b"(?:" + q + b"((?:[^" + q + b"]|" + q + q + b")*)" + q + b"|([^" + q + b",\n]*))(,|\n|\\Z)")


def _broken(path: str, row: int, column: int) -> errors.Error:
    return errors.raised(
        4879,
        f"Bulk load failed due to invalid column value in CSV data file {path} in row {row + 1}, column {column + 1}.",
    )


class _Fault(NamedTuple):
    row: int
    column: int
    error: errors.Error


def _refuse(faults: Sequence[_Fault], allowed: int) -> set[int]:
    """Rows that are dropped without a word, as they are no more than MAXERRORS; the first fault if they are."""
    bad = {fault.row for fault in faults}
    if len(bad) > allowed:
        raise min(faults, key=lambda fault: fault[:2]).error
    return bad


class _Overflow(Exception):  # noqa: N818 - a reason, see below
    pass


class _TooLong(Exception):  # noqa: N818 - a reason, see below
    pass


_REASONS: Mapping[type[Exception], tuple[int, str]] = {
    _Overflow: (4867, "overflow"),
    _TooLong: (4863, "truncation"),
    ValueError: (4864, "type mismatch or invalid character for the specified codepage"),
}


def _converted(table: Table, rows: Sequence[Sequence[bytes | None]]) -> tuple[list[list[Any]], list[_Fault]]:
    columns, faults = [], []
    for n, column in enumerate(table.columns):
        convert = _converter(column.type)
        values: list[Any] = []
        for place, row in enumerate(rows):
            field = row[n]
            try:
                values.append(_missing(column) if field is None else convert(field))
            except (_Overflow, _TooLong, ValueError) as error:
                kind = next(kind for kind in _REASONS if isinstance(error, kind))
                number, why = _REASONS[kind]
                reported = (
                    f"Bulk load data conversion error ({why}) for row {place + 1}, column {n + 1} ({column.name})."
                )
                faults.append(_Fault(place, n, errors.raised(number, reported)))
                values.append(None)
            except errors.Error:
                reported = (
                    f"The bulk load failed. Unexpected NULL value in data file row {place + 1}, column {n + 1}. "
                    f"The destination column ({column.name}) is defined as NOT NULL."
                )
                raise errors.raised(4869, reported) from None
        columns.append(values)
    return columns, faults


def _missing(column: Column) -> Any:
    if column.nullable:
        return None
    if column.type.is_text:
        return ""  # documented: a blank string, no error
    raise errors.raised(4869)


_RANGES = {"tinyint": (0, 255), "smallint": (-(1 << 15), (1 << 15) - 1), "int": (-(1 << 31), (1 << 31) - 1),
           "bigint": (-(1 << 63), (1 << 63) - 1)}  # fmt: skip


def _converter(kind: Type) -> Callable[[bytes], Any]:
    if kind.name in _RANGES:
        lowest, highest = _RANGES[kind.name]
        return lambda field: _within(int(_matched(rb"-?\d+", field)), lowest, highest)
    if kind.is_text:
        return lambda field: _text(field, kind)
    if kind.name == "decimal":
        return lambda field: _decimal(field, kind)
    return {
        "bit": lambda field: _matched(b"[01]", field) == "1",
        "float": _float,
        "real": _real,
        "date": lambda field: dt.date.fromisoformat(_matched(rb"\d{4}-\d\d-\d\d", field)),
        "time": lambda field: dt.time.fromisoformat(_moment(rb"", field)),
        "datetime2": lambda field: dt.datetime.fromisoformat(_moment(rb"\d{4}-\d\d-\d\d[T ]", field)),
        "varbinary": lambda field: _bytes(field, kind),
        "uniqueidentifier": lambda field: str(uuid.UUID(_matched(rb"[0-9A-Fa-f-]{36}", field))),
    }[kind.name]


def _matched(pattern: bytes, field: bytes) -> str:
    if not re.fullmatch(pattern, field):
        raise ValueError
    return field.decode()


def _within(value: int, lowest: int, highest: int) -> int:
    if not lowest <= value <= highest:
        raise _Overflow
    return value


def _text(field: bytes, kind: Type) -> str:
    value = field.decode()  # UnicodeDecodeError is a ValueError
    if "\0" in value:
        raise ValueError
    if kind.length is not None and 0 <= kind.length < len(field) and _units(value) > kind.length:
        raise _TooLong
    return value


def _decimal(field: bytes, kind: Type) -> Decimal:
    value = Decimal(_matched(rb"-?(\d+\.?\d*|\.\d+)", field))
    assert kind.precision is not None
    assert kind.scale is not None
    if value.copy_abs() >= Decimal(10) ** (kind.precision - kind.scale):
        raise _Overflow
    return _rounded(value, kind.scale)


def _rounded(value: Decimal, scale: int) -> Decimal:
    import decimal

    return value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, decimal.Context(prec=60))


def _float(field: bytes) -> float:
    value = float(_matched(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", field))
    if math.isinf(value):
        raise _Overflow
    return value


def _real(field: bytes) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", _float(field)))[0])
    except OverflowError:
        raise _Overflow from None


def _moment(day: bytes, field: bytes) -> str:
    """Seconds are mandatory; of up to seven digits after them six are kept."""
    reported = _matched(day + rb"\d\d:\d\d:\d\d(\.\d{1,7})?", field)
    whole, _, fraction = reported.partition(".")
    return f"{whole}.{fraction[:6]:0<6}"


def _bytes(field: bytes, kind: Type) -> bytes:
    value = bytes.fromhex(_matched(rb"([0-9A-Fa-f]{2})*", field))
    if kind.length is not None and 0 <= kind.length < len(value):
        raise _TooLong
    return value


def _arrow(kind: Type) -> pa.DataType:
    if kind.is_text or kind.name == "uniqueidentifier":
        return pa.string()
    if kind.name == "decimal":
        return pa.decimal128(kind.precision, kind.scale)
    simple: dict[str, pa.DataType] = {
        "bigint": pa.int64(), "int": pa.int32(), "smallint": pa.int16(), "tinyint": pa.uint8(), "bit": pa.bool_(),
        "real": pa.float32(), "float": pa.float64(), "varbinary": pa.binary(), "date": pa.date32(),
        "time": pa.time64("us"), "datetime2": pa.timestamp("us"),
    }  # fmt: skip
    return simple[kind.name]
