"""SQL Server as a source: what is sent, by Microsoft's parser, and what is made of the values that pyodbc delivers."""

from __future__ import annotations

import datetime as dt

from decimal import Decimal

import pyarrow as pa
import pytest
import stamina

from shared.errors import ConfigError, DataError, TransientError
from shared.model import Feed, Unit, Window, to_text
from shared.mssql import odbc
from shared.sources import Ceiling
from shared.sources.sql import open_source
from tests.servers.source_table import SourceTable, at, item, rows, with_database
from tests.standins.tsql import errors
from tests.standins.tsql.engine import Server

pytestmark = pytest.mark.usefixtures("in_a_hurry")

KINDS = {
    "bigint": ("bigint", 19, 0), "int": ("int", 10, 0), "smallint": ("smallint", 5, 0), "tinyint": ("tinyint", 3, 0),
    "bit": ("bit", None, None), "decimal": ("decimal", 38, 10), "numeric": ("numeric", 9, 2),
    "money": ("money", 19, 4), "smallmoney": ("smallmoney", 10, 4), "float": ("float", 53, None),
    "real": ("real", 24, None), "timestamp": ("timestamp", None, None),
    **{
        name: (name, None, None)
        for name in (
            "date", "time", "datetime", "smalldatetime", "datetime2", "datetimeoffset", "char", "varchar", "nchar",
            "nvarchar", "text", "ntext", "binary", "varbinary", "image", "uniqueidentifier", "xml", "sql_variant",
            "hierarchyid", "geography", "geometry", "json", "vector",
        )
    },
}  # fmt: skip
"""What INFORMATION_SCHEMA says of a column of each type: DATA_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE."""
NOW = "2026-11-27 10:00:00.000000"


class Scripted:
    """The module pyodbc, of a server with one table whose columns are given, and what it answers."""

    version, paramstyle, pooling, SQL_CHAR, SQL_WCHAR = "5.5.0", "qmark", False, 1, -8
    STRING, NUMBER, DATETIME, BINARY, Binary = str, float, object(), bytes, bytes
    Error = errors.Error
    ProgrammingError, OperationalError = errors.ProgrammingError, errors.OperationalError

    def __init__(self, columns, *answers):
        self.columns, self.answers = columns, list(answers)
        self.sent: list[tuple[str, tuple]] = []
        self.connections: list[Scripted] = []
        self.description, self.timeout, self.autocommit = None, 0, True
        self.text, self.options, self.decoding = "", {}, {}

    def __getattr__(self, name):
        return getattr(errors, name)

    def drivers(self):
        return ["ODBC Driver 18 for SQL Server"]

    def connect(self, text, **options):
        self.text, self.options = text, options
        return self

    def setdecoding(self, kind, **options):
        self.decoding[kind] = options

    def add_output_converter(self, *_):
        """SQLAlchemy wants one for datetimeoffset, which is not selected as such."""

    def cursor(self):
        return self

    Cursor = Server  # SQLAlchemy looks for nextset in it

    def execute(self, text, parameters=()):
        self.sent.append((text, tuple(parameters)))
        self._rows = self._answer(text)
        width = len(self._rows[0]) if self._rows else max(1, text.partition("FROM")[0].count("[item].["))
        self.description = [(f"c{n}", str, None, None, None, None, True) for n in range(width)]

    def _answer(self, text):
        if "INFORMATION_SCHEMA.COLUMNS" in text:
            return [("item", name, *kind, "YES" if n else "NO") for n, (name, kind) in enumerate(self.columns.items())]
        if "sys.indexes" in text:
            return [("item", "PK", next(iter(self.columns)))]
        if "ProductVersion" in text:
            return [("16.0.1000.6",)]
        if "count(" in text:
            return [(3,)]
        where_slices_end = "OFFSET" in text and not text.startswith("SELECT (")
        return self.answers.pop(0) if self.answers and "[item]" in text and not where_slices_end else []

    def fetchall(self):
        found, self._rows = self._rows, []
        return found

    def fetchone(self):
        return self._rows.pop(0) if self._rows else None

    def close(self):
        pass

    commit = rollback = close

    @property
    def queries(self):
        """What was sent to read the table."""
        return [(text, parameters) for text, parameters in self.sent if "[item]" in text]


@pytest.fixture
def scripted(monkeypatch):
    """Makes the source of a table that a scripted server has."""

    def make(columns, *answers, keys=("Id",), cursor="At", **options):
        module = Scripted(columns, *answers)
        monkeypatch.setattr(odbc, "load_pyodbc", lambda: module)
        feed = Feed(system="shop", table="item", source="sql", keys=tuple(keys), cursor=cursor, **options)
        return module, open_source(feed, with_database("mssql://app:Sesame-1@db.test/sales", batch_rows=2))

    return make


@pytest.fixture
def table(sqlserver):
    """A database of the stand-in."""
    return SourceTable(sqlserver, sqlserver.create_database())


# -- what is sent


@pytest.mark.parametrize("kind", [name for name in KINDS if name not in ("xml", "json", "vector", "text", "image")])
def test_statements_of_every_type_are_tsql(scripted, tsql_problems, kind):
    """As key, and, where it has an order, as cursor: the end of a window, its slices, its pages."""
    module, source = scripted(
        {"Id": KINDS["int"], "k": KINDS[kind]}, [(None, None, NOW)], keys=("k", "Id"), cursor="Id"
    )
    source.ceiling(None)
    unit = Unit(kind="window", window=Window("1", "9"))
    part = source.describe(unit).slices[0]
    text = {"timestamp": "12", "bit": "True", "decimal": "1.5", "tinyint": "3"}.get(kind, "00")
    detail = {**part.detail, "after": ("5", text), "until": ("8", None)}
    list(source.read(part.__class__(0, 0, 0, "item", 0, detail)))

    assert 3 <= len(module.queries)
    assert [] == [problem for statement, _ in module.sent for problem in tsql_problems(statement)]


def test_statements_that_read_every_type_are_tsql(scripted, tsql_problems):
    """All columns of a page."""
    module, source = scripted({"Id": KINDS["int"], **{f"c {name}": kind for name, kind in KINDS.items()}}, cursor=None)
    (part,) = source.describe(Unit(kind="full")).slices
    list(source.read(part))

    assert [] == [problem for statement, _ in module.sent for problem in tsql_problems(statement)]
    assert all(name in module.queries[-1][0] for name in ("STAsText()", "sql_variant_property", "switchoffset"))


def test_a_session_has_time_outs_and_reads_text_as_unicode(scripted):
    """It waits neither for a statement nor for a lock for ever, and is the one that a deadlock ends."""
    module, source = scripted({"Id": KINDS["int"], "At": KINDS["datetime2"]}, [(None, None, NOW)])

    assert source.ceiling(None) is None
    assert 300 == module.timeout
    assert {module.SQL_CHAR: {"encoding": "utf-16le", "ctype": module.SQL_WCHAR}} == module.decoding
    assert any("SET LOCK_TIMEOUT 60000; SET DEADLOCK_PRIORITY LOW" in text for text, _ in module.sent)


def test_sign_ins_are_those_of_the_warehouse(scripted, monkeypatch):
    """A password in the connection string, or the token of an identity before connecting."""
    empty = [(None, None, NOW)]
    module, source = scripted({"Id": KINDS["int"], "At": KINDS["int"]}, empty, empty)
    source.ceiling(None)
    by_password = module.text
    monkeypatch.setattr(odbc, "token", lambda where: f"token of {where.sign_in}")
    url = "mssql://db.test:1434/sales?authentication=ActiveDirectoryMsi&schema=dbo"
    open_source(Feed(system="shop", table="item", source="sql", keys=("Id",), cursor="At"), with_database(url)).newest()

    assert "UID={app};PWD={Sesame-1}" in by_password
    assert "Server=tcp:db.test,1434;Database={sales};Encrypt=yes" in module.text
    assert odbc.packed("token of ActiveDirectoryMsi") == module.options["attrs_before"]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mssql://me:Sesame-1@host/db?encrypt=no", "SHOP_DATABASE_URL turns encryption off"),
        ("mssql://me:Sesame-1@host/db?sslmode=require", "SHOP_DATABASE_URL has option sslmode"),
        ("mssql://me:Sesame-1@host/db?authentication=Kerberos", "SHOP_DATABASE_URL has unknown authentication"),
        ("mssql://me:Sesame-1@host", "SHOP_DATABASE_URL names no host or no database"),
    ],
)
def test_urls_that_cannot_be_used_are_refused(sqlserver, url, problem):
    """Nothing is connected to, and no password is shown."""
    with pytest.raises(ConfigError) as caught:
        open_source(Feed(system="shop", table="item", source="sql", keys=("Id",)), with_database(url))

    assert problem in str(caught.value)
    assert "Sesame-1" not in str(caught.value)


# -- what comes back


def test_every_type_is_read(scripted):
    """As pyodbc delivers what is selected: temporal values as text, money as Decimal, a rowversion as its number."""
    values = {
        "bigint": 2**63 - 1, "int": -(2**31), "smallint": -(2**15), "tinyint": 255, "bit": True,
        "decimal": Decimal("1234567890123456789012345678.0123456789"), "numeric": Decimal("1.50"),
        "money": Decimal("-922337203685477.5808"), "smallmoney": Decimal("214748.3647"), "float": 0.1, "real": 0.5,
        "timestamp": 2001, "date": "0001-01-01", "time": "23:59:59.9999999", "datetime": "2026-02-24 12:00:00.0033333",
        "smalldatetime": "2026-02-24 12:00:00.0000000", "datetime2": "9999-12-31 23:59:59.9999999",
        "datetimeoffset": "2026-02-24 10:00:00.1234567", "varchar": "é", "nvarchar": "😀", "char": "a  ",
        "varbinary": b"\x00\xff", "uniqueidentifier": "6f9619ff-8b86-d011-b42d-00c04fc964ff", "xml": "<a/>",
        "sql_variant": "1.2345", "hierarchyid": "/1/2.1/", "geography": "POINT (-122.36 47.656)", "json": '{"a":1}',
    }  # fmt: skip
    columns = {"Id": KINDS["int"], **{name: KINDS[name] for name in values}}
    _, source = scripted(columns, [(1, *values.values())], cursor=None)
    described = source.describe(Unit(kind="full"))
    (row,) = [row for part in described.slices for batch in source.read(part) for row in batch.to_pylist()]
    types = {field.name: str(field.type) for field in described.schemas["sales.item"] if field.type != pa.string()}

    assert types == {
        "Id": "int32", "bigint": "int64", "int": "int32", "smallint": "int16", "tinyint": "uint8", "bit": "bool",
        "decimal": "decimal128(38, 10)", "numeric": "decimal128(9, 2)", "money": "decimal128(19, 4)",
        "smallmoney": "decimal128(10, 4)", "float": "double", "real": "float", "timestamp": "int64",
        "date": "date32[day]", "time": "time64[us]", "datetime": "timestamp[us]", "smalldatetime": "timestamp[us]",
        "datetime2": "timestamp[us]", "datetimeoffset": "timestamp[us, tz=UTC]", "varbinary": "binary",
    }  # fmt: skip
    assert row == {
        "Id": 1, **values, "date": dt.date(1, 1, 1), "smalldatetime": at(0),
        "datetime": at(0).replace(microsecond=3333), "datetime2": dt.datetime.max,  # noqa: DTZ901
        "datetimeoffset": dt.datetime(2026, 2, 24, 10, 0, 0, 123456, dt.UTC),
    }  # fmt: skip


def test_a_rowversion_is_a_cursor_by_its_number(scripted):
    """Up to what open transactions may still write under; bound as the eight bytes that an index has."""
    module, source = scripted({"Id": KINDS["int"], "At": KINDS["timestamp"]}, [(None, 10, NOW)], [(1, 9), (2, 10)])
    top = source.ceiling("9")
    (part,) = source.describe(Unit(kind="window", window=Window("9", top.value))).slices
    list(source.read(part))
    (ending, _), *_, (reading, parameters), _ = module.queries

    assert Ceiling("10", more=False) == top
    assert 2 == ending.count("[item].[At] < min_active_rowversion()")
    assert "[item].[At] >= convert(binary(8), convert(bigint, ?))" in reading
    assert (9, 10) == parameters[-2:]


def test_a_cursor_finer_than_microseconds_loses_no_row_at_its_ends(scripted):
    """Cursor text has six digits: the seventh is in the window that ends at it, and never again above it."""
    columns = {"Id": KINDS["int"], "At": KINDS["datetime2"]}
    module, source = scripted(columns, [(None, "2026-02-24 12:00:00.1234567", NOW)])
    top = source.ceiling("2026-02-24T11:00:00.000001")
    source.describe(Unit(kind="window", window=Window("2026-02-24T11:00:00.000001", top.value)))
    (ending, first), (_, second) = module.queries

    assert "2026-02-24T12:00:00.123456" == top.value
    assert "[item].[At] >= convert(datetime2(7), ?)" in ending
    assert "2026-02-24 11:00:00.000002" in first
    assert ("2026-02-24 11:00:00.000001", "2026-02-24 12:00:00.123457") == second[:2]


# -- on the stand-in


def test_types_are_read_from_the_stand_in(table):
    """With the conversions that are sent, as far as the stand-in has the types."""
    table.do(
        """CREATE TABLE item (Id int NOT NULL PRIMARY KEY, [At] datetime2(7), d date, t time(7), o datetimeoffset(7),
        dt datetime, n nvarchar(20), de decimal(10,2), b bit, f float, r real, ti tinyint, vb varbinary(9))""",
        """INSERT INTO item VALUES (1, '2026-02-24 12:00:00.123456', '2026-02-24', '23:59:59.999999',
        '2026-02-24 12:00:00+02:00', '2026-02-24 12:00:00', N'é', 1.50, 1, 0.5, 0.25, 255, 0x00FF)""",
        "INSERT INTO item (Id, [At]) VALUES (2, '2026-02-24 13:00:00')",
    )
    first, second = rows(table.source())

    assert first == {
        "Id": 1, "At": at(0).replace(microsecond=123456), "d": dt.date(2026, 2, 24), "t": "23:59:59.999999",
        "o": dt.datetime(2026, 2, 24, 10, tzinfo=dt.UTC), "dt": at(0), "n": "é", "de": Decimal("1.50"), "b": True,
        "f": 0.5, "r": 0.25, "ti": 255, "vb": b"\x00\xff",
    }  # fmt: skip
    assert {None} == {value for name, value in second.items() if name not in ("Id", "At")}


@pytest.mark.parametrize(
    ("number", "kind", "problem"),
    [
        (18456, ConfigError, "refuses to sign in"),
        (40615, ConfigError, "refuses to sign in"),
        (229, ConfigError, "has no right to read"),
        (208, ConfigError, "is not in the database of SHOP_DATABASE_URL"),
        (306, ConfigError, "cannot be sorted"),
        (40613, TransientError, "unavailable or busy"),
        (1205, TransientError, "unavailable or busy"),
        (1222, TransientError, "unavailable or busy"),
        (8115, DataError, "Correct that value"),
    ],
)
def test_errors_are_ours_by_their_numbers(table, number, kind, problem):
    """What somebody has to correct, and what passes."""
    table.create(item())
    source = table.source()
    table.server.databases[table.database].fail_next(r"\[item\]", number)
    with pytest.raises(kind, match=problem):
        source.ceiling(None)


def test_a_lost_connection_is_made_again(table):
    """And what asked for it, asks again."""
    table.create(item(), {"Id": 1, "At": at(1)})
    source = table.source()
    source.ceiling(None)
    table.server.databases[table.database].fail_next(r"\[item\]", 0, state="08S01")
    with stamina.set_testing(True, attempts=2):
        assert Ceiling(to_text(at(1)), more=False) == source.ceiling(None)


def test_names_are_found_whatever_their_case(table):
    """As the collation of a database has it: the table's own spelling is used from there on."""
    table.create(item(), {"Id": 1, "At": at(1)})

    assert [1] == [row["Id"] for row in rows(table.source("ITEM"))]
