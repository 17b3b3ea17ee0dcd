"""Load the corrected rows of a CSV that `sluice rejects --csv` wrote, with the export time they first came with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from shared.catalog import System
from shared.contract.mapping import with_choices
from shared.errors import ConfigError
from shared.model import FeedName, Run
from shared.pipeline.feeds import known_feed
from shared.pipeline.runner import Progress, Result, Runner, RunOptions
from shared.sources import corrected
from shared.sources.corrected import CorrectedRows
from shared.warehouses import History


def write_rejects(history: History, feed: str, run: str | None, out: IO[bytes]) -> None:
    """Write what was rejected of *feed*, by one *run* or by all, as CSV to be corrected."""
    corrected.write(lambda: history.rejects(feed, run), out)


def replay(runner: Runner, feed: str, file: Path, progress: Progress | None = None) -> Iterator[Result]:
    """Load the rows in *file*: a result for each run that rejected some of them.

    Text is read as the types that the run had. ConfigError if *feed* has no such run.
    """
    name = FeedName.parse(known_feed(feed, runner.systems, runner.warehouse))
    system = runner.systems.get(name.system)
    if system is None:
        raise ConfigError(
            f"there is no system {name.system!r} in the catalog", fix="Set CATALOG_PATH to the one it is in"
        )
    runs = {run.id: run for run in runner.warehouse.runs(feed, limit=None)}
    corrections = CorrectedRows(file, ())
    for rejected_by, unit in corrections.units().items():
        if rejected_by not in runs:
            raise ConfigError(
                f"{file} has rows of run {rejected_by}, which {feed} does not have",
                fix="Give the feed that the file was written for",
            )
        run = runs[rejected_by]
        dated = replace(unit, exported_at=unit.exported_at or run.exported_at, client=run.client)
        typed = _as_rejected(system, name.table, run, corrections)
        yield replace(runner, systems={**runner.systems, system.name: typed}).run_unit(
            feed,
            dated,
            CorrectedRows(file, run.columns),
            RunOptions(),
            place=file.name,
            progress=progress or Progress(),
        )


def _as_rejected(system: System, table: str, run: Run, corrections: CorrectedRows) -> System:
    """*system*, where *table* is read as *run* read it: its types, or where it has a layout, its headers."""
    layout = system.tables.get(table, {}).get("layout")
    if layout is None:
        return system.with_types(table, CorrectedRows.types(run))
    return system.with_layout(table, with_choices(layout, corrections.choices(run)))
