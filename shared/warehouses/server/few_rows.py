"""A few rows merged without a staging table: what of that is alike on every server. Decides, and writes nothing."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import sqlalchemy as sa

from shared.contract import types
from shared.errors import LOAD_AGAIN, DataError
from shared.model import SYSTEM_COLUMNS, Feed, Plan, Run, Staged
from shared.warehouses import Merged
from shared.warehouses.merge import history, shape
from shared.warehouses.merge.in_memory import ColumnNames, Stored, Values, Write, by_key, decide
from shared.warehouses.server import inline

DIRECT_ROWS = 20
"""Up to so many rows are compared in memory, without a staging table."""


class Found(NamedTuple):
    """What the warehouse has that a run is decided by."""

    before: Run | None
    """The run as history has it."""
    late: dt.datetime | None
    """What ``history.overtaking`` found."""
    client: str | None
    """Whose data the feed has, if not that of the run's client."""
    stored: Sequence[Stored]
    """The rows with the keys of the incoming ones, and others perhaps."""


class Fitting(NamedTuple):
    """The table as it is, where the run's rows fit into it unchanged."""

    table: sa.Table
    spelling: ColumnNames


class Decision(NamedTuple):
    """What is to be written."""

    writes: Sequence[Write]
    run: Run
    """With its counts, for history."""


def peeked(batches: Iterable[pa.RecordBatch], rows: int) -> tuple[list[pa.RecordBatch], Iterator[pa.RecordBatch]]:
    """The first batches until there are more than *rows*, and the others."""
    rest, first = iter(batches), []
    for batch in rest:
        first.append(batch)
        if sum(one.num_rows for one in first) > rows:
            break
    return first, rest


def incoming_rows(feed: Feed, staged: Sequence[Staged]) -> list[Values]:
    """The rows that came inline. DataError if they are not as many as were staged."""
    batches = (batch for part in staged for batch in inline.read(part.inline or ""))
    rows: list[Values] = [row for batch in batches for row in batch.to_pylist()]
    promised = sum(part.rows for part in staged)
    if len(rows) != promised:
        raise DataError(f"{promised} rows of {feed.name} were passed on, but {len(rows)} are there", fix=LOAD_AGAIN)
    return rows


def fitting(plan: Plan, kinds: Mapping[str, str]) -> Fitting | None:
    """None if the table, which has columns of those types, is missing, or would have to change for this run."""
    if plan.feed.hash or plan.feed.mask:
        return None  # whether the table has clear values of these columns is looked for in a merge
    spelled = {name.casefold(): name for name in kinds}
    stored: dict[str, str] = {}
    for column in plan.columns:
        known = spelled.get(column.name.casefold())
        if column.type == types.NULL:
            stored |= {column.name: known} if known else {}
        elif known is None or types.widened(kinds[known], column.type) != kinds[known]:
            return None
        else:
            stored[column.name] = known
    if not set(SYSTEM_COLUMNS) <= kinds.keys():
        return None
    return Fitting(shape.target(plan.feed, kinds), ColumnNames(keys=plan.feed.keys, stored=stored))


def decided(
    plan: Plan, run: Run, incoming: Sequence[Values], found: Found, fit: Fitting | None
) -> Merged | Decision | None:
    """What *run* comes to; None if it takes a staging table. ConfigError if the data is another client's."""
    if found.before is not None and found.before.status == "done":
        return Merged(found.before, ())
    if found.client is not None:
        history.refuse_client(run, found.client)
    known = by_key(fit.spelling, found.stored, map(fit.spelling.key, incoming)) if fit else None
    if fit is None or known is None:
        return None
    rules = history.rules(plan.feed, run, history.Past(found.late, None, None, None))
    made = decide(rules, run.id, fit.spelling, known, incoming)
    return Decision(made.writes, history.done(run, rules, made.counts))
