"""What a feed's table holds: columns, counts, the span of cursors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from shared.contract import cursor
from shared.model import Feed
from shared.warehouses import Profile
from shared.warehouses.merge import shape
from shared.warehouses.merge.session import Expression, Session


def profile(session: Session, feed: Feed) -> Profile:
    """What is stored of *feed*."""
    columns = session.columns(feed.system, feed.table)
    if not columns:
        return Profile(columns={})
    table = shape.target(feed, columns)
    by = table.c.get(feed.cursor or "")
    span: list[Expression] = [sa.null(), sa.null()]
    if by is not None:
        sorts = session.exact(by)[0]
        span = [sa.func.min(sorts), sa.func.max(sorts)]
    active = sa.func.count(sa.case((table.c[shape.DELETED].is_(None), 1)))
    rows, alive, low, high = session.rows(sa.select(*[sa.func.count(), active, *span]).select_from(table))[0]
    bounds = [None if value is None else cursor.text(value) for value in (low, high)]
    return Profile(columns=columns, rows=rows, active=alive, deleted=rows - alive, lowest=bounds[0], highest=bounds[1])


def table_rows(session: Session, schema: str, table: str) -> tuple[list[str], list[Sequence[Any]]]:
    """The columns and all rows of a small table, whoever made it; no columns if there is none."""
    columns = session.columns(schema, table)
    if not columns:
        return [], []
    found = shape.target(Feed(system=schema, table=table, source="", keys=()), columns)
    return list(columns), [tuple(row) for row in session.rows(sa.select(found))]
