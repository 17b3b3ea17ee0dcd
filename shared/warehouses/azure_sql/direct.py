"""A few rows straight into their table on SQL Server: one batch reads what is stored, one writes what is decided.

A batch with parameters runs as a procedure, and SQL Server refuses one that ends with more or fewer transactions open
than it began with (error 266). So no transaction spans the two. The first takes no lock; the second takes the feed's,
writes only if no run has been merged since the first one looked, and commits. Where one has, all is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from shared.contract import types
from shared.errors import ONE_ROW_A_KEY, DataError
from shared.model import Feed, Plan, Run, Staged
from shared.mssql import errors
from shared.warehouses import Merged
from shared.warehouses.azure_sql import tsql
from shared.warehouses.azure_sql.session import MSSQLSession, column_types, describe, said
from shared.warehouses.merge import history, ingest, shape
from shared.warehouses.merge.changes import BY, equal
from shared.warehouses.merge.in_memory import Key, Stored, Values, Write
from shared.warehouses.merge.session import Expression, Row
from shared.warehouses.merge.types import whole
from shared.warehouses.server import few_rows
from shared.warehouses.server.few_rows import Decision, Fitting, Found

Text: TypeAlias = "tuple[str, list[Any]]"
_MOST_PARAMETERS = 2_000
"""SQL Server takes 2,100, some of which the driver wants for itself."""
_LOOKS = 3
_UNLIKE = frozenset([206, 207, 241, 245, 402, 8114, 8115])
"""The table lacks the key, or has it in a type that does not go with the run's: the ordinary merge says what to do."""
_THROWN = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Locking:
    """How the feed's table is locked."""

    resource: str
    timeout: float
    """Seconds."""
    check: Callable[[int], None]
    """Raises what has to be raised for what sp_getapplock returned."""


class Seen(NamedTuple):
    """What the first batch found."""

    merged: int
    """Runs of the feed in history, by which the second sees whether there is another one."""
    found: Found
    described: list[Row]


def merge(session: MSSQLSession, plan: Plan, staged: Sequence[Staged], run: Run, locking: Locking) -> Merged | None:
    """Merge the rows that came inline, in a transaction of its own; None, nothing done, if it takes a staging table."""
    incoming = few_rows.incoming_rows(plan.feed, staged)
    for _ in range(_LOOKS):
        seen = _look(session, plan, run, incoming, locking)
        if seen is None:
            return None
        fit = _fitting(plan, incoming, seen.described)
        decision = few_rows.decided(plan, run, incoming, seen.found, fit)
        if not isinstance(decision, Decision):
            return decision
        assert fit is not None  # noqa: S101 - there is no decision without
        batch = _writing(session, fit, decision.writes, decision.run, seen.merged, locking)
        if len(batch[1]) > _MOST_PARAMETERS:
            return None
        if _write(session, batch, seen.merged, decision.run, locking):
            return Merged(decision.run, ())
    return None  # others merge all the time: the ordinary way waits for its turn


# -- the first batch


def _look(session: MSSQLSession, plan: Plan, run: Run, incoming: Sequence[Values], locking: Locking) -> Seen | None:
    feed, kinds = plan.feed, {column.name: column.type for column in plan.columns}
    if any(kinds[key] == types.NULL for key in feed.keys):
        return None  # every row was rejected
    parts: list[Text] = [
        said(_merged(run)),  # first, so that whatever comes after it is noticed
        said(ingest.finding(run.id)),
        said(history.overtaking(run)),
        said(history.other_clients(run)),
        (describe(feed.system, feed.table), []),
        *_stored(session, feed, run, {key: kinds[key] for key in feed.keys}, incoming),
    ]
    text, parameters = _batch(tsql.wait_at_most(locking.timeout), *parts)
    if len(parameters) > _MOST_PARAMETERS:
        return None
    try:
        results = session.batch(text, parameters)
    except Exception as error:
        if errors.number(error) in _UNLIKE:
            return None
        raise
    merged, before, late, client, described, *stored = results
    return Seen(
        merged=merged.rows[0][0],
        described=described.rows,
        found=Found(
            before=ingest.as_run(before.rows[0]) if before.rows else None,
            late=late.rows[0][0],
            client=client.rows[0][0] if client.rows and run.client is not None else None,
            stored=[
                Stored(dict(zip(names, row[:-1], strict=False)), row[-1]) for names, rows in stored for row in rows
            ],
        ),
    )


def _merged(run: Run) -> sa.Select[Any]:
    old = ingest.RUN.c
    return sa.select(sa.func.count()).where(old.feed == run.feed, old.status == "done")


def _stored(
    session: MSSQLSession, feed: Feed, run: Run, kinds: dict[str, str], incoming: Sequence[Values]
) -> Iterator[Text]:
    """All columns of the rows with the keys of *incoming*, and when the exports were made that they are from."""
    if not incoming:
        return
    table = shape.target(feed, {**kinds, BY: shape.OUR_TYPES[BY]}).alias("t")
    old = ingest.RUN.c
    # An aggregate, as a row must not come twice whatever is in the history.
    exported = sa.select(sa.func.max(old.exported_at)).where(
        old.id == table.c[BY], old.feed == run.feed, old.status == "done"
    )
    keys = dict.fromkeys(tuple(row[key] for key in feed.keys) for row in incoming)
    here = sa.or_(*(_same(session, table, feed.keys, key) for key in keys))
    text, parameters = said(
        sa.select(sa.literal_column("[t].*"), exported.scalar_subquery().label("_sluice_exported"))
        .select_from(table)
        .where(here)
    )
    yield f"IF OBJECT_ID({tsql.text(tsql.name(feed.system, feed.table))}) IS NOT NULL {text}", parameters


# -- in between


def _fitting(plan: Plan, incoming: Sequence[Values], described: Sequence[Row]) -> Fitting | None:
    """None if the table is missing, or would have to change for this run."""
    fit = few_rows.fitting(plan, column_types(plan.feed.system, plan.feed.table, described))
    if fit is None:
        return None
    lengths = {row[0]: row[4] for row in described}
    fits = (_fits(row.get(name), lengths[column]) for row in incoming for name, column in fit.spelling.stored.items())
    return fit if all(fits) else None


def _fits(value: Any, most: int | None) -> bool:
    """Whether a text of UTF-16 units, or bytes, fits a column of length *most*; -1 or None for no limit."""
    if most is None or most < 0 or not isinstance(value, str | bytes):
        return True
    return len(value if isinstance(value, bytes) else value.encode("utf-16-le")) <= most * (1 + isinstance(value, str))


# -- the second batch


def _writing(
    session: MSSQLSession, fit: Fitting, writes: Sequence[Write], run: Run, merged: int, locking: Locking
) -> Text:  # fmt: skip
    count, of_feed = said(_merged(run))
    changes = [part for statement, rows in _changes(session, fit, writes) for part in _exactly(statement, rows)]
    text, parameters = _batch(*changes, *map(said, ingest.writing(run)), tsql.COMMIT)
    return (
        f"{tsql.begin(locking.timeout)}; {tsql.applock(locking.resource, locking.timeout)};"
        f" DECLARE @merged bigint = ({count}); SELECT @merged;"
        f" IF @taken IN (0, 1) AND @merged = {int(merged)} BEGIN {text}; END ELSE {tsql.ROLLBACK}",
        [*of_feed, *parameters],
    )


def _changes(
    session: MSSQLSession, fit: Fitting, writes: Sequence[Write]
) -> Iterator[tuple[sa.Update | sa.Delete | sa.Insert, int]]:
    """Statements, and how many rows each has to touch."""
    table, keys = fit.table, [fit.spelling.stored[key] for key in fit.spelling.keys]
    for write in writes:
        if write.verb == "delete":
            yield sa.delete(table).where(_same(session, table, keys, write.key)), 1
        elif write.verb == "update":
            yield sa.update(table).where(_same(session, table, keys, write.key)).values(_values(table, write)), 1
    new = [write for write in writes if write.verb == "insert"]
    if new:
        yield _insertion(table, new), len(new)


def _write(session: MSSQLSession, batch: Text, merged: int, run: Run, locking: Locking) -> bool:
    """Whether it was written: not if another run came first."""
    try:
        taken, now_merged = (result.rows[0][0] for result in session.batch(*batch))
    except Exception as error:
        if errors.number(error) != _THROWN:
            raise
        raise DataError(
            f"a row of {run.feed} that should change does not exist exactly once", fix=ONE_ROW_A_KEY
        ) from error
    locking.check(taken)
    return bool(now_merged == merged)


def _exactly(statement: sa.ClauseElement, rows: int) -> tuple[Text, str]:
    refused = f"IF @@ROWCOUNT <> {rows} THROW {_THROWN}, N'other rows than those found', 1"
    return said(statement), refused


def insert(session: MSSQLSession, table: sa.Table, rows: Sequence[Values]) -> None:
    """Insert *rows* into *table* as the direct method does, within the session's transaction."""
    writes = [Write("insert", (), row) for row in rows]
    session.batch(*_batch(said(_insertion(table, writes))))


# -- pieces of statements


def _insertion(table: sa.Table, writes: Sequence[Write]) -> sa.Insert:
    return sa.insert(table).values([_values(table, write) for write in writes])


def _batch(*parts: Text | str) -> Text:
    """Statements one after the other."""
    pieces = [(part, []) if isinstance(part, str) else part for part in parts]
    return "; ".join(text for text, _ in pieces), [value for _, parameters in pieces for value in parameters]


def _same(session: MSSQLSession, table: Any, names: Sequence[str], key: Key) -> Expression:
    """Whether a row has *key*, to the letter."""
    pairs = zip((table.c[name] for name in names), key, strict=True)
    return sa.and_(*(equal(session, column, _value(column, value)) for column, value in pairs))


def _values(table: sa.Table, write: Write) -> dict[str, Expression]:
    return {name: _value(table.c[name], value) for name, value in write.values.items()}


def _value(column: sa.Column[Any], value: Any) -> Expression:
    """With its type: SQLAlchemy would call a bare parameter by its column's name."""
    return sa.type_coerce(whole(value, column.type), column.type)
