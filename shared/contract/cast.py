"""Casts one Arrow array to a column type, and finds the values that do not fit. Pure.

A value that does not fit becomes NULL and is marked by a ``Fault``; shared.contract.conform decides what that means for
its row. Everything is vectorised; only faulty values are handled one by one.
"""

from __future__ import annotations

import base64
import datetime as dt
import json

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from shared.arrow import pc
from shared.contract import types
from shared.contract.codes import Code

_TRUE = pa.array(["1", "true", "t", "yes", "y"])
_FALSE = pa.array(["0", "false", "f", "no", "n"])
_ZONE = r"(Z|[+-]\d\d:?\d\d)$"
_FINER = r"(\.\d{6})\d+"
"""Digits beyond microseconds, such as the seventh that .NET writes: cut off."""


_Converter: TypeAlias = Callable[[Any, str, str], "Cast"]
"""Array, column type and time zone in; values and faults out."""


class Fault(NamedTuple):
    """Values that cannot be stored: a stable code, a reason for people, and where (True = faulty)."""

    code: Code
    reason: str
    where: pa.BooleanArray


class Cast(NamedTuple):
    values: pa.Array[Any]
    faults: tuple[Fault, ...]


def cast(array: pa.Array[Any], kind: str, timezone: str = "UTC") -> Cast:
    """*array* as column type *kind*. Timestamps without zone are taken to be in *timezone*.

    >>> cast(pa.array(["12", "twelve", None]), "bigint").values.to_pylist()
    [12, None, None]
    """
    plain = _decoded(array, uuid_as_text=kind == "text")
    converted = _converter(plain.type, kind)(plain, kind, timezone)
    checked = _CHECKS.get(kind, _ok)(converted.values)
    return Cast(checked.values, converted.faults + checked.faults)


def _decoded(array: Any, *, uuid_as_text: bool) -> pa.Array[Any]:
    """*array* without dictionaries, extension types and large or view text: the same values, stored plainly."""
    if pa.types.is_dictionary(array.type):
        return _decoded(array.dictionary_decode(), uuid_as_text=uuid_as_text)
    if isinstance(array, pa.UuidArray) and uuid_as_text:
        return _uuid_text(array.storage)
    if isinstance(array, pa.ExtensionArray):
        return _decoded(array.storage, uuid_as_text=uuid_as_text)
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        return array.cast(pa.string())  # type: ignore[no-any-return]  # of an array of Any
    return array  # type: ignore[no-any-return]  # likewise


def _uuid_text(array: Any) -> pa.Array[Any]:
    """UUIDs of 16 bytes as texts of 36 characters in lower case."""
    raw = array.buffers()[1]
    digits = raw.slice(array.offset * 16, len(array) * 16).to_pybytes().hex() if raw else ""
    ends: Any = pa.array(range(0, len(digits) + 1, 32), pa.int32()).buffers()[1]
    texts = pa.StringArray.from_buffers(len(digits) // 32, ends, pa.py_buffer(digits.encode()))
    dashed = pc.replace_substring_regex(texts, "(.{8})(.{4})(.{4})(.{4})(.{12})", r"\1-\2-\3-\4-\5")
    return pc.if_else(array.is_valid(), dashed, pa.scalar(None, pa.string()))  # type: ignore[no-any-return]  # Any


def _converter(source: pa.DataType, kind: str) -> _Converter:
    is_ = pa.types
    if is_.is_null(source):
        return _nulls
    if is_.is_nested(source):
        return _json_text if kind == "text" else _generic
    if is_.is_string(source) and kind not in ("text", "binary"):
        return _from_text
    if kind == "boolean" and not is_.is_boolean(source) and not is_.is_duration(source):
        return _flags_in_numbers
    return _converter_of_time(source, kind)


def _converter_of_time(source: pa.DataType, kind: str) -> _Converter:
    is_ = pa.types
    if is_.is_duration(source):
        return _durations
    if kind == "timestamp" and is_.is_timestamp(source):
        return _instants
    if is_.is_time(source) and kind == "time":
        return lambda array, kind, _: _ok(array.cast(types.to_arrow(kind), safe=False))
    return _generic


def _nulls(array: pa.Array[Any], kind: str, _zone: str) -> Cast:
    nulls: Any = pa.nulls(len(array))
    return _ok(nulls.cast(types.to_arrow(kind)))


def _generic(array: pa.Array[Any], kind: str, _zone: str) -> Cast:
    return _cast_each(array, types.to_arrow(kind))


def _from_text(array: pa.Array[Any], kind: str, zone: str) -> Cast:
    readers = {"boolean": _flags_in_text, "timestamp": _instants_in_text, "time": _times_in_text}
    read = readers.get(kind, _generic)
    text = _in_utf8(array)
    converted = read(pc.utf8_trim_whitespace(text.values), kind, zone)
    return Cast(converted.values, text.faults + converted.faults)


def _durations(array: pa.Array[Any], kind: str, zone: str) -> Cast:
    fine = array.type.unit == "ns"
    micro = _ok(array.cast(pa.duration("us"), safe=False)) if fine else _cast_each(array, pa.duration("us"))
    converted = cast(micro.values.view(pa.int64()), kind, zone)
    return Cast(converted.values, micro.faults + converted.faults)


def _cast_each(array: pa.Array[Any], target: pa.DataType) -> Cast:
    """Cast all at once; if that fails, halve until each value that cannot be cast is alone."""
    if array.type.equals(target):
        return _ok(array)
    try:
        return _ok(array.cast(target))
    except pa.ArrowNotImplementedError:
        return _all_faulty(array, target)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        if len(array) == 1:
            return _all_faulty(array, target)
    middle = len(array) // 2
    parts = [_cast_each(array[:middle], target), _cast_each(array[middle:], target)]
    bad = pa.concat_arrays([_or_false(part.faults, len(part.values)) for part in parts])
    return Cast(pa.concat_arrays([part.values for part in parts]), (_unfit(array.type, bad),))


def _all_faulty(array: pa.Array[Any], target: pa.DataType) -> Cast:
    nulls: Any = pa.nulls(len(array))
    return Cast(nulls.cast(target), (_unfit(array.type, array.is_valid()),))


def _or_false(faults: tuple[Fault, ...], rows: int) -> pa.BooleanArray:
    return faults[0].where if faults else pa.array([False] * rows, pa.bool_())


def _unfit(source: pa.DataType, where: pa.BooleanArray) -> Fault:
    if pa.types.is_string(source) or pa.types.is_large_string(source):
        return Fault(Code.UNREADABLE, "text that cannot be read as {type}", where)
    return Fault(Code.OUT_OF_RANGE, "{source} value that does not fit {type}", where)


def _flags_in_text(array: pa.Array[Any], _kind: str, _zone: str) -> Cast:
    text = pc.utf8_lower(array)
    yes, known = pc.is_in(text, _TRUE), pc.is_in(text, pa.concat_arrays([_TRUE, _FALSE]))
    return _flags(array, yes, known)


def _flags_in_numbers(array: pa.Array[Any], kind: str, _zone: str) -> Cast:
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_decimal(array.type)):
        return _all_faulty(array, types.to_arrow(kind))
    number = array.cast(pa.float64(), safe=False)  # a number that loses digits is neither 0 nor 1
    return _flags(array, pc.equal(number, 1.0), pc.or_(pc.equal(number, 0.0), pc.equal(number, 1.0)))


def _flags(array: pa.Array[Any], yes: pa.BooleanArray, known: pa.BooleanArray) -> Cast:
    faulty = pc.and_(array.is_valid(), pc.invert(pc.fill_null(known, False)))
    values = pc.if_else(pc.and_(array.is_valid(), pc.invert(faulty)), yes, pa.scalar(None, pa.bool_()))
    return _with(values, Fault(Code.UNREADABLE, "value that is neither yes nor no", faulty))


def _instants(array: pa.Array[Any], _kind: str, timezone: str) -> Cast:
    zone = array.type.tz
    if array.type.unit == "ns":
        micro = _ok(array.cast(pa.timestamp("us", zone), safe=False))
    else:
        micro = _cast_each(array, pa.timestamp("us", zone))
    if zone is None:
        return Cast(_in_utc(micro.values, timezone), micro.faults)
    return Cast(micro.values.view(pa.int64()).view(pa.timestamp("us")), micro.faults)


def _instants_in_text(array: pa.Array[Any], _kind: str, timezone: str) -> Cast:
    text = pc.replace_substring_regex(pc.ascii_upper(array), _FINER, r"\1")
    zoned = pc.fill_null(pc.match_substring_regex(text, _ZONE), False)
    null = pa.scalar(None, pa.string())
    with_zone = _cast_each(pc.if_else(zoned, text, null), pa.timestamp("us", "UTC"))
    without = _cast_each(pc.if_else(zoned, null, text), pa.timestamp("us"))
    values = pc.coalesce(with_zone.values.view(pa.int64()).view(pa.timestamp("us")), _in_utc(without.values, timezone))
    return Cast(values, with_zone.faults + without.faults)


def _times_in_text(array: pa.Array[Any], kind: str, _zone: str) -> Cast:
    """Arrow does not parse times of day, but it parses instants."""
    texts = pc.binary_join_element_wise("1970-01-01T", array, "")
    instants = _cast_each(texts, pa.timestamp("us"))
    return Cast(instants.values.cast(types.to_arrow(kind)), instants.faults)


def _in_utc(array: pa.Array[Any], timezone: str) -> pa.Array[Any]:
    if timezone == "UTC":
        return array
    # For an hour that a clock change repeats or skips there is no right answer; these keep the order of rows.
    aware: pa.Array[Any] = pc.assume_timezone(array, timezone, ambiguous="earliest", nonexistent="latest")
    return aware.view(pa.int64()).view(pa.timestamp("us"))


def _json_text(array: pa.Array[Any], _kind: str, _zone: str) -> Cast:
    texts: list[str | None] = []
    bad: list[bool] = []
    for value in array:
        try:
            texts.append(json_text(value.as_py()) if value.is_valid else None)
            bad.append(False)
        except (ValueError, OverflowError):  # NaN, text that is not UTF-8, nanoseconds ... somewhere inside
            texts.append(None)
            bad.append(True)
    return _with(
        pa.array(texts, pa.string()),
        Fault(Code.NOT_JSON, "nested value that JSON cannot hold", pa.array(bad, pa.bool_())),
    )


def json_text(value: Any, *, lenient: bool = False) -> str:
    """*value* as JSON: decimals as text, instants as ISO 8601, durations as microseconds, bytes as base64.

    ValueError for NaN unless *lenient*.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=lenient, default=_plain)


def _plain(value: Any) -> str | int:
    if isinstance(value, dt.timedelta):
        return value // dt.timedelta(microseconds=1)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _finite(values: pa.Array[Any]) -> Cast:
    faulty = pc.fill_null(pc.invert(pc.is_finite(values)), False)
    return _with(values, Fault(Code.NOT_FINITE, "NaN or infinity", faulty))


def _within_calendar(values: pa.Array[Any]) -> Cast:
    """Only years 1 to 9999, as datetime2 and Python hold, so that every engine gives the same result."""
    low, high = _LIMITS[str(values.type)]
    extremes = pc.min_max(values)
    inside = pc.and_(pc.greater_equal(extremes["min"], low), pc.less_equal(extremes["max"], high))
    if inside.as_py() is not False:  # None: there are no values
        return _ok(values)
    faulty = pc.fill_null(pc.or_(pc.less(values, low), pc.greater(values, high)), False)
    return _with(values, Fault(Code.OUT_OF_RANGE, "a date or time outside the years 1 to 9999", faulty))


def _within_day(values: pa.Array[Any]) -> Cast:
    ticks = values.view(pa.int64())
    faulty = pc.fill_null(pc.or_(pc.less(ticks, 0), pc.greater_equal(ticks, _DAY)), False)
    return _with(values, Fault(Code.OUT_OF_RANGE, "a time outside the day", faulty))


_DAY = 86_400_000_000
"""Microseconds."""


class _Span(NamedTuple):
    low: pa.Scalar[Any]
    high: pa.Scalar[Any]


_LIMITS = {
    "timestamp[us]": _Span(
        pa.scalar(dt.datetime(1, 1, 1), pa.timestamp("us")),  # noqa: DTZ001 - naive UTC by definition
        pa.scalar(dt.datetime(9999, 12, 31, 23, 59, 59, 999_999), pa.timestamp("us")),  # noqa: DTZ001
    ),
    "date32[day]": _Span(pa.scalar(dt.date(1, 1, 1)), pa.scalar(dt.date(9999, 12, 31))),
}


def _storable_text(values: pa.Array[Any]) -> Cast:
    text = _in_utf8(values)
    if not _may_hold_nul(text.values):
        return text
    faulty = pc.fill_null(pc.match_substring(text.values, "\0"), False)
    clean = _with(text.values, Fault(Code.NUL_IN_TEXT, "text with a NUL character", faulty))
    return Cast(clean.values, text.faults + clean.faults)


def _in_utf8(values: pa.Array[Any]) -> Cast:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return _not_utf8(values)
    return _ok(values)


def _may_hold_nul(values: pa.Array[Any]) -> bool:
    """Searches the buffer, which is far cheaper than each value. It may hold other rows, too."""
    data: Any = values.buffers()[-1]
    return bool(data) and not np.frombuffer(data, np.uint8).min()


def _not_utf8(values: pa.Array[Any]) -> Cast:
    raw = values.view(pa.binary()).to_pylist()
    faulty = pa.array([value is not None and not _is_utf8(value) for value in raw], pa.bool_())
    clean = [None if bad else value for value, bad in zip(raw, faulty.to_pylist(), strict=True)]
    fault = Fault(Code.NOT_UTF8, "text that is not UTF-8", faulty)
    return Cast(pa.array(clean, pa.binary()).cast(pa.string()), (fault,))


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


_CHECKS: dict[str, Callable[[pa.Array[Any]], Cast]] = {
    "real": _finite,
    "double": _finite,
    "date": _within_calendar,
    "time": _within_day,
    "timestamp": _within_calendar,
    "text": _storable_text,
}


def _ok(values: pa.Array[Any]) -> Cast:
    return Cast(values, ())


def _with(values: pa.Array[Any], fault: Fault) -> Cast:
    """*values* with the faulty ones set to NULL, and *fault* if there are any."""
    if not fault.where.true_count:
        return _ok(values)
    return Cast(pc.if_else(fault.where, pa.scalar(None, values.type), values), (fault,))
