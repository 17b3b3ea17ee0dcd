"""Proposes a catalog entry for a text file that no layout describes: columns, types, cleaners and a likely key.

What the values do not make sure is marked: a type that some of them do not fit, a key that is unique only as far as
the file was read.
"""

from __future__ import annotations

import json
import re
import unicodedata

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from shared.arrow import pc
from shared.contract.clean import CleanOptions, clean
from shared.contract.mapping import EXTRA, normalized
from shared.model import SYSTEM_COLUMNS

MOST_ROWS = 100_000
"""Rows that are looked at."""
_MOST_FAULTS = 0.2
"""Share of values that may not fit what most of them are."""
_IS_KEY = re.compile(r"(^|_)(id|key|number|no|code|guid|uuid)$")
_IS_CURSOR = re.compile(r"(updated|modified|changed|last_?modified|lastmodified)")


class _Kind(NamedTuple):
    """What a column may hold, and when that is tried."""

    type: str
    cleaner: str | None
    header: str = ""
    """Pattern that its name has to have: the values alone could mean something else."""
    shape: str = ""
    """Pattern that a value has to have."""


_KINDS = (
    _Kind("boolean", "boolean", shape=r"^(?i:true|false|yes|no|y|n|t|f)$"),
    _Kind("text", "zip", header=r"zip|postal|postcode"),
    _Kind("text", "phone", header=r"phone|mobile|cell|fax|tel"),
    _Kind("text", "email", shape="@"),
    _Kind("bigint", "integer", shape=r"^-?(0|[1-9][0-9]*)$"),
    _Kind("timestamp", "timestamp", shape=r"\d[T ].*\d:\d\d"),
    _Kind("date", "date", shape=r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}$"),
    _Kind("time", "time", shape=r"^\d{1,2}:\d\d"),
    _Kind("decimal(18,4)", "amount", shape=r"^[^A-Za-z]*\d[^A-Za-z]*$"),
)
"""In the order in which they are tried."""


class Proposal(NamedTuple):
    """A column of the entry."""

    name: str
    header: str
    type: str
    cleaner: str | None
    unsure: str
    """Why it may be wrong; empty if nothing speaks against it."""
    clashes: int
    """Rows without a value, or with one that an earlier row has."""


def propose(rows: pa.Table) -> list[Proposal]:
    """What each column of *rows* (text) holds."""
    taken: set[str] = {name.casefold() for name in (*SYSTEM_COLUMNS, EXTRA)}
    return [_proposal(header, rows[header].combine_chunks(), taken) for header in rows.column_names]


def entry(columns: Sequence[Proposal], system: str, table: str, *, is_whole: bool) -> str:
    """The catalog file as text, with what is unsure as comments. *is_whole*: all rows of the file were looked at."""
    return "\n".join(_lines(columns, system, table, is_whole=is_whole)) + "\n"


def _lines(columns: Sequence[Proposal], system: str, table: str, *, is_whole: bool) -> Iterator[str]:
    seen = "" if is_whole else f", in the first {MOST_ROWS:,} rows"
    key = _key(columns)
    cursor = next((one.name for one in columns if one.type == "timestamp" and _IS_CURSOR.search(one.name)), None)
    yield "[system]"
    yield f"name = {_quoted(system)}"
    yield 'source = "csv"'
    yield ""
    yield f"[tables.{_bare(table)}]"
    if key.clashes:
        yield f"# unsure: {key.clashes} rows have no {key.name}, or that of another row{seen}; keys identify a row"
    elif not _IS_KEY.search(key.name):
        yield f"# unsure: {key.name} is unique{seen}, but it is not named like a key"
    yield f"keys = [{_quoted(key.name)}]"
    if cursor is not None:
        yield f"# unsure: {cursor} is named like the time of the last change; false if it does not grow with each"
    yield f"cursor = {_quoted(cursor) if cursor else 'false'}"
    yield ""
    yield f"[tables.{_bare(table)}.columns]"
    for one in columns:
        if one.unsure:
            yield f"# unsure: {one.unsure}{seen}"
        yield f"{_bare(one.name)} = {{ {', '.join(_options(one))} }}"


def _options(one: Proposal) -> Iterator[str]:
    if one.type != "text":
        yield f"type = {_quoted(one.type)}"
    if one.cleaner is not None:
        yield f"cleaner = {_quoted(one.cleaner)}"
    if normalized(one.header) != normalized(one.name):
        yield f"aliases = [{_quoted(one.header)}]"


def _key(columns: Sequence[Proposal]) -> Proposal:
    """The first column that is named like a key and identifies about as many rows as the best; else the best."""
    whole = [one for one in columns if one.type not in ("boolean", "timestamp", "date", "time")] or columns
    best = min(whole, key=lambda one: one.clashes)
    named = (one for one in whole if _IS_KEY.search(one.name) and one.clashes <= 2 * best.clashes)
    return next(named, best)


def _proposal(header: str, texts: pa.Array[Any], taken: set[str]) -> Proposal:
    name = _column_name(header, taken)
    trimmed = pc.utf8_trim_whitespace(texts)
    values = trimmed.filter(pc.fill_null(pc.not_equal(trimmed, ""), False))
    distinct = len(pc.unique(values))
    kind, unsure = _kind(name, values) if len(values) else (_Kind("text", "text"), "it has no value")
    return Proposal(name, header, kind.type, kind.cleaner, unsure, len(texts) - distinct)


def _kind(name: str, values: pa.Array[Any]) -> tuple[_Kind, str]:
    for kind in _KINDS:
        if kind.header and not re.search(kind.header, name):
            continue
        fits = _fitting(values, kind)
        share = 1 - fits / len(values)
        if share <= _MOST_FAULTS:
            faults = len(values) - fits
            return kind, f"{faults} of {len(values):,} values are no {kind.cleaner}" if faults else ""
    return _Kind("text", "text"), ""


def _fitting(values: pa.Array[Any], kind: _Kind) -> int:
    """How many of *values* are such."""
    if kind.shape:
        shaped = int(pc.sum(pc.match_substring_regex(values, kind.shape)).as_py() or 0)
        if shaped < (1 - _MOST_FAULTS) * len(values):
            return shaped
    assert kind.cleaner is not None  # noqa: S101 - all in the table have one
    orders = (False, True) if kind.type in ("date", "timestamp") else (False,)
    found = (clean(values, kind.cleaner, kind.type, CleanOptions(day_first=first)).values for first in orders)
    return max(len(one) - one.null_count for one in found)


def _column_name(header: str, taken: set[str]) -> str:
    """*header* in snake case, different from those that are taken; it is added to them."""
    plain = unicodedata.normalize("NFKD", re.sub(r"\s*\([^()]*\)\s*$", "", header))
    ascii_only = plain.encode("ascii", "ignore").decode()
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", ascii_only)
    name = re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")[:50] or "column"
    number, candidate = 1, name
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate.casefold())
    return candidate


def _bare(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: str) -> str:
    # A TOML basic string takes JSON's escapes, and no DEL as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def names_for(path: str) -> Mapping[str, str]:
    """A system and a table for a file of that name.

    >>> names_for("exports/2026 Leads (all).csv")
    {'system': 'mycrm', 'table': '2026_leads'}
    """
    last = re.sub(r"(\.[A-Za-z]{2,4}){1,2}$", "", path.rpartition("/")[2])
    return {"system": "mycrm", "table": _column_name(last, set())}
