"""How most engines change a table: in place, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from shared.warehouses.merge import ddl


class ChangesInPlace:
    """Part of a session whose tables are tables of the engine, see ``Session``."""

    change: Callable[[sa.Insert], int]

    def add_column(self, table: sa.Table, name: str, kind: str) -> None:
        ddl.add_column(self, table, name, kind)  # type: ignore[arg-type]  # what inherits this is a session

    def expose(self, table: sa.Table, where: Callable[[sa.FromClause], sa.ColumnElement[bool]]) -> None:
        """They can be changed already."""

    def insert(self, table: sa.Table, names: Sequence[str], rows: sa.Select[Any]) -> int:
        return self.change(sa.insert(table).from_select(list(names), rows))
