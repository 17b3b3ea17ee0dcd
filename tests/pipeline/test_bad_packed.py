"""Archives and spreadsheets that are not as they should be (docs/bad-input.md, "Text files")."""

from __future__ import annotations

import datetime as dt
import json

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.bad_csv import HEADER, TextLab, gzipped, people, zipped
from tests.pipeline.bad_input import page
from tests.pipeline.sheets import encrypted, with_results, workbook
from tests.pipeline.test_bad_csv import outcome

Make = Callable[[Path], Path]

TEXT = f"{HEADER}{people(3)}".encode()
MORE = f"{HEADER}{people(2, 10)}".encode()
BOMB = HEADER.encode() + b"1," + b"x" * 100_000_000
MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - as spreadsheets have it
HEADERS = HEADER.strip().split(",")


def sheet(*rows: list[Any], merged: str | None = None) -> Make:
    return lambda path: workbook(path, [HEADERS, *rows], lambda one: merged and one.merge_cells(merged))


def cut(make: Make) -> Make:
    """Without its end."""

    def made(path: Path) -> Path:
        whole = make(path).read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
        return path

    return made


FILES: dict[str, tuple[str, Make, tuple[int, int, int]]] = {
    "packed-gzip": ("people.csv.gz", lambda path: gzipped(path, TEXT), (3, 3, 0)),
    "packed-zip": (
        "people.zip", lambda path: zipped(path, [("a.csv", TEXT), ("b.csv", MORE), ("read.me", b"x")]), (5, 5, 0),
    ),
    "packed-climbs": ("people.zip", lambda path: zipped(path, [("../../evil.csv", TEXT)]), (3, 3, 0)),
    "packed-zip-bomb": ("people.zip", lambda path: zipped(path, [("a.csv", BOMB)]), (0, 0, 0)),
    "packed-gzip-bomb": ("people.csv.gz", lambda path: gzipped(path, BOMB), (0, 0, 0)),
    "packed-encrypted": ("people.zip", lambda path: encrypted(zipped(path, [("a.csv", TEXT)])), (0, 0, 0)),
    "packed-no-text": ("people.zip", lambda path: zipped(path, [("a.png", b"x")]), (0, 0, 0)),
    "packed-zip-cut": ("people.zip", cut(lambda path: zipped(path, [("a.csv", TEXT)])), (0, 0, 0)),
    "packed-gzip-cut": ("people.csv.gz", cut(lambda path: gzipped(path, TEXT)), (0, 0, 0)),
    "sheet-values": (
        "people.xlsx",
        sheet([1, "Ann", None, 6175550101, MOMENT], [2, "Bob", None, None, dt.date(2026, 1, 3)]),
        (2, 2, 0),
    ),
    "sheet-formulas": (
        "people.xlsx", lambda path: with_results(sheet([1, "Ann", None, None, "=1+1"])(path), {"1+1": "22"}), (1, 1, 0),
    ),
    "sheet-not-calculated": ("people.xlsx", sheet([1, "Ann", None, None, "=1+1"]), (0, 0, 0)),
    "sheet-merged": (
        "people.xlsx", sheet([1, "Ann", None, None, "x"], [None, "Bob", None, None, "y"], merged="A2:A3"), (2, 1, 1),
    ),
    "sheet-errors": ("people.xlsx", sheet([1, "Ann", "#N/A", None, "#DIV/0!"]), (1, 1, 0)),
    "sheet-named-csv": ("people.csv", sheet([1, "Ann"]), (0, 0, 0)),
    "sheet-text": ("people.xlsx", lambda path: _written(path, TEXT), (0, 0, 0)),
    "sheet-old": ("people.xls", lambda path: _written(path, bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600)), (0, 0, 0)),
}  # fmt: skip
"""The name of the file, what writes it, and the rows that are read, inserted and rejected."""


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_packed_file_has_the_outcome_of_the_page(tmp_path, monkeypatch, name) -> None:
    """Nothing is ever unpacked to a disk, and no more than is expected into memory."""
    lab = TextLab(tmp_path, monkeypatch)
    file, make, expected = FILES[name]

    found = lab.load(lab.put(make, file))
    stored = lab.rows() if expected[1] else []

    assert expected == found.counts()
    assert expected[1] == len(stored)
    assert not list(tmp_path.parent.parent.glob("evil.csv"))
    page()[name].holds(outcome(found), f"{found.text}\n{json.dumps(stored, default=str, ensure_ascii=False)}")
