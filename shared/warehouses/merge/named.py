"""Views that join names in: ``<table>_named`` has the active rows of a table, with names of what they refer to."""

from __future__ import annotations

import hashlib

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from shared.contract.conform import folded
from shared.model import Feed
from shared.warehouses import NAMED, NamedReference, NamedView
from shared.warehouses.merge import ddl, shape
from shared.warehouses.merge.changes import equal
from shared.warehouses.merge.orphans import are_comparable
from shared.warehouses.merge.session import VIEW_MARK, Session
from shared.warehouses.merge.types import TEXT

_LONGEST = 63
"""Bytes of a name that every engine takes."""
_DIGITS = 16


def renew(session: Session, view: NamedView) -> list[str]:
    """Make the view of *view*, replace it if it is not as it should be, or drop it if nothing can be joined.

    The references whose names are not there yet, for people. A view of others, or a table, is never touched.
    """
    schema, name = view.feed.system, f"{view.feed.table}{NAMED}"
    known = session.view_mark(schema, name)
    made, lacking = _query(session, view)
    if made is not None and known == "":
        return [f"view {schema}.{name} is not made: something else has its name"]
    if made is not None:
        text, mark = made
        if mark != known:
            session.put_view(schema, name, text, mark)
    elif known:
        session.ddl(f"DROP VIEW {ddl.quoted(session.dialect, schema, name)}")
    return [f"view {schema}.{name} lacks {', '.join(lacking)}"] if lacking else []


def _query(session: Session, view: NamedView) -> tuple[tuple[str, str] | None, list[str]]:
    """The view's query with the mark of its columns and types, None if it would have no name; and what is lacking."""
    stored = session.columns(view.feed.system, view.feed.table)
    if not stored or not view.references:
        return None, []
    table = shape.target(view.feed, stored).alias("t")
    spelled = {folded(name): name for name in stored}
    taken, joined = set(spelled), [column.label(column.name) for column in table.c]
    rows: sa.FromClause = table
    types, lacking = list(stored.items()), []
    for number, reference in enumerate(view.references):
        own = spelled.get(folded(reference.column))
        found, columns = _referred(session, reference, f"r{number}")
        if own is None or not columns:
            lacking.append(f"the names of {reference.column} ({_missing(view, reference, own, found)})")
            continue
        types += found.items()
        referred = next(iter(columns.values())).table
        key = next(column for column in referred.c if folded(column.name) == folded(reference.key))
        rows = rows.join(referred, _same(session, table.c[own], key), isouter=True)
        joined += [column.label(_name(f"{own}_{shown}", taken)) for shown, column in columns.items()]
    if len(joined) == len(stored):
        return None, lacking
    text = str(
        sa.select(*joined).select_from(rows).where(table.c[shape.DELETED].is_(None)).compile(dialect=session.dialect)
    )
    return (text, VIEW_MARK + hashlib.sha256(repr((text, types)).encode()).hexdigest()[: 2 * _DIGITS]), lacking


def _referred(
    session: Session, reference: NamedReference, alias: str
) -> tuple[Mapping[str, str], dict[str, sa.ColumnElement[Any]]]:  # fmt: skip
    """The column types of the table that is referred to, and its columns that are names, if the key is there."""
    columns = session.columns(reference.system, reference.table)
    spelled = {folded(name): name for name in columns}
    shown = [spelled[folded(name)] for name in reference.display if folded(name) in spelled]
    if folded(reference.key) not in spelled:
        return columns, {}
    # Its keys as they are stored; by another name, as several references may lead to one table, or to the own one.
    feed = Feed(system=reference.system, table=reference.table, source="", keys=(spelled[folded(reference.key)],))
    table = shape.target(feed, columns).alias(alias)
    return columns, {name: table.c[name] for name in shown}


def _missing(view: NamedView, reference: NamedReference, own: str | None, found: Mapping[str, str]) -> str:
    where = f"{reference.system}.{reference.table}"
    if own is None:
        return f"{view.feed.name} has no such column"
    return f"{where} is not there yet" if not found else f"{where} has no {' or '.join(reference.display)}"


def _same(session: Session, own: sa.ColumnElement[Any], key: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    if are_comparable(own.type, key.type):
        return equal(session, own, key)
    return equal(session, sa.cast(own, TEXT), sa.cast(key, TEXT))


def _name(wanted: str, taken: set[str]) -> str:
    """*wanted*, cut and made unique by its hash where it is too long or *taken*; it is taken from then on."""
    name = next(name for name in _names(wanted) if len(name.encode()) <= _LONGEST and folded(name) not in taken)
    taken.add(folded(name))
    return name


def _names(wanted: str) -> Iterator[str]:
    yield wanted
    text = wanted
    while True:
        text = hashlib.sha256(text.encode()).hexdigest()
        yield f"{wanted.encode()[: _LONGEST - _DIGITS - 1].decode(errors='ignore')}_{text[:_DIGITS]}"
