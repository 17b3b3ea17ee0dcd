"""The merge's SQL: every engine's dialect can say it, and no name is ever anything but a name."""

from __future__ import annotations

import contextlib
import re

import duckdb
import pyarrow as pa
import pytest
import sqlglot

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import mssql, postgresql
from sqlglot import exp

from shared.contract.conform import folded
from shared.pipeline.folder import LoadOptions
from shared.warehouses.embedded.session import DuckDBSession
from shared.warehouses.snowflake import sql as snowflake
from tests.exports import export_path, load_exports, open_test_app, write_parquet

DIALECTS = {"mssql": mssql.dialect(), "postgresql": postgresql.dialect()}
HOSTILE = (
    'x"]; DROP TABLE y; --',
    "x'); DROP TABLE y; --",
    "x]]; DROP TABLE y --",
    "$1",
    ":name",
    "%(name)s",
    "%s %% %",
    "?",
    "{0}",
    "a.b",
    '"',
    "[",
    "\\",
    "/* x",
    "--",
    "Straße 🔑 e\u0301",
    "two\nlines\tand a tab",
    " x ",
    "SELECT",
    "incoming",
    "rows",
    "_sluice_outcome",
)
HOSTILE_LIKE_OURS = ("DeletedAt", "syncedby", "FIRSTSYNCAT", "deletedat ")


@contextlib.contextmanager
def recording():
    """Every Core statement that sessions run meanwhile."""
    statements = []

    def listening(original):
        def listen(self, statement):
            statements.append(statement)
            return original(self, statement)

        return listen

    with pytest.MonkeyPatch.context() as patched:
        for name in ("rows", "stream", "change"):
            patched.setattr(DuckDBSession, name, listening(getattr(DuckDBSession, name)))
        yield statements


def load(app, path, kind):
    (result,) = load_exports(app, str(path), LoadOptions(system="coolr", kind=kind))
    assert result.run.error is None
    return result.run


LOCATIONS = pa.schema(
    [("LocationId", pa.int64()), ("Name", pa.string()), ("ModifiedOn", pa.timestamp("us")), ("IsDeleted", pa.bool_())]
)


def export(folder, kind, stamp, *keys, name="Ada", deleted=False, extra=None):
    rows = [{"LocationId": key, "Name": name, "ModifiedOn": 10 + n, "IsDeleted": deleted} for n, key in enumerate(keys)]
    table = pa.Table.from_pylist(rows, schema=LOCATIONS)
    if extra is not None:
        table = table.append_column(extra, pa.array(range(len(keys)), pa.int64()))
    return write_parquet(export_path(folder, kind, stamp, "Location"), table).parent


def said(folder):
    """All statements of loads that meet every rule: adopted, wider, changed, absent, late, twice, rejected, dry."""
    app = open_test_app(folder)
    with recording() as statements:
        load(app, export(folder, "full", "20260201", *range(20)), "full")
        load(app, export(folder, "full", "20260205", *range(5, 20), extra="Extra"), "full")
        load(app, export(folder, "delta", "20260206", 1, 1, 2, name="Bob", deleted=True), "delta")
        load(app, export(folder, "delta", "20260203", 3, 99, name="Cy"), "delta")
        load(app, export(folder, "delta", "20260207", None, *range(30, 50), extra="Extra"), "delta")
        dry = export(folder, "delta", "20260208", 2)
        list(load_exports(app, str(dry), LoadOptions(system="coolr", kind="delta", dry_run=True)))
        list(app.warehouse.rejects("coolr.location"))
        app.warehouse.profile(app.systems["coolr"].feed("location", LOCATIONS.names))
    return statements


@pytest.fixture(scope="module")
def statements(tmp_path_factory):
    return said(tmp_path_factory.mktemp("said"))


@pytest.fixture(scope="module")
def without_fingerprints(tmp_path_factory):
    """The same on an engine that has none."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DuckDBSession, "fingerprint", lambda self, columns: None)
        return said(tmp_path_factory.mktemp("compared"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_statement_can_be_said_in_every_dialect(statements, dialect):
    """The Core is written once, for engines that are not here yet too."""
    texts = [str(statement.compile(dialect=DIALECTS[dialect])) for statement in statements]

    verbs = {text.split()[0] for text in texts}
    assert {"SELECT", "INSERT", "UPDATE", "DELETE"} == verbs
    assert any("FULL OUTER JOIN" in text for text in texts)


def test_snowflakes_grammar_takes_every_statement(statements):
    """sqlglot's, as what each is: what it does not know is a mere command to it. Only a limit is no parameter."""
    texts = [snowflake.NAMES.unmask(snowflake.compiled(one)[0]) for one in statements]

    verbs = {type(sqlglot.parse_one(text, dialect="snowflake")) for text in texts}

    assert {exp.Select, exp.Insert, exp.Update, exp.Delete} == verbs
    assert [] == [text for text in texts if re.search(r"'|2026|\$\d|::|COLLATE|CLASS", text)]


def test_no_value_is_pasted_into_a_statement(statements):
    """Values travel beside the text: no quoted literal and no digits of a time are in it."""
    texts = [str(statement.compile(dialect=DIALECTS["postgresql"])) for statement in statements]

    assert 20 < len(texts)
    assert [] == [text for text in texts if re.search(r"'|2026", text)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_engine_without_a_fingerprint_compares_columns(without_fingerprints, dialect):
    """Null-safe, each in the words of its dialect."""
    texts = [str(statement.compile(dialect=DIALECTS[dialect])) for statement in without_fingerprints]

    null_safe = {"mssql": "_sluice_print_1\\W* IS NULL AND", "postgresql": "_sluice_print_1\\W* IS NOT DISTINCT FROM"}
    assert any(re.search(null_safe[dialect], text) for text in texts)
    assert [] == [text for text in texts if re.search(r"\bhash\(", text)]


def test_comparing_columns_and_fingerprints_agree(tmp_path, monkeypatch):
    """Same files, same outcomes, same table."""
    table = pa.table(
        {
            "LocationId": range(6),
            "Name": ["a", None, "b", "", None, "c"],
            "Size": [1.5, None, 0.0, 1.0, 2.0, None],
            "ModifiedOn": pa.array([1] * 6, pa.timestamp("us")),
            "IsDeleted": [False] * 6,
        }
    )
    changed = table.set_column(1, "Name", pa.array(["a", "", None, "", "x", None])).set_column(
        2, "Size", pa.array([1.5, None, None, 1.0, 2.0, None])
    )
    first = write_parquet(export_path(tmp_path, "delta", "20260201", "Location"), table).parent
    second = write_parquet(export_path(tmp_path, "delta", "20260202", "Location"), changed).parent
    found = []
    for place in ("print", "columns"):
        if place == "columns":
            monkeypatch.setattr(DuckDBSession, "fingerprint", lambda self, columns: None)
        app = open_test_app(tmp_path / place)
        load(app, first, "delta")
        run = load(app, second, "delta")
        with duckdb.connect(str(tmp_path / place / "warehouse.duckdb"), read_only=True) as db:
            found.append((run.updated, run.unchanged, db.execute("FROM coolr.location ORDER BY 1").fetchall()))

    assert (4, 2) == found[0][:2]
    assert found[0] == found[1]


# -- names


def keywords():
    return [name for (name,) in duckdb.sql("SELECT keyword_name FROM duckdb_keywords() ORDER BY 1").fetchall()]


def thrice_loaded(folder, names, keys=("LocationId",)):
    """What the table holds after three loads of a file with columns *names*: by name, the values in order.

    The first becomes the table, the second replaces rows, the third lacks the last column and updates them.
    """
    catalog = folder / "catalog"
    catalog.mkdir(parents=True)
    reported = ", ".join(map(_toml, keys))
    (catalog / "coolr.toml").write_text(
        f'[system]\nname = "coolr"\nsource = "exports"\n[tables]\nlocation = {{ keys = [{reported}] }}\n',
        encoding="utf-8",
    )
    app = open_test_app(folder, CATALOG_PATH=str(catalog))
    for number, stamp in enumerate(("20260201", "20260202", "20260203")):
        values = {key: pa.array([1, 2 + number]) for key in keys} | {
            name: pa.array([f"{number}", None]) for name in names
        }
        arrays = list(values.values())
        table = pa.Table.from_arrays(arrays, names=list(values))
        if number == 2:
            table = table.drop_columns([names[-1]])
        load(app, write_parquet(export_path(folder, "delta", stamp, "Location"), table).parent, "delta")
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as db:
        found = db.execute("FROM coolr.location ORDER BY 1")
        columns = [column[0] for column in found.description]
        return dict(zip(columns, zip(*found.fetchall(), strict=True), strict=True))


def _toml(text):
    return '"' + "".join(f"\\U{ord(letter):08x}" for letter in text) + '"'


def expected(names, keys=("LocationId",)):
    values = dict.fromkeys(keys, (1, 2, 3, 4))
    return values | {name: ("1" if name == names[-1] else "2", None, None, None) for name in names}


@pytest.mark.parametrize("names", [HOSTILE, keywords()], ids=["hostile", "keywords"])
def test_column_may_be_called_anything(tmp_path, names):
    """What looks like SQL, like a placeholder, or like a word of the engine's own is stored under its name."""
    names = list(names)
    found = thrice_loaded(tmp_path, names)

    assert expected(names) == {name: found.get(name) for name in ("LocationId", *names)}


def test_key_may_be_called_anything(tmp_path):
    """Keys are in more statements than other columns."""
    keys = ('x"]; DROP TABLE y; --', "%(a)s", ":p $1 ?", "pivot", "qualify", "Ключ")
    found = thrice_loaded(tmp_path, ["Name", "Other"], keys)

    assert expected(["Name", "Other"], keys) == {name: found[name] for name in (*keys, "Name", "Other")}


def test_columns_called_like_ours_are_kept_beside_them(tmp_path):
    """With a suffix, in any case."""
    found = thrice_loaded(tmp_path, [*HOSTILE_LIKE_OURS, "Other"])

    assert {f"{name}_source" for name in HOSTILE_LIKE_OURS} <= found.keys()
    assert (None,) * 4 == found["DeletedAt"]
    assert ("2", None, None, None) == found["DeletedAt_source"]


storable = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=15)
    .filter(lambda name: name.strip() and len(name.encode()) <= 63)
    .filter(
        lambda name: not name.casefold().startswith(("_sluice_row", "firstsyncat", "syncedat", "syncedby", "deletedat"))
    )
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(storable, min_size=20, max_size=40, unique_by=folded))
@example(names=list(HOSTILE[:8]))
def test_any_names_are_just_names(tmp_path_factory, names):
    """Whatever can be in a Parquet file and fits."""
    names = [name for name in names if folded(name) != "locationid"]
    found = thrice_loaded(tmp_path_factory.mktemp("names"), names)

    assert expected(names) == {name: found.get(name) for name in ("LocationId", *names)}
