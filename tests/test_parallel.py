"""Several calls at once."""

from __future__ import annotations

import threading

import pytest

from shared.parallel import in_order, one_ahead


def test_results_come_in_order_though_later_ones_are_done_first():
    """The first waits for the second."""
    second = threading.Event()

    def call(number):
        if number == 0:
            assert second.wait(30)
        if number == 1:
            second.set()
        return number

    assert list(range(20)) == list(in_order(call, range(20), workers=2))


def test_few_results_wait():
    """Nothing is called ahead of what is taken but for one call a worker."""
    begun = []
    found = in_order(begun.append, range(100), workers=3)

    next(found)
    found.close()

    assert 4 >= len(begun)


def test_the_first_error_ends_it():
    def call(number):
        if number == 2:
            raise ValueError(number)
        return number

    taken = []
    with pytest.raises(ValueError, match="2"):
        taken.extend(in_order(call, range(100), workers=4))
    found = in_order(call, range(3), workers=4)
    assert [0, 1] == [next(found), next(found)]


def test_the_next_page_is_made_while_one_is_worked_on():
    made = [threading.Event(), threading.Event()]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number + 1
        raise OSError("the server went away")

    found = one_ahead(items())

    assert (1, True) == (next(found), made[1].wait(10))
    assert 2 == next(found)
    with pytest.raises(OSError, match="went away"):
        next(found)


def test_whoever_takes_no_more_pages_ends_their_making():
    ended = []

    def items():
        try:
            yield from range(1, 100)
        finally:
            ended.append(True)

    found = one_ahead(items())
    next(found)
    found.close()

    assert [True] == ended
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("page")]
