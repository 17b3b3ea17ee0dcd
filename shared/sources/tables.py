"""Which tables of a database become feeds, with which key and cursor, and why. Pure."""

from __future__ import annotations

import fnmatch
import json
import re

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

CURSORS = (
    "updated_at", "updated_on", "updated_date", "updated", "update_time", "update_date", "last_updated",
    "last_updated_at", "last_updated_on", "last_update", "last_update_date", "date_updated", "modified_at",
    "modified_on", "modified_date", "modified", "last_modified", "last_modified_at", "last_modified_on",
    "last_modified_date", "date_modified", "changed_at", "changed_on", "last_changed", "system_modstamp",
)  # fmt: skip
"""Names of columns that hold the time of a row's last change, in order of preference; case and marks do not count."""


CHANGE_VERSION, CHANGE_DELETED = "SYS_CHANGE_VERSION", "SYS_CHANGE_DELETED"
"""Cursor and deletion flag of feeds that are read by change tracking: columns that only their merged tables have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseColumn:
    """A column as far as it may be a key or a cursor."""

    name: str
    nullable: bool
    instant: bool = False
    """Whether it holds a date with its time."""
    number: bool = False
    """Whether it holds whole numbers."""
    rowversion: bool = False
    """Whether the server counts it up with every change of a row."""
    stamped: bool = False
    """Whether the server sets it to the time of every change of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseTable:
    """A table as its database has it."""

    schema: str
    name: str
    columns: Sequence[DatabaseColumn]
    primary: tuple[str, ...] = ()
    unique: Sequence[tuple[str, ...]] = ()
    """The columns of each other unique constraint, or unique index of all rows."""
    references: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    """By column: schema, table and column that a foreign key of this column alone refers to."""
    is_default: bool = True
    """Whether its schema is the one where tables without a schema are looked for."""

    @property
    def qualified(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """Which tables of a database to take. A pattern is ``schema.table``, or the name of a table of the default schema.

    ``*`` in it stands for any text and ``?`` for any character; case does not count.
    """

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    cursors: tuple[str, ...] = ()
    """Names of cursors that go before the well-known ones."""

    def takes(self, table: DatabaseTable) -> bool:
        return self.takes_name(table.schema, table.name, is_default=table.is_default)

    def takes_name(self, schema: str, name: str, *, is_default: bool) -> bool:
        """Whether it takes the table of that name; *is_default* says whether its schema is the default one."""
        include, exclude = (
            _matches(schema, name, patterns, is_default=is_default) for patterns in (self.include, self.exclude)
        )
        return include and not exclude


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTable:
    """A table that is a feed because its database, or a list, has it; or the reason why it is none."""

    table: str
    """The feed's name within its system."""
    source_table: str
    """The table as ``schema.table``."""
    at_source: str | None = None
    """What the catalog's ``source_table`` would be; None if the feed's name leads there."""
    keys: tuple[str, ...] = ()
    cursor: str | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    """All of them."""
    reason: str = ""
    """Where key and cursor are from."""
    skipped: str | None = None
    """Why it is not read."""
    listed: bool = False
    """Whether it is in a list of feeds."""
    has_last_value: bool = False
    """Whether that says from where on it is read."""
    last_value: str | None = None
    """The value of the cursor from which on; None for all of it."""
    cursor_type: str | None = None
    """The column type of the cursor, as far as it is known."""

    @property
    def entry(self) -> str:
        """The line that would declare it, under ``[tables]``."""
        options = {
            "source_table": _toml(self.at_source) if self.at_source else None,
            "keys": f"[{', '.join(map(_toml, self.keys or ('?',)))}]",
            "cursor": _toml(self.cursor) if self.cursor else "false",
            "references": _toml_table({name: _toml(key) for name, key in self.references.items()}) or None,
        }
        return f"{_bare(self.table)} = {_toml_table({name: text for name, text in options.items() if text})}"


class Choice(NamedTuple):
    """A column or columns, and why these."""

    columns: tuple[str, ...]
    reason: str


def found_tables(
    tables: Iterable[DatabaseTable], rules: Discovery, system: str, declared: Mapping[str, str]
) -> list[FoundTable]:
    """The tables that *rules* take, by name. *declared* are those of the catalog, which go before: feed by table.

    A table of the catalog is as its ``source_table`` names it, with or without schema, in any case.
    """
    chosen = sorted((table for table in tables if rules.takes(table)), key=lambda table: table.qualified.casefold())
    known = {name.casefold(): feed for name, feed in declared.items()}
    new = [table for table in chosen if _feed_of(table, known) is None]
    names = _names(new, {feed.casefold() for feed in declared.values()})
    found = [_found(table, names, rules, system) for table in new]
    keys = {table.qualified: one.keys for table, one in zip(new, found, strict=True) if one.skipped is None}
    return [
        replace(one, references=dict(_references(table, names, keys, system)))
        for table, one in zip(new, found, strict=True)
    ]


def feed_name(table: DatabaseTable) -> str:
    """What its feed is called: the table, after its schema unless that is the default one."""
    return (table.name if table.is_default else f"{table.schema}_{table.name}").lower()


def _feed_of(table: DatabaseTable, declared: Mapping[str, str]) -> str | None:
    """The feed of the catalog that reads it."""
    plain = declared.get(table.name.casefold()) if table.is_default else None
    return plain or declared.get(table.qualified.casefold())


def _names(tables: Sequence[DatabaseTable], taken: Collection[str]) -> dict[str, str]:
    """By table: the name of its feed. One whose name another has already is left out."""
    names: dict[str, str] = {}
    used = set(taken)
    for table in tables:
        if (name := feed_name(table)) not in used:
            names[table.qualified] = name
            used.add(name)
    return names


def _found(table: DatabaseTable, names: Mapping[str, str], rules: Discovery, system: str) -> FoundTable:
    name = feed_name(table)
    at_source = None if table.is_default and table.name == name else table.qualified
    if table.is_default and table.name != name and "." not in table.name:
        at_source = table.name
    key, cursor = key_of(table), cursor_of(table, rules.cursors)
    skipped = None
    if table.qualified not in names:
        skipped = f"feed {system}.{name} is another table: declare it under another name"
    elif key is None:
        skipped = "it has no primary key and no unique constraint of columns that are not NULL"
    return FoundTable(
        table=name, source_table=table.qualified, at_source=at_source,
        columns=tuple(column.name for column in table.columns), keys=key.columns if key else (),
        cursor=cursor.columns[0] if cursor.columns else None, skipped=skipped,
        reason=f"key from {key.reason if key else 'nowhere'}, {cursor.reason}",
    )  # fmt: skip


def key_of(table: DatabaseTable) -> Choice | None:
    """The primary key, or else the shortest unique constraint without NULL."""
    if table.primary:
        return Choice(table.primary, "primary key")
    nullable = {column.name for column in table.columns if column.nullable}
    unique = sorted(
        (names for names in table.unique if not nullable & set(names)), key=lambda names: (len(names), names)
    )
    return Choice(unique[0], f"unique constraint ({', '.join(unique[0])})") if unique else None


def cursor_of(table: DatabaseTable, preferred: Sequence[str] = ()) -> Choice:
    """A column that grows with every change of a row: by its type, by what the server does with it, or by its name."""
    for column, why in _cursors(table, preferred):
        nullable = "; rows in which it is NULL are read by the first sync only" if column.nullable else ""
        return Choice((column.name,), f"cursor {column.name} {why}{nullable}")
    return Choice((), "no cursor found: read whole each time")


def _cursors(table: DatabaseTable, preferred: Sequence[str]) -> Iterator[tuple[DatabaseColumn, str]]:
    by_name = {_plain(column.name): column for column in reversed(table.columns)}
    orderable = {name: column for name, column in by_name.items() if column.instant or column.rowversion}
    yield from ((by_name[_plain(name)], "as the catalog says") for name in preferred if _plain(name) in by_name)
    yield from ((column, "by its type rowversion") for column in table.columns if column.rowversion)
    known = [orderable[_plain(name)] for name in CURSORS if _plain(name) in orderable]
    stamped = sorted((column for column in orderable.values() if column.stamped), key=lambda one: one not in known)
    yield from ((column, "because the server sets it at every change") for column in stamped)
    yield from ((column, "by its name") for column in known)


def _references(
    table: DatabaseTable, names: Mapping[str, str], keys: Mapping[str, Sequence[str]], system: str
) -> Iterator[tuple[str, str]]:
    """The foreign keys that lead to the key of another feed."""
    for column, (schema, other, key) in table.references.items():
        target = f"{schema}.{other}"
        if target in names and tuple(keys.get(target, ())) == (key,):
            yield column, f"{system}.{names[target]}.{key}"


def _matches(schema: str, name: str, patterns: Iterable[str], *, is_default: bool) -> bool:
    whole, plain = f"{schema}.{name}".casefold(), name.casefold()
    return any(
        fnmatch.fnmatchcase(whole, pattern.casefold())
        if "." in pattern
        else is_default and fnmatch.fnmatchcase(plain, pattern.casefold())
        for pattern in patterns
    )


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _bare(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(text: str) -> str:
    # A TOML basic string takes JSON's escapes, and no DEL as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_table(options: Mapping[str, str]) -> str:
    return f"{{ {', '.join(f'{_bare(name)} = {text}' for name, text in options.items())} }}" if options else ""
