"""``sluice csv --save-map`` keeps a mapping in the operator's catalog, and the next load needs no ``--map``."""

from __future__ import annotations

import json
import shutil
import tomllib

import pytest
import tomlkit

from shared import catalog
from tests.advice import advises

LAYOUT = """\
# Our own leads.
[system]
name = "crm"
source = "csv"

[tables.leads]
keys = ["lead_id"]
cursor = false

[tables.leads.columns]
lead_id = { cleaner = "text", aliases = ["id"] }  # of the old system
phone = { cleaner = "phone" }
other_phone = { cleaner = "phone" }

[tables.leads.columns.email]  # written at length
cleaner = "email"
"""
ROWS = "id,Telefoon,Post\na,617-555-0143,A@Example.com\n"
MAPPED = ("--map", "Telefoon=phone", "--map", "Post=email", "--save-map")


class Leads:
    def __init__(self, folder, sluice):
        self.folder, self._sluice = folder, sluice
        self.file = folder / "catalog" / "crm.toml"
        self.file.parent.mkdir()
        self.write(LAYOUT)

    def write(self, text):
        self.file.write_bytes(text.encode())

    def load(self, *words, rows=ROWS, **env):
        (self.folder / "leads.csv").write_text(rows, encoding="utf-8")
        words = ("csv", "crm", "leads", self.folder / "leads.csv", *words)
        return self._sluice(*words, **{"CATALOG_PATH": str(self.file.parent), **env})

    def mapped(self):
        """The header that each column takes without --map."""
        result = self.load("--dry-run", "--again", "--json")
        (found,) = json.loads(result.stdout)
        return {column["name"]: column["source"] for column in found["preview"]["columns"] if column["source"]}


@pytest.fixture
def leads(tmp_path, sluice):
    return Leads(tmp_path, sluice)


def test_the_next_load_needs_no_map(leads):
    """And says no more of the headers than of any other alias."""
    assert {"lead_id": "id"} == leads.mapped()

    result = leads.load(*MAPPED)

    assert 0 == result.exit_code, result.stderr
    assert f"Saved in {leads.file}" in result.stderr
    assert {"lead_id": "id", "phone": "Telefoon", "email": "Post"} == leads.mapped()


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_all_else_in_the_catalog_stays(leads, line_end):
    """Comments, order and line ends."""
    leads.write(LAYOUT.replace("\n", line_end))

    leads.load(*MAPPED)

    written = leads.file.read_bytes().decode()
    added = LAYOUT.replace('"phone" }', '"phone", aliases = ["Telefoon"]}', 1) + 'aliases = ["Post"]\n'
    assert added.replace("\n", line_end) == written


def test_a_header_joins_the_aliases_that_there_are(leads):
    leads.load("--map", "Nummer=lead_id", "--save-map", rows="Nummer\na\n")

    assert ["id", "Nummer"] == tomllib.loads(leads.file.read_text())["tables"]["leads"]["columns"]["lead_id"]["aliases"]


def test_a_dry_run_saves_nothing_and_shows_what_it_would(leads):
    result = leads.load(*MAPPED, "--dry-run")

    assert 'phone = { cleaner = "phone", aliases = ["Telefoon"]}' in result.stderr
    assert LAYOUT == leads.file.read_text()


def test_a_load_that_fails_saves_nothing(leads):
    result = leads.load("--map", "Mobiel=phone", "--save-map")

    assert 1 == result.exit_code
    assert LAYOUT == leads.file.read_text()


def test_a_file_that_is_loaded_already_is_reason_enough(leads):
    """Whoever forgot --save-map adds it to the same command."""
    leads.load(*MAPPED[:-1])

    result = leads.load(*MAPPED)

    assert 0 == result.exit_code
    assert {"lead_id": "id", "phone": "Telefoon", "email": "Post"} == leads.mapped()


def test_headers_that_are_saved_already_are_said_to_be(leads):
    leads.load(*MAPPED)

    result = leads.load(*MAPPED)

    assert "The catalog has these headers already" in result.stderr


def test_a_header_of_another_column_is_refused_before_anything_is_loaded(leads):
    result = leads.load("--map", "Phone=other_phone", "--save-map", rows="id,Phone\na,617-555-0143\n")

    assert 1 == result.exit_code
    assert "header 'Phone' means column 'phone' in the catalog" in result.stderr
    (column,) = advises("Leave out --save-map, or take the header away from {} in the catalog", result.stderr.strip())
    assert 0 == len(json.loads(leads._sluice("history", "--json").stdout))
    words = ("--map", "Phone=other_phone")
    assert 0 == leads.load(*words, rows="id,Phone\na,617-555-0143\n").exit_code
    assert "'phone'" == column
    leads.write(LAYOUT.replace('phone = { cleaner = "phone" }\n', 'mobile = { cleaner = "phone" }\n', 1))
    assert 0 == leads.load(*words, "--save-map", "--again", rows="id,Phone\na,617-555-0143\n").exit_code


def test_the_catalog_that_comes_with_sluice_stays_and_what_is_printed_can_be_followed(leads, tmp_path, sluice):
    """Copy the folder, set CATALOG_PATH, write the line."""
    before = {path: path.read_bytes() for path in catalog.PACKAGED.iterdir() if path.is_file()}
    (tmp_path / "users.csv").write_text("user_object_id,Login\nu1,ada\n", encoding="utf-8")
    command = ("csv", "salespro", "users", tmp_path / "users.csv")

    result = sluice(*command, "--map", "Login=username", "--save-map")

    assert 0 == result.exit_code, result.stderr
    assert before == {path: path.read_bytes() for path in catalog.PACKAGED.iterdir() if path.is_file()}
    assert f"Copy the folder {catalog.PACKAGED}, set CATALOG_PATH to the copy" in result.stderr
    assert "in salespro.toml under [tables.users.columns]" in result.stderr
    shutil.copytree(catalog.PACKAGED, tmp_path / "mine")
    own = tmp_path / "mine" / "salespro.toml"
    line = result.stderr.splitlines()[-1].strip()
    own.write_text(own.read_text().replace('username = { cleaner = "text" }', line))
    preview = json.loads(sluice(*command, "--dry-run", "--again", "--json", CATALOG_PATH=str(own.parent)).stdout)
    assert "Login" in [column["source"] for column in preview[0]["preview"]["columns"]]


def test_save_map_without_map_is_wrong_use(leads):
    assert 2 == leads.load("--save-map").exit_code


def test_a_catalog_that_cannot_be_written_is_said_with_the_line(leads):
    """A folder stands where the new file would be written."""
    leads.file.with_name("crm.toml.new").mkdir()

    result = leads.load(*MAPPED)

    assert 1 == result.exit_code
    assert "cannot be written" in result.stderr
    assert LAYOUT == leads.file.read_text()
    section, lines = advises("Make it writable, or write under [{}]: {}", result.stderr.strip())
    assert "tables.leads.columns" == section
    assert 'aliases = ["Telefoon"]' in lines
    leads.file.with_name("crm.toml.new").rmdir()
    assert 0 == leads.load(*MAPPED).exit_code
    assert {"lead_id": "id", "phone": "Telefoon", "email": "Post"} == leads.mapped()


def test_lines_that_could_not_be_saved_can_be_written_by_hand(leads):
    """In the place that the error names."""
    words, rows = ("--map", "Telefoon=phone", "--save-map"), "id,Telefoon\na,617-555-0143\n"
    leads.file.with_name("crm.toml.new").mkdir()

    _, line = advises("Make it writable, or write under [{}]: {}", leads.load(*words, rows=rows).stderr.strip())

    leads.write(LAYOUT.replace('phone = { cleaner = "phone" }', line, 1))
    assert "The catalog has these headers already" in leads.load(*words, rows=rows).stderr


def test_a_catalog_that_changes_meanwhile_is_left_alone(leads, monkeypatch):
    """Somebody else writes it while the file is loaded."""
    parse = tomlkit.parse
    with monkeypatch.context() as patch:
        patch.setattr(tomlkit, "parse", lambda text: parse(text.replace("[tables.leads", "[tables.people")))
        result = leads.load(*MAPPED)

    assert 1 == result.exit_code
    advises("Run the command again", result.stderr.strip())
    assert LAYOUT == leads.file.read_text()
    assert 0 == leads.load(*MAPPED).exit_code
    assert {"lead_id": "id", "phone": "Telefoon", "email": "Post"} == leads.mapped()
