"""What a merge asks of the runs before it, and the answers it refuses. Builds statements, runs none."""

from __future__ import annotations

import datetime as dt

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from shared.errors import ONE_ROW_A_KEY, ConfigError, DataError
from shared.model import OUTCOMES, Feed, Run, from_text, with_note
from shared.warehouses.merge import ingest
from shared.warehouses.merge.changes import Rules


class Past(NamedTuple):
    """What the runs before a run say of it."""

    overtaken_by: dt.datetime | None
    superseded_by: dt.datetime | None
    newest: dt.datetime | None
    """When the newest export of the feed was made that is merged already."""
    client: str | None
    """Another client whose data the feed has, if the run is of one."""


def looking_back(run: Run) -> sa.Select[Any]:
    """Asks for the ``Past`` of *run*: one row."""
    parts: list[sa.Select[Any] | None] = [None] * 4
    if run.exported_at:
        parts[0], parts[2] = overtaking(run), _newest(run)
        if run.complete:
            parts[1] = superseding(run)
    if run.client is not None:
        parts[3] = other_clients(run)
    named = zip(Past._fields, parts, strict=True)
    return sa.select(*((sa.null() if part is None else part.scalar_subquery()).label(name) for name, part in named))


def overtaking(run: Run) -> sa.Select[Any]:
    """The time of the earliest complete full exported after *run* that is merged already: one row, mostly NULL."""
    return _later(run).where(ingest.RUN.c.kind != "keys")


def superseding(run: Run) -> sa.Select[Any]:
    """As ``overtaking``, but keys that were compared count, too: what a complete *run* lacks is no news then."""
    return _later(run)


def _later(run: Run) -> sa.Select[Any]:
    old = ingest.RUN.c
    after = from_text(run.exported_at or run.finished or run.started)
    query = sa.select(sa.func.min(old.exported_at))
    return query.where(old.feed == run.feed, old.status == "done", old.complete, old.exported_at > after)


def _newest(run: Run) -> sa.Select[Any]:
    old = ingest.RUN.c
    return sa.select(sa.func.max(old.exported_at)).where(old.feed == run.feed, old.status == "done")


def rules(feed: Feed, run: Run, past: Past) -> Rules:
    """What decides in *run*, given its past. One in memory looks at each row's own run instead of the newest."""
    exported, now = from_text(run.exported_at), from_text(run.finished or run.started)
    assert now is not None  # noqa: S101 - every run has a start
    late = past.overtaken_by if exported else None
    full = run.complete and late is None and past.superseded_by is None
    return Rules(
        feed=feed, now=now, exported=exported, overtaken_by=late, superseded_by=past.superseded_by,
        newest=past.newest, full=full,
    )  # fmt: skip


def other_clients(run: Run) -> sa.Select[Any]:
    """A client whose data the feed has and *run* does not bring, if there is one."""
    old = ingest.RUN.c
    others = sa.select(old.client).where(old.feed == run.feed, old.status == "done", old.client != run.client)
    return others.limit(1)


def refuse_client(run: Run, other: str) -> None:
    raise ConfigError(
        f"feed {run.feed} holds the data of client {other!r}, this is of {run.client!r}",
        fix="Declare a second system for a second client in the catalog",
    )


def no_outcomes() -> dict[str, int]:
    """Nothing of anything that a merge counts."""
    return {name: 0 for name in (*OUTCOMES, "absent") if name != "rejected"}


def done(run: Run, rules: Rules, counts: Mapping[str, int]) -> Run:
    """*run* as history is to have it. DataError unless the outcomes add up to the rows it read."""
    late, note = rules.overtaken_by, run.note
    if late is not None:
        note = with_note(note, f"late: a full exported at {late} is merged already")
    elif rules.superseded_by is not None:
        note = with_note(note, f"late: keys read at {rules.superseded_by} are compared already")
    counted = replace(run, note=note, **counts)  # type: ignore[arg-type]  # counts are fields of Run
    _refuse_unless_it_adds_up(counted)
    return counted


def _refuse_unless_it_adds_up(run: Run) -> None:
    """Promise 6, checked where it can still be taken back."""
    outcomes = {name: getattr(run, name) for name in OUTCOMES}
    if sum(outcomes.values()) != run.read or min(outcomes.values()) < 0:
        listed = ", ".join(f"{n} {name}" for name, n in outcomes.items())
        raise DataError(f"the outcomes of {run.feed} do not add up to {run.read} rows: {listed}", fix=ONE_ROW_A_KEY)
