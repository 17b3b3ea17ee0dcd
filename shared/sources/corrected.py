"""Rejected rows as CSV for a person to correct, and read back with the types of their run.

``shared.sources.sheet`` says how cells survive a spreadsheet program. Fits in memory by its nature.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from pyarrow import csv

from shared.arrow import pc
from shared.contract.codes import Code
from shared.contract.conform import DAY_FIRST
from shared.contract.hidden import CORRECTED
from shared.errors import ConfigError, DataError
from shared.ids import work_id
from shared.model import Column, Json, Run, Slice, Unit, WorkItem
from shared.sources import Described, sheet

_ABOUT = ("run", "exported_at", "place", "scope", "column", "code", "reason")
_AT_ONCE = 1_000
_MARK = "reject:"
"""Prefix of the columns about the reject, so that they cannot be taken for columns of the row."""


def write(rejects: Callable[[], Iterable[Mapping[str, Json]]], out: IO[bytes]) -> None:
    """Rejected rows as CSV: what is wrong with each, then the row's own columns as text.

    *rejects* is called twice: the header needs the columns of all rows, which may be too many to keep.
    """

    def kept() -> Iterable[Mapping[str, Json]]:
        return (reject for reject in rejects() if reject["code"] != Code.KEPT_OUT)  # there is nothing to correct

    names = list(dict.fromkeys(name for reject in kept() for name in json.loads(reject["raw"])))
    header = (*(f"{_MARK}{name}" for name in _ABOUT), *map(sheet.protected, names))
    schema = pa.schema([(name, pa.string()) for name in header])
    out.write(sheet.MARK)
    with csv.CSVWriter(out, schema, write_options=csv.WriteOptions(quoting_style="needed")) as writer:
        rest = _by_row(kept())
        while some := list(itertools.islice(rest, _AT_ONCE)):
            raws = [json.loads(reject["raw"]) for reject in some]
            about = [pa.array([_cell(reject[name]) for reject in some], pa.string()) for name in _ABOUT]
            own = [pa.array([_cell(raw.get(name)) for raw in raws], pa.string()) for name in names]
            writer.write_batch(pa.RecordBatch.from_arrays([*about, *own], schema=schema))


def _by_row(rejects: Iterable[Mapping[str, Json]]) -> Iterator[Mapping[str, Json]]:
    """One line a row, however many of its values were rejected: else each line would undo the others' corrections."""
    for _, several in itertools.groupby(rejects, lambda reject: (reject["run"], reject["place"])):
        same = list(several)
        joined = {name: "; ".join(str(reject[name] or "") for reject in same) for name in ("column", "code", "reason")}
        yield {**same[0], **joined}


def _cell(value: Json) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return sheet.protected(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if isinstance(value, float) or text.startswith("-") else sheet.protected(text)


class CorrectedRows:
    """Reads the corrected rows of one run."""

    def __init__(self, file: Path, columns: Sequence[Column]) -> None:
        self._file = file
        self._columns = {name: column for column in columns for name in (column.source, *column.more) if name}

    def units(self) -> dict[str, Unit]:
        """What to load, by the id of the run that rejected it."""
        table = _read(self._file)
        content = hashlib.sha256(self._file.read_bytes()).hexdigest()
        found: dict[str, Unit] = {}
        for run, exported_at in zip(_details(table, "run"), _details(table, "exported_at"), strict=True):
            if run is None:
                raise DataError(f"{self._file} has a row without {_MARK}run", fix="Keep the first columns unchanged")
            work = WorkItem(work_id(f"replay {run}", content), f"{self._file.name} (corrected rows of run {run})")
            found.setdefault(
                run, Unit(kind="delta", work_items=(work,), files=({"run": run},), exported_at=exported_at)
            )
        return found

    @staticmethod
    def types(run: Run) -> dict[str, str]:
        """The column types *run* had, by the source's names: what its text is read as."""
        return {column.source: column.type for column in run.columns if column.type != "null"}

    def choices(self, run: Run) -> dict[str, str]:
        """The column that each header in the file had in *run*, where that was read by a layout."""
        seen = set(_read(self._file).column_names)
        return {column.source: column.name for column in run.columns if column.source in seen}

    def describe(self, unit: Unit) -> Described:
        rows = self._rows(str(unit.files[0]["run"]))
        name = unit.work_items[0].name
        part = Slice(0, 0, rows.num_rows, name, 0, dict(unit.files[0]))
        return Described({name: rows.schema}, [part], {})

    def read(self, part: Slice) -> Iterator[pa.RecordBatch]:
        yield from self._rows(str(part.detail["run"])).to_batches()

    def _rows(self, run: str) -> pa.Table:
        table = _read(self._file)
        chosen = table.filter(pc.equal(table[f"{_MARK}run"], run))
        names = [name for name in self._columns if name in chosen.column_names]
        fields = [self._field(name) for name in names]
        arrays = [self._decoded(name, chosen[name]) for name in names]
        return pa.table(arrays, schema=pa.schema(fields))

    def _field(self, name: str) -> pa.Field[Any]:
        """With the order of day and month that its run found."""
        column = self._columns[name]
        order = {} if column.day_first is None else {DAY_FIRST: str(column.day_first).lower().encode()}
        kind = pa.binary() if column.type == "binary" else pa.string()
        return pa.field(name, kind, metadata={**order, CORRECTED: b"true"})

    def _decoded(self, name: str, values: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any] | pa.Array[Any]:
        if self._columns[name].type != "binary":
            return values
        return pa.array([None if text is None else base64.b64decode(text) for text in values.to_pylist()], pa.binary())


def _read(file: Path) -> pa.Table:
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{file} does not exist", fix="Write one with `sluice rejects FEED --csv`") from error
    found = sheet.read(content, str(file), f"{_MARK}run")
    columns = [[row[n] for row in found.rows] for n in range(len(found.names))]
    table = pa.table([pa.array(column, pa.string()) for column in columns], names=found.names)
    places = [place for place in zip(_details(table, "run"), _details(table, "place"), strict=True) if place[1]]
    if len(set(places)) < len(places):
        raise DataError(f"{file} has a row twice, by its {_MARK}place", fix="Keep the corrected one")
    return table


def _details(table: pa.Table, name: str) -> list[str | None]:
    column = f"{_MARK}{name}"
    return table[column].to_pylist() if column in table.column_names else [None] * table.num_rows
