"""Reading a remote file by range: what is asked of the store, what is kept, and that the bytes are right."""

from __future__ import annotations

import io
import os

import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.stores import File, expect, ranged
from shared.stores.ranged import Opens

MB = 1 << 20


class Remote:
    """A file of so many bytes that remembers what was moved of it."""

    def __init__(self, size):
        self.size = size
        self.data = (bytes(range(251)) * (size // 251 + 1))[:size]
        self.moved = []
        self.opens = Opens()

    def open(self):
        return self.opens.open(File("x", self.size, 0.0, "1", True), self.fetch)

    def fetch(self, start, end):
        assert 0 <= start < end <= self.size
        self.moved.append((start, end))
        return self.data[start:end]

    @property
    def total(self):
        return sum(end - start for start, end in self.moved)


def test_by_default_just_what_is_requested_is_moved():
    """Nobody knows what will be read next."""
    remote = Remote(10 * MB)

    with remote.open() as opened:
        opened.seek(1000)
        opened.read(10)

    assert [(1000, 1010)] == remote.moved


def test_what_is_expected_comes_in_few_requests():
    """Of some megabytes, however small the reads are."""
    remote = Remote(40 * MB)

    with remote.open() as opened:
        expect(opened, [(0, 40 * MB)], 1)
        read = b"".join(iter(lambda: opened.read(256 << 10), b""))

    assert remote.data == read
    assert 40 * MB == remote.total
    assert 5 == len(remote.moved)


def test_interleaved_columns_are_moved_once():
    """Each column's reader goes on where it was, and none drops what another waits for."""
    columns, each = 20, 3 * MB
    remote = Remote(columns * each)

    with remote.open() as opened:
        expect(opened, [(n * each, (n + 1) * each) for n in range(columns)], columns)
        for piece in range(0, each, 256 << 10):
            for column in range(columns):
                start = opened.seek(column * each + piece)
                assert remote.data[start : start + (256 << 10)] == opened.read(256 << 10)

    assert remote.size == remote.total
    assert len(remote.moved) <= 2 * remote.size // MB


def test_gaps_between_expected_ranges_are_not_moved():
    """A column that is not wanted stays where it is."""
    remote = Remote(10 * MB)

    with remote.open() as opened:
        expect(opened, [(0, MB), (5 * MB, 6 * MB)], 1)
        opened.read(MB)
        opened.seek(5 * MB)
        opened.read(MB)

    assert 2 * MB == remote.total


def test_end_of_a_file_is_moved_once_for_all_opens():
    """A footer is read by each slice."""
    remote = Remote(10 * MB)

    for _ in range(3):
        with remote.open() as opened:
            opened.read(4)
            opened.seek(-65_536, os.SEEK_END)
            opened.read()

    assert [(0, 4), (10 * MB - 65_536, 10 * MB)] == remote.moved


def test_middle_of_a_file_is_forgotten_when_it_is_closed():
    """A store that is open for long does not grow."""
    remote = Remote(10 * MB)

    with remote.open() as opened:
        opened.read(5 * MB)

    assert 0 == sum(kept._bytes for kept in remote.opens._kept.values())


def test_ends_of_many_files_are_not_all_kept():
    """A folder may have thousands; beside those kept there is the one just opened."""
    opens = Opens()

    for number in range(100):
        with opens.open(File(str(number), 10, 0.0, "1", True), lambda start, end: bytes(end - start)) as opened:
            opened.read()

    assert ranged._FILES + 1 == len(opens._kept)


def test_memory_of_one_file_is_bounded():
    """Even where what was said to be read is not, and hundreds of columns are read side by side."""
    columns, each = 300, MB
    remote = Remote(columns * each)
    most = 0

    with remote.open() as opened:
        expect(opened, [(0, remote.size)], columns)
        for column in range(columns):
            opened.seek(column * each)
            opened.read(1)
            most = max(most, sum(kept._bytes for kept in remote.opens._kept.values()))

    assert 32 * MB < most <= 64 * MB


def test_another_version_shares_nothing():
    """What was kept is of other content."""
    opens = Opens()

    read = []
    for version, data in (("1", b"old"), ("2", b"new")):
        with opens.open(File("x", 3, 0.0, version, True), lambda start, end, data=data: data[start:end]) as opened:
            read.append(opened.read())

    assert [b"old", b"new"] == read


def test_failed_request_leaves_the_file_as_it_was():
    """The next read asks again."""
    remote = Remote(MB)
    failing = [OSError("once")]

    def fetch(start, end):
        if failing:
            raise failing.pop()
        return remote.fetch(start, end)

    with remote.opens.open(File("x", MB, 0.0, "1", True), fetch) as opened:
        expect(opened, [(0, MB)], 1)
        with pytest.raises(OSError, match="once"):
            opened.read(10)

        assert remote.data[:10] == opened.read(10)


def test_closed_file_is_not_read():
    """As with any other file."""
    opened = Remote(10).open()
    opened.close()

    with pytest.raises(ValueError, match="closed"):
        opened.read()
    with pytest.raises(ValueError, match="closed"):
        opened.seek(0)


def test_seeking_before_the_start_is_refused():
    """As with any other file."""
    with Remote(10).open() as opened, pytest.raises(ValueError, match="cannot seek"):
        opened.seek(-11, os.SEEK_END)


def test_ranges_can_be_expected_of_any_file():
    """Of one that is here already it means nothing."""
    with io.BytesIO(b"x") as opened:
        expect(opened, [(0, 1)], 1)

        assert b"x" == opened.read()


@given(
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 700)), max_size=20),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 2_000)), max_size=5),
    st.integers(1, 9),
)
def test_any_reads_give_the_bytes_of_the_file(reads, ranges, streams):
    """Wherever they are, whatever was expected, kept or forgotten; and what is asked of the store lies in the file."""
    remote = Remote(1_999)
    with pytest.MonkeyPatch.context() as patch, remote.open() as opened, remote.open() as other:
        for name, value in {"_AHEAD": 400, "_SMALLEST": 50, "_LARGEST": 300, "_MOST": 600}.items():
            patch.setattr(ranged, name, value)
        expect(opened, ranges, streams)
        for number, (start, count) in enumerate(reads):
            for file in (opened, other)[: 1 + number % 2]:
                file.seek(start)
                assert remote.data[start : start + count] == file.read(count)
