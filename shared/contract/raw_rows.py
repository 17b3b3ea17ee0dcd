"""Rows of a batch as JSON, as rejects keep them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from shared.contract.cast import json_text
from shared.contract.json_rows import objects


def raw_rows(batch: pa.RecordBatch, rows: Iterable[int]) -> dict[int, str]:
    """Some rows as JSON, by number, whatever is in them: bytes that are not UTF-8 are escaped."""
    numbers = list(dict.fromkeys(rows))
    try:
        taken = batch.take(pa.array(numbers, pa.int64()))
        if numbers and all(pa.types.is_string(field.type) for field in batch.schema):
            return {row: str(text) for row, text in zip(numbers, objects(taken).to_pylist(), strict=True)}
        found = taken.to_pylist() if numbers else []
    except (ValueError, OverflowError, pa.ArrowException):  # then value by value
        return {row: raw_row(batch, row) for row in numbers}
    return {row: json_text(values, lenient=True) for row, values in zip(numbers, found, strict=True)}


def raw_row(batch: pa.RecordBatch, row: int) -> str:
    """One row as JSON, as ``raw_rows`` has it."""
    return json_text({name: _readable(batch.column(n)[row]) for n, name in enumerate(batch.schema.names)}, lenient=True)


def _readable(value: pa.Scalar[Any]) -> Any:
    try:
        return value.as_py()
    except (ValueError, OverflowError):  # bytes that are not UTF-8, or an instant Python cannot hold, somewhere inside
        return _escaped(value)


def _escaped(value: Any) -> Any:
    if pa.types.is_dictionary(value.type):
        return _readable(value.value)
    if pa.types.is_struct(value.type):
        return {field.name: _readable(value[n]) for n, field in enumerate(value.type)}
    if pa.types.is_nested(value.type):
        return [_readable(item) for item in value.values]
    if pa.types.is_temporal(value.type):
        return value.cast(pa.string()).as_py()
    return value.cast(pa.binary()).as_py().decode(errors="backslashreplace")
