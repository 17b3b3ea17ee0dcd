"""What `make demo-csv` does: make a CSV of leads as people export them, and import it with the commands a person types.

Preview, load, load again, rejects, their correction and reload, into a warehouse of its own. Always the same file.
"""

from __future__ import annotations

import csv
import os
import random
import shlex
import subprocess
import sys

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import click

from shared.cli import demo, output

Row: TypeAlias = "list[str]"

FOLDER = Path(".sluice/demo-csv")
ROWS = 2_000
_FEED = "leadconduit.leads"
_HEADER = [
    "Lead ID", "Source", "First Name", "LName", "E-mail", "Phone", "Primary Phone", "ZIP", "Duplicate", "Score",
    "Outcome", "Submission Time", "Roof Type (self-reported)",
]  # fmt: skip
_FIRST = ("Mary", "José", "Łukasz", "Pat", "Zoë", "Amara")
_LAST = ("Reyes", "Ibáñez", "O'Neil, Jr.", "Okafor", "Tremblay")
_PHONES = ("({0}) 555-{1}", "{0}.555.{1}", "{0}-555-{1} x12", "+1{0}555{1}", "1{0}555{1}")
_AREAS = (617, 508, 401, 208, 512)
_QUERY = (
    "SELECT source_name, count(*) AS leads, count(phone_1) AS with_phone, count(email) AS with_email,"
    " count(*) FILTER (is_duplicate) AS duplicates, min(submission_timestamp) AS first"
    " FROM leadconduit.leads_active GROUP BY source_name ORDER BY source_name"
)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, help="Where to create the demo.")
def main(folder: Path) -> None:
    """Make a CSV of leads and import it step by step into a local warehouse of its own."""
    home = demo.empty(folder)
    file, bad = home / "leads.csv", home / "bad.csv"
    write_leads(file)
    _title("1. A person exports leads", "Headers, dates and phone numbers are as people write them. The first lines:")
    click.echo("".join(file.read_text(encoding="utf-8-sig").splitlines(keepends=True)[:4]))
    _title("2. Preview", "How the file is read, which header becomes which column, and what a load would do.")
    _run(home, "csv", "leadconduit", "leads", str(file), "--dry-run")
    _title("3. Load", "A bad value becomes NULL and is recorded; a row without id and a broken record are rejected.")
    _run(home, "csv", "leadconduit", "leads", str(file))
    _title("4. Load it again", "The content is known, so nothing is done.")
    _run(home, "csv", "leadconduit", "leads", str(file))
    _title("5. Write the rejected rows to a file", "With the original columns, and why each was rejected.")
    bad.write_bytes(_run(home, "rejects", _FEED, "--csv", to=bad))
    click.echo("".join(bad.read_text(encoding="utf-8-sig").splitlines(keepends=True)[:3]))
    _title("6. Correct the file and load it", "Here a script fills in what is missing; you can use any program.")
    correct(bad)
    _run(home, "rejects", _FEED, "--replay", str(bad))
    _title("7. Query the table", f"For example, in {home / 'warehouse.duckdb'}:\n  {_QUERY}")
    output.print_table(demo.select(home / "warehouse.duckdb", _QUERY))


def write_leads(path: Path) -> None:
    """Leads, of which some have no id, some a value that cannot be read, and one record too few fields."""
    chosen = random.Random(11)  # noqa: S311 - the same demo every time, not a secret
    with path.open("w", encoding="utf-8-sig", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(_HEADER)
        for number, row in enumerate(_leads(chosen)):
            writer.writerow(row[:5] if number == ROWS // 2 else row)


def _leads(chosen: random.Random) -> Iterator[Row]:
    for number in range(1, ROWS + 1):
        phone = chosen.choice(_PHONES).format(chosen.choice(_AREAS), f"{chosen.randrange(100, 200):04}")
        first, last = chosen.choice(_FIRST), chosen.choice(_LAST)
        mail = f"{first}.{number}@Example.com" if number % 40 else f"{first}(at)example.com"
        day, zip_code = chosen.randrange(1, 29), f"{chosen.randrange(1_000, 99_951)}"
        yield [
            f"{number:024x}" if number % 400 else "", chosen.choice(["Facebook", "Home show", "Search"]), first, last,
            mail, phone if number % 3 else "", "" if number % 3 else phone, zip_code,
            chosen.choice(["no", "N", "0", "duplicate", ""]), str(chosen.randrange(100)),
            chosen.choice(["success", "success", "failure"]),
            f"06/{day:02}/2024 {chosen.randrange(24)}:15:30" if number % 250 else "some day in June",
            chosen.choice(["slate", "tile", "metal", ""]),
        ]  # fmt: skip


def correct(path: Path) -> None:
    """Fill in what is missing, as a person would: ids, dates, and the fields of a broken record from its text."""
    with path.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.DictReader(text))
    for number, row in enumerate(rows):
        row.update(zip(_HEADER, next(csv.reader([row.get("raw record") or ""]), ()), strict=False))
        row["Lead ID"] = row["Lead ID"] or f"{ROWS + number:024x}"
        row["E-mail"] = row["E-mail"].replace("(at)", "@")
        if not row["Submission Time"].lstrip("'")[:1].isdigit():
            row["Submission Time"] = "06/15/2024 12:00:00"
    with path.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _title(title: str, text: str) -> None:
    click.secho(f"\n{title}", bold=True)
    click.echo(text)


def _run(home: Path, *words: str, to: Path | None = None) -> bytes:
    """Run a command of sluice as a person would, and show it. Its output is returned if it goes *to* a file."""
    click.secho(f"\n$ sluice {shlex.join(words)}{f' > {to}' if to else ''}", fg="cyan")
    sys.stdout.flush()
    command = [sys.executable, "-m", "shared", *words]
    settings = {
        "WAREHOUSE_URL": f"duckdb:///{home.resolve()}/warehouse.duckdb",
        "LEDGER_URL": f"sqlite:///{home.resolve()}/ledger.db",
    }
    stdout = subprocess.PIPE if to else None
    done = subprocess.run(command, env=os.environ | settings, stdout=stdout, check=True)  # noqa: S603 - our own words
    return done.stdout or b""


if __name__ == "__main__":
    main()
