"""``sluice``: the same verbs as in Azure, by hand. Only words and tables here; the work is done in App."""

from __future__ import annotations

import contextlib
import logging
import sys

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.cli import output
from shared.errors import IngestError
from shared.redaction import redact_logs

if TYPE_CHECKING:
    from shared.app import App
    from shared.pipeline.folder import LoadOptions
    from shared.pipeline.runner import Progress, Result


class _Commands(click.Group):
    """Turns our errors into one line and exit code 1; wrong use is 2, as click has it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except IngestError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sluice")
@click.option("-v", "--verbose", is_flag=True, help="Log every step to the error output.")
def main(verbose: bool) -> None:
    """Bring exports into clean, deduplicated, history-aware tables.

    Settings come from the environment: WAREHOUSE_URL, LEDGER_URL and the others in docs/settings.md.
    """
    level = logging.INFO if verbose else logging.CRITICAL
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, force=True)
    redact_logs()


def _as_json(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(command)


def _instant(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A time as ISO 8601, or as the 8 or 14 digits of an export folder; UTC unless it says otherwise."""
    import datetime as dt

    from shared.model import to_text
    from shared.sources.exports.layout import timestamp

    if value is None:
        return None
    with contextlib.suppress(ValueError):
        return timestamp(value) or to_text(dt.datetime.fromisoformat(value))
    raise click.BadParameter(f"{value!r} is not a time; write 2026-02-24T12:00:00 or 20260224120000 (UTC)")


def _share(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:
        raise click.BadParameter("write a share from 0 to 1")
    return value


_choosing = (
    click.option(
        "--type",
        "kind",
        type=click.Choice(["full", "delta"]),
        help="What the folder is, where its path does not say.",
    ),
    click.option("--tables", default="", metavar="A,B", help="Only these tables."),
    click.option("--client", metavar="C", help="The client whose exports to take."),
    click.option("--system", metavar="S", help="The system of the catalog they belong to."),
)


def _chooses(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_choosing):
        command = option(command)
    return command


@main.command()
@click.argument("location", metavar="FOLDER_OR_URL")
@_chooses
@click.option("--exported-at", callback=_instant, metavar="T", help="When it was exported, over what its path says.")
@click.option("--all", "everything", is_flag=True, help="Also take exports older than the newest full.")
@click.option("--again", is_flag=True, help="Also take what is loaded already.")
@click.option("--dry-run", is_flag=True, help="Do the whole merge, show what it would change, and take it back.")
@click.option("--max-delete-share", type=float, callback=_share, metavar="SHARE", help="Let a full delete that much.")
@_as_json
def load(location: str, as_json: bool, tables: str, **told: Any) -> None:
    """Load the exports in a folder: one export, or the newest full of many with every delta after it."""
    options = _options(tables, **told)
    results: list[Result] = []
    try:
        with _watching(as_json) as watch:
            for result in _app().load(location, options, watch):
                results.append(result)
    finally:  # what was done before an interruption is done
        if results or sys.exc_info()[0] is None:
            output.print_results(results, as_json=as_json)
    _fail_if_any(results)


@main.command()
@click.argument("location", metavar="FILE")
@_chooses
@_as_json
def audit(location: str, as_json: bool, tables: str, **told: Any) -> None:
    """Look into a file (or an export): rows, deletions, span of the cursor, columns; beside the warehouse."""
    found = list(_app().audit(location, _options(tables, **told)))
    if as_json:
        output.print_json(asdict(one) for one in found)
    else:
        for one in found:
            output.print_audit(one)
    if any(one.error for one in found):
        sys.exit(1)


@main.command()
@_as_json
def feeds(as_json: bool) -> None:
    """List what is kept in step: keys, cursor, watermark and last run of each feed."""
    (output.print_json if as_json else output.print_table)(_app().overview())


@main.command()
@click.argument("location", required=False, metavar="[FOLDER_OR_URL]")
@_as_json
def doctor(location: str | None, as_json: bool) -> None:
    """Check everything a load needs, the place of its exports too if you name it, and say what to do."""
    from shared.pipeline.checks import run_check

    found = []
    for one in run_check("settings", lambda: _app().examine(location)):
        found.append(one)
        if not as_json:
            output.print_finding(one)
    if as_json:
        output.print_json(asdict(one) for one in found)
    if any(one.status == "failed" for one in found):
        sys.exit(1)


@main.group()
def sql() -> None:
    """What an administrator does once in Azure SQL."""


@sql.command()
@click.option("--user", metavar="NAME", help="The app's user: an Entra identity by its display name, or a login.")
@click.option("--login", is_flag=True, help="NAME is a SQL login, not an Entra identity.")
@click.option("--apply", "run", is_flag=True, help="Run the script, as whoever WAREHOUSE_URL signs in.")
@_as_json
def setup(user: str | None, login: bool, run: bool, as_json: bool) -> None:
    """Print the script that prepares the database: schemas, way to the staging container, user and rights.

    It may be run again. Secrets are not printed.
    """
    from shared.cli import sql_setup

    app = _app()
    statements = sql_setup.plan(app.settings, tuple(app.systems), user=user, login=login)
    done = sql_setup.apply(app.settings, statements) if run else iter(statements)
    if as_json:
        output.print_json({"purpose": one.purpose, "sql": one.shown or one.sql, "applied": run} for one in done)
        return
    for one in done:
        output.print_statement(one.purpose, None if run else one.shown or one.sql)


@main.command()
@click.argument("feed", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many runs.")
@_as_json
def history(feed: str | None, limit: int, as_json: bool) -> None:
    """Show the last runs of a feed, or of all: what became of every row that was read."""
    app = _app()
    runs = app.warehouse.runs(feed and app.known_feed(feed), limit)
    if as_json:
        output.print_json([output.run_record(run) for run in runs])
        return
    output.print_table([output.run_row(run) for run in runs])
    for run in runs:
        output.print_remark(run.id, run)


@main.command()
@click.argument("feed")
@click.option("--run", metavar="ID", help="Only those of one run.")
@click.option("--csv", "as_csv", is_flag=True, help="Write them as CSV, to be mended and given to --replay.")
@click.option("--replay", type=click.Path(path_type=Path), metavar="FILE", help="Load the mended rows of such a CSV.")
@_as_json
def rejects(feed: str, run: str | None, as_csv: bool, replay: Path | None, as_json: bool) -> None:
    """Show the rows and values that were set aside, and why; or load them again once mended."""
    app = _app()
    app.known_feed(feed)
    if replay is not None:
        if as_csv or run:
            raise click.UsageError("--replay goes with neither --csv nor --run")
        with _watching(as_json) as watch:
            results = list(app.replay(feed, replay, watch))
        output.print_results(results, as_json=as_json)
        _fail_if_any(results)
    elif as_csv:
        from shared.pipeline.replay import write

        write(lambda: app.warehouse.rejects(feed, run), sys.stdout.buffer)
    elif as_json:
        output.print_json(app.warehouse.rejects(feed, run))
    else:
        output.print_table(app.warehouse.rejects(feed, run))


@main.command()
@click.argument("feed")
@click.option(
    "--to",
    "to",
    required=True,
    callback=_instant,
    metavar="T",
    help="Take what was exported since then again.",
)
@_as_json
def backfill(feed: str, to: str, as_json: bool) -> None:
    """Forget that exports since a time were loaded, so that the next load takes them again."""
    forgotten = _app().backfill(feed, to)
    if as_json:
        output.print_json([asdict(record) for record in forgotten])
        return
    output.print_table([{"exported_at": r.exported_at, "file": r.name} for r in forgotten])
    click.echo(f"{len(forgotten)} to be taken again by the next load of their folder")


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Where to put it all; must not exist yet.")
@_as_json
def demo(folder: Path | None, as_json: bool) -> None:
    """Make a realistic export, load it step by step into a local warehouse, and show what happened."""
    from shared.cli import demo as script

    steps = script.play(folder)
    if as_json:
        output.print_json({"step": s.title, "results": [output.result_record(r) for r in s.results]} for s in steps)
        return
    for step in steps:
        click.secho(f"\n{step.title}", bold=True)
        click.echo(step.text)
        output.print_table(step.rows or [output.result_row(result) for result in step.results])
        for result in step.results:
            if result.run:
                output.print_remark(result.table, result.run)


def _fail_if_any(results: Sequence[Result]) -> None:
    if any(result.failed for result in results):
        sys.exit(1)


# -- the app, and how it tells of its progress


def _app() -> App:
    from shared.app import current

    return current()


def _options(tables: str, **told: Any) -> LoadOptions:
    from shared.pipeline.folder import LoadOptions

    return LoadOptions(tables=tuple(t.strip().lower() for t in tables.split(",") if t.strip()), **told)


@contextlib.contextmanager
def _watching(quiet: bool) -> Iterator[Progress]:
    """A progress bar on a terminal, warnings alone elsewhere."""
    from shared.pipeline.runner import Progress

    if quiet or not sys.stderr.isatty():
        yield Progress(_warn)
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _bars(progress)


def _warn(text: str) -> None:
    click.echo(f"Warning: {text}.", err=True)


def _bars(progress: Any) -> Progress:
    from shared.pipeline.runner import Progress

    class Bars(Progress):
        task: Any = None

        def start(self, label: str, rows: int) -> None:
            self.end(None)
            self.task = progress.add_task(label, total=rows)

        def rows(self, count: int) -> None:
            progress.advance(self.task, count)

        def phase(self, label: str) -> None:
            self.end(None)
            self.task = progress.add_task(label, total=None)

        def end(self, result: Result | None) -> None:
            if self.task is not None:
                progress.remove_task(self.task)
            self.task = None

    return Bars(_warn)
