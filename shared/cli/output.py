"""How results look to a person and to a machine: tables, remarks, JSON. Prints only."""

from __future__ import annotations

import itertools
import json
import sys

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import click

from shared.errors import IngestError
from shared.model import MAIN

if TYPE_CHECKING:
    from shared.model import Change, Finding, Run
    from shared.pipeline.audit import Audit
    from shared.pipeline.forecast import Forecast
    from shared.pipeline.progress import Result

_COUNTS = (
    "read", "inserted", "updated", "deleted", "undeleted", "unchanged", "stale", "superseded", "rejected", "absent",
)  # fmt: skip
_MOST_ROWS = 200
"""A table longer than that is for a machine to read."""


def print_results(results: Sequence[Result]) -> None:
    """What became of each table, for people."""
    named = shown_destinations(results)
    rows = (_with_destination(result_row(result), result.destination if named else None) for result in results)
    print_table(rows, empty="Nothing to load. See `sluice load --help`")
    for result in results:
        if result.run:
            print_remark(name_in(result.table, result.destination), result.run)
        print_changes(result.changes)
        if result.forecast:
            print_forecast(name_in(result.table, result.destination), result.forecast)


def print_forecast(name: str, forecast: Forecast) -> None:
    """How long a load takes, and whether a link lasts that long."""
    click.echo(f"{name}: {forecast.text}")
    if forecast.link:
        click.secho(f"{name}: {forecast.link}", fg=None if forecast.link_lasts else "yellow")


class InDestination(Protocol):
    """A result in one destination."""

    @property
    def destination(self) -> str: ...


def shown_destinations(results: Sequence[InDestination]) -> bool:
    """Whether there is any destination but the main one to tell apart."""
    return any(result.destination != MAIN for result in results)


def name_in(name: str, destination: str) -> str:
    """
    >>> name_in("location", "main"), name_in("location", "lake")
    ('location', 'location in lake')
    """
    return name if destination == MAIN else f"{name} in {destination}"


def _with_destination(row: Mapping[str, Any], destination: str | None) -> dict[str, Any]:
    (first, value), *others = row.items()
    return {first: value, "destination": destination, **dict(others)}


def result_record(result: Result) -> dict[str, Any]:
    """A result as JSON has it."""
    record: dict[str, Any] = {
        "table": result.table, "destination": result.destination, "place": result.place, "skipped": result.skipped
    }  # fmt: skip
    record["run"] = run_record(result.run) if result.run else None
    if result.run and result.run.status == "dry":
        record["changes"] = [asdict(change) for change in result.changes]
        record["forecast"] = asdict(result.forecast) if result.forecast else None
    return record


def run_record(run: Run) -> dict[str, Any]:
    """A run as JSON has it."""
    return {name: value for name, value in asdict(run).items() if name != "columns"}


def result_row(result: Result) -> dict[str, Any]:
    """A result as a table has it."""
    place = "/".join(result.place.split("/")[-3:])
    if result.run is None:
        return {"table": result.table, "export": place, "status": f"skipped: {result.skipped}"}
    return {"table": result.table, "export": place, "status": result.run.status, **counts(asdict(result.run))}


def run_row(run: Run) -> dict[str, Any]:
    """A run as a table has it."""
    exported, finished = (run.exported_at or "")[:19], (run.finished or "")[:19]
    about = {"run": run.id, "feed": run.feed, "type": run.kind, "exported_at": exported, "status": run.status}
    return {**about, "finished": finished, **counts(asdict(run))}


def counts(known: Mapping[str, Any]) -> dict[str, int | None]:
    """The counts of rows among the fields of a run; None for those that are 0."""
    return {name: known[name] or None for name in _COUNTS}


def print_remark(name: str, run: Run) -> None:
    """What an operator should know of a run in addition to its counts, on the error output."""
    if run.error:
        click.secho(f"{name}: {run.error}", fg="red", err=True)
    if run.note:
        click.secho(f"{name}: {run.note}", fg="yellow", err=True)
    if run.log_rate and run.seconds:
        reached = f"{run.size / 1e6:.1f} MB staged in {run.seconds:.1f} s, {run.size / run.seconds / 1e6:.1f} MB/s"
        click.echo(
            f"{name}: {reached}; the service tier limits the log rate to {run.log_rate / 1e6:.1f} MB/s", err=True
        )
    if run.values_rejected:
        rejected = f"{run.values_rejected} values rejected, see `sluice rejects {run.feed}`"
        click.secho(f"{name}: {rejected}", fg="yellow", err=True)


def print_changes(changes: Iterable[Change]) -> None:
    """What a dry run would change, row by row."""
    for change in changes:
        click.secho(change.outcome, bold=True)
        before, after = change.before or {}, change.after or {}
        for name in dict.fromkeys((*before, *after)):
            old, new = before.get(name), after.get(name)
            click.echo(f"  {name}: {cell(old)}" + ("" if old == new else f" -> {cell(new)}"))


def print_audit(found: Audit) -> None:
    """A file compared with the warehouse: counts, oldest and newest cursor, columns and how they differ."""
    click.secho(f"{found.feed}: {', '.join(found.files)}", bold=True)
    if found.error:
        click.secho(found.error, fg="red", err=True)
        return
    stored = found.stored
    here = {"rows": found.rows, "active": found.active, "deleted": found.deleted, "rejected": found.rejected}
    there = {"rows": stored.rows, "active": stored.active, "deleted": stored.deleted}
    print_table(
        [
            {"": "file", **here, "oldest": found.lowest, "newest": found.highest},
            {"": "warehouse", **there, "oldest": stored.lowest, "newest": stored.highest},
        ]
    )
    print_table({"column": c.name, "file": c.type, "warehouse": stored.columns.get(c.name)} for c in found.columns)
    for difference in found.differences:
        click.echo(difference)


def print_table(rows: Iterable[Mapping[str, Any]], *, empty: str = "") -> None:
    """The first rows as a table, without columns that have no value. Without rows it is *empty*, or nothing."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rest = iter(rows)
    shown = list(itertools.islice(rest, _MOST_ROWS))
    names = dict.fromkeys(name for row in shown for name, value in row.items() if value is not None)
    if not names:
        if empty:
            click.echo(f"{empty}.")
        return
    drawn = Table(*names, box=None, pad_edge=False, header_style="bold")
    for row in shown:
        drawn.add_row(*(Text(cell(row.get(name)), overflow="fold") for name in names))
    # Columns are folded only to fit a terminal.
    console = Console() if sys.stdout.isatty() else Console(width=500)
    console.print(drawn)
    if more := sum(1 for _ in rest):
        click.echo(f"and {more:,} more; --json has them all")


def cell(value: Any) -> str:
    """A value as one line of a terminal."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    # A file name or a value may contain control characters of a terminal.
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(value))


def print_json(values: Iterable[Any]) -> None:
    """A JSON list, written as its elements come.

    If they end in an error of ours, that is the last element, as ``print_json_error`` has it, and the exit code is 1.
    An error before the first element is raised. The list is closed in any case.
    """
    written = 0
    try:
        for value in values:
            _print_element(value, written)
            written += 1
    except IngestError as error:
        if not written:
            raise
        _print_element(_error_record(error), written)
        sys.exit(1)
    finally:
        if written:
            click.echo("\n]")
    if not written:
        click.echo("[]")


def print_json_error(error: IngestError | click.UsageError) -> None:
    """A failed command as JSON: an object with the problem as ``error``, and what to do as ``fix``."""
    click.echo(json.dumps(_error_record(error), indent=2, ensure_ascii=False))


def _print_element(value: Any, before: int) -> None:
    click.echo("," if before else "[")
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str), nl=False)


def _error_record(error: IngestError | click.UsageError) -> dict[str, str]:
    if isinstance(error, IngestError):
        return {"error": error.problem, "fix": error.fix}
    return {"error": error.format_message(), "fix": "See --help"}


def print_finding(one: Finding) -> None:
    """A finding of the doctor in one line, and below it what to do."""
    color = {"ok": "green", "warning": "yellow", "failed": "red"}.get(one.status)
    click.echo(f"{click.style(f'{one.status:8}', fg=color)} {one.check}: {one.message}")
    if one.fix:
        click.echo(f"         {one.fix}.")


def print_statement(purpose: str, sql: str | None) -> None:
    """A statement of the setup script as a batch of its own; without *sql*, that it has been run."""
    click.echo(f"-- {purpose}\n{sql};\nGO\n" if sql else f"done: {purpose}")
