"""The section ``[[tables.<table>.checks]]`` of a catalog file."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator, Mapping
from typing import Any

from shared.catalog.rules import Rule, number, one_of, read_nested, require, section_value, text, text_list
from shared.declared import Check

_ANY = one_of("warn", "reject", "stop")
_WHOLE = one_of("warn", "stop")


def _value(value: Any) -> str:
    """A value as the text that it is cast from."""
    require(isinstance(value, str | int | float | dt.date | dt.time))
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def _values(value: Any) -> tuple[str, ...]:
    require(isinstance(value, list) and value)
    return tuple(map(_value, value))


def _columns(value: Any) -> tuple[str, ...]:
    require(value)
    return text_list(value)


def _one_column(value: Any) -> tuple[str, ...]:
    require(len(_columns(value)) == 1)
    return _columns(value)


def _share(value: Any) -> str:
    require(number(value) >= 0)
    return str(value)


def _pattern(value: Any) -> str:
    import pyarrow as pa

    from shared.arrow import pc

    try:
        pc.match_substring_regex(pa.array([""]), pattern=text(value))
    except pa.ArrowInvalid as error:
        raise ValueError from error
    return str(value)


def _reference(value: Any) -> str:
    parts = text(value).split(".")
    require(len(parts) == 3 and all(parts))
    return str(value)


def _hours(value: Any) -> float:
    require(number(value) > 0)
    return number(value)


_COLUMNS = Rule("a list of column names", _columns, required=True)
_COLUMN = Rule("a list of one column name", _one_column, required=True)
_END, _SHARE = Rule("a value", _value), Rule("a share of the usual number, from 0 up", _share)
_KINDS: Mapping[str, Mapping[str, Rule]] = {
    "not_null": {"columns": _COLUMNS},
    "in_range": {"columns": _COLUMNS, "min": _END, "max": _END},
    "in_set": {"columns": _COLUMNS, "values": Rule("a list of values", _values, required=True)},
    "matches": {"columns": _COLUMNS, "pattern": Rule("a regular expression (RE2)", _pattern, required=True)},
    "unique": {"columns": _COLUMNS},
    "refers_to": {
        "columns": _COLUMN,
        "references": Rule("a key of a feed, as <system>.<table>.<column>", _reference, required=True),
    },
    "row_count": {"min": _SHARE, "max": _SHARE},
    "freshness": {"hours": Rule("a number of hours above 0", _hours, required=True)},
    "sql": {"condition": Rule("a condition in SQL", text, required=True)},
}
_OF_ROWS = ("not_null", "in_range", "in_set", "matches")
_SPELLED = {"min": "low", "max": "high"}


def checks(value: Any) -> tuple[Check, ...]:
    """The checks of a table. What is wrong names the number of the check."""
    require(isinstance(value, list))
    return tuple(_check(f"check {n}", section_value(entry)) for n, entry in enumerate(value, 1))


def _check(entry: str, section: dict[str, Any]) -> Check:
    kind = Rule(f"one of {', '.join(_KINDS)}", one_of(*_KINDS), required=True)
    read_nested(entry, {"kind": section.get("kind")}, {"kind": kind})
    own = _KINDS[section["kind"]]
    then = Rule("'warn', 'reject' or 'stop'", _ANY) if section["kind"] in _OF_ROWS else Rule("'warn' or 'stop'", _WHOLE)
    found = read_nested(entry, section, {"kind": kind, "then": then._replace(required=True), **own})
    if "min" in own and not {"min", "max"} & found.keys():
        read_nested(entry, {}, {"min": Rule("there, or max", text, required=True)})
    return Check(**{_SPELLED.get(name, name): value for name, value in found.items()})


def problems_together(entry: str, options: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with checks and other options together."""
    layout = options.get("layout")
    known = {column.name for column in layout.columns} if layout else None
    for n, check in enumerate(options.get("checks", ()), 1):
        for name in check.columns:
            if known is not None and name not in known:
                yield f"{entry}: check {n}: {name!r} is no column under columns"
        if check.kind == "freshness" and not options.get("cursor"):
            yield f"{entry}: check {n}: freshness needs a feed with a cursor"
