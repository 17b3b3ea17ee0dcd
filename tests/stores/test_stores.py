"""Where files live: what every store does, and what is particular to one."""

from __future__ import annotations

import os
import tempfile

from pathlib import Path

import pytest

from shared.errors import ConfigError, ConflictError, IngestError
from shared.stores import open_store
from tests.suites.store_suite import StoreSuite, content, tail


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

    def test_etag_is_equal_for_equal_content(self, store, put):
        """Written again, or under another name: a retry knows it."""
        put("a", b"content")
        (first,) = store.list()
        before = store.etag(first)
        put("a", b"content")
        (second,) = store.list()

        assert before == store.etag(second)

    def test_changed_file_has_no_etag(self, store, put):
        """Naming its content would name the wrong one."""
        put("a", b"content")
        (file,) = store.list()
        put("a", b"kontent!")

        with pytest.raises(ConflictError):
            store.etag(file)

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

        assert b"content" == content(store, file)

    def test_broken_symlink_is_no_file(self, store, put, root):
        """There is nothing to read behind it."""
        put("a", b"1")
        (root / "b").symlink_to(root / "nowhere")

        assert ["a"] == [tail(file.name, 1) for file in store.list()]

    def test_symlink_to_a_folder_above_ends(self, store, put, root):
        """No listing goes round in circles."""
        put("a/b", b"1")
        (root / "a" / "up").symlink_to(root)

        assert ["b"] == [tail(file.name, 1) for file in store.list()]

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
