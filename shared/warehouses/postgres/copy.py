"""Batches as what COPY reads, and the rows that PostgreSQL would not hold. Pure."""

from __future__ import annotations

import functools

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from shared.arrow import pc
from shared.contract.codes import Code
from shared.warehouses import RefusedRow
from shared.warehouses.server import csv

_LONGEST_KEY = 2_500
"""Bytes: what fits an index entry (a third of a page, 2,704), with room for what else is in it."""


def encoded(batch: pa.RecordBatch) -> memoryview:
    r"""*batch* as CSV in which NULL is nothing, an empty text is ``""``, and binary is in hex.

    >>> bytes(encoded(pa.record_batch({"row": [0, 1], "said": ["", None], "raw": [b"\x01", None]})))
    b'0,"","\\x01"\n1,,\n'
    """
    arrays = [_binary(array) if pa.types.is_binary(array.type) else array for array in batch.columns]
    return memoryview(csv.encode(pa.RecordBatch.from_arrays(arrays, batch.schema.names)))


def fitting(batch: pa.RecordBatch, keys: Sequence[str]) -> tuple[pa.RecordBatch, list[RefusedRow]]:
    """The rows whose key an index can hold, and the others."""
    long = [name for name in keys if name in batch.schema.names and _has_length(batch.schema.field(name).type)]
    if not long or not batch.num_rows:
        return batch, []
    sizes = functools.reduce(pc.add, (pc.binary_length(batch.column(name)) for name in long))
    if pc.max(sizes).as_py() <= _LONGEST_KEY:
        return batch, []
    over = pc.greater(sizes, _LONGEST_KEY)
    reason = f"key of more than {_LONGEST_KEY} bytes, which no index of PostgreSQL holds"
    odd = pc.indices_nonzero(over).to_pylist()
    return batch.filter(pc.invert(over)), [
        RefusedRow(batch.slice(n, 1), long[0], Code.KEY_TOO_LONG, reason) for n in odd
    ]


def _has_length(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_binary(kind)


def _binary(array: pa.Array[Any]) -> Any:
    prefix, separator = pa.scalar("\\x", pa.large_string()), pa.scalar("", pa.large_string())
    return pc.binary_join_element_wise(prefix, csv.hex_text(array), separator)
