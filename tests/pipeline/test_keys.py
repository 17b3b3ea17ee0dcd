"""Key reconciliation of real databases: what is gone is found, and nothing that came meanwhile is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from shared.app import App
from shared.catalog import read
from shared.pipeline import sync as syncing
from shared.pipeline.sync import SyncOptions
from shared.sources.sql.source import SqlSource
from tests.advice import advises
from tests.exports import Clock, open_test_app
from tests.servers.source_table import SourceTable, at, item

pytestmark = pytest.mark.usefixtures("in_a_hurry")

CATALOG = """
[system]
name = "shop"
source = "sql"

[tables]
item = { keys = ["Id"], cursor = "At" }
line = { keys = ["Code", "Line"], cursor = "At", max_reject_share = 1.0 }
"""


@pytest.fixture
def app(source_table, tmp_path):
    return opened(source_table, tmp_path)


def opened(source_table, tmp_path, **env):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG)
    clock = Clock()
    clock.forward(minutes=600)
    return open_test_app(
        tmp_path, clock, CATALOG_PATH=str(tmp_path / "catalog"), SHOP_DATABASE_URL=source_table.url, **env
    )  # fmt: skip


def sync(app: App, table: str = "item", **options):
    """What became of the table, a minute later."""
    app.runner.now.forward(minutes=1)
    (found,) = syncing.sync(app.runner, app.settings, "shop", [table], SyncOptions(**options))
    assert found.reason is None
    return found


def counts(table):
    return {name: count for name, count in table.counts.items() if count}


def alive(app, *columns, table="item"):
    named = ", ".join(f'"{name}"' for name in columns or ("Id",))
    with app.warehouse._session() as session:
        query = f'SELECT {named} FROM shop."{table}" WHERE "DeletedAt" IS NULL ORDER BY ALL'
        return [row if columns else row[0] for row in session.connection.execute(query).fetchall()]


def line(*keys: sa.Column) -> sa.Table:
    return sa.Table("line", sa.MetaData(), *keys, sa.Column("At", item().c.At.type), sa.Column("A", sa.Integer))


def of_text(length=5) -> tuple[sa.Column, ...]:
    """Nullable columns, which a unique constraint alone makes a key."""
    return sa.Column("Code", sa.String(length)), sa.Column("Line", sa.Integer), sa.UniqueConstraint("Code", "Line")


def test_what_is_gone_is_found_and_the_next_sync_goes_on_from_where_it_was(app, source_table):
    """Comparing keys neither brings rows nor moves the watermark."""
    table = source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(5)))
    before = sync(app).watermark
    source_table.do(table.delete().where(table.c.Id == 2), table.insert().values(Id=9, At=at(9)))

    found = sync(app, keys=True)
    compared = alive(app)
    later = sync(app)

    assert ({"read": 5, "unchanged": 5, "absent": 1}, "done", None) == (counts(found), found.outcome, found.behind)
    assert ["1 key of the source is not here yet"] == [run.note for run in found.runs]
    assert ([0, 1, 3, 4], before) == (compared, found.watermark)
    assert ({"read": 2, "inserted": 1, "unchanged": 1}, [0, 1, 3, 4, 9]) == (counts(later), alive(app))


def test_nothing_gone_is_no_news(app, source_table):
    source_table.create(item(), {"Id": 1, "At": at(1)})
    sync(app)

    assert "no news" == sync(app, keys=True).outcome


def test_a_row_that_comes_and_is_synced_while_keys_are_read_stays(source_table, tmp_path, monkeypatch):
    """It comes before the place that was just read; and one that goes behind it is found by the next comparison."""
    app = opened(source_table, tmp_path, BATCH_ROWS="2")
    table = source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(10, 20)))
    sync(app)
    read, busy = SqlSource.read, []

    def disturbed(self, part):
        for batch in read(self, part):
            yield batch
            if not busy:
                busy.append(True)
                change = [table.insert().values(Id=1, At=at(30)), table.delete().where(table.c.Id == 10)]
                source_table.do(*change, table.update().where(table.c.Id == 18).values(Id=2, At=at(31)))
                sync(app)

    monkeypatch.setattr(SqlSource, "read", disturbed)
    during = sync(app, keys=True)
    first = alive(app)
    after = sync(app, keys=True)

    assert {"read": 9, "unchanged": 9, "absent": 1} == counts(during)  # the row that was 18 has another key now
    assert [1, 2, *(n for n in range(10, 20) if n != 18)] == first
    assert {"read": 10, "unchanged": 10, "absent": 1} == counts(after)
    assert [1, 2, *(n for n in range(11, 20) if n != 18)] == alive(app)


def test_rows_without_a_key_hide_nothing(app, source_table):
    """They were rejected when they were synced; of several columns one NULL is enough."""
    table = line(*of_text())
    keys = [("a", 1), ("a", 2), ("b", 1), (None, 1), ("a", None), (None, None)]
    source_table.create(table, *({"Code": code, "Line": n, "At": at(i)} for i, (code, n) in enumerate(keys)))
    sync(app, "line")
    source_table.do(table.delete().where((table.c.Code == "a") & (table.c.Line == 2)))

    found = sync(app, "line", keys=True)

    assert {"read": 2, "unchanged": 2, "absent": 1} == counts(found)
    assert [("a", 1), ("b", 1)] == alive(app, "Code", "Line", table="line")
    assert 3 == len(list(app.warehouse.rejects("shop.line")))


def test_a_key_that_is_written_otherwise_is_another_key(app, source_table):
    """Also where the server takes 'A' for 'a': a sync brings the new spelling, and the old one is gone."""
    table = line(*of_text())
    source_table.create(table, *({"Code": code, "Line": 1, "At": at(1)} for code in ("a", "b", "c")))
    sync(app, "line")
    for old, new in (("a", "A"), ("b", "b ")):
        source_table.do(table.update().where(table.c.Code == old).values(Code=new, At=at(5)))
    sync(app, "line")
    both = alive(app, "Code", table="line")

    found = sync(app, "line", keys=True)

    assert [("A",), ("a",), ("b",), ("b ",), ("c",)] == both
    assert {"read": 3, "unchanged": 3, "absent": 2} == counts(found)
    assert [("A",), ("b ",), ("c",)] == alive(app, "Code", table="line")


@pytest.mark.parametrize("kind", [sa.CHAR(5), sa.String(5)], ids=["char", "varchar"])
def test_keys_with_blanks_at_their_end_are_found_again(app, source_table, kind):
    """As the rows were read, so are the keys: servers pad CHAR, and strip it, in ways of their own."""
    keys = sa.Column("Code", kind, primary_key=True), sa.Column("Line", sa.Integer, primary_key=True)
    table = line(*keys)
    source_table.create(table, *({"Code": code, "Line": 1, "At": at(1)} for code in ("a ", "b", " c", "")))
    sync(app, "line")

    assert {"read": 4, "unchanged": 4} == counts(sync(app, "line", keys=True))


def test_a_case_insensitive_table_of_mariadb_without_a_constraint(mariadb, mariadb_database, tmp_path):
    """There 'A' and 'a' are equal and yet two rows; pages of one row lose neither."""
    source_table = SourceTable(mariadb, mariadb_database)
    app = opened(source_table, tmp_path, BATCH_ROWS="1")
    source_table.do(
        "CREATE TABLE line (Code VARCHAR(5) COLLATE utf8mb4_general_ci NOT NULL, Line INT NOT NULL, At DATETIME)",
        "INSERT INTO line VALUES ('a', 1, '2026-02-24'), ('A', 1, '2026-02-24'), ('á', 1, '2026-02-24')",
    )
    sync(app, "line")
    source_table.do("DELETE FROM line WHERE BINARY Code = 'a'")

    found = sync(app, "line", keys=True)

    assert {"read": 2, "unchanged": 2, "absent": 1} == counts(found)
    assert [("A",), ("á",)] == alive(app, "Code", table="line")


def test_a_full_brings_back_what_only_keys_know(app, source_table):
    """A row that is there again with an old cursor is below every window; the comparison says that it is there."""
    table = source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(5)))
    sync(app)
    source_table.do(table.delete().where(table.c.Id == 1))
    sync(app, keys=True)
    source_table.do(table.insert().values(Id=1, At=at(1)))
    sync(app)

    noted = [run.note for run in sync(app, keys=True).runs]
    full = sync(app, full=True)

    assert ["1 key of the source is deleted here"] == noted
    assert ({"read": 5, "undeleted": 1, "unchanged": 4}, [0, 1, 2, 3, 4]) == (counts(full), alive(app))


def test_a_dry_run_deletes_nothing(app, source_table):
    table = source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(3)))
    sync(app)
    source_table.do(table.delete().where(table.c.Id == 1))

    found = sync(app, keys=True, dry_run=True)

    assert ({"read": 2, "unchanged": 2, "absent": 1}, [0, 1, 2]) == (counts(found), alive(app))


def test_a_row_that_comes_back_as_it_was_is_news_after_its_deletion(app, source_table):
    """The fingerprint of the rows that were read last would say that nothing has changed."""
    table = source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(2)))
    sync(app), sync(app)
    source_table.do(table.delete().where(table.c.Id == 1))
    sync(app, keys=True)
    gone = alive(app)
    source_table.do(table.insert().values(Id=1, At=at(1)))
    found = sync(app)

    assert ([0], {"read": 1, "undeleted": 1}, [0, 1]) == (gone, counts(found), alive(app))


# -- tables that changed


def declared(app: App, tmp_path, options: str) -> App:
    """The app with other options of table item."""
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG.replace('keys = ["Id"]', options))
    return replace(app, systems=read(tmp_path / "catalog"))


def refused(app: App, **options) -> str:
    app.runner.now.forward(minutes=1)
    (found,) = syncing.sync(app.runner, app.settings, "shop", ["item"], SyncOptions(**options))
    assert found.failed
    return found.reason


def test_a_key_column_that_the_table_lacks(app, source_table, tmp_path):
    table = source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(3)))
    sync(app)
    source_table.do("ALTER TABLE item ADD COLUMN part INT DEFAULT 1 NOT NULL", table.delete().where(table.c.Id == 0))
    app = declared(app, tmp_path, 'keys = ["Id", "part"]')

    said = refused(app, keys=True)
    (name,) = advises("Drop table {} and sync it with --full, or give the feed its former keys", said)
    with app.warehouse._session() as session:
        session.ddl(f"DROP TABLE {name} CASCADE")
    sync(app, full=True)

    assert [{"read": 2, "unchanged": 2}, [1, 2]] == [counts(sync(app, keys=True)), alive(app)]


def test_a_key_column_of_another_type(app, source_table, tmp_path):
    """A sync cannot convert it by itself, and says what to declare."""
    table = source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(3)))
    sync(app)
    source_table.do(table.delete().where(table.c.Id == 0))
    changed = "MODIFY Id VARCHAR(20)" if source_table.is_mariadb else 'ALTER COLUMN "Id" TYPE VARCHAR(20)'
    source_table.do(f"ALTER TABLE item {changed}")

    said = refused(app, keys=True)
    advises("Sync it first, which converts the column or says why it cannot be converted", said)
    assert "declare the column text under types in the catalog" in refused(app)
    app = declared(app, tmp_path, 'keys = ["Id"], types = { Id = "text" }')
    sync(app, full=True)
    source_table.do("DELETE FROM item WHERE " + ("Id" if source_table.is_mariadb else '"Id"') + " = '1'")

    assert [{"read": 1, "unchanged": 1, "absent": 1}, ["2"]] == [counts(sync(app, keys=True)), alive(app)]
