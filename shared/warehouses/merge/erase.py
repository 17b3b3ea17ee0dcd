"""Remove what is stored of some keys: rows, versions of rows, rejected rows, values in texts of runs.

The caller owns the transaction.
"""

from __future__ import annotations

import itertools
import json

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import sqlalchemy as sa

from shared.contract.conform import folded
from shared.contract.raw_keys import Key, RawKeys, typed
from shared.errors import ConfigError
from shared.model import Feed, from_text, to_text
from shared.warehouses import EraseRequest, Erasure
from shared.warehouses.merge.changes import equal
from shared.warehouses.merge.ingest import ERASURE, REJECTED, RUN
from shared.warehouses.merge.session import Expression, Session
from shared.warehouses.merge.shape import target
from shared.warehouses.merge.versions import are_versions

_AT_ONCE = 100
"""Keys, or rejects, of one statement: SQL Server takes 2,100 parameters."""
_MASK = "'***'"


class Traces(NamedTuple):
    """What was removed outside the feed's own tables, and the record of it all."""

    erasure: Erasure
    rejects: Sequence[tuple[str, str]]
    """Run and place of each rejected row."""
    runs: Sequence[str]
    """Runs whose note or error had a value of a key."""


def erase(
    session: Session, request: EraseRequest, staging: int, delete: Callable[[Session, Feed, Sequence[Key]], int]
) -> Traces:
    """Remove all of it, and record that. Repeated after it was committed, it returns the record.

    *delete* removes the rows of one table, that of the feed it is given, and returns their number; *staging* tables are
    dropped already.
    """
    earlier = erasures(session, None, None, request.id)
    if earlier:
        return Traces(earlier[0], (), ())
    feed = request.feed
    kinds = {folded(name): kind for name, kind in session.columns(feed.system, feed.table).items()}
    rows = delete(session, feed, request.keys)
    kept = request.history  # a table of others may have that name
    has_versions = are_versions(session.columns(kept.system, kept.table))
    history = delete(session, kept, request.keys) if has_versions else 0
    rejects = _rejects(session, request, RawKeys(feed, request.keys, kinds))
    for some in _some(rejects):
        session.change(sa.delete(REJECTED).where(sa.or_(*(_is_at(*one) for one in some))))
    runs = list(_mask_texts(session, request.keys))
    known = {one for done in erasures(session, feed.name, None) for one in done.kept_out}
    erasure = Erasure(
        id=request.id, feed=feed.name, at=request.at, requested_by=request.requested_by, rows=rows, history=history,
        rejects=len(rejects), staging=staging,
        kept_out=tuple(one for one in request.kept_out if one not in known),
    )  # fmt: skip
    if erasure.is_something:
        values = {**asdict(erasure), "at": from_text(erasure.at), "kept_out": json.dumps(erasure.kept_out)}
        session.change(sa.insert(ERASURE).values(values))
    return Traces(erasure, rejects, runs)


def delete_rows(session: Session, feed: Feed, keys: Sequence[Key]) -> int:
    """Delete the rows of a feed's table that have one of *keys*; their number. None if there is no table."""
    columns = session.columns(feed.system, feed.table)
    if not columns:
        return 0
    table = target(feed, columns)
    conditions = [with_keys(session, feed, table, columns, some) for some in _some(keys)]
    return sum(session.change(sa.delete(table).where(condition)) for condition in conditions)


def with_keys(
    session: Session, feed: Feed, table: sa.Table, columns: Mapping[str, str], keys: Sequence[Key]
) -> Expression:  # fmt: skip
    """Whether a row of *table*, which has *columns*, has one of *keys*. ConfigError if it does not have the key."""
    spelled = {folded(name): name for name in columns}
    lacking = [key for key in feed.keys if folded(key) not in spelled]
    if lacking:
        raise ConfigError(
            f"table {feed.name} has no column {lacking[0]!r}, which is a key of the feed",
            fix="Give the feed its former keys in the catalog",
        )
    own = [table.c[spelled[folded(key)]] for key in feed.keys]
    kinds = {folded(name): kind for name, kind in columns.items()}
    wanted = (zip(own, typed(feed, key, kinds), strict=True) for key in keys)
    return sa.or_(
        *(sa.and_(*(equal(session, column, sa.literal(value, column.type)) for column, value in one)) for one in wanted)
    )


def erasures(session: Session, feed: str | None, limit: int | None, id: str | None = None) -> list[Erasure]:
    """The last erasures of *feed*, or of all, newest first; the one with *id*, if it is given."""
    chosen = sa.select(ERASURE).order_by(ERASURE.c.at.desc(), ERASURE.c.id)
    chosen = chosen if feed is None else chosen.where(ERASURE.c.feed == feed)
    chosen = chosen if id is None else chosen.where(ERASURE.c.id == id)
    names = [column.name for column in ERASURE.c]
    chosen = chosen if limit is None else chosen.limit(limit)
    found = (dict(zip(names, row, strict=True)) for row in session.rows(chosen))
    return [
        Erasure(**{**one, "at": to_text(one["at"]), "kept_out": tuple(json.loads(one["kept_out"]))}) for one in found
    ]


def may_be_of(feed: Feed, staged: Mapping[str, str], stored: Mapping[str, str]) -> bool:
    """Whether a staging table with columns *staged* may hold rows of *feed*, whose table has columns *stored*.

    The name of a staging table tells its run, and a run that never ended is in no history.
    """
    names, own = {folded(name) for name in staged}, {folded(name) for name in (*stored, *feed.keys)}
    return {folded(key) for key in feed.keys} <= names and (not stored or len(names - own) <= 1)  # the row's number


def _rejects(session: Session, request: EraseRequest, keys: RawKeys) -> list[tuple[str, str]]:
    chosen = sa.select(REJECTED.c.run, REJECTED.c.place, REJECTED.c.raw).where(REJECTED.c.feed == request.feed.name)
    return list(dict.fromkeys((run, place) for run, place, raw in session.stream(chosen) if keys.has(raw)))


def _is_at(run: str, place: str) -> Expression:
    return sa.and_(REJECTED.c.run == run, REJECTED.c.place == place)


def _mask_texts(session: Session, keys: Sequence[Key]) -> Iterator[str]:
    """Mask values of keys that errors and notes quote; the runs that had some."""
    texts, there = (
        sa.select(RUN.c.id, RUN.c.error, RUN.c.note),
        sa.or_(RUN.c.error.is_not(None), RUN.c.note.is_not(None)),
    )
    changed = {}
    for run, error, note in session.stream(texts.where(there)):
        masked = {"error": _masked(error, keys), "note": _masked(note, keys)}
        if masked != {"error": error, "note": note}:
            changed[run] = masked
    for run, values in changed.items():
        session.change(sa.update(RUN).where(RUN.c.id == run).values(values))
        yield run


def _masked(text: str | None, keys: Sequence[Key]) -> str | None:
    for word in itertools.chain.from_iterable(keys):
        text = text and text.replace(repr(word), _MASK)
    return text


def _some(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
