"""``sluice erase``: remove a person's rows for good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.cli import interrupts, options, output

if TYPE_CHECKING:
    from shared.pipeline.erase import ErasedFrom

_COUNTS = ("rows", "history", "rejects", "staging")


@click.command()
@click.argument("feed")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@click.option("--keep-out", is_flag=True, help="Reject rows with these keys from now on (KEEP_OUT_KEY).")
@click.option(
    "--raw",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Also delete answers in a folder of `sluice sync --keep-raw` that name a key.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only count what would be removed.")
@options.as_json
def erase(
    feed: str, keys: tuple[str, ...], keep_out: bool, raw: Path | None, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Remove all that is stored of some keys of a feed, for good.

    Rows, their history, rejected rows and staged ones go, in every warehouse; a record without the data stays. Of a
    feed with several key columns, write a value for each column, key after key.
    """
    from shared.app import current
    from shared.model import FeedName
    from shared.pipeline import erase as pipeline

    if as_json and not (yes or dry_run):
        raise click.UsageError("--json cannot ask: write --yes, or --dry-run")
    app = current().resolved(FeedName.parse(feed).system)

    def run(dry: bool) -> list[ErasedFrom]:
        wanted = pipeline.EraseOptions(
            requested_by=options.user(), keep_out=keep_out, raw=raw, stuck_after=app.settings.stuck_after, dry_run=dry
        )
        return pipeline.erase(app.runner, app.documents, feed, keys, wanted)

    if not (yes or dry_run):
        _print(run(True))
        click.confirm("Remove this for good?", abort=True)
    interrupts.explain("What is removed is gone: run it again for the rest")
    done = run(dry_run)
    if as_json:
        output.print_json(_record(one) for one in done)
        return
    _print(done)
    for note in dict.fromkeys(one.note for one in done if one.note):
        click.secho(note, fg="yellow", err=True)
    if dry_run:
        click.echo("Nothing was removed: this was a dry run.")


def _print(done: list[ErasedFrom]) -> None:
    rows = [
        {"place": one.place, **{name: getattr(one.erasure, name, None) for name in _COUNTS}, "files": one.files or None}
        for one in done
    ]
    output.print_table([row for row in rows if any(row[name] for name in row if name != "place")], empty=_NOTHING)


_NOTHING = "Nothing is stored of that"


def _record(one: ErasedFrom) -> dict[str, Any]:
    counts = {name: getattr(one.erasure, name, 0) for name in _COUNTS}
    kept_out = len(one.erasure.kept_out) if one.erasure else 0
    return {"place": one.place, **counts, "files": one.files, "kept_out": kept_out, "note": one.note}
