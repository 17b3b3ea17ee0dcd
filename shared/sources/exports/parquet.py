"""Reads exported Parquet files; a slice is a range of row groups of one file."""

from __future__ import annotations

import contextlib

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shared.errors import NEW_FILE, DataError
from shared.model import PlainFile, Slice, Unit
from shared.native import native_call
from shared.sources import Described
from shared.sources.exports.direct import known_of
from shared.sources.exports.footer import encrypted, read_footer, refuse_fatal
from shared.sources.exports.limits import LongValues, refuse_bombs
from shared.stores import File, Store, expect, local_path

_READ_AHEAD = 256 << 10
"""Bytes read at once from a column chunk: keeps memory flat however large row groups are."""
_BATCH_BYTES = 32 << 20
_STRETCH_BYTES = 16 << 20
DIRECT_ROWS = 100_000
"""Files of fewer rows are never read by an engine itself: all the rest of a load takes longer."""
_MAGIC = b"PAR1"
_ENCRYPTED = b"PARE"


class ExportsSource:
    """Reads the Parquet files of a unit."""

    def __init__(self, store: Store, *, slice_rows: int, batch_rows: int) -> None:
        """*slice_rows* and *batch_rows* are upper limits; a row group is never divided between slices."""
        self._store = store
        self._slice_rows = slice_rows
        self._batch_rows = batch_rows

    def describe(self, unit: Unit) -> Described:
        schemas: dict[str, pa.Schema] = {}
        faulty: dict[str, str] = {}
        slices: list[Slice] = []
        for fields in unit.files:
            file = File(**fields)
            try:
                with self._parquet(file) as parquet, _faults_of(file):
                    refuse_bombs(file.name, parquet.metadata)
                    schemas[file.name] = parquet.schema_arrow
                    slices += self._cut(file, parquet.metadata, slices)
            except DataError as error:
                if len(unit.files) == 1:
                    raise
                faulty[file.name] = str(error)
        if not schemas:
            raise DataError("none of the part files can be read", fix=next(iter(faulty.values())).rstrip("."))
        return Described(schemas, slices, faulty)

    def read(self, part: Slice) -> Iterator[pa.RecordBatch]:
        file = File(**part.detail["file"])
        groups = range(*part.detail["groups"])
        rows = 0
        with self._parquet(file, groups=groups) as parquet, _faults_of(file):
            # Stretch by stretch: the dictionaries read to check one are then still in the store's cache for its rows.
            for stretch in _stretches(parquet.metadata, groups):
                size = _batch_size(parquet.metadata, stretch, self._batch_rows)
                values = LongValues(file.name, parquet.metadata, stretch, lambda names: self._parquet(file, names))
                for batch in parquet.iter_batches(values.batch_size(size), row_groups=list(stretch)):
                    values.check(batch)
                    rows += batch.num_rows
                    yield batch
        if rows != part.rows:
            raise DataError(
                f"{file.name} has {rows} rows, but its footer says {part.rows}",
                fix=NEW_FILE,
            )

    def plain_file(self, part: Slice) -> tuple[PlainFile, pa.Schema] | None:
        """The file of a slice, and its columns, if an engine on this machine may read it instead of ``read``."""
        file = File(**part.detail["file"])
        path = local_path(self._store, file)
        if path is None or part.origin_row or part.rows < DIRECT_ROWS:
            return None
        with self._parquet(file) as parquet, _faults_of(file):
            metadata, groups = parquet.metadata, range(parquet.metadata.num_row_groups)
            if metadata.num_rows != part.rows:
                return None  # the slice is a part of the file
            known = known_of(path, metadata)
            if known is None:
                return None
            if LongValues(file.name, metadata, groups, lambda names: self._parquet(file, names)).some:
                return None
            plain = PlainFile(
                path, file.version, part.rows, part.first_row, {n: tuple(one) for n, one in known.items()}
            )
            return plain, parquet.schema_arrow

    @contextlib.contextmanager
    def _parquet(
        self, file: File, read_dictionary: Sequence[str] = (), *, groups: Sequence[int] = ()
    ) -> Iterator[pq.ParquetFile]:
        """The opened file, of which all of *groups* will be read."""
        with self._store.open(file) as opened:
            _refuse_unless_parquet(file, opened.read(len(_MAGIC)))
            footer = read_footer(opened, file.size)
            with _faults_of(file):
                metadata = pq.read_metadata(pa.BufferReader(_MAGIC + footer))
                refuse_fatal(file.name, footer, metadata.schema)
                # Pages are read as they are needed (buffer_size), never a whole row group ahead (pre_buffer).
                parquet = pq.ParquetFile(
                    opened, metadata=metadata, buffer_size=_READ_AHEAD, pre_buffer=False,
                    coerce_int96_timestamp_unit="us", page_checksum_verification=True,
                    read_dictionary=list(read_dictionary),
                    arrow_extensions_enabled=True,  # type: ignore[call-arg]  # newer than the stubs
                )  # fmt: skip
                if groups:
                    expect(opened, _spans(parquet.metadata, groups), parquet.metadata.num_columns)
            yield parquet

    def _cut(self, file: File, metadata: pq.FileMetaData, before: Sequence[Slice]) -> list[Slice]:
        """Row groups gathered into slices of about ``slice_rows``; one empty slice for a file without rows."""
        first_row = before[-1].first_row + before[-1].rows if before else 0
        slices: list[Slice] = []
        origin_row = 0
        for groups in self._gathered(metadata):
            rows = sum(metadata.row_group(group).num_rows for group in groups)
            if rows or not slices:
                detail = {"file": asdict(file), "groups": [groups.start, groups.stop]}
                number = len(before) + len(slices)
                slices.append(Slice(number, first_row + origin_row, rows, file.name, origin_row, detail))
            origin_row += rows
        return slices

    def _gathered(self, metadata: pq.FileMetaData) -> Iterator[range]:
        start = rows = 0
        for group in range(metadata.num_row_groups):
            more = metadata.row_group(group).num_rows
            if rows and rows + more > self._slice_rows:
                yield range(start, group)
                start, rows = group, 0
            rows += more
        yield range(start, metadata.num_row_groups)


def _refuse_unless_parquet(file: File, head: bytes) -> None:
    if file.size == 0:
        raise DataError(f"{file.name} is empty (0 bytes)", fix=NEW_FILE)
    if head == _ENCRYPTED:
        raise encrypted(file.name)
    if head != _MAGIC:
        raise DataError(
            f"{file.name} is not a Parquet file: it begins with {head!r}",
            fix="Export it as Parquet, or load it as what it is",
        )


def _spans(metadata: pq.FileMetaData, groups: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Start and end of every column chunk of *groups*, in bytes of the file."""
    for group in groups:
        columns = metadata.row_group(group)
        for number in range(columns.num_columns):
            chunk = columns.column(number)
            pages = [page for page in (chunk.dictionary_page_offset, chunk.data_page_offset) if page]
            start = min(pages, default=0)
            yield start, start + chunk.total_compressed_size


def _stretches(metadata: pq.FileMetaData, groups: range) -> Iterator[range]:
    """*groups* in stretches of about as many bytes as a store caches, at least one group each."""
    start, size = groups.start, 0
    for group in groups:
        more = sum(end - first for first, end in _spans(metadata, [group]))
        if size and size + more > _STRETCH_BYTES:
            yield range(start, group)
            start, size = group, 0
        size += more
    yield range(start, groups.stop)


def _batch_size(metadata: pq.FileMetaData, groups: Iterable[int], most: int) -> int:
    """Rows of a batch: *most*, or fewer where rows are wide."""
    widest = max((_row_bytes(metadata.row_group(group)) for group in groups), default=0.0)
    return max(1, min(most, int(_BATCH_BYTES / max(1.0, widest))))


def _row_bytes(group: Any) -> float:
    return float(group.total_byte_size) / max(1, int(group.num_rows))


@contextlib.contextmanager
def _faults_of(file: File) -> Iterator[None]:
    """Arrow reports a damaged file as ArrowInvalid, OSError, ValueError or KeyError; each becomes a DataError."""
    try:
        with native_call("pyarrow", file.name):
            yield
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise DataError(f"{file.name} is damaged or not Parquet: {_first_line(error)}", fix=NEW_FILE) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
