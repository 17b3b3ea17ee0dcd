"""Fill a staging table on SQL Server: row arrays, CSV parts and BULK INSERT, or Microsoft's bulk copy.

Every chunk or part is a unit of work of its own: done once more on a new connection if what went wrong may pass, and
done row by row if the server refuses a value, so that one odd value costs one row.
"""

from __future__ import annotations

import functools
import itertools
import logging

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, cast

import pyarrow as pa
import sqlalchemy as sa

from pyarrow import csv

from shared.arrow import pc
from shared.contract import ROW
from shared.errors import DataError, TransientError
from shared.warehouses import Loaded, Refused, _ddl, _inline, _parts, _tsql
from shared.warehouses._mssql import IN_ROW, MSSQLSession
from shared.warehouses._types import LONG_TEXT

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

_log = logging.getLogger("sluice")
T = TypeVar("T")

Way: TypeAlias = Literal["direct", "array", "bulk", "copy"]
DIRECT_ROWS = 20
"""Up to so many rows are compared in memory, without a staging table."""
ARRAY_ROWS = 5_000
"""Up to so many are not worth a file or a second connection."""
_CHUNK_BYTES = 16 << 20
"""What one call of fast_executemany may keep: it holds every row at its full declared width."""
_CHUNK_ROWS = 10_000
_COPY_BYTES = 64 << 20
_PART_BYTES = 256 << 20
_MOST_REFUSED = 1_000
"""Rows of one slice that are looked for one by one before the whole slice is given up."""


def choose(forced: str, rows: int, *, container: bool, copy: bool) -> Way:
    """How *rows* get in. *forced* (setting WAREHOUSE_LOADER) decides where it can: ``direct`` only takes few rows.

    >>> choose("auto", 20, container=True, copy=True), choose("auto", 5_001, container=False, copy=True)
    ('direct', 'copy')
    """
    if forced == "direct":
        return "direct" if rows <= DIRECT_ROWS else "array"
    if forced != "auto":
        return cast("Way", forced)
    if rows <= DIRECT_ROWS:
        return "direct"
    if rows <= ARRAY_ROWS:
        return "array"
    return "bulk" if container else "copy" if copy else "array"


class Units(Protocol):
    """What does a unit of work in a transaction, again on a new connection if need be."""

    def unit(self, work: Callable[[MSSQLSession], T]) -> T: ...


@dataclass(slots=True)
class Filling:
    """One staging table on its way from nothing to full."""

    units: Units
    table: sa.Table
    limits: dict[str, int]
    """UTF-16 units the text columns of the key may have."""
    refused: list[Refused] = field(default_factory=list)
    long: set[str] = field(default_factory=set)
    wide: set[str] = field(default_factory=set)
    """Text columns of the staging table that hold any length."""
    rows: int = 0
    size: int = 0

    @property
    def name(self) -> str:
        return _tsql.name(str(self.table.schema), self.table.name)

    def loaded(self) -> Loaded:
        return Loaded(self.rows, tuple(self.refused), self.size, frozenset(self.long))

    def create(self, *, long: Iterable[str] = ()) -> None:
        """The table, empty. Text in *long* may be of any length, binary is staged as text."""

        def unit(session: MSSQLSession) -> None:
            session.ddl(f"DROP TABLE IF EXISTS {self.name}")
            columns = [sa.Column(c.name, _staged_type(c, self.wide)) for c in self.table.c]
            _ddl.create_table(session, sa.Table(self.table.name, sa.MetaData(), *columns, schema=self.table.schema))

        self.wide = set(long)
        self.units.unit(unit)

    # -- what comes in

    def guarded(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """*batches* with binary as hex, without the rows whose key is longer than an index takes."""
        return map(_as_staged, self.fitting(batches))

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
        text = _inline.written(kept)
        self.rows, self.size = sum(batch.num_rows for batch in kept), sum(batch.nbytes for batch in kept)
        return self.loaded()._replace(inline=text) if len(text) <= room else None

    def _refuse_long(self, batch: pa.RecordBatch, name: str, most: int) -> pa.RecordBatch:
        column = batch.column(batch.schema.get_field_index(name))
        if (pc.max(pc.binary_length(column)).as_py() or 0) <= most:
            return batch
        is_text = pa.types.is_string(column.type)
        over = pc.fill_null(pc.greater(utf16_units(column) if is_text else pc.binary_length(column), most), False)
        reason = f"more than {most} {'characters' if is_text else 'bytes'}, which no key on SQL Server holds"
        for row in pc.indices_nonzero(over).to_pylist():
            self.refuse(Refused(batch.slice(row, 1), name, "key_too_long", reason))
        return batch.filter(pc.invert(over))

    def refuse(self, one: Refused) -> None:
        self.refused.append(one)
        if len(self.refused) > _MOST_REFUSED:
            raise DataError(
                f"the server refuses more than {_MOST_REFUSED} rows, the last one says: {one.reason}",
                fix="Mend the export, or the type of that column in the catalog",
            )

    # -- array: parameters in bulk

    def array(self, batches: Iterable[pa.RecordBatch]) -> None:
        for batch in batches:
            for chunk in _chunks(batch):
                self.widen()
                self.put(chunk)

    def widen(self) -> None:
        """Before a longer text than any so far arrives, its column gets room."""
        new = sorted(self.long - self.wide)
        if not new:
            return

        def unit(session: MSSQLSession) -> None:
            for name in new:
                _ddl.change_type(session, self.table, sa.Column(name, LONG_TEXT))

        self.units.unit(unit)
        self.wide.update(new)

    def put(self, batch: pa.RecordBatch) -> None:
        """Insert *batch*; where the server refuses it, its halves, down to the rows that it refuses."""
        if not batch.num_rows:
            return
        try:
            self._attempt(batch)
        except DataError as error:
            self.units.unit(functools.partial(self.clear, batch=batch))
            if batch.num_rows == 1:
                self.refuse(Refused(batch, None, "refused_by_server", error.problem))
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

        self.units.unit(unit)

    def clear(self, session: MSSQLSession, batch: pa.RecordBatch) -> None:
        """Take out what an earlier try may have left: its end was not heard."""
        rows = batch.column(0)
        row = self.table.c[ROW]
        session.change(sa.delete(self.table).where(row >= rows[0].as_py(), row <= rows[-1].as_py()))

    # -- bulk: CSV parts in a container

    def bulk(self, batches: Iterable[pa.RecordBatch], container: ContainerClient, place: Place) -> None:
        prefix = f"{place.folder}{self.table.name}"
        parts = _parts.upload(batches, container, prefix, part_bytes=_PART_BYTES, spool=place.spool)
        self.create(long=self.long)
        with ThreadPoolExecutor(place.connections, "bulk") as pool:
            ends = [part.first_row for part in parts[1:]] + [None]
            each = functools.partial(self._insert_part, container, place.data_source)
            list(pool.map(each, parts, ends))
        _parts.remove(container, prefix)

    def _insert_part(
        self, container: ContainerClient, data_source: str, part: _parts.Part, end: int | None
    ) -> None:  # fmt: skip
        first = itertools.count()

        def unit(session: MSSQLSession) -> None:
            if next(first):
                row = self.table.c[ROW]
                within = [row >= part.first_row, *([row < end] if end is not None else [])]
                session.change(sa.delete(self.table).where(*within))
            done = session.execute(_tsql.bulk_insert(self.name, part.name, data_source)).rowcount
            if done not in (part.rows, -1):
                raise TransientError(f"{part.rows} rows were sent, but {done} arrived", fix="Load it again")

        try:
            self.units.unit(unit)
        except DataError as error:
            _log.warning("%s: %s; its rows are now sent one by one", part.name, error.problem)
            for batch in read_part(container, part.name, self.table):
                for chunk in _chunks(batch):
                    self.put(chunk)
        else:
            self.rows += part.rows
            self.size += part.bytes

    # -- copy: Microsoft's bulk copy, on a connection of its own

    def copy(self, batches: Iterable[pa.RecordBatch], send: Callable[[str, pa.Table], int]) -> None:
        self.create(long=[c.name for c in self.table.c if isinstance(c.type, sa.Text) and c.name not in self.limits])
        for gathered in _gathered(batches, _COPY_BYTES):
            self._send(gathered, send)

    def _send(self, rows: pa.Table, send: Callable[[str, pa.Table], int]) -> None:
        try:
            done = send(self.name, rows)
        except DataError as error:
            _log.warning("%s: %s; these rows are now sent one by one", self.table.name, error.problem)
            for batch in rows.to_batches():
                self.units.unit(functools.partial(self.clear, batch=batch))
                for chunk in _chunks(batch):
                    self.put(chunk)
            return
        if done != rows.num_rows:
            raise TransientError(f"{rows.num_rows} rows were copied, but {done} arrived", fix="Load it again")
        self.rows += done
        self.size += rows.nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where CSV parts go, and how the database finds them."""

    folder: str
    """Path within the container, with a slash at its end, or empty."""
    data_source: str
    connections: int
    spool: Path | None = None
    """Folder on disk where parts wait for their upload; None keeps them in memory."""


# -- Arrow and SQL Server


def utf16_units(column: Any) -> Any:
    """Length of each text as SQL Server counts it: characters beyond the first 65,536 count twice."""
    lengths = pc.utf8_length(column)
    if pc.max(pc.binary_length(column)).as_py() == pc.max(lengths).as_py():
        return lengths
    return pa.array([len(value.encode("utf-16-le")) // 2 if value else 0 for value in column.to_pylist()], pa.int32())


def long_columns(batch: pa.RecordBatch, keys: Iterable[str]) -> set[str]:
    """Text columns with a value that an ordinary column does not hold."""
    texts = [f.name for f in batch.schema if pa.types.is_string(f.type) and f.name not in set(keys)]
    found = set()
    for name in texts:
        column = batch.column(batch.schema.get_field_index(name))
        if (pc.max(pc.binary_length(column)).as_py() or 0) > IN_ROW and pc.max(utf16_units(column)).as_py() > IN_ROW:
            found.add(name)
    return found


def insert_many(session: MSSQLSession, table: str, batch: pa.RecordBatch) -> None:
    """Insert *batch* with one call, every parameter's type and width said beforehand."""
    cursor = session.connection.cursor()
    cursor.fast_executemany = True
    cursor.setinputsizes([_input_size(column) for column in batch.columns])
    rows = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    cursor.executemany(_tsql.insert(table, batch.schema.names), rows)


_SIZES: dict[pa.DataType, tuple[int, int, int]] = {
    pa.bool_(): (-7, 1, 0), pa.int16(): (5, 5, 0), pa.int32(): (4, 10, 0), pa.int64(): (-5, 19, 0),
    pa.float32(): (7, 24, 0), pa.float64(): (8, 53, 0), pa.date32(): (91, 10, 0), pa.time64("us"): (-154, 15, 6),
    pa.timestamp("us"): (93, 26, 6),
}  # fmt: skip
"""ODBC's number of the SQL type, precision and scale."""


def _input_size(column: pa.Array[Any]) -> tuple[int, int, int]:
    if pa.types.is_decimal(column.type):
        return (3, column.type.precision, column.type.scale)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        widest = pc.max(utf16_units(column)).as_py() or 1
        return (-9, max(1, widest) if widest <= IN_ROW else 0, 0)  # 0 is nvarchar(max)
    return _SIZES[column.type]


def _chunks(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Parts of *batch* whose rows, all at the width of the widest, stay small."""
    wide = sum(2 * size[1] if size[0] == -9 else 32 for size in map(_input_size, batch.columns))
    rows = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // max(1, wide)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _gathered(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(one.nbytes for one in waiting) >= size:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if any(one.num_rows for one in waiting):
        yield pa.Table.from_batches(waiting)


def read_part(container: ContainerClient, name: str, table: sa.Table) -> Iterator[pa.RecordBatch]:
    """The rows of a CSV part as they were, with binary as hex."""
    kinds = {column.name: _arrow_type(column) for column in table.c}
    stream = container.download_blob(name)
    with csv.open_csv(
        cast("IO[Any]", _Download(stream.chunks())),
        csv.ReadOptions(column_names=list(kinds), block_size=8 << 20),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types=kinds, null_values=[""], true_values=["1"], false_values=["0"],
            strings_can_be_null=True, quoted_strings_can_be_null=False,
        ),
    ) as reader:  # fmt: skip
        yield from reader


class _Download:
    """The chunks of a download as a file that is read once."""

    closed = False

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            more = next(self._chunks, b"")
            if not more:
                break
            self._rest += more
        taken = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return taken

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def _as_staged(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Binary as hex: how BULK INSERT reads a varbinary is nowhere promised, and CONVERT with style 2 is."""
    if not any(pa.types.is_binary(field.type) for field in batch.schema):
        return batch
    columns = [_hex(column) if pa.types.is_binary(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _hex(column: Any) -> Any:
    return pa.array([None if value is None else value.hex() for value in column.to_pylist()], pa.string())


def as_merged(table: sa.Table) -> sa.FromClause:
    """A staging table as the merge reads it: hex is binary again."""
    if not any(isinstance(column.type, sa.LargeBinary) for column in table.c):
        return table
    return sa.select(*map(_unhexed, table.c)).subquery(table.name)


def _unhexed(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    if not isinstance(column.type, sa.LargeBinary):
        return column
    kind, style = sa.literal_column("varbinary(max)", sa.Text), sa.literal_column("2", sa.Integer)
    return sa.func.convert(kind, column, style, type_=column.type).label(column.name)


def _staged_type(column: sa.Column[Any], wide: Collection[str]) -> Any:
    return LONG_TEXT if isinstance(column.type, sa.LargeBinary) or column.name in wide else column.type


def _arrow_type(column: sa.Column[Any]) -> pa.DataType:
    if isinstance(column.type, sa.LargeBinary | sa.Text):
        return pa.string()
    if isinstance(column.type, sa.Numeric) and not isinstance(column.type, sa.Float):
        return pa.decimal128(column.type.precision or 38, column.type.scale or 0)
    kinds: dict[Any, pa.DataType] = {
        sa.Boolean: pa.bool_(), sa.SmallInteger: pa.int16(), sa.BigInteger: pa.int64(), sa.Integer: pa.int32(),
        sa.REAL: pa.float32(), sa.Double: pa.float64(), sa.DateTime: pa.timestamp("us"), sa.Date: pa.date32(),
        sa.Time: pa.time64("us"),
    }  # fmt: skip
    return next(arrow for kind, arrow in kinds.items() if isinstance(column.type, kind))
