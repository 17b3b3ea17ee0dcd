"""``sluice``: the same verbs as in Azure, run by a person. Commands only read words and print results."""

from __future__ import annotations

import logging
import sys

from typing import Any

import click

from shared.cli import admin, csv, erase, interrupts, load, look, options, output, plan, progress, status, sync, upkeep
from shared.errors import IngestError
from shared.redaction import redact_logs


class _Commands(click.Group):
    """Turns our errors into one line and exit code 1, a signal into 128 and its number. Wrong use is 2, by click."""

    def invoke(self, ctx: click.Context) -> Any:
        with interrupts.raised() as received, progress.messages():
            try:
                return super().invoke(ctx)
            except IngestError as error:
                if options.wants_json(ctx):
                    output.print_json_error(error)
                    ctx.exit(1)
                raise click.ClickException(str(error)) from error
            except click.UsageError as error:
                if options.wants_json(ctx):
                    output.print_json_error(error)
                    ctx.exit(error.exit_code)
                raise
            except KeyboardInterrupt:
                click.echo(interrupts.message(ctx), err=True)
                ctx.exit(received.exit_code)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sluice")
@click.option("-v", "--verbose", is_flag=True, help="Log every step to the error output.")
def main(verbose: bool) -> None:
    """Load exports into clean, deduplicated tables that keep their history.

    Settings come from the environment: WAREHOUSE_URL, LEDGER_URL and those on the page of settings.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.INFO if verbose else logging.CRITICAL)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    redact_logs()


for command in (
    load.load, csv.csv, sync.sync, load.rejects, load.backfill, load.demo, status.status, look.feeds, look.history,
    look.audit, plan.plan, upkeep.upkeep, erase.erase, admin.doctor, admin.sql, admin.completion,
):  # fmt: skip
    main.add_command(command)
