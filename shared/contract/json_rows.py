"""JSON of many texts at once, the same as the json module writes. Pure."""

from __future__ import annotations

import json

from typing import Any

import pyarrow as pa

from shared.arrow import pc

_CONTROL = "[\\x00-\\x1f]"
_ESCAPES = (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))


def objects(batch: pa.RecordBatch) -> pa.Array[Any]:
    """Each row of *batch*, whose columns are all text, as an object by the names of the columns."""
    rows = batch.num_rows
    values = pc.fill_null(quoted(pa.concat_arrays(batch.columns)), "null")  # all at once: most calls are for few rows
    parts: list[Any] = []
    for number, name in enumerate(batch.schema.names):
        label = f"{json.dumps(name, ensure_ascii=False)}: "
        parts += [f", {label}" if number else f"{{{label}", values[number * rows : (number + 1) * rows]]
    return pc.binary_join_element_wise(*parts, "}", "")  # type: ignore[no-any-return]  # Any


def quoted(text: pa.Array[Any]) -> pa.Array[Any]:
    """Each text as a string of JSON; NULL for NULL."""
    escaped = text
    for char, escape in _ESCAPES:
        escaped = pc.replace_substring(escaped, char, escape)
    if pc.any(pc.match_substring_regex(escaped, _CONTROL)).as_py():
        return pa.array([None if one is None else json.dumps(one, ensure_ascii=False) for one in text.to_pylist()])
    return pc.binary_join_element_wise('"', escaped, '"', "")  # type: ignore[no-any-return]  # Any
