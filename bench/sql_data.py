"""A table of 20 columns in MariaDB or PostgreSQL, as a CRM has one: keys, text, money, dates, and NULLs among them."""

from __future__ import annotations

from typing import Any

TABLE = "prospect"

_COLUMNS = (
    ("id", "bigint NOT NULL PRIMARY KEY", "{n}"),
    ("updated_at", "{moment} NOT NULL", "{start} + interval {n_seconds}"),
    ("created_at", "{moment} NOT NULL", "{start} + interval {n_seconds}"),
    ("first_name", "varchar(60)", "concat('Name', {n} % 9973)"),
    ("last_name", "varchar(60)", "concat('Sørensen ', {n} % 7919)"),
    ("email", "varchar(120)", "concat('someone.', {n}, '@example', {n} % 97, '.com')"),
    ("phone", "varchar(30)", "case when {n} % 5 = 0 then null else concat('+1 555 ', 1000000 + {n} % 8999999) end"),
    ("street", "varchar(200)", "concat({n} % 999, ' Elm Street, \"Apt\" ', {n} % 17)"),
    ("city", "varchar(80)", "concat('City ', {n} % 3001)"),
    ("zip", "char(5)", "right(concat('00000', {n} % 99999), 5)"),
    ("status", "smallint NOT NULL", "{n} % 7"),
    ("owner_id", "integer", "case when {n} % 11 = 0 then null else {n} % 500 end"),
    ("score", "double precision", "{n} / 7.0"),
    ("amount", "decimal(14,2)", "({n} % 1000000) / 100.0"),
    ("discount", "decimal(7,4)", "case when {n} % 3 = 0 then null else ({n} % 10000) / 10000.0 end"),
    ("is_active", "boolean NOT NULL", "{n} % 2 = 0"),
    ("birthday", "date", "{day} + interval {n_days}"),
    ("last_call", "{moment}", "case when {n} % 4 = 0 then null else {start} + interval {n_seconds} end"),
    ("source", "varchar(40)", "concat('campaign-', {n} % 211)"),
    ("note", "text", "case when {n} % 6 = 0 then '' else concat('line one of ', {n}, '\n', 'line two') end"),
)
_WORDS = {
    "mysql": {
        "moment": "datetime(6)", "start": "timestamp'2020-01-01 00:00:00.000001'", "day": "date'1950-01-01'",
        "n": "seq",
        "n_seconds": "seq second", "n_days": "seq % 20000 day",
    },
    "postgresql": {
        "moment": "timestamp(6)", "start": "timestamp'2020-01-01 00:00:00.000001'", "day": "date'1950-01-01'", "n": "n",
        "n_seconds": "'1 second' * n", "n_days": "'1 day' * (n % 20000)",
    },
}  # fmt: skip


def statements(dialect: str, rows: int) -> list[str]:
    """What makes the table and its index on the cursor, on ``mysql`` (MariaDB) or ``postgresql``."""
    words = _WORDS[dialect]
    columns = ", ".join(f"{name} {kind.format(**words)}" for name, kind, _ in _COLUMNS)
    values = ", ".join(value.format(**words) for _, _, value in _COLUMNS)
    numbers = f"seq_1_to_{rows}" if dialect == "mysql" else f"generate_series(1, {rows}) AS numbers(n)"
    analyze = f"ANALYZE TABLE {TABLE}" if dialect == "mysql" else f"VACUUM ANALYZE {TABLE}"
    return [
        f"CREATE TABLE {TABLE} ({columns})",
        f"INSERT INTO {TABLE} SELECT {values} FROM {numbers}",
        f"CREATE INDEX {TABLE}_updated ON {TABLE} (updated_at, id)",
        analyze,
    ]


def fill(connection: Any, dialect: str, rows: int) -> None:
    """Make the table over a connection of pymysql or psycopg that commits by itself."""
    with connection.cursor() as cursor:
        for statement in statements(dialect, rows):
            cursor.execute(statement)
