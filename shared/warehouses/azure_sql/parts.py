"""Bring batches to a container as CSV parts, uploading the last rows while the next are encoded.

A part is there whole or not at all: its blocks count only once they are committed. Three things go on at once: the
caller's thread draws the next batch, two threads encode, and a few upload.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import uuid

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import pyarrow as pa

from shared.azure.errors import container_refused
from shared.warehouses.server.csv import encode

if TYPE_CHECKING:
    import datetime as dt

    from azure.storage.blob import ContainerClient

_ENCODERS = 2
"""Threads that encode: Arrow's writer lets go of the interpreter, and one alone is slower than what it feeds."""
_FIRST_ROWS = 1_000
"""Encoded at once, until it is known how long they come out."""
_NAME = re.compile(r"(?P<prefix>.+)/\d+\.csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One blob of CSV."""

    name: str
    """Its path in the container."""
    rows: int
    bytes: int
    first_row: int
    """Value of the first column, the row's number in its run, of the first row."""


def upload(
    batches: Iterable[pa.RecordBatch],
    container: ContainerClient,
    prefix: str,
    *,
    part_bytes: int,
    in_flight: int = 4,
    block_bytes: int = 8 << 20,
    spool: Path | None = None,
) -> list[Part]:
    """Write *batches* to ``<prefix>/0.csv`` and so on, over what is there, and return the parts in order.

    A part ends with the batch that fills *part_bytes*. About ``in_flight + 2`` blocks of *block_bytes* are in memory at
    once, and two batches; with *spool*, a folder, each part is written to disk first and only the blocks on their way
    are in memory. What *batches* raises comes out as it is, DataError is from the encoder, ConfigError or
    TransientError from the storage; the part at hand is not committed then, earlier ones stay (see ``remove``).
    """
    with (
        ThreadPoolExecutor(in_flight, "upload") as uploads,
        ThreadPoolExecutor(_ENCODERS, "encode") as encoders,
        contextlib.closing(
            _Writer(_Blocks(container, uploads, in_flight, block_bytes), encoders, prefix, part_bytes, spool)
        ) as writer,
        ThreadPoolExecutor(1, "write") as written,
    ):
        ahead: Future[None] | None = None
        for batch in batches:
            if ahead:
                ahead.result()
            ahead = written.submit(writer.add, batch)
        if ahead:
            ahead.result()
        writer.finish()
        return writer.parts


def put(container: ContainerClient, name: str, content: bytes) -> None:
    """Write one blob as it is, over what is there."""
    with _explained(container):
        container.upload_blob(name, content, overwrite=True)


def remove(container: ContainerClient, prefix: str) -> None:
    """Delete all blobs below *prefix*; blocks that were never committed are deleted by the service within a week."""
    from azure.core.exceptions import ResourceNotFoundError

    with _explained(container):
        for name in list(container.list_blob_names(name_starts_with=f"{prefix}/")):
            with contextlib.suppress(ResourceNotFoundError):  # somebody was faster
                container.delete_blob(name)


def leftovers(container: ContainerClient, older_than: dt.datetime, *, under: str = "") -> list[str]:
    """Prefixes beginning with *under* of which every part was last written before *older_than* (aware)."""
    newest: dict[str, dt.datetime] = {}
    with _explained(container):
        for blob in container.list_blobs(name_starts_with=under or None):
            if found := _NAME.fullmatch(blob.name):
                newest[found["prefix"]] = max(blob.last_modified, newest.get(found["prefix"], blob.last_modified))
    return [prefix for prefix, written in newest.items() if written < older_than]


class _Writer:
    """Encodes batches into parts. Used by one thread at a time."""

    def __init__(
        self, blocks: _Blocks, encoders: ThreadPoolExecutor, prefix: str, part_bytes: int, spool: Path | None
    ) -> None:
        self.parts: list[Part] = []
        self._encoders = encoders
        self._blocks, self._prefix, self._part_bytes, self._spool = blocks, prefix, part_bytes, spool
        self._rows_at_once = _FIRST_ROWS
        self._open: _Open | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        part = self._open = self._open or self._begin(batch)
        part.rows += batch.num_rows
        for piece in self._pieces(batch):
            part.bytes += piece.size
            part.sink.write(piece)
        if part.bytes >= self._part_bytes:
            self.finish()

    def finish(self) -> None:
        """End the part at hand, if there is one."""
        part = self._open
        if part:
            part.sink.commit()
            self._open = None
            self.parts.append(
                Part(
                    name=part.name, rows=part.rows, bytes=part.bytes, first_row=part.first_row
                )
            )  # fmt: skip

    def close(self) -> None:
        if self._open:
            self._open.sink.close()

    def _begin(self, batch: pa.RecordBatch) -> _Open:
        name = f"{self._prefix}/{len(self.parts)}.csv"
        stream = _Stream(self._blocks, name)
        sink = _Spool(stream, self._spool, self._blocks.size) if self._spool else stream
        return _Open(name, batch.column(0)[0].as_py(), sink)

    def _pieces(self, batch: pa.RecordBatch) -> Iterator[pa.Buffer]:
        """*batch* encoded little by little, so that memory does not grow with it, and several pieces at once."""
        start = 0
        ahead: deque[tuple[int, Future[pa.Buffer]]] = deque()
        while ahead or start < batch.num_rows:
            while start < batch.num_rows and len(ahead) < _ENCODERS:
                rows = batch.slice(start, self._rows_at_once)
                ahead.append((rows.num_rows, self._encoders.submit(encode, rows)))
                start += rows.num_rows
            count, encoding = ahead.popleft()
            piece = encoding.result()
            self._rows_at_once = max(1, self._blocks.size // 4 * count // piece.size)
            yield piece


@dataclass(slots=True)
class _Open:
    """A part that is being written."""

    name: str
    first_row: int
    sink: _Sink
    rows: int = 0
    bytes: int = 0


class _Sink(Protocol):
    """Where the bytes of one part go; they count after ``commit``. ``close`` without it leaves no trace."""

    def write(self, piece: pa.Buffer) -> None: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...


class _Blocks:
    """Puts blocks into the container, *in_flight* at a time."""

    def __init__(self, container: ContainerClient, uploads: ThreadPoolExecutor, in_flight: int, size: int) -> None:
        self.size = size
        self._container, self._uploads, self._in_flight = container, uploads, in_flight
        self._running: set[Future[None]] = set()

    def put(self, blob: str, id: str, data: bytes) -> None:
        """Start to upload a block, once fewer than *in_flight* are on their way. Raises what one of them has met."""
        self._await(self._in_flight - 1)
        self._running.add(self._uploads.submit(self._stage, blob, id, data))

    def commit(self, blob: str, ids: Iterable[str]) -> None:
        """Make *ids*, in their order, the content of *blob*."""
        from azure.storage.blob import BlobBlock, ContentSettings

        self._await(0)
        kind = ContentSettings("text/csv; charset=utf-8")
        with _explained(self._container):
            client = self._container.get_blob_client(blob)
            client.commit_block_list([BlobBlock(id) for id in ids], content_settings=kind)

    def _await(self, left: int) -> None:
        while len(self._running) > left:
            done, self._running = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()

    def _stage(self, blob: str, id: str, data: bytes) -> None:
        with _explained(self._container):
            self._container.get_blob_client(blob).stage_block(id, data, len(data))


class _Stream:
    """Collects pieces to blocks of at least the size wanted and uploads them."""

    def __init__(self, blocks: _Blocks, name: str) -> None:
        self._blocks, self._name = blocks, name
        self._pieces: list[pa.Buffer] = []
        self._size = 0
        self._ids: list[str] = []
        # Two tries that write the same part at the same time cannot mix their blocks.
        self._try = uuid.uuid4().hex

    def write(self, piece: pa.Buffer) -> None:
        self._pieces.append(piece)
        self._size += piece.size
        if self._size >= self._blocks.size:
            self._flush()

    def commit(self) -> None:
        if self._pieces:
            self._flush()
        self._blocks.commit(self._name, self._ids)

    def close(self) -> None:
        pass

    def _flush(self) -> None:
        data = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        self._ids.append(f"{self._try}-{len(self._ids):05}")  # all of one length, as the service demands
        self._blocks.put(self._name, self._ids[-1], data)


class _Spool:
    """Keeps a part on disk until it is complete, and hands it on then."""

    def __init__(self, stream: _Stream, folder: Path, at_once: int) -> None:
        self._stream, self._at_once = stream, at_once
        folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed below; vanishes with the process

    def write(self, piece: pa.Buffer) -> None:
        self._file.write(piece)

    def commit(self) -> None:
        self._file.seek(0)
        while data := self._file.read(self._at_once):
            self._stream.write(pa.py_buffer(data))
        self._stream.commit()
        self.close()

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def _explained(container: ContainerClient) -> Iterator[None]:
    """Errors of the storage as ours. Nothing of them is repeated but their code: a URL may hold a SAS."""
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        raise container_refused(error, f"container {container.container_name!r} of {container.account_name}") from error
