"""``sluice plan``: what loading a file would change, before it is loaded."""

from __future__ import annotations

import sys

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shared.cli import options, output

if TYPE_CHECKING:
    from shared.pipeline.file_plan import ColumnPlan, FilePlan


@click.command()
@click.argument("feed")
@click.argument("location", metavar="FILE")
@options.destination
@options.as_json
def plan(feed: str, location: str, destination: str | None, as_json: bool) -> None:
    """Show what loading a file would change, and how long it takes.

    FEED is <system>.<table>, FILE a Parquet or text file, a folder or a URL. Nothing is written. Ends with 1 if the
    load would stop.
    """
    from shared.app import current
    from shared.pipeline.csv import CsvOptions
    from shared.pipeline.file_plan import file_plans

    app = current()
    found = list(file_plans(app.runner, app.settings, feed.lower(), location, CsvOptions(destination=destination)))
    if as_json:
        output.print_json(_record(one) for one in found)
    else:
        for one in found:
            _print(one)
    if any(one.stops for one in found):
        sys.exit(1)


def _record(found: FilePlan) -> dict[str, Any]:
    return {**asdict(found), "would_stop": bool(found.stops)}


def _print(found: FilePlan) -> None:
    click.secho(
        f"{output.name_in(found.feed, found.destination)}: {', '.join(map(output.cell, found.files))}", bold=True
    )
    rows = "" if found.rows is None else f"{found.rows:,} rows, "
    click.echo(f"{rows}{found.size / 1e6:,.1f} MB{', into a new table' if found.is_new else ''}")
    output.print_table(map(_row, found.columns))
    for note in found.notes:
        click.secho(output.cell(note), fg="yellow")
    if found.forecast is not None:
        output.print_forecast(found.feed, found.forecast)
    for reason in found.stops:
        click.secho(f"the load would stop: {output.cell(reason)}", fg="red", err=True)


def _row(column: ColumnPlan) -> dict[str, Any]:
    kept = "hashed" if column.hidden == "hash" else f"masked ({column.hidden})" if column.hidden else None
    source = column.source if column.source != column.column else None
    return {
        "column": column.column, "from": source, "table": column.stored, "then": column.type, "change": column.change,
        "kept": kept, "note": column.note,
    }  # fmt: skip
