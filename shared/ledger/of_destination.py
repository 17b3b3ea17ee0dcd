"""The ledger of one destination of feeds beside the main one, kept within the ledger of all (docs/decisions/0040)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.ledger import Ledger
from shared.model import MAIN, Record, Watermark


def ledger_of(ledger: Ledger, destination: str) -> Ledger:
    """What a destination has taken. That of the main one is *ledger* itself."""
    return ledger if destination == MAIN else _LedgerOf(ledger, destination)


def name_in_ledger(feed: str, destination: str) -> str:
    """What a feed is called by the ledger of a destination. No system has a colon in its name.

    >>> name_in_ledger("coolr.location", "main"), name_in_ledger("coolr.location", "lake")
    ('coolr.location', 'lake:coolr.location')
    """
    return feed if destination == MAIN else f"{destination}:{feed}"


@dataclass(frozen=True, slots=True)
class _LedgerOf:
    ledger: Ledger
    destination: str

    def watermark(self, feed: str) -> Watermark:
        return self.ledger.watermark(self._name(feed))

    def known(self, feed: str, work_ids: Sequence[str]) -> Mapping[str, Record]:
        return self.ledger.known(self._name(feed), work_ids)

    def commit(self, feed: str, records: Sequence[Record], mark: Watermark | None = None) -> None:
        self.ledger.commit(self._name(feed), records, mark)

    def forget(self, feed: str, since: str) -> list[Record]:
        return self.ledger.forget(self._name(feed), since)

    def rewind(self, feed: str, mark: Watermark) -> None:
        self.ledger.rewind(self._name(feed), mark)

    def _name(self, feed: str) -> str:
        return name_in_ledger(feed, self.destination)
