"""What a path says about an exported file."""

from __future__ import annotations

import datetime as dt

import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.model import to_text
from shared.sources.exports.layout import export_path
from shared.sources.times import timestamp


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("r/Full/Acme/20260224120000/Location.parquet", ("location", "full", "Acme", "2026-02-24T12:00:00.000000")),
        ("r/Delta/Acme/20260224/Location.parquet", ("location", "delta", "Acme", "2026-02-24T00:00:00.000000")),
        ("Delta/Acme/latest/Location.parquet", ("location", "delta", "Acme", None)),
        ("FULL/Acme/LATEST/Location.PARQUET", ("location", "full", "Acme", None)),
        ("/srv/full/20260101/20260224/asset.parquet", ("asset", "full", "20260101", "2026-02-24T00:00:00.000000")),
    ],
)
def test_kind_client_and_time_are_read_from_the_folders(path, expected):
    """The first layout, in any case and at any depth; only its last three folders count."""
    found = export_path(path)

    assert (*expected, False, path.rpartition("/")[0], path.rpartition("/")[0]) == found


@pytest.mark.parametrize("stamp", ["20260224", "20260224120000"])
def test_every_file_of_a_dump_is_a_part_of_its_table(stamp):
    """The second layout: the file's name says nothing, the folder names the table, and a dump is a full."""
    one, other = (export_path(f"r/{stamp}/Outlet_dump_7/{name}.parquet") for name in ("9c0f", "location"))

    assert one == other
    assert ("outlet", "full", None, True) == (one.table, one.kind, one.client, one.part)
    assert timestamp(stamp) == one.stamp


def test_dataset_of_a_dump_may_have_underscores():
    """The name ends where the first ``_dump_`` begins."""
    assert "order_item" == export_path("20260224/Order_Item_dump_a_dump_b/x.parquet").table


def test_dump_without_a_time_above_it_is_an_ordinary_folder():
    """Its files are tables by their own names, and whether full or delta is for the operator to say."""
    found = export_path("exports/outlet_dump_1/location.parquet")

    assert ("location", None, False) == (found.table, found.kind, found.part)


@pytest.mark.parametrize(
    "path", ["location.parquet", "any/folder/Location.parquet", "Full/location.parquet", "x/Full/Acme/location.parquet"]
)
def test_any_other_folder_does_not_say_its_kind(path):
    """The table is the file's name, the rest is unknown."""
    found = export_path(path)

    assert ("location", None, None, None, False) == found[:5]


def test_time_of_a_folder_without_kind_is_known():
    """Such a folder needs no ``--exported-at``."""
    assert "2026-02-24T00:00:00.000000" == export_path("anything/20260224/location.parquet").stamp


@pytest.mark.parametrize(
    "name",
    ["location.csv", "location.parquet.tmp", "_SUCCESS", ".location.parquet", "_location.parquet", "parquet", ""],
)
def test_other_files_are_passed_over(name):
    """What a writer leaves behind or has not finished is no table."""
    assert export_path(f"Full/Acme/20260224/{name}") is None


@pytest.mark.parametrize(
    "segment",
    [
        "20260230", "20261301", "20260224250000", "20260224126000", "2026022", "202602241200", "2026-02-24",
        "٢٠٢٦٠٢٢٤", "20260224 ", "", "latest", "00000101", "+2026022",
    ],
)  # fmt: skip
def test_segment_that_is_no_time_is_none(segment):
    """Dates that do not exist, other lengths, other digits."""
    assert timestamp(segment) is None


def test_folder_with_an_impossible_date_does_not_say_its_kind():
    """It is refused rather than taken for an export without time."""
    assert export_path("Full/Acme/20260230/location.parquet").kind is None


@given(st.datetimes(min_value=dt.datetime(1000, 1, 1), max_value=dt.datetime(9999, 12, 31)))  # noqa: DTZ001 - UTC
def test_every_time_is_read_back(moment):
    """To the second from 14 digits, to the day from 8."""
    second = moment.replace(microsecond=0)
    day = second.replace(hour=0, minute=0, second=0)

    assert to_text(second) == timestamp(f"{second:%Y%m%d%H%M%S}")
    assert to_text(day) == timestamp(f"{second:%Y%m%d}")
