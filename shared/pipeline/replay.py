"""Load the corrected rows of a CSV that `sluice rejects --csv` wrote, with the export time they first came with."""

from __future__ import annotations

import logging

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

from shared.catalog import System
from shared.contract.mapping import with_choices
from shared.errors import ConfigError, TransientError
from shared.model import FeedName, Run
from shared.pipeline.destinations import Target, run_in_each, targets
from shared.pipeline.progress import Progress, Result
from shared.pipeline.runner import Runner, RunOptions
from shared.sources import corrected
from shared.sources.corrected import CorrectedRows
from shared.warehouses import History

_log = logging.getLogger("sluice")


def write_rejects(history: History, feed: str, run: str | None, out: IO[bytes]) -> None:
    """Write what was rejected of *feed*, by one *run* or by all, as CSV to be corrected."""
    corrected.write(lambda: history.rejects(feed, run), out)


def replay(runner: Runner, feed: str, file: Path, progress: Progress | None = None) -> Iterator[Result]:
    """Load the rows in *file* into each destination of *feed*: results for each run that rejected some of them.

    Text is read as the types that the run had. ConfigError if no destination of *feed* has such a run.
    """
    name = FeedName.parse(feed)
    system = runner.systems.get(name.system)
    if system is None:
        raise ConfigError(
            f"there is no system {name.system!r} in the catalog", fix="Set CATALOG_PATH to the one it is in"
        )
    into = targets(runner, feed)
    runs = {run.id: run for target in into for run in _runs(target, feed)}
    corrections = CorrectedRows(file, ())
    for rejected_by, unit in corrections.units().items():
        if rejected_by not in runs:
            raise ConfigError(
                f"{file} has rows of run {rejected_by}, which {feed} does not have",
                fix="Give the feed that the file was written for",
            )
        run = runs[rejected_by]
        dated = replace(unit, exported_at=unit.exported_at or run.exported_at, client=run.client)
        typed = targets(runner.with_system(_as_rejected(system, name.table, run, corrections)), feed)
        yield from run_in_each(
            typed,
            feed,
            {target.name: dated for target in into},
            CorrectedRows(file, run.columns),
            RunOptions(),
            place=file.name,
            progress=progress or Progress(),
        )


def _runs(target: Target, feed: str) -> list[Run]:
    """What the history of one destination among several has of a feed; nothing if it cannot be reached just now."""
    try:
        return target.runner.warehouse.runs(feed, limit=None)
    except (TransientError, ConfigError) as error:
        _log.warning("destination %s has no history of %s: %s", target.name, feed, error)
        return []


def _as_rejected(system: System, table: str, run: Run, corrections: CorrectedRows) -> System:
    """*system*, where *table* is read as *run* read it: its types, or where it has a layout, its headers."""
    layout = system.tables.get(table, {}).get("layout")
    if layout is None:
        return system.with_types(table, CorrectedRows.types(run))
    return system.with_layout(table, with_choices(layout, corrections.choices(run)))
