"""``sluice csv``: load text files by a layout of the catalog, preview them, or have a layout proposed."""

from __future__ import annotations

import shutil
import sys
import tempfile

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.cli import load, options, output, progress

if TYPE_CHECKING:
    from shared.pipeline.csv import CatalogEdit, CsvOptions, CsvResult, Preview

_MOST_SHOWN = 60
"""Characters of a value in a sample."""


class _Csv(click.Group):
    """``sluice csv SYSTEM ENTITY FILE`` beside ``sluice csv infer FILE``: the first word is a command or a system."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "load", self.commands["load"], args

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "SYSTEM ENTITY FILE [OPTIONS]")
        formatter.write_usage(ctx.command_path, "infer FILE [OPTIONS]", prefix="       ")


@click.group(cls=_Csv)
def csv() -> None:
    """Load CSV files and spreadsheets.

    SYSTEM and ENTITY name a layout of the catalog: which column each header means and how values are cleaned. FILE is
    a file, a folder, a URL, or - for standard input. See `sluice csv load --help` for the options.
    """


def _choice(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """``Header=column``, several times."""
    found: dict[str, str] = {}
    for value in values:
        header, equals, column = value.rpartition("=")
        if not (header and equals and column):
            raise click.BadParameter(f'{value!r} maps nothing; write "Header=column"')
        found[header] = column
    return found


def _character(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    value = {"tab": "\t", "\\t": "\t"}.get(value or "", value)
    if value is not None and len(value) != 1:
        raise click.BadParameter("write one character, or tab")
    return value


def _encoding(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    import codecs

    try:
        return codecs.lookup(value).name if value else None
    except LookupError:
        raise click.BadParameter(f"{value!r} is no encoding; write utf-8, utf-16 or windows-1252") from None


@csv.command("load")
@click.argument("system")
@click.argument("entity")
@click.argument("file")
@click.option(
    "--dry-run", is_flag=True, help="Show how the file is understood and what would change, and roll it back."
)
@click.option("--batch-size", "batch_rows", type=click.IntRange(1), metavar="N", help="Rows in memory at once.")
@click.option("--full", is_flag=True, help="The file has all rows: those that it lacks are deleted.")
@click.option("--delimiter", callback=_character, metavar="C", help="Between fields; detected by default.")
@click.option("--quote", callback=_character, metavar="C", help="Around fields; detected by default.")
@click.option("--escape", callback=_character, metavar="C", help="Before a quote within a field, if it is not doubled.")
@click.option("--encoding", callback=_encoding, metavar="E", help="Of the text; detected by default.")
@click.option("--no-header", is_flag=True, help="The file has no header; its columns are in the order of the catalog.")
@click.option(
    "--map", "choices", multiple=True, callback=_choice, metavar="HEADER=COLUMN",
    help="Map a header that no column takes. May be repeated.",
)  # fmt: skip
@click.option("--save-map", is_flag=True, help="Keep what --map says in your catalog, once the files are loaded.")
@options.of_a_load
@options.destination
@options.as_json
def load_files(system: str, entity: str, file: str, as_json: bool, save_map: bool, **chosen: Any) -> None:
    """Load text files into the table of SYSTEM and ENTITY."""
    from shared.app import current
    from shared.model import FeedName
    from shared.pipeline import csv as pipeline

    if save_map and not chosen["choices"]:
        raise click.UsageError("--save-map saves what --map says: add one")
    app = current()
    feed = FeedName(system.lower(), entity.lower())
    edit = pipeline.saved_choices(app.systems, feed, chosen["choices"]) if save_map else None
    with _location(file) as location, progress.shown(quiet=as_json, unit="bytes") as shown:
        results = pipeline.load(app.runner, app.settings, feed, location, _options(**chosen), shown)
        load.finish(results, _record, _print, as_json=as_json)
    if save_map:
        _save(edit, dry_run=chosen["dry_run"])


@csv.command("infer")
@click.argument("file")
@click.option("--system", metavar="S", help="Name of the system in the entry.")
@click.option("--entity", metavar="E", help="Name of the table in the entry; by default that of the file.")
@options.as_json
def infer(file: str, system: str | None, entity: str | None, as_json: bool) -> None:
    """Propose a catalog entry for a text file.

    It has types, cleaners and a likely key; what is unsure is marked. Save it as a .toml file in the folder of
    CATALOG_PATH.
    """
    from shared.app import current
    from shared.pipeline import csv as pipeline

    with _location(file) as location:
        text = pipeline.inferred(current().settings, location, system=system, table=entity)
    if as_json:
        output.print_json([{"entry": text}])
    else:
        click.echo(text, nl=False)


def _options(*, no_header: bool, choices: dict[str, str], **chosen: Any) -> CsvOptions:
    from shared.pipeline.csv import CsvOptions

    dialect = {name: chosen.pop(name) for name in ("delimiter", "quote", "escape", "encoding")}
    given = {name: value for name, value in dialect.items() if value is not None}
    if no_header:
        given["header"] = False
    return CsvOptions(choices=choices, dialect=given, **chosen)


def _save(edit: CatalogEdit | None, *, dry_run: bool) -> None:
    """Save the aliases, or say where to write them."""
    if edit is None:
        click.echo("The catalog has these headers already", err=True)
        return
    lines = "".join(f"\n  {line}" for line in edit.lines)
    if not edit.is_own:
        click.echo(
            f"The catalog that comes with Sluice is not changed. Copy the folder {edit.file.parent}, set CATALOG_PATH"
            f" to the copy, and write there in {edit.file.name} under [{edit.section}]:{lines}",
            err=True,
        )
        return
    if not dry_run:
        edit.save()
    click.echo(f"{'Would save' if dry_run else 'Saved'} in {edit.file}:{lines}", err=True)


@contextmanager
def _location(file: str) -> Iterator[str]:
    """*file*; for ``-`` a copy of standard input, which can be read twice."""
    if file != "-":
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        path = Path(folder) / "standard input"
        with path.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield str(path)


def _record(result: CsvResult) -> dict[str, Any]:
    record = {**output.result_record(result), "reasons": dict(result.reasons), "left_out": dict(result.left_out)}
    if result.preview:
        record["preview"] = asdict(result.preview)
    return record


def _print(results: list[CsvResult]) -> None:
    for result in results:
        if result.preview:
            _print_preview(result.place, result.preview)
    output.print_results(results)
    for result in results:
        for reason, count in result.reasons.items():
            click.echo(f"{result.table}: {count:,} x {reason}", err=True)
        if result.run and result.run.rejected and result.run.status != "dry":
            feed = result.run.feed
            click.echo(f"{result.table}: write the rejected rows with `sluice rejects {feed} --csv`", err=True)


def _print_preview(place: str, preview: Preview) -> None:
    click.secho(place, bold=True)
    for note in preview.notes:
        click.echo(f"  {note}")
    output.print_table(
        {"header": ", ".join(filter(None, (column.source, *column.more))), "column": column.name, "type": column.type}
        for column in preview.columns
    )
    for header, column in preview.suggestions.items():
        click.echo(
            f'{header!r} resembles {column}, which no header is mapped to: map it with --map "{header}={column}"'
        )
    if preview.missing:
        click.echo(f"not in the file: {', '.join(preview.missing)}")
    for before, after in preview.sample:
        click.secho("sample", bold=True)
        _print_sample(preview, before, after)


def _print_sample(preview: Preview, before: Any, after: Any) -> None:
    if not after:
        click.echo("  would be rejected")
    for column in preview.columns:
        text = " ".join(str(before[name] or "") for name in (column.source, *column.more) if name)
        value = after.get(column.name)
        changed = "" if (value is None and not text) or str(value) == text else f" -> {_short(value)}"
        if column.source:
            click.echo(f"  {column.name}: {_short(text)}{changed if after else ''}")


def _short(value: Any) -> str:
    text = "" if value is None else output.cell(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
