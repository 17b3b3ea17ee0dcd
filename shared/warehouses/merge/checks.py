"""Checks of a run as a whole, made on its staged rows before they are merged, in the same transaction."""

from __future__ import annotations

import datetime as dt
import statistics

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from shared.contract.checks import OF_ROWS, Failure, label, rows, settled
from shared.contract.conform import ROW, folded
from shared.declared import Check
from shared.errors import ConfigError, IngestError
from shared.model import Column, Feed, Run, from_text, with_note
from shared.warehouses.merge import ingest
from shared.warehouses.merge.changes import equal, flagged
from shared.warehouses.merge.orphans import are_comparable, leads_nowhere
from shared.warehouses.merge.session import Expression, Session
from shared.warehouses.merge.shape import DELETED, target
from shared.warehouses.merge.types import TEXT

_RUNS = 5
"""So many runs of the same kind tell what is usual."""
_FEWEST = 3
_REFUSALS = {"ProgrammingError", "DataError"}
"""Names that drivers give to errors in a statement."""


def checked(session: Session, feed: Feed, run: Run, columns: Sequence[Column], staged: sa.FromClause) -> Run:
    """*run*, with a note of the checks that failed. DataError if one stops it; ConfigError if one cannot be made."""
    whole = [check for check in feed.checks if check.kind not in OF_ROWS]
    if not whole or run.kind == "keys" or any(key not in staged.c for key in feed.keys):
        return run
    checks = _Checks(session, feed, run, columns, staged)
    failures = [Failure(check, what) for check in whole for what in checks.failing(check)]
    note = settled(feed.name, failures)
    return replace(run, note=with_note(run.note, note)) if note else run


class _Checks:
    def __init__(
        self, session: Session, feed: Feed, run: Run, columns: Sequence[Column], staged: sa.FromClause
    ) -> None:
        self._session, self._feed, self._run, self._columns, self._staged = session, feed, run, columns, staged
        self._alive: Expression = ~flagged(feed, staged.c)

    def failing(self, check: Check) -> Iterator[str]:
        """What is wrong, if anything is."""
        lacking = [name for name in check.columns if name not in self._staged.c]
        if lacking:
            yield f"there is no column {lacking[0]!r}"
            return
        kinds = {
            "unique": self._unique, "refers_to": self._refers_to, "row_count": self._row_count,
            "freshness": self._freshness, "sql": self._sql,
        }  # fmt: skip
        yield from kinds[check.kind](check)

    def _unique(self, check: Check) -> Iterator[str]:
        here, given = self._staged.c, [self._staged.c[name].is_not(None) for name in check.columns]
        own, exact = self._feed.keys, self._session.exact
        parts = {f"c{n}": part for n, part in enumerate(p for name in check.columns for p in exact(here[name]))}
        keys = {f"k{n}": part for n, part in enumerate(p for key in own for p in exact(here[key]))}
        named = (part.label(name) for name, part in {**parts, **keys}.items())
        pairs = sa.select(*named).where(self._alive, *given).distinct().subquery("pairs")
        several = sa.select(*(pairs.c[name] for name in parts)).group_by(*(pairs.c[name] for name in parts))
        number = self._count(several.having(sa.func.count() > 1).subquery("several"))
        number += 0 if self._run.complete else self._stored_with(check)
        if number:
            yield f"{number:,} {'value is' if number == 1 else 'values are'} in several rows"

    def _stored_with(self, check: Check) -> int:
        """How many staged rows have the values of an active row with another key that the run does not bring."""
        stored = self._session.columns(self._feed.system, self._feed.table)
        spelled = {folded(name): name for name in stored}
        names = [*self._feed.keys, *check.columns]
        if DELETED not in stored or any(folded(name) not in spelled for name in names):
            return 0
        t, again = target(self._feed, stored).alias("t"), self._staged.alias("again")
        there = {name: t.c[spelled[folded(name)]] for name in names}
        same = sa.and_(*(self._equal(self._staged.c[name], there[name]) for name in check.columns))
        brought = sa.exists().where(*(self._equal(again.c[key], there[key]) for key in self._feed.keys)).correlate(t)
        pairs = sa.select(self._staged.c[ROW]).select_from(self._staged.join(t, same))
        return self._count(pairs.where(self._alive, t.c[DELETED].is_(None), ~brought).distinct().subquery("pairs"))

    def _equal(self, one: Any, other: Any) -> Expression:
        if are_comparable(one.type, other.type):
            return equal(self._session, one, other)
        return equal(self._session, sa.cast(one, TEXT), sa.cast(other, TEXT))

    def _refers_to(self, check: Check) -> Iterator[str]:
        system, table, key = str(check.references).split(".")
        value = self._staged.c[check.columns[0]]
        lost = leads_nowhere(self._session, str(check.references), value)
        if (system, table) == (self._feed.system, self._feed.table) and key in self._staged.c:
            again = self._staged.alias("again")
            lost &= ~sa.exists().where(self._equal(again.c[key], value)).correlate(self._staged)
        if number := self._number(self._alive, lost):
            yield rows(number)

    def _row_count(self, check: Check) -> Iterator[str]:
        past = (run for run in ingest.runs(self._session, self._feed.name, 50) if run.status == "done")
        alike = [run.read - run.rejected for run in past if run.kind == self._run.kind][:_RUNS]
        usual = statistics.median(alike) if len(alike) >= _FEWEST else 0
        number = self._run.read - self._run.rejected
        low, high = float(check.low or 0), float(check.high or "inf")
        if usual and not low * usual <= number <= high * usual:
            yield f"{number:,} rows, {number / usual:.2g} of the usual {usual:,.0f}"

    def _freshness(self, check: Check) -> Iterator[str]:
        kind = next((column.type for column in self._columns if column.name == self._feed.cursor), None)
        if kind not in ("timestamp", "date"):
            yield "the feed has no cursor that is an instant"
        elif self._run.high is not None:
            age = _instant(self._run.finished or self._run.started) - _instant(self._run.high)
            if age > dt.timedelta(hours=check.hours or 0):
                yield f"the newest row is {age / dt.timedelta(hours=1):,.1f} hours old"

    def _sql(self, check: Check) -> Iterator[str]:
        # The words of whoever wrote the catalog, who may do more than that.
        fails = sa.text(f"NOT ({check.condition})".replace(":", r"\:"))
        failed = sa.select(sa.literal(1).label("one")).select_from(self._staged).where(self._alive, fails)
        try:
            number = self._count(failed.subquery("failed"))
        except IngestError:
            raise
        except Exception as error:
            if not _REFUSALS & {kind.__name__ for kind in type(error).__mro__}:
                raise
            raise ConfigError(
                f"check {label(check)} of {self._feed.name} cannot be made: {str(error).splitlines()[0]}",
                fix="Correct its condition in the catalog: it is SQL of the warehouse over the feed's columns",
            ) from error
        if number:
            yield rows(number)

    def _number(self, *where: Expression) -> int:
        return self._count(sa.select(sa.literal(1).label("one")).select_from(self._staged).where(*where).subquery("n"))

    def _count(self, found: sa.FromClause) -> int:
        return int(self._session.rows(sa.select(sa.func.count()).select_from(found))[0][0])


def _instant(text: str) -> dt.datetime:
    found = from_text(text)
    assert found is not None  # noqa: S101 - it is not empty
    return found
