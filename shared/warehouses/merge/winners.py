"""Of several staged rows with a key, the one that counts."""

from __future__ import annotations

import sqlalchemy as sa

from shared.contract.conform import ROW
from shared.model import Feed
from shared.warehouses.merge.changes import equal
from shared.warehouses.merge.session import Expression, Session


def most_of_a_key(session: Session, feed: Feed, rows: sa.FromClause) -> tuple[int, int]:
    """How many *rows* there are, and how many of them have the same key at most."""
    number = sa.cast(sa.func.count(), sa.BigInteger)
    by_key = sa.select(number.label("number")).select_from(rows).group_by(*_grouped(session, feed, rows))
    counted = by_key.subquery("by_key").c.number
    totals = sa.select(sa.func.coalesce(sa.func.sum(counted), 0), sa.func.coalesce(sa.func.max(counted), 0))
    every, most = session.rows(totals)[0]
    return int(every), int(most)


def several(session: Session, feed: Feed, rows: sa.FromClause) -> sa.Table:
    """A table of the keys that more than one of *rows* has."""
    keys = [rows.c[key] for key in feed.keys]
    table = session.scratch("duplicates", [sa.Column(key.name, key.type) for key in keys])
    found = sa.select(*keys).group_by(*_grouped(session, feed, rows)).having(sa.func.count() > 1)
    session.change(sa.insert(table).from_select(feed.keys, found))
    return table


def winners(
    session: Session, feed: Feed, rows: sa.FromClause, duplicates: sa.Table
) -> tuple[sa.FromClause, int]:  # fmt: skip
    """One row a key: of several the highest cursor, then the last in file order; and how many gave way."""
    order: list[Expression] = [rows.c[ROW].desc()]
    cursor = rows.c.get(feed.cursor or "")
    if cursor is not None:
        is_null = sa.case((cursor.is_(None), 1), else_=0)  # NULL is below every value
        order = [is_null, session.exact(cursor)[0].desc(), *order]
    alike = [part for key in feed.keys for part in session.exact(rows.c[key])]
    place = sa.func.row_number().over(partition_by=alike, order_by=order)
    shared_keys = sa.and_(*(equal(session, rows.c[key], duplicates.c[key]) for key in feed.keys))
    ranked = sa.select(rows.c[ROW].label(ROW), place.label("place")).select_from(rows.join(duplicates, shared_keys))
    ranked_rows = ranked.subquery("ranked")
    losers = session.scratch("superseded", [sa.Column(ROW, sa.BigInteger)])
    later = sa.select(ranked_rows.c[ROW]).where(ranked_rows.c.place > 1)
    superseded = session.change(sa.insert(losers).from_select([ROW], later))
    lost = sa.exists().where(losers.c[ROW] == rows.c[ROW])  # NOT IN is slow where a column could be NULL
    return sa.select(rows).where(~lost).subquery("kept"), superseded


def _grouped(session: Session, feed: Feed, rows: sa.FromClause) -> list[Expression]:
    keys = [rows.c[key] for key in feed.keys]
    return list(dict.fromkeys([*keys, *(part for key in keys for part in session.exact(key))]))
