"""Placeholder: helper csvread replaces this file; source.py and files.py say how it is called."""

from __future__ import annotations

import csv
import io

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from shared.contract.codes import Code
from shared.sources.csv.dialect import Dialect


class BadRecord(NamedTuple):
    line: int
    offset: int
    code: Code
    reason: str
    raw: str


def read(opened: BinaryIO, dialect: Dialect, batch_rows: int) -> Iterator[pa.RecordBatch | list[BadRecord]]:
    text = io.TextIOWrapper(opened, dialect.encoding, newline="")
    rows = csv.reader(text, delimiter=dialect.delimiter)
    next(rows)
    good: list[list[str]] = []
    bad: list[BadRecord] = []
    for row in rows:
        if len(row) == len(dialect.names):
            good.append(row)
        else:
            bad.append(BadRecord(rows.line_num, 0, Code.UNREADABLE, "too many", ",".join(row)))
    if bad:
        yield bad
    yield pa.RecordBatch.from_arrays(
        [pa.array(list(c), pa.string()) for c in zip(*good, strict=True)], names=list(dialect.names)
    )
    text.detach()
