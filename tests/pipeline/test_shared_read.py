"""One reading for several readers: each gets every batch, in order, whatever the others do."""

from __future__ import annotations

import threading

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DataError
from shared.model import Slice, Unit
from shared.pipeline.shared_read import SharedSource, leaving
from shared.sources import Described

PART = Slice(0, 0, 9, "memory", 0, {})
UNIT = Unit(kind="delta")


class Numbers:
    """A source of batches of one number; it counts how often it is read, and how far one reading is ahead."""

    left_out = 7

    def __init__(self, count, fails_at=None):
        self.count, self.fails_at = count, fails_at
        self.described = self.readings = self.produced = self.closed = 0

    def describe(self, unit):
        self.described += 1
        return Described({}, [PART], {})

    def read(self, part):
        self.readings += 1
        try:
            for number in range(self.count):
                if number == self.fails_at:
                    raise DataError("it is damaged", fix="Send another one")
                self.produced += 1
                yield pa.record_batch({"n": [number]})
        finally:
            self.closed += 1


def numbers(batches):
    return [batch["n"][0].as_py() for batch in batches]


def in_threads(*calls):
    with ThreadPoolExecutor(len(calls)) as pool:
        return [one.result() for one in [pool.submit(call) for call in calls]]


def test_each_reader_gets_all_of_one_reading():
    source = Numbers(20)
    shared = SharedSource(source)
    readers = [shared.reader() for _ in range(3)]

    found = in_threads(*(lambda one=one: (one.describe(UNIT), numbers(one.read(PART)))[1] for one in readers))

    assert [list(range(20))] * 3 == found
    assert (1, 1, 1) == (source.described, source.readings, source.closed)


def test_what_a_source_has_beside_the_port_is_there():
    reader = SharedSource(Numbers(1)).reader()

    assert 7 == reader.left_out
    assert not hasattr(reader, "plain_file")


def test_nobody_is_more_than_two_batches_ahead():
    source = Numbers(20)
    shared = SharedSource(source)
    fast, slow = shared.reader(), shared.reader()
    ahead = []

    def slowly():
        for number, _ in enumerate(slow.read(PART)):
            ahead.append(source.produced - number)

    in_threads(lambda: numbers(fast.read(PART)), slowly)

    assert max(ahead) <= 3  # the one it has, and two more


def test_an_error_of_the_source_reaches_everybody_at_its_place():
    shared = SharedSource(Numbers(5, fails_at=3))
    readers = [shared.reader() for _ in range(2)]

    def read(one):
        found = []
        with pytest.raises(DataError, match="it is damaged"):
            found.extend(one.read(PART))
        return len(found)

    assert [3, 3] == in_threads(*(lambda one=one: read(one) for one in readers))


def test_a_reader_that_ends_early_holds_up_nobody():
    source = Numbers(20)
    shared = SharedSource(source)
    whole, short, none = (shared.reader() for _ in range(3))

    def broken():
        with leaving(short, PART):
            next(short.read(PART))

    found = in_threads(lambda: numbers(whole.read(PART)), broken, none.close)

    assert list(range(20)) == found[0]
    assert (1, 1) == (source.readings, source.closed)


def test_the_source_is_closed_when_the_last_reader_leaves():
    source = Numbers(20)
    shared = SharedSource(source)
    reader = shared.reader()
    reading = reader.read(PART)
    next(reading)

    reader.close()

    assert 1 == source.closed


def test_one_that_comes_too_late_reads_by_itself():
    source = Numbers(4)
    shared = SharedSource(source, patience=0.0)
    first, late = shared.reader(), shared.reader()

    assert [list(range(4))] * 2 == [numbers(first.read(PART)), numbers(late.read(PART))]
    assert 2 == source.readings


def test_one_that_reads_again_gets_all_again():
    """As a stage does that is repeated."""
    source = Numbers(4)
    reader = SharedSource(source).reader()

    assert [list(range(4))] * 2 == [numbers(reader.read(PART)), numbers(reader.read(PART))]


@settings(max_examples=60)
@given(st.integers(0, 8), st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_any_readers_get_what_they_read_to(count, stops):
    """Each stops after so many batches; nothing hangs, nothing is lost, and the source is read once."""
    source = Numbers(count)
    shared = SharedSource(source)
    readers = [shared.reader() for _ in stops]
    start = threading.Barrier(len(stops))

    def read(reader, stop):
        start.wait()
        found = []
        try:
            for batch in reader.read(PART) if stop else ():
                found.append(batch["n"][0].as_py())
                if len(found) == stop:
                    break
        finally:
            reader.close()
        return found

    found = in_threads(*(lambda one=one, stop=stop: read(one, stop) for one, stop in zip(readers, stops, strict=True)))

    assert [list(range(min(stop, count))) for stop in stops] == found
    assert source.readings <= 1
    assert source.readings == source.closed
