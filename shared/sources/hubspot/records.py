"""Records of HubSpot as rows: which columns their properties make, and what their values mean."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import re

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from shared.arrow import pc
from shared.contract.conform import LONGEST_NAME
from shared.rest import instants
from shared.rest.rows import Record, texts

_log = logging.getLogger("sluice")

OWN = {
    "id": "bigint", "created_at": "timestamp", "updated_at": "timestamp", "archived": "boolean",
    "archived_at": "timestamp", "merged_into": "bigint",
}  # fmt: skip
"""Columns of every table, beside the properties."""
MERGED = "hs_merged_object_ids"
_TYPES = {"number": "double", "bool": "boolean", "date": "date", "datetime": "timestamp"}
"""Column types by those of properties; all others are text."""
NAMES = {
    "created_at": "createdAt", "updated_at": "updatedAt", "archived_at": "archivedAt", "merged_into": "merged_into",
}  # fmt: skip
"""What a record calls our columns."""
_ISO = r"\d{4}-\d\d-\d\d"
_PLAIN = {"timestamp": f"^$|^{_ISO}", "date": f"^$|^{_ISO}$"}
"""Instants and dates that need no change, or only to be NULL."""
_INSTANT, _NUMBER = re.compile(rf"{_ISO}T"), re.compile(r"-?\d+(\.\d+)?([eE]\+?\d+)?")
_SECONDS = 100_000_000_000
"""Numbers below it are seconds since 1970, others milliseconds."""
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - in UTC, as all instants here


def columns(properties: Sequence[Mapping[str, Any]], wanted: Sequence[str] | None) -> dict[str, str]:
    """The column types of a table: of all *properties*, or of those *wanted*. What cannot be stored is left out."""
    types = {str(one["name"]): _TYPES.get(str(one.get("type")), "text") for one in properties}
    chosen = list(types) if wanted is None else list(wanted)
    long = [name for name in chosen if len(name.encode()) > LONGEST_NAME or name in OWN]
    if long:
        _log.warning("properties of HubSpot that cannot be columns are left out: %s", ", ".join(long))
    return {**OWN, **{name: types.get(name, "text") for name in chosen if name not in long}}


def raw_of(found: Sequence[Record], names: Sequence[str]) -> pa.RecordBatch:
    """*found* as columns of text, as HubSpot has them: our own, and the properties *names*."""
    own: dict[str, list[Any]] = {
        "id": [str(one["id"]) for one in found],
        "archived": ["true" if one.get("archived") else "false" for one in found],
        **{name: [one.get(key) for one in found] for name, key in NAMES.items()},
    }
    given = _texts_of([one.get("properties") or {} for one in found], names)
    arrays = [*map(texts, own.values()), *given.values()]
    return pa.RecordBatch.from_arrays(arrays, names=[*own, *given])


def batch_of(found: Sequence[Record], types: Mapping[str, str]) -> pa.RecordBatch:
    """*found* as a batch of text, whatever the *types* of its columns: its contract casts it. Blank texts are NULL."""
    return columns_of(raw_of(found, [name for name in types if name not in OWN]), types)


def columns_of(raw: pa.RecordBatch, types: Mapping[str, str]) -> pa.RecordBatch:
    """What ``raw_of`` gave as a batch of the columns in *types*, see ``batch_of``."""
    arrays = [raw[name] if name in OWN else _property(raw[name], kind) for name, kind in types.items()]
    return pa.RecordBatch.from_arrays(arrays, names=list(types))


def _texts_of(properties: list[Record], names: Sequence[str]) -> dict[str, pa.Array[Any]]:
    with contextlib.suppress(pa.ArrowTypeError, UnicodeEncodeError):  # a value that is no text, or half a character
        found: Any = pa.array(properties, pa.struct([(name, pa.string()) for name in names]))
        return dict(zip(names, found.flatten(), strict=True))
    return {name: texts([of.get(name) for of in properties]) for name in names}


def _property(column: pa.Array[Any], kind: str) -> pa.Array[Any]:
    """A property as text: see ``value``. Most are as they have to be, which is seen in a whole column at once."""
    if kind in _PLAIN and not pc.all(pc.match_substring_regex(column, _PLAIN[kind]), skip_nulls=True).as_py():
        return texts([value(one, kind) for one in column.to_pylist()])
    return _without_blanks(column)


def _without_blanks(column: pa.Array[Any]) -> pa.Array[Any]:
    blank = pc.equal(column, "")
    if not pc.any(blank).as_py():
        return column
    found: pa.Array[Any] = pc.if_else(blank, None, column)
    return found


def losers(found: Record, cursor: str) -> Iterator[Record]:
    """Tombstones of what was merged into a record: they have its cursor, and nothing else of what they were."""
    merged = (found.get("properties") or {}).get(MERGED)
    for one in str(merged).split(";") if merged else ():
        if one.strip().isdigit() and one.strip() != str(found["id"]):
            at = (found.get("properties") or {}).get(cursor)
            yield {"id": one.strip(), "archived": True, "merged_into": str(found["id"]), "properties": {cursor: at}}


def value(found: Any, kind: str) -> str | None:
    """The value of a property: an empty text is none, and instants and dates are as ISO 8601 has them.

    >>> value("1771934400000", "timestamp"), value("1771934400000", "date"), value("", "double")
    ('2026-02-24T12:00:00+00:00', '2026-02-24', None)
    """
    text = None if found is None else str(found).strip()
    if not text:
        return None
    if kind not in _PLAIN or not _NUMBER.fullmatch(text):
        return text[:10] if kind == "date" and _INSTANT.match(text) else str(found)
    number = float(text)
    moment = _EPOCH + dt.timedelta(milliseconds=number * (1000 if abs(number) < _SECONDS else 1))
    return moment.date().isoformat() if kind == "date" else f"{moment.isoformat()}+00:00"


def instant(record: Record, cursor: str) -> dt.datetime | None:
    """The cursor of a record, in UTC without zone."""
    found: dt.datetime | None = instants.parse(value((record.get("properties") or {}).get(cursor), "timestamp"), "iso")
    return found


def milliseconds(moment: dt.datetime) -> int:
    """*moment* (UTC, without zone) in milliseconds since 1970, cut off."""
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)


def from_milliseconds(number: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(milliseconds=number)
