"""Snowflake's engine on fakesnow, which translates its SQL to DuckDB's: nothing here is run on Snowflake."""

from __future__ import annotations

import pytest

from tests.suites.warehouse_suite import WarehouseSuite

pytest.importorskip("fakesnow", reason="fakesnow is not here: make snowflake installs it")

CANNOT = {
    "test_a_dry_run_keeps_no_version": "fakesnow does not list columns of temporary tables",
    "test_doctor_finds_nothing_wrong": "fakesnow does not know CURRENT_WAREHOUSE: see test_doctor.py",
    "test_column_may_be_called_anything": "fakesnow writes names of columns into SQL of its own without quotes",
    "test_values_come_through_to_the_bit[decimal of 38 digits]": "fakesnow stores NUMBER(38, 0) as a BIGINT",
}
"""What fakesnow cannot do, by test."""
INTEGERS = ("DECIMAL(5,0)", "DECIMAL(10,0)", "DECIMAL(19,0)")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")
class TestOnFakesnow(WarehouseSuite):
    """In an account of its own for each test."""

    longest_key = None

    @pytest.fixture(autouse=True)
    def _skipped_by_name(self, request):
        for name in (request.node.name, request.node.originalname):
            if name in CANNOT:
                pytest.skip(CANNOT[name])

    @pytest.fixture
    def account(self):
        from tests.warehouses.snowflake.fake_account import account

        with account() as fake:
            yield fake

    @pytest.fixture
    def database(self):
        from tests.warehouses.snowflake.fake_account import database

        return database()

    @pytest.fixture
    def settings(self, account, database):
        return {"WAREHOUSE_URL": f"snowflake://sluice:secret@fake/{database}?warehouse=W&role=R"}

    @pytest.fixture
    def query(self, account, database):
        """Asks DuckDB below: fakesnow gives a column that is asked for twice only once."""
        connection = account.duck_conn.cursor()

        def run(statement):
            connection.execute(f"USE {database}")
            found = connection.execute(statement)
            whole = {n for n, column in enumerate(found.description) if str(column[1]) in INTEGERS}
            return [
                tuple(int(value) if value is not None and n in whole else value for n, value in enumerate(row))
                for row in found.fetchall()
            ]

        yield run
        connection.close()
