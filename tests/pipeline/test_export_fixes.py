"""What the error of an export, of a column or of a merge advises is done, and then the export is loaded."""

from __future__ import annotations

import datetime as dt

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import IngestError
from shared.model import Run
from shared.pipeline.folder import LoadOptions
from tests.advice import advises, follows
from tests.exports import load_exports, open_test_app
from tests.full_disk import files_of_at_most
from tests.sources.encrypted import encrypted_parquet

NOW = dt.datetime(2026, 2, 24)  # noqa: DTZ001 - as files have it
CATALOG = """
[system]
name = "crm"
source = "exports"
[defaults]
cursor = "ModifiedOn"
deleted = "IsDeleted"
[tables]
item = { keys = ["ItemId"] }
"""


def table(*keys: int, **more: Any) -> pa.Table:
    """Rows of a table; a column of *more* has one value for all of them, or is an array."""
    common = {"ItemId": pa.array(keys, pa.int64()), "ModifiedOn": [NOW] * len(keys), "IsDeleted": [False] * len(keys)}
    extra = {name: v if isinstance(v, pa.Array | list) else [v] * len(keys) for name, v in more.items()}
    return pa.table({**common, **extra})


class Lab:
    """A folder with exports, a catalog of one table, and a warehouse in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "catalog").mkdir()
        self.declare()

    def declare(self, option: str = "", instead: str = "") -> None:
        """Add an *option* to the feed, or put other ones in their place."""
        feed = instead or 'keys = ["ItemId"]' + (f", {option}" if option else "")
        text = CATALOG.replace('keys = ["ItemId"]', feed)
        (self.folder / "catalog/crm.toml").write_text(text)

    def export(self, content: pa.Table | bytes, where: str = "Full/Acme/20260224000000", file: str = "item") -> None:
        path = self.folder / "exports" / where / f"{file}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            pq.write_table(content, path)

    def load(self, *, again: bool = False, **env: str) -> Run | str:
        """The last run, or the error."""
        try:
            app = open_test_app(self.folder, CATALOG_PATH=str(self.folder / "catalog"), **env)
            runs = [one.run for one in load_exports(app, self.folder / "exports", LoadOptions(again=again)) if one.run]
        except IngestError as error:
            return str(error)
        return next((str(run.error) for run in runs if run.error), runs[-1])

    def fails(self, **env: str) -> str:
        said = self.load(**env)
        assert isinstance(said, str)
        return said

    def passes(self, *, again: bool = False, **env: str) -> Run:
        run = self.load(again=again, **env)
        assert isinstance(run, Run), run
        return run

    def sql(self, statement: str) -> list[Any]:
        with duckdb.connect(str(self.folder / "warehouse.duckdb")) as connection:
            return connection.execute(statement).fetchall()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


# -- files


def packed_much() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table(*range(600), Note=["x" * 200_000] * 600), sink, compression="zstd", use_dictionary=False)
    return bytes(sink.getvalue())


def parquet(content: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink, **options)
    return bytes(sink.getvalue())


FINE = table(1, 2)
FILES = [
    follows("Ask for the file again", b"", FINE, id="empty"),
    follows("Ask for the file again", parquet(FINE)[:-9], FINE, id="cut off"),
    follows("Ask for the file again", parquet(FINE)[:4] + bytes(40) + parquet(FINE)[44:], FINE, id="damaged"),
    follows(
        "Export it without Parquet encryption; there is no key for it here",
        encrypted_parquet(FINE, plaintext_footer=True, columns=["ItemId"]), FINE,
    ),
    follows("Export it as Parquet, or load it as what it is", b"ItemId,Name\n1,Ada\n", FINE),
    follows(
        "If that is intended, export it with smaller row groups, or without compression and dictionaries",
        packed_much, None, id="packed much", marks=pytest.mark.slow,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("advice", "wrong", "right"), FILES)
def test_a_file_is_exported_as_advised(lab, advice, wrong, right):
    wrong = wrong() if callable(wrong) else wrong
    lab.export(wrong)
    advises(advice, lab.fails())

    if right is None:  # what is intended: the same rows, in smaller groups
        right = parquet(pq.read_table(pa.BufferReader(wrong)), row_group_size=50, compression="none")
    lab.export(right)
    lab.passes()


# -- columns

COLUMNS: list[Any] = [
    follows("Give it a name of 1 to {} bytes at the source", {"é" * 32: 1}, {"é" * 31: 1}),
    follows("Rename one of them at the source", {"Name": "a", "NAME": "b"}, {"Name": "a", "Name2": "b"}),
]


@pytest.mark.parametrize(("advice", "wrong", "right"), COLUMNS)
def test_a_column_gets_another_name(lab, advice, wrong, right):
    lab.export(table(1, 2, **wrong))
    advises(advice, lab.fails())

    lab.export(table(1, 2, **right))
    assert 2 == lab.passes().inserted


@pytest.mark.parametrize("follow", ["at the source", "in the catalog"])
def test_a_type_that_none_holds_becomes_another(lab, follow):
    wide = pa.array([10**40, None], pa.decimal256(50, 0))
    lab.export(table(1, 2, Size=wide))
    advises("Export it as another type, or give it one under types in the catalog", lab.fails())

    if follow == "at the source":
        lab.export(table(1, 2, Size=[1e40, None]))
    else:
        lab.declare('types = { Size = "text" }')
    assert (2, 0) == (lab.passes().inserted, lab.passes(again=True).rejected)


@pytest.mark.parametrize("follow", ["at the source", "in the catalog"])
def test_a_column_that_lacks_is_exported_or_not_declared(lab, follow):
    lab.export(table(1, 2).drop_columns(["IsDeleted"]))
    advises("Export it, or correct the feed's keys, cursor and deleted in the catalog", lab.fails())

    if follow == "at the source":
        lab.export(table(1, 2))
    else:
        lab.declare("deleted = false")
    assert 2 == lab.passes().inserted


def test_a_cursor_is_one_that_can_be_ordered(lab):
    lab.declare('cursor = "Flag"')
    lab.export(table(1, 2, Flag=True, Version=7))

    (kinds,) = advises("Choose a cursor of type {}", lab.fails())

    assert "bigint" in kinds.split(", ")
    lab.declare('cursor = "Version"')
    assert 2 == lab.passes().inserted


@pytest.mark.parametrize(
    ("advice", "second", "right"),
    [
        follows("Export all parts of a table with the same columns", table(3), table(3, Size=2)),
        follows("Export all parts of a table with the same types", table(3, Size="big"), table(3, Size=2)),
    ],
)
def test_parts_of_a_table_are_exported_alike(lab, advice, second, right):
    lab.export(table(1, 2, Size=1), "20260224000000/item_dump_1", "a")
    lab.export(second, "20260224000000/item_dump_1", "b")
    advises(advice, lab.fails())

    lab.export(right, "20260224000000/item_dump_1", "b")
    assert 3 == lab.passes().inserted


# -- merges


@pytest.mark.parametrize("follow", ["declared", "corrected"])
def test_values_that_cannot_become_the_declared_type_are_corrected_or_kept(lab, follow):
    lab.export(table(1, 2, Size=["5", "large"]))
    lab.passes()
    lab.declare('types = { Size = "bigint" }')
    lab.export(table(3, Size="7"), "Delta/Acme/20260225000000")

    (kind,) = advises("Declare it {}, or correct these values in the table", lab.fails())

    if follow == "declared":
        lab.declare(f'types = {{ Size = "{kind}" }}')
    else:
        lab.sql("UPDATE crm.item SET \"Size\" = '6' WHERE \"Size\" = 'large'")
    assert 1 == lab.passes().inserted


@pytest.mark.parametrize("follow", ["declared", "dropped"])
def test_a_type_that_cannot_be_converted_is_declared_as_it_is_or_loaded_anew(lab, follow):
    lab.export(table(1, 2, Day=dt.date(2026, 2, 24)))
    lab.passes()
    lab.declare('types = { Day = "double" }')
    lab.export(table(1, 2, Day=dt.date(2026, 2, 24) if follow == "declared" else 3.5), "Full/Acme/20260225000000")

    kind, name = advises("Declare it {}, or drop table {} and load a full export with --again", lab.fails())

    if follow == "declared":
        lab.declare(f'types = {{ Day = "{kind}" }}')
        assert 2 == lab.passes().unchanged
    else:
        lab.sql(f"DROP TABLE {name}")
        assert 2 == lab.passes(again=True).inserted


def test_rows_with_the_same_key_are_found_and_removed(lab):
    lab.export(table(1, 2))
    lab.passes()
    lab.sql('INSERT INTO crm.item SELECT * FROM crm.item WHERE "ItemId" = 1')
    lab.export(table(1, Size=5), "Delta/Acme/20260225000000")

    advises(
        "If the keys of the feed were changed in the catalog, set the former ones again, or drop its table and view"
        " and load a full with --again (sync a database or an API with --full); if not, something else wrote to the"
        " table: keep one row of each key, and load again",
        lab.fails(),
    )

    lab.sql('DELETE FROM crm.item WHERE "ItemId" = 1 AND rowid > (SELECT min(rowid) FROM crm.item WHERE "ItemId" = 1)')
    assert 1 == lab.passes().updated


@pytest.mark.parametrize("statement", ['ALTER "Span" TYPE VARCHAR', 'DROP "Span"'])
def test_a_column_of_a_foreign_type_gets_another_or_goes(lab, statement):
    lab.export(table(1, 2))
    lab.passes()
    lab.sql('ALTER TABLE crm.item ADD COLUMN "Span" INTERVAL')
    lab.export(table(3), "Delta/Acme/20260225000000")

    advises("Give the column another type, or drop it", lab.fails())

    lab.sql(f"ALTER TABLE crm.item {statement}")
    assert 1 == lab.passes().inserted


def test_a_merge_gets_more_memory(lab):
    lab.export(table(*range(200_000), Name=[f"name {n}" * 9 for n in range(200_000)]))
    advises("Raise WAREHOUSE_MEMORY, such as to 1GB", lab.fails(WAREHOUSE_MEMORY="4MB"))

    assert 200_000 == lab.passes(WAREHOUSE_MEMORY="1GB").inserted


# -- the warehouse's file


def test_a_warehouse_that_is_open_elsewhere_is_closed_there(lab):
    lab.export(table(1, 2))
    with duckdb.connect(str(lab.folder / "warehouse.duckdb")):
        said = lab.fails(WAREHOUSE_LOCK_TIMEOUT="0")
        advises("Load again when it is done, or raise WAREHOUSE_LOCK_TIMEOUT", said)

    assert 2 == lab.passes().inserted


def test_a_warehouse_gets_room_to_grow(lab):
    lab.export(table(*range(50_000), Name=[f"{n * 7919:x}" * 9 for n in range(50_000)]))
    with files_of_at_most(600_000):
        said = lab.fails()

    advises("Free some disk space, or correct the rights of its folder, and load again", said)
    assert 50_000 == lab.passes().inserted


WRONG_FILES: list[Any] = [
    follows("Write duckdb:///path/to/warehouse.duckdb", "duckdb://"),
    follows("Name another file in WAREHOUSE_URL", "duckdb:///{folder}/catalog/crm.toml"),
    follows("Name a folder in {} that can be written to", "duckdb:///{folder}/catalog/crm.toml/w.duckdb"),
]


@pytest.mark.parametrize(("advice", "url"), WRONG_FILES)
def test_a_warehouse_is_another_file(lab, advice, url):
    lab.export(table(1, 2))
    advises(advice, lab.fails(WAREHOUSE_URL=url.format(folder=lab.folder)))

    assert 2 == lab.passes(WAREHOUSE_URL=f"duckdb:///{lab.folder}/other/warehouse.duckdb").inserted
