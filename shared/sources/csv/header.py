"""Where the header row is, or that there is none; and what the columns are called."""

from __future__ import annotations

import re

from collections.abc import Collection, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from shared.contract.mapping import normalized
from shared.sources.csv.sample import Record

_LOOKED_AT = 50
_NUMBER = r"[-+(]?\s*[$€£¥]?\s*-?\d[\d.,' ]*\s*[%€$£)-]?"
_DATE = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}[- ][A-Za-z]{3,9}[- ,]+\d{2,4}|[A-Za-z]{3,9} \d{1,2},? \d{4}"
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s*[AaPp]\.?[Mm]\.?)?(?:\s*(?:Z|UTC|[-+]\d{2}:?\d{2}))?"
_DATA = re.compile(
    rf"{_NUMBER}|(?:{_DATE})(?:[T ]+{_TIME})?|{_TIME}"
    r"|[^@\s]+@[^@\s]+\.\w+|https?://\S+|www\.\S+"
    r"|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"|\+?[\d() .-]{7,}(?:\s*(?:x|ext\.?)\s*\d+)?|(?i:true|false)"
)
"""What a value looks like and a column's name does not."""


class Head(NamedTuple):
    """The columns of a file, and where its records begin."""

    names: tuple[str, ...]
    header: tuple[str, ...]
    spare: bool
    """Every record ends with a delimiter that no name stands for."""
    records_before: int
    """How many of the sample's records are no data: what stands above the header, and the header."""
    notes: tuple[str, ...]


def find_head(
    records: Sequence[Record],
    width: int,
    delimiter: str,
    *,
    header: bool | None,
    names: tuple[str, ...],
    known: Collection[str],
) -> Head:
    """*records* are the first of a file, of which most have *width* fields; *known* headers are normalized."""
    if header is False or names:
        return _without_header(width, names, "as declared")
    rows = [_cells(one, width, delimiter) for one in records[:_LOOKED_AT]]
    place = _candidate(rows, width, known)
    if place is None or not (header or _is_header(rows, place, width, known)):
        return _without_header(width, (), "since the first row looks like data")
    place = _lower_row_of_two(rows, place, width)
    return _with_header(records, rows, place, width)


def _cells(record: Record, width: int, delimiter: str) -> tuple[str, ...]:
    """A malformed record may still be the header: it is split at every delimiter then."""
    if record.cells is not None:
        return tuple(cell.strip() for cell in record.cells)
    plain = record.raw.decode("utf-8", "backslashreplace").strip("\r\n").split(delimiter)
    return tuple(_unwrapped(cell.strip()) for cell in plain) if len(plain) == width else ()


def _unwrapped(cell: str) -> str:
    return cell[1:-1] if re.fullmatch(r"""(["'])[^"']+\1""", cell) else cell


def _candidate(rows: Sequence[tuple[str, ...]], width: int, known: Collection[str]) -> int | None:
    """The row that is the header if there is one: the one with most known names, else the first that is filled."""
    hits = [_hits(row, known) for row in rows]
    if hits and max(hits) >= 2:
        return hits.index(max(hits))
    usual = median([_filled(row) for row in rows if len(row) == width] or [0])
    for place, row in enumerate(rows):
        if len(row) == width and _filled(row) >= 0.7 * usual:
            before = rows[place - 1] if place else ()
            return place - 1 if _is_misfit_header(before, row, width) else place
    return None


def _hits(row: Sequence[str], known: Collection[str]) -> int:
    return len({name for cell in row if cell and (name := normalized(cell)) in known})


def _filled(row: Sequence[str]) -> int:
    return sum(1 for cell in row if cell)


def _is_misfit_header(row: Sequence[str], following: Sequence[str], width: int) -> bool:
    """A header with a name too few or too many, above rows of data."""
    is_near = len(row) >= 2 and abs(len(row) - width) <= max(1, width // 5) and len(row) != width
    return is_near and not any(map(_is_data, row)) and any(map(_is_data, following)) and _filled(row) >= 0.7 * len(row)


def _is_data(cell: str) -> bool:
    return bool(_DATA.fullmatch(cell))


def _is_header(rows: Sequence[tuple[str, ...]], place: int, width: int, known: Collection[str]) -> bool:
    row, below = rows[place], [row for row in rows[place + 1 :] if len(row) == width and row != rows[place]]
    if _hits(row, known) >= 2 or len(row) != width:
        return True
    if not below:
        return sum(map(_is_data, row)) < 0.3 * _filled(row)
    typed = [column for column in range(width) if _holds_data(below, column)]
    names = sum(1 for column in typed if row[column] and not _is_data(row[column]))
    values = sum(1 for column in typed if _is_data(row[column]))
    if names or values:
        return names > values
    return not any(cell and cell in {other[column] for other in below} for column, cell in enumerate(row))


def _holds_data(rows: Sequence[tuple[str, ...]], column: int) -> bool:
    cells = [row[column] for row in rows if row[column]]
    return len(cells) > 0 and sum(map(_is_data, cells)) >= 0.6 * len(cells)


def _lower_row_of_two(rows: Sequence[tuple[str, ...]], place: int, width: int) -> int:
    """A row of group titles, with gaps, above the row of names: the names are the header."""
    if place + 1 >= len(rows) or len(rows[place]) != width or len(rows[place + 1]) != width:
        return place
    upper, lower = rows[place], rows[place + 1]
    is_grouping = _filled(upper) < width and len(set(lower)) == width and all(lower)
    return place + 1 if is_grouping and _names_data(lower, rows[place + 2 :], width) else place


def _names_data(row: Sequence[str], below: Sequence[tuple[str, ...]], width: int) -> bool:
    """Whether a row is text in at least two columns of data, and in most of them."""
    same = [one for one in below if len(one) == width]
    typed = [column for column in range(width) if _holds_data(same, column)]
    texts = [column for column in typed if row[column] and not _is_data(row[column])]
    return len(texts) >= 2 and len(texts) > 0.6 * len(typed) and not any(map(_is_data, row))


def _with_header(records: Sequence[Record], rows: Sequence[tuple[str, ...]], place: int, width: int) -> Head:
    below = [row for row in rows[place + 1 :] if len(row) == width]
    cells, spare, note = _fitted(rows[place], below, width)
    second = _is_second_header(rows, place, width)
    notes = [f"The header row is line {records[place].line}.", *note, *_notes_on_names(cells)]
    if place:
        above = records[0].raw.decode("utf-8", "replace").strip()[:80]
        notes.append(f"{place} rows above it are skipped; the first is {above!r}.")
    if second:
        skipped = records[place + 1]
        text = skipped.raw.decode("utf-8", "replace").strip()[:80]
        notes.append(f"Line {skipped.line} looks like a second header row and is skipped: {text!r}.")
    return Head(_unique(cells), cells, spare, place + 1 + second, tuple(notes))


def _fitted(
    cells: tuple[str, ...], below: Sequence[tuple[str, ...]], width: int
) -> tuple[tuple[str, ...], bool, list[str]]:
    """Names for as many fields as the records have, where that takes no guess; whether a last field is empty; notes."""
    is_last_empty = len(below) > 0 and sum(1 for row in below if row[-1]) <= 0.1 * len(below)
    if is_last_empty and width > 1 and (len(cells) == width - 1 or (len(cells) == width and not cells[-1])):
        return (
            cells[: width - 1],
            True,
            ["Every record ends with a delimiter that no name stands for; the empty field after it is left out."],
        )
    if len(cells) > width:
        ends = len("".join(cell or "\0" for cell in cells).rstrip("\0"))
        filled = tuple(cell for cell in cells if cell)
        if len(filled) == width and ends:
            return filled, False, ["The header row has a delimiter too many, beside an empty name, which is left out."]
    if len(cells) != width:
        sizes = f"The header row has {len(cells)} names, but most records have {width} fields"
        return cells, False, [f"{sizes}: they are rejected. Correct the header row, or give the names."]
    return cells, False, []


def _notes_on_names(cells: Sequence[str]) -> Iterator[str]:
    empty = [str(place) for place, cell in enumerate(cells, 1) if not cell]
    if empty:
        yield f"Columns without a name: {', '.join(empty[:20])}."
    lower = [cell.casefold() for cell in cells if cell]
    twice = sorted({cell for cell in cells if cell and lower.count(cell.casefold()) > 1}) if len(cells) < 1000 else []
    if twice:
        yield f"Names that stand there more than once get a number: {', '.join(twice[:20])}."
    if empty and twice:
        yield "Two tables may stand side by side."


def _is_second_header(rows: Sequence[tuple[str, ...]], place: int, width: int) -> bool:
    """Such as a row of units or of long names, below the header."""
    if place + 3 >= len(rows) or len(rows[place]) != width or len(rows[place + 1]) != width:
        return False
    lower, below = rows[place + 1], rows[place + 2 :]
    return lower != rows[place] and _names_data(lower, below, width)


def _without_header(width: int, names: tuple[str, ...], why: str) -> Head:
    columns = names or tuple(f"column_{place}" for place in range(1, width + 1))
    return Head(_unique(columns), (), False, 0, (f"There is no header row, {why}.",))


def _unique(cells: Sequence[str]) -> tuple[str, ...]:
    """Names that are not empty and that differ, whatever their case.

    >>> _unique(["id", "", "ID", "id_2"])
    ('id', 'column_2', 'ID_3', 'id_2')
    """
    plain = [" ".join(cell.split()).strip("\"' ") or f"column_{place}" for place, cell in enumerate(cells, 1)]
    taken = {name.casefold() for name in plain}
    seen: set[str] = set()
    names = []
    for name in plain:
        final = name if name.casefold() not in seen else _numbered(name, taken)
        seen.add(final.casefold())
        taken.add(final.casefold())
        names.append(final)
    return tuple(names)


def _numbered(name: str, taken: Collection[str]) -> str:
    number = 2
    while f"{name}_{number}".casefold() in taken:
        number += 1
    return f"{name}_{number}"
