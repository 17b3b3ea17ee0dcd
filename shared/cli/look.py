"""The commands that only look: feeds, history, a file that is not loaded yet."""

from __future__ import annotations

import sys

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shared.cli import options, output
from shared.model import MAIN

if TYPE_CHECKING:
    from shared.model import Orphans


@click.command()
@options.destination
@options.as_json
def feeds(destination: str | None, as_json: bool) -> None:
    """List the feeds: keys, cursor, watermark and last run."""
    from shared.app import current
    from shared.pipeline.feeds import overview

    app = current().resolved_where_possible()
    found = overview(app.runner, destination)
    if as_json:
        output.print_json(found)
    else:
        output.print_table(found, empty="The catalog declares no feed. Load a folder with `sluice load FOLDER`")


@click.command()
@click.argument("feed", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many runs.")
@options.destination
@options.as_json
def history(feed: str | None, limit: int, destination: str | None, as_json: bool) -> None:
    """Show the last runs of a feed, or of all feeds.

    Each run has what became of every row that was read.
    """
    from shared.app import current
    from shared.pipeline.destinations import runner_to_look_at
    from shared.pipeline.feeds import known_feed
    from shared.text import counted

    app = current()
    shown = app.runner.of(destination or MAIN) if feed is None else runner_to_look_at(app.runner, feed, destination)
    runs = shown.warehouse.runs(feed and known_feed(feed, app.systems, shown.warehouse), limit)
    if as_json:
        output.print_json([output.run_record(run) for run in runs])
        return
    empty = "There is no run yet. Load a folder with `sluice load FOLDER`, or try `sluice demo`"
    output.print_table([output.run_row(run) for run in runs], empty=empty)
    for run in runs:
        output.print_remark(run.id, run)
    for done in shown.warehouse.backfills(feed) if feed else ():
        click.echo(f"{done.at[:19]} {done.requested_by}: backfill from {done.after or 'the beginning'}")
    for gone in shown.warehouse.erasures(feed) if feed else ():
        parts = counted(gone.rows, "row"), counted(gone.history, "version"), counted(gone.rejects, "reject")
        click.echo(f"{gone.at[:19]} {gone.requested_by}: erased {', '.join(parts)}")


@click.command()
@click.argument("location", metavar="FILE_OR_FEED")
@options.choice_of_exports
@options.destination
@options.as_json
def audit(location: str, as_json: bool, tables: str, destination: str | None, **choice: Any) -> None:
    """Show what is in a file or an export without loading it.

    Rows, deletions, oldest and newest cursor, and how the columns differ from those in the warehouse. For the name of
    a feed instead of a file: its rows that refer to keys that another feed does not have.
    """
    from shared.app import current
    from shared.model import FeedName
    from shared.pipeline.destinations import runner_to_look_at
    from shared.pipeline.feeds import declared
    from shared.pipeline.folder import audits

    app = current().resolved_where_possible([FeedName.parse(location).system])
    feed = {one.name: one for one in declared(app.systems)}.get(location)
    if feed is not None:
        shown = runner_to_look_at(app.runner, feed.name, destination)
        _print_orphans(feed.name, shown.warehouse.orphans(feed), as_json=as_json)
        return
    found = list(
        audits(app.runner.of(destination or MAIN), app.settings, location, options.load_options(tables, **choice))
    )
    if as_json:
        output.print_json(asdict(one) for one in found)
    else:
        for one in found:
            output.print_audit(one)
    if any(one.error for one in found):
        sys.exit(1)


def _print_orphans(feed: str, found: Sequence[Orphans], *, as_json: bool) -> None:
    if as_json:
        output.print_json(asdict(one) for one in found)
        return
    rows = [
        {"column": one.column, "refers to": one.references, "rows": one.rows, "values": ", ".join(one.values)}
        for one in found
    ]
    output.print_table(rows, empty=f"No row of {feed} refers to a key that is not there")
