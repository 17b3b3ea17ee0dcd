"""DuckDB reads files by itself only where that makes no difference."""

from __future__ import annotations

import datetime as dt
import struct

from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.pipeline.folder import LoadOptions
from shared.pipeline.progress import Progress
from shared.sources.exports import parquet
from shared.warehouses.embedded import direct
from tests.exports import START, Clock, export_path, load_exports, open_test_app

DAY = dt.timedelta(days=1)
EPOCH = START.replace(tzinfo=None)
SCHEMA = pa.schema(
    [
        ("LocationId", pa.int64()), ("ModifiedOn", pa.timestamp("us")), ("IsDeleted", pa.bool_()),
        ("Text", pa.string()), ("Price", pa.decimal128(18, 2)), ("Weight", pa.float64()), ("Small", pa.int16()),
        ("Day", pa.date32()), ("Bytes", pa.binary()), ("Nested", pa.list_(pa.int64())),
    ]
)  # fmt: skip
PLAIN = ("LocationId", "ModifiedOn", "IsDeleted", "Text", "Price", "Weight", "Small", "Day")


class Lab:
    """A warehouse, and exports to load into it."""

    def __init__(self, folder):
        self.folder, self.clock = folder, Clock(START + 30 * DAY)
        self.app = open_test_app(folder, self.clock)
        self.looked_at = []

    def write(self, rows, number=1, kind="full", names=PLAIN, **options):
        path = export_path(self.folder / "exports", kind, f"{EPOCH + number * DAY:%Y%m%d}", "location")
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = pa.schema([SCHEMA.field(name) for name in names])
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, **options)
        return path

    def load(self, path, **options):
        self.clock.forward(hours=1)
        (result,) = load_exports(self.app, str(path.parent), LoadOptions(system="coolr", **options))
        return result.run

    def rows(self, columns="*"):
        with duckdb.connect(str(self.folder / "warehouse.duckdb"), read_only=True) as db:
            table = f"SELECT {columns} FROM coolr.location ORDER BY ALL"
            return db.execute(table).fetchall()


@pytest.fixture
def examined(monkeypatch):
    """Whether each file that DuckDB was to read by itself passed."""
    seen = []
    examine_really = direct.examine

    def examine(*args):
        found = examine_really(*args)
        seen.append(found is not None)
        return found

    monkeypatch.setattr(parquet, "DIRECT_ROWS", 1)
    monkeypatch.setattr(direct, "examine", examine)
    return seen


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def row(key, text="a", **more):
    known = {"LocationId": key, "ModifiedOn": EPOCH, "IsDeleted": False, "Text": text, "Price": Decimal("1.50")}
    return {**known, "Weight": 0.5, "Small": 7, "Day": EPOCH.date(), "Bytes": b"", "Nested": [1], **more}


@pytest.mark.parametrize("first", [True, False], ids=["into an empty database", "over stored rows"])
def test_a_plain_file_is_read_by_duckdb(lab, examined, first):
    if not first:
        lab.load(lab.write([row(1), row(2)]))
    examined.clear()

    run = lab.load(lab.write([row(1), row(3, "new")], number=2))

    assert [True] == examined
    assert (run.status, run.read, run.rejected) == ("done", 2, 0)
    assert [(1, "a"), (3, "new")] == lab.rows("LocationId, Text") if first else [(1, "a"), (2, "a"), (3, "new")]


@pytest.mark.parametrize(
    "odd",
    [
        {"LocationId": None}, {"Text": "a\0b"}, {"Weight": float("nan")}, {"Weight": float("inf")},
        {"ModifiedOn": EPOCH + 60 * DAY},
    ],
    ids=["no key", "NUL", "NaN", "infinity", "future"],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False], ids=["into an empty database", "over stored rows"])
def test_a_file_with_a_row_to_reject_or_to_change_is_read_by_the_source(lab, examined, odd, first):
    if not first:
        lab.load(lab.write([row(1)]))
    examined.clear()
    lab.load(lab.write([row(1), *(row(n) for n in range(10, 30)), {**row(2), **odd}], number=2))

    assert [False] == examined
    assert 1 == len(list(lab.app.warehouse.rejects("coolr.location")))


@pytest.mark.parametrize(
    "options",
    [
        {"names": SCHEMA.names}, {"compression": "gzip"}, {"write_page_checksum": True}, {"write_statistics": False},
        {"use_dictionary": False, "column_encoding": {"LocationId": "DELTA_BINARY_PACKED"}},
    ],
    ids=["nested", "gzip", "checksums", "no statistics", "rare encoding"],
)  # fmt: skip
def test_a_file_that_readers_may_read_differently_is_read_by_the_source(lab, examined, options):
    run = lab.load(lab.write([row(1)], **options))

    assert (run.status, [], 1) == ("done", examined, run.inserted)


def test_a_value_that_contradicts_the_statistics_is_read_by_the_source(lab, examined):
    """DuckDB takes statistics for true, and would have missed the row, or packed its key into too few bits."""
    path = lab.write([row(n) for n in range(1, 100)], compression="none", use_dictionary=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<2q", 49, 50), struct.pack("<2q", 49, 10**12)))
    lab.load(path)

    assert [False] == examined
    assert (10**12,) == max(lab.rows("LocationId"))


def test_a_row_group_with_wrong_statistics_is_not_left_out(lab, examined):
    """Those of the file as a whole are right, so it is read by DuckDB; a join would skip the group of the row."""
    lab.load(lab.write([row(151)]))
    rows = [row(key) for key in range(2, 202, 2)]
    path = lab.write(rows, 2, "delta", compression="none", use_dictionary=False, row_group_size=50)
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<3q", 48, 50, 52), struct.pack("<3q", 48, 151, 52)))
    run = lab.load(path)

    assert [True, True] == examined
    assert (99, 1, 0) == (run.inserted, run.unchanged, run.updated)


@pytest.mark.parametrize("fulls", [1, 2])
def test_a_file_that_changes_before_the_merge_is_not_merged(lab, examined, fulls):
    """Its view would show other rows than those that were examined."""
    lab.load(lab.write([row(1)]))
    path = lab.write([row(1), row(2)], number=2)

    class Meddler(Progress):
        def phase(self, label):
            if label.endswith("merging"):
                lab.write([row(1), row(9)], number=2)

    options = LoadOptions(system="coolr")
    (result,) = load_exports(lab.app, str(path.parent), options, Meddler())

    assert result.failed
    assert "changed while it was loaded. Load it again" in result.run.error
    assert [(1,)] == lab.rows("LocationId")
    for _ in range(fulls):
        lab.load(path)
    assert [(1,), (9,)] == lab.rows("LocationId")


VALUES = st.fixed_dictionaries(
    {
        "ModifiedOn": st.none() | st.datetimes(dt.datetime(2020, 1, 1), EPOCH),  # noqa: DTZ001 - as files have it
        "IsDeleted": st.none() | st.booleans(),
        "Text": st.none() | st.text(max_size=5),
        "Price": st.none() | st.decimals(-(10**9), 10**9, places=2),
        "Weight": st.none() | st.floats(width=64),
        "Small": st.none() | st.integers(-(2**15), 2**15 - 1),
        "Day": st.none() | st.dates(),
    }
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    files=st.lists(st.lists(VALUES, min_size=1, max_size=8), min_size=1, max_size=3),
    group=st.sampled_from([1, 3, 100]),
    compression=st.sampled_from(["none", "snappy", "zstd"]),
)
def test_both_ways_end_in_the_same_rows_and_counts(tmp_path_factory, files, group, compression):
    ends = []
    for rows in (1, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parquet, "DIRECT_ROWS", rows)
            lab = Lab(tmp_path_factory.mktemp("lab"))
            runs = []
            for number, file in enumerate(files, start=1):
                content = [row(key, **one) for key, one in enumerate(file)]
                path = lab.write(content, number, row_group_size=group, compression=compression)
                run = lab.load(path, max_delete_share=1.0)
                counts = (run.inserted, run.updated, run.unchanged, run.absent, run.deleted, run.undeleted, run.stale)
                runs.append((run.status, run.read, run.rejected, run.high, *counts))
            rejects = [(one["column"], one["code"], one["raw"]) for one in lab.app.warehouse.rejects("coolr.location")]
            stored = lab.rows("* EXCLUDE (SyncedBy)") if any(run[4] for run in runs) else []
        ends.append((runs, sorted(map(str, rejects)), str(stored)))

    assert ends[0] == ends[1]
