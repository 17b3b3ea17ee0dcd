"""What a merged table must hold after each load, said again in plain Python: rows in a dictionary, rule after rule.

Written from the rules for merged tables, not from the SQL that carries them out, and as plainly as they are stated.
"""

from __future__ import annotations

import copy
import datetime as dt

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.model import OUTCOMES

FIRST, SYNCED, BY, DELETED = "FirstSyncAt", "SyncedAt", "SyncedBy", "DeletedAt"

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is known of a feed."""

    key: str
    cursor: str | None
    deleted: str | None
    hard: bool = False
    ahead: dt.timedelta = dt.timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Export:
    """One file: what it claims to be, when it says it was exported, and its rows in order."""

    kind: str
    exported_at: dt.datetime | None
    """None: the path does not say."""
    columns: tuple[str, ...]
    """Columns with a type; one without any (all NULL) is in ``untyped``."""
    rows: Sequence[Mapping[str, Any]]
    untyped: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A run that was merged."""

    run: str
    exported_at: dt.datetime | None
    complete: bool


@dataclass
class Table:
    """A merged table with the history of its runs."""

    rules: Rules
    columns: list[str] = field(default_factory=list)
    rows: dict[Any, Row] = field(default_factory=dict)
    history: dict[str, Taken] = field(default_factory=dict)

    def copy(self) -> Table:
        return copy.deepcopy(self)

    def merge(self, run: str, export: Export, now: dt.datetime) -> tuple[dict[str, int], Taken]:
        """Take *export* as *run* at the time *now*: the number of rows by outcome, and the run as history keeps it."""
        counts = dict.fromkeys((*OUTCOMES, "absent"), 0)
        accepted, rejected = self._judged(export, now)
        counts["rejected"] = len(rejected)
        taken = self._taken(run, export, accepted, rejected)
        late_for = self._late_for(taken)
        repairs = taken.complete and late_for is None
        self.columns += [name for name in export.columns if name not in self.columns]
        winners = self._winners(accepted)
        counts["superseded"] = len(accepted) - len(winners)
        before = {key: dict(row) for key, row in self.rows.items()}
        for key, row in winners.items():
            counts[self._bring(key, row, taken, now, late_for, repairs)] += 1
        if repairs:
            here = {row[self.rules.key] for row in (*accepted, *rejected)}
            counts["absent"] = self._bury(before, here, taken, now)
        self.history[run] = taken
        return counts, taken

    # -- what is read, and what the run is

    def _judged(self, export: Export, now: dt.datetime) -> tuple[list[Row], list[Row]]:
        """Rows that can be taken, and those that cannot: no key, or a cursor of the future."""
        latest = (export.exported_at or now) + self.rules.ahead
        accepted: list[Row] = []
        rejected: list[Row] = []
        for row in export.rows:
            cursor = self._cursor(row)
            future = isinstance(cursor, dt.datetime) and cursor > latest
            (rejected if row[self.rules.key] is None or future else accepted).append(dict(row))
        return accepted, rejected

    def _taken(self, run: str, export: Export, accepted: Sequence[Row], rejected: Sequence[Row]) -> Taken:
        keyless = any(row[self.rules.key] is None for row in rejected)
        complete = export.kind == "full" and export.exported_at is not None and not keyless
        highest = max((c for row in accepted if isinstance(c := self._cursor(row), dt.datetime)), default=None)
        return Taken(run=run, exported_at=export.exported_at or highest, complete=complete)

    def _late_for(self, taken: Taken) -> dt.datetime | None:
        """Time of the earliest complete full exported after this file that is merged already."""
        times = [
            t.exported_at for t in self.history.values() if t.complete and _before(taken.exported_at, t.exported_at)
        ]
        return min((time for time in times if time), default=None)

    def _winners(self, rows: Sequence[Row]) -> dict[Any, Row]:
        """Of several rows with a key, the one with the highest cursor, then the last."""
        best: dict[Any, Row] = {}
        for row in rows:
            rival = best.get(row[self.rules.key])
            if rival is None or not self._higher(rival, row):
                best[row[self.rules.key]] = row
        return best

    # -- one row

    def _bring(
        self, key: Any, row: Row, taken: Taken, now: dt.datetime, late_for: dt.datetime | None, repairs: bool
    ) -> str:
        stored = self.rows.get(key)
        gone = self._gone_at(row, stored, taken, now, late_for)
        if stored is None:
            if gone is not None and self.rules.hard:
                return "unchanged"  # it was not there, and is not there now
            self.rows[key] = {**row, FIRST: now, SYNCED: now, BY: taken.run, DELETED: gone}
            return "inserted"
        active_and_late = late_for is not None and stored[DELETED] is None
        if active_and_late or not self._wins(row, stored, taken, repairs):
            return "stale"
        after = {**stored, **row, DELETED: gone}
        if all(stored.get(name) == value for name, value in after.items()):
            return "unchanged"
        if gone is not None and self.rules.hard:
            del self.rows[key]
            return "deleted"
        self.rows[key] = {**after, SYNCED: now, BY: taken.run}
        was_dead, is_dead = stored[DELETED] is not None, gone is not None
        return {(False, True): "deleted", (True, False): "undeleted"}.get((was_dead, is_dead), "updated")

    def _gone_at(
        self, row: Row, stored: Row | None, taken: Taken, now: dt.datetime, late_for: dt.datetime | None
    ) -> dt.datetime | None:
        if not (self.rules.deleted and row[self.rules.deleted]):
            return late_for
        cursor = self._cursor(row)
        if isinstance(cursor, dt.datetime):
            return cursor
        # Neither cursor nor export tell the time: a row that is dead already stays dead since then.
        return taken.exported_at or (stored and stored[DELETED]) or now

    def _wins(self, row: Row, stored: Row, taken: Taken, repairs: bool) -> bool:
        from_export = self.history[stored[BY]].exported_at
        # A row from an unknown time cannot be shown to be what a later export brought, and after a full that repairs
        # the table is the full and that.
        if repairs and (from_export is None or _before(from_export, taken.exported_at)):
            return True
        if self._higher(row, stored):
            return True
        return not self._higher(stored, row) and not _before(taken.exported_at, from_export)

    # -- rows that are not there

    def _bury(self, before: Mapping[Any, Row], here: set[Any], taken: Taken, now: dt.datetime) -> int:
        lacking = [
            key
            for key, row in before.items()
            if key not in here
            and row[DELETED] is None
            and not _before(taken.exported_at, self.history[row[BY]].exported_at)
        ]
        for key in lacking:
            if self.rules.hard:
                del self.rows[key]
            else:
                self.rows[key] = {**self.rows[key], DELETED: taken.exported_at, SYNCED: now, BY: taken.run}
        return len(lacking)

    # -- order

    def _cursor(self, row: Mapping[str, Any]) -> Any:
        return row.get(self.rules.cursor) if self.rules.cursor else None

    def _higher(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """NULL is below every value."""
        a, b = self._cursor(one), self._cursor(other)
        return a is not None and (b is None or a > b)


def _before(one: dt.datetime | None, other: dt.datetime | None) -> bool:
    """Equal times, and unknown ones, are neither before nor after each other."""
    return one is not None and other is not None and one < other
