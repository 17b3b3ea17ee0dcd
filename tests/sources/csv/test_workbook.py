"""Spreadsheets: one sheet is read as text, as it looks to who saved it."""

from __future__ import annotations

import datetime as dt
import io
import zipfile

import openpyxl
import pyarrow as pa
import pytest

from shared.errors import DataError
from shared.sources.csv import workbook
from shared.sources.csv.dialect import Given
from shared.sources.csv.reader import read
from shared.sources.csv.workbook import as_text, detect

HEADER = ["id", "name", "when", "amount"]


def test_cells_are_text_and_dates_are_iso_dates():
    """A date has no time if its cell has none."""
    moment, day = dt.datetime(2025, 3, 1, 14, 30), dt.date(2025, 3, 2)  # noqa: DTZ001 - spreadsheets have no zones
    found = _read(
        _saved([HEADER, [7, "Ada", moment, 1.5], [8, 'Bob "B", Jr.\nSalem', day, True], [9, None, None, "x"]])
    )

    assert [
        ("7", "Ada", "2025-03-01T14:30:00", "1.5"),
        ("8", 'Bob "B", Jr.\nSalem', "2025-03-02", "True"),
        ("9", "", "", "x"),
    ] == found.rows


def test_rows_above_the_header_and_empty_rows_are_skipped():
    """As in any text file; lines are rows of the sheet."""
    found = _read(
        _saved(
            [
                ["Customers of Boston"],
                [],
                HEADER,
                [1, "Ada", None, 2],
                [],
                [2, "Bob", None, 3],
                ["Total", None, None, 5],
            ]
        )
    )

    assert tuple(HEADER) == found.dialect.names
    assert [("1", "Ada", "", "2"), ("2", "Bob", "", "3")] == found.rows
    assert [("total_row", 7)] == [(one.code, one.line) for one in found.bad]


def test_formula_has_its_last_result_and_error_cells_their_text():
    """Both stand in the file."""
    book = _saved([HEADER, [1, "Ada", None, "=1+1"], [2, "Bob", None, "#DIV/0!"]])

    found = _read(_edited(book, b"<f>1+1</f><v></v>", b"<f>1+1</f><v>2</v>"))

    assert ["2", "#DIV/0!"] == [row[3] for row in found.rows]


def test_formula_that_was_never_calculated_is_refused():
    """It would be read as an empty cell. A text that is empty is a result."""
    book = _saved([HEADER, [1, "Ada", None, "=1+1"]])

    with pytest.raises(DataError, match=r"has 1 formulas that were never calculated. Open it in a spreadsheet program"):
        detect(book, Given())
    calculated = _edited(book, b'<c r="D2"><f>', b'<c r="D2" t="str"><f>')
    assert [("1", "Ada", "", "")] == _read(calculated).rows


def test_merged_cells_are_noted():
    """The first has the value."""
    book = openpyxl.Workbook()
    for row in (HEADER, [1, "Ada", None, 2], [2, "Bob", None, 3]):
        book.active.append(row)
    book.active.merge_cells("B2:B3")

    found = _read(_stored(book))

    assert ["Ada", ""] == [row[1] for row in found.rows]
    assert "Of 1 groups of merged cells only the first cell has the value." in found.dialect.notes


def test_first_visible_sheet_with_cells_is_read_and_others_are_noted():
    """Whoever put the table elsewhere can see it."""
    book = openpyxl.Workbook()
    book.active.title = "Empty"
    hidden, orders, others = (book.create_sheet(name) for name in ("Hidden", "Orders", "Others"))
    for sheet in (hidden, orders, others):
        sheet.append(HEADER)
        sheet.append([sheet.title, "Ada", None, 1])
    hidden.sheet_state = "hidden"

    found = _read(_stored(book))

    assert ["Orders"] == [row[0] for row in found.rows]
    assert found.dialect.notes[:2] == ("The sheet is 'Orders'.", "Other sheets are not read: 'Empty', 'Others'.")


def test_sheet_of_any_width_as_declared_is_read_in_full():
    """Some programs write a dimension that leaves out columns."""
    book = _edited(_saved([HEADER, [1, "Ada", None, 2]]), b'<dimension ref="A1:D2"', b'<dimension ref="A1:A1"')

    assert [("1", "Ada", "", "2")] == _read(book).rows


def test_stream_that_cannot_seek_is_read_too():
    """As a spreadsheet in an archive is."""

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    content = _saved([HEADER, [1, "Ada", None, 2]]).getvalue()

    assert tuple(HEADER) == detect(Pipe(content), Given()).names


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be read"),
        (b"id,name\n1,Ada\n", "cannot be read"),
        (b"PK\x03\x04 and no more", "cannot be read"),
        (
            b"\xd0\xcf\x11\xe0 encrypted",
            "is encrypted, or in the format before 2007. Save it as .xlsx without a password",
        ),
    ],
)
def test_what_is_no_such_spreadsheet_is_refused(content, problem):
    """With what to do."""
    with pytest.raises(DataError, match=problem):
        detect(io.BytesIO(content), Given())


def test_archive_of_other_things_is_refused():
    """An archive with something else in it has no sheet."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", "id\n1\n")

    with pytest.raises(DataError, match="the spreadsheet cannot be read"):
        detect(packed, Given())


def test_sheet_that_would_unpack_to_far_more_is_refused():
    """From the archive's directory, before any of it is read."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(100_000_000))

    with pytest.raises(DataError, match=r"sheet1.xml in the spreadsheet would unpack to 100,000,000 bytes"):
        detect(packed, Given())


def test_row_number_beyond_a_sheet_is_refused(monkeypatch):
    """The rows between would be empty ones, without end."""
    monkeypatch.setattr(workbook, "_MAX_ROWS", 1000)
    book = _edited(_saved([HEADER, [1, "Ada", None, 2]]), b'<row r="2"', b'<row r="999999999"')

    with pytest.raises(DataError, match="more than 1,000 rows"):
        _read(book)


class _read:  # noqa: N801 - read as a function
    def __init__(self, book):
        book.seek(0)
        self.dialect = detect(book, Given())
        book.seek(0)
        self.rows, self.bad = [], []
        with as_text(book) as text:
            for found in read(text, self.dialect, 100):
                if isinstance(found, pa.RecordBatch):
                    self.rows += zip(*(column.to_pylist() for column in found.columns), strict=True)
                else:
                    self.bad += found


def _saved(rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    return _stored(book)


def _stored(book):
    stored = io.BytesIO()
    book.save(stored)
    stored.seek(0)
    return stored


def _edited(book, old, new):
    """The same file with other text in its first sheet."""
    edited = io.BytesIO()
    with zipfile.ZipFile(book) as source, zipfile.ZipFile(edited, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            content = source.read(info)
            if info.filename == "xl/worksheets/sheet1.xml":
                content = content.replace(b"<v />", b"<v></v>").replace(
                    b"<v/>", b"<v></v>"
                )  # as the XML library has it
                assert content.replace(old, new) != content, content
                content = content.replace(old, new)
            target.writestr(info.filename, content)
    edited.seek(0)
    return edited
