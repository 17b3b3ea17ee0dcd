"""What `make demo-db` does: start a MariaDB with a database like Genius CRM's, and keep a warehouse in step with it.

A full sync, changes at the source, an incremental sync, a deletion that is found, a backfill. It brings its own server;
where none can be had, it says so and ends with 0.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from pathlib import Path

import click
import pytest

from shared.cli import demo, output
from tests.servers import genius
from tests.servers.mariadb import MariaDB, mariadb_programs

FOLDER = Path(".sluice/demo-db")
PROSPECTS = 2_000
_QUERY = (
    "SELECT d.label AS division, count(*) AS prospects, max(p.updated_at) AS last_change FROM genius.prospect_active p"
    " JOIN genius.division_active d ON d.id = p.division_id GROUP BY d.label ORDER BY prospects DESC, d.label LIMIT 5"
)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, help="Where to create the demo.")
def main(folder: Path) -> None:
    """Sync a database like Genius CRM's step by step into a local warehouse."""
    try:
        programs = mariadb_programs()
    except pytest.skip.Exception as reason:
        click.echo(f"The demo is skipped: {reason}.")
        return
    with MariaDB(programs) as server:
        database = server.create_database()
        with server.connect(database) as connection, connection.cursor() as cursor:
            _play(demo.empty(folder), server.url(database), cursor)


def _play(home: Path, url: str, cursor: genius.Cursor) -> None:
    genius.create(cursor, PROSPECTS)
    _title(
        f"1. A database with {len(genius.TABLES)} tables and {PROSPECTS:,} prospects is synced for the first time",
        "The catalog names tables, keys, cursors and relations. Four tables are read at a time.",
    )
    _run(home, url, "sync", "genius")
    _title("2. The source changes", "Three prospects get another name, and one is new.")
    cursor.execute("UPDATE prospect SET last_name = 'Renamed', updated_at = NOW(6) - INTERVAL 1 MINUTE WHERE id <= 3")
    cursor.execute(
        "INSERT INTO prospect (id, first_name, division_id, updated_at)"
        " VALUES (100000, 'Ada', 1, NOW(6) - INTERVAL 1 MINUTE)"
    )
    _title("3. The next sync reads what is new", "Each table goes on from its watermark, less the overlap.")
    _run(home, url, "sync", "genius", "prospect", "quote")
    _title("4. Rows are deleted at the source", "No change stamp shows them. Comparing the keys alone finds them.")
    cursor.execute("DELETE FROM prospect WHERE id BETWEEN 10 AND 14")
    _run(home, url, "sync", "genius", "prospect", "--keys")
    _title("5. Backfill", "The watermark is set back, and the next sync reads again from there.")
    _run(home, url, "backfill", "genius.prospect", "--to", "2026-06-01")
    _run(home, url, "sync", "genius", "prospect")
    _title("6. Look at the history", "Every run says what became of its rows.")
    _run(home, url, "history", "genius.prospect")
    _title("7. Query the tables", f"For example, in {home / 'warehouse.duckdb'}:\n  {_QUERY}")
    output.print_table(demo.select(home / "warehouse.duckdb", _QUERY))


def _title(title: str, text: str) -> None:
    click.secho(f"\n{title}", bold=True)
    click.echo(text)


def _run(home: Path, url: str, *words: str) -> None:
    """Run a command of sluice as a person would, and show it."""
    click.secho(f"\n$ sluice {shlex.join(words)}", fg="cyan")
    sys.stdout.flush()
    settings = {
        "WAREHOUSE_URL": f"duckdb:///{home.resolve()}/warehouse.duckdb",
        "LEDGER_URL": f"sqlite:///{home.resolve()}/ledger.db",
        "GENIUS_DATABASE_URL": url,
    }
    subprocess.run([sys.executable, "-m", "shared", *words], env=os.environ | settings, check=True)


if __name__ == "__main__":
    main()
