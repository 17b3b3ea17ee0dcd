"""Staging tables of DuckDB: how they are filled, and where a merge finds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import sqlalchemy as sa

from shared.contract import types
from shared.contract.conform import ROW
from shared.model import Column, Plan, Staged
from shared.warehouses import Loaded
from shared.warehouses.embedded.session import DuckDBSession, drained
from shared.warehouses.merge import shape
from shared.warehouses.merge.types import sql_type


def drained_into(
    session: DuckDBSession, statement: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch]
) -> Loaded:
    schema = pa.schema([(ROW, pa.int64()), *((c.name, types.to_arrow(c.type)) for c in columns)])
    return Loaded(drained(session.connection, statement, pa.RecordBatchReader.from_batches(schema, iter(batches))))


def sql_types(session: DuckDBSession, columns: Sequence[Column]) -> list[tuple[str, str]]:
    kinds = ((ROW, "bigint"), *((column.name, column.type) for column in columns))
    return [(name, sql_type(kind).compile(dialect=session.dialect)) for name, kind in kinds]


def staging_tables(plan: Plan, staged: Sequence[Staged], beside: set[str]) -> dict[str, sa.Table]:
    places = {name: ("rows", name) for name in beside}
    return {
        name: shape.staging(plan.feed, columns, *places.get(name, (name, plan.feed.system)))
        for part in staged
        for name, columns in shape.staged_columns(plan, part).items()
    }
