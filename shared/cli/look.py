"""The commands that only look: feeds, history, a file that is not loaded yet."""

from __future__ import annotations

import sys

from dataclasses import asdict
from typing import Any

import click

from shared.cli import options, output


@click.command()
@options.as_json
def feeds(as_json: bool) -> None:
    """List the feeds: keys, cursor, watermark and last run."""
    from shared.app import current
    from shared.pipeline.feeds import overview

    app = current()
    found = overview(app.systems, app.warehouse, app.ledger)
    if as_json:
        output.print_json(found)
    else:
        output.print_table(found, empty="The catalog declares no feed. Load a folder with `sluice load FOLDER`")


@click.command()
@click.argument("feed", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many runs.")
@options.as_json
def history(feed: str | None, limit: int, as_json: bool) -> None:
    """Show the last runs of a feed, or of all feeds.

    Each run has what became of every row that was read.
    """
    from shared.app import current
    from shared.pipeline.feeds import known_feed

    app = current()
    runs = app.warehouse.runs(feed and known_feed(feed, app.systems, app.warehouse), limit)
    if as_json:
        output.print_json([output.run_record(run) for run in runs])
        return
    empty = "There is no run yet. Load a folder with `sluice load FOLDER`, or try `sluice demo`"
    output.print_table([output.run_row(run) for run in runs], empty=empty)
    for run in runs:
        output.print_remark(run.id, run)


@click.command()
@click.argument("location", metavar="FILE")
@options.choice_of_exports
@options.as_json
def audit(location: str, as_json: bool, tables: str, **choice: Any) -> None:
    """Show what is in a file or an export without loading it.

    Rows, deletions, oldest and newest cursor, and how the columns differ from those in the warehouse.
    """
    from shared.app import current
    from shared.pipeline.folder import audits

    app = current()
    found = list(audits(app.runner, app.settings, location, options.load_options(tables, **choice)))
    if as_json:
        output.print_json(asdict(one) for one in found)
    else:
        for one in found:
            output.print_audit(one)
    if any(one.error for one in found):
        sys.exit(1)
