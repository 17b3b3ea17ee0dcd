"""One sheet of a spreadsheet (.xlsx), turned into CSV text row by row, which is then read like any other."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
import itertools
import re
import shutil
import tempfile
import warnings
import zipfile
import zlib

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, NamedTuple, cast
from xml.etree.ElementTree import ParseError

from shared.errors import DataError
from shared.sources.csv import dialect as text
from shared.sources.csv.dialect import Dialect, Given

MAX_STRINGS = 128 * 2**20
"""The texts of all cells lie in one part of the file, which is held in memory."""
_MAX_RATIO, _MAX_FREE = 200, 64 * 2**20
_CHUNK = 2**20
_OVERLAP = 2**16
"""A cell that begins in one chunk and ends in the next is found if it is no longer than this."""
_UNCALCULATED = re.compile(rb"<c\b([^>]*)>\s*<f\b[^>]*?(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>")
_MAX_ROWS = 2**20
"""What a sheet can have."""
_PART = 2**18
"""Characters of CSV at a time."""
_LOOKED_AT = 100
"""Rows that show how wide the sheet is."""
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ParseError, KeyError, ValueError, TypeError, AttributeError)


def detect(opened: BinaryIO, given: Given, *, known: Collection[str] = ()) -> Dialect:
    """The columns of the first sheet with anything in it, as of a text file; notes name the other sheets.

    DataError for what is no such spreadsheet, for one that is encrypted or too large, and for formulas without results.
    """
    with _seekable(opened) as book:
        sheet = _Sheet(book, opened.tell)
        plain = replace(given, encoding="utf-8", delimiter=",", quote='"', escape="")
        notes, found = sheet.notes(), text.detect(sheet.csv(), plain, known=known)
    of_text = ("The encoding", "Fields are", "No delimiter")
    return replace(found, notes=(*notes, *(note for note in found.notes if not note.startswith(of_text))))


@contextlib.contextmanager
def as_text(opened: BinaryIO) -> Iterator[BinaryIO]:
    """The rows of the sheet as CSV: dates as ISO 8601, formulas as their last results, errors as ``#DIV/0!``.

    Only the first of merged cells has a value. Lines are rows of the sheet if no cell has line breaks.
    """
    with _seekable(opened) as book:
        yield _Sheet(book, opened.tell).csv()


class _Sheet:
    """The first visible sheet that is not empty."""

    def __init__(self, opened: BinaryIO, tell: Callable[[], int]) -> None:
        self._tell = tell
        with _translated():
            _refuse(opened)
            book = _load(opened)
            sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"] or book.worksheets
            for sheet in sheets:
                sheet.reset_dimensions()  # some programs write wrong ones
            filled = (sheet for sheet in sheets if _width(sheet))
            self._sheet: Any = next(filled, sheets[0] if sheets else None)
        if self._sheet is None:
            raise DataError("the spreadsheet has no sheet of cells", fix="Save the table in one")
        self._others = [sheet.title for sheet in sheets if sheet is not self._sheet]

    def csv(self) -> BinaryIO:
        return cast("BinaryIO", _CsvText(_lines(self._sheet), self._tell))

    def notes(self) -> tuple[str, ...]:
        """What is worth knowing of the sheet. DataError for formulas without results: they would be read as empty."""
        with _translated(), self._sheet._get_source() as xml:  # the library has no public name for the sheet's own file
            found = _scan(xml)
        if found.uncalculated:
            raise DataError(
                f"the spreadsheet has {found.uncalculated} formulas that were never calculated",
                fix="Open it in a spreadsheet program, save it there and load it again",
            )
        notes = [f"The sheet is {self._sheet.title!r}."]
        if self._others:
            notes.append(f"Other sheets are not read: {', '.join(map(repr, self._others))}.")
        if found.merged:
            notes.append(f"Of {found.merged} groups of merged cells only the first cell has the value.")
        return tuple(notes)


_SAVE_AGAIN = "Export the sheet as CSV"


@contextlib.contextmanager
def _seekable(opened: BinaryIO) -> Iterator[BinaryIO]:
    """*opened*, or a copy of it: the library goes back and forth in the file."""
    if opened.seekable():
        yield opened
        return
    with tempfile.SpooledTemporaryFile(max_size=_MAX_FREE) as copy:
        shutil.copyfileobj(opened, copy)
        copy.seek(0)
        yield cast("BinaryIO", copy)


def _refuse(opened: BinaryIO) -> None:
    """What is known beforehand to be too much. Declared sizes are upper limits of what is unpacked."""
    if opened.read(4) == b"\xd0\xcf\x11\xe0":
        raise DataError(
            "the spreadsheet is encrypted, or in the format before 2007", fix="Save it as .xlsx without a password"
        )
    for info in zipfile.ZipFile(opened).infolist():
        if info.file_size > max(_MAX_FREE, _MAX_RATIO * info.compress_size):
            raise DataError(
                f"{info.filename} in the spreadsheet would unpack to {info.file_size:,} bytes,"
                f" over {_MAX_RATIO} times its size",
                fix="If that is intended, export the sheet as CSV",
            )
        if info.filename.endswith("sharedStrings.xml") and info.file_size > MAX_STRINGS:
            raise DataError(
                f"the spreadsheet has {info.file_size:,} bytes of text, more than {MAX_STRINGS:,}",
                fix=_SAVE_AGAIN,
            )


def _load(opened: BinaryIO) -> Any:
    import openpyxl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions, which matter to nobody here
        return openpyxl.load_workbook(opened, read_only=True, data_only=True, keep_links=False)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"the spreadsheet cannot be read: {error}", fix=_SAVE_AGAIN) from error


class _Found(NamedTuple):
    uncalculated: int
    merged: int


def _scan(xml: Any) -> _Found:
    """Counts what the library does not tell in a file that is read row by row."""
    uncalculated = merged = 0
    tail = b""
    while chunk := xml.read(_CHUNK):
        text = tail + chunk
        end = max(text.rfind(b"</c>") + 4, len(text) - _OVERLAP, 0)
        cells = _UNCALCULATED.finditer(text, 0, end)
        uncalculated += sum(1 for cell in cells if b't="str"' not in cell[1])  # an empty text is a result
        merged += text.count(b"<mergeCell ", 0, end)
        tail = text[end:]
    return _Found(uncalculated, merged + tail.count(b"<mergeCell "))


def _width(sheet: Any) -> int:
    """How many columns the first rows have."""
    rows = itertools.islice(sheet.iter_rows(values_only=True), _LOOKED_AT)
    return max((len(_filled(row)) for row in rows), default=0)


def _filled(row: Sequence[Any]) -> Sequence[Any]:
    """*row* up to its last value."""
    end = len(row)
    while end and row[end - 1] in (None, ""):
        end -= 1
    return row[:end]


def _lines(sheet: Any) -> Iterator[bytes]:
    """The sheet as lines of CSV, in parts of many; a row for each line, empty ones too."""
    width, part = _width(sheet), io.StringIO()
    writer = csv.writer(part, lineterminator="\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dates that Excel shows as an error, as their text then says
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
            if number > _MAX_ROWS:
                raise DataError(f"the spreadsheet has more than {_MAX_ROWS:,} rows", fix=_SAVE_AGAIN)
            values = _filled(row)
            writer.writerow([*map(_text, values), *[""] * (width - len(values))] if values else [])
            if part.tell() > _PART:
                yield part.getvalue().encode()
                part.seek(0)
                part.truncate()
    yield part.getvalue().encode()


def _text(value: Any) -> str:
    """What a cell says, a date without the time that spreadsheets add to it."""
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return "" if value is None else str(value)


class _CsvText(io.RawIOBase):
    """The parts one after the other, as a stream that is only read forward."""

    def __init__(self, parts: Iterator[bytes], tell: Callable[[], int]) -> None:
        self._parts, self._tell, self._rest = parts, tell, b""

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        """How far the spreadsheet itself has been read."""
        return self._tell()

    def readinto(self, buffer: Any) -> int:
        with _translated():
            while not self._rest and (part := next(self._parts, None)) is not None:
                self._rest = part
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)
