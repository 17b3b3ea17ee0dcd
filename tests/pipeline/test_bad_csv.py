"""Text files that are not as they should be, through the command line (docs/bad-input.md, "Text files")."""

from __future__ import annotations

import json

import pytest

from shared.stores.local import LocalStore
from tests.pipeline.bad_csv import HEADER, NAUGHTY, Outcome, TextLab, field, people
from tests.pipeline.bad_input import Row, case, page

MANY = "".join(f",c{number}" for number in range(5_000))

FILES: dict[str, tuple[str | bytes, tuple[int, int, int]]] = {
    "text-required": (f"{HEADER}{people(3)}9,,x@example.com,,\n", (4, 3, 1)),
    "text-phone": (f"{HEADER}{people(3)}9,Bob,,555-0100,\n", (4, 4, 0)),
    "text-email": (f"{HEADER}{people(3)}9,Bob,bob(at)example.com,,\n", (4, 4, 0)),
    "text-date": ("id,name,born\n1,Ann,2/28/1990\n2,Bob,02/30/1990\n3,Cy,2/28/90\n4,Di,0000-00-00\n", (4, 4, 0)),
    "text-zip": ("id,name,zip\n1,Ann,2138\n2,Bob,unknown\n", (2, 2, 0)),
    "text-too-few": (f"{HEADER}{people(3)}9,Bob\n{people(3, 10)}", (7, 6, 1)),
    "text-too-many": (f"{HEADER}{people(3)}9,Bob,b@example.com,,a,b\n{people(3, 10)}", (7, 6, 1)),
    "text-quote-first": (f'{HEADER}9,"Bob,b@example.com,,\n{people(5)}', (6, 5, 1)),
    "text-quote-middle": (f'{HEADER}{people(5)}9,"Bob,b@example.com,,\n{people(5, 10)}', (11, 10, 1)),
    "text-quote-last": (f'{HEADER}{people(5)}9,"Bob,b@example.com,,', (6, 5, 1)),
    "text-mixed-encodings": (
        f"{HEADER}{people(5)}".encode() + "9,Zoë,,,\n".encode("cp1252") + "10,José,,,\n".encode(),
        (7, 6, 1),
    ),
    "text-nul": (f"{HEADER}{people(3)}9,Bob,,,a\0b\n", (4, 4, 0)),
    "text-10-mb": (f"{HEADER}{people(2)}9,Bob,,,{field('x' * 10_000_000)}\n", (3, 3, 0)),
    "text-5000-columns": (
        f"{HEADER.strip()}{MANY}\n1,Ann,a@example.com,,{',' * 5_000}last\n2,Bob,,,{',' * 5_000}\n",
        (2, 2, 0),
    ),
    "text-header-twice": (f"{HEADER}{people(3)}{HEADER}{people(3, 10)}", (6, 6, 0)),
    "text-header-of-two-rows": (f"person,person,contact,contact,\n{HEADER}{people(5)}", (5, 5, 0)),
    "text-duplicate-headers": ("id,name,name\n1,Ann,Bea\n2,Cy,Di\n", (2, 2, 0)),
    "text-only-header": (HEADER, (0, 0, 0)),
    "text-preamble": (f"People\nas of 2026-02-24\n\n{HEADER}{people(5)}", (5, 5, 0)),
    "text-total": (f"{HEADER}{people(5)}Total,5,,,\n", (6, 5, 1)),
    "text-footer": (f"{HEADER}{people(5)}\n(5 rows)\n", (6, 5, 1)),
    "text-line-ends": (
        HEADER.replace("\n", "\r\n") + people(2) + people(2, 5).replace("\n", "\r") + people(2, 8),
        (6, 6, 0),
    ),
    "text-spare-delimiters": ("".join(f"{line},\n" for line in f"{HEADER}{people(4)}".splitlines()), (4, 4, 0)),
    "text-windows-1252": (f"{HEADER}{people(3)}9,Zoë,,,naïve\n".encode("cp1252"), (4, 4, 0)),
    "text-utf-16": (f"{HEADER}{people(3)}9,Zoë,,,naïve\n".encode("utf-16"), (4, 4, 0)),
    "text-empty": (b"", (0, 0, 0)),
    "text-no-key": ("name,email\nAnn,a@example.com\nBob,b@example.com\n", (0, 0, 0)),
}
"""The file, and the rows that are read, inserted and rejected."""


@pytest.fixture
def lab(tmp_path, monkeypatch) -> TextLab:
    return TextLab(tmp_path, monkeypatch)


@pytest.fixture
def row(request) -> Row:
    return page()[request.function.case]


def outcome(found: Outcome) -> str:
    """As the page has it."""
    if found.code:
        run = found.records[0]["run"] if found.records else None
        return "file refused" if run else "load refused"
    scopes = {reject["scope"] for reject in found.rejects}
    return "row rejected" if "row" in scopes else "value rejected" if scopes else "loaded"


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_outcome_of_the_page(lab, name) -> None:
    """Rows or a clear reason, the exit code, and all rows that were read in one outcome each."""
    content, expected = FILES[name]

    found = lab.load(lab.put(content))
    stored = lab.rows() if expected[1] else []

    assert expected == found.counts()
    assert expected[1] == len(stored)
    page()[name].holds(outcome(found), f"{found.text}\n{json.dumps(stored, default=str, ensure_ascii=False)}")


@case("text-too-long")
def test_a_line_that_does_not_fit_into_memory_costs_one_record(lab, row) -> None:
    line = b"9,Bob,,," + b"x" * 100_000_000 + b"\n"

    found = lab.load(lab.put(f"{HEADER}{people(3)}".encode() + line + people(3, 10).encode()))

    assert (7, 6, 1) == found.counts()
    row.holds(outcome(found), found.text)


@case("text-naughty")
def test_texts_that_break_programs_are_stored_as_they_are(lab, row) -> None:
    """In every column: quoted, so that only blanks around them go."""
    lines = (f"{n},{field(f'<{text}>')},,,{field(text)}\n" for n, text in enumerate(NAUGHTY))

    found = lab.load(lab.put(HEADER + "".join(lines)))

    assert (len(NAUGHTY), len(NAUGHTY), 0) == found.counts()
    stored = lab.rows()
    assert [f"<{text}>" for text in NAUGHTY] == [one["name"] for one in stored]
    assert [text.strip() or None for text in NAUGHTY] == [one["note"] for one in stored]
    row.holds(outcome(found), json.dumps(stored, default=str, ensure_ascii=False))


@case("text-naughty-typed")
def test_texts_that_break_programs_are_rejected_where_they_mean_nothing(lab, row) -> None:
    """In the columns with types: each is a value or a reject."""
    lines = (f"{n},x,{field(text)},{field(text)},\n" for n, text in enumerate(NAUGHTY))

    found = lab.load(lab.put(HEADER + "".join(lines)))

    assert (len(NAUGHTY), len(NAUGHTY), 0) == found.counts()
    assert {"not_an_email", "not_a_phone"} == {reject["code"] for reject in found.rejects}
    assert {(None, None)} == {(one["email"], one["phone"]) for one in lab.rows()}
    row.holds(outcome(found), found.text)


@case("text-formulas")
def test_a_formula_is_data_when_it_is_loaded(lab, row) -> None:
    found = lab.load(lab.put(f"{HEADER}1,=cmd|' /C calc'!A0,,,@SUM(A1:A9)\n"))

    assert [("=cmd|' /C calc'!A0", "@SUM(A1:A9)")] == [(one["name"], one["note"]) for one in lab.rows()]
    row.holds(outcome(found), json.dumps(lab.rows(), default=str))


@case("text-formulas-rejected")
def test_a_formula_in_a_rejected_row_is_text_for_spreadsheet_programs(lab, row) -> None:
    """And it is the formula again when the corrected row is loaded."""
    found = lab.load(lab.put(f"{HEADER}{people(2)},=cmd|' /C calc'!A0,,,@SUM(A1:A9)\n"))
    _, rejects = lab.run("rejects", "crm.person", "--csv")
    corrected = lab.put(rejects.replace(',"",', ',"9",', 1), "bad.csv")

    code, _ = lab.run("rejects", "crm.person", "--replay", str(corrected))

    row.holds(outcome(found), rejects)
    assert (0, "=cmd|' /C calc'!A0") == (code, lab.rows()[-1]["name"])


@case("text-twice")
def test_the_same_content_under_two_names_is_loaded_once(lab, row) -> None:
    lab.load(lab.put(HEADER + people(3)))
    code, printed = lab.run("csv", "crm", "person", str(lab.put(HEADER + people(3), "copy.csv")), "--json")

    assert (0, 3) == (code, len(lab.rows()))
    row.holds("skipped", json.loads(printed)[0]["skipped"])


@case("text-no-files")
def test_a_folder_without_text_files_is_refused(lab, row) -> None:
    lab.put(b"x", "image.png")
    lab.put(b"x", "other.pdf")

    found = lab.load(lab.folder)

    row.holds(outcome(found), found.text)


@case("text-folder")
def test_a_folder_loads_its_files_one_by_one(lab, row) -> None:
    """A file that is refused does not stop the others."""
    folder = lab.folder / "dropped"
    folder.mkdir()
    for number in (1, 3):
        lab.put(HEADER + people(2, number * 10), f"dropped/{number}.csv")
    lab.put("name\nAnn\n", "dropped/2.csv")

    found = lab.load(folder)

    assert (1, (4, 4, 0)) == (found.code, found.counts())
    row.holds("file refused", found.text)


@case("text-changed")
def test_a_file_that_changes_while_it_is_read_is_not_merged(lab, row, monkeypatch) -> None:
    """Its new content is work of its own."""
    path = lab.put(HEADER + people(3))
    opened = LocalStore.open

    def overwritten(store: LocalStore, file: object) -> object:
        path.write_text(HEADER + people(4), encoding="utf-8")
        return opened(store, file)  # type: ignore[arg-type]  # a File

    monkeypatch.setattr(LocalStore, "open", overwritten)
    found = lab.load(path)
    monkeypatch.undo()

    assert found.code
    row.holds("conflict", found.text)
