"""``sluice upkeep``: what the files of a data lake need from time to time."""

from __future__ import annotations

import datetime as dt
import sys

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shared.cli import interrupts, options, output

if TYPE_CHECKING:
    from shared.pipeline.upkeep import TendedTable


@click.command()
@click.argument("feeds", nargs=-1, metavar="[FEED]...")
@click.option("--keep", type=click.FloatRange(0), metavar="DAYS", help="Keep replaced files so long (LAKE_KEEP).")
@click.option("--cluster", is_flag=True, help="Sort tables by their key whose files overlap in it.")
@click.option("--manifest", is_flag=True, help="List current files for readers without Delta Lake, from now on.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@options.as_json
def upkeep(
    feeds: tuple[str, ...], keep: float | None, cluster: bool, manifest: bool, dry_run: bool, as_json: bool
) -> None:  # fmt: skip
    """Put small files of a lake together, delete replaced ones.

    All tables, or only those of the feeds named. Loads and readers go on meanwhile.
    """
    from shared.app import current
    from shared.pipeline import upkeep as pipeline

    app = current()
    kept = dt.timedelta(seconds=app.settings.lake_keep) if keep is None else dt.timedelta(days=keep)
    wanted = pipeline.Upkeep(keep=kept, cluster=cluster, manifest=manifest, dry_run=dry_run)
    if not dry_run:
        interrupts.explain("Tables that are done stay done: run it again for the rest")
    found = list(pipeline.upkeep(app.runner, [feed.lower() for feed in feeds], wanted))
    if as_json:
        output.print_json([{"destination": one.destination, **asdict(one.table), "error": one.error} for one in found])
    else:
        output.print_table([_row(one) for one in found], empty="There is no table yet")
        for one in found:
            if reason := one.error or one.table.note:
                click.secho(f"{one.table.table}: {reason}", fg="red" if one.error else "yellow", err=True)
    if any(one.error for one in found):
        sys.exit(1)


def _row(one: TendedTable) -> dict[str, Any]:
    table = one.table
    return {
        "table": table.table, "destination": one.destination, "files": f"{table.files_before} > {table.files_after}",
        "MB": f"{table.bytes_before / 2**20:.1f} > {table.bytes_after / 2**20:.1f}",
        "deleted": table.deleted_files, "MB freed": f"{table.deleted_bytes / 2**20:.1f}",
    }  # fmt: skip
