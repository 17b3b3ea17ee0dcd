"""Rows of a slice that were read to see whether they are few, kept so that they are not called for again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Few(Generic[T]):
    """The rows of one slice at most, which its detail tells from others."""

    def __init__(self) -> None:
        self._kept: tuple[Mapping[str, Any], list[T]] | None = None

    def keep(self, detail: Mapping[str, Any], rows: Iterator[T], most: int) -> bool:
        """Whether a slice has at most so many *rows*, which are kept then."""
        found = list(islice(rows, most + 1))
        if len(found) > most:
            return False
        self._kept = (dict(detail), found)
        return True

    def rows(self, detail: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Iterator[T]]) -> Iterator[T]:
        """The rows of a slice: those that are kept, or else those that *read* calls for."""
        return iter(self._kept[1]) if self._kept is not None and self.has(detail) else read(detail)

    def has(self, detail: Mapping[str, Any]) -> bool:
        """Whether the rows of a slice are kept."""
        return self._kept is not None and self._kept[0] == dict(detail)
