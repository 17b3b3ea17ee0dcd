"""A first load of many rows, which a lake writes without a comparison, has the outcomes and rows of any other."""

from __future__ import annotations

import pytest

from deltalake import DeltaTable

from shared.warehouses.lake import feed_table
from shared.warehouses.lake.current import Current
from tests.quick import quick_if
from tests.suites.warehouse_case import WarehouseCase, row, some

ROWS = {
    "deleted ones and a null": [row(1), row(2, None), row(3, "Cy", 2, True), row(4, "Di", None, True)],
    "keys that are there twice": [row(1, "Ada", 2), row(1, "Ida", 3), row(2), row(2, deleted=True)],
    "a rejected one": [*(row(n) for n in range(12)), row(None, "nobody")],
    "none": [],
}


@pytest.fixture
def cases(tmp_path, monkeypatch):
    monkeypatch.setattr(feed_table, "_FEW", 0)
    return [
        WarehouseCase(tmp_path / name, lambda _: [], WAREHOUSE_URL=url)
        for name, url in (("lake", f"lake:///{tmp_path}/lake"), ("db", f"duckdb:///{tmp_path}/warehouse.duckdb"))
    ]


def contents(case, table):
    names, rows = case.app.warehouse.table_rows("shop", table)
    own = [n for n, name in enumerate(names) if name not in ("FirstSyncAt", "SyncedAt", "SyncedBy")]
    return sorted(repr([(names[n], row[n]) for n in own]) for row in rows)


@pytest.mark.parametrize(
    ("name", "kind", "table"),
    [
        quick_if((name, kind, table) == ("deleted ones and a null", "full", "item"), name, kind, table)
        for name in ROWS
        for kind, table in (("full", "item"), ("delta", "item"), ("full", "hard"), ("full", "undated"))
    ],
)
def test_it_is_that_of_a_database(cases, name, kind, table):
    """And so is what is loaded next."""
    lake, database = cases
    first = [some(case.loaded(kind, 5, *ROWS[name], table=table, groups=2)) for case in cases]
    stored = [contents(case, table) for case in cases] if ROWS[name] else []
    after = [some(case.loaded("full", 6, row(1, "Eva", 6), row(9), table=table)) for case in cases]

    assert first[0] == first[1]
    assert not stored or stored[0] == stored[1]
    assert after[0] == after[1]
    assert contents(lake, table) == contents(database, table)


def test_it_is_one_commit_without_a_comparison(cases, monkeypatch):
    compared = []
    monkeypatch.setattr(Current, "_compute", lambda *_: compared.append(True))

    run = cases[0].loaded("full", 5, row(1), row(2))

    assert {"inserted": 2, "read": 2} == some(run)
    assert [] == compared
    assert 0 == DeltaTable(str(cases[0].folder.parent / "lake" / "shop" / "item")).version()
