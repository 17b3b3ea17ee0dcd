"""What is rejected of a slice waits in a spool until it is written, and once more if that has to be repeated."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest

from shared.pipeline.tally import Spool

SCHEMA = pa.schema([("reason", pa.string())])


@pytest.mark.parametrize("read", [0, 1, 2])
def test_a_spool_read_in_part_is_read_again_from_its_beginning(read):
    """A transaction that fails half-way is repeated with all rejects."""
    spool = Spool(io.BytesIO(), SCHEMA)
    for reason in ("no key", "no cursor", "too long"):
        spool.add(pa.record_batch([[reason]], schema=SCHEMA))
    interrupted = iter(spool)
    for _ in range(read):
        next(interrupted)

    again = [batch.to_pylist() for batch in spool]

    assert [[{"reason": reason}] for reason in ("no key", "no cursor", "too long")] == again


def test_a_spool_without_rows_gives_no_batches():
    """Nor does one of a table without keys, which has no columns."""
    assert [] == list(Spool(io.BytesIO(), SCHEMA))
    assert [] == list(Spool(io.BytesIO(), pa.schema([])))
