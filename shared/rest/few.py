"""Rows of a slice that were read to see whether they are few, kept so that they are not called for again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Few(Generic[T]):
    """The rows of one slice at most, which its detail tells from others."""

    def __init__(self) -> None:
        self._kept: tuple[Mapping[str, Any], list[T]] | None = None

    def keep(self, detail: Mapping[str, Any], rows: Iterator[T], most: int) -> list[T] | None:
        """The *rows* of a slice if they are so many at most: they are kept then."""
        found = list(islice(rows, most + 1))
        if len(found) > most:
            return None
        self._kept = (dict(detail), found)
        return found

    def of(self, detail: Mapping[str, Any]) -> list[T] | None:
        """The rows of a slice, if they are kept."""
        return self._kept[1] if self._kept is not None and self._kept[0] == dict(detail) else None
