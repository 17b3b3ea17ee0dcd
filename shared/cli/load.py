"""The commands that load: exports, corrected rows, the demo; and the one that takes work again."""

from __future__ import annotations

import sys

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from shared.cli import interrupts, options, output, progress
from shared.model import MAIN

if TYPE_CHECKING:
    from shared.pipeline.backfill import BackfillResult
    from shared.pipeline.progress import Result


class Ended(Protocol):
    """What became of one table."""

    @property
    def failed(self) -> bool: ...
    @property
    def loaded(self) -> bool: ...


T = TypeVar("T", bound=Ended)

_NEXT_LOAD = "Tables loaded before: {}. Run the same command again to load the rest"


@click.command()
@click.argument("location", metavar="FOLDER_OR_URL")
@options.choice_of_exports
@click.option("--all", "everything", is_flag=True, help="Also load exports older than the newest full.")
@click.option("--dry-run", is_flag=True, help="Do the whole merge, show what it would change, and roll it back.")
@options.of_a_load
@options.destination
@options.as_json
def load(location: str, as_json: bool, tables: str, **choice: Any) -> None:
    """Load the exports in a folder.

    That is one export, or of many the newest full and every delta after it.
    """
    from shared.app import current
    from shared.pipeline import folder

    app = current()
    load_options = options.load_options(tables, **choice)
    with progress.shown(quiet=as_json) as shown:
        _print(folder.load(app.runner, app.settings, location, load_options, shown), as_json=as_json)


@click.command()
@click.argument("feed")
@click.option("--run", metavar="ID", help="Show only those of one run.")
@click.option("--csv", "as_csv", is_flag=True, help="Write them as CSV, to be corrected for --replay.")
@click.option(
    "--replay", type=click.Path(path_type=Path), metavar="FILE", help="Load the corrected rows of such a CSV."
)
@options.destination
@options.as_json
def rejects(
    feed: str, run: str | None, as_csv: bool, replay: Path | None, destination: str | None, as_json: bool
) -> None:
    """Show rejected rows and values, or load corrected ones.

    Each comes with its place, a code and the reason.
    """
    from shared.app import current
    from shared.pipeline import replay as replaying
    from shared.pipeline.destinations import runner_to_look_at
    from shared.pipeline.feeds import known_feed

    app = current()
    history = runner_to_look_at(app.runner, feed, destination).warehouse
    known_feed(feed, app.systems, history)
    if replay is not None:
        if as_csv or run or destination:
            raise click.UsageError("--replay cannot be combined with --csv, --run or --destination")
        with progress.shown(quiet=as_json) as shown:
            _print(replaying.replay(app.runner, feed, replay, shown), as_json=as_json)
    elif as_csv:
        replaying.write_rejects(history, feed, run, sys.stdout.buffer)
    elif as_json:
        output.print_json(history.rejects(feed, run))
    else:
        empty = f"Nothing was rejected of {feed}. See its runs with `sluice history {feed}`"
        output.print_table(history.rejects(feed, run), empty=empty)


@click.command()
@click.argument("feed")
@click.option("--to", metavar="T", help="Take again what was exported, or changed, since a time (or number).")
@click.option("--reset", is_flag=True, help="Take everything again.")
@options.destination
@options.as_json
def backfill(feed: str, to: str | None, reset: bool, destination: str | None, as_json: bool) -> None:
    """Let a feed be loaded again from a time on.

    The next load of the folder takes again what was exported since then; the next sync reads again from there. T is a
    value of the feed's cursor: of a table whose cursor is a number, a number.
    """
    from shared.app import current
    from shared.model import FeedName, to_text
    from shared.pipeline import backfill as pipeline

    if (to is None) != reset:
        raise click.UsageError("write either --to T or --reset")
    app = current().resolved(FeedName.parse(feed).system)
    interrupts.explain("Run it again: what is forgotten already stays forgotten")
    request = pipeline.BackfillRequest(feed=feed, to=to, requested_by=options.user(), now=to_text(app.now()))
    results = pipeline.backfill_each(request, app.runner, destination)
    if as_json:
        output.print_json(_backfill_record(name, result) for name, result in results)
        return
    for name, result in results:
        _print_backfill(feed if name == MAIN else f"{feed} in {name}", result)


def _backfill_record(destination: str, result: BackfillResult) -> dict[str, Any]:
    recorded = asdict(result.recorded) if result.recorded else None
    forgotten = [asdict(record) for record in result.forgotten]
    return {"destination": destination, "backfill": recorded, "reason": result.reason, "forgotten": forgotten}


def _print_backfill(feed: str, result: BackfillResult) -> None:
    if result.recorded is None:
        click.echo(f"Nothing to do: {result.reason}. See the runs with `sluice history {feed}`.")
    elif not result.forgotten:
        click.echo(f"The next sync of {feed} reads again from {result.recorded.after or 'the beginning'}")
    else:
        output.print_table([{"exported_at": record.exported_at, "file": record.name} for record in result.forgotten])
        click.echo(f"{len(result.forgotten)} will be loaded again by the next load of their folder")


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Where to create the demo; must not exist yet.")
@options.as_json
def demo(folder: Path | None, as_json: bool) -> None:
    """Make a realistic export, load it, and show what happened.

    It is loaded step by step into a local warehouse of its own.
    """
    from shared.cli import demo as script

    interrupts.explain("Run it again: it starts from the beginning")
    steps = script.play(folder)
    if as_json:
        output.print_json({"step": s.title, "results": [output.result_record(r) for r in s.results]} for s in steps)
        return
    for step in steps:
        click.secho(f"\n{step.title}", bold=True)
        click.echo(step.text)
        for line in step.commands:
            click.echo(f"  {line}")
        output.print_table(step.rows or [output.result_row(result) for result in step.results])
        for result in step.results:
            if result.run:
                output.print_remark(result.table, result.run)


def finish(
    results: Iterator[T],
    record: Callable[[T], dict[str, Any]],
    show: Callable[[list[T]], None],
    *,
    as_json: bool,
) -> None:
    """Print results, also of a load that is interrupted or that fails half-way. Exit code 1 if one has failed."""
    done: list[T] = []

    def kept() -> Iterator[T]:
        interrupts.explain(_NEXT_LOAD.format(0))
        for result in results:
            done.append(result)
            interrupts.explain(_NEXT_LOAD.format(sum(one.loaded for one in done)))
            yield result

    if as_json:
        output.print_json(record(result) for result in kept())
    else:
        _print_all(kept(), done, show)
    if any(result.failed for result in done):
        sys.exit(1)


def _print(results: Iterator[Result], *, as_json: bool) -> None:
    finish(results, output.result_record, output.print_results, as_json=as_json)


def _print_all(results: Iterator[T], done: list[T], show: Callable[[list[T]], None]) -> None:
    try:
        for _ in results:
            pass
    finally:  # what was loaded before an interruption is loaded
        if done or sys.exc_info()[0] is None:
            show(done)
