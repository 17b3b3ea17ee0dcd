"""Exports with something wrong in them, an app to load them, and the page that says what becomes of them."""

from __future__ import annotations

import datetime as dt
import random
import re

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from shared.app import App
from shared.pipeline.folder import LoadOptions
from shared.pipeline.progress import Progress, Result
from tests.exports import START, Clock, export_path, load_exports, open_test_app, write_parquet

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "bad-input.md"
MORNING = dt.datetime(2026, 2, 24, 8)  # noqa: DTZ001 - as exports write it
FIRST, SECOND, THIRD = "20260224120000", "20260225120000", "20260226120000"

LENIENT = """
[system]
name = "coolr"
source = "exports"

[defaults]
cursor = "ModifiedOn"
deleted = "IsDeleted"
max_reject_share = 1

[undeclared]
keys = ["{table}Id"]

[tables]
thing = { keys = ["ThingId"] }
small = { keys = ["SmallId"], types = { Amount = "smallint" } }
"""
"""A catalog that lets every row be rejected, so that a file of one bad row shows what is said of it."""


# -- the page, and the tests that hold it


@dataclass
class Row:
    """One row of the page's table."""

    case: str
    input: str
    outcome: str
    message: str
    remedy: str
    held: bool = field(default=False)

    def holds(self, outcome: str, text: object) -> None:
        """Assert that the page promises *outcome*, and that each of its `quoted` words stands in *text*."""
        self.held = True
        assert self.outcome == outcome
        quoted = re.findall(r"``? ?(.+?) ?`?`", self.message)
        assert quoted, f"{self.case} quotes nothing"
        for words in quoted:
            pattern = ".*?".join(re.escape(part) for part in words.split("…"))
            assert re.search(pattern, str(text)), f"{words!r} is not in {str(text)!r}"


_HEAD = ["case", "input", "outcome", "message", "what to do"]


def page() -> dict[str, Row]:
    """The rows of the page's table, by case."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    rows = [Row(*found) for found in cells if len(found) == len(_HEAD) and found != _HEAD]
    assert len(rows) == len({row.case for row in rows})
    return {row.case: row for row in rows}


def case(name: str) -> Callable[[Any], Any]:
    """Mark a test as the one that holds row *name* of the page."""

    def mark(test: Any) -> Any:
        test.case = name
        return test

    return mark


# -- a folder of exports, and an app to load it


class Lab:
    """Writes exports into a folder, loads it, and looks at what became of it."""

    def __init__(self, folder: Path, catalog: str | None = LENIENT, **env: str) -> None:
        self.exports = folder / "exports"
        self.folder = folder
        if catalog is not None:
            (folder / "catalog").mkdir(exist_ok=True)
            (folder / "catalog" / "coolr.toml").write_text(catalog, encoding="utf-8")
            env = {"CATALOG_PATH": str(folder / "catalog"), **env}
        self.clock = Clock(START + dt.timedelta(days=5))
        self.app: App = open_test_app(folder, self.clock, **env)

    def path(self, kind: str = "full", stamp: str = FIRST, table: str = "thing", client: str = "Acme") -> Path:
        return export_path(self.exports, kind, stamp, table, client)

    def put(
        self, rows: Any, kind: str = "full", stamp: str = FIRST, table: str = "thing", client: str = "Acme"
    ) -> Path:
        return write_parquet(self.path(kind, stamp, table, client), rows)

    def load(self, place: Path | None = None, watch: Progress | None = None, **options: Any) -> list[Result]:
        self.clock.forward(hours=1)
        return list(load_exports(self.app, str(place or self.exports), LoadOptions(**options), watch))

    def one(self, place: Path | None = None, watch: Progress | None = None, **options: Any) -> Result:
        (result,) = [result for result in self.load(place, watch, **options) if result.run]
        return result

    def error(self, *args: Any, **options: Any) -> str:
        result = self.one(*args, **options)
        assert result.failed
        return reported(result.run.error)

    def counts(self, *args: Any, **options: Any) -> dict[str, int]:
        """The outcomes of the only run, without those that did not happen."""
        run = self.one(*args, **options).run
        assert run.error is None
        names = (
            "rejected", "superseded", "stale", "unchanged", "inserted", "deleted", "undeleted", "updated", "absent",
            "values_rejected",
        )  # fmt: skip
        return {name: getattr(run, name) for name in names if getattr(run, name)}

    def rejects(self, feed: str = "coolr.thing") -> list[dict[str, Any]]:
        return [dict(reject) for reject in self.app.warehouse.rejects(feed)]

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def tables(self) -> list[str]:
        found = self.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'coolr' ORDER BY 1")
        return [name for (name,) in found]

    def column(self, name: str, table: str = "thing") -> list[Any]:
        quoted = '"' + name.replace('"', '""') + '"'
        return [value for (value,) in self.sql(f"SELECT {quoted} FROM coolr.{table} ORDER BY 1")]


def reported(message: str | None) -> str:
    """*message*, which must be one line: a problem and its fix."""
    assert message is not None
    assert 1 == len(message.splitlines())
    assert message.endswith(".")
    assert 2 <= len(re.findall(r"[.] |[.]$", message))
    return message


def thing(key: Any = 1, **more: Any) -> dict[str, Any]:
    return {"ThingId": key, "ModifiedOn": MORNING, "IsDeleted": False, **more}


def things(*values: Any, kind: pa.DataType | None = None, name: str = "Value") -> pa.Table:
    """A table of one row a value of *values*, in a column *name*."""
    array = values[0] if len(values) == 1 and isinstance(values[0], pa.Array) else pa.array(list(values), kind)
    keys, rest = range(1, len(array) + 1), [thing(n) for n in range(len(array))]
    columns: dict[str, Any] = {"ThingId": pa.array(keys, pa.int64())}
    columns |= {n: pa.array([r[n] for r in rest]) for n in ("ModifiedOn", "IsDeleted")}
    return pa.table({**columns, name: array})


def numbers(rows: int, start: int = 1, **more: Any) -> pa.Table:
    """*rows* rows whose Value cannot be compressed."""
    noise = pa.py_buffer(random.Random(7).randbytes(8 * rows))
    columns = {
        "ThingId": pa.arange(start, start + rows),
        "Value": pa.Array.from_buffers(pa.int64(), rows, [None, noise]),
    }
    columns["ModifiedOn"] = pa.array([MORNING] * rows, pa.timestamp("us"))
    columns["IsDeleted"] = pa.array([False] * rows)
    return pa.table({**columns, **more})


def plainly(path: Path, table: pa.Table, **options: Any) -> Path:
    """Write *table* with its values as they are, in row groups of 1,000 rows, so that bytes can be found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **{"row_group_size": 1000, "use_dictionary": False, "compression": "none", **options})
    return path


def refused_alone(lab: Lab) -> str:
    """The error of the file of table thing, while table other, beside it, is loaded."""
    other = {"OtherId": 1, "ModifiedOn": MORNING, "IsDeleted": False}
    lab.put([other], table="other")
    by_table = {result.table: result for result in lab.load()}
    assert ["done", "failed"] == [by_table[name].run.status for name in ("other", "thing")]
    assert ["other", "other_active"] == lab.tables()
    failed = by_table["thing"].run
    assert ("failed", failed.error) == lab.sql(f"SELECT status, error FROM ingest.run WHERE id = '{failed.id}'")[0]
    return reported(failed.error)
