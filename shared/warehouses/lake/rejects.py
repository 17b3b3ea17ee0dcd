"""What was rejected, in table ``ingest.rejected`` of a lake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from shared.model import Plan
from shared.warehouses.embedded.session import DuckDBSession
from shared.warehouses.lake.ingest_tables import IngestTables, may_have
from shared.warehouses.lake.work import Work
from shared.warehouses.merge import ingest


def replace(work: Work, session: DuckDBSession, plan: Plan, part: int, batches: Iterable[pa.RecordBatch]) -> None:
    """Keep *batches* as what slice *part* rejected, instead of what an earlier try of it did."""
    tables = IngestTables(work, session)
    kept, known = ingest.REJECTED.c, ingest.of_rejects(plan, part)
    for batch in batches:
        session.connection.register("incoming", batch)
        arriving = sa.table("incoming", *(sa.column(name, sa.Text) for name in batch.schema.names))
        rows = sa.select(*(sa.literal(value, kept[name].type) for name, value in known.items()), *arriving.c)
        session.change(sa.insert(ingest.REJECTED).from_select([*known, *batch.schema.names], rows))
    beyond = ingest.first_beyond(plan, part)
    where, values = "run = ? AND (slice = ? OR slice >= ?)", [plan.run.id, part, beyond]
    tables.replace("rejected", may_have("run", plan.run.id), where, values)


def found(work: Work, session: DuckDBSession, feed: str, run: str | None) -> Iterator[Mapping[str, Any]]:
    """Rejected rows and values of *feed*, newest run first."""
    tables = IngestTables(work, session)
    tables.load_runs(feed)
    tables.load("rejected", may_have("feed", feed), "feed = ?", feed)
    yield from ingest.rejects(session, feed, run)
