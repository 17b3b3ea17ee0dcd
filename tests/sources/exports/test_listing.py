"""Which exports a listing has, when they were exported, and whether they are complete."""

from __future__ import annotations

import datetime as dt
import io

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import ConfigError
from shared.sources.exports.listing import FindOptions, export_unit, find_exports, valid_exports
from shared.stores import File, open_store
from tests.exports import START, write_parquet

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


def parquet():
    sink = io.BytesIO()
    pq.write_table(pa.table({"LocationId": [0, 1, 2]}), sink)
    return sink.getvalue()


def write(path, rows=3, first=0):
    return write_parquet(path, pa.table({"LocationId": pa.array(range(first, first + rows), pa.int64())}))


def exports_in(root, options=None, now=START):
    return find_exports(open_store(str(root)), options or FindOptions(), now)[0]


# -- what is found


def test_every_table_of_every_export_is_found(tmp_path):
    """Other files are ignored."""
    write(tmp_path / "Full/Acme/20260224/Location.parquet")
    write(tmp_path / "Full/Acme/20260224/Asset.parquet")
    write(tmp_path / "Delta/Acme/20260225/Location.parquet")
    (tmp_path / "Delta/Acme/20260225/readme.txt").write_text("hello")

    found = {(export.table, export.kind, export.exported_at[:10]) for export in exports_in(tmp_path)}

    assert {
        ("location", "full", "2026-02-24"), ("asset", "full", "2026-02-24"), ("location", "delta", "2026-02-25"),
    } == found  # fmt: skip


def test_empty_folder_is_refused(tmp_path):
    """There is nothing to load, which is an error of the operator."""
    with pytest.raises(ConfigError, match="no Parquet file in that folder"):
        exports_in(tmp_path)


def test_folder_that_does_not_tell_its_kind_needs_the_option(tmp_path):
    """The refusal says which folder and how; with the option, the file is found."""
    write(tmp_path / "some/folder/location.parquet")

    with pytest.raises(ConfigError, match=r"some/folder does not say .*--type full or --type delta"):
        exports_in(tmp_path)
    (export,) = exports_in(tmp_path, FindOptions(kind="delta"))
    assert "delta" == export.kind


def test_kind_of_the_options_overrides_the_folders(tmp_path):
    """The operator knows better than a folder's name."""
    write(tmp_path / "Full/Acme/20260224/location.parquet")

    (export,) = exports_in(tmp_path, FindOptions(kind="delta"))

    assert ("delta", False) == (export.kind, export.complete)


@pytest.mark.parametrize("other", ["LOCATION.parquet", "location.PARQUET"])
def test_two_files_for_one_table_are_refused(tmp_path, other):
    """Names that differ only in case mean the same table; there is no telling which is right."""
    write(tmp_path / "Full/Acme/20260224/Location.parquet")
    write(tmp_path / "Full/Acme/20260224" / other)

    with pytest.raises(ConfigError, match=r"two files for table location: .*Location\.parquet.*Keep one") as caught:
        exports_in(tmp_path)
    assert other in str(caught.value)


def test_files_of_a_dump_are_one_table(tmp_path):
    """One unit of work, whose works are the parts in the order of their names."""
    for name in ("c", "a", "b"):
        write(tmp_path / f"20260224/location_dump_1/{name}.parquet")

    (export,) = exports_in(tmp_path)
    unit = export_unit(export, open_store(str(tmp_path)))

    assert ("location", "full", 3) == (export.table, export.kind, len(export.files))
    assert ["a", "b", "c"] == [Path(work.name).stem for work in unit.work_items]
    assert [work.name for work in unit.work_items] == [note["name"] for note in unit.files]


def test_tables_filter_leaves_out_the_others(tmp_path):
    """A folder that could not be loaded as a whole can be loaded in part."""
    write(tmp_path / "Full/Acme/20260224/location.parquet")
    write(tmp_path / "some/folder/asset.parquet")

    assert ["location"] == [export.table for export in exports_in(tmp_path, FindOptions(tables=("location",)))]


def test_client_is_a_folder_of_the_first_layout(tmp_path):
    """The others say nothing of clients."""
    write(tmp_path / "Full/Acme/20260224/location.parquet")
    write(tmp_path / "20260224/asset_dump_1/1.parquet")

    assert {"location": "Acme", "asset": None} == {export.table: export.client for export in exports_in(tmp_path)}


# -- when it was exported, and whether it is complete


def test_time_of_the_options_overrides_the_path(tmp_path):
    """``--exported-at`` and the webhook's exportDateTime come first."""
    write(tmp_path / "Full/Acme/20260224/location.parquet")

    (export,) = exports_in(tmp_path, FindOptions(exported_at="2026-02-20T00:00:00.000000"))

    assert "2026-02-20T00:00:00.000000" == export.exported_at


def test_path_overrides_last_modified():
    """A copied blob is younger than its export."""
    (export,), _ = find_exports(
        RemoteStore({"Full/Acme/20260224/location.parquet": (parquet(), START)}), FindOptions(), START
    )

    assert DAY == export.exported_at


def test_last_modified_of_a_remote_store_is_the_time_of_last_resort():
    """Of several parts the latest, in UTC; such a full can be complete."""
    later = START.replace(hour=18).astimezone(dt.timezone(dt.timedelta(hours=5)))
    one = RemoteStore({"Full/Acme/latest/location.parquet": (parquet(), later)})

    (export,), _ = find_exports(one, FindOptions(), START)

    assert ("2026-02-24T18:00:00.000000", True) == (export.exported_at, export.complete)


def test_time_of_a_local_file_says_nothing(tmp_path):
    """Unpacking or copying sets it: the full has no time, is merged as a delta, and the run says so."""
    write(tmp_path / "Full/Acme/latest/location.parquet")

    (export,) = exports_in(tmp_path)

    assert (None, False) == (export.exported_at, export.complete)
    assert "merged as a delta: its time is unknown (see --exported-at)" == export.note


def test_full_in_one_file_is_complete(tmp_path):
    """The file is there to its end, or cannot be read."""
    write(tmp_path / "Full/Acme/20260224/location.parquet")

    (export,) = exports_in(tmp_path, FindOptions(settle_seconds=1e9))

    assert (True, None) == (export.complete, export.note)


def test_delta_is_never_complete(tmp_path):
    """What it lacks has not changed."""
    write(tmp_path / "Delta/Acme/20260224/location.parquet")

    (export,) = exports_in(tmp_path)

    assert (False, None) == (export.complete, export.note)


@pytest.mark.parametrize(("waited", "complete"), [(599, False), (600, True)])
def test_dump_is_complete_once_its_newest_part_has_settled(waited, complete):
    """Parts may still be arriving; the setting says for how long to expect them."""
    parts = {"20260224/location_dump_1/a.parquet": (parquet(), START - dt.timedelta(days=1)),
             "20260224/location_dump_1/b.parquet": (parquet(), START)}  # fmt: skip

    (export,), _ = find_exports(
        RemoteStore(parts), FindOptions(settle_seconds=600), START + dt.timedelta(seconds=waited)
    )

    assert complete == export.complete
    assert (None if complete else "merged as a delta: part files may still be arriving") == export.note


def test_type_full_makes_a_dump_complete():
    """The operator has checked that all parts are there."""
    parts = {"20260224/location_dump_1/a.parquet": (parquet(), START)}

    (export,), _ = find_exports(RemoteStore(parts), FindOptions(kind="full", settle_seconds=600), START)

    assert export.complete


def test_work_is_the_file_in_one_version(tmp_path):
    """The same content at the same place is the same work, another content there is not."""
    path = write(tmp_path / "Full/Acme/20260224/location.parquet", rows=3)
    store = open_store(str(tmp_path))

    (first,) = export_unit(*exports_in(tmp_path), store).work_items
    path.write_bytes(path.read_bytes())
    (same,) = export_unit(*exports_in(tmp_path), store).work_items
    write(path, rows=3, first=1)
    (other,) = export_unit(*exports_in(tmp_path), store).work_items

    assert first == same
    assert (first.name, False) == (other.name, first.id == other.id)


def test_an_export_at_fault_is_reported_and_the_others_are_found(tmp_path):
    """For a host that lists all there is: one folder that cannot be loaded does not stop the rest."""
    for name in ("Location", "LOCATION"):
        write(tmp_path / f"Full/Acme/20260224/{name}.parquet")
    write(tmp_path / "Full/Acme/20260225/asset.parquet")
    write(tmp_path / "some/folder/order.parquet")
    errors = []

    found = list(valid_exports(open_store(str(tmp_path)), FindOptions(), START + dt.timedelta(days=1), errors.append))

    assert ["asset"] == [export.table for export in found]
    assert "two files for table location" in str(*errors)
