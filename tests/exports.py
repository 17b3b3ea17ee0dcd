"""Exports as CoolR writes them, and an app over a warehouse of its own, for tests."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shared.app import App, open_app
from shared.model import Finding
from shared.pipeline import checks, folder
from shared.pipeline.folder import LoadOptions
from shared.pipeline.progress import Progress, Result

START = dt.datetime(2026, 2, 24, 12, tzinfo=dt.UTC)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: dt.datetime = START) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        return self.now

    def forward(self, **span: float) -> dt.datetime:
        """Move on by a ``timedelta`` of *span*, and say what time it is then."""
        self.now += dt.timedelta(**span)
        return self.now


def write_parquet(
    path: Path,
    rows: pa.Table | Sequence[Mapping[str, Any]],
    row_group_size: int | None = None,
    schema: pa.Schema | None = None,
) -> Path:
    """Write *rows* (a table, or one mapping a row) to *path* with all folders it needs."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def export_path(root: Path, kind: str, stamp: str, table: str, client: str = "Acme") -> Path:
    """Where the file of a table lies: ``<Kind>/<client>/<stamp>/<table>.parquet``."""
    return root / kind.capitalize() / client / stamp / f"{table}.parquet"


def open_test_app(
    tmp_path: Path, clock: Clock | None = None, *, instead: Mapping[str, Any] | None = None, **env: str
) -> App:
    """The app over a warehouse and a ledger in *tmp_path*; *instead* replaces parts, *env* adds settings."""
    places = {
        "WAREHOUSE_URL": f"duckdb:///{tmp_path}/warehouse.duckdb",
        "LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
    }
    return open_app({**places, **env}, now=clock or Clock(), **(instead or {}))


def load_exports(
    app: App, location: Path | str, options: LoadOptions | None = None, progress: Progress | None = None
) -> Iterator[Result]:
    """What `sluice load` does, over the ports of *app*."""
    return folder.load(app.runner, app.settings, str(location), options or LoadOptions(), progress)


def doctor_findings(app: App, location: Path | str | None = None) -> Iterator[Finding]:
    """What `sluice doctor` does, over the ports of *app*."""
    return checks.doctor(
        None if location is None else str(location), settings=app.settings, systems=app.systems,
        warehouse=app.warehouse, ledger=app.ledger, now=app.now,
    )  # fmt: skip
