"""What becomes of a few rows, decided in memory: the rules of docs/tables.md once more, for no staging table. Pure.

They are those of ``changes`` and ``merge``, less what a complete full may do: that needs to see every stored row.
"""

from __future__ import annotations

import datetime as dt

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from shared.warehouses.merge.changes import BY, DELETED, FIRST, SYNCED, Rules
from shared.warehouses.merge.history import no_outcomes

Values: TypeAlias = "Mapping[str, Any]"
Key: TypeAlias = "tuple[Any, ...]"


class Stored(NamedTuple):
    """A row of the feed's table."""

    values: Values
    """By the table's names, our four columns among them."""
    exported: dt.datetime | None
    """When the export it is from was made; None if that is not known."""


class Write(NamedTuple):
    """What is to be done to one row."""

    verb: Literal["insert", "update", "delete"]
    key: Key
    values: Values
    """What is to be in its columns, by the table's names; an update names those it changes, a deletion none."""


class Decided(NamedTuple):
    counts: dict[str, int]
    """By outcome, all but ``rejected``."""
    writes: list[Write]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnNames:
    """How the table names the columns of the run."""

    keys: tuple[str, ...]
    """The run's names of the key's columns."""
    stored: Mapping[str, str]
    """The table's name of each column of the run; it has them all."""

    def key(self, incoming: Values) -> Key:
        return tuple(incoming[name] for name in self.keys)

    def key_of_stored(self, values: Values) -> Key:
        return tuple(values[self.stored[name]] for name in self.keys)

    def content(self, incoming: Values) -> dict[str, Any]:
        """All columns by the table's names. One without a value in the whole run is not in *incoming*: it is NULL."""
        return {stored: incoming.get(name) for name, stored in self.stored.items()}


def by_key(spelling: ColumnNames, stored: Iterable[Stored], wanted: Iterable[Key]) -> dict[Key, Stored] | None:
    """The *stored* rows with just those keys, to the letter; None if a key has several rows.

    A server may find more: for it 'a' equals 'a '.
    """
    expected = set(wanted)
    found = [(spelling.key_of_stored(row.values), row) for row in stored]
    known = {key: row for key, row in found if key in expected}
    return known if len(known) == sum(key in expected for key, _ in found) else None


def decide(
    rules: Rules, run: str, spelling: ColumnNames, known: Mapping[Key, Stored], incoming: Sequence[Values]
) -> Decided:
    """What becomes of *incoming*, in file order, where *known* is stored. *run* is the id for SyncedBy."""
    winners = _winners(rules, spelling, incoming)
    found = [_one(rules, run, spelling, known.get(key), row) for key, row in winners.items()]
    counts = {**no_outcomes(), **Counter(outcome for outcome, _ in found)}
    counts["superseded"] = len(incoming) - len(winners)
    return Decided(counts, [write for _, write in found if write is not None])


def _winners(rules: Rules, spelling: ColumnNames, incoming: Iterable[Values]) -> dict[Key, Values]:
    """One row a key: of several the highest cursor, then the last in file order."""
    best: dict[Key, Values] = {}
    by = rules.feed.cursor or ""
    for row in incoming:
        rival = best.get(spelling.key(row))
        if rival is None or not higher(rival.get(by), row.get(by)):
            best[spelling.key(row)] = row
    return best


def _one(
    rules: Rules, run: str, spelling: ColumnNames, stored: Stored | None, incoming: Values
) -> tuple[str, Write | None]:
    """Its outcome, and what that takes."""
    gone = _gone_at(rules, stored, incoming)
    key, content = spelling.key(incoming), spelling.content(incoming)
    ours = {SYNCED: rules.now, BY: run, DELETED: gone}
    hard = rules.feed.deletes == "hard"
    if stored is None:
        if hard and gone is not None:
            return "unchanged", None  # it was not there, and is not there now
        return "inserted", Write("insert", key, {**content, FIRST: rules.now, **ours})
    outcome = _outcome(rules, spelling, stored, incoming, gone)
    if outcome in ("stale", "unchanged"):
        return outcome, None
    if hard and outcome == "deleted":
        return outcome, Write("delete", key, {})
    keys = {spelling.stored[name] for name in spelling.keys}
    changed = {name: value for name, value in content.items() if name not in keys}
    return outcome, Write("update", key, {**changed, **ours})


def _gone_at(rules: Rules, stored: Stored | None, incoming: Values) -> dt.datetime | None:
    """DeletedAt of the incoming row. What only a late file brings is gone since the full that lacked it."""
    if not incoming.get(rules.feed.deleted or ""):
        return rules.overtaken_by
    cursor = incoming.get(rules.feed.cursor or "")
    if isinstance(cursor, dt.datetime):
        return cursor
    return rules.exported or (stored and stored.values[DELETED]) or rules.now


def _outcome(rules: Rules, spelling: ColumnNames, stored: Stored, incoming: Values, gone: dt.datetime | None) -> str:
    before = stored.values[DELETED]
    if rules.overtaken_by is not None and before is None:
        return "stale"
    if not _wins(rules, spelling, stored, incoming):
        return "stale"
    content = spelling.content(incoming)
    if before == gone and all(_same(stored.values[name], value) for name, value in content.items()):
        return "unchanged"
    return {(False, True): "deleted", (True, False): "undeleted"}.get((before is not None, gone is not None), "updated")


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same, whatever Python says of True and 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _wins(rules: Rules, spelling: ColumnNames, stored: Stored, incoming: Values) -> bool:
    """Newest wins: a higher cursor; or an equal one, and the stored row is not from a later export."""
    by = rules.feed.cursor or ""
    new, old = (incoming.get(by), stored.values[spelling.stored[by]]) if by in spelling.stored else (None, None)
    if higher(new, old):
        return True
    later = rules.exported is not None and stored.exported is not None and stored.exported > rules.exported
    return not higher(old, new) and not later


def higher(one: Any, other: Any) -> bool:
    """Whether cursor *one* is above *other*; NULL is below every value."""
    if one is None or other is None:
        return one is not None and other is None
    a, b = _sortable(one, other), _sortable(other, one)
    return bool(a > b)


def _sortable(value: Any, beside: Any) -> Any:
    """Text as SQL Server sorts it by its characters: in UTF-16, as long as the longer one by blanks at its end."""
    if not isinstance(value, str):
        return value
    units, most = (text.encode("utf-16-be") for text in (value, beside))
    return units + b"\0 " * ((len(most) - len(units)) // 2)
