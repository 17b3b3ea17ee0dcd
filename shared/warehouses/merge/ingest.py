"""The tables of schema ``ingest``: history of runs and what was rejected. Written with the data, read by people."""

from __future__ import annotations

import json

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from shared.errors import written_by_newer
from shared.model import Column, Json, Plan, Run, from_text, to_text
from shared.warehouses import Backfill
from shared.warehouses.merge import ddl
from shared.warehouses.merge.session import Session
from shared.warehouses.merge.types import DATETIME, LONG_TEXT, TEXT, text

SCHEMA = "ingest"
RUN_ID = text(64)
"""Short enough for an index on SQL Server."""
_META = sa.MetaData(schema=SCHEMA)

VERSION = sa.Table("version", _META, sa.Column("version", sa.Integer, nullable=False))

RUN = sa.Table(
    "run",
    _META,
    sa.Column("id", RUN_ID, nullable=False),
    sa.Column("feed", TEXT, nullable=False),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("status", TEXT, nullable=False),
    sa.Column("started", DATETIME, nullable=False),
    sa.Column("finished", DATETIME),
    sa.Column("client", TEXT),
    sa.Column("exported_at", DATETIME),
    sa.Column("complete", sa.Boolean, nullable=False),
    *(
        sa.Column(name, sa.BigInteger, nullable=False)
        for name in (
            "read", "rejected", "superseded", "stale", "unchanged", "inserted", "deleted", "undeleted", "updated",
            "absent", "values_rejected",
        )
    ),
    sa.Column("size", sa.BigInteger),
    sa.Column("seconds", sa.Double),
    sa.Column("log_rate", sa.BigInteger),
    sa.Column("high", TEXT),
    sa.Column("files", LONG_TEXT, nullable=False),
    sa.Column("columns", LONG_TEXT, nullable=False),
    sa.Column("error", LONG_TEXT),
    sa.Column("note", LONG_TEXT),
)  # fmt: skip

REJECTED = sa.Table(
    "rejected",
    _META,
    sa.Column("run", RUN_ID, nullable=False),
    sa.Column("feed", TEXT, nullable=False),
    sa.Column("slice", sa.Integer, nullable=False),
    sa.Column("exported_at", DATETIME),
    sa.Column("place", LONG_TEXT, nullable=False),
    sa.Column("scope", TEXT, nullable=False),
    sa.Column("column", TEXT),
    sa.Column("code", TEXT, nullable=False),
    sa.Column("reason", LONG_TEXT, nullable=False),
    sa.Column("raw", LONG_TEXT, nullable=False),
)

BACKFILL = sa.Table(
    "backfill",
    _META,
    sa.Column("id", RUN_ID, nullable=False),
    sa.Column("feed", TEXT, nullable=False),
    sa.Column("at", DATETIME, nullable=False),
    sa.Column("requested_by", TEXT, nullable=False),
    sa.Column("type", TEXT),
    sa.Column("before", TEXT),
    sa.Column("after", TEXT),
    sa.Column("forgotten", sa.BigInteger, nullable=False),
)

ERASURE = sa.Table(
    "erasure",
    _META,
    sa.Column("id", RUN_ID, nullable=False),
    sa.Column("feed", TEXT, nullable=False),
    sa.Column("at", DATETIME, nullable=False),
    sa.Column("requested_by", TEXT, nullable=False),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("rows", "history", "rejects", "staging")),
    sa.Column("kept_out", LONG_TEXT, nullable=False),
)

_TIMES = ("started", "finished", "exported_at")


def _create(session: Session) -> None:
    ddl.create_schema(session, SCHEMA)
    for table in (VERSION, RUN, REJECTED, BACKFILL, ERASURE):
        ddl.create_table(session, table)
    if session.indexes:
        ddl.create_index(session, RUN, ["id"], kind="UNIQUE")
        ddl.create_index(session, REJECTED, ["run", "slice"])
    _index_feeds(session)
    session.change(sa.insert(VERSION).values(version=CURRENT))


def _add_note(session: Session) -> None:
    ddl.add_column(session, RUN, "note", "text")


def _add_speed(session: Session) -> None:
    for name, kind in (("size", "bigint"), ("seconds", "double"), ("log_rate", "bigint")):
        ddl.add_column(session, RUN, name, kind)


def _index_feeds(session: Session) -> None:
    """A merge asks several times for runs of its feed (see ``history`` and ``changes``): the index alone answers."""
    if session.indexes:
        columns, covering = ["feed", "status", "exported_at"], ["complete", "client", "id"]
        ddl.create_index(session, RUN, columns, what="feed", covering=covering)


def _add_backfills(session: Session) -> None:
    ddl.create_table(session, BACKFILL)


def _add_erasures(session: Session) -> None:
    ddl.create_table(session, ERASURE)


_MIGRATIONS = {2: _add_note, 3: _add_speed, 4: _index_feeds, 5: _add_backfills, 6: _add_erasures}
"""What brings the tables to a version from the one before."""

CURRENT = max(_MIGRATIONS)


def prepare(session: Session) -> None:
    """Create the tables, or bring them to the current version. ConfigError if they are from a later one."""
    if not session.columns(SCHEMA, "version"):
        _create(session)
        return
    found = session.rows(sa.select(VERSION.c.version))[0][0]
    if found > CURRENT:
        raise written_by_newer("the warehouse", found, CURRENT)
    for version in range(found + 1, CURRENT + 1):
        _MIGRATIONS[version](session)
    if found < CURRENT:
        session.change(sa.update(VERSION).values(version=CURRENT))


def is_current(session: Session) -> bool:
    """Whether the tables, which have to be there, are of this version."""
    return bool(session.rows(sa.select(VERSION.c.version))[0][0] == CURRENT)


def find(session: Session, run: str) -> Run | None:
    """The run as it was written."""
    found = session.rows(finding(run))
    return as_run(found[0]) if found else None


def finding(run: str) -> sa.Select[Any]:
    """Asks for the run; ``as_run`` reads the answer."""
    return sa.select(RUN).where(RUN.c.id == run)


def write(session: Session, run: Run, before: Run | None) -> None:
    """Write *run*, over an earlier try of it that failed: *before*, what ``find`` found of it."""
    earlier, statement = writing(run)
    if before is not None:
        session.change(earlier)
    session.change(statement)


def record(session: Session, run: Run) -> None:
    """Write a failed *run*, unless it is there as done."""
    before = find(session, run.id)
    if before is None or before.status != "done":
        write(session, run, before)


def annotate(session: Session, run: str, note: str) -> None:
    """Replace the note of a run."""
    session.change(sa.update(RUN).where(RUN.c.id == run).values(note=note))


def record_backfill(session: Session, backfill: Backfill) -> None:
    """Write *backfill*, over an earlier try of it."""
    session.change(sa.delete(BACKFILL).where(BACKFILL.c.id == backfill.id))
    session.change(sa.insert(BACKFILL).values({**asdict(backfill), "at": from_text(backfill.at)}))


def backfills(session: Session, feed: str, limit: int) -> list[Backfill]:
    """The last backfills of *feed*, newest first."""
    chosen = sa.select(BACKFILL).where(BACKFILL.c.feed == feed).order_by(BACKFILL.c.at.desc(), BACKFILL.c.id)
    names = [column.name for column in BACKFILL.c]
    found = (dict(zip(names, row, strict=True)) for row in session.rows(chosen.limit(limit)))
    return [Backfill(**{**row, "at": to_text(row["at"])}) for row in found]


def writing(run: Run) -> tuple[sa.Delete, sa.Insert]:
    """The statements that write *run*."""
    return sa.delete(RUN).where(RUN.c.id == run.id), sa.insert(RUN).values(as_row(run))


def as_row(run: Run) -> dict[str, Any]:
    """*run* as a row of the table, by column."""
    values = {name: value for name, value in asdict(run).items() if name in RUN.c}
    for name in _TIMES:
        values[name] = from_text(values[name])
    values["files"] = json.dumps(run.files, ensure_ascii=False)
    values["columns"] = json.dumps([asdict(column) for column in run.columns], ensure_ascii=False)
    return values


def deleting_rejects(plan: Plan, part: int | None = None) -> sa.Delete:
    """Deletes what an earlier try of the run rejected of slice *part*, and of slices that there are no more; or all."""
    of_run = REJECTED.c.run == plan.run.id
    if part is None:
        return sa.delete(REJECTED).where(of_run)
    beyond = REJECTED.c.slice >= first_beyond(plan, part)
    return sa.delete(REJECTED).where(of_run, sa.or_(REJECTED.c.slice == part, beyond))


def first_beyond(plan: Plan, part: int) -> int:
    """The first slice that an earlier try has staged, and that is none once *part* is: it was sliced or cut finer."""
    return max(len(plan.slices), part + 1)


def of_rejects(plan: Plan, part: int) -> dict[str, Any]:
    """What all rejects of slice *part* have in common, by column."""
    return {
        "run": plan.run.id,
        "feed": plan.run.feed,
        "slice": part,
        "exported_at": from_text(plan.run.exported_at),
    }


def runs(session: Session, feed: str | None, limit: int | None) -> list[Run]:
    """The last runs, newest first."""
    chosen = sa.select(RUN).order_by(RUN.c.finished.desc(), RUN.c.started.desc(), RUN.c.id)
    chosen = chosen if limit is None else chosen.limit(limit)
    return [as_run(row) for row in session.rows(chosen if feed is None else chosen.where(RUN.c.feed == feed))]


def recent(session: Session, limit: int) -> list[Run]:
    """The last runs of each feed, newest first, without their columns."""
    newest = (RUN.c.finished.desc(), RUN.c.started.desc(), RUN.c.id)
    place = sa.func.row_number().over(partition_by=RUN.c.feed, order_by=newest).label("place")
    ranked = sa.select(*RUN.c, place).subquery("ranked")
    columns = (sa.literal("[]") if column is RUN.c.columns else ranked.c[column.name] for column in RUN.c)
    chosen = sa.select(*columns).where(ranked.c.place <= limit)
    order = (ranked.c.finished.desc(), ranked.c.started.desc(), ranked.c.id)
    return [as_run(row) for row in session.rows(chosen.order_by(*order))]


def rejects(session: Session, feed: str, run: str | None) -> Iterator[Mapping[str, Json]]:
    """Rejected rows and values with the status of their run: unfinished if it has none."""
    chosen = (
        sa.select(
            *(column for column in REJECTED.c if column.name not in ("feed", "slice", "exported_at")),
            sa.func.coalesce(REJECTED.c.exported_at, RUN.c.exported_at).label("exported_at"),
            sa.func.coalesce(RUN.c.status, "unfinished").label("status"),
        )
        .select_from(REJECTED.outerjoin(RUN, RUN.c.id == REJECTED.c.run))
        .where(REJECTED.c.feed == feed)
        .order_by(RUN.c.finished.desc(), REJECTED.c.run, REJECTED.c.slice, REJECTED.c.place)
    )
    names = [column.name for column in chosen.selected_columns]
    for row in session.stream(chosen if run is None else chosen.where(REJECTED.c.run == run)):
        reject = dict(zip(names, row, strict=True))
        yield {**reject, "exported_at": to_text(reject["exported_at"]) if reject["exported_at"] else None}


def _column(data: Mapping[str, Json]) -> Column:
    return Column(**{**data, "more": tuple(data.get("more", ()))})


def as_run(row: tuple[Any, ...]) -> Run:
    """A run from its row of the table."""
    values = dict(zip((column.name for column in RUN.c), row, strict=True))
    for name in _TIMES:
        values[name] = to_text(values[name]) if values[name] else None
    values["files"] = tuple(json.loads(values["files"]))
    values["columns"] = tuple(map(_column, json.loads(values["columns"])))
    values |= {"size": values["size"] or 0, "seconds": values["seconds"] or 0.0}  # from before they were measured
    return Run(**{field.name: values[field.name] for field in fields(Run)})
