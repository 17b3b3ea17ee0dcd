"""Exports of a system as folders of Parquet files: find them, and read their row groups by range."""

from __future__ import annotations

import contextlib
import datetime as dt

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shared.errors import ConfigError, DataError
from shared.ids import work_id
from shared.model import Kind, Slice, Unit, WorkItem, to_text
from shared.sources import Described
from shared.sources.exports.bombs import refuse_bombs
from shared.sources.exports.choice import Export, SkippedExport
from shared.sources.exports.layout import ExportPath, export_path
from shared.sources.exports.repeats import Repeats
from shared.stores import File, Store, expect

_READ_AHEAD = 256 << 10
"""Bytes read at once from a column chunk: keeps memory flat however large row groups are."""
_BATCH_BYTES = 32 << 20
_STRETCH = 16 << 20
_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOptions:
    """What the operator or a setting says of the exports, over what their paths say."""

    kind: Kind | None = None
    client: str | None = None
    exported_at: str | None = None
    tables: tuple[str, ...] = ()
    settle_seconds: float = 0
    """How long a folder of part files must have been unchanged to count as complete."""
    ahead_seconds: float = 86_400
    """How far in the future an export may say it is from: clocks differ, but a later one would rule for ever."""


def find_exports(
    store: Store, told: FindOptions, now: dt.datetime, heard: Callable[[ConfigError], None] | None = None
) -> tuple[list[Export], list[SkippedExport]]:
    """Every table of every export below the store's location, and the files that are in no export.

    *now* (aware) tells whether a folder has settled. ConfigError if there is nothing to take, if what is told goes
    against what a path says, or if two files claim to be the same table of the same export; with *heard*, that is told
    to it, and the rest goes on.
    """
    groups: dict[tuple[str, str], list[tuple[ExportPath, File]]] = {}
    for file in store.list():
        found = export_path(file.name)
        if found and (not told.tables or found.table in told.tables):
            groups.setdefault((found.export, found.table), []).append((found, file))
    if heard is None:
        _refuse_unless_found(groups, told)
    offers: list[Export] = []
    passed: list[SkippedExport] = []
    for several in groups.values():
        try:
            offer = _offer(several, told, now)
        except ConfigError as error:
            if heard is None:
                raise
            heard(error)
            continue
        if told.kind or several[0][0].kind:
            offers.append(offer)
        else:
            passed.append(SkippedExport(offer, "its folder does not say whether it is a full or a delta (--type)"))
    if not offers and heard is None:
        raise ConfigError(
            f"{passed[0].offer.folder} does not say whether it is a full or a delta",
            fix="Say so with --type full or --type delta",
        )
    if told.exported_at and len({offer.folder for offer in offers}) > 1:
        raise ConfigError("the folder has more than one export, so they have more than one time", fix=_ONE_BY_ONE)
    return offers, passed


_ONE_BY_ONE = "Load them one by one with --exported-at"


def _refuse_unless_found(groups: Mapping[tuple[str, str], object], told: FindOptions) -> None:
    missing = sorted(set(told.tables) - {table for _, table in groups})
    if missing or not groups:
        wanted = f" for {', '.join(missing)}" if missing else ""
        raise ConfigError(f"there is no Parquet file{wanted} in that place", fix="Check the path and --tables")


def _offer(group: Sequence[tuple[ExportPath, File]], told: FindOptions, now: dt.datetime) -> Export:
    spot, files = group[0][0], tuple(file for _, file in group)
    kind = told.kind or spot.kind or "delta"
    _refuse_contradictions(group, told)
    exported_at = told.exported_at or spot.stamp or _modified(files)
    latest = to_text(now + dt.timedelta(seconds=told.ahead_seconds))
    if exported_at is not None and exported_at > latest:
        raise ConfigError(
            f"{spot.folder} is from {exported_at[:19]}, which is in the future",
            fix="Correct its time, or --exported-at",
        )
    settled = not spot.part or told.kind == "full" or _settled(files, told.settle_seconds, now)
    complete = kind == "full" and settled and exported_at is not None
    return Export(
        table=spot.table, kind=kind, client=spot.client or told.client, exported_at=exported_at, complete=complete,
        folder=spot.folder, files=files, settled=settled, note=_doubt(kind, settled, exported_at),
    )  # fmt: skip


def _refuse_contradictions(group: Sequence[tuple[ExportPath, File]], told: FindOptions) -> None:
    spot, folders = group[0][0], sorted({found.folder for found, _ in group})
    if told.kind == "full" and spot.kind == "delta":
        raise ConfigError(
            f"{spot.folder} is a delta: as a full it would delete all it does not mention", fix="Leave out --type full"
        )
    if len(folders) > 1:
        raise ConfigError(
            f"table {spot.table} has several dumps of one time: {', '.join(folders)}",
            fix="Keep one, or join their files",
        )
    if len(group) > 1 and not spot.part:
        raise ConfigError(
            f"{spot.folder} has two files for table {spot.table}: {', '.join(file.name for _, file in group)}",
            fix="Keep one of them",
        )


def _modified(files: Iterable[File]) -> str | None:
    times = [file.modified for file in files if file.remote]
    return to_text(dt.datetime.fromtimestamp(max(times), dt.UTC)) if times else None


def _settled(files: Iterable[File], seconds: float, now: dt.datetime) -> bool:
    return max(file.modified for file in files) + seconds <= now.timestamp()


def _doubt(kind: Kind, settled: bool, exported_at: str | None) -> str | None:
    if kind != "full" or (settled and exported_at):
        return None
    why = "part files may still be arriving" if not settled else "its time is unknown (see --exported-at)"
    return f"merged as a delta: {why}"


def export_unit(offer: Export, store: Store) -> Unit:
    """The work an offer means. Reads local files once to name their content."""
    files = sorted(offer.files, key=lambda file: file.name)
    return Unit(
        kind=offer.kind,
        works=tuple(WorkItem(_work_id(offer, file, store), file.name) for file in files),
        files=tuple(asdict(file) for file in files),
        exported_at=offer.exported_at,
        complete=offer.complete,
        client=offer.client,
        note=offer.note,
    )


def _work_id(offer: Export, file: File, store: Store) -> str:
    """A part that was merged before its folder had settled is work again once it has: then absences count."""
    etag = store.etag(file)
    return work_id(file.name, etag if offer.settled else f"{etag} of an unsettled folder")


class ExportsSource:
    """Reads the Parquet files of a unit. A slice is a range of row groups of one file."""

    def __init__(self, store: Store, *, slice_rows: int, batch_rows: int) -> None:
        self._store = store
        self._slice_rows = slice_rows
        self._batch_rows = batch_rows

    def describe(self, unit: Unit) -> Described:
        schemas: dict[str, pa.Schema] = {}
        faulty: dict[str, str] = {}
        slices: list[Slice] = []
        for note in unit.files:
            file = File(**note)
            try:
                with self._parquet(file) as parquet:
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
            # Stretch by stretch: what is looked at to judge one is then still in memory when its rows are read.
            for some in _stretches(parquet.metadata, groups):
                size = _batch_size(parquet.metadata, some, self._batch_rows)
                repeats = Repeats(file.name, parquet.metadata, some, lambda names: self._parquet(file, names))
                for batch in parquet.iter_batches(repeats.batch_size(size), row_groups=list(some)):
                    repeats.watch(batch)
                    rows += batch.num_rows
                    yield batch
        if rows != part.rows:
            raise DataError(
                f"{file.name} promises {part.rows} rows but has {rows}",
                fix="Ask for the file again; it is damaged",
            )

    @contextlib.contextmanager
    def _parquet(
        self, file: File, read_dictionary: Sequence[str] = (), *, groups: Sequence[int] = ()
    ) -> Iterator[pq.ParquetFile]:
        """The file; all of *groups* will be read of it."""
        with self._store.open(file) as opened:
            _refuse_strangers(file, opened.read(len(_MAGIC)))
            opened.seek(0)
            with _faults_of(file):
                # Pages are read as they are needed (buffer_size), never a whole row group ahead (pre_buffer).
                parquet = pq.ParquetFile(
                    opened, buffer_size=_READ_AHEAD, pre_buffer=False, coerce_int96_timestamp_unit="us",
                    page_checksum_verification=True, read_dictionary=list(read_dictionary),
                    arrow_extensions_enabled=False,  # type: ignore[call-arg]  # newer than the stubs
                )  # fmt: skip
                if groups:
                    expect(opened, _spans(parquet.metadata, groups), parquet.metadata.num_columns)
            yield parquet

    def _cut(self, file: File, metadata: pq.FileMetaData, before: Sequence[Slice]) -> list[Slice]:
        """Row groups gathered into slices of about ``slice_rows``; one empty slice for a file without rows."""
        first_row = before[-1].first_row + before[-1].rows if before else 0
        cut: list[Slice] = []
        start = origin_row = rows = 0
        for group in range(metadata.num_row_groups + 1):
            last = group == metadata.num_row_groups
            more = 0 if last else metadata.row_group(group).num_rows
            if last or (rows and rows + more > self._slice_rows):
                if rows or not cut:
                    detail = {"file": asdict(file), "groups": [start, group]}
                    number = len(before) + len(cut)
                    cut.append(Slice(number, first_row + origin_row, rows, file.name, origin_row, detail))
                start, origin_row, rows = group, origin_row + rows, 0
            rows += more
        return cut


def _refuse_strangers(file: File, head: bytes) -> None:
    if file.size == 0:
        raise DataError(f"{file.name} is empty (0 bytes)", fix="Ask for the file again")
    if head != _MAGIC:
        raise DataError(
            f"{file.name} is not a Parquet file: it begins with {head!r}",
            fix="Export it as Parquet, or load it as what it is",
        )


def _spans(metadata: pq.FileMetaData, groups: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Where the column chunks of *groups* lie in the file."""
    for group in groups:
        described = metadata.row_group(group)
        for number in range(described.num_columns):
            chunk = described.column(number)
            pages = [page for page in (chunk.dictionary_page_offset, chunk.data_page_offset) if page]
            start = min(pages, default=0)
            yield start, start + chunk.total_compressed_size


def _stretches(metadata: pq.FileMetaData, groups: range) -> Iterator[range]:
    """*groups* in stretches of about as many bytes as a store keeps at once, at least one group each."""
    start, held = groups.start, 0
    for group in groups:
        size = sum(end - first for first, end in _spans(metadata, [group]))
        if held and held + size > _STRETCH:
            yield range(start, group)
            start, held = group, 0
        held += size
    yield range(start, groups.stop)


def _batch_size(metadata: pq.FileMetaData, groups: Iterable[int], most: int) -> int:
    """Rows of a batch: *most*, or fewer where rows are so wide that a batch would not stay small."""
    widest = max((_row_bytes(metadata.row_group(group)) for group in groups), default=0.0)
    return max(1, min(most, int(_BATCH_BYTES / max(1.0, widest))))


def _row_bytes(group: Any) -> float:
    return float(group.total_byte_size) / max(1, int(group.num_rows))


@contextlib.contextmanager
def _faults_of(file: File) -> Iterator[None]:
    """Arrow says a damaged file in many ways (ArrowInvalid, OSError, ...); here they are all one thing."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{file.name} is damaged or not Parquet: {_first_line(error)}", fix="Ask for the file again"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
