"""What a feed may say of columns that are renamed, hashed or masked, or change their type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.catalog.rules import Rule, one_of, require, section_value, text, text_list
from shared.contract.names import folded
from shared.model import SYSTEM_COLUMNS
from shared.sources import KINDS

_LONGEST = 63
_MASKS = ("all", "last4", "email")
_CHECKS = ("not_null", "unique", "refers_to", "row_count", "freshness", "sql")
"""Checks that mean the same of hidden values."""


def _distinct(names: Any) -> None:
    require(len({folded(name) for name in names}) == len(names))


def _rename(value: Any) -> dict[str, str]:
    found = {source: text(column) for source, column in section_value(value).items()}
    _distinct(list(found))
    _distinct(list(found.values()))
    for column in found.values():
        require(column.strip() and len(column.encode()) <= _LONGEST and "\0" not in column)
        require(folded(column) not in {name.casefold() for name in SYSTEM_COLUMNS})
    return found


def _hash(value: Any) -> tuple[str, ...]:
    names = text_list(value)
    _distinct(names)
    return names


def _mask(value: Any) -> dict[str, str]:
    found = {column: one_of(*_MASKS)(form) for column, form in section_value(value).items()}
    _distinct(list(found))
    return found


OPTIONS = {
    "on_type_change": Rule("'stop' or 'text'", one_of("stop", "text")),
    "rename": Rule(
        "a table of columns of the source, each once, with the names that they are stored by, each once", _rename
    ),
    "hash": Rule("a list of column names, each once", _hash),
    "mask": Rule(f"a table of columns, each once, with how they are masked ({', '.join(_MASKS)})", _mask),
}


def problems(entry: str, source: str, options: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with these options and others together, of a feed that is read from *source*."""
    yield from _hiding_problems(entry, options)
    yield from _renaming_problems(entry, source, options)
    if options.get("layout") is not None and options.get("on_type_change", "stop") != "stop":
        yield f"{entry}: a feed of text files takes no on_type_change, as its columns have the types of its layout"


def _hiding_problems(entry: str, options: Mapping[str, Any]) -> Iterator[str]:
    hashed, masked = options.get("hash", ()), options.get("mask", {})
    hidden = {folded(name) for name in (*hashed, *masked)}
    if both := sorted({folded(name) for name in hashed} & {folded(name) for name in masked}):
        yield f"{entry}: {', '.join(map(repr, both))} cannot be hashed and masked"
    needed = (options.get("cursor"), options.get("cursor_fallback"), options.get("deleted"))
    if clear := sorted({name for name in needed if name and folded(name) in hidden}):
        yield f"{entry}: {', '.join(map(repr, clear))} cannot be hashed or masked, as values are compared by it"
    if keys := sorted({key for key in options.get("keys", ()) if folded(key) in {folded(name) for name in masked}}):
        yield f"{entry}: {', '.join(map(repr, keys))} cannot be masked, as it is a key: hash it"
    if gone := sorted({name for name in options.get("exclude", ()) if folded(name) in hidden}):
        yield f"{entry}: {', '.join(map(repr, gone))} is excluded: leave it out under hash and mask"
    for n, check in enumerate(options.get("checks", ()), 1):
        if check.kind not in _CHECKS and (looked := [name for name in check.columns if folded(name) in hidden]):
            yield f"{entry}: check {n}: {check.kind} cannot look at {looked[0]!r}, which is hashed or masked"
    layout = options.get("layout")
    for column in layout.columns if layout else ():
        if folded(column.name) in hidden and (column.parts or column.several == "coalesce"):
            yield f"{entry}: {column.name!r} cannot be hashed or masked, as it is put together from several headers"


def _renaming_problems(entry: str, source: str, options: Mapping[str, Any]) -> Iterator[str]:
    renamed = options.get("rename", {})
    if renamed and options.get("layout") is not None:
        yield f"{entry}: a feed of text files takes no rename: give its columns aliases"
    needed = (*options.get("keys", ()), options.get("cursor"), options.get("cursor_fallback"), options.get("deleted"))
    names = {folded(name): name for name in needed if name}
    pulled = KINDS[source].pulled
    if wrong := sorted({names[folded(one)] for one in (*renamed, *renamed.values()) if folded(one) in names} if pulled
                       else {names[folded(one)] for one in renamed if folded(one) in names}):  # fmt: skip
        reason = "the source is asked for it" if pulled else "write the name that it is stored by"
        yield f"{entry}: {', '.join(map(repr, wrong))} cannot be renamed, as another option names it: {reason}"
    if gone := sorted(
        {name for name in options.get("exclude", ()) if folded(name) in {folded(one) for one in renamed}}
    ):
        yield f"{entry}: {', '.join(map(repr, gone))} is excluded: leave it out under rename"
