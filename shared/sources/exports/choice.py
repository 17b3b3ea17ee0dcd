"""Which exports of a folder to take, in which order. Pure.

One export is taken as it is. Of many, each table gets its newest full and every delta exported after it, in
the order of their times, and then ``latest``: older exports could only repeat what those say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.errors import ConfigError
from shared.model import Kind
from shared.stores import File


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One table of one export, as a listing shows it."""

    table: str
    kind: Kind
    client: str | None
    exported_at: str | None
    """From the operator, the path or the store; None leaves it to the highest cursor."""
    complete: bool
    folder: str
    files: tuple[File, ...]
    settled: bool = True
    """Whether all part files can be taken to have arrived."""
    note: str | None = None


@dataclass(frozen=True, slots=True)
class SkippedExport:
    """An offer that is not taken, and why."""

    offer: Export
    reason: str


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What to take of one table: the first of ``fulls`` that can be read, then ``deltas`` from there on."""

    table: str
    fulls: tuple[Export, ...]
    """Complete ones, newest first; each after the first stands in for those before it."""
    deltas: tuple[Export, ...]
    """Oldest first."""

    def after(self, full: Export | None) -> tuple[list[Export], list[SkippedExport]]:
        """The deltas to take once *full* is in the warehouse, and those passed over."""
        if full is None or full.exported_at is None:
            return list(self.deltas), []
        fresh = [d for d in self.deltas if d.exported_at is None or d.exported_at >= full.exported_at]
        passed = [
            SkippedExport(d, f"older than the full of {full.exported_at[:19]}") for d in self.deltas if d not in fresh
        ]
        return fresh, passed


def one_client(offers: Sequence[Export], client: str | None) -> list[Export]:
    """The offers of *client*, or of the only one there is; ConfigError if that leaves none or several."""
    found = sorted({offer.client for offer in offers if offer.client})
    if client is None:
        if len(found) > 1:
            raise ConfigError(
                f"the folder has exports of several clients: {', '.join(found)}",
                fix="Choose one with --client or the system's CLIENT setting; a second client is a second system",
            )
        return list(offers)
    kept = [offer for offer in offers if offer.client in (client, None)]
    if found and client not in found:
        raise ConfigError(f"the folder has no exports of client {client!r}", fix=f"Choose one of {', '.join(found)}")
    return kept


def load_plans(offers: Iterable[Export], *, everything: bool) -> list[LoadPlan]:
    """One queue for each table. With *everything*, all exports in the order of their times, fulls included."""
    tables: dict[str, list[Export]] = {}
    for offer in offers:
        tables.setdefault(offer.table, []).append(offer)
    return [_queue(table, tables[table], everything) for table in sorted(tables)]


def _queue(table: str, offers: list[Export], everything: bool) -> LoadPlan:
    # At one time the full comes first; exports without a time (``latest``) are the newest there are.
    in_order = sorted(offers, key=lambda o: (o.exported_at is None, o.exported_at or "", o.kind != "full", o.folder))
    if everything:
        return LoadPlan(table, (), tuple(in_order))
    # A full that is not complete is merged as a delta: it cannot stand in for an older one that is.
    fulls = [offer for offer in in_order if offer.complete]
    return LoadPlan(table, tuple(reversed(fulls)), tuple(offer for offer in in_order if not offer.complete))
