"""What every state store does: a class of tests that inherits from ``StateSuite`` and adds its fixtures runs it all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

HOSTILE = ("a/../b", "it's", "ключ 鍵 🔑", "%2E%2e", "with blank", "colon:and#hash?", ".hidden", "a/.unfinished-x")


class DocumentsSuite:
    """Needs a fixture ``state``: an empty store; and ``second``: another object over the same place."""

    def test_what_is_written_is_read(self, state):
        """Whole, and byte by byte."""
        state.put("jobs/a", bytes(range(256)))

        assert bytes(range(256)) == state.get("jobs/a")

    def test_the_last_writer_wins(self, state, second):
        """A longer document leaves nothing behind in a shorter one."""
        state.put("jobs/a", b"first, and long")
        second.put("jobs/a", b"second")

        assert b"second" == state.get("jobs/a")

    def test_nothing_is_none(self, state):
        """Before anything was ever written, too."""
        assert state.get("jobs/a") is None
        assert [] == list(state.entries("jobs/"))
        state.delete("jobs/a")

    def test_the_first_to_add_wins(self, state, second):
        """What is there is not touched."""
        assert state.add("told/k", b"one")
        assert not second.add("told/k", b"two")
        assert b"one" == second.get("told/k")

    def test_of_many_who_add_at_once_one_wins(self, state, second):
        """And its document is the one that stays."""
        stores = [state, second] * 4
        with ThreadPoolExecutor(8) as threads:
            won = list(threads.map(lambda n: stores[n].add("told/k", b"%d" % n), range(8)))

        assert 1 == sum(won)
        assert b"%d" % won.index(True) == state.get("told/k")

    def test_what_is_deleted_can_be_added_again(self, state):
        """Deleting twice does nothing."""
        state.add("told/k", b"one")
        state.delete("told/k")
        state.delete("told/k")

        assert state.add("told/k", b"two")

    def test_a_listing_has_names_by_their_beginning(self, state):
        """In their order; a prefix need not end at a slash."""
        for name in ("jobs/b/2", "jobs/b/1", "jobs/a", "jobs/bc", "other"):
            state.put(name, b"x")

        assert ["jobs/b/1", "jobs/b/2", "jobs/bc"] == [entry.name for entry in state.entries("jobs/b")]
        assert ["jobs/b/1", "jobs/b/2"] == [entry.name for entry in state.entries("jobs/b/")]
        assert 5 == len(list(state.entries("")))

    def test_a_listing_tells_when_documents_were_written(self, state):
        """In seconds since 1970: both were written between then and now, in this order or at the same time."""
        state.put("a", b"x")
        state.put("b", b"x")
        first, second = state.entries("")

        assert 1_700_000_000 < first.modified <= second.modified

    def test_a_long_listing_is_whole(self, state):
        """Also where it comes page by page."""
        names = [f"many/{n:04}" for n in range(30)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda name: state.put(name, b""), names))

        assert names == [entry.name for entry in state.entries("many/")]

    @pytest.mark.parametrize("name", HOSTILE)
    def test_any_name_is_just_a_name(self, state, name):
        """Dots, slashes and marks in it mean nothing."""
        state.put(f"feeds/{name}", b"x")

        assert b"x" == state.get(f"feeds/{name}")
        assert [f"feeds/{name}"] == [entry.name for entry in state.entries("")]
        state.delete(f"feeds/{name}")
        assert [] == list(state.entries(""))
