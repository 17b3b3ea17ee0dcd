"""Calls made several at a time, whose results come in the order of the calls and wait in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(call: Callable[[T], R], items: Iterable[T], *, workers: int) -> Iterator[R]:
    """``call(item)`` of each item, in their order, *workers* at a time.

    At most *workers* results wait to be taken, and *items* are taken as calls begin. The first error ends it: calls
    that have begun are waited for, no other is made. The same if the iteration is abandoned.
    """
    waiting: deque[Future[R]] = deque()
    left = iter(items)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="rest")
    try:
        waiting.extend(pool.submit(call, item) for item in islice(left, workers))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(call, item) for item in islice(left, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
