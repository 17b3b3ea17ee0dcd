"""What has been taken so far: for each feed a watermark, and each work with its run and status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from shared.model import Record, Watermark
from shared.settings import CONNECTION_STRING, url_kind

_KINDS = ("sqlite", "https", "http", CONNECTION_STRING)


class Ledger(Protocol):
    """One partition a feed: everything about a feed changes in one transaction."""

    def watermark(self, feed: str) -> Watermark:
        """The feed's watermark; an empty one with etag None if it has none yet."""
        ...

    def known(self, feed: str, work_ids: Sequence[str]) -> Mapping[str, Record]:
        """What is recorded of *works*, by work id; those never seen are left out."""
        ...

    def commit(self, feed: str, records: Sequence[Record], mark: Watermark | None = None) -> None:
        """Record works and, with *mark*, set the watermark: both or neither.

        ``mark.etag`` is the one last seen (None: there was none); ConflictError if it has changed since.
        ``times`` is counted here, once for each run that is recorded done. Committing what the same run
        has committed already does nothing.
        """
        ...

    def forget(self, feed: str, since: str) -> list[Record]:
        """Mark works exported at or after *since*, or at an unknown time, as to be taken again; return them."""
        ...

    def rewind(self, feed: str, mark: Watermark) -> None:
        """Set the watermark, backwards too: the explicit backfill of a pull feed. Its etag does not matter."""
        ...


def open_ledger(url: str, *, lock_timeout: float, storage_connection_string: str | None = None) -> Ledger:
    """The ledger a URL names. Waits up to *lock_timeout* seconds, at each call, for other processes or a busy server.

    *storage_connection_string* signs in to tables of its own account.
    """
    kind, location = url_kind("LEDGER_URL", url, _KINDS)
    if kind == "sqlite":
        from shared.ledger import sqlite

        return sqlite.open_ledger(location, lock_timeout)
    from shared.ledger.tables import table_ledger

    return table_ledger.open_ledger(url, lock_timeout, storage_connection_string)
