"""What an error of the command line advises is followed to the letter, and then the load passes."""

from __future__ import annotations

import datetime as dt
import json
import shutil

from pathlib import Path
from typing import Any

import pytest

from click.testing import CliRunner

from shared import app as shared_app
from shared import catalog
from shared.cli.main import main
from tests.advice import advises
from tests.exports import write_parquet

LEADS = (
    '[system]\nname = "crm"\nsource = "csv"\n'
    '[tables.leads]\nkeys = ["lead_id"]\ncursor = false\ncolumns = { lead_id = {} }\n'
)
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

    def declare(self, content: str, name: str = "crm") -> None:
        (self.folder / "catalog" / f"{name}.toml").write_text(content)

    def passes(self, *words: str) -> list[dict[str, Any]]:
        code, printed = self.run(*words)
        assert 0 == code, printed
        return list(printed)


@pytest.fixture
def cli(tmp_path, monkeypatch):
    yield Cli(tmp_path, monkeypatch)
    shared_app.opened.cache_clear()


def test_type_is_given_where_the_path_does_not_say_it(cli):
    folder = cli.export("somewhere", 1)

    said = cli.fails("load", folder)

    advises("Add --type full or --type delta", said)
    cli.passes("load", folder, "--type", "delta")


def test_a_client_is_chosen_where_the_folder_has_several(cli):
    for client in ("Acme", "Contoso"):
        cli.export(f"Full/{client}/20260224000000", 1)
    folder = str(cli.folder / "exports")

    said = cli.fails("load", folder)

    advises("Choose one with --client or the system's CLIENT setting; a second client is a second system", said)
    cli.passes("load", folder, "--client", "Acme")


def test_a_full_that_lacks_many_rows_is_allowed(cli):
    cli.passes("load", cli.export("Full/Acme/20260224000000", *range(40)))
    folder = cli.export("Full/Acme/20260225000000", 1)

    said = cli.fails("load", folder)

    advises("If that is right, load it with --max-delete-share 1, or run the feed with max_delete_share 1", said)
    assert 39 == cli.passes("load", folder, "--max-delete-share", "1")[0]["run"]["absent"]


def test_many_rejects_are_looked_at_and_allowed(cli):
    folder = cli.export("Full/Acme/20260224000000", 1, None, None)

    said = cli.fails("load", folder)

    (feed,) = advises(
        "Look at them with `sluice rejects {}`,"
        " or allow more with --max-reject-share or max_reject_share in the catalog",
        said,
    )
    assert 2 == len(cli.passes("rejects", feed))
    assert 2 == cli.passes("load", folder, "--max-reject-share", "1")[0]["run"]["rejected"]


def test_many_rejects_of_a_dry_run_are_kept_by_a_load(cli):
    folder = cli.export("Full/Acme/20260224000000", 1, None, None)

    said = cli.fails("load", folder, "--dry-run")

    advises(
        "Load it without --dry-run, which keeps them to be looked at,"
        " or allow more with --max-reject-share or max_reject_share in the catalog",
        said,
    )
    cli.fails("load", folder)
    assert 2 == len(cli.passes("rejects", "coolr.location"))


def test_a_table_that_is_not_declared_gets_the_line_that_is_proposed(cli):
    rows = [{"Code": "a", "ModifiedOn": NOW, "IsDeleted": False}]
    folder = str(write_parquet(cli.folder / "exports/Full/Acme/20260224000000/odd.parquet", rows).parent)

    said = cli.fails("load", folder)

    (line,) = advises("Add under [tables] there: {}", said)
    cli.catalog.write_text(cli.catalog.read_text().replace("[tables]", f"[tables]\n{line}"))
    cli.passes("load", folder)


def test_a_column_whose_type_changes_is_declared(cli):
    cli.passes("load", cli.export("Delta/Acme/20260224000000", 1, Size=5))
    folder = cli.export("Delta/Acme/20260225000000", 2, Size="large")

    said = cli.fails("load", folder)

    (kind,) = advises(
        "Correct the export, or declare the column {} under types in the catalog, or set on_type_change to text", said
    )
    declared = cli.catalog.read_text().replace("types = { CreatedOn", f'types = {{ Size = "{kind}", CreatedOn')
    cli.catalog.write_text(declared)
    cli.passes("load", folder)


def test_an_export_from_the_future_gets_its_time(cli):
    folder = cli.export("Full/Acme/29990101000000", 1)

    said = cli.fails("load", folder)

    advises("Correct its time, or --exported-at", said)
    cli.passes("load", folder, "--exported-at", "2026-02-24T00:00:00")


def test_a_feed_is_named_as_the_error_shows(cli):
    said = cli.fails("history", "location")

    known = advises("Write <system>.<table>, such as {}", said)[0].partition(",")[0]
    cli.passes("load", cli.export("Full/Acme/20260224000000", 1))
    assert 1 == len(cli.passes("history", known))


def test_text_without_layout_gets_the_one_that_is_inferred(cli):
    file = cli.folder / "deals.csv"
    file.write_text("Deal ID,Amount\na,1.5\nb,2\n")

    said = cli.fails("csv", "mycrm", "deals", str(file))

    advises("Write one with `sluice csv infer FILE` and save it in the catalog", said)
    (inferred,) = cli.passes("csv", "infer", str(file))
    (cli.folder / "catalog" / "mycrm.toml").write_text(inferred["entry"])
    assert 2 == cli.passes("csv", "mycrm", "deals", str(file))[0]["run"]["inserted"]


def test_a_key_without_header_is_mapped(cli):
    cli.declare(LEADS)
    file = cli.folder / "leads.csv"
    file.write_text("Reference\na\n")

    said = cli.fails("csv", "crm", "leads", str(file))

    (key,) = advises('Say which header it is with --map "HEADER={}", or add it to the aliases in the catalog', said)
    assert 1 == cli.passes("csv", "crm", "leads", str(file), "--map", f"Reference={key}")[0]["run"]["inserted"]


def test_a_key_without_header_gets_an_alias(cli):
    cli.declare(LEADS)
    file = cli.folder / "leads.csv"
    file.write_text("Reference\na\n")
    cli.fails("csv", "crm", "leads", str(file))

    cli.declare(LEADS.replace("lead_id = {}", 'lead_id = { aliases = ["Reference"] }'))
    assert 1 == cli.passes("csv", "crm", "leads", str(file))[0]["run"]["inserted"]


@pytest.mark.parametrize("chosen", ["Reference=leadid", "Referenz=lead_id"])
def test_a_mapping_names_a_header_and_a_column_that_exist(cli, chosen):
    cli.declare(LEADS)
    file = cli.folder / "leads.csv"
    file.write_text("Reference\na\n")

    said = cli.fails("csv", "crm", "leads", str(file), "--map", chosen)

    (offered,) = advises("Choose one of {}", said)
    right = f"Reference={offered}" if "leadid" in chosen else f"{offered}=lead_id"
    assert 1 == cli.passes("csv", "crm", "leads", str(file), "--map", right)[0]["run"]["inserted"]


# -- which exports


def test_a_folder_of_no_exports_is_corrected(cli):
    cli.export("Full/Acme/20260224000000", 1)

    advises("Correct the path; it is case-sensitive", cli.fails("load", f"{cli.folder}/Exports"))
    advises("Correct the path or --tables", cli.fails("load", f"{cli.folder}/catalog"))
    advises("Correct the path or --tables", cli.fails("load", f"{cli.folder}/exports", "--tables", "asset"))

    cli.passes("load", f"{cli.folder}/exports", "--tables", "location")


@pytest.mark.parametrize("wrong", [["--system", "colr"], ["--client", "Akme"]])
def test_a_system_and_a_client_are_chosen_of_those_that_are_listed(cli, wrong):
    cli.export("Full/Acme/20260224000000", 1)

    said = cli.fails("load", f"{cli.folder}/exports", *wrong)

    (offered,) = advises("Choose one of {}", said)
    cli.passes("load", f"{cli.folder}/exports", wrong[0], offered)


def test_a_system_is_chosen_where_several_have_exports(cli):
    cli.declare(cli.catalog.read_text().replace('name = "coolr"', 'name = "second"'), "second")
    folder = cli.export("Full/Acme/20260224000000", 1)

    said = cli.fails("load", folder)

    advises("Choose one with --system", said)
    cli.passes("load", folder, "--system", "second")


def test_a_system_with_exports_is_declared(cli):
    coolr = cli.catalog.read_text()
    cli.catalog.unlink()
    cli.declare(LEADS)
    folder = cli.export("Full/Acme/20260224000000", 1)

    said = cli.fails("load", folder)

    advises('Declare one with source = "exports", or set CATALOG_PATH', said)
    cli.declare(coolr, "coolr")
    cli.passes("load", folder)


def test_a_delta_is_no_full(cli):
    folder = cli.export("Delta/Acme/20260224000000", 1)

    said = cli.fails("load", folder, "--type", "full")

    advises("Leave out --type full", said)
    cli.passes("load", folder)


def test_one_of_two_dumps_of_one_time_is_kept(cli):
    for dump in (1, 2):
        cli.export(f"20260224000000/location_dump_{dump}", 1)

    said = cli.fails("load", f"{cli.folder}/exports")

    advises("Keep one, or join their files", said)
    shutil.rmtree(cli.folder / "exports/20260224000000/location_dump_1")
    cli.passes("load", f"{cli.folder}/exports")


def test_one_of_two_files_of_one_table_is_kept(cli):
    folder = Path(cli.export("Full/Acme/20260224000000", 1))
    (folder / "LOCATION.parquet").write_bytes((folder / "location.parquet").read_bytes())

    said = cli.fails("load", str(folder))

    advises("Keep one of them", said)
    (folder / "LOCATION.parquet").unlink()
    cli.passes("load", str(folder))


def test_several_exports_get_their_times_one_by_one(cli):
    folders = [cli.export(f"Full/Acme/2026022{day}000000", 1) for day in (4, 5)]

    said = cli.fails("load", f"{cli.folder}/exports", "--exported-at", "2026-02-24")

    advises("Load them one by one with --exported-at", said)
    for folder in folders:
        cli.passes("load", folder, "--exported-at", "2026-02-24")


def test_a_second_client_becomes_a_second_system(cli):
    cli.passes("load", cli.export("Full/Acme/20260224000000", 1), "--client", "Acme")
    folder = cli.export("Full/Contoso/20260225000000", 1)

    said = cli.fails("load", folder, "--client", "Contoso")

    advises("Declare a second system for a second client in the catalog", said)
    cli.declare(cli.catalog.read_text().replace('name = "coolr"', 'name = "contoso"\nclient = "Contoso"'), "contoso")
    cli.passes("load", folder, "--client", "Contoso")


def test_a_demo_goes_into_a_folder_of_its_own(cli):
    (cli.folder / "mine").mkdir()

    said = cli.fails("demo", "--folder", f"{cli.folder}/mine")

    advises("Choose another with --folder", said)
    assert 0 == cli.run("demo", "--folder", f"{cli.folder}/demo")[0]


# -- rejects


def test_rows_are_corrected_in_the_file_that_rejects_writes(cli):
    cli.passes("load", cli.export("Full/Acme/20260224000000", 1, None), "--max-reject-share", "1")
    missing = cli.folder / "rejects.csv"

    advises(
        "Write one with `sluice rejects FEED --csv`", cli.fails("rejects", "coolr.location", "--replay", str(missing))
    )
    missing.write_text(CliRunner().invoke(main, ["rejects", "coolr.location", "--csv"]).stdout)
    other = cli.fails("rejects", "coolr.asset", "--replay", str(missing))
    advises("Give the feed that the file was written for", other)
    cli.run("rejects", "coolr.location", "--replay", str(missing))
