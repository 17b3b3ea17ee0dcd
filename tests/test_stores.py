"""Where files live: what every store does, and what is particular to one."""

from __future__ import annotations

import os
import tempfile

from pathlib import Path

import pytest

from shared.errors import ConfigError, ConflictError, IngestError
from shared.stores import open_store

ODD = (
    "two words.parquet",
    "#1?x=y&z.parquet",
    "100%25.parquet",
    "été 鍵 🔑.parquet",
    "a'b\"c;d.parquet",
    "-rf.parquet",
)


class StoreSuite:
    """What every store does.

    A class of tests that inherits from it adds ``put(name, content)``, which writes a file below the root;
    ``remove(name)``; and ``store``, opened on the root.
    """

    def test_every_file_at_any_depth_is_listed(self, store, put):
        """Once, with its size."""
        put("b.parquet", b"12345")
        put("a/deep/er/c.parquet", b"123")

        listed = {_tail(file.name, 1): file.size for file in store.list()}

        assert {"b.parquet": 5, "c.parquet": 3} == listed

    def test_folders_are_not_listed(self, store, put):
        """Not even one that is called like a file."""
        put("x.parquet/inner.parquet", b"1")

        assert ["inner.parquet"] == [_tail(file.name, 1) for file in store.list()]

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

        assert f"folder of/{name}" == _tail(file.name, 2)
        assert b"content" == _content(store, file)

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
        assert b"" == _content(store, file)

    def test_etag_is_equal_for_equal_content(self, store, put):
        """Written again, or under another name: a retry knows it."""
        put("a", b"content")
        (first,) = store.list()
        before = store.etag(first)
        put("a", b"content")
        (second,) = store.list()

        assert before == store.etag(second)

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
            _content(store, file)
        assert "\n" not in str(caught.value)

    def test_changed_file_has_no_etag(self, store, put):
        """Naming its content would name the wrong one."""
        put("a", b"content")
        (file,) = store.list()
        put("a", b"kontent!")

        with pytest.raises(ConflictError):
            store.etag(file)

    def test_removed_file_is_not_opened(self, store, put, remove):
        """It is the change that leaves nothing."""
        put("a", b"content")
        put("b", b"other")
        file = next(iter(store.list()))
        remove(_tail(file.name, 1))

        with pytest.raises(ConflictError):
            _content(store, file)

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


class TestLocalStore(StoreSuite):
    """Files on this machine."""

    @pytest.fixture
    def root(self, tmp_path):
        root = tmp_path / "root #1"
        root.mkdir()
        return root

    @pytest.fixture
    def store(self, root):
        return open_store(str(root))

    @pytest.fixture
    def put(self, root):
        def put(name, content):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # Writers who care replace a file at once; times alone would not always tell two contents apart.
            with tempfile.NamedTemporaryFile(dir=root.parent, delete=False) as new:
                new.write(content)
            Path(new.name).replace(path)

        return put

    @pytest.fixture
    def remove(self, root):
        return lambda name: (root / name).unlink()

    def test_file_overwritten_in_place_is_noticed(self, store, put, root):
        """Not every writer replaces a file at once."""
        put("a", bytes(5_000_000))
        (file,) = store.list()

        with store.open(file) as opened:
            opened.read(10)
            with (root / "a").open("ab") as appended:
                appended.write(b"more")
            with pytest.raises(ConflictError):
                opened.read()

    def test_file_that_grows_is_noticed_at_its_end(self, store, put, root):
        """Read in pieces, as Arrow does."""
        put("a", bytes(3_000_000))
        (file,) = store.list()

        with store.open(file) as opened, (root / "a").open("ab") as appended:
            appended.write(b"more")
            appended.flush()
            with pytest.raises(ConflictError):
                list(iter(lambda: opened.read(1 << 20), b""))

    def test_one_file_can_be_the_root(self, put, root):
        """Then it is all there is."""
        put("a/one.parquet", b"1")
        put("a/two.parquet", b"2")

        assert [(root / "a/one.parquet").as_posix()] == [f.name for f in open_store(str(root / "a/one.parquet")).list()]

    def test_all_ways_to_a_file_give_it_one_name(self, store, put, root, tmp_path, monkeypatch):
        """Path, relative path, URL, symlink to the folder: the work is the same."""
        put("a.parquet", b"1")
        (tmp_path / "link").symlink_to(root)
        monkeypatch.chdir(tmp_path)
        ways = [
            str(root),
            root.name,
            f"./{root.name}/",
            root.as_uri(),
            str(tmp_path / "link"),
            f"{root}/../{root.name}",
        ]

        assert {next(iter(store.list()))} == {next(iter(open_store(way).list())) for way in ways}

    def test_file_behind_a_symlink_is_read(self, store, put, root, tmp_path):
        """A folder may be put together of links."""
        elsewhere = tmp_path / "elsewhere.parquet"
        elsewhere.write_bytes(b"content")
        (root / "link.parquet").symlink_to(elsewhere)

        (file,) = store.list()

        assert b"content" == _content(store, file)

    def test_broken_symlink_is_no_file(self, store, put, root):
        """There is nothing to read behind it."""
        put("a", b"1")
        (root / "b").symlink_to(root / "nowhere")

        assert ["a"] == [_tail(file.name, 1) for file in store.list()]

    def test_symlink_to_a_folder_above_ends(self, store, put, root):
        """No listing goes round in circles."""
        put("a/b", b"1")
        (root / "a" / "up").symlink_to(root)

        assert ["b"] == [_tail(file.name, 1) for file in store.list()]

    def test_local_times_say_nothing_about_the_export(self, store, put):
        """So the files are not remote."""
        put("a", b"1")

        assert [False] == [file.remote for file in store.list()]

    def test_etag_does_not_depend_on_times(self, store, put, root):
        """A copied file is the same work as long as its path is."""
        put("a", b"content")
        before = store.etag(*store.list())
        os.utime(root / "a", (1, 1))

        assert before == store.etag(*store.list())

    @pytest.mark.parametrize("name", ["nowhere", "nowhere/at all"])
    def test_missing_folder_is_refused(self, root, name):
        """With its path, before anything else is done."""
        with pytest.raises(ConfigError, match=f"{name} does not exist") as caught:
            list(open_store(str(root / name)).list())
        assert "\n" not in str(caught.value)

    def test_home_folder_may_be_short(self, tmp_path, monkeypatch):
        """As in a shell, also where no shell has put it in full."""
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "a").write_bytes(b"1")

        assert [(tmp_path / "a").as_posix()] == [file.name for file in open_store("~").list()]


@pytest.mark.parametrize("location", ["gopher://host/path", "https2://x?sig=secret"])
def test_unknown_kind_of_store_is_refused(location):
    """The known ones are named; what follows the scheme may be secret and is not."""
    with pytest.raises(ConfigError, match=r"there is no store for .*file://") as caught:
        open_store(location)
    assert "secret" not in str(caught.value)


def test_errors_of_stores_are_ours():
    """Whatever goes wrong with a location, the caller catches one kind of error."""
    with pytest.raises(IngestError):
        list(open_store("file:///nowhere/at/all").list())


def _tail(name: str, parts: int) -> str:
    return "/".join(name.split("/")[-parts:])


def _content(store, file):
    with store.open(file) as opened:
        return opened.read()
