"""The CSV of rejects: written, opened and saved by a spreadsheet program, and read again."""

from __future__ import annotations

import csv
import io
import json
import re

from pathlib import Path
from typing import Any

import pytest

from hypothesis import assume, given
from hypothesis import strategies as st

from shared.errors import DataError
from shared.model import Column
from shared.sources import sheet
from shared.sources.corrected import CorrectedRows, write

TRICKY = st.sampled_from(
    [
        "=cmd|'/C calc'!A0", "+15125550100", "-12.00", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", "'=1", "''-1",
        "'", "''", "'Neil", "00501", "0", "0.5", "1.10", "12345678901234567890", "46ffd996c1600485", "4600000000000e12",
        "1e5", "2025-09-01", "2025/9/1", "1/2", "06/14/2024 23:15:30", "6/14/2024", "TRUE", "O'Neil, Jr.", 'say "hi"',
        "a;b", "a\tb", "two\nlines", "sep=;", "é", "Łukasz", "🧊", " x ", "reject:run", "\0",
    ]
)  # fmt: skip
NAMES = st.sampled_from(
    ["Id", "Name", "=cmd()", "00", "a,b", "a;b", 'q"', "'x", "Größe", "2025-01", "two\nlines", " blank "]
)
TEXT = TRICKY | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
OTHER = st.integers(-(2**70), 2**70) | st.booleans() | st.lists(st.integers(), max_size=2)
VALUES = st.none() | TEXT | st.just("") | OTHER
ROWS = st.dictionaries(NAMES, VALUES, min_size=1)


def _written(raws: list[dict[str, Any]]) -> bytes:
    rejects = [
        {
            "run": "46ffd996c1600485", "exported_at": "2026-02-24T00:00:00.000000", "place": f"x.csv row {n}",
            "scope": "row", "column": "=Id", "code": "key_null", "reason": "-", "raw": json.dumps(raw),
        }
        for n, raw in enumerate(raws)
    ]  # fmt: skip
    out = io.BytesIO()
    write(lambda: rejects, out)
    return out.getvalue()


def _read(path: Path, content: bytes, names: list[str]) -> list[dict[str, str | None]]:
    path.write_bytes(content)
    source = CorrectedRows(path, [Column(name, name, "text") for name in names])
    (unit,) = source.units().values()
    assert "2026-02-24T00:00:00.000000" == unit.exported_at
    (part,) = source.describe(unit).slices
    return [row for batch in source.read(part) for row in batch.to_pylist()]


def _expected(raws: list[dict[str, Any]], names: list[str]) -> list[dict[str, str | None]]:
    values = [{name: raw.get(name) for name in names} for raw in raws]
    return [
        {name: one if one is None or isinstance(one, str) else json.dumps(one) for name, one in row.items()}
        for row in values
    ]


def _names(raws: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for raw in raws for name in raw))


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory, raws):
    """NULL and the empty text included, whatever the columns are called."""
    names = _names(raws)

    read = _read(tmp_path_factory.mktemp("x") / "rejects.csv", _written(raws), names)

    assert _expected(raws, names) == read


# -- a spreadsheet program


def _opened(content: bytes) -> list[list[str]]:
    return [list(map(_shown, row)) for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))]


def _shown(cell: str) -> str:
    """What such a program makes of a cell of text, and saves."""
    if re.match(r"[=+@\t\r\n]|-(?!\d+(\.\d+)?$)", cell):
        return "#NAME?"
    if re.fullmatch(r"0\d+|\d{16,}", cell):
        return f"{float(cell):.15g}"
    if re.fullmatch(r"\d+(\.\d+)?[eE]\d+", cell):
        return "1E+99"
    if re.fullmatch(r"\d*\.\d*0", cell) and any(map(str.isdigit, cell)):
        return f"{float(cell):g}"
    iso = re.match(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?!\d)", cell)
    if iso:
        return f"{iso[3]}/{iso[2]}/{iso[1]}"
    return re.sub(r"^(\d+/\d+/\d+ \d+:\d\d):\d\d$", r"\1", re.sub(r"^(\d{1,2})/(\d{1,2})$", r"\2. Month", cell))


SAVED = st.fixed_dictionaries(
    {
        "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "windows-1252"]),
        "delimiter": st.sampled_from([",", ";", "\t", "|"]),
        "end": st.sampled_from(["\n", "\r\n"]),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        "below": st.integers(0, 2),
        "right": st.integers(0, 2),
        "separator": st.booleans(),
    }
)


def _saved(rows: list[list[str]], how: dict[str, Any]) -> bytes:
    out = io.StringIO(newline="")
    if how["separator"]:
        out.write(f"sep={how['delimiter']}{how['end']}")
    ends = any("\r" in cell for row in rows for cell in row)  # which Python does not quote by itself
    quoting = csv.QUOTE_ALL if ends else how["quoting"]
    writer = csv.writer(out, delimiter=how["delimiter"], lineterminator=how["end"], quoting=quoting)
    writer.writerows([*row, *[""] * how["right"]] for row in rows)
    writer.writerows([[""] * (len(rows[0]) + how["right"])] * how["below"])
    return out.getvalue().encode(how["encoding"], errors="strict")


@given(st.lists(ROWS, min_size=1, max_size=4), SAVED)
def test_rows_survive_a_spreadsheet_program(tmp_path_factory, raws, how):
    """It changes no value, in whatever form it saves them; but it makes NULL of an empty text."""
    names = _names(raws)
    try:
        content = _saved(_opened(_written(raws)), how)
    except UnicodeEncodeError:
        assume(False)
    assume(how["encoding"] != "windows-1252" or not _is_utf8(content))  # would be another text, as anyone reads it

    read = _read(tmp_path_factory.mktemp("x") / "rejects.csv", content, names)

    assert _blank(_expected(raws, names)) == _blank(read)


def _is_utf8(content: bytes) -> bool:
    try:
        return not content.decode().isascii()
    except UnicodeDecodeError:
        return False


def _blank(rows: list[dict[str, str | None]]) -> list[dict[str, str]]:
    return [{name: value or "" for name, value in row.items()} for row in rows]


@given(TEXT)
def test_no_cell_begins_as_a_formula(text):
    """And reading takes away exactly the apostrophe that writing added."""
    cell = sheet.protected(text)

    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    assert text == sheet.unprotected(cell)
    assert cell in (text, f"'{text}")


def test_headers_and_reasons_are_no_formulas_either():
    """A header comes from the file, and a reason may quote it."""
    rows = list(csv.reader(io.StringIO(_written([{"=cmd()": "=cmd()"}]).decode("utf-8-sig"))))

    assert [] == [cell for row in rows for cell in row if cell.startswith(("=", "-"))]
    assert "'=cmd()" == rows[0][-1] == rows[1][-1]


def test_the_file_says_that_it_is_utf_8():
    """Excel reads it as Windows-1252 otherwise, and saves what that made of the letters."""
    assert _written([{"Id": "é"}]).startswith(b"\xef\xbb\xbf")


def test_a_number_stays_a_number():
    """Only text has an apostrophe, and a number with more digits than a program keeps."""
    rows = list(csv.reader(io.StringIO(_written([{"a": -5, "b": -0.5, "c": 2**70, "d": "-5"}]).decode("utf-8-sig"))))

    assert ["-5", "-0.5", f"'{2**70}", "'-5"] == rows[1][-4:]


def test_only_the_first_line_names_the_delimiter(tmp_path):
    """Further down the same is a text."""
    rows = [*csv.reader(io.StringIO(_written([{"Id": "sep=;\n"}]).decode("utf-8-sig"), newline=""))]
    how = {
        "separator": True,
        "delimiter": ";",
        "end": "\r\n",
        "quoting": 0,
        "right": 0,
        "below": 0,
        "encoding": "utf-8",
    }

    assert [{"Id": "sep=;\n"}] == _read(tmp_path / "x.csv", _saved(rows, how), ["Id"])
    assert [{"Id": "sep=;\n"}] == _read(tmp_path / "x.csv", _saved(rows, {**how, "separator": False}), ["Id"])


def test_a_row_that_was_emptied_is_left_out(tmp_path):
    """Programs keep the delimiters of a row whose cells were cleared."""
    header, first, second = _written([{"Id": "a"}, {"Id": "b"}]).decode().splitlines()

    assert [{"Id": "b"}] == _read(tmp_path / "x.csv", "\n".join([header, "," * 7, second]).encode(), ["Id"])
    assert [{"Id": "a"}] == _read(tmp_path / "x.csv", "\n".join([header, first, "", ""]).encode(), ["Id"])


def test_a_field_may_be_large(tmp_path):
    """Larger than a block of Arrow's reader, and than what Python's allows by default."""
    large = "x" * 5_000_000

    assert [{"Id": large}] == _read(tmp_path / "x.csv", _written([{"Id": large}]), ["Id"])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has no column reject:run"),
        (b"a,b\n1,2\n", "has no column reject:run"),
        (b'reject:run,Id\nr,"x\n', "is not a CSV of rejects: unexpected end of data, in line 2"),
        (b'reject:run,Id\nr,"x"y\n', "is not a CSV of rejects"),
        (b"reject:run,Id\nr\n", "has 1 cells in the row that ends in line 2, and 2 in its header"),
        (b"reject:run,Id\nr,1,2\n", "has 3 cells in the row that ends in line 2, and 2 in its header"),
        (b"reject:run,Id,\nr,1,2\n", "has 3 cells in the row that ends in line 2, and 2 in its header"),
        (b"reject:run,,Id\nr,1,2\n", "has a column without a name, or a name twice"),
        (b"reject:run,Id,Id\nr,1,2\n", "has a column without a name, or a name twice"),
        (b"PK\x03\x04", "is a workbook, not a CSV"),
        (b"reject:run,Id\nr,\x81\xe9\n", "is in no encoding that can be read"),
        (b"\xff\xfer", "is in no encoding that can be read"),
        (b"reject:run,reject:place\nr,1\nr,1\n", "has a row twice, by its reject:place"),
    ],
)
def test_what_cannot_be_read_for_sure_is_refused(tmp_path, content, problem):
    """With the line where it is one."""
    path = tmp_path / "x.csv"
    path.write_bytes(content)

    with pytest.raises(DataError, match=re.escape(problem)):
        CorrectedRows(path, ()).units()
