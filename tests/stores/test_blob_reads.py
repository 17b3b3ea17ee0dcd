"""What of a container is listed, and how much is moved to read a file."""

from __future__ import annotations

import datetime as dt
import random
import string

from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.settings import Settings
from shared.sources.exports import parquet
from shared.sources.exports.listing import FindOptions, export_unit, find_exports
from shared.sources.exports.parquet import ExportsSource
from shared.stores import expect, open_store, ranged
from tests.servers.proxy import Proxy
from tests.stores.blob_samples import REAL_NOW, ROOT, _url
from tests.suites.store_suite import tail


def test_all_ways_to_a_blob_give_it_one_name(azurite, container, put, sas):
    """With a SAS or without, from the container, the folder or the blob itself: the work is the same."""
    put("a.parquet", b"1")
    settings = Settings(storage_connection_string=azurite.connection_string)
    ways = [
        _url(container), f"{_url(container)}/", container.url, f"{container.url}/",
        _url(container, f"{ROOT}/a.parquet"), f"{_url(container)}?{sas()}",
        f"{container.url}?restype=container&comp=list&{sas()}",
    ]  # fmt: skip

    found = {next(iter(open_store(way, settings).list())) for way in ways}

    (file,) = found
    assert f"{container.url}/{ROOT}/a.parquet" == file.name


def test_folder_is_not_taken_for_others_that_begin_like_it(container, put, sas):
    """Prefixes of blobs are just text; folders end at a slash."""
    put("20260224/a.parquet", b"1")
    put("20260224120000/b.parquet", b"1")

    store = open_store(f"{_url(container, f'{ROOT}/20260224')}?{sas()}")

    assert ["a.parquet"] == [tail(file.name, 1) for file in store.list()]


def test_entry_of_a_folder_is_no_file(container, put, sas):
    """Accounts with a hierarchical namespace list each folder as an empty blob that says so in its metadata."""
    put("folder/a.parquet", b"1")
    container.upload_blob(f"{ROOT}/folder", b"", metadata={"hdi_isfolder": "true"})

    listed = list(open_store(f"{_url(container)}?{sas()}").list())
    inside = list(open_store(f"{_url(container, f'{ROOT}/folder')}?{sas()}").list())

    assert ["a.parquet"] == [tail(file.name, 1) for file in listed]
    assert listed == inside


def test_listing_goes_on_after_a_page(container, sas, azurite):
    """However many blobs there are: pages are followed to the end."""
    for number in range(7):
        container.upload_blob(f"{ROOT}/{number}", b"1")
    with Proxy.to(azurite.blob_url) as proxy:
        store = open_store(f"{proxy.through(_url(container))}?{sas()}")
        store._client.list_blobs = _with(store._client.list_blobs, results_per_page=3)

        names = [tail(file.name, 1) for file in store.list()]

    assert list("0123456") == names
    assert 3 == sum("comp=list" in request.target for request in proxy.requests)


def _with(function, **more):
    return lambda *given, **named: function(*given, **named, **more)


def test_times_of_blobs_tell_when_they_were_exported(container, put, sas):
    """Last-Modified is the store's own word."""
    put("a", b"1")

    (file,) = open_store(f"{_url(container)}?{sas()}").list()

    assert file.remote
    assert abs(file.modified - dt.datetime.now(dt.UTC).timestamp()) < 3600


def test_etag_costs_nothing(azurite, container, put, sas):
    """The listing has it already."""
    put("a", b"1")
    with Proxy.to(azurite.blob_url) as proxy:
        store = open_store(f"{proxy.through(_url(container))}?{sas()}")
        (file,) = store.list()
        before = len(proxy.requests)

        store.etag(file)

        assert before == len(proxy.requests)


def test_exports_are_found_by_their_paths(container, sas):
    """Layouts are matched on the names that the store gives."""
    container.upload_blob("exports/Full/Acme/20260224120000/Location.parquet", b"PAR1")
    container.upload_blob("exports/Delta/Acme/latest/Location.parquet", b"PAR1")

    offers, passed = find_exports(
        open_store(f"{container.url}?{sas()}"), FindOptions(), REAL_NOW + dt.timedelta(days=3650)
    )

    assert [] == passed
    assert {("full", "Acme", "location"), ("delta", "Acme", "location")} == {
        (o.kind, o.client, o.table) for o in offers
    }


def test_directory_sas_lists_below_its_directory(container, put, sas, azurite):
    """It may list no more than that (sr=d), so the prefix of each request must be the directory, slash included."""
    put("20260224120000/a.parquet", b"1")
    with Proxy.to(azurite.blob_url) as proxy:
        store = open_store(f"{proxy.through(_url(container, f'{ROOT}/20260224120000'))}?{sas()}")
        list(store.list())

    listings = [request.target for request in proxy.requests if "comp=list" in request.target]
    assert 1 == len(listings)
    assert f"prefix={quote(f'{ROOT}/20260224120000/', safe='')}&" in listings[0].replace("+", "%20") + "&"


def _exported(rows=60_000, groups=4, columns=12, seed=1):
    """A Parquet file as exports are: numbers, flags, texts that repeat and texts that do not."""
    rng = random.Random(seed)
    count = rows * groups
    words = ["".join(rng.choices(string.ascii_lowercase, k=12)) for _ in range(500)]
    table = {"LocationId": pa.array(range(count), pa.int64())}
    for number in range(columns):
        table[f"Number{number}"] = pa.Array.from_buffers(
            pa.float64(), count, [None, pa.py_buffer(rng.randbytes(8 * count))]
        )
        table[f"Word{number}"] = pa.array(rng.choices(words, k=count))
    table["Name"] = pa.array([f"{rng.getrandbits(80):x}" for _ in range(count)])
    table["IsDeleted"] = pa.array([0] * count, pa.int32())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(table), sink, row_group_size=rows)
    return sink.getvalue().to_pybytes()


def _needed(data, groups):
    """Bytes of the column chunks of *groups* and of the footer, and how many groups there are."""
    metadata = pq.read_metadata(pa.BufferReader(data))
    chunks = [metadata.row_group(g).column(c) for g in groups for c in range(metadata.num_columns)]
    return sum(chunk.total_compressed_size for chunk in chunks) + metadata.serialized_size + 8


@pytest.fixture(scope="module")
def exported():
    return _exported()


@pytest.mark.parametrize("wanted", [range(4), range(1, 2), range(2, 4)], ids=["all", "one", "end"])
def test_no_more_is_moved_than_a_load_needs(azurite, container, sas, exported, wanted):
    """Footers, dictionaries and columns once, in requests large enough to be few: at most five in a hundred more."""
    container.upload_blob("Full/Acme/20260224/location.parquet", exported)
    with Proxy.to(azurite.blob_url) as proxy:
        store = open_store(f"{proxy.through(container.url)}?{sas()}")
        (offer,), _ = find_exports(store, FindOptions(), REAL_NOW)
        source = ExportsSource(store, slice_rows=60_000, batch_rows=65_536)
        work = export_unit(offer, store)
        listed = proxy.bodies

        slices = source.describe(work).slices
        rows = sum(batch.num_rows for group in wanted for batch in source.read(slices[group]))

        moved, requests = proxy.bodies - listed, len(proxy.ranges())
    needed = _needed(exported, wanted)
    assert 60_000 * len(wanted) == rows
    assert needed * 0.95 < moved <= needed * 1.05
    assert requests <= 30 + needed / 400_000


def test_no_more_is_moved_for_many_row_groups_in_one_slice(azurite, container, sas, monkeypatch):
    """More than is kept in memory: what is looked at first, to judge each group, is not moved again for its rows."""
    for name, size in {"_AHEAD": 1 << 20, "_SMALLEST": 32 << 10, "_LARGEST": 256 << 10, "_MOST": 3 << 19}.items():
        monkeypatch.setattr(ranged, name, size)
    monkeypatch.setattr(parquet, "_STRETCH_BYTES", 1 << 19)
    data = _exported(rows=3_000, groups=30, columns=8)
    container.upload_blob("Full/Acme/20260224/location.parquet", data)
    with Proxy.to(azurite.blob_url) as proxy:
        store = open_store(f"{proxy.through(container.url)}?{sas()}")
        (offer,), _ = find_exports(store, FindOptions(), REAL_NOW)
        source = ExportsSource(store, slice_rows=10**9, batch_rows=65_536)
        (part,) = source.describe(export_unit(offer, store)).slices
        rows = sum(batch.num_rows for batch in source.read(part))

    assert 90_000 == rows
    assert len(data) > 4 * ranged._MOST
    assert proxy.bodies <= _needed(data, range(30)) * 1.05


def test_columns_that_are_not_read_are_not_moved(azurite, container, sas, exported):
    """A reader that says which ranges it wants gets those, in few requests."""
    container.upload_blob("a.parquet", exported)
    metadata = pq.read_metadata(pa.BufferReader(exported))
    chunks = [metadata.row_group(group).column(1) for group in range(4)]
    starts = [min(chunk.dictionary_page_offset or 2**60, chunk.data_page_offset) for chunk in chunks]
    spans = [(start, start + chunk.total_compressed_size) for start, chunk in zip(starts, chunks, strict=True)]
    with Proxy.to(azurite.blob_url) as proxy:
        (file,) = (store := open_store(f"{proxy.through(container.url)}/a.parquet?{sas()}")).list()
        with store.open(file) as opened:
            expect(opened, spans, 1)
            parquet = pq.ParquetFile(opened, buffer_size=256 << 10, pre_buffer=False)
            total = sum(batch.num_rows for batch in parquet.iter_batches(columns=["Number0"]))

    assert 240_000 == total
    needed = sum(end - start for start, end in spans) + metadata.serialized_size
    assert proxy.bodies <= needed * 1.05
