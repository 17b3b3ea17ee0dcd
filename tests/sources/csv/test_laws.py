"""What holds for every file: what a writer wrote is read back, and each byte is in a row, a reject or a count."""

from __future__ import annotations

import csv
import io
import re

from collections import Counter

import pyarrow as pa
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.sources.csv import blocks
from shared.sources.csv.dialect import Dialect
from shared.sources.csv.reader import read, survey

CELLS = st.text(alphabet='ab1,"\n\r é日;\\', max_size=6)
TABLES = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width).map(tuple), min_size=1, max_size=8)
)
SCRAPS = st.lists(
    st.sampled_from(
        ["a,b,c\n", 'x,"y\n', '"a","b",c\r', '"q\nr",s,t\n', "a,b\n", "\n", "  \n", '"a"b,c,d\n', 'é,",",\n',
         'a""b,c,d\n', ",,\n", "a,b,c,\n", '"b",a,"c",\n', '","\n', 'x,y,"z"', "a,b,c,d\n", "Total,,3\n"]
    ),
    max_size=12,
)  # fmt: skip
SIZES = (1, 7, 64, 2**20)
"""Of blocks: what is found may not depend on where one ends."""


@settings(deadline=None)
@given(TABLES, st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_a_writer_quotes_is_read_back(rows, end):
    """Whatever is in it. Rows of blanks alone hold no record."""
    out = io.StringIO()
    csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    content = out.getvalue().encode()

    for size in SIZES:
        found, bad, _ = _read(content, len(rows[0]), size)
        if not any("looks like a record" in one.reason for one in bad):
            assert [row for row in rows if any(map(str.strip, row))] == found
            assert [] == bad


@settings(deadline=None)
@given(SCRAPS)
def test_what_is_found_does_not_depend_on_blocks(scraps):
    """Neither rows nor rejects nor counts."""
    content = "".join(scraps).encode()

    results = [_read(content, 3, size) for size in SIZES]

    assert all(results[0] == other for other in results)


@settings(deadline=None)
@given(SCRAPS, st.sampled_from(SIZES), st.booleans(), st.integers(0, 5))
def test_what_was_surveyed_is_read_as_if_it_were_not(scraps, size, spare, parts):
    """Wherever the survey ended. It shows all that is a row, and more rows at most."""
    content = "".join(scraps).encode()
    left, shown = iter(range(parts)), []

    def look(table):
        shown.extend(zip(*(column.to_pylist() for column in table.columns), strict=True))
        return next(left, None) is not None

    blocks.BLOCK = size
    cuts = survey(io.BytesIO(content), _dialect(3, spare), ["c2", "c0"], look)

    plain, known = (_read(content, 3, size, spare, found) for found in ((), cuts))
    assert plain == known
    if next(left, None) is not None:
        assert not Counter((row[2], row[0]) for row in plain[0]) - Counter(shown)


@settings(deadline=None)
@given(SCRAPS, st.sampled_from([b"", b"\xff", b"\xe9"]))
def test_every_line_is_in_a_row_a_reject_or_a_count(scraps, odd):
    """And a reject has the text that stands at its place."""
    content = b"".join(scrap.encode().replace(b"b", odd or b"b", 1) for scrap in scraps)

    rows, bad, skipped = _read(content, 3, 64)

    records = len(rows) + skipped["blank rows"] + sum(1 for one in bad)
    assert len(re.findall(rb"[^\r\n]", content)) == 0 or records + skipped["blank lines"] > 0
    places = Counter(one.offset for one in bad)
    assert set(places.values()) <= {1}
    for one in bad:
        assert content[one.offset :].decode("utf-8", "backslashreplace").startswith(one.raw)
        assert one.line == 1 + len(re.findall(rb"\r\n|\n|\r", content[: one.offset]))


@pytest.fixture(autouse=True)
def _usual_blocks(monkeypatch):
    """Tests here change their size."""
    monkeypatch.setattr(blocks, "BLOCK", blocks.BLOCK)


def _dialect(width, spare=False):
    names = tuple(f"c{place}" for place in range(width))
    return Dialect(
        encoding="utf-8", delimiter=",", quote='"', escape=None, names=names, header=(), data_offset=0, data_line=1,
        notes=(), spare=spare,
    )  # fmt: skip


def _read(content, width, size, spare=False, cuts=()):
    blocks.BLOCK = size
    dialect = _dialect(width, spare)
    rows, bad, skipped = [], [], Counter()
    for found in read(io.BytesIO(content), dialect, 3, skipped=skipped, cuts=cuts):
        if isinstance(found, pa.RecordBatch):
            rows += zip(*(column.to_pylist() for column in found.columns), strict=True)
        else:
            bad += found
    return rows, sorted(bad), +skipped
