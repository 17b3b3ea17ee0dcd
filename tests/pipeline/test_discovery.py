"""A database like that of Genius CRM: what is found in it is what the catalog declares."""

from __future__ import annotations

import pymysql
import pytest

from shared.catalog import PACKAGED, read
from shared.pipeline.discovery import proposed
from shared.settings import Settings, SystemSettings
from tests.servers import genius
from tests.servers.source_table import SourceTable

pytestmark = pytest.mark.usefixtures("in_a_hurry")


@pytest.fixture
def database(mariadb):
    name = mariadb.create_database()
    place = SourceTable(mariadb, name)
    with place.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert isinstance(raw, pymysql.Connection)
        with raw.cursor() as cursor:
            genius.create(cursor, prospects=20)
    yield place
    mariadb.drop_database(name)


def test_what_is_found_in_genius_is_what_the_catalog_declares(database):
    """Table by table: the key, and the cursor where there is one."""
    settings = Settings(systems={"GENIUS": SystemSettings(database_url=database.url)})
    catalog = read(PACKAGED)["genius"]
    declared = {feed.table: feed for feed in catalog.feeds() if catalog.is_pulled(feed.table)}

    found = {one.table: one for one in proposed("genius", {}, settings)}

    assert declared.keys() == found.keys()
    assert {name: feed.keys for name, feed in declared.items()} == {name: one.keys for name, one in found.items()}
    assert {name: feed.cursor for name, feed in declared.items() if feed.cursor} == {
        name: one.cursor for name, one in found.items() if declared[name].cursor
    }
    assert [] == proposed("genius", {"genius": catalog}, settings)
