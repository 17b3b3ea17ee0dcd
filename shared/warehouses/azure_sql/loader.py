"""Fill a staging table on SQL Server: row arrays, CSV parts and BULK INSERT, or Microsoft's bulk copy.

Every chunk or part is a unit of work of its own: done once more on a new connection if what went wrong may pass, and
done row by row if the server refuses a value, so that one odd value costs one row.
"""

from __future__ import annotations

import functools
import itertools
import logging

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, cast

import pyarrow as pa
import sqlalchemy as sa

from shared.arrow import pc
from shared.contract.codes import Code
from shared.contract.conform import ROW
from shared.errors import DataError, TransientError
from shared.text import SHOW_WARNING
from shared.warehouses import Loaded, RefusedRow
from shared.warehouses.azure_sql import tsql
from shared.warehouses.azure_sql.arrays import chunks, gathered, insert_many, long_columns, utf16_units
from shared.warehouses.azure_sql.parts import Part, remove, upload
from shared.warehouses.azure_sql.session import MSSQLSession
from shared.warehouses.azure_sql.staged_form import as_staged, read_part, staged_type
from shared.warehouses.merge import ddl
from shared.warehouses.merge.types import LONG_TEXT
from shared.warehouses.server import inline
from shared.warehouses.server.unit import UnitsOfWork

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

_log = logging.getLogger("sluice")
T = TypeVar("T")

LoadMethod: TypeAlias = Literal["direct", "array", "bulk", "copy"]
DIRECT_ROWS = 20
"""Up to so many rows are compared in memory, without a staging table."""
ARRAY_ROWS = 5_000
"""Up to so many are not worth a file or a second connection."""
_COPY_BYTES = 64 << 20
_PART_BYTES = 256 << 20
_MOST_REFUSED = 1_000
"""Rows of one slice that are looked for one by one before the whole slice is given up."""


def choose(forced: str, rows: int, *, container: bool, copy: bool) -> LoadMethod:
    """How *rows* get in. *forced* (setting WAREHOUSE_LOADER) decides where it can: ``direct`` only takes few rows.

    >>> choose("auto", 20, container=True, copy=True), choose("auto", 5_001, container=False, copy=True)
    ('direct', 'copy')
    """
    if forced == "direct":
        return "direct" if rows <= DIRECT_ROWS else "array"
    if forced != "auto":
        return cast("LoadMethod", forced)
    if rows <= DIRECT_ROWS:
        return "direct"
    if rows <= ARRAY_ROWS:
        return "array"
    return "bulk" if container else "copy" if copy else "array"


@dataclass(slots=True)
class StagingLoader:
    """One staging table on its way from nothing to full."""

    units: UnitsOfWork[MSSQLSession]
    table: sa.Table
    limits: dict[str, int]
    """UTF-16 units the text columns of the key may have."""
    refused: list[RefusedRow] = field(default_factory=list)
    long: set[str] = field(default_factory=set)
    wide: set[str] = field(default_factory=set)
    """Text columns of the staging table that hold any length."""
    rows: int = 0
    size: int = 0

    @property
    def name(self) -> str:
        return tsql.name(str(self.table.schema), self.table.name)

    def loaded(self) -> Loaded:
        return Loaded(self.rows, tuple(self.refused), self.size, frozenset(self.long))

    def create(self, *, long: Iterable[str] = ()) -> None:
        """The table, empty. Text in *long* may be of any length, binary is staged as text."""

        def unit(session: MSSQLSession) -> None:
            session.ddl(f"DROP TABLE IF EXISTS {self.name}")
            columns = [sa.Column(c.name, staged_type(c, self.wide)) for c in self.table.c]
            ddl.create_table(session, sa.Table(self.table.name, sa.MetaData(), *columns, schema=self.table.schema))

        self.wide = set(long)
        self.units.run(unit)

    # -- what comes in

    def guarded(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """*batches* with binary as hex, without the rows whose key is longer than an index takes."""
        return map(as_staged, self.fitting(batches))

    def fitting(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """*batches* without the rows whose key is longer than an index takes."""
        for batch in batches:
            fitting = batch
            for name, most in self.limits.items():
                fitting = self._refuse_long(fitting, name, most)
            self.long |= long_columns(fitting, self.limits)
            yield fitting

    def inline(self, batches: Iterable[pa.RecordBatch], room: int) -> Loaded | None:
        """All of *batches* to be handed on, and no table; None if they take more than *room* characters."""
        kept = list(self.fitting(batches))
        text = inline.written(kept)
        self.rows, self.size = sum(batch.num_rows for batch in kept), sum(batch.nbytes for batch in kept)
        return self.loaded()._replace(inline=text) if len(text) <= room else None

    def _refuse_long(self, batch: pa.RecordBatch, name: str, most: int) -> pa.RecordBatch:
        column = batch.column(batch.schema.get_field_index(name))
        if (pc.max(pc.binary_length(column)).as_py() or 0) <= most:
            return batch
        is_text = pa.types.is_string(column.type)
        over = pc.fill_null(pc.greater(utf16_units(column) if is_text else pc.binary_length(column), most), False)
        reason = f"more than {most} {'characters' if is_text else 'bytes'}, which no key on SQL Server can hold"
        for row in pc.indices_nonzero(over).to_pylist():
            self.refuse(RefusedRow(batch.slice(row, 1), name, Code.KEY_TOO_LONG, reason))
        return batch.filter(pc.invert(over))

    def refuse(self, one: RefusedRow) -> None:
        self.refused.append(one)
        if len(self.refused) > _MOST_REFUSED:
            raise DataError(
                f"the server refuses more than {_MOST_REFUSED} rows, the last one says: {one.reason}",
                fix="Correct the export, or the type of that column in the catalog",
            )

    # -- array: parameters in bulk

    def array(self, batches: Iterable[pa.RecordBatch]) -> None:
        for batch in batches:
            for chunk in chunks(batch):
                self.widen()
                self.put(chunk)

    def widen(self) -> None:
        """Before a longer text than any so far arrives, its column gets room."""
        new = sorted(self.long - self.wide)
        if not new:
            return

        def unit(session: MSSQLSession) -> None:
            for name in new:
                ddl.change_type(session, self.table, sa.Column(name, LONG_TEXT))

        self.units.run(unit)
        self.wide.update(new)

    def put(self, batch: pa.RecordBatch) -> None:
        """Insert *batch*; where the server refuses it, its halves, down to the rows that it refuses."""
        if not batch.num_rows:
            return
        try:
            self._attempt(batch)
        except DataError as error:
            self.units.run(functools.partial(self.clear, batch=batch))
            if batch.num_rows == 1:
                self.refuse(RefusedRow(batch, None, Code.REFUSED_BY_SERVER, error.problem))
                return
            half = batch.num_rows // 2
            self.put(batch.slice(0, half))
            self.put(batch.slice(half))
        else:
            self.rows += batch.num_rows
            self.size += batch.nbytes

    def _attempt(self, batch: pa.RecordBatch) -> None:
        first = itertools.count()

        def unit(session: MSSQLSession) -> None:
            if next(first):
                self.clear(session, batch)
            insert_many(session, self.name, batch)

        self.units.run(unit)

    def clear(self, session: MSSQLSession, batch: pa.RecordBatch) -> None:
        """Take out what an earlier try may have left: its end was not heard."""
        rows = batch.column(0)
        row = self.table.c[ROW]
        session.change(sa.delete(self.table).where(row >= rows[0].as_py(), row <= rows[-1].as_py()))

    # -- bulk: CSV parts in a container

    def bulk(self, batches: Iterable[pa.RecordBatch], container: ContainerClient, place: StagingContainer) -> None:
        prefix = f"{place.folder}{self.table.name}"
        parts = upload(batches, container, prefix, part_bytes=_PART_BYTES, spool=place.spool)
        self.create(long=self.long)
        with ThreadPoolExecutor(place.connections, "bulk") as pool:
            ends = [part.first_row for part in parts[1:]] + [None]
            failures = list(pool.map(functools.partial(self._insert_part, place.data_source), parts, ends))
        for part, failure in zip(parts, failures, strict=True):  # others hold the whole table until they are done
            if failure is None:
                self.rows += part.rows
                self.size += part.bytes
            else:
                self._one_by_one(container, part, failure)
        remove(container, prefix)

    def _insert_part(self, data_source: str, part: Part, end: int | None) -> DataError | None:
        """Load a part, whole or not at all; what it has that the server refuses."""
        first = itertools.count()

        def unit(session: MSSQLSession) -> None:
            if next(first):
                row = self.table.c[ROW]
                within = [row >= part.first_row, *([row < end] if end is not None else [])]
                session.change(sa.delete(self.table).where(*within))
            done = session.execute(tsql.bulk_insert(self.name, part.name, data_source)).rowcount
            if done not in (part.rows, -1):
                raise TransientError(f"{part.rows} rows were sent, but {done} arrived", fix="Load it again")

        try:
            self.units.run(unit)
        except DataError as error:
            return error
        return None

    def _one_by_one(self, container: ContainerClient, part: Part, failure: DataError) -> None:
        _log.warning(
            "%s; the rows of that part are sent in arrays, which is slower", failure.problem, extra=SHOW_WARNING
        )
        for batch in read_part(container, part.name, self.table):
            for chunk in chunks(batch):
                self.put(chunk)

    # -- copy: Microsoft's bulk copy, on a connection of its own

    def copy(self, batches: Iterable[pa.RecordBatch], send: Callable[[str, pa.Table], int]) -> None:
        self.create(long=[c.name for c in self.table.c if isinstance(c.type, sa.Text) and c.name not in self.limits])
        for rows in gathered(batches, _COPY_BYTES):
            self._send(rows, send)

    def _send(self, rows: pa.Table, send: Callable[[str, pa.Table], int]) -> None:
        try:
            done = send(self.name, rows)
        except DataError as error:
            _log.warning(
                "%s; the rows of that batch are sent in arrays, which is slower", error.problem, extra=SHOW_WARNING
            )
            for batch in rows.to_batches():
                self.units.run(functools.partial(self.clear, batch=batch))
                for chunk in chunks(batch):
                    self.put(chunk)
            return
        if done != rows.num_rows:
            raise TransientError(f"{rows.num_rows} rows were copied, but {done} arrived", fix="Load it again")
        self.rows += done
        self.size += rows.nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingContainer:
    """Where CSV parts go, and how the database finds them."""

    folder: str
    """Path within the container, with a slash at its end, or empty."""
    data_source: str
    connections: int
    spool: Path | None = None
    """Folder on disk where parts wait for their upload; None keeps them in memory."""
