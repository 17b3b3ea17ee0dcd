"""Reading text files from bytes."""

from __future__ import annotations

import io

from collections import Counter

import pyarrow as pa
import pytest

from shared.sources.csv.dialect import Given, detect
from shared.sources.csv.reader import read


class Read:
    """What became of a file: its dialect, its rows as tuples of text, its bad records and what was skipped."""

    def __init__(self, content, given, known, batch_rows):
        self.dialect = detect(Trickle(content), given, known=known)
        self.rows, self.bad, self.skipped, self.batches = [], [], Counter(), []
        for found in read(Trickle(content), self.dialect, batch_rows, skipped=self.skipped):
            if isinstance(found, pa.RecordBatch):
                self.batches.append(found.num_rows)
                self.rows += zip(*(column.to_pylist() for column in found.columns), strict=True)
            else:
                self.bad += found
        self.names = self.dialect.names
        self.notes = " ".join(self.dialect.notes)

    @property
    def codes(self):
        return [(str(one.code), one.line) for one in self.bad]


class Trickle(io.RawIOBase):
    """A stream that cannot seek and gives fewer bytes than it is asked for, as one from a network does."""

    def __init__(self, content, most=100_003):
        self._content, self._most = io.BytesIO(content), most

    def readable(self):
        return True

    def read(self, size=-1):
        return self._content.read(min(size, self._most) if size >= 0 else -1)


def read_csv(content, *, known=(), batch_rows=1000, **given):
    text = content.encode() if isinstance(content, str) else content
    return Read(text, Given(**given), known, batch_rows)


@pytest.fixture(name="read_csv")
def _read_csv():
    return read_csv
