"""What a column can hold: our own small set of types, how Arrow's map to it, and how they widen. Pure.

| Arrow                                   | column        | note                                             |
|-----------------------------------------|---------------|--------------------------------------------------|
| bool                                    | boolean       |                                                  |
| int8, int16, uint8                      | smallint      |                                                  |
| int32, uint16                           | integer       |                                                  |
| int64, uint32                           | bigint        |                                                  |
| uint64                                  | decimal(20,0) | no engine here has an unsigned 64 bit type       |
| float16, float32                        | real          | NaN and infinity are rejected                   |
| float64                                 | double        | likewise                                         |
| decimal32 to decimal256, precision <= 38| decimal(p,s)  | more digits than 38: the file is refused         |
| string, large_string, string_view       | text          | must be UTF-8 without NUL                        |
| binary, fixed-size and large binary     | binary        |                                                  |
| date32, date64                          | date          | years 1 to 9999                                  |
| time32, time64                          | time          | microseconds                                     |
| timestamp of any unit, with zone        | timestamp     | UTC, microseconds (finer is cut off), no zone    |
| timestamp without zone                  | timestamp     | taken as UTC, or as the feed's ``timezone``      |
| duration                                | bigint        | microseconds                                     |
| list, struct, map                       | text          | JSON                                             |
| dictionary of one of these              | that one      |                                                  |
| uuid                                    | text          | 36 characters in lower case                      |
| other extension stored as one of these  | that one      | json as text                                     |
| null                                    | none yet      | NULL in a stored column; else not stored         |
"""

from __future__ import annotations

import re

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shared.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

SIMPLE = (
    "boolean", "smallint", "integer", "bigint", "real", "double", "text", "binary", "date", "time", "timestamp",
)  # fmt: skip
"""Types without parameters; the one with them is ``decimal(precision,scale)``."""

NULL = "null"
"""Pseudo-type of a column that has only NULLs and no type of its own."""

CLEANERS: Mapping[str, tuple[str, ...]] = {
    "text": ("text",),
    "phone": ("text",),
    "email": ("text",),
    "date": ("date",),
    "timestamp": ("timestamp",),
    "time": ("time",),
    "amount": ("decimal", "double"),
    "integer": ("smallint", "integer", "bigint"),
    "boolean": ("boolean",),
    "zip": ("text",),
}
"""The types that each cleaner of shared.contract.clean makes; ``decimal`` stands for every decimal(p,s)."""

_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
_INTEGERS = tuple(_DIGITS)
_MOST_DIGITS = 38


def parse(text: str) -> str:
    """*text* from a catalog as a column type in its normal form; ConfigError names the choices.

    >>> parse("Decimal(18, 4)")
    'decimal(18,4)'
    """
    name = re.sub(r"\s", "", text).lower()
    if name in SIMPLE:
        return name
    found = re.fullmatch(r"decimal\((\d+),(\d+)\)", name)
    if found and 0 < int(found[1]) <= _MOST_DIGITS and int(found[2]) <= int(found[1]):
        return f"decimal({int(found[1])},{int(found[2])})"
    raise ConfigError(
        f"there is no column type {text!r}",
        fix=f"Choose one of {', '.join(SIMPLE)} or decimal(p,s) with p up to 38",
    )


def decimal_of(kind: str) -> tuple[int, int]:
    """Precision and scale of a ``decimal(p,s)``."""
    precision, scale = kind[len("decimal(") : -1].split(",")
    return int(precision), int(scale)


def of_arrow(kind: pa.DataType) -> str | None:
    """The column type that holds every value of an Arrow type, ``null`` for Arrow's null, None if there is none."""
    import pyarrow as pa

    is_ = pa.types
    if is_.is_dictionary(kind):
        return of_arrow(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return "text" if isinstance(kind, pa.UuidType) else of_arrow(kind.storage_type)
    if is_.is_decimal(kind):
        fits = kind.precision <= _MOST_DIGITS and 0 <= kind.scale <= kind.precision
        return f"decimal({kind.precision},{kind.scale})" if fits else None
    if is_.is_uint64(kind):
        return "decimal(20,0)"
    for tests, name in _TABLE:
        if any(getattr(is_, f"is_{test}")(kind) for test in tests):
            return name
    return None


_TABLE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("boolean",), "boolean"),
    (("int8", "int16", "uint8"), "smallint"),
    (("int32", "uint16"), "integer"),
    (("int64", "uint32", "duration"), "bigint"),
    (("float16", "float32"), "real"),
    (("float64",), "double"),
    (("string", "large_string", "string_view"), "text"),
    (("binary", "large_binary", "fixed_size_binary", "binary_view"), "binary"),
    (("date",), "date"),
    (("time",), "time"),
    (("timestamp",), "timestamp"),
    (("nested",), "text"),
    (("null",), NULL),
)


def to_arrow(kind: str) -> pa.DataType:
    """The Arrow type a conformed batch has for a column type."""
    import pyarrow as pa

    if kind.startswith("decimal"):
        return pa.decimal128(*decimal_of(kind))
    simple: dict[str, pa.DataType] = {
        "boolean": pa.bool_(),
        "smallint": pa.int16(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "real": pa.float32(),
        "double": pa.float64(),
        "text": pa.string(),
        "binary": pa.binary(),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "timestamp": pa.timestamp("us"),
    }
    return simple[kind]


def widened(stored: str, incoming: str) -> str | None:
    """The type that holds both, if *stored* may become it: equal, or wider within the rules of docs/tables.md.

    None: the two are incompatible. Never to text, never from integer to floating point.

    >>> widened("integer", "bigint"), widened("bigint", "smallint"), widened("bigint", "decimal(18,2)")
    ('bigint', 'bigint', 'decimal(21,2)')
    >>> widened("bigint", "double") is widened("integer", "text") is None
    True
    """
    if stored == incoming:
        return stored
    if stored in _INTEGERS and incoming in _INTEGERS:
        return max(stored, incoming, key=_INTEGERS.index)
    if {stored, incoming} == {"real", "double"}:
        return "double"
    if is_exact(stored) and is_exact(incoming):
        (whole_a, scale_a), (whole_b, scale_b) = _whole_and_scale(stored), _whole_and_scale(incoming)
        scale, whole = max(scale_a, scale_b), max(whole_a, whole_b)
        return f"decimal({whole + scale},{scale})" if whole + scale <= _MOST_DIGITS else None
    return None


def kept(stored: str, inferred: str) -> str:
    """The type to read values as that were *inferred* from themselves, where a column is *stored* already.

    What was stored decides where it can hold them, so that a column does not change with the rows that happen to come:
    text holds everything, floating point every number. Else the column widens, or the two are incompatible.

    >>> kept("text", "bigint"), kept("double", "decimal(23,4)"), kept("bigint", "null"), kept("bigint", "text")
    ('text', 'double', 'bigint', 'text')
    """
    if inferred == NULL or stored == "text" or (stored in ("real", "double") and is_exact(inferred)):
        return stored
    return inferred


def can_convert(stored: str, declared: str) -> bool:
    """Whether a stored column can become a declared type that it does not widen to, if all of its values fit.

    >>> can_convert("bigint", "text"), can_convert("text", "timestamp"), can_convert("date", "double")
    (True, True, False)
    """
    if stored == "text":
        return declared not in ("text", "binary")
    if declared == "text":
        return stored != "binary"
    return is_exact(stored) and declared in ("real", "double")


def is_exact(kind: str) -> bool:
    """Whether numbers of that type have no rounding: integers and decimals."""
    return kind in _INTEGERS or kind.startswith("decimal")


def _whole_and_scale(kind: str) -> tuple[int, int]:
    if kind in _INTEGERS:
        return _DIGITS[kind], 0
    precision, scale = decimal_of(kind)
    return precision - scale, scale
