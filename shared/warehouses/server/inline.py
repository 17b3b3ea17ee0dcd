"""A few rows as text that JSON can carry: an Arrow IPC stream, deflated, as base64. Pure."""

from __future__ import annotations

import base64
import zlib

from collections.abc import Iterator, Sequence

import pyarrow as pa


def written(batches: Sequence[pa.RecordBatch]) -> str:
    """*batches*, which have one schema. Without any batch the text is empty."""
    if not batches:
        return ""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    # Of so few rows most is names and padding: undeflated, twenty rows of thirty columns would take twice the room.
    return base64.b64encode(zlib.compress(sink.getvalue())).decode()


def read(text: str) -> Iterator[pa.RecordBatch]:
    """What ``written`` wrote."""
    if text:
        yield from pa.ipc.open_stream(zlib.decompress(base64.b64decode(text)))
