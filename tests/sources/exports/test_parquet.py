"""How exported Parquet files are read: slices, batches, and faulty files."""

from __future__ import annotations

import random
import subprocess
import sys

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import ConflictError, DataError
from shared.model import Unit
from shared.sources.exports.listing import FindOptions, export_unit, find_exports
from shared.sources.exports.parquet import ExportsSource
from shared.stores import open_store
from tests.exports import START, write_parquet

ROOT = Path(__file__).parents[3]


def integers(count):
    """Random ones, which do not pack."""
    return pa.Array.from_buffers(pa.int64(), count, [None, pa.py_buffer(random.Random(1).randbytes(8 * count))])


def write(path, rows=3, first=0, row_group_size=None):
    return write_parquet(
        path, pa.table({"LocationId": pa.array(range(first, first + rows), pa.int64())}), row_group_size
    )


def source(root, slice_rows=1_000, batch_rows=1_000):
    return ExportsSource(open_store(str(root)), slice_rows=slice_rows, batch_rows=batch_rows)


def ids(exports, part):
    return [row for batch in exports.read(part) for row in batch.column("LocationId").to_pylist()]


# -- slices and batches


def unit_of(root):
    store = open_store(str(root))
    (export,), _ = find_exports(store, FindOptions(kind="full"), START)
    return export_unit(export, store)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.lists(st.integers(0, 7), max_size=5), min_size=1, max_size=3),
    slice_rows=st.integers(1, 25),
    batch_rows=st.integers(1, 9),
)
def test_slices_cover_every_row_once_and_number_them_through(tmp_path_factory, parts, slice_rows, batch_rows):
    """For any row groups, parts, slice and batch sizes; no row group is in two slices."""
    root = tmp_path_factory.mktemp("dump")
    folder = root / "20260224" / "location_dump_1"
    folder.mkdir(parents=True)
    schema = pa.schema([("LocationId", pa.int64())])
    count = 0
    for number, groups in enumerate(parts):
        with pq.ParquetWriter(folder / f"{number}.parquet", schema) as writer:
            for size in groups:
                writer.write_table(pa.table({"LocationId": range(count, count + size)}, schema), row_group_size=10)
                count += size
    exports = source(root, slice_rows, batch_rows)

    slices = exports.describe(unit_of(root)).slices
    rows = [(part.first_row + n, row) for part in slices for n, row in enumerate(ids(exports, part))]

    largest = max((size for groups in parts for size in groups), default=0)
    assert [(n, n) for n in range(count)] == sorted(rows)
    assert list(range(len(slices))) == [part.number for part in slices]
    assert all(part.rows <= max(slice_rows, largest) for part in slices)
    assert all(batch.num_rows <= batch_rows for part in slices for batch in exports.read(part))
    for part in slices:
        before = sum(sum(groups) for groups in parts[: int(Path(part.origin).stem)])
        assert part.first_row == before + part.origin_row


def test_slice_is_a_range_of_row_groups(tmp_path):
    """As many as fit, at least one."""
    write(tmp_path / "Full/Acme/20260224/location.parquet", rows=100, row_group_size=10)

    slices = source(tmp_path, slice_rows=35).describe(unit_of(tmp_path)).slices

    assert [(0, 30), (30, 30), (60, 30), (90, 10)] == [(part.first_row, part.rows) for part in slices]


def test_file_without_rows_is_one_empty_slice(tmp_path):
    """Its columns count, and an empty full is a full."""
    write(tmp_path / "Full/Acme/20260224/location.parquet", rows=0)
    exports = source(tmp_path)

    (part,) = exports.describe(unit_of(tmp_path)).slices

    assert 0 == part.rows
    assert [] == ids(exports, part)


def test_same_slice_read_twice_has_the_same_rows(tmp_path):
    """In the same order: a retry is the same rows with the same numbers."""
    write(tmp_path / "Full/Acme/20260224/location.parquet", rows=100, row_group_size=10)
    exports = source(tmp_path, slice_rows=50, batch_rows=7)
    _, part = exports.describe(unit_of(tmp_path)).slices

    assert list(range(50, 100)) == ids(exports, part) == ids(exports, part)


def test_slice_can_be_read_by_another_worker(tmp_path):
    """All it takes is what JSON carries, in any order of the slices."""
    import json

    from dataclasses import asdict

    from shared.model import Slice, from_json

    write(tmp_path / "Full/Acme/20260224/location.parquet", rows=20, row_group_size=10)
    slices = source(tmp_path, slice_rows=10).describe(unit_of(tmp_path)).slices
    travelled = [from_json(Slice, json.loads(json.dumps(asdict(part)))) for part in slices]
    elsewhere = source(tmp_path, slice_rows=999)

    assert [list(range(10, 20)), list(range(10))] == [ids(elsewhere, part) for part in reversed(travelled)]


def test_wide_rows_come_in_smaller_batches(tmp_path):
    """A batch stays small in bytes, not only in rows: 2,000 rows of 100 kB are never one batch."""
    texts = [f"{n:05}" * 20_000 for n in range(10)]
    table = pa.table({"LocationId": range(2_000), "Text": [texts[n % 10] for n in range(2_000)]})
    path = tmp_path / "Full/Acme/20260224/location.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table, path, use_dictionary=False, row_group_size=2_000)
    exports = source(tmp_path, batch_rows=100_000)
    unit = unit_of(tmp_path)
    (part,) = _without_bomb_check(exports, unit)

    sizes = [batch.nbytes for batch in exports.read(part)]

    assert 200_000_000 < sum(sizes)
    assert max(sizes) < 40_000_000


def _without_bomb_check(exports, unit):
    """The slices of a file that packs so well that it would be refused: only its width matters here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("shared.sources.exports.parquet.refuse_bombs", lambda *_: None)
        return exports.describe(unit).slices


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak")
def test_memory_does_not_grow_with_the_row_group(tmp_path):
    """One row group of three times the size is read in about the same memory."""
    peaks = {}
    for times in (1, 3):
        table = pa.table({f"c{n}": integers(500_000 * times) for n in range(8)})
        folder = tmp_path / str(times)
        write_parquet(folder / "location.parquet", table, row_group_size=table.num_rows)
        peaks[times] = _peak_of_reading(folder)

    grown_if_held = 2 * 500_000 * 8 * 8
    assert peaks[3] - peaks[1] < grown_if_held / 3


def _peak_of_reading(folder):
    """Bytes at the most that a process needs to read all slices of the one file in *folder*."""
    program = (
        "import sys, datetime as dt\n"
        "from shared.sources.exports.listing import FindOptions, export_unit, find_exports\n"
        "from shared.sources.exports.parquet import ExportsSource\n"
        "from shared.stores import open_store\n"
        "store = open_store(sys.argv[1])\n"
        "(export,), _ = find_exports(store, FindOptions(kind='full'), dt.datetime.now(dt.timezone.utc))\n"
        "exports = ExportsSource(store, slice_rows=20_000_000, batch_rows=65_536)\n"
        "(part,) = exports.describe(export_unit(export, store)).slices\n"
        "assert sum(batch.num_rows for batch in exports.read(part)) == part.rows\n"
        # Not getrusage: its peak starts at that of the process that forked this one.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, folder], cwd=ROOT, capture_output=True, check=True, text=True)
    return int(done.stdout) * 1024


# -- faulty files


def test_faulty_part_is_named_and_the_others_are_read(tmp_path):
    """By its name, with what is wrong; the rows of the others are numbered through."""
    folder = tmp_path / "20260224/location_dump_1"
    write(folder / "a.parquet", rows=3)
    write(folder / "b.parquet").write_bytes(b"Id,Name\n1,Ada\n")
    write(folder / "c.parquet", rows=2, first=3)
    exports = source(tmp_path)

    described = exports.describe(unit_of(tmp_path))

    assert [(0, 3), (3, 2)] == [(part.first_row, part.rows) for part in described.slices]
    assert ["b.parquet"] == [Path(name).name for name in described.faulty]
    assert "is not a Parquet file: it begins with b'Id,N'" in next(iter(described.faulty.values()))
    assert described.schemas.keys() == {part.origin for part in described.slices}


def test_dump_of_which_no_part_can_be_read_is_refused(tmp_path):
    """With what is wrong with the first."""
    for name in "ab":
        write(tmp_path / f"20260224/location_dump_1/{name}.parquet").write_bytes(b"")

    with pytest.raises(DataError, match=r"none of the part files can be read.*a\.parquet is empty"):
        source(tmp_path).describe(unit_of(tmp_path))


def test_damage_found_half_way_is_reported_after_the_rows_before_it(tmp_path):
    """A page that does not unpack: the error names the file, whatever Arrow calls it."""
    path = tmp_path / "Full/Acme/20260224/location.parquet"
    table = pa.table({"LocationId": integers(50_000)})
    path.parent.mkdir(parents=True)
    pq.write_table(table, path, row_group_size=25_000, use_dictionary=False, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    second = pq.ParquetFile(path).metadata.row_group(1).column(0)
    middle = second.data_page_offset + second.total_compressed_size // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    exports = source(tmp_path, slice_rows=100_000, batch_rows=1_000)
    (part,) = exports.describe(unit_of(tmp_path)).slices
    batches = exports.read(part)

    first = next(batches)

    assert table["LocationId"].to_pylist()[:1_000] == first.column(0).to_pylist()
    with pytest.raises(DataError, match=r"location\.parquet is damaged or not Parquet: .*\. Ask for the file again\.$"):
        list(batches)


def test_file_with_fewer_rows_than_its_footer_says_is_refused(tmp_path):
    """No row is silently lost."""
    write(tmp_path / "Full/Acme/20260224/location.parquet", rows=10)
    exports = source(tmp_path)
    (part,) = exports.describe(unit_of(tmp_path)).slices

    with pytest.raises(DataError, match="has 10 rows, but its footer says 11"):
        list(exports.read(replace(part, rows=11)))


def test_file_that_changes_between_plan_and_read_is_a_conflict(tmp_path):
    """Its new content is new work; this run ends."""
    path = write(tmp_path / "Full/Acme/20260224/location.parquet", rows=10)
    exports = source(tmp_path)
    (part,) = exports.describe(unit_of(tmp_path)).slices
    write(path, rows=11)

    with pytest.raises(ConflictError, match="changed while it was read"):
        list(exports.read(part))


def test_unit_travels_as_json(tmp_path):
    """Between verbs travels only what JSON can carry."""
    import json

    from dataclasses import asdict

    from shared.model import from_json

    write(tmp_path / "Full/Acme/20260224/location.parquet")
    unit = unit_of(tmp_path)

    assert unit == from_json(Unit, json.loads(json.dumps(asdict(unit))))
