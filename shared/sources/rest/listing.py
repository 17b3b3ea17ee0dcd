"""One list of an API from a cursor on, read once and kept in a temporary file, with what its records show."""

from __future__ import annotations

import datetime as dt
import heapq

from collections.abc import Iterator
from typing import Any

from shared.errors import DataError
from shared.rest import instants
from shared.rest.client import Client
from shared.rest.pages import Page, Place, pages, records_of
from shared.rest.rows import Kinds, Record, read_json
from shared.rest.spool import Spool
from shared.rest.stretches import Stretch
from shared.sources.rest.options import ListOptions, Rows


class Listing:
    """Rows of one list; ``close`` it when done."""

    def __init__(
        self, client: Client, options: ListOptions, rows: Rows, since: str | None, start: Place | None = None
    ) -> None:
        """From *start* on: a place that an earlier read of the same list gave."""
        self.since, self.rows, self.kinds = since, 0, Kinds()
        self.first: Page | None = None
        self.is_whole = False
        """Whether all pages are here."""
        self._client, self._options, self._of = client, options, rows
        self._spool = Spool()
        self._pages: Iterator[Page] = pages(
            client, options.call(since), options.paging, options.records, workers=options.workers, start=start
        )

    def read(self, most_pages: int | None = None) -> None:
        """Read all pages that are left, or so many."""
        count = 0
        while not self.is_whole and (most_pages is None or count < most_pages):
            page = next(self._pages, None)
            if page is None:
                self.is_whole = True
                return
            count += 1
            self.first = self.first or page
            rows = self._of.of(page.records)
            self.kinds.look(rows)
            self.rows += len(rows)
            self._spool.add(page.response.body)
            self.is_whole = page.last

    def __iter__(self) -> Iterator[list[Record]]:
        """The rows, page by page."""
        for body in self._spool:
            yield self._of.of(records_of(read_json(body), self._options.records, self._client.host))

    def stream(self) -> Iterator[Stretch[Record]]:
        """The rows, page by page: those that are here, then those still to be called for, which are not kept.

        It may be cut only after the former, which cost no call.
        """
        for rows in self:
            yield Stretch(rows, None)
        for page in self._pages:
            yield Stretch(self._of.of(page.records), page.following)

    def cursors(self) -> Iterator[Any]:
        return (value for rows in self for value in map(self._of.cursor, rows) if value is not None)

    def ceiling(self, after: Any, most: int) -> tuple[Any, bool]:
        """The highest cursor, or the *most*-th above *after*; and whether there are others beyond. None: no cursor.

        Cursors later than the API's own time, less the lag, are not counted.
        """
        limit = self.settled()
        there = [value for value in self.cursors() if limit is None or value <= limit] if self.rows <= most else None
        if there is not None:
            return max(there, default=None), False
        settled = (value for value in self.cursors() if limit is None or value <= limit)
        lowest = heapq.nsmallest(most, (value for value in settled if after is None or value > after))
        top = max((value for value in self.cursors() if limit is None or value <= limit), default=None)
        return (lowest[-1], lowest[-1] < top) if lowest else (top, False)

    def settled(self) -> dt.datetime | None:
        """The instant up to which rows are complete: the API's time as it answered first, less the lag."""
        if self._options.lag_seconds == 0:
            return None
        now = self.time()
        return None if now is None else now - dt.timedelta(seconds=self._options.lag_seconds)

    def time(self) -> dt.datetime | None:
        """The API's time as it answered first, naive, in UTC; None if it does not say."""
        return instants.server_time(self.first.response.headers) if self.first else None

    def refuse_without_cursor(self, name: str) -> DataError:
        fields = ", ".join(self.kinds.types)
        return DataError(
            f"no record of {self._client.host} has a cursor {name!r} as {self._options.cursor_format}",
            fix=f"Correct cursor, cursor_format or records in the catalog; the fields are {fields}",
        )

    def close(self) -> None:
        self._spool.close()
