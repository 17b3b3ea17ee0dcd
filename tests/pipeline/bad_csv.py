"""Text files with something wrong in them, made one by one, and the command that loads them."""

from __future__ import annotations

import gzip
import json
import zipfile

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import duckdb
import pytest

from click.testing import CliRunner

from shared import app
from shared.cli.main import main
from shared.model import OUTCOMES
from shared.settings import Settings

CATALOG = """
[system]
name = "crm"
source = "csv"

[defaults]
max_reject_share = 1

[tables.person]
keys = ["id"]

[tables.person.columns]
id = { type = "bigint", cleaner = "integer" }
name = { cleaner = "text", required = true }
email = { cleaner = "email" }
phone = { cleaner = "phone" }
note = { cleaner = "text" }
born = { type = "date", cleaner = "date" }
zip = { cleaner = "zip" }
"""
HEADER = "id,name,email,phone,note\n"
NAUGHTY: list[str] = json.loads((Path(__file__).parents[1] / "data" / "naughty.json").read_text(encoding="utf-8"))
"""Texts that have broken programs, in the manner of the Big List of Naughty Strings."""


def people(count: int, start: int = 1) -> str:
    return "".join(
        f"{n},Person {n},p{n}@example.com,617-555-01{n % 100:02},fine\n" for n in range(start, start + count)
    )


def field(text: str) -> str:
    """*text* as a quoted field."""
    return '"' + text.replace('"', '""') + '"'


def zipped(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def gzipped(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


@dataclass
class Outcome:
    """What the command reported, and what the warehouse keeps."""

    code: int
    records: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    text: str

    def counts(self) -> tuple[int, int, int]:
        """Rows read, inserted and rejected, of all files. They add up."""
        runs = [record["run"] for record in self.records if record.get("run")]
        for run in runs:
            assert run["error"] or run["read"] == sum(run[outcome] for outcome in OUTCOMES)
        return tuple(sum(run[name] for run in runs) for name in ("read", "inserted", "rejected"))  # type: ignore[return-value]


class TextLab:
    """A folder, a catalog of one table and a warehouse, and the command line over them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        (folder / "catalog").mkdir()
        (folder / "catalog" / "crm.toml").write_text(CATALOG, encoding="utf-8")
        for setting in fields(Settings):
            monkeypatch.delenv(setting.name.upper(), raising=False)
        monkeypatch.setenv("CATALOG_PATH", str(folder / "catalog"))
        monkeypatch.setenv("WAREHOUSE_URL", f"duckdb:///{folder}/warehouse.duckdb")
        monkeypatch.setenv("LEDGER_URL", f"sqlite:///{folder}/ledger.db")

    def put(self, content: str | bytes | Callable[[Path], Path], name: str = "people.csv") -> Path:
        path = self.folder / name
        if callable(content):
            return content(path)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(self, *words: str) -> tuple[int, str]:
        """Exit code and output of a command."""
        app.opened.cache_clear()
        result = CliRunner().invoke(main, list(words), catch_exceptions=False)
        app.opened.cache_clear()
        return result.exit_code, result.stdout

    def load(self, path: Path, *options: str) -> Outcome:
        code, printed = self.run("csv", "crm", "person", str(path), "--json", *options)
        found = json.loads(printed)
        rejects = json.loads(self.run("rejects", "crm.person", "--json")[1])
        records = found if isinstance(found, list) else []
        return Outcome(code, records, rejects, f"{printed}\n{json.dumps(rejects, ensure_ascii=False)}")

    def rows(self, query: str = "SELECT * FROM crm.person ORDER BY id") -> list[dict[str, Any]]:
        with duckdb.connect(str(self.folder / "warehouse.duckdb"), read_only=True) as connection:
            found = connection.execute(query)
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
