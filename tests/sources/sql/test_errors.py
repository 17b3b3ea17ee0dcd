"""What fails while a database is read, and how it is reported."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
import stamina

from shared.errors import ConfigError, TransientError
from shared.model import Feed, to_text
from shared.sources import Ceiling
from shared.sources.sql import database as session
from shared.sources.sql import open_source
from tests.servers.source_table import SourceTable, at, item, rows_of, window, with_database

pytestmark = pytest.mark.usefixtures("in_a_hurry")


@pytest.fixture(params=["private_mariadb", "private_postgres"])
def private_table(request):
    """A database on a server that may be killed."""
    server = request.getfixturevalue(request.param)
    return SourceTable(server, server.create_database())


def ids(found):
    return [row["Id"] for row in found]


def test_a_slice_whose_server_dies_can_be_read_again(private_table):
    """A TransientError, and the same slice from its start once the server is back."""
    private_table.create(item(), *({"Id": n, "At": at(n)} for n in range(4)))
    source = private_table.source(batch_rows=2)
    (part,) = source.describe(window(source)).slices
    reading = source.read(part)
    first = next(reading).num_rows
    private_table.server.kill()
    with pytest.raises(
        TransientError, match=r"refuses connections|is unavailable or busy|connection to .* was lost"
    ) as caught:
        next(reading)
    private_table.server.start()

    assert 2 == first
    assert [0, 1, 2, 3] == ids(rows_of(source, part))
    assert private_table.server.password not in f"{caught.value}{caught.value.__cause__}"


def test_a_connection_that_breaks_is_made_again(source_table, monkeypatch):
    """The retry is around each query."""
    source_table.create(item(), {"Id": 1, "At": at(1)})
    source = source_table.source()
    prepare, broken = session._prepare, iter([True])

    def breaking(raw, statements):
        if next(broken, False):
            (raw._sock if source_table.is_mariadb else raw).close()
        prepare(raw, statements)

    monkeypatch.setattr(session, "_prepare", breaking)
    with stamina.set_testing(True, attempts=2):
        assert Ceiling(to_text(at(1)), more=False) == source.ceiling(None)


def test_no_connection_stays_open(source_table):
    """Not even while pages are read."""
    source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(4)))
    source = source_table.source(batch_rows=1)
    (part,) = source.describe(window(source)).slices
    reading = source.read(part)
    next(reading)
    connections = (
        "information_schema.processlist WHERE db = :name"
        if source_table.is_mariadb
        else "pg_stat_activity WHERE datname = :name AND application_name = 'sluice'"
    )
    with source_table.engine.connect() as connection:
        counting = sa.text(f"SELECT count(*) FROM {connections}")
        found = connection.execute(counting, {"name": source_table.database}).scalar_one()

    assert (1 if source_table.is_mariadb else 0) == found  # the one that counts


def test_nothing_can_be_written(source_table):
    """A session only reads."""
    source_table.create(item())
    source = source_table.source()

    with pytest.raises(sa.exc.DBAPIError, match=r"(?i)read.only"):
        source._database.do(lambda connection: connection.execute(sa.text("DELETE FROM item")))


def refused(url, feed=None):
    feed = feed or Feed(system="shop", table="item", source="sql", keys=("Id",), cursor="At")
    with pytest.raises(ConfigError) as caught:
        open_source(feed, with_database(url)).ceiling(None)
    assert "\n" not in str(caught.value)
    return f"{caught.value} / {caught.value.__cause__}"


def test_a_wrong_password_is_refused_in_one_line(source_table):
    """It says which setting to look at, and no secret."""
    url = source_table.url.replace(source_table.url.partition("@")[0].rpartition(":")[2], "Sesame-1")

    message = refused(url)

    assert "SHOP_DATABASE_URL" in message
    assert "Sesame-1" not in message


def test_a_database_that_does_not_exist_is_refused(source_table):
    """Its name is in the setting."""
    assert "SHOP_DATABASE_URL" in refused(source_table.server.url("nowhere"))


def test_a_table_or_column_that_does_not_exist_is_named(source_table):
    """The catalog has to be corrected, not the source."""
    absent = refused(source_table.url)
    source_table.create(item())
    feed = Feed(system="shop", table="item", source="sql", keys=("Id", "Other"), cursor="Then")

    assert "item is not in the database of SHOP_DATABASE_URL" in absent
    assert "column 'Other', 'Then' of" in refused(source_table.url, feed)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, "no value for SHOP_DATABASE_URL"),
        ("", "no value for SHOP_DATABASE_URL"),
        ("oracle://me:Sesame-1@host/db", "SHOP_DATABASE_URL starts with oracle://"),
        ("Sesame-1", "SHOP_DATABASE_URL is no URL"),
        ("mysql://me:Sesame-1@host", "names no host or no database"),
        ("postgresql://me:Sesame-1@host:Sesame-1/db", "names no host or no database"),
        ("postgresql://me:Sesame-1@host/db?password=Sesame-1", "unknown options: 'password'"),
        ("mysql://me:Sesame-1@127.0.0.1.invalid/db", "there is no host"),
        ("postgresql://me:Sesame-1@127.0.0.1.invalid/db", "there is no host"),
    ],
)
def test_a_wrong_url_is_refused_without_its_secret(url, problem):
    """Whatever is wrong with it."""
    message = refused(url)

    assert problem in message
    assert "Sesame-1" not in message
