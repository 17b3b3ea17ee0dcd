"""The ledger in Azure Table Storage: a partition for each feed, and in it a row for the watermark and for each work.

A commit is one transaction of the partition, guarded by the etags of all rows it changes. One that is too large for
that (100 rows, 4 MiB) is one transaction all the same: the watermark, and a *journal*, a single row with all records
packed. Whoever comes next, mostly the same call, settles the journal before it looks at any work: some records at a
time go to rows of their own, in transactions that also move the journal on, so each is counted once whoever dies
between them or does the same at the same time. There is one journal at a time; the last of its transactions removes it.

Every call is repeated, for at most *lock_timeout* seconds and one attempt: when the service is busy, when its answer
is lost (the repetition finds what the first attempt has done), when another call has changed the same rows.
"""

from __future__ import annotations

import contextlib

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from shared.azure import clients
from shared.azure.errors import service_code
from shared.azure.urls import parse_table_url
from shared.errors import TransientError, overtaken, written_by_newer
from shared.ledger.records import Kept, after, forgotten
from shared.ledger.tables import rows
from shared.model import Record, Watermark
from shared.redaction import redact
from shared.remote import RedactedCause, RetryPolicy
from shared.settings import CONNECTION_STRING, url_kind

if TYPE_CHECKING:
    from azure.core.paging import ItemPaged
    from azure.data.tables import TableEntity

T = TypeVar("T")
Operation: TypeAlias = tuple[Any, ...]
"""Of a transaction, as the client takes it."""

_READERS = 8
"""Rows read at once; the client keeps ten connections."""
_READS_FOR_A_PAGE = 100
"""How many of these reads take about as long as one page of a thousand rows."""
_SECONDS = 20.0
"""How long one request may wait for a connection, and then for an answer."""


def open_ledger(url: str, lock_timeout: float, storage_connection_string: str | None = None) -> TablesLedger:
    """*url* is one of an account or table, or a connection string. A wrong URL is a ConfigError at once."""
    if url_kind("LEDGER_URL", url, ("https", "http", CONNECTION_STRING))[0] != CONNECTION_STRING:
        parse_table_url(url)
    return TablesLedger(url, lock_timeout, storage_connection_string)


class TablesLedger:
    """Nothing is imported or asked before the first call, which also creates the table if there is none."""

    def __init__(self, url: str, lock_timeout: float, storage_connection_string: str | None = None) -> None:
        self._url, self._connection_string = url, storage_connection_string
        self._timeout = lock_timeout
        self._retry = RetryPolicy(attempts=None, seconds=self._timeout, first_wait=0.05, longest_wait=2.0, jitter=0.2)
        self._layout: int | None = None
        """Of the table, once it is known; 0 if it does not say."""

    def watermark(self, feed: str) -> Watermark:
        return self._repeated(lambda: _as_mark(self._row(feed, rows.WATERMARK)))

    def known(self, feed: str, work_ids: Sequence[str]) -> Mapping[str, Record]:
        def read() -> dict[str, Record]:
            self._settle(feed)
            return {work: rows.as_kept(row).record for work, row in self._work_rows(feed, work_ids).items()}

        return self._repeated(read)

    def commit(self, feed: str, records: Sequence[Record], mark: Watermark | None = None) -> None:
        recorded = list(records)
        self._repeated(lambda: self._commit(feed, recorded, mark), writes=True)

    def forget(self, feed: str, since: str) -> list[Record]:
        """More than a hundred works take several transactions: losing one leaves the rest for a repetition."""
        return self._repeated(lambda: self._forget(feed, since), writes=True)

    def rewind(self, feed: str, mark: Watermark) -> None:
        def move() -> None:
            self._submit(feed, [_put(rows.mark_row(mark), self._row(feed, rows.WATERMARK))])

        self._repeated(move, writes=True)

    # -- one attempt at each

    def _commit(self, feed: str, records: Sequence[Record], mark: Watermark | None) -> None:
        # The watermark is read first: if the same commit gets through meanwhile, the work items show it.
        seen = self._row(feed, rows.WATERMARK) if mark is not None else None
        self._settle(feed)
        changes = self._changes(feed, records)
        if not changes:
            return
        moves = [] if mark is None else [_moved(feed, mark, seen)]
        operations = [*moves, *(put for _, put in changes.values())]
        if len(list(rows.fitting(row for _, row, _ in operations))) == 1:
            self._submit(feed, operations)
            return
        self._submit(feed, [*moves, _put(rows.journal_row([record for record, _ in changes.values()]), None)])
        self._settle(feed)

    def _settle(self, feed: str) -> None:
        """Give the records of a journal rows of their own, if there is one."""
        journal = self._row(feed, rows.JOURNAL)
        if journal is None:
            return
        records, settled = rows.as_journal(journal)
        changes = self._changes(feed, records[settled:])
        guard = _guard(journal.metadata["etag"])
        puts = (changes[record.work][1] if record.work in changes else None for record in records[settled:])
        likely = (rows.work_row(Kept(record, ("x" * 1_000,))) for record in records[settled:])
        for count in list(rows.fitting(likely, rows.MOST_ROWS - 1)):
            settled += count
            moved = _settled(settled, len(records), guard)
            guard = _guard(self._submit(feed, [moved, *filter(None, islice(puts, count))]))

    def _changes(self, feed: str, records: Sequence[Record]) -> dict[str, tuple[Record, Operation]]:
        """What *records* change of what is kept: by work what it becomes, and how to write that."""
        stored = self._work_rows(feed, [record.work for record in records])
        before = {work: rows.as_kept(row) for work, row in stored.items()}
        now = dict(before)
        for record in records:
            now[record.work] = after(now.get(record.work), record)
        return {
            work: (kept.record, _put(rows.work_row(kept), stored.get(work)))
            for work, kept in now.items()
            if kept != before.get(work)
        }

    def _forget(self, feed: str, since: str) -> list[Record]:
        self._settle(feed)
        forgotten_records, puts = [], []
        for row in self._exported(feed, since):
            kept = rows.as_kept(row)
            forgotten_records.append(forgotten(kept.record))
            if forgotten_records[-1] != kept.record:
                puts.append(_put(rows.work_row(kept._replace(record=forgotten_records[-1])), row))
        left = iter(puts)
        for count in list(rows.fitting(row for _, row, _ in puts)):
            self._submit(feed, list(islice(left, count)))
        return forgotten_records

    # -- requests

    def _row(self, feed: str, key: str) -> TableEntity | None:
        return self._entity(rows.partition(feed), key)

    def _entity(self, partition: str, key: str) -> TableEntity | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self._access.client.get_entity(partition, key)
        except ResourceNotFoundError as error:
            if service_code(error) not in ("ResourceNotFound", "EntityNotFound"):  # no table, or no Table Storage
                raise
            return None

    def _work_rows(self, feed: str, work_ids: Sequence[str]) -> dict[str, TableEntity]:
        """The rows of *works*, those there are, in their order.

        Many are looked for page by page, for as long as that costs no more than reading each; the rest is read so.
        """
        keys = {work: rows.work_key(work) for work in work_ids}
        wanted = sorted(set(keys.values()))
        found, reached = self._scanned(feed, wanted, len(wanted) // _READS_FOR_A_PAGE)
        rest = [key for key in wanted if key > reached]
        with ThreadPoolExecutor(max(1, min(_READERS, len(rest)))) as threads:
            found |= zip(rest, threads.map(lambda key: self._row(feed, key), rest), strict=True)
        return {work: row for work, key in keys.items() if (row := found.get(key)) is not None}

    def _scanned(self, feed: str, wanted: list[str], most: int) -> tuple[dict[str, TableEntity | None], str]:
        """Which of the sorted keys *wanted* at *most* so many pages hold, and up to which key that is known."""
        found: dict[str, TableEntity | None] = {}
        reached, among = "", set(wanted)
        if not most:
            return found, reached
        pages = self._query(feed, "RowKey ge @first and RowKey le @last", first=wanted[0], last=wanted[-1]).by_page()
        for page in islice(pages, most):
            for row in page:
                reached = row["RowKey"]
                if reached in among:
                    found[reached] = row
            if getattr(pages, "continuation_token", None) is None:  # the last page
                return found, wanted[-1]
        return found, reached

    def _exported(self, feed: str, since: str) -> Iterable[TableEntity]:
        first, end = rows.WORK_KEYS
        known = "RowKey ge @first and RowKey lt @end and (exported_at ge @since or exported_at eq '')"
        return self._query(feed, known, first=first, end=end, since=since)

    def _query(self, feed: str, condition: str, **parameters: str) -> ItemPaged[TableEntity]:
        return self._access.client.query_entities(
            f"PartitionKey eq @feed and {condition}", parameters={"feed": rows.partition(feed), **parameters}
        )

    def _submit(self, feed: str, operations: Iterable[Operation]) -> str:
        """All of them or none; TransientError if a row is not any more as it was read. The first row's new etag."""
        from azure.data.tables import TableTransactionError

        key = rows.partition(feed)
        try:
            results = self._access.client.submit_transaction(
                [(kind, {**row, "PartitionKey": key}, options) for kind, row, options in operations]
            )
            return str(results[0].get("etag"))
        except TableTransactionError as error:
            if error.status_code not in (404, 409, 412) or service_code(error) == "TableNotFound":
                raise
            raise TransientError(
                f"other processes keep changing the same rows of feed {feed} in the ledger",
                fix="Load it again when the other runs of that feed are done",
            ) from error

    # -- the client

    @cached_property
    def _access(self) -> clients.TableAccess:
        seconds = min(_SECONDS, max(1.0, self._timeout))
        return clients.table_access(
            self._url, self._connection_string, retry_total=0, connection_timeout=seconds, read_timeout=seconds
        )

    def _repeated(self, act: Callable[[], T], *, writes: bool = False) -> T:
        def checked() -> T:
            self._check_layout(writes)
            return act()

        return self._retry.call(lambda: self._once(lambda: self._with_table(checked)), on=TransientError)

    def _check_layout(self, writes: bool) -> None:
        """ConfigError if the table is of a later layout. One that does not say is noted as ours before it changes."""
        from azure.core.exceptions import ResourceExistsError

        partition, key = rows.LAYOUT_KEY
        if self._layout is None:
            found = self._entity(partition, key)
            layout = int(found["layout"]) if found is not None else 0
            if layout > rows.LAYOUT:
                raise written_by_newer(f"the ledger {self._access.endpoint}", layout, rows.LAYOUT)
            self._layout = layout
        if writes and self._layout < rows.LAYOUT:
            try:
                self._access.client.create_entity({**rows.layout_row(), "PartitionKey": partition})
                self._layout = rows.LAYOUT
            except ResourceExistsError:  # another process has just noted it
                self._layout = None
                self._check_layout(writes)

    def _with_table(self, act: Callable[[], T]) -> T:
        from azure.core.exceptions import HttpResponseError, ResourceExistsError

        try:
            return act()
        except HttpResponseError as error:
            if service_code(error) != "TableNotFound":
                raise
        with contextlib.suppress(ResourceExistsError):  # another process has just made it
            self._access.client.create_table()
        return act()

    def _once(self, act: Callable[[], T]) -> T:
        from azure.core.exceptions import AzureError

        try:
            return act()
        except AzureError as error:
            failure = self._access.explained(error)
            failure.__cause__ = RedactedCause(f"{type(error).__name__}: {redact(str(error))}")
        raise failure  # out here, as the client's own error, which repeats URLs, would be its context in there


def _as_mark(row: TableEntity | None) -> Watermark:
    return rows.as_mark(row, str(row.metadata["etag"])) if row is not None else Watermark()


def _moved(feed: str, mark: Watermark, seen: TableEntity | None) -> Operation:
    if _as_mark(seen).etag != mark.etag:
        raise overtaken(feed)
    return _put(rows.mark_row(mark), seen)


def _put(row: rows.Row, seen: TableEntity | None) -> Operation:
    """Write *row* over what was *seen* there, or where nothing was."""
    from azure.data.tables import UpdateMode

    if seen is None:
        return "create", row, {}
    return "update", row, {"mode": UpdateMode.REPLACE, **_guard(seen.metadata["etag"])}


def _settled(settled: int, of: int, guard: dict[str, Any]) -> Operation:
    from azure.data.tables import UpdateMode

    row = {"RowKey": rows.JOURNAL, "settled": settled}
    return ("delete", row, guard) if settled == of else ("update", row, {"mode": UpdateMode.MERGE, **guard})


def _guard(etag: str | None) -> dict[str, Any]:
    from azure.core import MatchConditions

    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}
