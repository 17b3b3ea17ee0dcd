"""Which exports of a folder to load, in which order. Pure.

A single export is loaded as it is. Of many, each table gets its newest full and every delta exported after it, in
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
    """From the operator, the path or the store. None: the run takes the highest cursor instead."""
    complete: bool
    folder: str
    files: tuple[File, ...]
    settled: bool = True
    """Whether all part files can be taken to have arrived."""
    note: str | None = None


@dataclass(frozen=True, slots=True)
class SkippedExport:
    """An export that is not loaded, and why."""

    export: Export
    reason: str


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What to load of one table: the first of ``fulls`` that can be merged, then the ``deltas`` after it."""

    table: str
    fulls: tuple[Export, ...]
    """Complete ones, newest first; each is loaded only if those before it fail."""
    deltas: tuple[Export, ...]
    """Oldest first."""

    def after(self, full: Export | None) -> tuple[list[Export], list[SkippedExport]]:
        """The deltas to load once *full* is merged, and those it supersedes."""
        if full is None or full.exported_at is None:
            return list(self.deltas), []
        fresh = [d for d in self.deltas if d.exported_at is None or d.exported_at >= full.exported_at]
        reason = f"superseded by the full export of {full.exported_at[:19]}"
        return fresh, [SkippedExport(delta, reason) for delta in self.deltas if delta not in fresh]


def one_client(exports: Sequence[Export], client: str | None) -> list[Export]:
    """The exports of *client*, or of the only one found; ConfigError if that leaves none or several."""
    found = sorted({export.client for export in exports if export.client})
    if client is None:
        if len(found) > 1:
            raise ConfigError(
                f"the folder has exports of several clients: {', '.join(found)}",
                fix="Choose one with --client or the system's CLIENT setting; a second client is a second system",
            )
        return list(exports)
    if found and client not in found:
        raise ConfigError(f"the folder has no exports of client {client!r}", fix=f"Choose one of {', '.join(found)}")
    return [export for export in exports if export.client in (client, None)]


def load_plans(exports: Iterable[Export], *, everything: bool) -> list[LoadPlan]:
    """One plan for each table. With *everything*, all exports in the order of their times, fulls included."""
    tables: dict[str, list[Export]] = {}
    for export in exports:
        tables.setdefault(export.table, []).append(export)
    return [_load_plan(table, tables[table], everything) for table in sorted(tables)]


def _load_plan(table: str, exports: list[Export], everything: bool) -> LoadPlan:
    # At equal times the full comes first; exports without a time (``latest``) are the newest there are.
    in_order = sorted(exports, key=lambda e: (e.exported_at is None, e.exported_at or "", e.kind != "full", e.folder))
    if everything:
        return LoadPlan(table, (), tuple(in_order))
    # A full that is not complete is merged as a delta: it cannot replace an older one that is.
    fulls = [export for export in in_order if export.complete]
    return LoadPlan(table, tuple(reversed(fulls)), tuple(export for export in in_order if not export.complete))
