"""``sluice verify``: compare a table with a full of it, or with its source."""

from __future__ import annotations

import sys

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shared.cli import options, output, progress
from shared.text import counted

if TYPE_CHECKING:
    from shared.comparing import Difference
    from shared.pipeline.verify import Verification


@click.command()
@click.argument("feed")
@click.option(
    "--against", default="source", show_default=True, metavar="FOLDER_OR_SOURCE",
    help="A full export: its folder, file or URL. `source` is the database or API that the feed is read from.",
)  # fmt: skip
@click.option("--exported-at", callback=options.time, metavar="T", help="When the full was exported.")
@click.option("--limit", "most", default=20, show_default=True, type=click.IntRange(0), help="Rows to list at most.")
@options.destination
@options.as_json
def verify(feed: str, as_json: bool, **chosen: Any) -> None:
    """Compare a feed's table with a full export or its source.

    Both sides are compared by counts and checksums of ranges of keys, then row by row where these differ. Nothing is
    merged. Exit code 0: they are equal.
    """
    from shared.app import current
    from shared.model import FeedName
    from shared.pipeline import verify as pipeline

    app = current().resolved(FeedName.parse(feed).system)
    with progress.shown(quiet=as_json) as shown:
        found = pipeline.verify(app.runner, app.settings, feed, pipeline.VerifyOptions(**chosen), shown)
    if as_json:
        output.print_json([_record(found)])
    else:
        _print(found)
    if not found.found.equal:
        sys.exit(1)


def _record(one: Verification) -> dict[str, Any]:
    found = asdict(one.found)
    return {
        "feed": one.feed, "destination": one.destination, "against": one.against, "at": one.at,
        "equal": one.found.equal, **found, "source_rejected": one.rejected, "notes": [*one.notes], "repair": one.repair,
    }  # fmt: skip


def _print(one: Verification) -> None:
    found = one.found
    name = output.name_in(one.feed, one.destination)
    click.echo(
        f"{name}: {counted(found.rows, 'row')}, {counted(found.source_rows, 'row')} in {one.against} of {one.at[:19]};"
        f" {counted(found.ranges, 'range')} of keys compared, {found.ranges_read} read row by row"
    )
    counts = {kind: getattr(found, kind) for kind in ("missing", "extra", "differing")}
    output.print_table(
        [{**counts, "columns": ", ".join(f"{column} ({rows:,})" for column, rows in found.columns.items())}]
        if any(counts.values())
        else []
    )
    output.print_table(map(_row, found.differences))
    for column, kind in found.lacking.items():
        click.echo(f"The table has no column {column} ({kind}).")
    for column, (stored, kind) in found.unlike.items():
        click.echo(f"Column {column} is {stored} in the table, and {kind} in the source: not compared.")
    for note in one.notes:
        click.secho(note, fg="yellow", err=True)
    if found.equal:
        click.echo("They are equal.")
    if one.repair:
        click.echo(f"This repairs it: {one.repair}")


def _row(one: Difference) -> dict[str, Any]:
    what = "missing, deleted in the table" if one.deleted else one.kind
    return {**{name: str(value) for name, value in one.key.items()}, "row is": what, "columns": ", ".join(one.columns)}
