"""Reads one text file as rows of text; its columns are the file's own."""

from __future__ import annotations

import contextlib
import json

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, BinaryIO, cast

import pyarrow as pa

from shared.contract.clean import DayMonth, day_month
from shared.contract.conform import DAY_FIRST
from shared.contract.mapping import known_headers, map_headers
from shared.declared import Layout
from shared.model import Json, Slice, Unit, from_json
from shared.sources import RAW, BadRecord, Described
from shared.sources.csv import packed, workbook
from shared.sources.csv.blocks import Cut
from shared.sources.csv.dialect import Dialect, Given, detect
from shared.sources.csv.reader import read, survey
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
        self._cuts: dict[str, list[Cut | None]] = {}
        self.left_out: Counter[str] = Counter()
        """What the last file read had beside records, by kind: rows above the header, blank lines and rows, repeated
        header rows."""

    def describe(self, unit: Unit) -> Described:
        """The columns of the file, all text. Reads it to its end if its dates leave day and month open."""
        (fields,) = unit.files
        key = _key(fields)
        if key not in self._described:
            self._described[key] = self._describe(unit.work_items[0].name if unit.work_items else "", fields)
        return self._described[key]

    def _describe(self, name: str, fields: Mapping[str, Json]) -> Described:
        with self._opened(fields) as opened:
            dialect = self._dialect(opened, fields)
        detail = {"file": dict(fields), "dialect": asdict(dialect)}
        part = Slice(0, 0, 0, name or _file(fields).name, 0, detail)
        order = self._day_first(fields, dialect)
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
        cuts = self._cuts.get(_key(fields), ())
        with self._opened(fields) as opened:
            counted, self.left_out = _Counted(opened, self._on_bytes), Counter({"rows above the header": dialect.above})
            with _as_text(cast("BinaryIO", counted), fields) as text:
                for found in read(text, dialect, self._batch_rows, skipped=self.left_out, cuts=cuts):
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

    def _day_first(self, fields: Mapping[str, Json], dialect: Dialect) -> dict[str, bool]:
        """By header of a date: whether all of the file's dates that show an order have the day first, or the month."""
        cleaned = {column.name: column.cleaner for column in self._layout.columns}
        mapped = map_headers(dialect.names, self._layout).columns
        orders = _Orders([column.source for column in mapped if cleaned.get(column.name) in _DATED], self._batch_rows)
        if orders.counts:
            with self._opened(fields) as opened, _as_text(opened, fields) as text:
                self._cuts[_key(fields)] = survey(text, dialect, list(orders.counts), orders.look)
        return {
            header: bool(found.day_first)
            for header, found in orders.counts.items()
            if bool(found.day_first) != bool(found.month_first)
        }

    @contextlib.contextmanager
    def _opened(self, fields: Mapping[str, Json]) -> Iterator[BinaryIO]:
        file = _file(fields)
        with self._store.open(file) as opened, packed.unpacked(opened, file.name, fields["member"]) as text:
            yield text


class _Orders:
    """Counts what the dates under some headers say of the order of day and month."""

    def __init__(self, headers: Sequence[str], enough: int) -> None:
        self.counts = dict.fromkeys(headers, DayMonth(0, 0, 0))
        self._enough, self._rows = enough, 0

    def look(self, table: pa.Table) -> bool:
        """False if *enough* rows have no date that leaves anything open: those are ISO dates."""
        for header, before in self.counts.items():
            found = day_month(table[header].combine_chunks())
            self.counts[header] = DayMonth(*map(sum, zip(before, found, strict=True)))
        self._rows += table.num_rows
        return self._rows < self._enough or any(map(any, self.counts.values()))


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


def _key(fields: Mapping[str, Json]) -> str:
    return json.dumps(fields, sort_keys=True)


@contextlib.contextmanager
def _as_text(opened: BinaryIO, fields: Mapping[str, Json]) -> Iterator[BinaryIO]:
    if not _is_workbook(fields):
        yield opened
        return
    with workbook.as_text(opened) as text:
        yield text


def _is_workbook(fields: Mapping[str, Json]) -> bool:
    return str(fields["member"] or fields["name"]).lower().endswith(".xlsx")


def _bad(part: Slice, record: Any) -> BadRecord:
    raw = json.dumps({RAW: record.raw}, ensure_ascii=False)
    return BadRecord(f"{part.origin} line {record.line}, byte {record.offset}", record.code, record.reason, raw)
