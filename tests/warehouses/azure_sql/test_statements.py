"""What a load by way of a staging table sends to SQL Server: how many requests, and how it compares rows."""

from __future__ import annotations

import pytest

from shared.mssql import odbc
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_case import WarehouseCase, row, some


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setattr(odbc, "load_pyodbc", lambda: server)
    return server


@pytest.fixture
def case(tmp_path, server):
    case = WarehouseCase(
        tmp_path, server.query, WAREHOUSE_URL="mssql://app:secret@stand-in/sluice", WAREHOUSE_LOADER="array"
    )
    case.loaded("full", 5, *(row(n) for n in range(30)))
    return case


@pytest.mark.parametrize(
    ("kind", "rows", "most", "outcomes"),
    [
        ("delta", [row(n, "Ida", 6) for n in range(20, 40)], 26, {"updated": 10, "inserted": 10, "read": 20}),
        ("delta", [row(n) for n in range(10)], 29, {"unchanged": 10, "read": 10}),
        ("full", [row(n) for n in range(30)], 26, {"unchanged": 30, "read": 30}),
    ],
    ids=["news", "nothing new", "full"],
)
def test_load_by_a_staging_table_takes_few_requests(case, server, kind, rows, most, outcomes):
    """From the first lock to the last table dropped, with one chunk of rows."""
    before = len(server.statements)

    run = case.loaded(kind, 6, *rows)

    assert outcomes == some(run)
    assert most >= len(server.statements) - before


def test_rows_are_compared_without_a_subquery_for_each(case, server):
    """Nothing says that SQL Server unnests one within CASE (docs/decisions/0031)."""
    before = len(server.statements)

    for number, kind in ((6, "full"), (7, "delta")):
        case.loaded(kind, number, *(row(n, "Ida", number) for n in range(30)))

    (full, delta) = [text for text in server.statements[before:] if text.startswith("INSERT INTO [#changes]")]
    assert "WITH (TABLOCK)" in full
    assert "[_sluice_print_" in full
    assert "[_sluice_print_" not in delta
    assert not [text for text in server.statements if "INTERSECT" in text or "EXISTS (SELECT [" in text]
