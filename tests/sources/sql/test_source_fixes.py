"""What errors of databases advise, followed to the letter: then the rows are read."""

from __future__ import annotations

from dataclasses import replace

import pymysql
import pytest
import sqlalchemy as sa

from shared.errors import TransientError
from shared.model import Feed, Unit
from shared.pipeline import sync as syncing
from shared.pipeline.sync import SyncOptions
from shared.settings import Settings
from shared.sources import open_pull_source
from shared.sources.sql import mysql, open_source
from tests.advice import advised, advises, follows
from tests.exports import Clock, open_test_app
from tests.servers.source_table import SourceTable, at, item, rows, window, with_database

pytestmark = pytest.mark.usefixtures("in_a_hurry")


@pytest.fixture
def data(mariadb, mariadb_database):
    """Table ``item`` with one row."""
    found = SourceTable(mariadb, mariadb_database)
    found.create(
        item(sa.Column("Size", sa.Float), sa.Column("Name", sa.String(9))), {"Id": 1, "At": at(1), "Size": 1.5}
    )
    return found


def feed(**options):
    return Feed(**{"system": "shop", "table": "item", "source": "sql", "keys": ("Id",), "cursor": "At", **options})


def read(url, batch_rows=100, **options):
    """The keys of all rows, as a sync reads them."""
    source = open_source(feed(**options), with_database(url, batch_rows=batch_rows))
    unit = window(source) if options.get("cursor", "At") else Unit(kind="full", complete=True)
    return [row["Id"] for row in rows(source, unit)]


def test_the_setting_is_set(data):
    with advised("Set it to {}://user:password@host/database") as advice:
        read(None)

    assert "mysql" in advice.values[0].split("://... or ")
    assert [1] == read(data.url)


def test_the_url_is_written_as_it_should_be(data):
    with advised("Write {}") as advice:
        read("mysql://127.0.0.1")

    form = advice.values[0].removesuffix(", with special characters percent-encoded")
    place = sa.make_url(data.url)
    url = form.replace("user", str(place.username)).replace("password", data.url.split(":")[2].split("@")[0])
    assert [1] == read(
        url.replace("host", "127.0.0.1").replace("port", str(place.port)).replace("database", data.database)
    )


def test_only_known_options_are_used(data):
    with advised("Use only schema, {}"):
        read(f"{data.url}?shema={data.database}")

    assert [1] == read(f"{data.url}?schema={data.database}")


def test_user_and_password_are_checked(data):
    with advised("Check user, password and database in {}, and that the server allows this machine") as advice:
        read(data.url.replace("sluice:", "slice:"))

    assert ("SHOP_DATABASE_URL",) == advice.values
    assert [1] == read(data.url)


def test_the_name_of_the_host_is_checked(data):
    with advised("Check {}, and this machine's DNS") as advice:
        read(data.url.replace("127.0.0.1", "no-such-host.invalid"))

    assert ("SHOP_DATABASE_URL",) == advice.values
    assert [1] == read(data.url)


def test_the_right_to_read_is_granted(data, mariadb):
    def run(statement):
        with mariadb.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    run("CREATE OR REPLACE USER reader@'%' IDENTIFIED BY 'secret'")
    run(f"GRANT INSERT ON {data.database}.item TO reader@'%'")
    url = f"mysql://reader:secret@127.0.0.1:{mariadb.port}/{data.database}"
    with advised("Grant it SELECT"):
        read(url)
    run(f"GRANT SELECT ON {data.database}.item TO reader@'%'")

    assert [1] == read(url)


@pytest.mark.parametrize(
    ("advice", "wrong", "right"),
    [
        follows(
            "Check the feed in the catalog, the database and ?schema= in that setting, and the user's rights",
            {"table": "itm"}, {"table": "item"},
        ),
        follows(
            "Check the feed in the catalog, the database and ?schema= in that setting, and the user's rights",
            {"keys": ("Idd",)}, {"keys": ("Id",)}, id="column",
        ),
        follows(
            "Choose a cursor that is an instant, a date or a number, and do not change its type in the catalog",
            {"cursor": "At", "types": {"At": "text"}}, {"cursor": "At"},
        ),
        follows("Choose a cursor_fallback of the same type", {"cursor_fallback": "Size"}, {}),
    ],
)  # fmt: skip
def test_the_feed_is_corrected(data, advice, wrong, right):
    with advised(advice):
        read(data.url, **wrong)

    assert [1] == read(data.url, **right)


def test_a_cursor_that_is_no_instant_is_corrected_at_the_source(data):
    with pymysql.connect(
        host="127.0.0.1", port=data.server.port, user=data.server.user, password=data.server.password,
        database=data.database, autocommit=True,
    ) as connection, connection.cursor() as cursor:  # fmt: skip
        cursor.execute("SET sql_mode = ''")
        cursor.execute("UPDATE item SET At = '2026-02-00'")
        with advised("Correct these rows at the source"):
            read(data.url)
        cursor.execute("UPDATE item SET At = '2026-02-01'")

    assert [1] == read(data.url)


def test_a_table_without_cursor_has_no_windows_but_can_be_read(data):
    source = open_source(feed(cursor=None), with_database(data.url))
    with advised("Sync it with --full"):
        source.ceiling(None)

    assert [1] == read(data.url, cursor=None)


def test_a_feed_of_files_is_not_pulled(data):
    with advised("Load its files, or choose one of {} as the source of system {} in the catalog") as advice:
        open_pull_source(feed(source="exports"), with_database(data.url))

    assert "sql" in advice.values[0].split(", ")
    assert open_pull_source(feed(source="sql"), with_database(data.url)).newest()


def test_a_server_that_is_away_is_started(private_mariadb):
    found = SourceTable(private_mariadb, private_mariadb.create_database())
    found.create(item(), {"Id": 1, "At": at(1)})
    source = found.source()
    private_mariadb.kill()
    with pytest.raises(TransientError) as caught:
        source.newest()
    private_mariadb.start()

    assert () == advises("Start it, or correct the port, and load again", caught.value.fix)
    assert source.newest()


PARTS = {"SHOP_DB_HOST": "127.0.0.1", "SHOP_DB_NAME": "shop", "SHOP_DB_USER": "me", "SHOP_DB_PASSWORD": "secret"}


def test_parts_of_a_url_are_completed():
    with advised("Set it too, or set {}_DATABASE_URL instead of the parts") as advice:
        Settings.from_env({name: value for name, value in PARTS.items() if name != "SHOP_DB_NAME"})

    assert ("SHOP",) == advice.values
    assert Settings.from_env(PARTS).system("shop").database_url
    assert Settings.from_env({"SHOP_DATABASE_URL": "mysql://me:secret@127.0.0.1/shop"}).system("shop").database_url


def test_either_the_url_or_its_parts_are_kept():
    url = {"SHOP_DATABASE_URL": "mysql://me:secret@127.0.0.1/shop"}
    with advised("Keep either the URL or the parts of one"):
        Settings.from_env({**PARTS, **url})

    assert Settings.from_env(PARTS).system("shop").database_url
    assert Settings.from_env(url).system("shop").database_url


@pytest.fixture
def documents(postgres, database):
    """A table of PostgreSQL with a column that has no order."""
    found = SourceTable(postgres, database)
    found.do(
        'CREATE TABLE item ("Id" integer, "Doc" json, "At" timestamp)',
        "INSERT INTO item VALUES (1, '{}', '2026-02-24')",
    )
    return found


def test_keys_that_can_be_sorted_are_chosen(documents):
    with advised("Choose other keys or another cursor"):
        read(documents.url, keys=("Doc",))

    assert [1] == read(documents.url, keys=("Id",))


def test_keys_that_are_no_fractions_are_chosen(data, monkeypatch):
    """Where a server prints fewer digits of a fraction than it compares: ours are read exactly, so it is made to."""
    exact = mysql.MySQL.column

    def printed(self, column, reflected):
        found = exact(self, column, reflected)
        return replace(found, selected=column, ordered=column) if reflected.kind == "float" else found

    monkeypatch.setattr(mysql.MySQL, "column", printed)
    data.do("UPDATE item SET Size = 0.1")
    with advised("Choose keys that are not fractions"):
        read(data.url, 1, keys=("Size",), cursor=None)

    assert [1] == read(data.url, 1, cursor=None)


def test_a_server_that_is_busy_is_read_later(data, mariadb):
    """It takes so many queries an hour and no more."""
    data.do(
        "CREATE OR REPLACE USER hurried@'%' IDENTIFIED BY 'secret' WITH MAX_QUERIES_PER_HOUR 1",
        f"GRANT SELECT ON {data.database}.* TO hurried@'%'",
    )
    url = f"mysql://hurried:secret@127.0.0.1:{mariadb.port}/{data.database}"
    with advised("Sync again later; if it lasts, check that the server of {} runs") as advice:
        read(url)
    assert ("SHOP_DATABASE_URL",) == advice.values

    data.do("ALTER USER hurried@'%' WITH MAX_QUERIES_PER_HOUR 0")
    assert [1] == read(url)


# -- of a sync


@pytest.fixture
def app(data, tmp_path):
    return _app(
        data, tmp_path, 'system = { name = "shop", source = "sql" }\n[tables]\nitem = { keys = ["Id"], cursor = "At" }'
    )


def _app(data, folder, entry):
    (folder / "catalog").mkdir(exist_ok=True)
    (folder / "catalog" / "shop.toml").write_text(entry)
    return open_test_app(folder, Clock(), CATALOG_PATH=str(folder / "catalog"), SHOP_DATABASE_URL=data.url)


def sync(app, system="shop", tables=(), **options):
    return [one.outcome for one in syncing.sync(app.runner, app.settings, system, tables, SyncOptions(**options))]


def test_a_table_that_is_there_is_chosen(app):
    with advised("Choose of {}") as advice:
        sync(app, tables=["thing"])

    assert ["done"] == sync(app, tables=advice.values[0].split(", "))


def test_a_system_that_can_be_synced_is_declared(app, data, tmp_path):
    other = _app(data, tmp_path, 'system = { name = "shop", source = "exports" }\n[tables]\nitem = { keys = ["Id"] }')
    with advised("Declare a system with source {} in the catalog") as advice:
        sync(other)

    assert '"sql"' in advice.values[0].split(" or ")
    declared = 'system = { name = "shop", source = "sql" }\n'
    assert ["done"] == sync(_app(data, tmp_path, f'{declared}[tables]\nitem = {{ keys = ["Id"], cursor = "At" }}'))


def test_since_is_written_as_the_cursor_is(app):
    sync(app)
    (failed,) = syncing.sync(app.runner, app.settings, "shop", [], SyncOptions(since="yesterday"))

    assert () == advises("Write a time such as 2026-02-24T12:00:00, or a number if the cursor is one", failed.reason)
    assert ["no news"] == sync(app, since="2026-02-24T12:00:00")
