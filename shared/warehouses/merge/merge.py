"""Bring staged rows into their table, and say what became of each. In SQL every engine here speaks.

First the *changes* are computed into a scratch table: key, row number, outcome and times of each row that will
differ, never its content. All counts come from there. Then they are applied. The caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from shared.contract.conform import ROW
from shared.errors import ONE_ROW_A_KEY, DataError, TransientError
from shared.model import Change, Feed, Plan, Run, Staged, with_note
from shared.warehouses import Limits, Merged
from shared.warehouses.merge import history, ingest, keys, versions, winners
from shared.warehouses.merge.changes import (
    BY,
    DELETED,
    FIRST,
    OUTCOME,
    PLACE,
    SYNCED,
    TIED,
    at,
    changes,
    equal,
    flag_time,
    flagged,
    outcome_is,
)
from shared.warehouses.merge.checks import checked
from shared.warehouses.merge.history import no_outcomes
from shared.warehouses.merge.samples import changed, inserted, with_after
from shared.warehouses.merge.session import Expression, Session
from shared.warehouses.merge.shape import Shape, finish, grow, renew_view
from shared.warehouses.merge.types import DATETIME, TEXT

_CHANGED = ("updated", "deleted", "undeleted")
_ALWAYS_PASS = 10
"""So many absences are published whatever share of the table they are."""


class Merge:
    """One merge of one run, within one transaction."""

    def __init__(
        self, session: Session, plan: Plan, run: Run, limits: Limits, tables: Mapping[str, sa.FromClause]
    ) -> None:
        """*tables* are the staging tables by name, as the session reaches them."""
        self._session, self._feed, self._run, self._limits = session, plan.feed, run, limits
        self._columns, self._tables = plan.columns, tables
        self._past = self._look_back()
        self._rules = history.rules(self._feed, self._run, self._past)

    def __call__(self, staged: Sequence[Staged]) -> Merged:
        before = ingest.find(self._session, self._run.id)
        if before is not None and before.status == "done":
            return Merged(before, ())
        if self._past.client is not None:
            history.refuse_client(self._run, self._past.client)
        self._session.keep([name for part in staged for name in (part.table, part.present) if name])
        self._parts = [self._tables[part.table] for part in staged]
        self._present = [self._tables[part.present] for part in staged if part.present]
        self._long = {name for part in staged for name in part.long}
        self._all = _together(self._parts)
        self._staged = sum(part.rows for part in staged)
        self._run = checked(self._session, self._feed, self._run, self._columns, self._all)
        counts, shown = self._bring_in()
        run = history.done(self._run, self._rules, counts)
        ingest.write(self._session, run, before)
        return Merged(run, shown)

    def _look_back(self) -> history.Past:
        if not self._run.exported_at and self._run.client is None:
            return history.Past(None, None, None, None)
        return history.Past(*self._session.rows(history.looking_back(self._run))[0])

    def _confirm_staged(self, found: int) -> None:
        if found != self._staged:
            raise TransientError(  # nothing is wrong with the data
                f"{self._staged} rows of {self._feed.name} were staged, but {found} are there",
                fix="Another process may be doing the same run: load it again when that process is done",
            )

    def _bring_in(self) -> tuple[dict[str, int], list[Change]]:
        if any(key not in self._all.c for key in self._feed.keys) or self._run.kind == "keys":
            self._confirm_staged(self._number(self._all))
            # A key column without a type has no value: every row was rejected.
            return self._compare_keys() if self._run.kind == "keys" else (no_outcomes(), [])
        before = self._session.columns(self._feed.system, self._feed.table)
        adopted, duplicates = self._adopt(is_new=not before)
        if adopted is not None:
            counted = self._counted_as_inserted(adopted)
            self._versions(Shape(adopted, {name: name for name in adopted.c.keys()}, ()), is_first=True)  # noqa: SIM118
            return counted
        shape = grow(self._session, self._feed, self._columns, self._run.files, before)
        if self._session.widen_text(shape.table, shape.stored, self._long):
            renew_view(self._session, shape)
        self._session.hold(shape.table, [shape.stored[key] for key in self._feed.keys])
        incoming, superseded = self._all, 0
        if duplicates is not None:
            incoming, superseded = winners.winners(self._session, self._feed, self._all, duplicates)
        found, outcomes = self._compute(shape, incoming)
        counts = self._count(outcomes, superseded)
        self._check_limits(counts["absent"], shape.table)
        shown = changed(self._session, self._feed, found, shape) if self._limits.dry_run else []
        kept = self._versions(shape)
        self._apply(found, shape, counts)
        if kept is not None:
            has_older = counts["superseded"] or counts["stale"] or self._rules.overtaken_by is not None
            kept.follow(found, self._all if has_older else None)
        return counts, with_after(self._session, shown, shape)

    def _versions(self, shape: Shape, *, is_first: bool = False) -> versions.Versions | None:
        """The versions of rows, if the feed keeps them."""
        if not self._feed.history or not self._session.keeps_versions:
            return None
        return versions.prepare(self._session, self._rules, shape, self._run.id, is_first=is_first)

    # -- a first load: the staging table becomes the target

    def _adopt(self, *, is_new: bool) -> tuple[sa.Table | None, sa.Table | None]:
        """The table, if staging became it, else keys that several staged rows have, see ``_duplicates``."""
        is_new = is_new and self._rules.overtaken_by is None
        if is_new and self._session.has_unique_keys:  # making the index takes less than looking for duplicates
            adopted = self._session.try_unique(self._become)
            return adopted, self._duplicates() if adopted is None else None
        duplicates = self._duplicates()
        return self._become() if is_new and duplicates is None else None, duplicates

    def _become(self) -> sa.Table | None:
        first, *others = self._parts
        if not self._session.adopt(first, self._feed.system, self._feed.table):
            return None
        ours = {FIRST: self._rules.now, SYNCED: self._rules.now, BY: self._run.id}
        target = finish(self._session, self._feed, ours, drop=ROW)
        names = [column.name for column in first.c if column.name != ROW]
        for part in others:
            ours_now = (at(self._rules.now), at(self._rules.now), sa.literal(self._run.id))
            rows = sa.select(*(part.c[name] for name in names), *ours_now)
            self._session.change(sa.insert(target).from_select([*names, *ours], rows))
        return target

    def _counted_as_inserted(self, target: sa.Table) -> tuple[dict[str, int], list[Change]]:
        flag, gone = flagged(self._feed, target.c), 0
        if self._feed.deletes == "hard":
            gone = self._session.change(sa.delete(target).where(flag))
        else:
            known = [at(time) for time in (self._rules.exported, self._rules.now) if time]
            since = flag_time(self._feed, target.c, *known)
            self._session.change(sa.update(target).where(flag).values({DELETED: since}))
        shown = inserted(self._session, target) if self._limits.dry_run else []
        stored = self._number(target)
        self._confirm_staged(stored + gone)
        return {**no_outcomes(), "inserted": stored, "unchanged": gone}, shown

    # -- keys alone: what they lack is gone

    def _compare_keys(self) -> tuple[dict[str, int], list[Change]]:
        """Every key that was read is ``unchanged``, whether its row is here or not."""
        read = {**no_outcomes(), "unchanged": self._run.read - self._run.rejected}
        table = keys.find_table(self._session, self._feed, self._columns)
        self._note_strangers(table)
        if table is None or not self._rules.full:
            return read, []
        staged = [*self._parts, *self._present]
        found = self._scratch_changes(table.shape, keys.absences(self._session, self._rules, table, staged))
        counts = {**read, "absent": self._number(found)}
        self._check_limits(counts["absent"], table.shape.table)
        shown = changed(self._session, self._feed, found, table.shape) if self._limits.dry_run else []
        self._expose(found, table.shape)
        kept = self._versions(table.shape)
        self._delete_absent(found, table.shape, counts["absent"])
        if kept is not None:
            kept.follow(found, None)
        return counts, with_after(self._session, shown, table.shape)

    def _note_strangers(self, table: keys.KeyedTable | None) -> None:
        if table is None:
            missing, deleted = self._number(self._all), 0
        else:
            missing, deleted = self._session.rows(keys.strangers(self._session, self._rules, table, self._all))[0]
        if self._feed.deletes == "hard" and self._feed.deleted:
            missing = 0  # rows with the flag are not stored, and nothing here says which they are
        text = keys.note(missing, deleted)
        if text:
            self._run = replace(self._run, note=with_note(self._run.note, text))

    # -- any other load: compute the changes, then apply them

    def _duplicates(self) -> sa.Table | None:
        """The keys that more than one staged row has, or None if every row has its own. TransientError if some lack."""
        rows, most = winners.most_of_a_key(self._session, self._feed, self._all)
        self._confirm_staged(rows)
        return winners.several(self._session, self._feed, self._all) if most > 1 else None

    def _compute(self, shape: Shape, incoming: sa.FromClause) -> tuple[sa.Table, dict[str, int]]:
        """The changes, and how many there are of each outcome."""
        # A full mostly repeats what is stored; a delta often has nothing but news.
        rules = replace(self._rules, compare=self._run.kind == "full" or self._rules.full)
        found = self._scratch_changes(shape, changes(self._session, rules, shape, incoming, self._present))
        outcomes = self._outcomes(found)
        if TIED not in outcomes:
            return found, outcomes
        tied = sa.exists().where(found.c[ROW] == incoming.c[ROW], outcome_is(found, TIED))
        again = sa.select(incoming).where(tied).subquery("tied")
        compared = changes(self._session, replace(rules, compare=True), shape, again, self._present)
        names = [column.name for column in found.c]
        self._session.change(sa.insert(found).from_select(names, compared))
        self._session.change(sa.delete(found).where(outcome_is(found, TIED)))
        return found, self._outcomes(found)

    def _scratch_changes(self, shape: Shape, query: sa.Select[Any]) -> sa.Table:
        columns = [
            sa.Column(ROW, sa.BigInteger),
            *(sa.Column(key, shape.table.c[shape.stored[key]].type) for key in self._feed.keys),
            sa.Column(OUTCOME, TEXT),
            sa.Column(FIRST, DATETIME),
            sa.Column(DELETED, DATETIME),
            *(sa.Column(PLACE, column.type) for column in query.selected_columns if column.name == PLACE),
        ]
        table = self._session.scratch("changes", columns)
        # A heap of tempdb: with its lock, SQL Server fills it in parallel, and logs but its pages.
        insert = sa.insert(table).with_hint("WITH (TABLOCK)", dialect_name="mssql")
        self._session.change(insert.from_select([column.name for column in columns], query))
        return table

    def _outcomes(self, found: sa.Table) -> dict[str, int]:
        """Rows of each outcome. DataError if a row meets two stored ones.

        It would be counted twice, and another row not at all: the sum alone agrees.
        """
        row = found.c[ROW]
        again = sa.select((sa.func.count(row) - sa.func.count(row.distinct())).label("several"))
        again_rows = again.where(sa.not_(outcome_is(found, "inserted", "absent"))).subquery("again")
        several_rows = sa.func.max(again_rows.c.several)
        joined = found.join(again_rows, sa.literal(1) == 1)
        kinds = (
            sa.select(found.c[OUTCOME], sa.func.count(), several_rows).select_from(joined).group_by(found.c[OUTCOME])
        )
        rows = self._session.rows(kinds)
        several = rows[0][2] if rows else 0
        if several:
            raise DataError(
                f"the outcomes of {self._feed.name} do not add up to {self._run.read} rows: "
                f"{several} rows of its table have the same key as another row",
                fix=ONE_ROW_A_KEY,
            )
        return {outcome: number for outcome, number, _ in rows}

    def _count(self, outcomes: Mapping[str, int], superseded: int) -> dict[str, int]:
        counts = {**no_outcomes(), **outcomes, "superseded": superseded}
        accepted = self._run.read - self._run.rejected
        unchanged = accepted - sum(n for outcome, n in counts.items() if outcome != "absent")
        return {**counts, "unchanged": unchanged}

    def _check_limits(self, absent: int, target: sa.Table) -> None:
        if absent <= _ALWAYS_PASS:
            return
        active = self._number(target, target.c[DELETED].is_(None))
        if absent > self._limits.max_delete_share * active:
            what = "source" if self._run.kind == "keys" else "full"
            raise DataError(
                f"the {what} lacks {absent:,} of the {active:,} active rows of {self._feed.name}, "
                f"more than the share of {self._limits.max_delete_share:g}",
                fix="If that is right, load it with --max-delete-share 1, or run the feed with max_delete_share 1",
            )

    def _apply(self, found: sa.Table, shape: Shape, counts: Mapping[str, int]) -> None:
        self._session.filled(found)
        self._expose(found, shape)
        if self._session.changes_by == "replace" and not shape.kept:
            self._replace(found, shape, counts)
        else:
            self._update(found, shape, counts)
        self._delete_absent(found, shape, counts["absent"])

    def _expose(self, found: sa.Table, shape: Shape) -> None:
        outcomes = (*_CHANGED, "absent", *(["stale"] if self._limits.dry_run else []))  # stale ones are only shown

        def touched(rows: sa.FromClause) -> sa.ColumnElement[bool]:
            return outcome_is(found, *outcomes) & self._same_key(rows, found, shape)

        self._session.expose(shape.table, touched)

    def _delete_absent(self, found: sa.Table, shape: Shape, absent: int) -> None:
        if not absent:
            return
        target = shape.table
        here = outcome_is(found, "absent") & self._same_key(target, found, shape)
        if self._feed.deletes == "hard":
            touched = self._session.change(sa.delete(target).where(here))
        else:
            values = {DELETED: found.c[DELETED], SYNCED: self._rules.now, BY: self._run.id}
            touched = self._session.change(sa.update(target).where(here).values(values))
        _expect(touched, absent, self._feed)

    def _replace(self, found: sa.Table, shape: Shape, counts: Mapping[str, int]) -> None:
        gone = outcome_is(found, *_CHANGED) & self._same_key(shape.table, found, shape)
        _expect(self._session.change(sa.delete(shape.table).where(gone)), _sum(counts, _CHANGED), self._feed)
        self._insert(found, shape, counts, ("inserted", *self._stay()))

    def _delete(self, found: sa.Table, shape: Shape, counts: Mapping[str, int]) -> None:
        """Where deletions are hard, the rows that are deleted."""
        if self._feed.deletes == "hard":
            gone = outcome_is(found, "deleted") & self._same_key(shape.table, found, shape)
            _expect(self._session.change(sa.delete(shape.table).where(gone)), counts["deleted"], self._feed)

    def _update(self, found: sa.Table, shape: Shape, counts: Mapping[str, int]) -> None:
        target = shape.table
        self._delete(found, shape, counts)
        content = self._content(shape)
        rows = sa.select(*(column.label(name) for name, column in content.items()), self._all.c[ROW]).subquery("rows")
        here = outcome_is(found, *self._stay()) & self._same_key(target, found, shape) & (rows.c[ROW] == found.c[ROW])
        values = {name: rows.c[name] for name in content if name not in self._stored_keys(shape)}
        ours = {DELETED: found.c[DELETED], SYNCED: self._rules.now, BY: self._run.id}
        touched = self._session.change(sa.update(target).where(here).values({**values, **ours}))
        _expect(touched, _sum(counts, self._stay()), self._feed)
        self._insert(found, shape, counts, ("inserted",))

    def _insert(self, found: sa.Table, shape: Shape, counts: Mapping[str, int], outcomes: Sequence[str]) -> None:
        names, rows = self._new_rows(found, shape, outcomes)
        touched = self._session.insert(shape.table, names, rows)
        _expect(touched, _sum(counts, outcomes), self._feed)

    def _new_rows(self, found: sa.Table, shape: Shape, outcomes: Sequence[str]) -> tuple[list[str], sa.Select[Any]]:
        """What rows with one of *outcomes* are to be, and the names of their columns."""
        content = self._content(shape)
        ours = [
            found.c[FIRST],
            at(self._rules.now).label(SYNCED),
            sa.literal(self._run.id).label(BY),
            found.c[DELETED],
        ]
        rows = sa.select(*content.values(), *ours).where(self._all.c[ROW] == found.c[ROW], outcome_is(found, *outcomes))
        return [*content, FIRST, SYNCED, BY, DELETED], rows

    def _stay(self) -> tuple[str, ...]:
        """The outcomes whose rows are in the table afterwards, with new content."""
        return _CHANGED if self._feed.deletes == "soft" else ("updated", "undeleted")

    def _content(self, shape: Shape) -> dict[str, Expression]:
        """What to store in each column of the table that the run has, by the table's name for it."""
        return {
            stored: self._all.c[name] if name in self._all.c else sa.cast(sa.null(), shape.table.c[stored].type)
            for name, stored in shape.stored.items()
        }

    def _same_key(self, target: sa.FromClause, found: sa.Table, shape: Shape) -> sa.ColumnElement[bool]:
        """Whether a row of *found* is of a stored row; in its place, where that is known."""
        pairs = ((target.c[shape.stored[key]], found.c[key]) for key in self._feed.keys)
        place = self._session.place(target) if PLACE in found.c else None
        there = [] if place is None else [place == found.c[PLACE]]
        return sa.and_(*there, *(equal(self._session, stored, key) for stored, key in pairs))

    def _stored_keys(self, shape: Shape) -> set[str]:
        return {shape.stored[key] for key in self._feed.keys}

    def _number(self, rows: sa.FromClause, *where: sa.ColumnElement[bool]) -> int:
        return int(self._session.rows(sa.select(sa.func.count()).select_from(rows).where(*where))[0][0])


def _together(parts: Sequence[sa.FromClause]) -> sa.FromClause:
    if len(parts) == 1:
        return parts[0]
    return sa.union_all(*(sa.select(*part.c) for part in parts)).subquery("parts")


def _expect(touched: int, counted: int, feed: Feed) -> None:
    if touched != counted:
        raise DataError(
            f"rows in the table of {feed.name} have the same key ({', '.join(feed.keys)}), or none: "
            f"{counted} should have changed, but {touched} would",
            fix=ONE_ROW_A_KEY,
        )


def _sum(counts: Mapping[str, int], outcomes: Sequence[str]) -> int:
    return sum(counts[outcome] for outcome in outcomes)
