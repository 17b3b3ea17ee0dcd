"""What Snowflake's engine says, in which order, each statement parsed by sqlglot. Nothing is run on Snowflake."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from sqlglot import exp

from shared.contract.conform import ROW
from shared.errors import DataError
from shared.model import Column
from shared.warehouses.merge import ddl, ingest
from shared.warehouses.merge.shape import staging as staging_table
from shared.warehouses.merge.shape import target
from shared.warehouses.merge.types import sql_type
from shared.warehouses.snowflake import sql, staging
from tests.warehouses.snowflake.scripted import FEED, KINDS, parsed

# -- statements


def test_changes_of_tables_are_repeatable_and_parsed(account, session):
    """Snowflake commits each by itself, so a crash may come between any two."""
    table = target(FEED, KINDS)
    ddl.create_schema(session, "shop")
    ddl.create_table(session, table)
    session.add_column(table, "New", "decimal(9,2)")
    session.hold(table, ["Id"])
    session.put_view("shop", "item_named", "SELECT 1", "sluice:1")

    assert [exp.Create, exp.Use, exp.Create, exp.Alter, exp.Create, exp.Create] == parsed(account)
    assert all("IF NOT EXISTS" in text or "OR REPLACE" in text or "USE" in text for text in account.statements)
    assert 'USE SCHEMA "PUBLIC"' == account.statements[1]
    assert "COPY GRANTS" in account.statements[5]
    assert account.statements[4].startswith('CREATE VIEW IF NOT EXISTS "shop"."item_active"')


def test_nothing_is_committed_by_a_change_of_a_table(account, session):
    """Once a table that lasts has changed; scratch tables do not count."""
    scratch = session.scratch("changes", [sa.Column("Id", sa.Text)])
    session.change(sa.delete(scratch))
    assert "BEGIN" not in account.statements
    session.change(sa.delete(target(FEED, KINDS)))

    assert "BEGIN" == account.statements[-2]
    for change in (lambda: session.ddl("DROP VIEW x"), lambda: session.scratch("other", [])):
        with pytest.raises(AssertionError, match=r"commit|other"):
            change()


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        ("Amount", "bigint", 'ALTER TABLE "shop"."item" ALTER COLUMN "Amount" SET DATA TYPE NUMBER(19, 0)'),
        (
            "Amount", "decimal(12,2)",
            'CREATE OR REPLACE TABLE "shop"."item" COPY GRANTS AS SELECT "Id" AS "Id", CAST("Amount" AS NUMBER(12, 2))'
            ' AS "Amount", "DeletedAt" AS "DeletedAt" FROM "shop"."item"',
        ),
        ("Amount", "text", None),
        ("Id", "integer", None),
    ],
)  # fmt: skip
def test_type_changes_in_place_or_by_one_copy(account, session, column, kind, expected):
    """Only a number with as many decimals can get more digits."""
    table = target(FEED, {**KINDS, column: kind})

    session.change_type(table, table.c[column])

    assert parsed(account)[1:] == [exp.Alter if expected and "ALTER" in expected else exp.Create]
    assert expected is None or expected == account.statements[-1]


def test_column_is_replaced_in_one_statement(account, session):
    """In its place, by one whose values are complete."""
    account.answers.insert(0, ("SELECT COLUMN_NAME", [(one, "TEXT", None, None) for one in ("Id", "Name", "_text")]))

    session.replace_column(target(FEED, KINDS), "Id", "_text")

    made = 'CREATE OR REPLACE TABLE "shop"."item" COPY GRANTS AS SELECT "_text" AS "Id", "Name" AS "Name" FROM'
    assert f'{made} "shop"."item"' == account.statements[-1]


@pytest.mark.parametrize(
    "kind", ["smallint", "integer", "bigint", "double", "text", "boolean", "date", "time", "timestamp", "binary",
             "decimal(18,4)", "decimal(38,0)", "decimal(6,0)"],
)  # fmt: skip
def test_types_come_back_as_they_were_stored(kind):
    """From the words in which INFORMATION_SCHEMA has them."""
    made = sql_type(kind).compile(dialect=sql.DIALECT)
    name, _, rest = made.partition("(")
    digits = [int(one) for one in rest.rstrip(")").split(",")] if name == "NUMBER" else []

    assert kind == sql.column_type({"VARCHAR": "TEXT"}.get(name, name), *digits)


def test_decimals_differ_from_integers():
    """By one digit more; all other types come back as themselves, but a real."""
    assert "NUMBER(11, 0)" == sql_type("decimal(10,0)").compile(dialect=sql.DIALECT)
    assert "FLOAT" == sql_type("real").compile(dialect=sql.DIALECT)


def test_dry_run_touches_no_table_of_the_feed(account, session):
    """It works on temporary clones, which go at its end."""
    session.rehearse([("shop", "item"), ("shop", "item_versions")])
    table = target(FEED, KINDS)
    session.add_column(table, "New", "text")
    session.hold(table, ["Id"])
    session.change(sa.delete(table))
    session.change(sa.insert(ingest.VERSION).values(version=1))
    clones = [text for text in account.statements if "CLONE" in text]
    begun = account.statements.index("BEGIN")
    session.connection.rollback()
    session.end_rehearsal()

    assert 2 == len(clones)
    others = [text for text in account.statements if '"item"' in text and text not in clones]
    assert [] == others
    assert 'DELETE FROM "_sluice_dry_0"' in account.statements[:begun]
    assert ['DROP TABLE IF EXISTS "_sluice_dry_1"', 'DROP TABLE IF EXISTS "_sluice_dry_0"'] == account.statements[-2:]
    assert exp.Command not in parsed(account)


# -- staging


def batches(*numbers):
    return [pa.record_batch({ROW: pa.array([n], pa.int64()), "Id": [f"é{n}"]}) for n in numbers]


def test_rows_are_put_as_parquet_and_copied_by_name(account, monkeypatch):
    """A file for so many bytes, which is gone afterwards; the stage goes with the session, and by itself."""
    monkeypatch.setattr(staging, "PART_BYTES", 1)
    table = staging_table(FEED, [Column("Id", "Id", "text")], "s_1_0", "staging")

    loaded = staging.load(account.connection(), table, batches(1, 2))

    assert [exp.Create, exp.Create, exp.Put, exp.Put, exp.Copy, exp.Drop] == parsed(account)
    assert [[{ROW: 1, "Id": "é1"}], [{ROW: 2, "Id": "é2"}]] == [
        pq.read_table(io.BytesIO(file)).to_pylist() for file in account.files
    ]
    assert (2, sum(map(len, account.files))) == (loaded.rows, loaded.size)
    assert "MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE" in account.statements[4]


def test_no_rows_are_not_copied(account):
    """The table is there all the same, and the stage is dropped even if the source fails."""
    table = staging_table(FEED, [Column("Id", "Id", "text")], "s_1_0", "staging")
    assert 0 == staging.load(account.connection(), table, []).rows
    assert not [text for text in account.statements if text.startswith(("PUT", "COPY"))]

    def failing():
        yield batches(1)[0]
        raise DataError("broken", fix="Correct it")

    with pytest.raises(DataError, match="broken"):
        staging.load(account.connection(), table, failing())
    assert account.statements[-1].startswith("DROP STAGE")
