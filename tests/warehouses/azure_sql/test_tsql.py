"""T-SQL that is written as text: whatever a name or a string holds, Microsoft's parser reads it back as that."""

from __future__ import annotations

import re

import pytest

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.warehouses.azure_sql import session, tsql
from shared.warehouses.azure_sql.setup_script import Setup, statements
from shared.warehouses.azure_sql.tsql import applock, bulk_insert, insert, name, run_unless_there, text
from tests.standins.tsql import parser, script
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_case import HOSTILE

ODD = (*HOSTILE, "]", "]]", "[", "'", "''", "N'", "\n", "\r\nGO\r\n", "\u2028", "é", "e\u0301", "🔑" * 64, "x" * 128,
       "%(Id_1)s", "__[POSTCOMPILE_Id_1]", "\x02", "\x020\x03", "\x0299\x03")  # fmt: skip
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
NAMES = st.text(CHARACTERS | st.sampled_from("[]'\"\n;-"), min_size=1, max_size=64)
TEXTS = st.text(CHARACTERS | st.sampled_from("[]'\"\n;-"), max_size=300)


def units(value):
    return len(value.encode("utf-16-le")) // 2


# -- names and strings


@FEW
@given(said=TEXTS, called=NAMES)
@example(said="it's; DROP TABLE x --", called="a]; DROP TABLE x --")
@example(said="\\'", called="]]")
def test_strings_and_names_are_read_back_as_they_are(tsql_problems, said, called):
    """By Microsoft's own parser, out of a statement that is still one."""
    assert [(said, called)] == parser.selected(f"SELECT {text(said)} AS {name(called)}")


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_odd_names_and_strings_are_read_back_as_they_are(tsql_problems, odd):
    """Those that one would try first."""
    assert [(odd, odd)] == parser.selected(f"SELECT {text(odd)} AS {name(odd)}")


@FEW
@given(NAMES, NAMES)
def test_parts_of_a_name_stay_apart(first, second):
    """Whatever dots and brackets are in them."""
    found = script.tokens(name(first, second))

    assert [first, ".", second] == [token.value for token in found]


@pytest.mark.parametrize("letter", ["x", "é", "中", "🔑"])
def test_names_have_up_to_128_units_of_utf16(tsql_problems, letter):
    """As the server counts them: a key counts twice."""
    longest = letter * (128 // units(letter))

    assert [] == tsql_problems(f"SELECT 1 AS {name(longest)}")
    with pytest.raises(ConfigError, match="Use 1 to 128 characters"):
        name(f"{longest}x")


@pytest.mark.parametrize("wrong", ["", "a\0b", "\0", "x" * 129, "🔑" * 65])
def test_what_is_no_name_is_refused(wrong):
    """Also as one part of several; the message is not as long as the name."""
    for parts in ((wrong,), ("s", wrong), (wrong, "t")):
        with pytest.raises(ConfigError, match="cannot be a name in SQL Server") as refused:
            name(*parts)
    assert len(str(refused.value)) < 250


def test_text_with_a_nul_is_refused():
    """The protocol takes it, the server ends the statement there."""
    with pytest.raises(ConfigError, match="NUL character"):
        text("a\0b")


# -- statements


BULK = (
    "BULK INSERT [staging].[s_1] FROM N's_1/0.csv' WITH (DATA_SOURCE = N'sluice_staging', FORMAT = 'CSV',"
    " CODEPAGE = 65001, FIELDTERMINATOR = ',', FIELDQUOTE = '\"', ROWTERMINATOR = '0x0a', KEEPNULLS, TABLOCK,"
    " MAXERRORS = 0)"
)


def test_bulk_insert_says_all_that_the_default_would_get_wrong(tsql_problems):
    """The code page without quotes, as the grammar of 2019 wants it; no row is dropped in silence."""
    assert BULK == bulk_insert("[staging].[s_1]", "s_1/0.csv", "sluice_staging")
    assert [] == tsql_problems(BULK)


@FEW
@given(NAMES, TEXTS, NAMES)
def test_bulk_insert_takes_any_name_of_blob_and_data_source(tsql_problems, table, blob, source):
    """They are literals: the statement has no parameters."""
    sql = bulk_insert(name("staging", table), blob, source)

    assert [] == tsql_problems(sql)
    strings = [token.value for token in script.tokens(sql) if token.kind == "string"]
    assert [blob, source, "CSV", ",", '"', "0x0a"] == strings


@FEW
@given(st.lists(NAMES, min_size=1, max_size=5))
@example(["a?", "[?]", "@b"])
def test_insert_has_one_mark_for_each_column(tsql_problems, columns):
    """The only form that the driver describes parameters of, and no name adds one."""
    sql = insert(name("s", "t"), columns)

    assert [] == tsql_problems(sql)
    tokens = script.tokens(sql)
    assert columns == [token.value for token in tokens if token.kind == "name"][2:]
    assert len(columns) == sum(token.text.startswith("@_p") for token in tokens)


@FEW
@given(TEXTS, st.integers(0, 3_600))
@example("r" * 256, 1)
def test_lock_is_requested_by_any_name(tsql_problems, resource, seconds):
    """Of 255 characters at most: the server would cut the rest off in silence."""
    sql = applock(resource, seconds)

    assert [] == tsql_problems(sql)
    strings = [token.value for token in script.tokens(sql) if token.kind == "string"]
    assert [resource[:255], "Exclusive", "Transaction"] == strings
    assert f"@LockTimeout = {seconds * 1000};" in sql


@FEW
@given(NAMES)
def test_statement_within_a_statement_is_read_back(tsql_problems, odd):
    """Quoted twice: as a name, and as a part of a string."""
    inner = f"CREATE SCHEMA {name(odd)}"
    sql = run_unless_there(f"SCHEMA_ID({text(odd)}) IS NULL", inner)

    assert [] == tsql_problems(sql) + tsql_problems(inner)
    assert [odd, inner] == [token.value for token in script.tokens(sql) if token.kind == "string"]


@pytest.mark.parametrize("sql", [tsql.begin(1.5), tsql.COMMIT, tsql.ROLLBACK])
def test_begin_and_end_of_a_transaction_are_tsql(tsql_problems, sql):
    """Times in milliseconds, without a fraction."""
    assert [] == tsql_problems(sql)


# -- names that SQLAlchemy does not get to see


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_compiled_statements_keep_odd_names(tsql_problems, odd):
    """In every place a name can have in a query, beside values that look like names."""
    import sqlalchemy as sa

    table = sa.Table("t", sa.MetaData(), sa.Column(odd, sa.Integer), sa.Column("x", sa.Text), schema="s")
    query = sa.select(table.c[odd]).where(table.c[odd].between(1, 2), table.c.x == odd).order_by(table.c[odd]).limit(3)

    sql, parameters = session.said(query)
    reported = session._NAMES.unmask(sql)

    assert [1, 2, odd] == list(parameters)
    assert [] == tsql_problems(reported)
    found = [token.value for token in script.tokens(reported) if token.kind == "name"]
    assert {"s", "t", "x", odd} == set(found)


# -- the setup script


SAS = "sv=2024-11-04&se=2027-01-01&sr=c&sp=rwdl&sig=abc%2Bdef%3D'quoted'"
PLAIN = Setup(location="https://acme.blob.core.windows.net/staging", data_source="sluice_staging", user="id-sluice",
              schemas=("coolr",))  # fmt: skip


def setups():
    for odd in ("it's", "a]b", 'a"b', "x]; DROP TABLE y; --", "'); DROP TABLE y; --", "Zürich 🔑", "%(Id_1)s"):
        yield Setup(location=PLAIN.location, data_source=odd, sas=SAS, user=odd, user_kind="login", schemas=(odd,))
        yield Setup(location="https://acme.blob.core.windows.net/it's", data_source=odd, user=odd, schemas=(odd,))
    yield from (PLAIN, Setup(location=None, data_source="x"), Setup(location=None, data_source="x", user="u"))


@pytest.mark.parametrize("setup", list(setups()), ids=lambda setup: ascii(setup.user))
def test_every_statement_of_the_setup_parses(tsql_problems, setup):
    """And so does every text that one of them runs, and what is printed instead of a secret."""
    for one in statements(setup):
        for sql in (one.sql, one.shown or one.sql):
            assert [] == tsql_problems(sql)
            for inner in inner_texts(sql):
                assert [] == tsql_problems(inner), inner


def inner_texts(sql):
    """What EXEC(...) within *sql* runs."""
    tokens = script.tokens(sql)
    return [tokens[n + 2].value for n, token in enumerate(tokens) if token.word == "EXEC" and tokens[n + 1].text == "("]


def inner(setup):
    """The statements of a setup as they run in the end."""
    return [sql for one in statements(setup) for sql in (inner_texts(one.sql) or [one.sql])]


def test_names_in_the_setup_are_those_that_were_given():
    """Schemas, data source, user: each as a whole, in every place."""
    odd = "x]'; DROP TABLE y; --"

    for sql in inner(Setup(location=PLAIN.location, data_source=odd, sas=SAS, user=odd, schemas=(odd,))):
        assert "DROP" not in [token.word for token in script.tokens(sql)][1:]


def test_managed_identity_has_no_secret_and_no_master_key():
    """Nothing to renew, and nothing to protect."""
    found = "\n".join(inner(PLAIN))

    assert "WITH IDENTITY = 'Managed Identity'" in found
    assert "SECRET" not in found
    assert "MASTER KEY" not in found


def test_sas_goes_in_whole_and_is_not_shown():
    """Without its question mark, quotes doubled; in its place the reader finds what to write."""
    setup = Setup(location=PLAIN.location, data_source="sluice_staging", sas=f"?{SAS}")

    (create,) = [sql for sql in inner(setup) if sql.startswith("CREATE DATABASE SCOPED CREDENTIAL")]
    assert SAS == [token.value for token in script.tokens(create) if token.kind == "string"][-1]
    assert "SHARED ACCESS SIGNATURE" in create
    printed = "".join(f"{one.purpose}{one.shown or one.sql}" for one in statements(setup))
    assert "abc" not in printed
    assert "<the SAS, without its ?>" in printed
    assert "CREATE MASTER KEY" in printed


def test_master_key_has_a_password_that_is_not_shown():
    """SQL Server makes none without; quotes are doubled, and the reader finds what to write."""
    setup = Setup(location=PLAIN.location, data_source="sluice_staging", sas=SAS, master_key_password="it's secret")

    (create,) = [sql for sql in inner(setup) if sql.startswith("CREATE MASTER KEY")]
    assert "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'it''s secret'" == create
    assert "secret" not in "".join(one.shown or one.sql for one in statements(setup) if "Master" in one.purpose)
    assert "secret" not in repr(setup)


def test_data_source_is_for_bulk_insert():
    """Of the only kind it reads from, without a slash at the end."""
    (create,) = [sql for sql in inner(PLAIN) if sql.startswith("CREATE EXTERNAL DATA SOURCE")]

    assert (
        "CREATE EXTERNAL DATA SOURCE [sluice_staging] WITH (TYPE = BLOB_STORAGE,"
        " LOCATION = 'https://acme.blob.core.windows.net/staging', CREDENTIAL = [sluice_staging_credential])"
    ) == create


@pytest.mark.parametrize("location", ["http://127.0.0.1:10000/devstoreaccount1/staging", "abs://staging@acme", ""])
def test_container_without_https_is_refused(location):
    """The server reads from no other, so it is no use to let the script run."""
    with pytest.raises(ConfigError, match="https address"):
        statements(Setup(location=location, data_source="x"))


@pytest.mark.parametrize("part", ["data_source", "user", "sas", "location"])
@pytest.mark.parametrize("odd", ["x\nGO\nDROP DATABASE y", "x\u2028y", "x\ry", "x\0y", "x\n"])
def test_what_would_break_the_printed_script_is_refused(part, odd):
    """A comment ends at a line break, and sqlcmd ends a batch at GO even within a string."""
    reported = {"location": PLAIN.location, "data_source": "d", "user": "u", part: odd}

    with pytest.raises(ConfigError, match="control character"):
        statements(Setup(**reported))


def test_rights_are_no_more_than_a_load_needs():
    """Own schemas alone; no role, no CONTROL, nothing that reaches other tables."""
    grants = [sql for sql in inner(PLAIN) if sql.startswith("GRANT")]

    assert [
        "GRANT CREATE TABLE TO [id-sluice]",
        "GRANT CREATE VIEW TO [id-sluice]",
        "GRANT CREATE SCHEMA TO [id-sluice]",
        "GRANT VIEW DATABASE STATE TO [id-sluice]",
        "GRANT ADMINISTER DATABASE BULK OPERATIONS TO [id-sluice]",
        *(
            f"GRANT SELECT, INSERT, UPDATE, DELETE, ALTER, REFERENCES ON SCHEMA::[{schema}] TO [id-sluice]"
            for schema in ("ingest", "staging", "coolr")
        ),
        "GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::[sluice_staging_credential] TO [id-sluice]",
    ] == grants


def test_without_a_container_nothing_is_said_of_one():
    """Nor is the right to bulk loads given."""
    found = "\n".join(inner(Setup(location=None, data_source="d", user="u")))

    assert not re.search("EXTERNAL DATA|CREDENTIAL|BULK", found)


@pytest.mark.parametrize(("kind", "reported"), [("external", "FROM EXTERNAL PROVIDER"), ("login", "FOR LOGIN [a]]b]")])
def test_user_is_an_entra_identity_or_of_a_login(kind, reported):
    """By the name that was given."""
    assert f"CREATE USER [a]]b] {reported}" in inner(Setup(location=None, data_source="d", user="a]b", user_kind=kind))


@pytest.mark.parametrize("sas", [None, SAS])
def test_setup_may_run_again(sas):
    """Nothing is there twice, and what has changed is changed."""
    server = Server()
    connection = server.connect(autocommit=True)
    first = Setup(location=PLAIN.location, data_source="sluice_staging", sas=sas, user="u", schemas=("coolr",))
    moved = Setup(location="https://acme.blob.core.windows.net/other", data_source="sluice_staging", sas=sas)

    for setup in (first, first, moved, moved):
        for one in statements(setup):
            connection.execute(one.sql)

    assert [moved.location] == [source["location"] for source in server.external_data_sources]
    identity = "Managed Identity" if sas is None else "SHARED ACCESS SIGNATURE"
    assert [identity] == [known["credential_identity"] for known in server.database_scoped_credentials]
    assert (0 if sas is None else 1) == len(server.symmetric_keys)
    connection.close()
