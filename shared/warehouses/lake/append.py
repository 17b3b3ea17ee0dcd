"""Mode ``append``: the rows of each run as they came, with the run, its time, kind and day. Never changed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from shared.contract import types
from shared.model import Change, Column
from shared.warehouses.lake.names import AT, DAY, KIND, RUN
from shared.warehouses.merge import ddl
from shared.warehouses.merge.changes import at
from shared.warehouses.merge.history import no_outcomes
from shared.warehouses.merge.merge import Merge
from shared.warehouses.merge.samples import inserted
from shared.warehouses.merge.shape import Shape, grow, target
from shared.warehouses.merge.types import TEXT, sql_type

_DATE = sql_type("date")
OURS: Mapping[str, str] = {AT: "timestamp", RUN: "text", KIND: "text", DAY: "date"}
"""The columns beside the feed's own, with their types."""


class Append(Merge):
    """The end of a run whose rows are only added: each is ``inserted``, whatever else has its key."""

    def _bring_in(self) -> tuple[dict[str, int], list[Change]]:
        if self._run.kind == "keys":  # what they lack is gone at the source, and stays here as it came
            return {**no_outcomes(), "unchanged": self._run.read - self._run.rejected}, []
        if any(key not in self._all.c for key in self._feed.keys):
            return no_outcomes(), []  # a key column without a type has no value: every row was rejected
        shape = self._shape()
        content, now = self._content(shape), self._rules.now
        ours = {
            AT: at(now),
            RUN: sa.literal(self._run.id, TEXT),
            KIND: sa.literal(self._run.kind, TEXT),
            DAY: sa.cast(sa.literal(now.date(), _DATE), _DATE),
        }
        rows: sa.Select[Any] = sa.select(*content.values(), *ours.values())
        added = self._session.insert(shape.table, [*content, *ours], rows)
        shown = inserted(self._session, shape.table) if self._limits.dry_run else []
        return {**no_outcomes(), "inserted": added}, shown

    def _shape(self) -> Shape:
        feed = self._feed
        if self._session.columns(feed.system, feed.table):
            return grow(self._session, feed, self._columns, self._run.files)
        columns = _typed(self._columns)
        table = target(feed, {**columns, **OURS})
        ddl.create_schema(self._session, feed.system)
        ddl.create_table(self._session, table)
        return Shape(table, {name: name for name in columns}, ())


def _typed(columns: Sequence[Column]) -> dict[str, str]:
    return {column.name: column.type for column in columns if column.type != types.NULL}
