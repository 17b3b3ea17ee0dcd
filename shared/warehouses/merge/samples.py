"""A few rows of each outcome, before and after, for a dry run to show."""

from __future__ import annotations

import json

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from shared.contract.cast import json_text
from shared.model import OUTCOMES, Change, Feed, Json
from shared.warehouses.merge.changes import outcome_is
from shared.warehouses.merge.session import Session
from shared.warehouses.merge.shape import Shape

_SHOWN = 3


def inserted(session: Session, table: sa.Table) -> list[Change]:
    """Of a table that had no rows before."""
    return [Change("inserted", None, row) for row in _as_json(session, sa.select(table).limit(_SHOWN))]


def changed(session: Session, feed: Feed, found: sa.Table, shape: Shape) -> list[Change]:
    """Rows of each outcome in *found* as they are before the changes; their keys stand in ``after`` for now."""
    shown: list[Change] = []
    for outcome in (*OUTCOMES, "absent"):
        some = sa.select(*(found.c[key] for key in feed.keys)).where(outcome_is(found, outcome))
        for key in session.rows(some.order_by(*feed.keys).limit(_SHOWN)):
            named = dict(zip(feed.keys, key, strict=True))
            shown.append(Change(outcome, _look_up(session, named, shape), named))
    return shown


def with_after(session: Session, shown: Sequence[Change], shape: Shape) -> list[Change]:
    """What ``changed`` found, once the changes are applied."""
    return [replace(change, after=_look_up(session, change.after or {}, shape)) for change in shown]


def _look_up(session: Session, key: Mapping[str, Any], shape: Shape) -> Mapping[str, Json] | None:
    where = [shape.table.c[shape.stored[name]] == value for name, value in key.items()]
    return next(iter(_as_json(session, sa.select(shape.table).where(*where))), None)


def _as_json(session: Session, query: sa.Select[Any]) -> list[dict[str, Json]]:
    names = [column.name for column in query.selected_columns]
    return [json.loads(json_text(dict(zip(names, row, strict=True)), lenient=True)) for row in session.rows(query)]
