"""What the doctor finds in a database that is read, on real servers; what it proposes is done, and found right."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from shared.model import Feed, Finding
from shared.sources import examine_source
from shared.sources.sql.database import DIALECTS
from shared.sources.sql.facts import queries
from tests.advice import advises
from tests.servers.source_table import SourceTable, item, with_database

pytestmark = pytest.mark.usefixtures("in_a_hurry")

SHOP = "source shop"
MANY = 20_000


def feed(table: str = "item", **more: Any) -> Feed:
    return Feed(**{"system": "shop", "table": table, "source": "sql", "keys": ("Id",), "cursor": "At", **more})


def found(
    source: SourceTable, *feeds: Feed, ahead: float = 0.0, rate: float | None = None, url: str | None = None
) -> dict[str, Finding]:
    """By check; *ahead* is how many seconds our clock is ahead."""

    def now() -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=ahead)

    findings = examine_source(feeds or (feed(),), with_database(url or source.url), now, lambda _: rate)
    return {one.check: one for one in findings}


def filled(source: SourceTable, table: sa.Table) -> sa.Table:
    """*table* with many rows, which the server has counted."""
    start = dt.datetime(2026, 2, 24)  # noqa: DTZ001 - naive UTC, as the column is
    rows = [{"Id": n, "At": start + dt.timedelta(seconds=n)} for n in range(MANY)]
    source.create(table, *rows)
    analyzed(source)
    return table


def analyzed(source: SourceTable) -> None:
    source.do(f"ANALYZE TABLE {quoted(source, 'item')}" if source.is_mariadb else 'ANALYZE "item"')


def quoted(source: SourceTable, name: str) -> str:
    return source.engine.dialect.identifier_preparer.quote_identifier(name)


@contextmanager
def user(source: SourceTable, *rights: str) -> Iterator[str]:
    """The URL of a user with these rights on table item."""
    name = f"u_{source.database}"[:30]
    on = quoted(source, "item")
    if source.is_mariadb:
        source.do(f"CREATE USER {name}@'%' IDENTIFIED BY 'secret'")
        grants = [f"GRANT {right} ON {quoted(source, source.database)}.{on} TO {name}@'%'" for right in rights]
        gone = [f"DROP USER {name}@'%'"]
    else:
        source.do(f"CREATE USER {name} PASSWORD 'secret'")
        grants = [f"GRANT {right} ON {on} TO {name}" for right in rights]
        gone = [f"DROP OWNED BY {name}", f"DROP USER {name}"]
    try:
        source.do(*grants)
        yield sa.make_url(source.url).set(username=name, password="secret").render_as_string(hide_password=False)
    finally:
        source.do(*gone)


def test_sound_table_is_described_by_the_statistics_of_its_server(source_table):
    """Not by counting; a full takes as long as runs so far show."""
    table = filled(source_table, item())
    source_table.do(sa.schema.CreateIndex(sa.Index("by_at", table.c.At, table.c.Id)))
    source_table.do(sa.text(f"ALTER TABLE {quoted(source_table, 'item')} {not_null(source_table)}"))
    analyzed(source_table)

    checks = found(source_table, rate=1_000.0)

    assert [SHOP, f"{SHOP}: clock", f"{SHOP}: rights", f"{SHOP}: time zone", "source shop.item"] == list(checks)
    about = checks["source shop.item"]
    assert "ok" == about.status, about
    assert ("about ", " rows, ", "0 s, as runs so far did") == (
        about.message[:6], about.message[6:][about.message[6:].index(" rows"):][:7], about.message[-23:]
    )  # fmt: skip
    assert MANY * 0.8 < int(about.message[6:].partition(" ")[0].replace(",", "")) < MANY * 1.2
    assert " MB: a full takes about" in about.message
    assert checks[SHOP].message.startswith("version 1")


def not_null(source: SourceTable) -> str:
    name = quoted(source, "At")
    return f"MODIFY {name} DATETIME(6) NOT NULL" if source.is_mariadb else f"ALTER {name} SET NOT NULL"


def test_missing_index_on_the_cursor_is_found_and_the_one_that_is_proposed_is_enough(source_table):
    table = filled(source_table, item())

    before = found(source_table)["source shop.item"]
    source_table.do(sa.schema.CreateIndex(sa.Index("by_id", table.c.Id, table.c.At)))
    other = found(source_table)["source shop.item"]
    source_table.do(sa.schema.CreateIndex(sa.Index("by_at", table.c.At, table.c.Id)))
    after = found(source_table)["source shop.item"]

    assert "warning" == before.status
    assert "no index begins with its cursor At" in before.message
    advice = advises("Create an index on {} ({}): each run sorts the table without it", before.fix)
    assert ("item", "At, Id") == advice
    assert "no index begins with its cursor At" in other.message
    assert "index" not in after.message + after.fix


def test_index_on_the_cursor_alone_is_enough_where_the_server_adds_the_key(source_table):
    """InnoDB does."""
    table = filled(source_table, item())
    source_table.do(sa.schema.CreateIndex(sa.Index("by_at", table.c.At)))

    message = found(source_table)["source shop.item"].message

    assert source_table.is_mariadb == ("its index on the cursor lacks the key" not in message)


def test_small_table_needs_no_index(source_table):
    source_table.create(item(), {"Id": 1, "At": dt.datetime(2026, 2, 24)})  # noqa: DTZ001 - naive UTC
    analyzed(source_table)

    assert "ok" == found(source_table)["source shop.item"].status


def test_rows_without_a_cursor_are_found_unless_another_column_stands_in(source_table):
    moment = sa.Column("Created", sa.DateTime())
    source_table.create(item(moment), {"Id": 1, "At": None})

    alone = found(source_table)["source shop.item"]
    stands_in = found(source_table, feed(cursor_fallback="Created"))["source shop.item"]

    assert ("warning", True) == (alone.status, "rows have no cursor At" in alone.message)
    advice = advises("Declare {} NOT NULL there, or name another column as cursor_fallback in the catalog", alone.fix)
    assert ("At",) == advice
    assert "cursor" not in stands_in.message


def test_right_to_write_is_warned_about_and_a_user_who_may_only_read_is_fine(source_table):
    """One who may not even read needs SELECT."""
    source_table.create(item())
    with user(source_table, "SELECT") as url:
        reader = found(source_table, url=url)
    with user(source_table, "SELECT", "INSERT", "DELETE") as url:
        writer = found(source_table, url=url)
    with user(source_table, "INSERT") as url:
        nobody = found(source_table, url=url)

    rights = f"{SHOP}: rights"
    assert ("ok", "the user may only read") == (reader[rights].status, reader[rights].message)
    assert ("warning", True) == (writer[rights].status, "item" in writer[rights].message)
    advises(
        "Give Sluice a user of its own with SELECT alone: it never writes there, and a leaked password could",
        writer[rights].fix,
    )
    assert ("failed", "Grant it SELECT") == (nobody["source shop.item"].status, nobody["source shop.item"].fix)


@pytest.mark.parametrize(("ahead", "status"), [(0.0, "ok"), (300.0, "warning"), (-300.0, "warning")])
def test_difference_of_the_clocks_is_measured(source_table, ahead, status):
    source_table.create(item())

    clock = found(source_table, ahead=ahead)[f"{SHOP}: clock"]

    assert status == clock.status
    assert ("behind" if ahead > 0 else "ahead of") in clock.message or not ahead
    if ahead:
        advises(
            "Let both be set by NTP: how far a table is behind, and how old it is, is reckoned between the two",
            clock.fix,
        )
    assert not ahead or 298 < float(clock.message.removeprefix("its clock is ").partition(" ")[0]) < 302


@pytest.mark.parametrize("fixed", ["the feed", "the server"])
def test_zone_of_the_server_is_compared_with_that_of_cursors_without_zone(private_source, fixed):
    """Until the catalog, or the server, says otherwise."""
    private_source.create(item())
    in_zone(private_source, "+02:00" if private_source.is_mariadb else "Europe/Amsterdam")
    wrong = found(private_source)[f"{SHOP}: time zone"]
    if fixed == "the server":
        in_zone(private_source, "+00:00" if private_source.is_mariadb else "UTC")
    zone = "Europe/Amsterdam" if fixed == "the feed" else "UTC"

    right = found(private_source, feed(timezone=zone))[f"{SHOP}: time zone"]

    assert "warning" == wrong.status
    assert "but cursors without zone are read as UTC: shop.item" in wrong.message
    zone_setting = advises("If they are in local time, set {}_TIMEZONE or timezone in the catalog", wrong.fix)
    assert ("SHOP",) == zone_setting
    assert "ok" == right.status


@pytest.fixture
def private_source(source_table: SourceTable) -> Iterator[SourceTable]:
    yield source_table
    if source_table.is_mariadb:
        source_table.do("SET GLOBAL time_zone = 'SYSTEM'")


def in_zone(source: SourceTable, zone: str) -> None:
    if source.is_mariadb:
        source.do(f"SET GLOBAL time_zone = '{zone}'")
    else:
        source.do(f"ALTER DATABASE {quoted(source, source.database)} SET TimeZone = '{zone}'")


def test_what_the_catalog_names_and_the_database_lacks_is_listed(source_table):
    """Each table by itself: one that is missing keeps no other from being looked at."""
    source_table.create(item())
    feeds = (feed("nothing"), feed(references={"UserId": "shop.user.id"}), feed(cursor="Changed", keys=("ID",)))

    checks = found(source_table, *feeds[:2])
    cursor = found(source_table, feeds[2])["source shop.item"]

    assert ("failed", True) == (
        checks["source shop.nothing"].status,
        "nothing is not in" in checks["source shop.nothing"].message,
    )
    assert ("failed", "it has no column UserId") == (
        checks["source shop.item"].status,
        checks["source shop.item"].message,
    )
    assert "it has no column Changed" == cursor.message
    assert ("Id, At",) == advises("Correct it in the catalog; its columns are {}", cursor.fix)


def test_view_and_table_without_cursor_are_described_without_indexes(source_table):
    source_table.create(item())
    view, table = quoted(source_table, "seen"), quoted(source_table, "item")
    source_table.do(f"CREATE VIEW {view} AS SELECT * FROM {table}")

    checks = found(source_table, feed("seen", cursor=None), feed(cursor=None))

    assert ["ok", "ok"] == [checks[f"source shop.{name}"].status for name in ("seen", "item")]
    assert "its number of rows is not known to the server" == checks["source shop.seen"].message


def test_database_that_does_not_let_us_in_has_one_finding(source_table):
    url = sa.make_url(source_table.url).set(username="nobody", password="hunter2")

    (one,) = found(source_table, url=url.render_as_string(hide_password=False)).values()

    assert (SHOP, "failed") == (one.check, one.status)
    assert "refuses to sign in" in one.message
    assert "Check user, password and database in SHOP_DATABASE_URL" in one.fix
    assert "hunter2" not in one.message + one.fix


def test_database_that_is_not_set_is_skipped():
    (one,) = examine_source(
        [feed(), feed("other")], with_database(None), lambda: dt.datetime.now(dt.UTC), lambda _: None
    )

    assert (SHOP, "skipped", "SHOP_DATABASE_URL is not set") == (one.check, one.status, one.message)
    assert ("it", "2 tables") == advises("Set {} to sync {}", one.fix)


def test_statements_for_sql_server_are_such(tsql_problems):
    """Microsoft's parser reads them. What they return is known from the documentation of the catalog views alone."""
    server = queries(DIALECTS["mssql"])

    for query in (server.server, server.sizes, server.indexes, server.writes):
        assert [] == tsql_problems(query.replace(":schema", "@schema").replace("IN :tables", "IN (@table)"))
