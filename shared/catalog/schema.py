"""What a catalog file may hold, section by section: the value of each key, and what is allowed for it."""

from __future__ import annotations

import codecs
import datetime as dt
import re

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from shared.catalog import api, checks, policies
from shared.catalog.rules import Rule, flag, number, one_of, read_nested, require, section_value, text, text_list, whole
from shared.contract import types as column_types
from shared.contract.cursor import CURSOR_TYPES
from shared.declared import LayoutColumn
from shared.errors import ConfigError
from shared.settings import DESTINATION, zone
from shared.sources import KINDS
from shared.sources.tables import CHANGE_DELETED, CHANGE_VERSION

_SYSTEM_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED = ("information_schema", "ingest", "temp")
NAMED = "_named"
"""What the views that join names in end with; never longer than those of active rows."""
_LONGEST_TABLE = 63 - len("_active")
_LONGEST_WITH_HISTORY = 63 - len("_versions")


def _system_name(value: Any) -> str:
    name = text(value)
    require(_SYSTEM_NAME.fullmatch(name) and name not in _RESERVED)
    return name


def _source(value: Any) -> str:
    require(value in KINDS)
    return str(value)


def _distinct(names: Collection[str]) -> None:
    require(len({name.casefold() for name in names}) == len(names))


def _keys(value: Any) -> tuple[str, ...]:
    require(value)
    return _names(value)


def _names(value: Any) -> tuple[str, ...]:
    names = text_list(value)
    _distinct(names)
    return names


def _column(value: Any) -> str | None:
    return None if value is False else text(value)


def _types(value: Any) -> dict[str, str]:
    found = {column: column_types.parse(text(kind)) for column, kind in section_value(value).items()}
    _distinct(found)
    return found


def _references(value: Any) -> dict[str, str]:
    found = {column: _reference(key) for column, key in section_value(value).items()}
    _distinct(found)
    return found


def _deletes(value: Any) -> str:
    require(value in ("soft", "hard"))
    return str(value)


def _lake(value: Any) -> str:
    require(value in ("current", "append"))
    return str(value)


def _share(value: Any) -> float:
    share = number(value)
    require(0 <= share <= 1)
    return share


def _schedule(value: Any) -> str:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(text(value), dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
    except CronSimError as error:
        raise ValueError from error
    return str(value)


def _source_table(value: Any) -> str:
    schema, dot, table = text(value).partition(".")
    require(schema and (table or not dot))
    return str(value)


def _hours(value: Any) -> float | None:
    if value is False:
        return None
    hours = number(value)
    require(hours > 0)
    return hours


def _destinations(value: Any) -> tuple[str, ...]:
    names = _keys(value)
    for name in names:
        require(re.fullmatch(DESTINATION, name))
    return names


def _columns(value: Any) -> tuple[LayoutColumn, ...]:
    columns = section_value(value)
    require(columns)
    _distinct(columns)
    return tuple(
        LayoutColumn(name=name, **read_nested(f"column {name!r}", options, COLUMN)) for name, options in columns.items()
    )


def _reference(value: Any) -> str:
    parts = text(value).split(".")
    require(len(parts) == 3 and all(parts))
    return str(value)


def _region(value: Any) -> str:
    require(re.fullmatch("[A-Z]{2}", text(value)))
    return str(value)


def _dialect(value: Any) -> dict[str, Any]:
    return read_nested("csv", value, DIALECT)


def _encoding(value: Any) -> str:
    try:
        return codecs.lookup(text(value)).name
    except LookupError as error:
        raise ValueError from error


def _character(value: Any) -> str:
    require(len(text(value)) == 1)
    return str(value)


# -- sections

FILE = {
    "system": Rule("a table", section_value, required=True),
    **{name: Rule("a table", section_value) for name in ("defaults", "undeclared", "tables", "discover", "feed_list")},
}
SYSTEM = {
    "name": Rule(
        f"a text that can name a schema: a-z, 0-9 and _, and none of {', '.join(_RESERVED)}",
        _system_name,
        required=True,
    ),
    "source": Rule(f"one of {', '.join(KINDS)}", _source, required=True),
    "client": Rule("a text", text),
}
COLUMN = {
    "type": Rule(f"a type ({', '.join(column_types.SIMPLE)} or decimal(p,s))", lambda v: column_types.parse(text(v))),
    "aliases": Rule("a list of headers", text_list),
    "cleaner": Rule(f"one of {', '.join(column_types.CLEANERS)}", one_of(*column_types.CLEANERS)),
    "required": Rule("true or false", flag),
    "parts": Rule("a list of headers", text_list),
    "several": Rule("'first' or 'coalesce'", one_of("first", "coalesce")),
    "true": Rule("a list of words", text_list),
    "false": Rule("a list of words", text_list),
    "references": Rule("a key of a feed, as <system>.<table>.<column>", _reference),
}
"""Of one column of a feed that is read from text files."""
DIALECT = {
    "encoding": Rule("the name of an encoding, such as utf-8 or windows-1252", _encoding),
    "delimiter": Rule("one character", _character),
    "quote": Rule("one character", _character),
    "escape": Rule("one character", _character),
    "header": Rule("true or false", flag),
}
"""Of the text files of a feed. What is not declared is detected."""
LAYOUT = {
    "columns": Rule("a table of columns, each a table of its options", _columns),
    "region": Rule("a country in two capital letters, such as US", _region),
    "decimal_mark": Rule("'.' or ','", one_of(".", ",")),
    "day_first": Rule("true or false", flag),
    "csv": Rule("a table of encoding, delimiter, quote, escape and header", _dialect),
}
"""Of a feed that is read from text files."""
OPTIONS = {
    "source": Rule(f"one of {', '.join(KINDS)}", _source),
    "keys": Rule("a list of column names, each once", _keys),
    "cursor": Rule("a column name, or false for none", _column),
    "cursor_fallback": Rule("a column name, or false for none", _column),
    "deleted": Rule("a column name, or false for none", _column),
    "change_tracking": Rule("true or false", flag),
    "types": Rule(
        "a table of columns, each once, with their types"
        f" ({', '.join(column_types.SIMPLE)} or decimal(p,s) with p up to 38)",
        _types,
    ),
    "references": Rule(
        "a table of columns, each once, with the key of a feed that they refer to, as <system>.<table>.<column>",
        _references,
    ),
    "exclude": Rule("a list of column names, each once", _names),
    "on_new_column": Rule("'add', 'ignore' or 'stop'", one_of("add", "ignore", "stop")),
    **policies.OPTIONS,
    "display": Rule("a list of column names, each once", _names),
    "timezone": Rule("an IANA name such as Europe/Amsterdam", lambda value: zone(text(value))),
    "deletes": Rule("'soft' or 'hard'", _deletes),
    "history": Rule("true or false", flag),
    "lake": Rule("'current' or 'append'", _lake),
    "max_reject_share": Rule("a number from 0 to 1", _share),
    "max_delete_share": Rule("a number from 0 to 1", _share),
    "overlap_seconds": Rule("a whole number of seconds", whole),
    "overlap_numbers": Rule("a whole number", whole),
    "schedule": Rule("a cron expression of five fields, such as '*/15 * * * *'", _schedule),
    "reconcile": Rule("a cron expression of five fields, such as '0 3 * * 0'", _schedule),
    "source_table": Rule("the name of a table, as <table> or <schema>.<table>", _source_table),
    "max_age_hours": Rule("a number of hours above 0, or false for none", _hours),
    "checks": Rule("a list of tables, each a check", checks.checks),
    "api": Rule("a table of options of the API", section_value),
    "destinations": Rule(
        "a list of names, each once, such as 'main' and 'lake': a-z, 0-9 and _, with a letter first", _destinations
    ),
    **LAYOUT,
}
"""Of a feed; ``false`` undoes a default."""


# -- values together


def check_table_name(table: str) -> None:
    """ConfigError unless *table* can name a table, and its ``_active`` view, on every engine."""
    size = len(table.encode())
    if not table.strip() or size > _LONGEST_TABLE or "\0" in table:
        raise ConfigError(f"{table[:80]!r} ({size} bytes) cannot name a table", fix=f"Use 1 to {_LONGEST_TABLE} bytes")
    if table.casefold().endswith("_active"):
        raise ConfigError(
            f"{table!r} is named like the view of active rows", fix="Use a name that does not end in _active"
        )


def table_problems(entry: str, table: str) -> Iterator[str]:
    """What is wrong with the name of a declared table."""
    try:
        check_table_name(table)
    except ConfigError as error:
        yield f"{entry}: {error.problem}"
    if table != table.lower():
        yield f"{entry}: write the table's name in lower case: {table.lower()!r}"


def rule_problems(options: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the rule for undeclared tables."""
    yield from option_problems("undeclared", options)
    for key in options.get("keys", ()):
        try:
            key.format(table="")
        except (LookupError, ValueError):
            yield f"undeclared: key {key!r} has braces that are not {{table}}: write {{{{ and }}}} for those of a name"


def option_problems(entry: str, options: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with *options* of a feed together, each of which is right by itself."""
    yield from checks.problems_together(entry, options)
    keys, cursor, flag = options.get("keys", ()), options.get("cursor"), options.get("deleted")
    if not keys:
        yield f"{entry}: it has no keys"
    if flag and flag.casefold() in {column.casefold() for column in (*keys, cursor) if column}:
        yield f"{entry}: {flag!r} cannot be the deletion flag and a key or the cursor"
    if options.get("change_tracking") and (cursor, flag) != (CHANGE_VERSION, CHANGE_DELETED):
        yield f"{entry}: change_tracking takes the place of cursor and deleted: leave them out"
    fallback = options.get("cursor_fallback")
    if fallback and (not cursor or cursor.casefold() == fallback.casefold()):
        yield f"{entry}: cursor_fallback {fallback!r} needs a cursor, and another one than itself"
    left_out = {column.casefold() for column in options.get("exclude", ())}
    needed = (*keys, cursor, flag, fallback, *options["types"], *options["references"], *options.get("display", ()))
    if excluded := sorted({column for column in needed if column and column.casefold() in left_out}):
        yield f"{entry}: {', '.join(map(repr, excluded))} cannot be excluded, as another option names it"
    if options.get("display") and len(keys) > 1:
        yield f"{entry}: display needs a feed with one key, as nothing refers to a row by several"
    layout = options.get("layout")
    if layout:
        columns = {column.name for column in layout.columns}
        named = (*keys, cursor, flag, *options["references"], *options.get("display", ()))
        missing = [name for name in named if name and name not in columns]
        yield from (f"{entry}: {name!r} is no column under columns" for name in missing)
        yield from (f"{entry}: {problem}" for problem in map(_cleaner_problem, layout.columns) if problem)
    kind = {column.casefold(): kind for column, kind in options["types"].items()}.get((cursor or "").casefold())
    if kind and kind.partition("(")[0] not in CURSOR_TYPES:
        yield f"{entry}: cursor {cursor!r} has type {kind}, which cannot be ordered"


def history_problems(entry: str, table: str, options: Mapping[str, Any]) -> Iterator[str]:
    """Whether a feed that keeps every version of its rows can do that."""
    if not options.get("history"):
        return
    if options.get("deletes") == "hard":
        yield f"{entry}: history keeps deleted rows: leave deletes = 'hard' out, or history"
    if len(table.encode()) > _LONGEST_WITH_HISTORY:
        yield f"{entry}: a table with history has a name of at most {_LONGEST_WITH_HISTORY} bytes"


def source_problems(entry: str, source: str, options: Mapping[str, Any]) -> Iterator[str]:
    """Whether a feed has columns just if its *source* delivers text files, and what is of windows if it has windows."""
    yield from api.problems_together(entry, source, options)
    yield from policies.problems(entry, source, options)
    layout = options.get("layout")
    for name in ("cursor_fallback", "change_tracking"):
        if options.get(name) and not KINDS[source].pulled:
            yield f"{entry}: source {source!r} takes no {name}"
    if options.get("exclude") and layout is not None:
        yield f"{entry}: a feed of text files takes no exclude, as it has the columns of its layout and Extra"
    if KINDS[source].delivers == "text" and layout is None:
        yield f"{entry}: source {source!r} needs columns"
    if KINDS[source].delivers != "text" and layout is not None:
        yield f"{entry}: source {source!r} takes no columns: declare types instead"


def _cleaner_problem(column: LayoutColumn) -> str | None:
    makes = column_types.CLEANERS.get(column.cleaner or "")
    if makes is None or column.type.partition("(")[0] in makes:
        return None
    written = " or ".join(kind.replace("decimal", "decimal(p,s)") for kind in makes)
    return f"column {column.name!r}: cleaner {column.cleaner!r} makes {written}, not {column.type}"
