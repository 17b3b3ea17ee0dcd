"""Read the rows of a span page by page, several pages at a time where there are many, always in the same order."""

from __future__ import annotations

import contextlib

from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from shared.errors import DataError
from shared.parallel import in_order, one_ahead
from shared.sources.sql.database import Database
from shared.sources.sql.order import Order, Position, Span, Table
from shared.sources.sql.pages import Page, page

BOTH = "\0"
"""Between the names of a cursor and of its fallback: no column has it in its name."""

_BYTES = 16 << 20
"""Of the pages of one table that are being read, wait or are worked on."""
_FIRST_PAGE = 1_000
"""Rows of the first page, before their width is known."""
_LARGEST_GROWTH = 8
"""How many times as many rows a page may have as the page before it."""
_FEW_PAGES = 2
"""Up to so many pages of rows are read one after the other."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one span."""

    database: Database
    origin: str
    """The table, for people."""
    table: Table
    span: Span
    within: Callable[[sa.Select[Any], Span], sa.Select[Any]]
    """A query of the rows of a span alone."""

    @property
    def order(self) -> Order:
        return self.table.order(self.span)

    def pages(self, rows: int, *, batch_rows: int, workers: int) -> Iterator[pa.RecordBatch]:
        """All rows, about *rows*, in the order of the span: at most *batch_rows* in a batch.

        Pages are read ahead of whoever takes them: *workers* at a time where there are many, and where it is certain
        that no two rows have the same position. DataError if the rows have no order.
        """
        reading = _Reading(self, batch_rows, workers)
        if workers > 1 and rows > _FEW_PAGES * batch_rows and self.table.is_exact(self.span):
            return reading.at_once()
        return one_ahead(reading.one_by_one())

    def parts(self, size: Callable[[], int]) -> Generator[Span, None, None]:
        """Parts of the span of *size* rows each, as they are now. What is left after them has fewer rows."""
        part, order = self.span, self.order
        selected = sa.select(*(column.selected for column in order.columns)).select_from(self.table.clause)
        names = [column.name for column in order.columns]
        while found := self.database.rows(self.in_order(selected, part).limit(1).offset(size() - 1)):
            until = order.position(found[0], names)
            self.refuse_same(part.after, until)
            yield replace(part, until=until)
            part = replace(part, after=until)

    def count(self) -> int:
        counted = self.within(sa.select(sa.func.count()).select_from(self.table.clause), self.span)
        return int(self.database.rows(counted)[0][0])

    def page(self, part: Span, *, most: int | None = None, at: Position | None = None) -> Page:
        """The rows of a part of the span in order, at most so many; or only those *at* a position."""
        read, order = self.table.selected(self.span), self.order
        selected = sa.select(*(column.selected for column in read.values())).select_from(self.table.clause)
        statement = self.in_order(selected, part) if at is None else self.within(selected, part).where(order.at(at))
        found = self.database.do(lambda connection: page(connection, statement.limit(most), read, order))
        return replace(found, batch=found.batch.select([name for name in read if BOTH not in name]))

    def in_order(self, selected: sa.Select[Any], part: Span) -> sa.Select[Any]:
        return self.within(selected, part).order_by(*(column.ordered for column in self.order.columns))

    def refuse_same(self, after: Position | None, last: Position) -> None:
        if last == after:
            raise DataError(f"{self.origin} cannot be read past {last}", fix="Choose keys that are not fractions")


@dataclass(slots=True)
class _Reading:
    """How far the rows are read."""

    rows: Rows
    batch_rows: int
    workers: int
    size: int = field(init=False)
    """Rows of the next page."""
    rest: Span = field(init=False)
    """What no page has been planned for."""

    def __post_init__(self) -> None:
        self.size, self.rest = min(self.batch_rows, _FIRST_PAGE), self.rows.span

    def at_once(self) -> Iterator[pa.RecordBatch]:
        """One query after the other finds where pages end, while others read them."""
        with contextlib.closing(one_ahead(self._planned())) as planned:
            yield from in_order(self._whole, planned, workers=self.workers)
        yield from self.one_by_one()

    def _planned(self) -> Generator[Span, None, None]:
        for part in self.rows.parts(lambda: self.size):
            self.rest = replace(self.rest, after=part.until)
            yield part

    def _whole(self, part: Span) -> pa.RecordBatch:
        batch = self.rows.page(part).batch
        self._resize(batch)
        return batch

    def one_by_one(self) -> Generator[pa.RecordBatch, None, None]:
        while found := self.rows.page(self.rest, most=self.size):
            last, batch, full = found.last, found.batch, len(found) == self.size
            self.rows.refuse_same(self.rest.after, last)
            self._resize(batch)
            if full and not self.rows.table.is_exact(self.rest):
                ties = self.rows.page(self.rows.span, at=last)
                tied = {last, *ties.positions()}
                yield from (some for some in (_without(tied, found), ties.batch) if some.num_rows)
            else:
                del found  # with the server's text of it, while whoever takes the batch works on that
                yield batch
            del batch
            if not full:
                return
            self.rest = replace(self.rest, after=last)

    def _resize(self, batch: pa.RecordBatch) -> None:
        """A page has as much as fits into memory with the others."""
        if batch.num_rows:
            widest = _BYTES // (self.workers + 1) * batch.num_rows // max(1, batch.nbytes)
            grown = max(self.size, batch.num_rows * _LARGEST_GROWTH)
            self.size = max(1, min(self.batch_rows, widest, grown))


def _without(positions: Collection[Position], found: Page) -> pa.RecordBatch:
    return found.batch.filter(pa.array([position not in positions for position in found.positions()]))
