"""A clean table, and files of it with one thing wrong each, as people send them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

HEADER = ("OrderId", "Ordered", "Time", "Qty", "Price", "Product", "Description", "Link", "Remark")
ROWS = tuple(
    (
        f"A-{1000 + number}",
        f"{1 + number % 28:02}/03/2025",
        f"{8 + number % 10:02}:15",
        str(number % 7),
        f"${3 + number * 1.25:.2f}",
        ("Door", 'Window, 24" wide', "Gutter guard", "Siding, vinyl")[number % 4],
        f"Made to measure, with a guarantee of {number} years, and fitted within the week",
        f"https://shop.example/item/{number}",
        "",
    )
    for number in range(60)
)


class Polluted(NamedTuple):
    family: str
    content: bytes
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """What is right for it: with the rows that the file spoils, as they were meant."""


def line(cells, delimiter=",", quote='"', escaped=None):
    """One record; text is quoted from the sixth field on, and wherever it must be."""
    return delimiter.join(
        _field(cell, delimiter, quote, escaped or quote * 2, always=place >= 5 and cell)
        for place, cell in enumerate(cells)
    )


def _field(cell, delimiter, quote, escaped, *, always):
    if always or delimiter in cell or quote in cell:
        return f"{quote}{cell.replace(quote, escaped)}{quote}"
    return cell


def lines(**options):
    return [line(cells, **options) for cells in (HEADER, *ROWS)]


def text(all_lines, end="\r\n"):
    return "".join(one + end for one in all_lines).encode()


def whole_files():
    """Families in which the whole file is unusual."""
    for name, delimiter in (("semicolon", ";"), ("tab", "\t"), ("pipe", "|"), ("comma and blank", ", ")):
        yield Polluted(f"delimiter: {name}", text(lines(delimiter=delimiter)), HEADER, ROWS)
    for name, end in (("LF", "\n"), ("CR", "\r")):
        yield Polluted(f"line ends: {name}", text(lines(), end), HEADER, ROWS)
    mixed = [one + end for one, end in zip(lines(), ("\n", "\r\n", "\r") * 40, strict=False)]
    yield Polluted("line ends: mixed", "".join(mixed).encode(), HEADER, ROWS)
    yield Polluted("quote: apostrophe", text(lines(quote="'")), HEADER, ROWS)
    yield Polluted("escape: backslash", text(lines(escaped='\\"')), HEADER, ROWS)
    yield Polluted("escape: none", text(lines(escaped='"')), HEADER, ROWS)
    for encoding in ("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252"):
        accented = tuple((*row[:6], f"Café {row[6]}", *row[7:]) for row in ROWS)
        content = text([line(cells) for cells in (HEADER, *accented)]).decode().encode(encoding)
        yield Polluted(f"encoding: {encoding}", content, HEADER, accented)
    yield Polluted("end: no line end", text(lines()).rstrip(), HEADER, ROWS)
    yield Polluted("end: blank lines", text([*lines(), "", ""]), HEADER, ROWS)
    yield from _heads_and_tails()


def _heads_and_tails():
    commas = "," * (len(HEADER) - 1)
    yield Polluted("header: none", text(lines()[1:]), (), ROWS)
    yield Polluted("header: alone", text(lines()[:1]), HEADER, ())
    yield Polluted("header: one row", text(lines()[:2]), HEADER, ROWS[:1])
    yield Polluted("header: twice", text([lines()[0], *lines()]), HEADER, ROWS)
    yield Polluted("header: again", text([*lines()[:30], lines()[0], *lines()[30:]]), HEADER, ROWS)
    yield Polluted("header: two rows", text([f"Order{commas}", *lines()]), HEADER, ROWS)
    yield Polluted("preamble: padded", text([f"Orders 2025{commas}", commas, *lines()]), HEADER, ROWS)
    yield Polluted("preamble: short", text(["Orders", "", "Made on 1 March, 2025", "", *lines()]), HEADER, ROWS)
    yield Polluted("footer: total", text([*lines(), f"Total,,,180,$2345.00{commas[4:]}"]), HEADER, ROWS)
    yield Polluted("footer: text", text([*lines(), "60 orders", "End of report"]), HEADER, ROWS)
    yield Polluted("delimiter: trailing", text([f"{one}," for one in lines()]), HEADER, ROWS)
    fewer, more = [line(row[:7]) for row in (HEADER, *ROWS)], [line((*row, "x")) for row in (HEADER, *ROWS)]
    yield Polluted("second table: fewer columns", text([*lines(), "", *fewer]), HEADER, ROWS)
    yield Polluted("second table: more columns", text([*lines(), "", *more]), HEADER, ROWS)
    yield Polluted("empty", b"", (), ())


def single_records(step):
    """Families in which one record is wrong, in every *step*-th row and every column."""
    for number in range(0, len(ROWS), step):
        before, after = text(lines()[: number + 1]), text(lines()[number + 2 :])
        for spoiled in _spoiled(ROWS[number]):
            yield Polluted(spoiled[0], before + f"{spoiled[1]}\r\n".encode() + after, HEADER, ROWS)


def _spoiled(row):
    fields = [line(("", "", "", "", "", cell))[5:] if place >= 5 else cell for place, cell in enumerate(row)]
    for place in range(len(fields)):
        before, after = fields[:place], fields[place + 1 :]
        if after:
            yield "record: a delimiter too few", ",".join([*before, fields[place] + after[0], *after[1:]])
        yield "record: a delimiter too many", ",".join([*before, fields[place], "", *after])
        yield "record: a quote too many", ",".join([*before, f'"{fields[place]}', *after])
    yield "record: other delimiter", " ".join(fields)


def score(found_header, found_rows, wanted):
    """Of 10: success, and precision, recall and F1 of the header's names, of records and of cells."""
    header = _measures(found_header, wanted.header)
    records = _measures(map("\0".join, found_rows), map("\0".join, wanted.rows))
    cells = _measures(
        (cell for row in (found_header, *found_rows) for cell in row),
        (cell for row in (wanted.header, *wanted.rows) for cell in row),
    )
    return 1 + sum(header) + sum(records) + sum(cells)


def _measures(found, wanted):
    found, wanted = Counter(found), Counter(wanted)
    if not wanted or not found:
        return (1.0, 1.0, 1.0) if found == wanted else (0.0, 0.0, 0.0)
    same = (found & wanted).total()
    if not same:
        return 0.0, 0.0, 0.0
    precision, recall = same / found.total(), same / wanted.total()
    return precision, recall, 2 * precision * recall / (precision + recall)
