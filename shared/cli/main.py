"""``sluice``: the same verbs as in Azure, run by a person. Commands only read words and print results."""

from __future__ import annotations

import logging
import sys

from typing import Any

import click

from shared.cli import admin, load, look
from shared.errors import IngestError
from shared.redaction import redact_logs


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
    """Load exports into clean, deduplicated tables that keep their history.

    Settings come from the environment: WAREHOUSE_URL, LEDGER_URL and those on the page of settings.
    """
    level = logging.INFO if verbose else logging.CRITICAL
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, force=True)
    redact_logs()


for command in (
    load.load, load.rejects, load.backfill, load.demo, look.feeds, look.history, look.audit, admin.doctor, admin.sql,
):  # fmt: skip
    main.add_command(command)
