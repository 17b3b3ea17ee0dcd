"""Exports as folders of Parquet files: what is found there, and how it is read slice by slice."""

from __future__ import annotations

import datetime as dt
import io
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

from shared.errors import ConfigError, ConflictError, DataError
from shared.model import Unit
from shared.sources.exports.listing import ExportsSource, FindOptions, export_unit, find_exports
from shared.stores import File, open_store
from tests.exports import START, write_parquet

ROOT = Path(__file__).parents[3]
DAY = "2026-02-24T00:00:00.000000"


class RemoteStore:
    """A store whose files have a Last-Modified of their own, in memory."""

    def __init__(self, files):
        """*files*: content and modification time by name."""
        self._files = files

    def list(self):
        for name, (content, modified) in self._files.items():
            yield File(name, len(content), modified.timestamp(), f"v-{name}", remote=True)

    def etag(self, file):
        return file.version

    def open(self, file):
        return io.BytesIO(self._files[file.name][0])


def parquet(rows=3, first=0):
    sink = io.BytesIO()
    pq.write_table(pa.table({"LocationId": pa.array(range(first, first + rows), pa.int64())}), sink)
    return sink.getvalue()


def integers(count):
    """Random ones, which do not pack."""
    return pa.Array.from_buffers(pa.int64(), count, [None, pa.py_buffer(random.Random(1).randbytes(8 * count))])


def write(path, rows=3, first=0, row_group_size=None):
    return write_parquet(
        path, pa.table({"LocationId": pa.array(range(first, first + rows), pa.int64())}), row_group_size
    )


def offers(root, told=None, now=START):
    return find_exports(open_store(str(root)), told or FindOptions(), now)[0]


def source(root, slice_rows=1_000, batch_rows=1_000):
    return ExportsSource(open_store(str(root)), slice_rows=slice_rows, batch_rows=batch_rows)


def ids(exports, part):
    return [row for batch in exports.read(part) for row in batch.column("LocationId").to_pylist()]


# -- what is found


def test_every_table_of_every_export_is_an_offer(tmp_path):
    """Whatever is beside the Parquet files is passed over."""
    write(tmp_path / "Full/Acme/20260224/Location.parquet")
    write(tmp_path / "Full/Acme/20260224/Asset.parquet")
    write(tmp_path / "Delta/Acme/20260225/Location.parquet")
    (tmp_path / "Delta/Acme/20260225/readme.txt").write_text("hello")

    found = {(offer.table, offer.kind, offer.exported_at[:10]) for offer in offers(tmp_path)}

    assert {
        ("location", "full", "2026-02-24"), ("asset", "full", "2026-02-24"), ("location", "delta", "2026-02-25"),
    } == found  # fmt: skip


def test_empty_folder_is_refused(tmp_path):
    """There is nothing to load, which is not what anybody wants."""
    with pytest.raises(ConfigError, match="no Parquet file in that place"):
        offers(tmp_path)


def test_folder_that_does_not_tell_its_kind_needs_to_be_told(tmp_path):
    """The refusal says which folder and how; told, the file is taken."""
    write(tmp_path / "some/folder/location.parquet")

    with pytest.raises(ConfigError, match=r"some/folder does not say .*--type full or --type delta"):
        offers(tmp_path)
    (offer,) = offers(tmp_path, FindOptions(kind="delta"))
    assert "delta" == offer.kind


def test_told_kind_stands_above_the_folders(tmp_path):
    """The operator knows better than a folder's name."""
    write(tmp_path / "Full/Acme/20260224/location.parquet")

    (offer,) = offers(tmp_path, FindOptions(kind="delta"))

    assert ("delta", False) == (offer.kind, offer.complete)


@pytest.mark.parametrize("other", ["LOCATION.parquet", "location.PARQUET"])
def test_two_files_for_one_table_are_refused(tmp_path, other):
    """Names that differ only in case mean the same table; which of them is right is not for us to say."""
    write(tmp_path / "Full/Acme/20260224/Location.parquet")
    write(tmp_path / "Full/Acme/20260224" / other)

    with pytest.raises(ConfigError, match=r"two files for table location: .*Location\.parquet.*Keep one") as caught:
        offers(tmp_path)
    assert other in str(caught.value)


def test_files_of_a_dump_are_one_table(tmp_path):
    """One unit of work, whose works are the parts in the order of their names."""
    for name in ("c", "a", "b"):
        write(tmp_path / f"20260224/location_dump_1/{name}.parquet")

    (offer,) = offers(tmp_path)
    asked = export_unit(offer, open_store(str(tmp_path)))

    assert ("location", "full", 3) == (offer.table, offer.kind, len(offer.files))
    assert ["a", "b", "c"] == [Path(work.name).stem for work in asked.works]
    assert [work.name for work in asked.works] == [note["name"] for note in asked.files]


def test_tables_filter_spares_what_is_beside_it(tmp_path):
    """A folder that could not be loaded as a whole can be loaded in part."""
    write(tmp_path / "Full/Acme/20260224/location.parquet")
    write(tmp_path / "some/folder/asset.parquet")

    assert ["location"] == [offer.table for offer in offers(tmp_path, FindOptions(tables=("location",)))]


def test_client_is_a_folder_of_the_first_layout(tmp_path):
    """The others say nothing of clients."""
    write(tmp_path / "Full/Acme/20260224/location.parquet")
    write(tmp_path / "20260224/asset_dump_1/1.parquet")

    assert {"location": "Acme", "asset": None} == {offer.table: offer.client for offer in offers(tmp_path)}


# -- when it was exported, and whether it is complete


def test_told_time_stands_above_the_path(tmp_path):
    """``--exported-at`` and the webhook's exportDateTime come first."""
    write(tmp_path / "Full/Acme/20260224/location.parquet")

    (offer,) = offers(tmp_path, FindOptions(exported_at="2026-02-20T00:00:00.000000"))

    assert "2026-02-20T00:00:00.000000" == offer.exported_at


def test_path_stands_above_last_modified():
    """A copied blob is younger than its export."""
    (offer,), _ = find_exports(
        RemoteStore({"Full/Acme/20260224/location.parquet": (parquet(), START)}), FindOptions(), START
    )

    assert DAY == offer.exported_at


def test_last_modified_of_a_remote_store_is_the_time_of_last_resort():
    """Of several parts the latest, in UTC; such a full can be complete."""
    later = START.replace(hour=18).astimezone(dt.timezone(dt.timedelta(hours=5)))
    one = RemoteStore({"Full/Acme/latest/location.parquet": (parquet(), later)})

    (offer,), _ = find_exports(one, FindOptions(), START)

    assert ("2026-02-24T18:00:00.000000", True) == (offer.exported_at, offer.complete)


def test_time_of_a_local_file_says_nothing(tmp_path):
    """Unpacking or copying sets it: the full has no time, is merged as a delta, and the run says so."""
    write(tmp_path / "Full/Acme/latest/location.parquet")

    (offer,) = offers(tmp_path)

    assert (None, False) == (offer.exported_at, offer.complete)
    assert "merged as a delta: its time is unknown (see --exported-at)" == offer.note


def test_full_in_one_file_is_complete(tmp_path):
    """The file is there to its end, or cannot be read."""
    write(tmp_path / "Full/Acme/20260224/location.parquet")

    (offer,) = offers(tmp_path, FindOptions(settle_seconds=1e9))

    assert (True, None) == (offer.complete, offer.note)


def test_delta_is_never_complete(tmp_path):
    """What it lacks has not changed."""
    write(tmp_path / "Delta/Acme/20260224/location.parquet")

    (offer,) = offers(tmp_path)

    assert (False, None) == (offer.complete, offer.note)


@pytest.mark.parametrize(("waited", "complete"), [(599, False), (600, True)])
def test_dump_is_complete_once_its_newest_part_has_settled(waited, complete):
    """Parts may still be arriving; the setting says for how long to expect them."""
    parts = {"20260224/location_dump_1/a.parquet": (parquet(), START - dt.timedelta(days=1)),
             "20260224/location_dump_1/b.parquet": (parquet(), START)}  # fmt: skip

    (offer,), _ = find_exports(
        RemoteStore(parts), FindOptions(settle_seconds=600), START + dt.timedelta(seconds=waited)
    )

    assert complete == offer.complete
    assert (None if complete else "merged as a delta: part files may still be arriving") == offer.note


def test_operators_word_makes_a_dump_complete():
    """``--type full``: whoever says so has looked."""
    parts = {"20260224/location_dump_1/a.parquet": (parquet(), START)}

    (offer,), _ = find_exports(RemoteStore(parts), FindOptions(kind="full", settle_seconds=600), START)

    assert offer.complete


def test_work_is_the_file_in_one_version(tmp_path):
    """The same content at the same place is the same work, another content there is not."""
    path = write(tmp_path / "Full/Acme/20260224/location.parquet", rows=3)
    store = open_store(str(tmp_path))

    (first,) = export_unit(*offers(tmp_path), store).works
    path.write_bytes(path.read_bytes())
    (same,) = export_unit(*offers(tmp_path), store).works
    write(path, rows=3, first=1)
    (other,) = export_unit(*offers(tmp_path), store).works

    assert first == same
    assert (first.name, False) == (other.name, first.id == other.id)


# -- slices and batches


def unit_of(root):
    (offer,) = offers(root, FindOptions(kind="full"))
    return export_unit(offer, open_store(str(root)))


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
    asked = unit_of(tmp_path)
    (part,) = _without_bomb_check(exports, asked)

    sizes = [batch.nbytes for batch in exports.read(part)]

    assert 200_000_000 < sum(sizes)
    assert max(sizes) < 40_000_000


def _without_bomb_check(exports, asked):
    """The slices of a file that packs so well that it would be refused: only its width matters here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("shared.sources.exports.listing.refuse_bombs", lambda *_: None)
        return exports.describe(asked).slices


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
        "from shared.sources.exports.listing import ExportsSource, FindOptions, export_unit, find_exports\n"
        "from shared.stores import open_store\n"
        "store = open_store(sys.argv[1])\n"
        "(offer,), _ = find_exports(store, FindOptions(kind='full'), dt.datetime.now(dt.timezone.utc))\n"
        "exports = ExportsSource(store, slice_rows=20_000_000, batch_rows=65_536)\n"
        "(part,) = exports.describe(export_unit(offer, store)).slices\n"
        "assert sum(batch.num_rows for batch in exports.read(part)) == part.rows\n"
        # Not getrusage: its peak starts at that of the process that forked this one.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, folder], cwd=ROOT, capture_output=True, check=True, text=True)
    return int(done.stdout) * 1024


# -- files at fault


def test_faulty_part_is_told_and_the_others_go_on(tmp_path):
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


def test_damage_found_half_way_is_told_after_the_rows_before_it(tmp_path):
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


def test_file_with_fewer_rows_than_promised_is_refused(tmp_path):
    """No row is lost without a word."""
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
    """Between verbs goes only what JSON carries."""
    import json

    from dataclasses import asdict

    from shared.model import from_json

    write(tmp_path / "Full/Acme/20260224/location.parquet")
    asked = unit_of(tmp_path)

    assert asked == from_json(Unit, json.loads(json.dumps(asdict(asked))))
