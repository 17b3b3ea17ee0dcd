"""What may lie where a table of the lake should be, and what else than Sluice may have done to it."""

from __future__ import annotations

import datetime as dt
import json
import uuid

import pyarrow as pa
import pytest

from deltalake import DeltaTable, TableFeatures, write_deltalake

from shared.pipeline.upkeep import upkeep
from shared.settings import Settings
from shared.warehouses import Upkeep, open_warehouse
from shared.warehouses.lake import feed_table
from shared.warehouses.lake.names import table_path
from tests.advice import advised, advises
from tests.quick import quick_if
from tests.suites.warehouse_case import WarehouseCase, row, some
from tests.warehouses.lake import lake_tables

NO_PATHS = ("a%2f..%2fx", "a:b", "a b", "é", "x?y#z=1", "a~2fb", "~", "'", "a&b", "a\\b")


@pytest.fixture
def lake(tmp_path):
    return tmp_path / "lake"


@pytest.fixture
def case(tmp_path, lake):
    return WarehouseCase(tmp_path, lambda text: lake_tables.query(lake, text), WAREHOUSE_URL=f"lake:///{lake}")


def loaded_again(case, number=9):
    """A full export of one row, which the same file may have been before."""
    return some(case.loaded("full", number, row(1), options={"again": True}))


def moved_away(case):
    (case.folder / "lake" / "shop" / "item").rename(case.folder / "moved")


def test_a_url_without_a_folder_is_refused():
    for url in ("lake://", "lake:///", "lake:///."):
        with advised("Write lake:///path/to/folder"):
            open_warehouse(Settings(warehouse_url=url))
    for url in ("lake:///a", "lake:////tmp/a"):
        assert open_warehouse(Settings(warehouse_url=url))


def test_a_folder_with_files_that_is_no_table_is_refused(case, lake):
    """Nothing is written into it. Once the files are away, it becomes one."""
    folder = lake / "shop" / "item"
    folder.mkdir(parents=True)
    (folder / "mine.parquet").write_bytes(b"PAR1")

    refused = case.refused("full", 5, row(1))
    left = sorted(path.name for path in folder.rglob("*") if path.is_file())
    (folder / "mine.parquet").unlink()

    assert "shop/item of the lake is no table, but holds files, such as shop/item/mine.parquet" in refused
    advises("Move them away, or name another folder in WAREHOUSE_URL", refused)
    assert ["mine.parquet"] == left
    assert {"inserted": 1, "read": 1} == loaded_again(case)


def test_a_table_of_another_program_is_refused(case, lake):
    """It has not our columns. The table stays as it is."""
    write_deltalake(str(lake / "shop" / "item"), pa.table({"ItemId": [1], "What": ["theirs"]}))

    refused = case.refused("full", 5, row(1))
    kept = DeltaTable(str(lake / "shop" / "item"))
    moved_away(case)

    assert "is another program's: it lacks FirstSyncAt, SyncedAt, SyncedBy, DeletedAt" in refused
    advises("Move its folder away, or name another folder in WAREHOUSE_URL", refused)
    assert 0 == kept.version()
    assert {"inserted": 1, "read": 1} == loaded_again(case)


@pytest.mark.parametrize("feature", [TableFeatures.DeletionVectors, quick_if(False, TableFeatures.ChangeDataFeed)])
def test_a_table_with_features_that_we_do_not_write_is_refused(case, lake, feature):
    """Rows that are deleted by vectors, for example, are in its files still."""
    case.loaded("full", 5, row(1))
    DeltaTable(str(lake / "shop" / "item")).alter.add_feature(feature, allow_protocol_versions_increase=True)

    refused = case.refused("delta", 6, row(2))
    moved_away(case)

    assert f"uses what Sluice does not write: table features {str(feature).rpartition('.')[2][0].lower()}" in refused
    advises(
        "Turn that off in the program that turned it on, or move the table's folder away and load a full export"
        " with --again",
        refused,
    )
    assert {"inserted": 1, "read": 1} == loaded_again(case)


def test_a_table_that_another_program_has_partitioned_is_refused(case, lake):
    """Values of a column may be no path, such as these; our files would lack their partition."""
    case.loaded("full", 5, row(1, "../../x"), row(2, "a/b"), row(3, "%2F:"), row(4, None))
    folder = lake / "shop" / "item"
    rows = DeltaTable(str(folder)).to_pyarrow_table()
    write_deltalake(str(folder), rows, mode="overwrite", schema_mode="overwrite", partition_by=["Name"])
    before = sorted(folder.rglob("*.parquet"))

    refused = case.refused("delta", 6, row(1, "Ida", 6))
    (tended,) = upkeep(case.app.runner, ["shop.item"], Upkeep(keep=dt.timedelta(days=7)))
    after = sorted(folder.rglob("*.parquet"))
    moved_away(case)

    assert "shop/item of the lake uses what Sluice does not write: partitions by Name" in refused
    assert refused.startswith(tended.error.rstrip("."))
    assert before == after
    assert {"inserted": 1, "read": 1} == loaded_again(case)


@pytest.mark.parametrize("mode", ["current", "append"])
@pytest.mark.parametrize("name", [quick_if(name == NO_PATHS[0], name) for name in NO_PATHS])
def test_a_feed_whose_name_is_no_path_has_one_folder_in_the_lake(case, lake, mode, name):
    """Twice, so that its table is found again; upkeep finds it as well, and nothing lies elsewhere."""
    case.declare_table(json.dumps(name), f'keys = ["Key"], lake = "{mode}"')
    for number in (5, 6):
        result = case.load(case.write("delta", number, [row(number)], table=name, key_name="Key"))
        assert result.run.error is None
    (tended,) = upkeep(case.app.runner, [f"shop.{name}"], Upkeep(keep=dt.timedelta(days=7)))

    (system,) = [path for path in lake.iterdir() if path.name not in ("_staging", "ingest")]
    (folder,) = system.iterdir()
    assert ("shop", name) == (system.name, lake_tables.plain(folder.name))
    assert 2 == DeltaTable(str(folder)).count()
    assert (2, None) == (tended.table.files_before, tended.error)
    assert {"lake", "catalog", "ledger.db"} >= {path.name for path in case.folder.iterdir()} - {"Delta"}


@pytest.mark.parametrize("few", [0, quick_if(False, 100_000)], ids=["written at once", "compared"])
def test_a_uuid_is_text_in_a_lake(case, monkeypatch, few):
    """As a column and as the key, however its rows come in; the same value later is no change (decision 0013)."""
    monkeypatch.setattr(feed_table, "_FEW", few)
    value = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    kinds = {"key": pa.uuid(), "types": {"Ref": pa.uuid()}}

    case.loaded("full", 5, row(value.bytes, Ref=value.bytes), **kinds)
    again = case.loaded("full", 6, row(value.bytes, Ref=value.bytes), **kinds)

    assert {"unchanged": 1, "read": 1} == some(again)
    assert [(str(value), str(value))] == case.rows("ItemId", "Ref")
    assert "text" == case.columns()["Ref"]


@pytest.mark.parametrize("versions", [(3, 2), quick_if(False, (1, 99)), quick_if(False, (99, 99))])
def test_a_table_of_a_newer_protocol_is_refused(case, lake, versions):
    """Whatever its files hold."""
    case.loaded("full", 5, row(1))
    reader, writer = versions
    log = lake / "shop" / "item" / "_delta_log"
    (log / f"{1:020}.json").write_text(
        f'{{"protocol":{{"minReaderVersion":{reader},"minWriterVersion":{writer}}}}}\n', encoding="utf-8"
    )

    assert "of the lake " in case.refused("delta", 6, row(2))
    moved_away(case)
    assert {"inserted": 1, "read": 1} == loaded_again(case)


@pytest.mark.parametrize("what", ["a damaged log", "a lost file", "a damaged file"])
def test_a_damaged_table_is_refused_until_it_is_restored(case, lake, what):
    """Or loaded anew, elsewhere."""
    case.loaded("full", 5, row(1))
    folder = lake / "shop" / "item"
    (data,) = folder.glob("*.parquet")
    if what == "a damaged log":
        (folder / "_delta_log" / f"{0:020}.json").write_text('{"add": ', encoding="utf-8")
    elif what == "a lost file":
        data.unlink()
    else:
        data.write_bytes(b"PAR1 and no more")

    refused = case.refused("delta", 6, row(2))
    moved_away(case)

    advises("Restore it to an earlier version, or move its folder away and load a full export with --again", refused)
    assert {"inserted": 1, "read": 1} == loaded_again(case)


def test_a_column_of_a_type_that_we_do_not_write_is_refused(case, lake):
    """A list, which another program has added."""
    case.loaded("full", 5, row(1))
    table = DeltaTable(str(lake / "shop" / "item"))
    rows = table.to_pyarrow_table().append_column("Tags", pa.array([["a"]], pa.list_(pa.string())))
    write_deltalake(table, rows, mode="overwrite", schema_mode="overwrite")

    assert "column 'Tags' of shop.item has type " in case.refused("delta", 6, row(2))


@pytest.mark.parametrize("name", ["a b", "é/x", "_x", ".", "..", "%41", "a~b", "a?b#c=d"])
def test_names_that_are_no_path_become_one(name):
    """One folder below another, that no reader overlooks, whatever the feed is called."""
    system, table = table_path(name, name).split("/")

    assert system == table
    assert system[0] not in "._"
    assert system.isascii()
    assert not set(system) & set(' /\\%?#=:"')
    assert name == lake_tables.plain(system)
