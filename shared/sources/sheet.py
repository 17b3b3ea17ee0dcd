"""CSV that people correct in spreadsheet programs: written so that these change nothing, read however they save it.

A text that such a program would calculate (``=cmd()``) or rewrite (``00501``, ``2025-09-01``) has an apostrophe before
it, which reading takes away. An empty cell is NULL and ``""`` an empty text; these programs make both the former.
"""

from __future__ import annotations

import codecs
import csv
import io
import re

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from pyarrow import csv as pa_csv

from shared.errors import DataError

MARK = codecs.BOM_UTF8
"""What a file must begin with for Excel to read it as UTF-8."""

_PROTECTED = re.compile(
    r"'*(?:[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"  # what begins a formula, full-width as well
    r"|0\d|\d{16}|\d*\.\d*0$"  # numbers that lose zeros, or all digits but fifteen
    r"|\d+(?:\.\d+)?[eE]\d+$"  # hexadecimal digits that are a number with an exponent
    r"|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:\D|$)|\d{1,4}[-/]\d{1,2}$"  # dates, rewritten as the country writes them
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\s+\d{1,2}:\d\d:\d\d)"  # times, without their seconds
)
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r"\Asep=.\r?\n", re.IGNORECASE)
"""A first line that tells Excel the delimiter."""
_SAVE_AGAIN = 'Save it as "CSV UTF-8", and keep its header and quoting'


class Sheet(NamedTuple):
    names: list[str]
    rows: list[list[str | None]]
    """Each with a text for each name; None for an empty cell. Rows of empty cells are left out."""


def protected(text: str) -> str:
    """*text* as a spreadsheet program leaves it alone.

    >>> protected("=1+1"), protected("00501"), protected("'-1"), protected("O'Neil")
    ("'=1+1", "'00501", "''-1", "O'Neil")
    """
    return f"'{text}" if _PROTECTED.match(text) else text


def unprotected(cell: str) -> str:
    """The text that ``protected`` was given."""
    return cell[1:] if cell.startswith("'") and _PROTECTED.match(cell) else cell


def read(content: bytes, file: str, known: str) -> Sheet:
    """The cells of a CSV that has the column *known*, without empty rows. DataError names the *file* if it is none."""
    text = _SEPARATOR.sub("", _decoded(content, file), count=1)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # of the process; 128 KB by default
    delimiter = _delimiter(text, file, known)
    records = [record for record in _records(text, delimiter, file) if record.cells]
    header = records[0].cells
    width = max(n for n, name in enumerate(header, 1) if name)
    for record in records:
        _check(record, len(header), width, file)
    names = [unprotected(cell) for cell in header[:width]]
    if not all(header[:width]) or len(set(names)) < len(names):
        raise DataError(f"{file} has a column without a name, or a name twice", fix="Keep its header")
    found = _with_nulls(records, text, delimiter, file)[1:]
    return Sheet(names, [list(map(_text, cells[:width])) for cells in found if any(cells)])


def _text(cell: str | None) -> str | None:
    return None if cell is None else unprotected(cell)


class _Record(NamedTuple):
    line: int
    """On which it ends, from 1."""
    cells: list[str]


def _decoded(content: bytes, file: str) -> str:
    if content.startswith(b"PK\x03\x04"):
        raise DataError(f"{file} is a workbook, not a CSV", fix=_SAVE_AGAIN)
    try:
        for mark, encoding in _ENCODINGS:
            if content.startswith(mark):
                return content[len(mark) :].decode(encoding)
        if content[1:2] == b"\0" or content[:1] == b"\0":
            return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be")
        return _of_unmarked(content)
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is in no encoding that can be read: {error}", fix=_SAVE_AGAIN) from error


def _of_unmarked(content: bytes) -> str:
    """UTF-8, or what Excel writes as plain CSV where people write in Latin letters."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("windows-1252")


def _delimiter(text: str, file: str, known: str) -> str:
    for delimiter in _DELIMITERS:
        records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        header: list[str] = next(filter(None, records), [])
        if known in map(unprotected, header):
            return delimiter
    raise DataError(f"{file} has no column {known}", fix="Start from `sluice rejects FEED --csv`")


def _records(text: str, delimiter: str, file: str) -> Iterator[_Record]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            yield _Record(reader.line_num, cells)
    except csv.Error as error:
        raise DataError(
            f"{file} is not a CSV of rejects: {error}, in line {reader.line_num}", fix=_SAVE_AGAIN
        ) from error


def _with_nulls(records: list[_Record], text: str, delimiter: str, file: str) -> list[tuple[str | None, ...]]:
    """The same cells as Arrow reads them: it tells an empty cell from an empty text, but closes open quotes."""
    width = len(records[0].cells)
    try:
        table = pa_csv.read_csv(
            io.BytesIO(text.encode()),
            pa_csv.ReadOptions(column_names=[str(n) for n in range(width)], block_size=4 * len(text) + 1),
            pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pa_csv.ConvertOptions(
                column_types={str(n): pa.string() for n in range(width)}, null_values=[""], strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        raise DataError(f"{file} is not a CSV of rejects: {error}", fix=_SAVE_AGAIN) from error
    found = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    if [record.cells for record in records] != [[cell or "" for cell in cells] for cells in found]:
        raise DataError(f"{file} means two things, depending on how it is read", fix=_SAVE_AGAIN)
    return found


def _check(row: _Record, cells: int, width: int, file: str) -> None:
    """Columns that spreadsheet programs add on the right are empty; none is ever missing."""
    if len(row.cells) != cells or any(row.cells[width:]):
        raise DataError(
            f"{file} has {len(row.cells)} cells in the row that ends in line {row.line}, and {width} in its header",
            fix=_SAVE_AGAIN,
        )
