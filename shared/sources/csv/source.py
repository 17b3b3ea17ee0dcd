"""Reads one text file as rows of text; its columns are the file's own."""

from __future__ import annotations

import contextlib
import json

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, BinaryIO

import pyarrow as pa

from shared.contract.clean import DayMonth, day_month
from shared.contract.conform import DAY_FIRST
from shared.contract.mapping import known_headers, map_headers
from shared.model import Json, Layout, Slice, Unit, from_json
from shared.sources import RAW, BadRecord, Described
from shared.sources.csv import packed, workbook
from shared.sources.csv.dialect import Dialect, Given, detect
from shared.sources.csv.reader import read
from shared.stores import File, Store

_DATED = ("date", "timestamp")


class CsvSource:
    """Reads text files, gzip and zip members, and spreadsheets, in the layout of one feed."""

    def __init__(
        self, store: Store, layout: Layout, *, batch_rows: int, on_bytes: Callable[[int], None] = lambda size: None
    ) -> None:
        """*on_bytes* gets how many bytes of a file have been read more, when its rows are read."""
        self._store, self._layout, self._batch_rows = store, layout, batch_rows
        self._on_bytes = on_bytes
        self._described: dict[str, Described] = {}
        self.left_out: Counter[str] = Counter()
        """What the last file read had beside records, by kind: rows above the header, blank lines and rows, repeated
        header rows."""

    def describe(self, unit: Unit) -> Described:
        """The columns of the file, all text. Reads it to its end if its dates leave day and month open."""
        (fields,) = unit.files
        key = json.dumps(fields, sort_keys=True)
        if key not in self._described:
            self._described[key] = self._describe(unit.work_items[0].name if unit.work_items else "", fields)
        return self._described[key]

    def _describe(self, name: str, fields: Mapping[str, Json]) -> Described:
        with self._opened(fields) as opened:
            dialect = self._dialect(opened, fields)
        detail = {"file": dict(fields), "dialect": asdict(dialect)}
        part = Slice(0, 0, 0, name or _file(fields).name, 0, detail)
        order = self._day_first(part, dialect)
        schema = pa.schema(
            [
                pa.field(
                    one, pa.string(), metadata={DAY_FIRST: str(order[one]).lower().encode()} if one in order else None
                )
                for one in dialect.names
            ]
        )
        return Described({part.origin: schema}, [part], {})

    def read(self, part: Slice) -> Iterator[pa.RecordBatch | Sequence[BadRecord]]:
        """The rows as text, and the records that are no rows."""
        fields = part.detail["file"]
        dialect = from_json(Dialect, part.detail["dialect"])
        with self._opened(fields) as opened:
            counted, self.left_out = _Counted(opened, self._on_bytes), Counter({"rows above the header": dialect.above})
            for found in self._batches(counted, fields, dialect):
                counted.report()
                yield found if isinstance(found, pa.RecordBatch) else [_bad(part, one) for one in found]

    def _dialect(self, opened: BinaryIO, fields: Mapping[str, Json]) -> Dialect:
        layout = self._layout
        names = tuple(column.name for column in layout.columns) if layout.header is False else ()
        given = Given(
            encoding=layout.encoding, delimiter=layout.delimiter, quote=layout.quote, escape=layout.escape,
            header=layout.header, names=names,
        )  # fmt: skip
        known = known_headers(layout)
        if _is_workbook(fields):
            return workbook.detect(opened, given, known=known)
        return detect(opened, given, known=known)

    def _batches(self, opened: Any, fields: Mapping[str, Json], dialect: Dialect) -> Iterator[Any]:
        if _is_workbook(fields):
            return workbook.read(opened, dialect, self._batch_rows, skipped=self.left_out)
        return read(opened, dialect, self._batch_rows, skipped=self.left_out)

    def _day_first(self, part: Slice, dialect: Dialect) -> dict[str, bool]:
        """By header of a date: whether all of the file's dates that show an order have the day first, or the month."""
        cleaned = {column.name: column.cleaner for column in self._layout.columns}
        mapped = map_headers(dialect.names, self._layout).columns
        headers = [column.source for column in mapped if cleaned.get(column.name) in _DATED]
        counts = dict.fromkeys(headers, DayMonth(0, 0, 0))
        for batch in self.read(part) if headers else ():
            if isinstance(batch, pa.RecordBatch):
                for header in headers:
                    counts[header] = DayMonth(*map(sum, zip(counts[header], day_month(batch[header]), strict=True)))
                if not any(map(any, counts.values())):
                    break  # no date in the first batch leaves anything open: those are ISO dates
        return {
            header: bool(found.day_first)
            for header, found in counts.items()
            if bool(found.day_first) != bool(found.month_first)
        }

    @contextlib.contextmanager
    def _opened(self, fields: Mapping[str, Json]) -> Iterator[BinaryIO]:
        file = _file(fields)
        with self._store.open(file) as opened, packed.unpacked(opened, file.name, fields["member"]) as text:
            yield text


class _Counted:
    """A stream that reports how far it has been read."""

    def __init__(self, stream: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self._stream, self._on_bytes, self._position = stream, on_bytes, 0

    def report(self) -> None:
        position = self._stream.tell()
        self._on_bytes(position - self._position)
        self._position = position

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _file(fields: Mapping[str, Json]) -> File:
    return File(**{name: value for name, value in fields.items() if name != "member"})


def _is_workbook(fields: Mapping[str, Json]) -> bool:
    return str(fields["member"] or fields["name"]).lower().endswith(".xlsx")


def _bad(part: Slice, record: Any) -> BadRecord:
    raw = json.dumps({RAW: record.raw}, ensure_ascii=False)
    return BadRecord(f"{part.origin} line {record.line}, byte {record.offset}", record.code, record.reason, raw)
