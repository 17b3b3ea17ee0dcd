"""What the error of a text file advises is done to the file, and then it is loaded."""

from __future__ import annotations

import io
import json
import zipfile

from collections.abc import Callable
from pathlib import Path

import pytest

from openpyxl import Workbook
from openpyxl.chart import BarChart

from shared.sources.csv import packed as packed_files
from shared.sources.csv.dialect import Given, detect
from tests.advice import advised, advises, follows
from tests.pipeline.bad_csv import HEADER, TextLab, gzipped, people, zipped
from tests.pipeline.sheets import encrypted, with_results, workbook

Content = str | bytes | Callable[[Path], Path]
FINE = HEADER + people(3)
ROWS = [["id", "name"], [1, "Ada"], [2, "Bob"], [3, "Eve"]]


def packed(*names: str, content: bytes = FINE.encode()) -> Callable[[Path], Path]:
    return lambda path: zipped(path, [(name, content) for name in names])


def chart_only(path: Path) -> Path:
    book = Workbook()
    book.create_chartsheet("Chart").add_chart(BarChart())  # type: ignore[no-untyped-call]
    book.remove(book.worksheets[0])
    book.save(path)
    return path


def sheet(path: Path) -> Path:
    return workbook(path, ROWS)


def formulas(path: Path) -> Path:
    return workbook(path, [["id", "name", "note"], *([n, "Ada", "=1+1"] for n in (1, 2, 3))])


def inflated(path: Path) -> Path:
    """A workbook with a part that unpacks to far more than it takes."""
    sheet(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/much.bin", bytes(70_000_000))
    return path


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TextLab:
    return TextLab(tmp_path, monkeypatch)


def said(lab: TextLab, path: Path, *options: str) -> str:
    """The error of a load that has to fail."""
    outcome = lab.load(path, *options)
    assert outcome.code
    return error_in(outcome.text)


def error_in(printed: str) -> str:
    found = json.JSONDecoder().raw_decode(printed)[0]
    if isinstance(found, dict):
        return f"{found['error']}. {found['fix']}"
    return str(found[0].get("error") or found[0]["run"]["error"])


def loads(lab: TextLab, path: Path, *options: str) -> None:
    outcome = lab.load(path, *options)
    assert (0, (3, 3, 0)) == (outcome.code, outcome.counts()), outcome.text


@pytest.mark.parametrize(
    ("advice", "wrong", "right"),
    [
        follows("Export it as CSV", ("p.csv", b"%PDF-1.4\n"), ("p.csv", FINE), id="a pdf"),
        follows("Export it as CSV", ("p.csv", bytes(range(1, 9)) * 99), ("p.csv", FINE), id="control characters"),
        follows("Ask for the file again", ("p.csv", ""), ("p.csv", FINE), id="empty"),
        follows("Ask for the file again", ("p.zip", b"PK\x03\x04"), ("p.zip", packed("p.csv")), id="cut off"),
        follows("Pack files that end in one of {}", ("p.zip", packed("p.doc")), ("p.zip", packed("p.csv"))),
        follows(
            "Pack it without a password",
            ("p.zip", lambda path: encrypted(packed("p.csv")(path))), ("p.zip", packed("p.csv")),
        ),
        follows(
            "If that is intended, unpack it and load the text",
            ("p.csv.gz", lambda path: gzipped(path, (FINE + "\n" * 70_000_000).encode())),
            ("p.csv", FINE + "\n" * 70_000_000),
            marks=pytest.mark.slow,
        ),
        follows("Save it as .xlsx without a password", ("p.xlsx", b"\xd0\xcf\x11\xe0" * 9), ("p.xlsx", sheet)),
        follows("Save the table in one", ("p.xlsx", chart_only), ("p.xlsx", sheet)),
        follows(
            "Open it in a spreadsheet program, save it there and load it again",
            ("p.xlsx", formulas), ("p.xlsx", lambda path: with_results(formulas(path), {"1+1": "2"})),
        ),
        follows("If that is intended, export the sheet as CSV", ("p.xlsx", inflated), ("p.csv", FINE)),
        follows("Export the sheet as CSV", ("p.xlsx", packed("p.txt")), ("p.csv", FINE)),
    ],
)  # fmt: skip
def test_a_file_is_made_as_advised(lab, advice, wrong, right):
    advises(advice, said(lab, lab.put(wrong[1], wrong[0])))

    loads(lab, lab.put(right[1], right[0]))


def test_files_of_an_archive_get_names_of_their_own(lab):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = lab.put(packed("p.csv", "p.csv"), "p.zip")

    advises("Pack each under a name of its own", said(lab, path))

    other = FINE.replace(people(3), people(3, 4)).encode()
    outcome = lab.load(zipped(lab.folder / "q.zip", [("p.csv", FINE.encode()), ("q.csv", other)]))
    assert (0, (6, 6, 0)) == (outcome.code, outcome.counts())


def test_a_folder_gets_a_file_whose_name_shows_that_it_is_text(lab):
    folder = lab.folder / "delivered"
    folder.mkdir()
    for name in ("a.doc", "b.doc"):
        (folder / name).write_text(FINE)

    (endings,) = advises("Give one of {}", said(lab, folder))

    (folder / "a.doc").rename(folder / f"a{endings.split(', ')[0]}")
    loads(lab, folder)


@pytest.mark.parametrize(
    ("advice", "option", "wrong", "right"),
    [
        follows("Choose one such as utf-8, utf-16, windows-1252 or iso-8859-1", "encoding", "utf-81", "iso-8859-1"),
        follows("Give one character", "quote", "''", "'"),
        follows("Give one such as , or ; or a tab", "delimiter", "\n", ","),
    ],
)
def test_a_dialect_is_given_as_advised(advice, option, wrong, right):
    """To the code; the command line and the catalog check it before."""
    with advised(advice):
        detect(io.BytesIO(FINE.encode()), Given(**{option: wrong}))

    assert "," == detect(io.BytesIO(FINE.encode()), Given(**{option: right})).delimiter


def test_a_layout_is_inferred_from_a_file_with_rows(lab):
    code, printed = lab.run("csv", "infer", str(lab.put(HEADER)), "--json")
    assert code
    advises("Give a file that has some", error_in(printed))

    assert 0 == lab.run("csv", "infer", str(lab.put(FINE)), "--json")[0]


def test_a_quote_in_the_first_line_is_closed():
    with advised("Check that the file is CSV and that a quote in its first line is closed"):
        detect(io.BytesIO(b'"id' + b'"' * 2_000_000), Given())

    assert ("id",) == detect(io.BytesIO(b'"id"\n' + b"1\n" * 1_000_000), Given()).names


def test_a_file_that_is_not_in_its_encoding_is_exported_as_utf_8(lab):
    """Without a mark, and then something that no text in the encoding has."""
    spoilt = FINE.encode("utf-32-le") + b"\xff\xff\xff\xff"
    path = lab.put(spoilt, "p.csv")

    advises("Export it as UTF-8", said(lab, path, "--encoding", "utf-32"))

    loads(lab, lab.put(FINE.encode(), "p.csv"))


def test_an_archive_whose_files_changed_is_loaded_again(tmp_path):
    """Its members were listed; then it was packed anew."""
    path = tmp_path / "p.zip"
    zipped(path, [("a.csv", FINE.encode())])
    with path.open("rb") as opened:
        (listed,) = packed_files.members(opened, "p.zip")
    zipped(path, [("b.csv", FINE.encode())])
    with path.open("rb") as opened, advised("Load the archive again"), packed_files.unpacked(opened, "p.zip", listed):
        pass

    with path.open("rb") as opened:
        (listed,) = packed_files.members(opened, "p.zip")
        with packed_files.unpacked(opened, "p.zip", listed) as content:
            assert FINE.encode() == content.read()
