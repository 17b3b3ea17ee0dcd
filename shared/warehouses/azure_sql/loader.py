"""Fill a staging table on SQL Server: row arrays, CSV parts and BULK INSERT, or Microsoft's bulk copy.

Every chunk or part is a unit of work of its own. It is repeated on a new connection after a transient error. If the
server refuses a value, the rows are sent in ever smaller arrays, so that one bad value costs one row.
"""

from __future__ import annotations

import functools
import itertools
import logging

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

import pyarrow as pa
import sqlalchemy as sa

from shared.arrow import pc
from shared.contract.codes import Code
from shared.contract.conform import ROW
from shared.errors import CORRECT_VALUE, LOAD_AGAIN, DataError, TransientError
from shared.text import SHOW_WARNING
from shared.warehouses import Loaded, RefusedRow
from shared.warehouses.azure_sql import tsql
from shared.warehouses.azure_sql.arrays import chunks, gathered, insert_many, long_columns, utf16_units
from shared.warehouses.azure_sql.container import StagingContainer
from shared.warehouses.azure_sql.parts import Part
from shared.warehouses.azure_sql.session import MSSQLSession
from shared.warehouses.azure_sql.staged_form import as_staged, read_part, staged_type
from shared.warehouses.merge import ddl
from shared.warehouses.merge.types import LONG_TEXT
from shared.warehouses.server import inline
from shared.warehouses.server.few_rows import DIRECT_ROWS
from shared.warehouses.server.unit import UnitsOfWork

_log = logging.getLogger("sluice")

LoadMethod: TypeAlias = Literal["direct", "array", "bulk", "copy"]
ARRAY_ROWS = 5_000
"""Up to so many are not worth a file or a second connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLimits:
    """How much goes into one call, and how many faulty rows are looked for."""

    chunk_rows: int = 10_000
    chunk_bytes: int = 16 << 20
    """What one call of fast_executemany may keep: it holds every row at its full declared width."""
    copy_bytes: int = 64 << 20
    part_bytes: int = 256 << 20
    refused_rows: int = 1_000
    """Rows of one slice that the server may refuse before the whole slice fails."""


def choose_method(forced: str, rows: int, *, container: bool, copy: bool) -> LoadMethod:
    """How *rows* are loaded. *forced* (setting WAREHOUSE_LOADER) decides where it can: ``direct`` only takes few rows.

    >>> choose_method("auto", 20, container=True, copy=True), choose_method("auto", 5_001, container=False, copy=True)
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


def methods_in_use(forced: str, *, container: bool, copy: bool) -> list[LoadMethod]:
    """Every method that loads may take with this setting, those they fall back to included.

    >>> methods_in_use("auto", container=True, copy=True), methods_in_use("array", container=True, copy=True)
    (['direct', 'array', 'bulk'], ['array'])
    """
    sizes = (DIRECT_ROWS, ARRAY_ROWS, ARRAY_ROWS + 1)
    chosen = [choose_method(forced, rows, container=container, copy=copy) for rows in sizes]
    fallbacks: list[LoadMethod] = ["array"] if set(chosen) & {"bulk", "copy"} else []
    return [method for method in ("direct", "array", "bulk", "copy") if method in {*chosen, *fallbacks}]


@dataclass
class StagingLoader:
    """Fills one staging table. Used once."""

    units: UnitsOfWork[MSSQLSession]
    table: sa.Table
    limits: LoadLimits
    refused: list[RefusedRow] = field(default_factory=list)
    long: set[str] = field(default_factory=set)
    """Text columns with a value that an ordinary column does not hold."""
    wide: set[str] = field(default_factory=set)
    """Text columns of the staging table that hold any length."""
    rows: int = 0
    size: int = 0

    @property
    def name(self) -> str:
        return tsql.name(str(self.table.schema), self.table.name)

    @functools.cached_property
    def key_lengths(self) -> dict[str, int]:
        """UTF-16 units the text columns of the key may have, bytes the binary ones."""
        keys = {c.name: c for c in self.table.c if MSSQLSession.is_key(c)}
        return {name: getattr(c.type.dialect_impl(MSSQLSession.dialect), "length", 0) for name, c in keys.items()}

    def loaded(self) -> Loaded:
        return Loaded(self.rows, tuple(self.refused), self.size, frozenset(self.long))

    def create(self, *, long: Iterable[str] = ()) -> None:
        """The table, empty. Text in *long* may be of any length, binary is staged as text."""

        self.wide = set(long)
        columns = [sa.Column(c.name, staged_type(c, self.wide)) for c in self.table.c]
        table = sa.Table(self.table.name, sa.MetaData(), *columns, schema=self.table.schema)
        self.units.run_single(f"DROP TABLE IF EXISTS {self.name}; {ddl.creating(MSSQLSession.dialect, table)}")

    # -- what comes in

    def prepared(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """*batches* with binary as hex, without the rows whose key is longer than an index takes."""
        return map(as_staged, self.without_long_keys(batches))

    def without_long_keys(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """*batches* without the rows whose key is longer than an index takes."""
        for batch in batches:
            fitting = batch
            for name, most in self.key_lengths.items():
                fitting = self._refuse_long(fitting, name, most)
            self.long |= long_columns(fitting, self.key_lengths)
            yield fitting

    def inline(self, batches: Iterable[pa.RecordBatch], limit: int) -> Loaded | None:
        """All of *batches* as text, and no table; None if that takes more than *limit* characters."""
        kept = list(self.without_long_keys(batches))
        text = inline.written(kept)
        self.rows, self.size = sum(batch.num_rows for batch in kept), sum(batch.nbytes for batch in kept)
        return self.loaded()._replace(inline=text) if len(text) <= limit else None

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
        if len(self.refused) > self.limits.refused_rows:
            raise DataError(
                f"the server refuses more than {self.limits.refused_rows} rows; the last reason was: {one.reason}",
                fix=CORRECT_VALUE,
            )

    # -- array: parameters in bulk

    def _chunks(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        return chunks(batch, rows=self.limits.chunk_rows, size=self.limits.chunk_bytes)

    def array(self, batches: Iterable[pa.RecordBatch]) -> None:
        for batch in batches:
            for chunk in self._chunks(batch):
                self.widen()
                self.put(chunk)

    def widen(self) -> None:
        """Widen the columns for which a longer text than any so far is about to be sent."""
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
        """Delete what an earlier attempt may have left: its result is unknown."""
        rows = batch.column(0)
        row = self.table.c[ROW]
        session.change(sa.delete(self.table).where(row >= rows[0].as_py(), row <= rows[-1].as_py()))

    # -- bulk: CSV parts in a container

    def bulk(self, batches: Iterable[pa.RecordBatch], container: StagingContainer, *, connections: int) -> None:
        parts = container.upload(self.table.name, batches, part_bytes=self.limits.part_bytes)
        self.create(long=self.long)
        with ThreadPoolExecutor(connections, "bulk") as pool:
            ends = [part.first_row for part in parts[1:]] + [None]
            failures = list(pool.map(functools.partial(self._insert_part, container), parts, ends))
        for part, failure in zip(parts, failures, strict=True):  # others hold the whole table until they are done
            if failure is None:
                self.rows += part.rows
                self.size += part.bytes
            else:
                self._send_part_in_arrays(container, part, failure)
        container.remove(self.table.name)

    def _insert_part(self, container: StagingContainer, part: Part, end: int | None) -> DataError | None:
        """Load a part, whole or not at all; what it has that the server refuses."""
        first = itertools.count()

        def unit(session: MSSQLSession) -> None:
            if next(first):
                row = self.table.c[ROW]
                within = [row >= part.first_row, *([row < end] if end is not None else [])]
                session.change(sa.delete(self.table).where(*within))
            done = session.execute(container.bulk_insert(self.table, part.name)).rowcount
            if done not in (part.rows, -1):
                raise TransientError(f"{part.rows} rows were sent, but {done} arrived", fix=LOAD_AGAIN)

        try:
            self.units.run(unit)
        except DataError as error:
            return error
        return None

    def _send_part_in_arrays(self, container: StagingContainer, part: Part, failure: DataError) -> None:
        _log.warning(
            "%s; the rows of that part are sent in arrays, which is slower", failure.problem, extra=SHOW_WARNING
        )
        for batch in read_part(container.client, part.name, self.table):
            for chunk in self._chunks(batch):
                self.put(chunk)

    # -- copy: Microsoft's bulk copy, on a connection of its own

    def copy(self, batches: Iterable[pa.RecordBatch], send: Callable[[str, pa.Table], int | None]) -> None:
        """*send* copies rows into a table and returns how many arrived; None if it failed and arrays have to do."""
        self.create(
            long=[c.name for c in self.table.c if isinstance(c.type, sa.Text) and c.name not in self.key_lengths]
        )
        for rows in gathered(batches, self.limits.copy_bytes):
            arrived = send(self.name, rows)
            if arrived is None:
                self._send_in_arrays(rows)
                continue
            if arrived != rows.num_rows:
                raise TransientError(f"{rows.num_rows} rows were copied, but {arrived} arrived", fix=LOAD_AGAIN)
            self.rows += arrived
            self.size += rows.nbytes

    def _send_in_arrays(self, rows: pa.Table) -> None:
        for batch in rows.to_batches():
            self.units.run(functools.partial(self.clear, batch=batch))
            for chunk in self._chunks(batch):
                self.put(chunk)
