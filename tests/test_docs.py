"""The documentation is true: its commands run, its tables are complete, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess

from dataclasses import fields
from http.server import ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import click
import duckdb
import pytest

from click.testing import CliRunner, Result
from opentelemetry.sdk import environment_variables

import function_app

from shared import app, catalog
from shared.cli import demo
from shared.cli.main import main
from shared.errors import ConfigError
from shared.settings import Settings, SystemSettings
from shared.sources.exports.layout import export_path
from tests.exports import open_test_app
from tests.servers import genius, genius_rest, hubspot
from tests.standins.durable_host import DurableHost
from tests.standins.functions_host import FunctionsHost

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
LAYOUT_PAGE = DOCS / "adding-a-csv-layout.md"
"""Its commands follow each other, with files that the page shows."""
TUTORIAL = DOCS / "tutorial.md"
"""Its commands follow each other: test_tutorial_runs_as_it_is_written runs them."""
API_PAGE = DOCS / "adding-a-source.md"
"""Its commands need an API: tests/sources/rest/test_guide.py runs them."""
LANGUAGES = {"console", "sh", "bash", "json", "python", "toml", "csv", "mermaid", "text", "sql"}
"""How code blocks are marked; each kind is held by a test, but for plain text, and SQL of servers that are not here."""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _blocks(language: str, page: Path | None = None) -> list[str]:
    """The code blocks of one page, or of all, without the indentation that a list gives them."""
    found = []
    for path in [page] if page else PAGES:
        for indent, block in re.findall(rf"^( *)```{language}\n(.*?)^ *```$", _text(path), re.DOTALL | re.MULTILINE):
            found.append("".join(line.removeprefix(indent) for line in block.splitlines(keepends=True)))
    return found


def _commands(*pages: Path) -> list[list[str]]:
    blocks = [block for page in pages or PAGES for block in _blocks("console", page)]
    return [
        shlex.split(line) for line in dict.fromkeys(line for block in blocks for line in block.splitlines()) if line
    ]


def _anywhere() -> list[list[str]]:
    """The commands of sluice that need nothing but the folder."""
    return [
        words
        for words in _commands(*(page for page in PAGES if page not in (LAYOUT_PAGE, API_PAGE, TUTORIAL)))
        if words[0] == "sluice"
    ]


def _run(command: list[str]) -> Result:
    """What a shell makes of *command*: what follows a > is a file for the output."""
    end = command.index(">") if ">" in command else len(command)
    app.opened.cache_clear()
    result = CliRunner().invoke(main, command[1:end], catch_exceptions=False)
    app.opened.cache_clear()
    for name in command[end + 1 :]:
        Path(name).write_bytes(result.stdout_bytes)
    return result


def _use_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in fields(Settings):
        monkeypatch.delenv(setting.name.upper(), raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the demo's exports and the samples of text files lie where the pages have them."""
    home = tmp_path_factory.mktemp("docs")
    steps = list(demo.play(home / "demo"))
    (home / "demo/exports").rename(home / "exports")
    for name in ("leadconduit/leads", "hubspot/zip_codes", "genius/users", "genius/prospects"):
        shutil.copy(ROOT / f"tests/data/csv/{name}.csv", home)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(home)
        _use_defaults(monkeypatch)
        _run(["sluice", *["csv", "leadconduit", "leads", "leads.csv"]])
        _run(["sluice", *["rejects", "leadconduit.leads", "--csv", ">", "bad.csv"]])
    return home, steps


@pytest.fixture
def billing(tmp_path, mariadb, mariadb_database, monkeypatch):
    """The system of the page on feeds beside those that come with the package, and its database."""
    catalog_folder = shutil.copytree(catalog.PACKAGED, tmp_path / "catalog")
    (entry,) = (block for block in _blocks("toml", DOCS / "feeds.md") if 'name = "billing"' in block)
    (catalog_folder / "billing.toml").write_text(entry)
    with mariadb.connect(mariadb_database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE invoice (id int PRIMARY KEY, updated_at datetime)")
        cursor.execute("CREATE TABLE currency (id int PRIMARY KEY, code char(3))")
        cursor.execute("INSERT INTO invoice VALUES (1, '2026-02-24 12:00:00')")
    monkeypatch.setenv("CATALOG_PATH", str(catalog_folder))
    monkeypatch.setenv("BILLING_DATABASE_URL", mariadb.url(mariadb_database))


@pytest.fixture
def genius_database(mariadb, mariadb_database, monkeypatch):
    """A small database like that of Genius CRM."""
    with mariadb.connect(mariadb_database) as connection, connection.cursor() as cursor:
        genius.create(cursor, 20)
    monkeypatch.setenv("GENIUS_DATABASE_URL", mariadb.url(mariadb_database))


@pytest.fixture
def genius_api(monkeypatch):
    """Genius CRM's REST API with a prospect."""
    with genius_rest.genius() as server:
        server.lists[genius_rest.PATHS["prospect"]] = [{"id": 1, "updated_at": "2026-02-24T12:00:00Z"}]
        monkeypatch.setenv("GENIUS_BASE_URL", server.url)
        monkeypatch.setenv("GENIUS_API_TOKEN", genius_rest.STATIC)
        yield


@pytest.fixture
def hubspot_api(monkeypatch):
    """HubSpot with a contact."""
    with hubspot.hubspot() as server:
        server.put("contacts", 1)
        monkeypatch.setenv("HUBSPOT_BASE_URL", server.url)
        monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", hubspot.TOKEN)
        yield


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """A data lake that is empty yet, and the feed of its page."""
    catalog_folder = shutil.copytree(catalog.PACKAGED, tmp_path / "catalog")
    (catalog_folder / "shop.toml").write_text(
        '[system]\nname = "shop"\nsource = "exports"\n[tables.orders]\nkeys = ["id"]\n'
    )
    monkeypatch.setenv("CATALOG_PATH", str(catalog_folder))
    monkeypatch.setenv("WAREHOUSE_URL", f"lake:///{tmp_path}/lake")


# -- commands


def test_every_block_says_what_it_is():
    """A block without a language is held by no test."""
    opened = [line for page in PAGES for line in re.findall(r"^ *```(\w*)$", _text(page), re.MULTILINE)]

    assert set(opened[::2]) <= LANGUAGES
    assert {""} == set(opened[1::2])


@pytest.mark.parametrize("command", _anywhere(), ids=" ".join)
def test_every_sluice_command_runs(command, folder, monkeypatch, request):
    """As the page has it, in a folder with the demo's exports and samples of text files."""
    monkeypatch.chdir(folder[0])
    _use_defaults(monkeypatch)
    if "billing" in command:
        request.getfixturevalue("billing")
    if command[1:3] == ["sync", "genius"]:
        request.getfixturevalue("genius_database")
    if "genius_api" in command:
        request.getfixturevalue("genius_api")
    if "hubspot" in command and "sync" in command:
        request.getfixturevalue("hubspot_api")
    if command[1] == "upkeep":
        request.getfixturevalue("lake")
    if command[1] == "sql":
        monkeypatch.setenv("WAREHOUSE_URL", "mssql://server.database.windows.net/sluice")

    if "--serve" in command:  # it would go on until Ctrl+C
        monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", mock.Mock(side_effect=KeyboardInterrupt))

    result = _run(command)

    damaged = command[:3] == ["sluice", "load", "exports/"]  # the demo has one damaged file, and loading it fails
    assert int(damaged) == result.exit_code, result.stderr


def test_every_make_command_is_a_target():
    """The Makefile has what the pages say to type."""
    targets = re.findall(r"^([a-z-]+):", _text(ROOT / "Makefile"), re.MULTILINE)
    named = {words[1] for words in _commands() if words[0] == "make"}
    named |= {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)`", _text(page))}

    assert {"demo", "test", "host"} <= named <= set(targets)


def test_console_blocks_hold_only_commands_that_are_tested():
    """Anything else is shell, which only bash can check."""
    assert {"sluice", "make"} == {words[0] for words in _commands()}


@pytest.mark.parametrize("block", [*_blocks("sh"), *_blocks("bash")])
def test_shell_is_shell(block):
    """Bash can read every block; what it calls belongs to Azure."""
    checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)

    assert "" == checked.stderr


@pytest.mark.parametrize("block", _blocks("json"))
def test_json_is_json(block):
    """It can be copied into a file."""
    assert json.loads(block)


# -- tables


def _rows(page: str, pattern: str) -> dict[str, str]:
    return dict(re.findall(pattern, _text(DOCS / page), re.MULTILINE))


def _commands_with_options(group: click.Group, before: str = "") -> dict[str, set[str]]:
    """Each command by its words, with its options but for those that every command has."""
    found: dict[str, set[str]] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= _commands_with_options(command, f"{before}{name} ")
        else:
            options = {option for parameter in command.params for option in parameter.opts if option[:2] == "--"}
            found[f"{before}{name}"] = options - {"--json"}
    return found


def test_commands_are_all_listed_with_their_options():
    """An option that is not in the table is found by nobody."""
    rows = _rows("commands.md", r"^\| `sluice ([a-z ]+[a-z])(.*)$")

    assert _commands_with_options(main) == {
        name: set(re.findall(r"`?(--[a-z-]+)", rest)) for name, rest in rows.items()
    }


def test_settings_are_all_listed_with_their_defaults():
    """Names and defaults in the table are those of Settings."""
    rows = _rows("settings.md", r"^\| ([A-Z_]+) \| `?([^`|]*?)`? \|")
    known = {field.name.upper(): field.default for field in fields(Settings) if "read" in field.metadata}

    assert known.keys() == rows.keys()
    expected = {name: _plain(value) for name, value in known.items() if value is not None}
    assert expected == {name: rows[name] for name in expected}
    assert all(rows.values())


def _plain(default: object) -> str:
    return f"{default:.0f}" if isinstance(default, float) else str(default)


def test_settings_of_a_system_are_all_listed():
    """One row for each, named with ``<SYSTEM>``."""
    rows = _rows("settings.md", r"^\| `<SYSTEM>_([A-Z_]+)` \| ([^|]+) \|")

    assert [field.name.upper() for field in fields(SystemSettings)] == list(rows)


def test_settings_that_pages_name_exist():
    """A setting in capitals is one of the app, of the host, or of the function in Azure."""
    guides = [page for page in PAGES if page.parent.name != "decisions"]  # those speak of SQL, too
    sample = json.loads(_text(ROOT / "local.settings.sample.json"))["Values"]
    known = {field.name.upper() for field in fields(Settings)} | {name.upper() for name in sample}
    known |= {f"SYSTEM_{field.name.upper()}" for field in fields(SystemSettings)}
    known |= {"AZURE_CLIENT_ID", "SLUICE_URL", "SLUICE_KEY", "FOLDER_OR_URL", "WAREHOUSE_URL_LAKE"}
    known |= {*re.findall(r"\bvars\.(\w+)", _text(ROOT / ".github/workflows/deploy.yml"))}
    known |= {*re.findall(r"'(SLUICE_\w+)'", _text(ROOT / "infra/main.bicepparam"))}
    known |= {"TIMESTAMP_NTZ"}  # Snowflake's
    known |= {"CHANGE_TRACKING", "CHANGE_RETENTION", "SYS_CHANGE_VERSION", "SYS_CHANGE_DELETED"}  # SQL Server's words
    known |= {*vars(environment_variables)}  # OpenTelemetry's
    known |= {"APPLICATIONINSIGHTS_CONNECTION_STRING", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"}
    named = {
        name
        for page in guides
        for name in re.findall(r"(?<![<>\w])(?!RESULTS_)[A-Z]{2,}(?:_[A-Z]+)+\b(?!>)", _text(page))
    }

    assert set() == named - known


def test_options_of_the_catalog_are_all_listed(tmp_path):
    """The table has the options that the catalog knows, as its own error lists them."""
    rows = _rows("feeds.md", r"^\| `(\w+)` \| ([^|]+) \|")
    (tmp_path / "x.toml").write_text('[system]\nname = "x"\nsource = "exports"\n[tables]\ny = { nonsense = 1 }\n')

    with pytest.raises(ConfigError) as error:
        catalog.read(tmp_path)

    (known,) = re.findall(r"known are ([\w, ]+\w)", str(error.value))
    assert sorted(known.split(", ")) == sorted(rows)


def test_options_of_a_column_are_all_listed(tmp_path):
    """The table of the page about layouts has what the catalog knows, as its own error lists it."""
    rows = re.findall(r"^\| (`.+?`) \| [^|]+ \| ", _text(LAYOUT_PAGE), re.MULTILINE)
    (tmp_path / "x.toml").write_text(
        '[system]\nname = "x"\nsource = "csv"\n[tables.y]\nkeys = ["a"]\n[tables.y.columns]\na = { nonsense = 1 }\n'
    )

    with pytest.raises(ConfigError) as error:
        catalog.read(tmp_path)

    (known,) = re.findall(r"known are ([\w, ]+\w)", str(error.value))
    assert sorted(known.split(", ")) == sorted(name for row in rows for name in re.findall(r"\w+", row))


def test_options_of_the_import_are_all_explained():
    """The page says when each is needed."""
    explained = set(re.findall(r"--[a-z-]+", _text(DOCS / "csv.md")))

    assert _commands_with_options(main)["csv load"] <= explained


def test_layouts_are_all_listed_with_their_keys():
    """The table of the page on CSV files has the feeds that come as text files."""
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+?) \|", _text(DOCS / "csv.md"), re.MULTILINE)
    systems = catalog.read(catalog.PACKAGED).values()
    known = [(feed.system, feed.table, feed.keys) for system in systems for feed in system.feeds() if feed.layout]

    assert sorted(known) == sorted((system, table, tuple(re.findall(r"\w+", keys))) for system, table, keys in rows)


def test_routes_are_all_listed():
    """The table of the API has what openapi.json has, but for the webhooks, which have a page of their own."""
    document = json.loads(_text(ROOT / "shared" / "web" / "openapi.json"))
    known = {path for path in document["paths"] if "/webhooks/" not in path}
    listed = set()
    for method, path, more in re.findall(r"^\| `([A-Z]+) /api([^`]+)`(?:, `([^`]+)`)?", _text(DOCS / "jobs.md"), re.M):
        listed |= {path} | ({f"{path.rpartition('/')[0]}{more}"} if more else set())
        assert method.lower() in document["paths"][path], path

    assert known == listed


# -- examples


def test_catalog_line_is_accepted(tmp_path):
    """What the page shows as a table's line is one."""
    shipped = _text(catalog.PACKAGED / "coolr.toml")
    (line,) = [block for block in _blocks("toml", DOCS / "feeds.md") if "[system]" not in block]
    (tmp_path / "coolr.toml").write_text(shipped + line)

    assert ("VisitCode",) == catalog.read(tmp_path)["coolr"].feed("visit", []).keys


def test_catalog_of_a_pull_system_is_accepted(tmp_path):
    """What the page shows as whole files are such."""
    for number, text in enumerate(block for block in _blocks("toml", DOCS / "feeds.md") if "[system]" in block):
        (tmp_path / f"{number}.toml").write_text(text)
    assert {"billing", "crm", "erp", "sales"} == catalog.read(tmp_path).keys()
    feeds = {feed.table: feed for feed in catalog.read(tmp_path)["billing"].feeds()}

    assert ("updated_at", "*/15 * * * *", 300) == (
        feeds["invoice"].cursor, feeds["invoice"].schedule, feeds["invoice"].overlap_seconds
    )  # fmt: skip
    assert (None, "0 5 * * *") == (feeds["currency"].cursor, feeds["currency"].schedule)


def test_layout_of_the_page_loads_the_file_of_the_page(tmp_path, monkeypatch):
    """Step by step, as the page says, with what it says of the result."""
    monkeypatch.chdir(tmp_path)
    _use_defaults(monkeypatch)
    monkeypatch.setenv("CATALOG_PATH", str(tmp_path / "systems"))
    shutil.copytree(catalog.PACKAGED, tmp_path / "systems")
    (layout,) = _blocks("toml", LAYOUT_PAGE)
    (tmp_path / "systems/canvass.toml").write_text(layout, encoding="utf-8")
    (rows,) = _blocks("csv", LAYOUT_PAGE)
    (tmp_path / "visits.csv").write_text(rows, encoding="utf-8")

    proposal, preview, load, rejects = [_run(command) for command in _commands(LAYOUT_PAGE)]
    history = json.loads(_run(["sluice", "history", "canvass.visits", "--json"]).stdout)

    assert [0, 0, 0, 0] == [one.exit_code for one in (proposal, preview, load, rejects)], load.output
    assert all(
        text in proposal.stdout
        for text in ("# unsure", 'mail = { cleaner = "email" }', 'pledge = { cleaner = "text" }')
    )
    assert re.search(r"Wijk +Extra", preview.stdout)
    assert "the day first" in preview.stdout
    assert [(4, 3, 1)] == [(run["read"], run["inserted"], run["rejected"]) for run in history]
    assert "geen" in rejects.stdout
    with duckdb.connect(".sluice/warehouse.duckdb", read_only=True) as warehouse:
        stored = warehouse.execute(
            "SELECT visit_id, phone, email, visited_at::VARCHAR, pledge::VARCHAR, came_back, Extra"
            " FROM canvass.visits ORDER BY visit_id"
        ).fetchall()
    assert [
        (1001, "+31205550143", "anna@example.nl", "2026-02-13 17:30:00", "1250.00", True, '{"Wijk": "Oost"}'),
        (1002, "+48225550144", None, "2026-02-03 18:05:00", "75.50", False, '{"Wijk": "West"}'),
        (1003, None, "pat@example.nl", "2026-02-13 23:00:00", None, True, None),
    ] == stored


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="there is no curl or openssl here")
def test_signing_example_is_accepted(tmp_path, monkeypatch):
    """The notification of the page, signed and sent as it says, by bash, openssl and curl."""
    secret, host = "it's a $ecret", "coolrexports.blob.core.windows.net"
    app = open_test_app(
        tmp_path, STATE_URL=str(tmp_path / "state"), COOLR_WEBHOOK_SECRET=secret, COOLR_WEBHOOK_HOSTS=host
    )
    (tmp_path / "notification.json").write_text(_blocks("json", DOCS / "webhooks.md")[0])
    (example,) = [block for block in _blocks("sh") if "openssl" in block]
    monkeypatch.setattr("shared.app.current", lambda: app)

    with DurableHost(function_app.app) as durable, FunctionsHost(app, durable).listening() as address:
        env = {"SLUICE_URL": address.removesuffix("/api"), "SLUICE_KEY": "x", "COOLR_WEBHOOK_SECRET": secret}
        said = subprocess.run(
            ["bash", "-euc", example], cwd=tmp_path, env=os.environ | env, capture_output=True, text=True, check=True
        )
        (job,) = durable.instances

    assert job == json.loads(said.stdout)["job"]


def test_event_example_is_for_our_function():
    """Its body is JSON of one event, and its file is one that we take."""
    (example,) = [block for block in _blocks("sh") if "aeg-event-type" in block]
    (event,) = json.loads(example.partition("-d '")[2].rpartition("'")[0])

    assert "functionName=Host.Functions.on_export" in example
    assert event["subject"].partition("/blobs/")[2] == event["data"]["url"].partition("/exports/")[2]
    assert "full" == export_path(event["data"]["url"]).kind


# -- links and names


def test_operations_name_tests_that_exist():
    """Each countermeasure against a known problem of the platform is held by a test."""
    problems = _text(DOCS / "operations.md").partition("## Known problems")[2]

    assert [] == _missing_tests(problems)
    assert 11 == problems.count("\n|") - 2


def test_operations_name_routes_and_commands_that_exist():
    """Whoever follows the runbook in a hurry finds each route and each option."""
    page = _text(DOCS / "operations.md")
    paths = json.loads(_text(ROOT / "shared" / "web" / "openapi.json"))["paths"]
    routes = re.findall(r"`(GET|POST) /api(/[\w/{}]+)", page)
    spans = [shlex.split(span)[1:] for span in re.findall(r"`(sluice [^`]+)`", page)]
    options = [(words[0], word) for words in spans for word in words if word.startswith("--")]
    commands = {
        name: {opt for param in command.params for opt in param.opts} for name, command in main.commands.items()
    }

    assert len(routes) > 10 < len(spans)
    assert [] == [path for method, path in routes if method.lower() not in paths.get(path, {})]
    assert [] == [words for words in spans if words[0] not in commands]
    assert [] == [(name, option) for name, option in options if option not in commands[name]]


def test_estimates_are_what_their_formulas_give():
    """The quantities of three sizes of customer, reckoned again from what they rest on."""
    page = _text(DOCS / "scaling.md").partition("## What it costs")[2]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    table = {
        row[0].partition(",")[0]: [float(c.replace(",", "")) for c in row[-3:]]
        for row in cells
        if row[-1][:1].isdigit()
    }
    rows, stored, files, cores = (
        table[name] for name in ("changed rows a day", "rows stored", "files a month", "vCores")
    )
    for i, (r, t, f, v) in enumerate(zip(rows, stored, files, cores, strict=True)):
        seconds, executions = 700 * r / (4_500_000 * v), 11 * f + 12_300
        expected = {
            "*L*": seconds, "executions": executions, "GB-s of executions": 2 * (executions + 30 * seconds),
            "GB-s of one instance always ready": 2 * 2_592_000, "operations on blobs": 22 * f,
            "operations on tables": 7 * f, "GB of files": 66 * r * 30 / 1e9, "GB of the database": 400 * t / 1e9,
            "GB of Log Analytics": 2000 * executions / 1e9,
        }  # fmt: skip
        assert {name: table[name][i] for name in expected} == pytest.approx(expected, rel=0.1)
        least, most = (row[-3:][i] for row in cells if row[0].startswith("vCore-hours"))
        idle = max(0.5, v / 8)
        assert float(least.replace(",", "")) == pytest.approx(720 * idle + (v - idle) * 30 * seconds / 3600, rel=0.01)
        assert float(most.replace(",", "")) == 720 * v


def test_security_names_tests_that_exist():
    """Each defence is shown by a test; what has none is listed as not defended."""
    page = _text(DOCS / "security.md")
    rows = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", page, re.MULTILINE)
    defences = [row for row in rows if row[1] != "defence"]

    assert [] == _missing_tests(page)
    assert 6 == len(rows) - len(defences)
    assert [] == [attack for attack, _, test in defences if "`tests/" not in test]


def _missing_tests(text):
    """Tests that *text* names, and that do not exist; ``::name`` is in the file named before it."""
    file, missing = "", []
    for name in re.findall(r"`((?:tests/[\w/]+(?:\.py)?)?(?:::\w+)?)`", text):
        path, _, test = name.partition("::")
        file = path or file
        found = ROOT / file
        if not found.exists() or (test and f"def {test}(" not in _text(found)):
            missing.append(name)
    return missing


def test_coverage_names_files_and_tests_that_exist():
    """Each feature says where it is and which test shows it, unless it is open."""
    page = _text(DOCS / "coverage.md")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if re.match(r"\| (?!feature|-)", line)]
    named = [name for row in rows for name in re.findall(r"`([\w/.]+/[\w.]*)(?:::\w+)?`", "|".join(row[1:]))]
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)

    assert [] == [row[0] for row in rows if "*open*" not in row[2] and "`tests/" not in row[2]]
    assert [] == [name for name in named if not (ROOT / name).exists() and not name.startswith("integrations/")]
    assert [] == [test for file, test in tests if f"def {test}(" not in _text(ROOT / file)]


def test_links_lead_to_files():
    """Relative links name files that exist."""
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)#:]+)\)", _text(page))]

    assert [] == [(page.name, link) for page, link in links if not (page.parent / link).exists()]


def test_every_page_can_be_reached_from_the_readme():
    """A page that nothing links to is not read."""
    start = ROOT / "README.md"
    found, waiting = set(), [start]
    while waiting:
        page = waiting.pop()
        if page in found:
            continue
        found.add(page)
        if page.is_dir():
            waiting += page.glob("*.md")
        else:
            waiting += [(page.parent / link).resolve() for link in re.findall(r"\]\(([^)#:]+)\)", _text(page))
                        if link.endswith(".md") or (page.parent / link).is_dir()]  # fmt: skip

    assert set() == set(PAGES) - found


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_files_that_pages_name_exist(page):
    """Paths of this repository in code spans; ``x*`` stands for what begins so."""
    named = re.findall(r"`((?:shared|tests|docs|infra|bench)/[\w./*-]+|function_app\.py|host\.json)`", _text(page))

    assert [] == [name for name in named if not list(ROOT.glob(name.rstrip("/")))]


# -- the demo


def test_demo_shows_every_outcome(folder):
    """The story has an update, a deletion, a row that comes back, late and repeated rows, a bad row and a bad file."""
    runs = [result.run for step in folder[1] for result in step.results if result.run]
    seen = {
        name
        for run in runs
        for name in ("updated", "deleted", "undeleted", "stale", "superseded", "rejected")
        if getattr(run, name)
    }

    assert {"updated", "deleted", "undeleted", "stale", "superseded", "rejected"} == seen
    assert any(run.status == "failed" for run in runs)
    assert any(result.skipped for step in folder[1] for result in step.results)
    assert folder[1][4].rows


def test_demo_throws_away_only_what_a_demo_left(tmp_path):
    """A folder with anything else in it is refused."""
    (tmp_path / "mine").mkdir()

    result = CliRunner().invoke(main, ["demo", "--folder", str(tmp_path / "mine")])

    assert 1 == result.exit_code
    assert "is not from an earlier demo. Choose another with --folder." in result.stderr
