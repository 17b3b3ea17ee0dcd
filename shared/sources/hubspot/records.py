"""Records of HubSpot as rows: which columns their properties make, and what their values mean."""

from __future__ import annotations

import datetime as dt
import logging
import re

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from shared.arrow import pc
from shared.contract.conform import LONGEST_NAME
from shared.rest import instants
from shared.rest.rows import Record

_log = logging.getLogger("sluice")

OWN = {
    "id": "bigint", "created_at": "timestamp", "updated_at": "timestamp", "archived": "boolean",
    "archived_at": "timestamp", "merged_into": "bigint",
}  # fmt: skip
"""Columns of every table, beside the properties."""
MERGED = "hs_merged_object_ids"
_TYPES = {"number": "double", "bool": "boolean", "date": "date", "datetime": "timestamp"}
"""Column types by those of properties; all others are text."""
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


def row(record: Record, instants: Mapping[str, str]) -> Record:
    """One record as a row of text, whatever the types: its contract casts it.

    *instants* are the types of the properties that are instants or dates. Others stay as they are, empty texts too:
    see ``without_blanks``.
    """
    properties = record.get("properties") or {}
    return {
        **properties, **{name: value(properties.get(name), kind) for name, kind in instants.items()},
        "id": str(record["id"]), "created_at": record.get("createdAt"), "updated_at": record.get("updatedAt"),
        "archived": "true" if record.get("archived") else "false", "archived_at": record.get("archivedAt"),
        "merged_into": None,
    }  # fmt: skip


def instants_of(types: Mapping[str, str]) -> dict[str, str]:
    """The properties among columns that are instants or dates, with their types."""
    return {name: kind for name, kind in types.items() if name not in OWN and kind in ("timestamp", "date")}


def without_blanks(batch: pa.RecordBatch) -> pa.RecordBatch:
    """*batch* (of text), where an empty text is NULL: HubSpot writes it for what has no value, whatever its type."""
    arrays = [column if column.null_count == len(column) else _without(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def _without(column: Any) -> Any:
    blank = pc.equal(column, "")
    return pc.if_else(blank, None, column) if pc.any(blank).as_py() else column


def losers(found: Record, cursor: str) -> Iterator[Record]:
    """Tombstones of what was merged into a record: they have its cursor, and nothing else of what they were."""
    for one in str((found.get("properties") or {}).get(MERGED) or "").split(";"):
        if one.strip().isdigit() and one.strip() != str(found["id"]):
            at = (found.get("properties") or {}).get(cursor)
            yield {
                "id": one.strip(),
                "archived": "true",
                "merged_into": str(found["id"]),
                cursor: value(at, "timestamp"),
            }


def value(found: Any, kind: str) -> str | None:
    """The value of a property: an empty text is none, and instants and dates are as ISO 8601 has them.

    >>> value("1771934400000", "timestamp"), value("1771934400000", "date"), value("", "double")
    ('2026-02-24T12:00:00+00:00', '2026-02-24', None)
    """
    text = None if found is None else str(found).strip()
    if not text:
        return None
    if kind not in ("timestamp", "date") or not re.fullmatch(r"-?\d+(\.\d+)?([eE]\+?\d+)?", text):
        return text[:10] if kind == "date" and re.match(r"\d{4}-\d\d-\d\dT", text) else str(found)
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
