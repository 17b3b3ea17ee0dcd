"""Rows of the ledger in Table Storage: keys that are safe, text of any length, many records packed into one. Pure.

Limits: a key 1 KiB without ``/ \\ # ?`` and control characters, a property 64 KiB (text in UTF-16), an entity 1 MiB,
a transaction 100 entities and 4 MiB (learn.microsoft.com/rest/api/storageservices, Understanding the Table service data
model, Performing entity group transactions).
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from shared.errors import DataError
from shared.ledger.records import Kept, known_done_by
from shared.model import Record, Watermark

Row: TypeAlias = Mapping[str, Any]
"""An entity without PartitionKey: RowKey and properties."""

WATERMARK, JOURNAL = "watermark", "journal"
WORK_KEYS = ("work-", "work.")
"""The row keys of all works lie between these two."""
MOST_ROWS = 100
_MOST_BYTES = 3_500_000
"""Of a transaction's body, with some room for what the client adds."""
_ROW_BYTES = 1_500
"""Headers of one row in that body."""
_MOST_ENTITY = 1_000_000
_CHARACTERS = 16_000
"""In one property: 64 KiB even if each is two units of UTF-16."""
_BYTES = 60_000
_MOST_PACKED = 15 * _BYTES
_LONGEST_KEY = 400
LAYOUT = 1
"""Of all rows here. A table without the row that says so has works that may lack ``done_by``, which is read as well."""
LAYOUT_KEY = ("~", "layout")
"""Partition and key of that row; no feed has that partition."""


def partition(feed: str) -> str:
    """The feed's name as a key, as readable as can be; different names give different keys.

    >>> partition("coolr.location"), partition("a/b")
    ('coolr.location', 'a~2Fb')
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", lambda found: "".join(f"~{byte:02X}" for byte in found[0].encode()), feed)
    return safe if len(safe) <= _LONGEST_KEY else f"{safe[:_LONGEST_KEY]}~~{_digest(feed)}"


def work_key(work: str) -> str:
    return f"{WORK_KEYS[0]}{_digest(work)}"


def work_row(kept: Kept) -> Row:
    """An unknown export time is kept as empty text, since a query cannot ask for what is not there."""
    record = kept.record
    values = {"work": record.work, "name": record.name, "run": record.run, "status": record.status}
    more = {"times": record.times, "exported_at": record.exported_at or "", "done_by": json.dumps(kept.done_by)}
    row = _spread(work_key(record.work), {**values, **more})
    if _size(row) > _MOST_ENTITY:
        raise DataError("the names of a file and its work are longer than the ledger can keep", fix="Shorten its path")
    return row


def as_kept(row: Row) -> Kept:
    text = {name: _gathered(row, name) for name in ("work", "name", "run", "status")}
    record = Record(**text, times=row["times"], exported_at=row["exported_at"] or None)
    runs = _gathered(row, "done_by")
    return Kept(record, known_done_by(record) if runs is None else tuple(json.loads(runs)))


def layout_row() -> Row:
    return {"RowKey": LAYOUT_KEY[1], "layout": LAYOUT}


def mark_row(mark: Watermark) -> Row:
    values = {"value": mark.value, "type": mark.type, "fingerprint": mark.fingerprint, "note": mark.note}
    return _spread(WATERMARK, {name: value for name, value in values.items() if value is not None})


def as_mark(row: Row, etag: str) -> Watermark:
    value, kind, fingerprint, note = (_gathered(row, name) for name in ("value", "type", "fingerprint", "note"))
    return Watermark(value, kind, etag, fingerprint, note)


def journal_row(records: Sequence[Record]) -> Row:
    """All records of one commit in one row, of which none is settled yet."""
    fields = [[r.work, r.name, r.run, r.status, r.exported_at] for r in records]
    packed = zlib.compress(json.dumps(fields).encode())
    if len(packed) > _MOST_PACKED:
        raise DataError(
            f"{len(records):,} files in one unit of work are more than the ledger can record at once",
            fix="Export the table in fewer, larger files",
        )
    return _spread(JOURNAL, {"packed": packed, "settled": 0})


def as_journal(row: Row) -> tuple[list[Record], int]:
    """The records of a journal, and how many of them have rows of their own already."""
    listed = json.loads(zlib.decompress(_gathered(row, "packed")))
    fields = ("work", "name", "run", "status", "exported_at")
    return [Record(times=0, **dict(zip(fields, one, strict=True))) for one in listed], row["settled"]


def fitting(rows: Iterable[Row], most: int = MOST_ROWS) -> Iterator[int]:
    """How many of *rows*, in their order, go into each transaction that may have *most* of them."""
    count = size = 0
    for row in rows:
        own = _sent(row)
        if count and (count == most or size + own > _MOST_BYTES):
            yield count
            count = size = 0
        count, size = count + 1, size + own
    if count:
        yield count


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _spread(key: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A row in which a value too long for one property goes on in ``<name>_1``, ``<name>_2`` ..."""
    row: dict[str, Any] = {"RowKey": key}
    for name, value in values.items():
        row[name] = value
        if isinstance(value, str | bytes):
            longest = _CHARACTERS if isinstance(value, str) else _BYTES
            row[name] = value[:longest]
            row |= {f"{name}_{n // longest}": value[n : n + longest] for n in range(longest, len(value), longest)}
    return row


def _gathered(row: Row, name: str) -> Any:
    value, n = row.get(name), 1
    while f"{name}_{n}" in row:
        value, n = value + row[f"{name}_{n}"], n + 1
    return value


def _size(row: Row) -> int:
    """As the service counts it, or somewhat more."""
    return sum(8 + 2 * len(name) + 4 + 4 * len(str(value)) for name, value in row.items()) + 2 * _LONGEST_KEY


def _sent(row: Row) -> int:
    return _ROW_BYTES + len(json.dumps(row, default=lambda value: "x" * (len(value) * 4 // 3 + 4)))
