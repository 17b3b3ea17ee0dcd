"""What the error of a file of corrected rejects advises is done to it, and then its rows are loaded."""

from __future__ import annotations

import io

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from shared.errors import IngestError
from shared.pipeline.replay import replay, write_rejects
from tests.advice import advised, advises, follows
from tests.exports import export_path, load_exports, open_test_app, write_parquet

FEED = "coolr.location"


class Rejects:
    """A warehouse that rejected one row of eleven, and the file in which it is corrected."""

    def __init__(self, folder: Path) -> None:
        self.app = open_test_app(folder)
        rows = [{"LocationId": n, "ModifiedOn": None, "IsDeleted": False, "Name": "a;b"} for n in (*range(1, 11), None)]
        file = write_parquet(export_path(folder / "exports", "Delta", "20260224000000", "location"), rows)
        list(load_exports(self.app, file))
        self.file = folder / "corrected.csv"
        out = io.BytesIO()
        write_rejects(self.app.warehouse, FEED, None, out)
        self.exported = out.getvalue().decode()

    @property
    def corrected(self) -> str:
        """As `sluice rejects FEED --csv` wrote it, with the key that was missing."""
        header, row = self.exported.splitlines()
        names = header.split(",")
        cells = row.split(",")
        cells[next(n for n, name in enumerate(names) if name.strip('"') == "LocationId")] = "99"
        return f"{header}\n{','.join(cells)}\n"

    def replay(self, content: str | bytes, feed: str = FEED) -> int:
        """How many rows were inserted."""
        self.file.write_bytes(content.encode() if isinstance(content, str) else content)
        runs = [one.run for one in replay(self.app.runner, feed, self.file)]
        for run in runs:
            assert run is not None
            if run.error:
                raise AssertionError(run.error)
        return sum(run.inserted for run in runs if run is not None)

    def refused(self, content: str | bytes) -> str:
        with pytest.raises(IngestError) as caught:
            self.replay(content)
        return str(caught.value)


@pytest.fixture
def rejects(tmp_path: Path) -> Rejects:
    return Rejects(tmp_path)


def as_workbook(text: str) -> bytes:
    book = openpyxl.Workbook()
    for line in text.splitlines():
        book.active.append(line.split(","))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


WRONG: list[Any] = [
    follows('Save it as "CSV UTF-8", and keep its header and quoting', as_workbook, id="a workbook"),
    follows(
        'Save it as "CSV UTF-8", and keep its header and quoting', lambda text: text.rstrip() + ',"', id="open quote"
    ),
    follows(
        'Save it as "CSV UTF-8", and keep its header and quoting',
        lambda text: text.rstrip() + ",more\n",
        id="a cell more",
    ),
    follows("Keep its header", lambda text: text.replace("LocationId", "Name", 1)),
    follows("Start from `sluice rejects FEED --csv`", lambda text: text.partition("\n")[2]),
    follows("Keep the corrected one", lambda text: text + text.splitlines()[1] + "\n"),
]


@pytest.mark.parametrize(("advice", "spoilt"), WRONG)
def test_a_file_is_kept_as_it_was_written(rejects, advice: str, spoilt: Callable[[str], str | bytes]):
    advises(advice, rejects.refused(spoilt(rejects.corrected)))

    assert 1 == rejects.replay(rejects.corrected)


def test_the_first_columns_are_kept(rejects):
    header, row = rejects.corrected.splitlines()
    cells = row.split(",")
    run = next(n for n, name in enumerate(header.split(",")) if name.strip('"').endswith("run"))
    cells[run] = ""

    advises("Keep the first columns unchanged", rejects.refused(f"{header}\n{','.join(cells)}\n"))

    assert 1 == rejects.replay(rejects.corrected)


def test_rows_go_back_to_the_feed_that_rejected_them(rejects):
    with advised("Give the feed that the file was written for"):
        rejects.replay(rejects.corrected, "coolr.asset")

    assert 1 == rejects.replay(rejects.corrected)


def test_the_catalog_with_the_feed_is_set(tmp_path, monkeypatch):
    first = Rejects(tmp_path)
    other = tmp_path / "catalog"
    other.mkdir()
    (other / "crm.toml").write_text('[system]\nname = "crm"\nsource = "exports"\n')
    corrected = first.corrected
    known, first.app = first.app, open_test_app(tmp_path, CATALOG_PATH=str(other))

    with advised("Set CATALOG_PATH to the one it is in"):
        first.replay(corrected)

    first.app = known
    assert 1 == first.replay(corrected)
