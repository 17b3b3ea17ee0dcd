"""What every store does, as tests for a class of tests to inherit."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import ConflictError

NOON = dt.datetime(2026, 2, 23, 12)  # noqa: DTZ001 - exports have no zone
ODD = (
    "two words.parquet",
    "#1?x=y&z.parquet",
    "100%25.parquet",
    "été 鍵 🔑.parquet",
    "a'b\"c;d.parquet",
    "-rf.parquet",
)


class FileSuite:
    """What every store does with a file.

    A class of tests that inherits from it adds ``put(name, content)``, which writes a file below the root;
    ``remove(name)``; and ``store``, opened on the root, or on the file ``a`` in it.
    """

    def test_ranges_are_read_where_they_are(self, store, put):
        """Seek, tell and read as Parquet's reader does: from the end, then in between."""
        put("a", bytes(range(256)) * 100)
        (file,) = store.list()

        with store.open(file) as opened:
            opened.seek(-4, os.SEEK_END)
            end = opened.tell(), opened.read()
            opened.seek(1_000)
            middle = opened.read(3)

        assert (25_596, bytes([252, 253, 254, 255])) == end
        assert bytes([232, 233, 234]) == middle
        assert opened.closed

    def test_empty_file_is_a_file(self, store, put):
        """That it is no Parquet is not for the store to say."""
        put("a", b"")
        (file,) = store.list()

        assert 0 == file.size
        assert b"" == content(store, file)

    def test_etag_differs_for_other_content(self, store, put):
        """Also of the same size."""
        put("a", b"content")
        (first,) = store.list()
        before = store.etag(first)
        put("a", b"kontent")
        (second,) = store.list()

        assert before != store.etag(second)

    def test_version_differs_for_other_content(self, store, put):
        """Also of the same size: it is what reads are conditional on."""
        put("a", b"content")
        (first,) = store.list()
        put("a", b"kontent")
        (second,) = store.list()

        assert first.version != second.version

    def test_changed_file_is_not_opened(self, store, put):
        """What was listed is gone; what is there is new work."""
        put("a", b"content")
        (file,) = store.list()
        put("a", b"kontent")

        with pytest.raises(ConflictError, match="changed while it was read") as caught:
            content(store, file)
        assert "\n" not in str(caught.value)

    def test_removed_file_is_not_opened(self, store, put, remove):
        """It is the change that leaves nothing."""
        put("a", b"content")
        put("b", b"other")
        file = next(iter(store.list()))
        remove(tail(file.name, 1))

        with pytest.raises(ConflictError):
            content(store, file)

    def test_change_half_way_is_noticed(self, store, put):
        """No two versions are ever read as one."""
        put("a", bytes(5_000_000))
        (file,) = store.list()

        with store.open(file) as opened:
            opened.read(10)
            put("a", bytes(4_999_999) + b"1")
            with pytest.raises(ConflictError):
                opened.read()

    def test_removal_half_way_is_noticed(self, store, put, remove):
        """Even where the system would let an open file be read to its end."""
        put("a", bytes(5_000_000))
        (file,) = store.list()

        with store.open(file) as opened:
            opened.read(10)
            remove("a")
            with pytest.raises(ConflictError):
                opened.read()

    def test_etag_is_the_same_every_time(self, store, put):
        """As long as nobody writes the file: a retry knows it."""
        put("a", b"content")

        assert store.etag(*store.list()) == store.etag(*store.list())

    def test_etag_never_names_content_that_was_not_listed(self, store, put):
        """Once the file has changed there is none, or the one of the content that was."""
        put("a", b"content")
        (file,) = store.list()
        put("a", b"kontent!")
        (now,) = store.list()

        with contextlib.suppress(ConflictError):
            assert store.etag(now) != store.etag(file)


class StoreSuite(FileSuite):
    """What every store of more than one file does."""

    def test_every_file_at_any_depth_is_listed(self, store, put):
        """Once, with its size."""
        put("b.parquet", b"12345")
        put("a/deep/er/c.parquet", b"123")

        listed = {tail(file.name, 1): file.size for file in store.list()}

        assert {"b.parquet": 5, "c.parquet": 3} == listed

    def test_folders_are_not_listed(self, store, put):
        """Not even one that is called like a file."""
        put("x.parquet/inner.parquet", b"1")

        assert ["inner.parquet"] == [tail(file.name, 1) for file in store.list()]

    def test_listing_is_the_same_every_time(self, store, put):
        """Order included, so that what is chosen of it is."""
        for name in ("c", "a", "d", "b"):
            put(name, b"1")

        assert list(store.list()) == list(store.list())
        assert 4 == len({file.name for file in store.list()})

    @pytest.mark.parametrize("name", ODD)
    def test_odd_names_are_listed_and_opened(self, store, put, name):
        """What they look like to a shell, a URL or a query does not matter."""
        put(f"folder of/{name}", b"content")

        (file,) = store.list()

        assert f"folder of/{name}" == tail(file.name, 2)
        assert b"content" == content(store, file)


def tail(name: str, parts: int) -> str:
    return "/".join(name.split("/")[-parts:])


def content(store, file):
    with store.open(file) as opened:
        return opened.read()


def locations(rows, *, keyless=0):
    """A Parquet file of locations, the last so many without a key, which do not pack."""
    noise = random.Random(1)
    keys = [*range(rows - keyless), *([None] * keyless)]
    table = {
        "LocationId": pa.array(keys, pa.int64()),
        "Name": [f"{noise.getrandbits(160):x}" for _ in keys],
        "ModifiedOn": pa.array([NOON] * rows, pa.timestamp("us")),
        "IsDeleted": pa.array([0] * rows, pa.int32()),
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(table), sink, row_group_size=max(1, rows // 4))
    return sink.getvalue()


def everything_said(error):
    """All that an error and the ones behind it say, shown or not."""
    said, seen, waiting = "", set(), [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            said += f"{one!s} {one!r} {vars(one)!r}\n"
            waiting += [one.__cause__, one.__context__]
    return said
