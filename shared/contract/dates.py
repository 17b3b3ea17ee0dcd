"""Cleans dates, times of day and timestamps."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

from shared.arrow import pc
from shared.contract import zones
from shared.contract.cast import Cast
from shared.contract.codes import Code
from shared.contract.distinct import NULL_TEXT, CleanOptions, checked, matches

_DATE = (
    r"(?:(?P<y1>\d{4})(?P<a1>[-/.])(?P<m1>\d{1,2})(?P<a2>[-/.])(?P<d1>\d{1,2})"
    r"|(?P<first>\d{1,2})(?P<b1>[-/.])(?P<second>\d{1,2})(?P<b2>[-/.])(?P<y2>\d{4}))"
)
_TIME = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<s>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?:\s?(?P<half>[AaPp])(?:[Mm]\b|\.[Mm]\.))?"
)
_TIMESTAMP = rf"^{_DATE}(?:(?:[Tt]|\s+){_TIME})?(?:\s*(?P<zone>{zones.PATTERN}))?$"
_DAY_MONTH = r"^(?P<first>\d{1,2})[-/.](?P<second>\d{1,2})[-/.]\d{4}(?:\D|$)"
_SHORT_YEAR = r"^\d{1,2}([-/.])\d{1,2}[-/.]\d{2}(?:\D|$)"
_ZERO = r"^0000-00-00(?:$|[ T])"

_BEFORE_MONTH = pa.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], pa.int64())
_DAYS_OF_MONTH = pa.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], pa.int64())
_EPOCH = 719_163
"""Number of 1970-01-01, counted from 1 for 0001-01-01."""
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
"""Microseconds."""


class DayMonth(NamedTuple):
    """How many values can only be day and month, only month and day, or either."""

    day_first: int
    month_first: int
    either: int


class _Read(NamedTuple):
    days: Any
    """Since 1970-01-01; NULL for what is not read."""
    micros: Any
    """Since midnight."""
    zone: Any
    """Text; empty without one."""
    known: Any
    """Whether the text has a known format."""


def day_month(array: pa.Array[Any]) -> DayMonth:
    """Counts dates and timestamps of text that end with the year, whatever separates them. 03/03/2025 tells nothing."""
    parts = pc.extract_regex(pc.utf8_trim_whitespace(array), _DAY_MONTH)
    first, second = _int(parts, "first"), _int(parts, "second")
    may_be_day_first = pc.and_(pc.less_equal(first, 31), pc.less_equal(second, 12))
    may_be_month_first = pc.and_(pc.less_equal(first, 12), pc.less_equal(second, 31))
    differ = pc.not_equal(first, second)
    return DayMonth(
        _count(pc.and_not(may_be_day_first, may_be_month_first)),
        _count(pc.and_not(may_be_month_first, may_be_day_first)),
        _count(pc.and_(differ, pc.and_(may_be_day_first, may_be_month_first))),
    )


def timestamp(texts: pa.Array[Any], _kind: str, options: CleanOptions) -> Cast:
    """UTC, microseconds; digits beyond them are cut off. A date alone is its midnight."""
    read = _read(texts, options)
    local = pc.add(pc.multiply(read.days, _DAY), read.micros).cast(pa.int64()).view(pa.timestamp("us"))
    instants = zones.in_utc(local, read.zone, options.timezone)
    return checked(instants.values, *_faults(texts, read, instants.unknown))


def date(texts: pa.Array[Any], _kind: str, options: CleanOptions) -> Cast:
    """The day as it is written, in whatever zone. A time other than midnight is a fault: it would be lost."""
    read = _read(texts, options)
    unknown = zones.in_utc(pa.nulls(len(texts), pa.timestamp("us")), read.zone, "UTC").unknown
    days = read.days.cast(pa.int32()).view(pa.date32())
    timed = (Code.NOT_A_DATE, "a time of day where the column holds only dates", pc.greater(read.micros, 0))
    return checked(days, *_faults(texts, read, unknown), timed)


def time(texts: pa.Array[Any], _kind: str, _options: CleanOptions) -> Cast:
    parts = pc.extract_regex(texts, rf"^{_TIME}$")
    micros = _micros(parts)
    known = pc.is_valid(parts)
    values = micros.cast(pa.int64()).view(pa.time64("us"))
    return checked(
        values,
        (Code.NOT_A_DATE, "text that is no time of day", pc.and_not(texts.is_valid(), known)),
        (Code.NOT_A_DATE, "no such time of day", pc.and_(known, values.is_null())),
    )


def _faults(texts: Any, read: _Read, unknown_zone: Any) -> list[tuple[Code, str, Any]]:
    unread = pc.and_not(texts.is_valid(), read.known)
    no_such = pc.and_(read.known, pc.is_null(pc.add(read.days, read.micros)))
    return [
        (Code.NOT_A_DATE, "the zero date of MySQL", matches(texts, _ZERO)),
        (Code.NOT_A_DATE, "a year of two digits", pc.and_(unread, matches(texts, _SHORT_YEAR))),
        (Code.NOT_A_DATE, "text in no known format of dates", unread),
        (Code.NOT_A_DATE, "no such day or time", no_such),
        (Code.NOT_A_DATE, "unknown time zone", unknown_zone),
    ]


def _read(texts: pa.Array[Any], options: CleanOptions) -> _Read:
    parts = pc.extract_regex(texts, _TIMESTAMP)
    same = pc.and_(*(pc.equal(_text(parts, f"{name}1"), _text(parts, f"{name}2")) for name in "ab"))
    known = pc.fill_null(pc.and_(pc.is_valid(parts), same), False)
    return _Read(_days(parts, options.day_first), _micros(parts), pc.if_else(known, _text(parts, "zone"), ""), known)


def _days(parts: Any, day_first: bool) -> Any:
    """Days since 1970-01-01, NULL if there is no such day."""
    first, second = _int(parts, "first"), _int(parts, "second")
    by_day = pc.greater(first, 12) if not day_first else pc.less_equal(second, 12)
    year = _either(parts, "y1", _int(parts, "y2"))
    month = _either(parts, "m1", pc.if_else(by_day, second, first))
    day = _either(parts, "d1", pc.if_else(by_day, first, second))
    exists = pc.and_(_between(month, 1, 12), pc.and_(pc.greater_equal(year, 1), pc.greater_equal(day, 1)))
    month = pc.if_else(exists, month, None)
    leap = pc.and_(_divides(4, year), pc.or_(pc.invert(_divides(100, year)), _divides(400, year)))
    extra = pc.if_else(leap, 1, 0)
    length = pc.add(pc.take(_DAYS_OF_MONTH, month), pc.if_else(pc.equal(month, 2), extra, 0))
    before = pc.add(pc.take(_BEFORE_MONTH, month), pc.if_else(pc.greater(month, 2), extra, 0))
    number = pc.add(pc.add(_days_before(pc.subtract(year, 1)), before), pc.subtract(day, _EPOCH))
    return pc.if_else(pc.less_equal(day, length), number, None)


def _days_before(years: Any) -> Any:
    """Days in that many years of the Gregorian calendar."""
    leap_days = pc.add(pc.subtract(pc.divide(years, 4), pc.divide(years, 100)), pc.divide(years, 400))
    return pc.add(pc.multiply(years, 365), leap_days)


def _micros(parts: Any) -> Any:
    """Since midnight, 0 without a time; NULL if there is no such time."""
    hour = pc.coalesce(_int(parts, "hour"), 0)
    minute, second = (pc.coalesce(_int(parts, name), 0) for name in ("minute", "s"))
    half = pc.utf8_upper(_text(parts, "half"))
    twelve = pc.if_else(pc.equal(hour, 12), 0, hour)
    of_day = pc.if_else(pc.equal(half, ""), hour, pc.if_else(pc.equal(half, "P"), pc.add(twelve, 12), twelve))
    exists = pc.if_else(pc.equal(half, ""), _between(hour, 0, 23), _between(hour, 1, 12))
    exists = pc.and_(exists, pc.and_(_between(minute, 0, 59), _between(second, 0, 59)))
    seconds = pc.add(pc.multiply(pc.add(pc.multiply(of_day, 60), minute), 60), second)
    fraction = pc.utf8_rpad(pc.utf8_slice_codeunits(_text(parts, "fraction"), 0, 6), 6, "0").cast(pa.int64())
    return pc.if_else(exists, pc.add(pc.multiply(seconds, _SECOND), fraction), None)


def _either(parts: Any, name: str, other: Any) -> Any:
    return pc.coalesce(_int(parts, name), other)


def _int(parts: Any, name: str) -> Any:
    """Of a group of digits; NULL where it is empty or nothing matched."""
    text = _text(parts, name)
    return pc.if_else(pc.equal(text, ""), NULL_TEXT, text).cast(pa.int64())


def _text(parts: Any, name: str) -> Any:
    """Of a group; empty where it took no part, NULL where nothing matched."""
    return pc.if_else(pc.is_valid(parts), pc.struct_field(parts, name), NULL_TEXT)


def _between(values: Any, low: int, high: int) -> Any:
    return pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))


def _divides(divisor: int, values: Any) -> Any:
    return pc.equal(pc.multiply(pc.divide(values, divisor), divisor), values)


def _count(mask: Any) -> int:
    return pc.sum(mask).as_py() or 0
