"""The commands of whoever sets Sluice up: check everything, prepare the database."""

from __future__ import annotations

import sys

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from shared.cli import interrupts, options, output
from shared.model import MAIN

if TYPE_CHECKING:
    from shared.model import Finding


@click.command()
@click.argument("location", required=False, metavar="[FOLDER_OR_URL]")
@options.as_json
def doctor(location: str | None, as_json: bool) -> None:
    """Check everything a load needs, and say how to fix it.

    With a location, check its exports too.
    """
    from shared.pipeline.checks import run_check

    found = []
    for one in run_check("settings", lambda: _findings(location)):
        found.append(one)
        if not as_json:
            output.print_finding(one)
    if as_json:
        output.print_json(asdict(one) for one in found)
    if any(one.status == "failed" for one in found):
        sys.exit(1)


def _findings(location: str | None) -> Iterator[Finding]:
    from shared.app import current
    from shared.pipeline import checks

    app = current().resolved_where_possible()
    return checks.doctor(
        location, settings=app.settings, systems=app.systems, warehouse=app.warehouse, ledger=app.ledger, now=app.now,
        others=app.others,
    )  # fmt: skip


@click.group()
def sql() -> None:
    """Prepare a database in Azure SQL, once."""


@sql.command()
@click.option("--user", metavar="NAME", help="The app's user: an Entra identity by its display name, or a login.")
@click.option("--login", is_flag=True, help="NAME is a SQL login, not an Entra identity.")
@click.option("--apply", "run", is_flag=True, help="Run the script, signed in as WAREHOUSE_URL says.")
@options.destination
@options.as_json
def setup(user: str | None, login: bool, run: bool, destination: str | None, as_json: bool) -> None:
    """Print the script that prepares the database.

    It makes the schemas, the access to the staging container, and the app's user with its rights. It may be run again.
    Secrets are not printed.
    """
    from shared.app import current
    from shared.warehouses.azure_sql import setup as database_setup

    app = current()
    settings = app.settings.of_destination(destination or MAIN)
    if run:
        interrupts.explain("Statements reported as done are done: run it again for the rest")
    statements = database_setup.plan(settings, tuple(app.systems), user=user, login=login)
    done = database_setup.apply(settings, statements) if run else iter(statements)
    if as_json:
        output.print_json({"purpose": one.purpose, "sql": one.shown or one.sql, "applied": run} for one in done)
        return
    for one in done:
        output.print_statement(one.purpose, None if run else one.shown or one.sql)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands in a shell.

    For bash: sluice completion bash > ~/.local/share/bash-completion/completions/sluice
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has all of the choices
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "sluice", "_SLUICE_COMPLETE").source())
