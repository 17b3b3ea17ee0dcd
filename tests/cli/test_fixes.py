"""What an error of the command line advises is followed to the letter, and then the load passes."""

from __future__ import annotations

import datetime as dt
import json
import re

from pathlib import Path
from typing import Any

import pytest

from click.testing import CliRunner

from shared import app as shared_app
from shared import catalog
from shared.cli.main import main
from tests.exports import write_parquet

NOW = dt.datetime(2026, 2, 24)  # noqa: DTZ001 - as files have it


class Cli:
    """A folder with exports and a catalog, and the command line over it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        (folder / "catalog").mkdir()
        self.catalog = folder / "catalog" / "coolr.toml"
        self.catalog.write_text((catalog.PACKAGED / "coolr.toml").read_text())
        for name, value in {
            "CATALOG_PATH": f"{folder}/catalog", "WAREHOUSE_URL": f"duckdb:///{folder}/w.duckdb",
            "LEDGER_URL": f"sqlite:///{folder}/l.db",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)

    def export(self, where: str, *keys: int | None, table: str = "location", **more: Any) -> str:
        name = f"{table.capitalize()}Id"
        rows = [{name: key, "ModifiedOn": NOW, "IsDeleted": False, **more} for key in keys]
        return str(write_parquet(self.folder / "exports" / where / f"{table}.parquet", rows).parent)

    def run(self, *words: str) -> tuple[int, Any]:
        """Exit code, and what is printed as JSON."""
        shared_app.opened.cache_clear()
        result = CliRunner().invoke(main, [*words, "--json"])
        return result.exit_code, json.loads(result.stdout)

    def fails(self, *words: str) -> str:
        """The error of a command that has to fail."""
        code, printed = self.run(*words)
        assert 1 == code
        if isinstance(printed, dict):
            return f"{printed['error']}. {printed['fix']}"
        return next(str(one["run"]["error"]) for one in printed if one["run"] and one["run"]["error"])

    def passes(self, *words: str) -> list[dict[str, Any]]:
        code, printed = self.run(*words)
        assert 0 == code, printed
        return list(printed)


@pytest.fixture
def cli(tmp_path, monkeypatch):
    yield Cli(tmp_path, monkeypatch)
    shared_app.opened.cache_clear()


def option(error: str) -> str:
    """The first option that an error advises."""
    found = re.search(r"--[a-z-]+", error)
    assert found, error
    return found[0]


def test_type_is_given_where_the_path_does_not_say_it(cli):
    folder = cli.export("somewhere", 1)

    advised = cli.fails("load", folder)

    assert "Add --type full or --type delta" in advised
    cli.passes("load", folder, "--type", "delta")


def test_a_client_is_chosen_where_the_folder_has_several(cli):
    for client in ("Acme", "Contoso"):
        cli.export(f"Full/{client}/20260224000000", 1)
    folder = str(cli.folder / "exports")

    advised = cli.fails("load", folder)

    cli.passes("load", folder, option(advised), "Acme")


def test_a_full_that_lacks_many_rows_is_allowed(cli):
    cli.passes("load", cli.export("Full/Acme/20260224000000", *range(40)))
    folder = cli.export("Full/Acme/20260225000000", 1)

    advised = cli.fails("load", folder)

    assert "load it with --max-delete-share 1" in advised
    assert 39 == cli.passes("load", folder, "--max-delete-share", "1")[0]["run"]["absent"]


def test_many_rejects_are_looked_at_and_allowed(cli):
    folder = cli.export("Full/Acme/20260224000000", 1, None, None)

    advised = cli.fails("load", folder)

    command = re.search(r"`sluice ([^`]+)`", advised)
    assert 2 == len(cli.passes(*command[1].split()))
    assert 2 == cli.passes("load", folder, "--max-reject-share", "1")[0]["run"]["rejected"]


def test_many_rejects_of_a_dry_run_are_kept_by_a_load(cli):
    folder = cli.export("Full/Acme/20260224000000", 1, None, None)

    advised = cli.fails("load", folder, "--dry-run")

    assert "Load it without --dry-run, which keeps them to be looked at" in advised
    cli.fails("load", folder)
    assert 2 == len(cli.passes("rejects", "coolr.location"))


def test_a_table_that_is_not_declared_gets_the_line_that_is_proposed(cli):
    rows = [{"Code": "a", "ModifiedOn": NOW, "IsDeleted": False}]
    folder = str(write_parquet(cli.folder / "exports/Full/Acme/20260224000000/odd.parquet", rows).parent)

    advised = cli.fails("load", folder)

    line = advised.partition("Add under [tables] there: ")[2].rstrip(".")
    cli.catalog.write_text(cli.catalog.read_text().replace("[tables]", f"[tables]\n{line}"))
    cli.passes("load", folder)


def test_a_column_whose_type_changes_is_declared(cli):
    cli.passes("load", cli.export("Delta/Acme/20260224000000", 1, Size=5))
    folder = cli.export("Delta/Acme/20260225000000", 2, Size="large")

    advised = cli.fails("load", folder)

    assert "types in the catalog" in advised
    declared = cli.catalog.read_text().replace("types = { CreatedOn", 'types = { Size = "text", CreatedOn')
    cli.catalog.write_text(declared)
    cli.passes("load", folder)


def test_an_export_from_the_future_gets_its_time(cli):
    folder = cli.export("Full/Acme/29990101000000", 1)

    advised = cli.fails("load", folder)

    cli.passes("load", folder, option(advised), "2026-02-24T00:00:00")


def test_a_feed_is_named_as_the_error_shows(cli):
    advised = cli.fails("history", "location")

    known = advised.partition("such as ")[2].partition(",")[0]
    cli.passes("load", cli.export("Full/Acme/20260224000000", 1))
    assert 1 == len(cli.passes("history", known))


def test_text_without_layout_gets_the_one_that_is_inferred(cli):
    file = cli.folder / "deals.csv"
    file.write_text("Deal ID,Amount\na,1.5\nb,2\n")

    advised = cli.fails("csv", "mycrm", "deals", str(file))

    assert "`sluice csv infer FILE`" in advised
    (inferred,) = cli.passes("csv", "infer", str(file))
    (cli.folder / "catalog" / "mycrm.toml").write_text(inferred["entry"])
    assert 2 == cli.passes("csv", "mycrm", "deals", str(file))[0]["run"]["inserted"]


def test_a_key_without_header_is_mapped(cli):
    (cli.folder / "catalog" / "crm.toml").write_text(
        '[system]\nname = "crm"\nsource = "csv"\n'
        '[tables.leads]\nkeys = ["lead_id"]\ncursor = false\ncolumns = { lead_id = {} }\n'
    )
    file = cli.folder / "leads.csv"
    file.write_text("Reference\na\n")

    advised = cli.fails("csv", "crm", "leads", str(file))

    mapped = re.search(r'--map "HEADER=(\w+)"', advised)
    assert 1 == cli.passes("csv", "crm", "leads", str(file), "--map", f"Reference={mapped[1]}")[0]["run"]["inserted"]
