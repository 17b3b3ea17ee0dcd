"""``sluice sync``: keep the tables of a database or an API in step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from shared.cli import load, options, output, progress
from shared.text import counted

if TYPE_CHECKING:
    from shared.app import App
    from shared.pipeline.sync import TableSync


@click.command()
@click.argument("system")
@click.argument("tables", nargs=-1, metavar="[ENTITY]...")
@click.option("--full", is_flag=True, help="Read all rows: those that are gone from the source are deleted.")
@click.option("--keys", is_flag=True, help="Read only the keys: rows that are gone from the source are deleted.")
@click.option("--since", metavar="T", help="Read again what changed since a time (or a number, as the cursor is).")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Read about N rows of each table, not more.")
@click.option("--again", is_flag=True, help="Read a window once more that has ended the process three times.")
@click.option("--dry-run", is_flag=True, help="Merge the first window, show what it would change, and roll it back.")
@click.option("--batch-size", "batch_rows", type=click.IntRange(1), metavar="N", help="Rows in memory at once.")
@click.option("--discover", is_flag=True, help="Print what the catalog would say of tables that it does not have.")
@click.option("--probe", is_flag=True, help="Show the first page of an API and the columns that it would have.")
@click.option("--keep-raw", metavar="FOLDER", help="Keep the answers of an API there as they come.")
@options.limits
@options.destination
@options.as_json
def sync(
    system: str, tables: tuple[str, ...], as_json: bool, discover: bool, probe: bool, **chosen: Any
) -> None:  # fmt: skip
    """Read what is new in a database or an API.

    All tables of SYSTEM, or only those named, several at once. Each goes on from its watermark until it has caught up.
    """
    from shared.app import current
    from shared.pipeline import sync as pipeline

    whole = [name for name in ("full", "keys") if chosen[name]]
    if len(whole) > 1 or (whole and (chosen["limit"] or chosen["since"])):
        raise click.UsageError("--full and --keys read the whole table: give one of them, and no --limit or --since")
    if discover:
        if tables or any(chosen.values()):
            raise click.UsageError("--discover reads no rows: it takes no other options but --json")
        _discover(current(), system.lower(), as_json=as_json)
        return
    if probe:
        if len(tables) != 1 or any(chosen.values()):
            raise click.UsageError("--probe shows one page of one ENTITY: it takes no other options but --json")
        _probe(current(), system.lower(), tables[0].lower(), as_json=as_json)
        return
    app = current().resolved(system.lower(), fresh=True)
    if not chosen["dry_run"]:
        app.apply_last_values(system.lower(), [table.lower() for table in tables])
    sync_options = pipeline.SyncOptions(**chosen)
    with progress.shown(quiet=as_json) as shown:
        names = [table.lower() for table in tables]
        results = pipeline.sync(app.runner, app.settings, system.lower(), names, sync_options, shown)
        load.finish(results, _record, _print, as_json=as_json)


def _discover(app: App, system: str, *, as_json: bool) -> None:
    from shared.pipeline import discovery

    found = discovery.proposed(system, app.systems, app.settings)
    if as_json:
        output.print_json(discovery.as_record(one, system) for one in found)
        return
    for line in discovery.as_toml(found, system, app.systems):
        click.echo(line)


def _probe(app: App, system: str, table: str, *, as_json: bool) -> None:
    from shared.pipeline import discovery

    feed, found = discovery.probed(app.systems, app.settings, system, table)
    if as_json:
        columns = [column._asdict() for column in found.columns]
        output.print_json([{**found._asdict(), "feed": feed.name, "columns": columns, "remarks": [*found.remarks]}])
        return
    click.echo(f"{found.call}: {found.status}, {counted(found.records, 'record')}")
    output.print_table(
        {
            "column": column.name, "type": column.type, "filled": f"{column.filled} of {found.records}",
            "example": column.example,
        }
        for column in found.columns
    )  # fmt: skip
    for remark in found.remarks:
        click.secho(remark, fg="yellow", err=True)


def _record(table: TableSync) -> dict[str, Any]:
    return {
        "feed": table.feed, "destination": table.destination, "outcome": table.outcome, "reason": table.reason,
        **table.counts, "watermark": table.watermark, "behind_seconds": table.behind,
        "seconds": round(table.seconds, 3), "calls": table.calls._asdict() if table.calls else None,
        "windows": [output.result_record(window) for window in table.windows],
    }  # fmt: skip


def _print(tables: list[TableSync]) -> None:
    tables = sorted(tables, key=lambda table: table.feed)
    named = output.shown_destinations(tables)
    output.print_table(
        {
            "feed": table.feed, "destination": table.destination if named else None, "outcome": table.outcome,
            "behind": _behind(table), "seconds": f"{table.seconds:.1f}",
            **output.counts(table.counts),
        }
        for table in tables
    )  # fmt: skip
    for table in tables:
        if table.reason:
            color = "red" if table.failed else "yellow"
            click.secho(f"{_name(table)}: {table.reason}", fg=color, err=True)
        for run in table.runs:
            output.print_remark(_name(table), replace(run, error=None))
        for window in table.windows:
            output.print_changes(window.changes)


def _name(table: TableSync) -> str:
    return output.name_in(table.feed, table.destination)


def _behind(table: TableSync) -> str | None:
    """How far the table is behind its source, for people.

    >>> from shared.pipeline.sync import TableSync
    >>> [_behind(TableSync(feed="a.b", outcome="done", behind=seconds)) for seconds in (0.0, 61.0, 9000.0, 2e5, None)]
    ['caught up', '1 min', '2 h 30 min', '2 days 7 h', 'unknown']
    """
    if table.behind is None:
        return "unknown"
    minutes = int(table.behind) // 60
    if table.behind <= 0:
        return "caught up"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    days, rest = divmod(hours, 24)
    return f"{days} days {rest} h" if days > 1 else f"{hours} h {minutes} min"
