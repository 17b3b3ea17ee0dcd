"""Work done ahead of whoever takes its results: they come in order and wait in bounded memory."""

from __future__ import annotations

import contextlib

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(call: Callable[[T], R], items: Iterable[T], *, workers: int) -> Generator[R, None, None]:
    """``call(item)`` of each item, in their order, *workers* at a time.

    At most *workers* results wait to be taken, and *items* are taken as calls begin. The first error ends it: calls
    that have begun are waited for, no other is made. The same if the iteration is abandoned.
    """
    waiting: deque[Future[R]] = deque()
    left = iter(items)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="call")
    try:
        waiting.extend(pool.submit(call, item) for item in islice(left, workers))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(call, item) for item in islice(left, 1))
            yield result
            del result  # before the next one is there
    finally:
        pool.shutdown(cancel_futures=True)


def one_ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """*items*, each of which is made by a thread while whoever takes them works on the one before.

    An error comes in the place of its item. To end early takes as long as the item that is being made.
    """
    with contextlib.closing(items), ThreadPoolExecutor(1, thread_name_prefix="page") as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
            del item  # before the next one is there
