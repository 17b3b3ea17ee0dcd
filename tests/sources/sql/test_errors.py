"""What fails while a database is read, and how it is reported."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
import stamina

from shared.errors import ConfigError, TransientError
from shared.model import Feed, to_text
from shared.sources import Ceiling
from shared.sources.sql import mysql, open_source, open_sources, postgres
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
    private_table.create(item(), *({"Id": n, "At": at(n)} for n in range(10)))
    source = private_table.source(batch_rows=2)
    (part,) = source.describe(window(source)).slices
    reading = source.read(part)
    first = next(reading).num_rows
    private_table.server.kill()
    with pytest.raises(
        TransientError, match=r"refuses connections|is unavailable or busy|connection to .* was lost"
    ) as caught:
        list(reading)  # the page after the first may have been read ahead already, those after it were not
    private_table.server.start()

    assert 2 == first
    assert list(range(10)) == ids(rows_of(source, part))
    assert private_table.server.password not in f"{caught.value}{caught.value.__cause__}"


def test_a_connection_that_breaks_is_made_again(source_table, monkeypatch):
    """The retry is around each query."""
    source_table.create(item(), {"Id": 1, "At": at(1)})
    source = source_table.source()
    dialect = mysql if source_table.is_mariadb else postgres
    prepare, broken = dialect.prepare, iter([True])

    def breaking(raw):
        if next(broken, False):
            (raw._sock if source_table.is_mariadb else raw).close()
        prepare(raw)

    monkeypatch.setattr(dialect, "prepare", breaking)
    with stamina.set_testing(True, attempts=2):
        assert Ceiling(to_text(at(1)), more=False) == source.ceiling(None)


def test_a_kept_connection_that_broke_is_replaced(source_table):
    """A server closes those that nobody used for long."""
    source_table.create(item(), {"Id": 1, "At": at(1)})
    source = source_table.source()
    source.ceiling(None)
    source_table.disconnect_others()
    with stamina.set_testing(True, attempts=2):
        assert Ceiling(to_text(at(1)), more=False) == source.ceiling(None)


def test_feeds_of_a_system_share_few_connections_that_close_closes(source_table):
    """However many read at once."""
    source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(4)))
    feed = Feed(system="shop", table="item", source="sql", keys=("Id",), cursor="At")
    sources = open_sources([feed] * 5, with_database(source_table.url, source_connections=2))
    with ThreadPoolExecutor(5) as threads:
        tops = [*threads.map(lambda source: source.ceiling(None), sources)]
    while_open = source_table.connections()
    sources[0].close()

    assert [Ceiling(to_text(at(3)), more=False)] * 5 == tops
    assert 1 <= while_open <= 2
    assert source_table.is_left_alone()


def test_no_connection_stays_open_that_nobody_closed(source_table):
    """It ends with the source."""
    source_table.create(item())
    source = source_table.source()
    source.ceiling(None)
    while_used = source_table.connections()
    del source

    assert 1 == while_used
    assert source_table.is_left_alone()


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
