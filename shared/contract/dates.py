"""Cleans dates, times of day and timestamps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from shared.arrow import pc
from shared.contract import zones
from shared.contract.cast import Cast
from shared.contract.codes import Code
from shared.contract.distinct import NULL_TEXT, CleanOptions, checked, matches
from shared.contract.forms import Formed, Forms, Integers, rest_of

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

_YEAR_FIRST = ("0000-00-00", "0000/00/00")
_YEAR_LAST = ("00/00/0000", "0/0/0000", "0/00/0000", "00/0/0000", "00-00-0000", "00.00.0000")
_USUAL_TIMES = ("", " 00:00", " 00:00:00", "T00:00:00", "T00:00:00Z")
_USUAL = Forms([f"{date}{time}" for date in (*_YEAR_FIRST, *_YEAR_LAST) for time in _USUAL_TIMES])
"""Most of what people and programs write. The pattern above means the same by them, and takes everything else."""

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
"""Microseconds."""


class DayMonth(NamedTuple):
    """How many values can only be day and month, only month and day, or either."""

    day_first: int
    month_first: int
    either: int


class _Parts(NamedTuple):
    """What texts say, as numbers, -1 where they say nothing."""

    rows: Integers
    """The places of the texts, each in one of several such parts."""
    year: Integers
    first: Integers
    """Month of a text that begins with the year; day or month of any other."""
    second: Integers
    year_first: Any
    micros: Integers
    """Since midnight; -1 for no such time."""
    zone: Any
    """Text; empty without one."""


class _Read(NamedTuple):
    days: Integers
    """Since 1970-01-01, where exists says so."""
    micros: Integers
    """Since midnight, likewise."""
    exists: Any
    """Whether there is such a day and time."""
    zone: Any
    """Text; empty without one."""
    known: Any
    """Whether the text has a known format."""


def day_month(array: pa.Array[Any]) -> DayMonth:
    """Counts dates and timestamps of text that end with the year, whatever separates them. 03/03/2025 tells nothing."""
    texts = pc.utf8_trim_whitespace(array)
    formed = list(_USUAL.found(texts))
    pairs = [tuple(one.numbers[:2]) for one in formed if not one.form.startswith("0000")]
    others = texts.take(pa.array(rest_of(len(texts), formed)))
    parts = pc.extract_regex(others, _DAY_MONTH)
    pairs.append((_int(parts, "first"), _int(parts, "second")))
    return DayMonth(*map(sum, zip(*(_orders(first, second) for first, second in pairs), strict=True)))


def _orders(first: Integers, second: Integers) -> DayMonth:
    read = first >= 0
    may_be_day_first = read & (first <= 31) & (second <= 12)
    may_be_month_first = read & (first <= 12) & (second <= 31)
    both = may_be_day_first & may_be_month_first
    return DayMonth(
        int((may_be_day_first & ~both).sum()),
        int((may_be_month_first & ~both).sum()),
        int((both & (first != second)).sum()),
    )


def timestamp(texts: pa.Array[Any], _kind: str, options: CleanOptions) -> Cast:
    """UTC, microseconds; digits beyond them are cut off. A date alone is its midnight."""
    read = _read(texts, options)
    local: Any = _with_nulls(read.days * _DAY + read.micros, read.exists)
    instants = zones.in_utc(local.view(pa.timestamp("us")), read.zone, options.timezone)
    return checked(instants.values, *_faults(texts, read, instants.unknown))


def date(texts: pa.Array[Any], _kind: str, options: CleanOptions) -> Cast:
    """The day as it is written, in whatever zone. A time other than midnight is a fault: it would be lost."""
    read = _read(texts, options)
    unknown = zones.in_utc(pa.nulls(len(texts), pa.timestamp("us")), read.zone, "UTC").unknown
    days: Any = _with_nulls(read.days.astype(np.int32), read.exists)
    timed = (Code.NOT_A_DATE, "a time of day where the column holds only dates", pa.array(read.micros > 0))
    return checked(days.view(pa.date32()), *_faults(texts, read, unknown), timed)


def time(texts: pa.Array[Any], _kind: str, _options: CleanOptions) -> Cast:
    parts = pc.extract_regex(texts, rf"^{_TIME}$")
    micros, known = _micros(parts), pc.is_valid(parts)
    values: Any = _with_nulls(micros, (micros >= 0) & known.to_numpy(zero_copy_only=False))
    values = values.view(pa.time64("us"))
    return checked(
        values,
        (Code.NOT_A_DATE, "text that is no time of day", pc.and_not(texts.is_valid(), known)),
        (Code.NOT_A_DATE, "no such time of day", pc.and_(known, values.is_null())),
    )


def _faults(texts: Any, read: _Read, unknown_zone: Any) -> list[tuple[Code, str, Any]]:
    unread = texts.is_valid().to_numpy(zero_copy_only=False) & ~read.known
    none = read.known & ~read.exists
    return [
        (Code.NOT_A_DATE, "the zero date of MySQL", _matching(texts, unread | none, _ZERO)),
        (Code.NOT_A_DATE, "a year of two digits", _matching(texts, unread, _SHORT_YEAR)),
        (Code.NOT_A_DATE, "text in no known format of dates", pa.array(unread)),
        (Code.NOT_A_DATE, "no such day or time", pa.array(none)),
        (Code.NOT_A_DATE, "unknown time zone", unknown_zone),
    ]


def _matching(texts: Any, where: Any, pattern: str) -> Any:
    """Those of the texts *where* it is true that match."""
    found = where.copy()
    found[where] = matches(texts.filter(pa.array(where)), pattern).to_numpy(zero_copy_only=False)
    return pa.array(found)


def _read(texts: pa.Array[Any], options: CleanOptions) -> _Read:
    formed = list(_USUAL.found(texts))
    parts = [*map(_of_form, formed), _by_pattern(texts, rest_of(len(texts), formed))]
    days, micros = np.full(len(texts), 0), np.full(len(texts), 0)
    exists, known = np.zeros(len(texts), np.bool_), np.zeros(len(texts), np.bool_)
    for one in parts:
        days[one.rows], there = _days(one, options.day_first)
        micros[one.rows] = one.micros
        exists[one.rows] = there & (one.micros >= 0)
        known[one.rows] = True
    return _Read(days, micros, exists, _zones(len(texts), parts), known)


def _of_form(formed: Formed) -> _Parts:
    numbers, year_first = formed.numbers, formed.form.startswith("0000")
    year, first, second = numbers[:3] if year_first else (numbers[2], numbers[0], numbers[1])
    clock = [*numbers[3:], *[np.zeros(len(year), np.int64)] * 3][:3]
    zone = "Z" if formed.form.endswith("Z") else ""
    return _Parts(formed.rows, year, first, second, year_first, _since_midnight(*clock), zone)


def _by_pattern(texts: pa.Array[Any], rows: Integers) -> _Parts:
    parts = pc.extract_regex(pc.take(texts, pa.array(rows)), _TIMESTAMP)
    same = pc.and_(*(pc.equal(_text(parts, f"{name}1"), _text(parts, f"{name}2")) for name in "ab"))
    known = pc.fill_null(pc.and_(pc.is_valid(parts), same), False)
    parts = parts.filter(known)
    year = _int(parts, "y1")
    return _Parts(
        rows[known.to_numpy(zero_copy_only=False)],
        np.maximum(year, _int(parts, "y2")),
        np.maximum(_int(parts, "m1"), _int(parts, "first")),
        np.maximum(_int(parts, "d1"), _int(parts, "second")),
        year >= 0,
        _micros(parts),
        _text(parts, "zone"),
    )


def _zones(size: int, parts: list[_Parts]) -> Any:
    """The zone that each text names, as a dictionary; the same as if they were written beside each other."""
    codes, names = np.zeros(size, np.int32), [""]
    for one in parts:
        if isinstance(one.zone, str):
            codes[one.rows] = len(names) if one.zone else 0
            names += [one.zone] if one.zone else []
        else:
            encoded = one.zone.dictionary_encode()
            codes[one.rows] = encoded.indices.to_numpy() + len(names)
            names += encoded.dictionary.to_pylist()
    return pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string()))


def _days(parts: _Parts, day_first: bool) -> tuple[Integers, Any]:
    """Days since 1970-01-01, and whether there is such a day."""
    by_day = parts.second <= 12 if day_first else parts.first > 12
    by_day = by_day & ~np.asarray(parts.year_first)
    month = np.where(by_day, parts.second, parts.first)
    day = np.where(by_day, parts.first, parts.second)
    exists = (month >= 1) & (month <= 12) & (parts.year >= 1) & (day >= 1)
    months = np.where(exists, (parts.year - 1970) * 12 + month - 1, 0)
    begins, ends = _first_day(months), _first_day(months + 1)
    return begins + day - 1, exists & (day <= ends - begins)


def _first_day(months: Integers) -> Integers:
    """Days from 1970-01-01 to the first day of a month, which is counted from that one."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _since_midnight(hour: Integers, minute: Integers, second: Integers, fraction: Any = 0) -> Integers:
    """Microseconds; -1 if there is no such time."""
    exists = (hour <= 23) & (minute <= 59) & (second <= 59)
    return np.where(exists, ((hour * 60 + minute) * 60 + second) * _SECOND + fraction, -1)


def _micros(parts: Any) -> Integers:
    """Since midnight, 0 without a time; -1 if there is no such time."""
    hour, minute, second = (np.maximum(_int(parts, name), 0) for name in ("hour", "minute", "s"))
    half = pc.utf8_upper(_text(parts, "half"))
    of_twelve, later = (
        pc.fill_null(one, False).to_numpy(zero_copy_only=False) for one in (pc.not_equal(half, ""), pc.equal(half, "P"))
    )
    of_day = np.where(of_twelve, hour % 12 + 12 * later, hour)
    of_day = np.where(of_twelve & ((hour < 1) | (hour > 12)), 24, of_day)
    fraction = pc.utf8_rpad(pc.utf8_slice_codeunits(_text(parts, "fraction"), 0, 6), 6, "0").cast(pa.int64())
    return _since_midnight(of_day, minute, second, pc.fill_null(fraction, 0).to_numpy())


def _int(parts: Any, name: str) -> Integers:
    """Of a group of digits; -1 where it is empty or nothing matched."""
    text = _text(parts, name)
    numbers = pc.if_else(pc.equal(text, ""), NULL_TEXT, text).cast(pa.int64())
    return pc.fill_null(numbers, -1).to_numpy()  # type: ignore[no-any-return]  # Any


def _text(parts: Any, name: str) -> Any:
    """Of a group; empty where it took no part, NULL where nothing matched."""
    return pc.if_else(pc.is_valid(parts), pc.struct_field(parts, name), NULL_TEXT)


def _with_nulls(values: Integers, exists: Any) -> pa.Array[Any]:
    return pa.array(values, mask=~exists)
