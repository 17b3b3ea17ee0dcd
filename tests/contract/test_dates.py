"""Dates, times of day and timestamps, in every format that is read."""
# ruff: noqa: DTZ001 - naive is UTC, or local time where a zone is given

from __future__ import annotations

import datetime as dt

from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.contract.cast import Cast, cast
from shared.contract.clean import CleanOptions, DayMonth, clean, day_month
from shared.contract.codes import Code

DATES = [
    "{y:04}-{m:02}-{d:02}",
    "{y:04}/{m}/{d}",
    "{y:04}.{m}.{d}",
    "{m:02}/{d:02}/{y:04}",
    "{m}/{d}/{y:04}",
    "{m}-{d}-{y:04}",
]
DAYS_FIRST = ["{d:02}/{m:02}/{y:04}", "{d}-{m}-{y:04}", "{d}.{m}.{y:04}"]
TIMES = ["{t:%H:%M:%S.%f}", "{t:%I:%M:%S.%f %p}", "{t:%H:%M:%S,%f}", "{t:%I:%M:%S.%f}{p}"]
ZONES = ["UTC", "America/New_York", "Europe/Amsterdam", "Asia/Kolkata", "Australia/Lord_Howe"]
FIXED = {
    "": 0, "Z": 0, " UTC": 0, " gmt": 0, "+05:30": 5.5, " -0330": -3.5, "+14": 14, " EST": -5, " EDT": -4, " CST": -6,
    " CDT": -5, " MST": -7, " MDT": -6, " PST": -8, " pdt": -7,
}  # fmt: skip
INSTANTS = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31))


def cleaned(text: str, cleaner: str = "timestamp", **options: Any) -> Cast:
    return clean(pa.array([text]), cleaner, cleaner, CleanOptions(**options))


@given(INSTANTS, st.data())
def test_a_timestamp_is_the_same_in_every_format(value, data):
    """Each date with each time and each zone of a fixed offset."""
    day_first = data.draw(st.booleans())
    date = data.draw(st.sampled_from([*DATES[:3], *(DAYS_FIRST if day_first else DATES[3:])]))
    time, between = data.draw(st.sampled_from(TIMES)), data.draw(st.sampled_from([" ", "T", "  "]))
    zone = data.draw(st.sampled_from(sorted(FIXED)))
    day = date.format(y=value.year, m=value.month, d=value.day)
    half = "a.m." if value.hour < 12 else "p.m."
    gap = " " if "%I" in time and zone == "Z" else ""

    found = cleaned(f"{day}{between}{time.format(t=value, p=half)}{gap}{zone}", day_first=day_first)

    assert ([value - dt.timedelta(hours=FIXED[zone])], ()) == (found.values.to_pylist(), found.faults)


@given(st.integers(1, 9999), st.integers(0, 14), st.integers(0, 33), st.sampled_from(DATES))
def test_a_day_exists_or_is_a_fault(year, month, day, form):
    """As Python's calendar has it, leap years included."""
    if not form.startswith("{y") and month > 12 and 1 <= day <= 12:
        month, day = day, month  # it can only be the day
    try:
        expected = dt.date(year, month, day)
    except ValueError:
        expected = None

    found = cleaned(form.format(y=year, m=month, d=day), "date")

    assert [expected] == found.values.to_pylist()
    assert ([] if expected else ["no such day or time"]) == [fault.reason for fault in found.faults]


@given(st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2030, 1, 1)), st.sampled_from(ZONES))
def test_local_times_are_read_as_the_plain_cast_reads_them(value, zone):
    """Named at the end of the text or given for the feed, in the hours of a clock change, too."""
    text = value.isoformat(sep=" ")
    expected = cast(pa.array([text]), "timestamp", zone).values.to_pylist()

    named = f"{text} {zone}" if "/" in zone else text
    assert expected == cleaned(named).values.to_pylist()
    assert expected == cleaned(text, timezone=zone).values.to_pylist()


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2025-03-09 02:30:00 America/New_York", "2025-03-09T07:00:00"),  # skipped: the moment of the change
        ("2025-11-02 01:30:00 America/New_York", "2025-11-02T05:30:00"),  # repeated: the earlier one
        ("2025-11-02 01:30:00 EST", "2025-11-02T06:30:00"),
        ("2025-07-01 08:00:00 EST", "2025-07-01T13:00:00"),
        ("07/01/2025 8:00:00 AM US/Central", "2025-07-01T13:00:00"),
        ("07/01/2025 8:00:00 AM america/chicago", "2025-07-01T13:00:00"),
        ("07/01/2025 America/Argentina/Buenos_Aires", "2025-07-01T03:00:00"),
        ("07/01/2025 Etc/GMT+5", "2025-07-01T05:00:00"),
        ("09/01/2025 8:00:00 AM", "2025-09-01T08:00:00"),
        ("09/01/2025 12:05 am", "2025-09-01T00:05:00"),
        ("09/01/2025 12:05 PM", "2025-09-01T12:05:00"),
        ("9/1/2025 8:00PM EST", "2025-09-02T01:00:00"),
        ("2025-09-01T08:00:00.1234567Z", "2025-09-01T08:00:00.123456"),
        ("2025-09-01 08:00", "2025-09-01T08:00:00"),
        ("2025-09-01", "2025-09-01T00:00:00"),
        ("9/1/2025 PST", "2025-09-01T08:00:00"),
    ],
)
def test_forms_of_a_timestamp(text, utc):
    """Those of the systems that are imported."""
    assert [dt.datetime.fromisoformat(utc)] == cleaned(text).values.to_pylist()


def test_a_skipped_hour_is_the_moment_of_the_change():
    """What the table above says of it, checked against Python's zones."""
    change = dt.datetime(2025, 3, 9, 3, tzinfo=ZoneInfo("America/New_York")).astimezone(dt.UTC)

    assert [change.replace(tzinfo=None)] == cleaned("2025-03-09 02:30:00 America/New_York").values.to_pylist()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0000-00-00", "the zero date of MySQL"),
        ("0000-00-00 00:00:00", "the zero date of MySQL"),
        ("9/1/25", "a year of two digits"),
        ("13-9-25 08:00", "a year of two digits"),
        ("02/30/2025", "no such day or time"),
        ("2023-02-29", "no such day or time"),
        ("0000-01-01", "no such day or time"),
        ("13/13/2025", "no such day or time"),
        ("2025-09-01 24:00:00", "no such day or time"),
        ("2025-09-01 08:60", "no such day or time"),
        ("2025-09-01 08:00:60", "no such day or time"),
        ("2025-09-01 13:00 PM", "no such day or time"),
        ("2025-09-01 0:30 AM", "no such day or time"),
        ("2025-09-01 08:00 IST", "unknown time zone"),
        ("2025-09-01 08:00 CET", "unknown time zone"),
        ("2025-09-01 08:00 America/Springfield", "unknown time zone"),
        ("2025-09-01 08:00 +24:00", "unknown time zone"),
        ("2025-09-01 08:00+05:60", "unknown time zone"),
        ("n/a", "text in no known format of dates"),
        ("2025-09/01", "text in no known format of dates"),
        ("9/1-2025", "text in no known format of dates"),
        ("45901", "text in no known format of dates"),
        ("20250901", "text in no known format of dates"),
        ("1756713600000", "text in no known format of dates"),
        ("08:00:00", "text in no known format of dates"),
        ("America/Chicago", "text in no known format of dates"),
        ("9/1/2025 8:00 AM Central Time", "text in no known format of dates"),
        ("9/1/2025 -", "text in no known format of dates"),
        ("2025-09-01 08:00:00 2025-09-01", "text in no known format of dates"),
    ],
)
def test_what_is_no_timestamp_is_a_fault_with_its_reason(text, reason):
    """The first reason that fits."""
    found = cleaned(text)

    assert [None] == found.values.to_pylist()
    assert [(Code.NOT_A_DATE, reason)] == [fault[:2] for fault in found.faults]


@pytest.mark.parametrize("text", ["9999-12-31 23:59:59 EST", "0001-01-01 00:00:00+01:00"])
def test_an_instant_outside_the_calendar_is_a_fault(text):
    """No engine stores it."""
    found = cleaned(text)

    assert ([None], [Code.OUT_OF_RANGE]) == (found.values.to_pylist(), [fault.code for fault in found.faults])


@pytest.mark.parametrize(
    ("text", "day_first", "day"),
    [
        ("03/04/2025", False, dt.date(2025, 3, 4)),
        ("03/04/2025", True, dt.date(2025, 4, 3)),
        ("3.4.2025", True, dt.date(2025, 4, 3)),
        ("13/04/2025", False, dt.date(2025, 4, 13)),
        ("04/13/2025", True, dt.date(2025, 4, 13)),
        ("2025/03/04", True, dt.date(2025, 3, 4)),
    ],
)
def test_the_option_decides_only_what_can_be_both(text, day_first, day):
    """A number above 12 is the day."""
    assert [day] == cleaned(text, "date", day_first=day_first).values.to_pylist()


@pytest.mark.parametrize(
    "text", ["2025-09-01", "9/1/2025 12:00:00 AM", "2025-09-01T00:00:00+05:00", "09-01-2025 00:00 EST"]
)
def test_a_date_may_have_a_time_of_midnight(text):
    """Spreadsheets and databases add it. The day is the one that is written."""
    assert [dt.date(2025, 9, 1)] == cleaned(text, "date").values.to_pylist()


@pytest.mark.parametrize("text", ["2025-09-01 08:00:00", "9/1/2025 12:00:00 PM", "2025-09-01 00:00:00.000001"])
def test_a_date_does_not_lose_a_time(text):
    """The column would have to be a timestamp."""
    found = cleaned(text, "date")

    assert [None] == found.values.to_pylist()
    assert [(Code.NOT_A_DATE, "a time of day where the column holds only dates")] == [f[:2] for f in found.faults]


@given(st.times(), st.sampled_from(TIMES))
def test_a_time_is_the_same_in_every_format(value, form):
    """Microseconds included."""
    text = form.format(t=value, p=" AM" if value.hour < 12 else "pm")

    assert [value] == cleaned(text, "time").values.to_pylist()


@pytest.mark.parametrize(
    "text", ["24:00", "13:00 PM", "8", "8 AM", "noon", "08:00:00 EST", "2025-09-01 08:00", "08:00:61"]
)
def test_what_is_no_time_is_a_fault(text):
    """A zone without a day means nothing."""
    found = cleaned(text, "time")

    assert ([None], [Code.NOT_A_DATE]) == (found.values.to_pylist(), [fault.code for fault in found.faults])


def test_values_tell_whether_the_day_comes_first():
    """Those with the year at the end, whatever separates them and follows them."""
    texts = [
        "13/09/2025 8:00",
        " 31.12.2024",
        "09/13/2025",
        "1/2/2025",
        "2-1-2025 EST",
        "3/3/2025",
        "2025-01-02",
        None,
        "x",
        "32/1/2025",
    ]

    assert DayMonth(day_first=2, month_first=1, either=2) == day_month(pa.array(texts))
    assert DayMonth(0, 0, 0) == day_month(pa.array([], pa.string()))


@given(st.lists(st.dates(), max_size=20), st.booleans())
def test_days_of_one_order_never_speak_for_the_other(days, day_first):
    """What the source decides by: no value that is read in its own order counts against it."""
    form = "%d/%m/%Y" if day_first else "%m/%d/%Y"

    found = day_month(pa.array([f"{day:{form}}" for day in days if day.year > 999], pa.string()))

    assert 0 == (found.month_first if day_first else found.day_first)


def test_many_unknown_zones_cost_no_more_than_one():
    """Each is looked at once, and none is applied to all rows."""
    texts = [f"2025-09-01 08:00 Nowhere/City{n}" for n in range(5_000)]

    found = clean(pa.array(texts), "timestamp", "timestamp", CleanOptions())

    assert [5_000] == [fault.where.true_count for fault in found.faults]
