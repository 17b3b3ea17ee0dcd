"""``sluice``: the same verbs as in Azure, by hand. Only words and tables here; the work is done in App."""

from __future__ import annotations

import contextlib
import json
import logging
import sys

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.errors import IngestError

if TYPE_CHECKING:
    from shared.app import App, LoadOptions, Result, Watch
    from shared.audit import Audit
    from shared.model import Change, Run

_COUNTS = (
    "read",
    "inserted",
    "updated",
    "deleted",
    "undeleted",
    "unchanged",
    "stale",
    "superseded",
    "rejected",
    "absent",
)


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

    Settings come from the environment: WAREHOUSE_URL, LEDGER_URL and the others in the README.
    """
    level = logging.INFO if verbose else logging.CRITICAL
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, force=True)


def _as_json(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(command)


def _instant(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A time as ISO 8601, or as the 8 or 14 digits of an export folder; UTC unless it says otherwise."""
    import datetime as dt

    from shared.model import instant
    from shared.sources._layout import timestamp

    if value is None:
        return None
    with contextlib.suppress(ValueError):
        return timestamp(value) or instant(dt.datetime.fromisoformat(value))
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
        help="What the folder is, if its path is silent.",
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
@click.option("--exported-at", callback=_instant, metavar="T", help="When it was exported, if its path is silent.")
@click.option("--all", "everything", is_flag=True, help="Also take exports older than the newest full.")
@click.option("--again", is_flag=True, help="Also take what is loaded already.")
@click.option("--dry-run", is_flag=True, help="Do the whole merge, show what it would change, and take it back.")
@click.option("--max-delete-share", type=float, callback=_share, metavar="SHARE", help="Let a full delete that much.")
@_as_json
def load(location: str, as_json: bool, tables: str, **told: Any) -> None:
    """Load the exports in a folder: one export, or the newest full of many with every delta after it."""
    options = _options(tables, **told)
    results: list[Result] = []
    with _watching(as_json) as watch:
        for result in _app().load(location, options, watch):
            results.append(result)
    _tell_results(results, as_json)


@main.command()
@click.argument("location", metavar="FILE")
@_chooses
@_as_json
def audit(location: str, as_json: bool, tables: str, **told: Any) -> None:
    """Look into a file (or an export): rows, deletions, span of the cursor, columns; beside the warehouse."""
    found = list(_app().audit(location, _options(tables, **told)))
    if as_json:
        _print_json([asdict(one) for one in found])
        return
    for one in found:
        _tell_audit(one)


@main.command()
@_as_json
def feeds(as_json: bool) -> None:
    """List what is kept in step: keys, cursor, watermark and last run of each feed."""
    app = _app()
    last: dict[str, Run] = {}
    for run in app.warehouse.runs(limit=None):
        last.setdefault(run.feed, run)
    declared = {feed.name: feed for feed in app.feeds()}
    rows = []
    for name in dict.fromkeys((*declared, *sorted(last))):
        feed, latest = declared.get(name), last.get(name)
        rows.append(
            {
                "feed": name,
                "keys": ", ".join(feed.keys) if feed else "by rule",
                "cursor": feed.cursor if feed else None,
                "deleted": feed.deleted if feed else None,
                "watermark": app.ledger.watermark(name).value,
                "last_run": latest.finished if latest else None,
                "status": latest.status if latest else None,
            }
        )
    _tell(rows, as_json)


@main.command()
@click.argument("feed", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many runs.")
@_as_json
def history(feed: str | None, limit: int, as_json: bool) -> None:
    """Show the last runs of a feed, or of all: what became of every row that was read."""
    runs = _app().warehouse.runs(feed, limit)
    if as_json:
        _print_json([_run(run) for run in runs])
        return
    _tell([_brief(run) for run in runs], as_json=False)
    for run in runs:
        _remark(run.id, run)


@main.command()
@click.argument("feed")
@click.option("--run", metavar="ID", help="Only those of one run.")
@click.option("--csv", "as_csv", is_flag=True, help="Write them as CSV, to be mended and given to --replay.")
@click.option("--replay", type=click.Path(path_type=Path), metavar="FILE", help="Load the mended rows of such a CSV.")
@_as_json
def rejects(feed: str, run: str | None, as_csv: bool, replay: Path | None, as_json: bool) -> None:
    """Show the rows and values that were set aside, and why; or load them again once mended."""
    app = _app()
    if replay is not None:
        if as_csv or run:
            raise click.UsageError("--replay goes with neither --csv nor --run")
        with _watching(as_json) as watch:
            results = list(app.replay(feed, replay, watch))
        _tell_results(results, as_json)
    elif as_csv:
        from shared.sources.replay import write

        write(app.warehouse.rejects(feed, run), sys.stdout.buffer)
    elif as_json:
        _print_json(list(app.warehouse.rejects(feed, run)))
    else:
        _tell(list(app.warehouse.rejects(feed, run)), as_json=False)


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
        _print_json([asdict(record) for record in forgotten])
        return
    _tell([{"exported_at": r.exported_at, "file": r.name} for r in forgotten], as_json=False)
    click.echo(f"{len(forgotten)} to be taken again by the next load of their folder")


@main.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Where to put it all; must not exist yet.")
@_as_json
def demo(folder: Path | None, as_json: bool) -> None:
    """Make a realistic export, load it step by step into a local warehouse, and show what happened."""
    from shared import demo as script

    for step in script.play(folder):
        if as_json:
            _print_json({"step": step.title, "results": [_result(result) for result in step.results]})
        else:
            click.secho(f"\n{step.title}", bold=True)
            click.echo(step.text)
            _tell(step.rows or [_brief_result(result) for result in step.results], as_json=False)
            for result in step.results:
                if result.run:
                    _remark(result.table, result.run)


# -- the app, and how it tells of its progress


def _app() -> App:
    from shared.app import current

    return current()


def _options(tables: str, **told: Any) -> LoadOptions:
    from shared.app import LoadOptions

    return LoadOptions(tables=tuple(t.strip().lower() for t in tables.split(",") if t.strip()), **told)


@contextlib.contextmanager
def _watching(quiet: bool) -> Iterator[Watch]:
    """A progress bar on a terminal, nothing elsewhere."""
    from shared.app import Watch

    if quiet or not sys.stderr.isatty():
        yield Watch()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _bars(progress)


def _bars(progress: Any) -> Watch:
    from shared.app import Watch

    class Bars(Watch):
        task: Any = None

        def start(self, label: str, rows: int) -> None:
            self.task = progress.add_task(label, total=rows)

        def rows(self, count: int) -> None:
            progress.advance(self.task, count)

        def end(self, result: Result) -> None:
            if self.task is not None:
                progress.remove_task(self.task)
            self.task = None

    return Bars()


# -- telling


def _tell_results(results: Sequence[Result], as_json: bool) -> None:
    """Print what became of each table; exit with 1 if any failed."""
    if as_json:
        _print_json([_result(result) for result in results])
    else:
        _tell([_brief_result(result) for result in results], as_json=False)
        for result in results:
            if result.run:
                _remark(result.table, result.run)
            _tell_changes(result.changes)
    if any(result.failed for result in results):
        sys.exit(1)


def _result(result: Result) -> dict[str, Any]:
    told: dict[str, Any] = {"table": result.table, "place": result.place, "skipped": result.skipped}
    told["run"] = _run(result.run) if result.run else None
    if result.changes:
        told["changes"] = [asdict(change) for change in result.changes]
    return told


def _run(run: Run) -> dict[str, Any]:
    return {name: value for name, value in asdict(run).items() if name != "columns"}


def _brief_result(result: Result) -> dict[str, Any]:
    place = "/".join(result.place.split("/")[-3:])
    if result.run is None:
        return {"table": result.table, "export": place, "status": f"skipped: {result.skipped}"}
    return {"table": result.table, "export": place, "status": result.run.status, **_counts(result.run)}


def _brief(run: Run) -> dict[str, Any]:
    exported = (run.exported_at or "")[:19]
    return {
        "run": run.id, "feed": run.feed, "type": run.kind, "exported_at": exported, "status": run.status,
        "finished": (run.finished or "")[:19], **_counts(run),
    }  # fmt: skip


def _counts(run: Run) -> dict[str, int | None]:
    return {name: getattr(run, name) or None for name in _COUNTS}


def _remark(name: str, run: Run) -> None:
    if run.error:
        click.secho(f"{name}: {run.error}", fg="red", err=True)
    if run.note:
        click.secho(f"{name}: {run.note}", fg="yellow", err=True)
    if run.values_rejected:
        click.secho(
            f"{name}: {run.values_rejected} values set aside, see `sluice rejects {run.feed}`",
            fg="yellow",
            err=True,
        )


def _tell_changes(changes: Iterable[Change]) -> None:
    for change in changes:
        click.secho(change.outcome, bold=True)
        before, after = change.before or {}, change.after or {}
        for name in dict.fromkeys((*before, *after)):
            old, new = before.get(name), after.get(name)
            click.echo(f"  {name}: {_cell(old)}" + ("" if old == new else f" -> {_cell(new)}"))


def _tell_audit(found: Audit) -> None:
    click.secho(f"{found.feed}: {', '.join(found.files)}", bold=True)
    stored = found.stored
    _tell(
        [
            {"": "file", "rows": found.rows, "active": found.active, "deleted": found.deleted,
             "rejected": found.rejected, "oldest": found.lowest, "newest": found.highest},
            {"": "warehouse", "rows": stored.rows, "active": stored.active, "deleted": stored.deleted,
             "rejected": None, "oldest": stored.lowest, "newest": stored.highest},
        ],
        as_json=False,
    )  # fmt: skip
    _tell(
        [{"column": c.name, "file": c.type, "warehouse": stored.columns.get(c.name)} for c in found.columns],
        as_json=False,
    )
    for difference in found.differences:
        click.echo(difference)


def _tell(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Rows of equal keys as a table, or as JSON. Columns without any value are left out of the table."""
    if as_json:
        _print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if any(row.get(name) is not None for row in rows)
    ]
    if not names:
        click.echo("nothing")
        return
    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(name)), overflow="fold") for name in names))
    # Off a terminal nobody sees columns folded to fit one.
    console = Console() if sys.stdout.isatty() else Console(width=500)
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
