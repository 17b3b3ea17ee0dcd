"""A few rows straight into their table on PostgreSQL: one statement reads history, one what is stored, one writes.

All in one transaction, under the feed's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from psycopg import errors
from sqlalchemy.dialects import postgresql

from shared.contract import types
from shared.errors import ONE_ROW_A_KEY, DataError
from shared.model import SYSTEM_COLUMNS, Plan, Run, Staged
from shared.warehouses import Merged
from shared.warehouses.merge import history, ingest
from shared.warehouses.merge.changes import BY, FIRST, SYNCED, equal
from shared.warehouses.merge.in_memory import Key, Stored, Values, Write
from shared.warehouses.merge.session import Expression
from shared.warehouses.postgres.session import PostgresSession, column_types, describing
from shared.warehouses.server import few_rows
from shared.warehouses.server.few_rows import Decision, Fitting, Found


class _Past(NamedTuple):
    """What history and the catalog say."""

    found: Found
    kinds: Mapping[str, str]
    """Column types of the feed's table, by name; empty if there is none."""


def merge(session: PostgresSession, plan: Plan, staged: Sequence[Staged], run: Run) -> Merged | None:
    """Merge the rows that came inline within the session's transaction; None, nothing to keep, if it takes a table."""
    feed, kinds = plan.feed, {column.name: column.type for column in plan.columns}
    if any(kinds[key] == types.NULL for key in feed.keys):
        return None  # every row was rejected
    if kinds.get(feed.cursor or "") == "text":
        return None  # its order in memory is SQL Server's
    incoming = few_rows.incoming_rows(feed, staged)
    past = _past(session, plan, run)
    fit = few_rows.fitting(plan, past.kinds)
    stored = _stored(session, run, fit, incoming) if fit and incoming else []
    decision = few_rows.decided(plan, run, incoming, past.found._replace(stored=stored), fit)
    if not isinstance(decision, Decision):
        return decision
    assert fit is not None  # noqa: S101 - there is no decision without
    try:
        _write(session, fit, decision)
    except errors.InvalidColumnReference:
        return None  # something has dropped the index on the keys, which the ordinary merge makes again
    return Merged(decision.run, ())


def _past(session: PostgresSession, plan: Plan, run: Run) -> _Past:
    feed, one = plan.feed, sa.select(sa.literal(1)).subquery("one")
    others = (history.overtaking(run), history.other_clients(run), describing(feed.system, feed.table))
    query = sa.select(*ingest.RUN.c, *(part.scalar_subquery() for part in others)).select_from(
        one.outerjoin(ingest.RUN, ingest.RUN.c.id == run.id)
    )
    *before, late, client, described = session.rows(query)[0]
    found = Found(
        before=ingest.as_run(tuple(before)) if before[0] is not None else None,
        late=late,
        client=client if run.client is not None else None,
        stored=(),
    )
    return _Past(found, column_types(feed.system, feed.table, described or ()))


def _stored(session: PostgresSession, run: Run, fit: Fitting, incoming: Iterable[Values]) -> list[Stored]:
    """The rows with the keys of *incoming*, and when the exports were made that they are from."""
    table, old = fit.table, ingest.RUN.c
    exported = sa.select(sa.func.max(old.exported_at)).where(
        old.id == table.c[BY], old.feed == run.feed, old.status == "done"
    )
    names = _key_columns(fit)
    keys = dict.fromkeys(fit.spelling.key(row) for row in incoming)
    here = sa.or_(*(_same(session, table, names, key) for key in keys))
    found = session.rows(sa.select(*map(_exact, table.c), exported.scalar_subquery()).where(here))
    columns = [column.name for column in table.c]
    return [Stored(dict(zip(columns, row[:-1], strict=True)), row[-1]) for row in found]


def _exact(column: sa.Column[Any]) -> Expression:
    """As text, a real is rounded to fewer digits than it has in memory."""
    return sa.cast(column, sa.Double()) if isinstance(column.type, sa.REAL) else column


# -- writing


def _write(session: PostgresSession, fit: Fitting, decision: Decision) -> None:
    """All in one statement. DataError if other rows than those found are there."""
    changes = {
        "put": [write for write in decision.writes if write.verb != "delete"],
        "gone": [write for write in decision.writes if write.verb == "delete"],
    }
    made = {"put": _upsert, "gone": _deletion}
    parts = {name: made[name](session, fit, writes).cte(name) for name, writes in changes.items() if writes}
    counts = [sa.select(sa.func.count()).select_from(part).scalar_subquery() for part in parts.values()]
    new = sa.select(sa.func.count()).where(parts["put"].c.is_new).scalar_subquery() if "put" in parts else sa.literal(0)
    written = _history(decision.run).cte("written")
    number_new, *numbers = session.rows(sa.select(new, *counts).add_cte(written))[0]
    inserted = sum(write.verb == "insert" for write in decision.writes)
    if (number_new, numbers) != (inserted, [len(changes[name]) for name in parts]):
        raise DataError(
            f"a row of {decision.run.feed} that should change does not exist exactly once", fix=ONE_ROW_A_KEY
        )


def _upsert(_session: PostgresSession, fit: Fitting, writes: Sequence[Write]) -> Any:
    table, keys = fit.table, _key_columns(fit)
    names = [*fit.spelling.stored.values(), *SYSTEM_COLUMNS]
    rows = [{name: _value(table.c[name], _given(write, keys, name)) for name in names} for write in writes]
    insert = postgresql.insert(table).values(rows)
    new = {name: insert.excluded[name] for name in names if name != FIRST and name not in keys}
    upsert = insert.on_conflict_do_update(index_elements=sorted(keys), set_=new)
    return upsert.returning(sa.literal_column("(xmax = 0)", sa.Boolean).label("is_new"))


def _given(write: Write, keys: Sequence[str], name: str) -> Any:
    """What is to be in a column. An update keeps FirstSyncAt, whatever stands for it here."""
    if name in keys:
        return write.key[keys.index(name)]
    return write.values[SYNCED if name == FIRST and write.verb == "update" else name]


def _deletion(session: PostgresSession, fit: Fitting, writes: Sequence[Write]) -> Any:
    here = sa.or_(*(_same(session, fit.table, _key_columns(fit), write.key) for write in writes))
    return sa.delete(fit.table).where(here).returning(sa.literal(1).label("one"))


def _history(run: Run) -> Any:
    """Over an earlier try of the run that failed."""
    insert = postgresql.insert(ingest.RUN).values(ingest.as_row(run))
    new = {column.name: insert.excluded[column.name] for column in ingest.RUN.c if column.name != "id"}
    return insert.on_conflict_do_update(index_elements=["id"], set_=new).returning(sa.literal(1).label("one"))


# -- pieces of statements


def _key_columns(fit: Fitting) -> list[str]:
    return [fit.spelling.stored[key] for key in fit.spelling.keys]


def _same(session: PostgresSession, table: sa.Table, names: Sequence[str], key: Key) -> Expression:
    """Whether a row has *key*, to the letter."""
    pairs = zip((table.c[name] for name in names), key, strict=True)
    return sa.and_(*(equal(session, column, _value(column, value)) for column, value in pairs))


def _value(column: sa.Column[Any], value: Any) -> Expression:
    return sa.cast(sa.literal(value, column.type), column.type)  # of several rows, the first would decide the type
