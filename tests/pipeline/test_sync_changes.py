"""A database that keeps changing while it is synced: at rest, one more sync makes the warehouse equal to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shared.errors import TransientError
from shared.pipeline import sync as syncing
from shared.pipeline.progress import Progress
from shared.pipeline.sync import SyncOptions
from shared.sources import open_pull_sources
from tests.exports import Clock, open_test_app
from tests.quick import quick_if
from tests.servers.source_table import at, item

ROOT = Path(__file__).parents[2]
CATALOG = """
[system]
name = "shop"
source = "sql"

[tables]
item = { keys = ["Id"], cursor = "At", overlap_seconds = 600, max_delete_share = 1.0 }
"""
OVERLAP = 10
"""Minutes: a transaction that takes longer is not promised to be seen by the next sync."""
KEYS = st.integers(0, 7)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), KEYS),
        st.tuples(st.just("write all"), st.just(0)),  # many rows of one instant
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("begin"), KEYS),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.just("clock"), st.integers(-3, 5)),
        st.tuples(st.just("sync"), st.just(0)),
        st.tuples(st.just("full"), st.just(0)),
        st.tuples(st.just("interrupt"), st.integers(1, 3)),
        st.tuples(st.just("fail"), st.integers(1, 6)),
        st.tuples(st.just("change while read"), KEYS),
        st.tuples(st.just("add a column"), st.just(0)),
    ),
    max_size=14,
)  # fmt: skip


def table() -> sa.Table:
    return item(sa.Column("Name", sa.String(40)))


class Interrupted(Progress):
    """Ctrl-C at some batch."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self._left = batches

    def rows(self, count: int) -> None:
        self._left -= 1
        if self._left <= 0:
            raise KeyboardInterrupt


class Changing:
    """A table, those who write to it, and those who sync it."""

    def __init__(self, source_table: Any, home: Path) -> None:
        self.source_table, self.table = source_table, table()
        self.minute = self.writes = 0
        self.slow: list[tuple[int, sa.Connection]] = []
        (home / "catalog").mkdir()
        (home / "catalog" / "shop.toml").write_text(CATALOG)
        self.clock = Clock()
        self.clock.forward(minutes=300)
        self.app = open_test_app(
            home, self.clock, CATALOG_PATH=str(home / "catalog"), SHOP_DATABASE_URL=source_table.url, SYNC_ROWS="3",
            SLICE_ROWS="2", BATCH_ROWS="2",
        )  # fmt: skip

    def values(self) -> dict[str, Any]:
        self.writes += 1
        return {"At": at(self.minute), "Name": f"write {self.writes}"}

    def write(self, key: int) -> None:
        with self.source_table.engine.begin() as connection:
            done = connection.execute(self.table.update().where(self.table.c.Id == key).values(self.values()))
            if not done.rowcount:
                connection.execute(self.table.insert().values(Id=key, **self.values()))

    def write_all(self, _: int) -> None:
        self.commit()  # they would wait for each other
        self.source_table.do(self.table.update().values(self.values()))

    def delete(self, key: int) -> None:
        self.source_table.do(self.table.delete().where(self.table.c.Id == key))

    def begin(self, key: int) -> None:
        """A transaction that stamps its row now and commits later."""
        connection = self.source_table.engine.connect()
        connection.execute(self.table.insert().values(Id=100 + len(self.slow) + self.writes, **self.values()))
        self.slow.append((self.minute, connection))

    def commit(self, _: int = 0) -> None:
        for _, connection in self.slow:
            connection.commit()
            connection.close()
        self.slow = []

    def move_clock(self, minutes: int) -> None:
        """Also back, as clocks of servers are set."""
        self.minute = max(0, self.minute + minutes)
        if self.slow and self.minute - min(begun for begun, _ in self.slow) >= OVERLAP:
            self.commit()

    def sync(self, *, progress: Progress | None = None, open_sources: Any = open_pull_sources, **options: Any) -> Any:
        self.clock.forward(seconds=1)
        found = syncing.sync(
            self.app.runner, self.app.settings, "shop", [], SyncOptions(**options), progress, open_sources
        )  # fmt: skip
        return next(iter(list(found)))

    def interrupt(self, batches: int) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            self.sync(progress=Interrupted(batches))

    def fail(self, query: int) -> None:
        """The server goes away at some query of a sync."""
        left = iter(range(query))

        def opened(feeds: Any, known: Any) -> Any:
            (source,) = open_pull_sources(feeds, known)
            rows = source._database.rows

            def or_not(statement: Any) -> Any:
                if next(left, None) is None:
                    raise TransientError("the server is away", fix="Try again")
                return rows(statement)

            source._database.rows = or_not
            return [source]

        self.sync(open_sources=opened)

    def change_while_read(self, key: int) -> None:
        """Between every two queries of a sync, a row is written and another deleted."""

        def opened(feeds: Any, known: Any) -> Any:
            (source,) = open_pull_sources(feeds, known)
            rows, keys = source._database.rows, iter(range(key, key + 4))

            def and_change(statement: Any) -> Any:
                found = rows(statement)
                if (other := next(keys, None)) is not None:
                    self.write(other % 8)
                    self.delete((other + 3) % 8)
                return found

            source._database.rows = and_change
            return [source]

        self.sync(open_sources=opened)

    def add_column(self, _: int) -> None:
        self.commit()  # it would wait for them
        self.writes += 1
        self.source_table.do(f"ALTER TABLE item ADD COLUMN more_{self.writes} integer")

    def do(self, step: str, argument: int) -> None:
        steps = {
            "write": self.write, "write all": self.write_all, "delete": self.delete, "begin": self.begin,
            "commit": self.commit, "clock": self.move_clock, "sync": lambda _: self.sync(),
            "full": lambda _: self.sync(full=True), "interrupt": self.interrupt, "fail": self.fail,
            "change while read": self.change_while_read, "add a column": self.add_column,
        }  # fmt: skip
        steps[step](argument)

    def there(self) -> list[Any]:
        with self.source_table.engine.connect() as connection:
            found = connection.execute(sa.select(self.table.c.Id, self.table.c.At, self.table.c.Name)).fetchall()
        return sorted(map(tuple, found))

    def here(self) -> list[Any]:
        """Nothing before anything was synced: then there is no table."""
        with self.app.warehouse._session() as session:
            if not session.connection.execute("FROM duckdb_tables() WHERE schema_name = 'shop'").fetchall():
                return []
            query = 'SELECT "Id", "At", "Name" FROM shop.item WHERE "DeletedAt" IS NULL'
            return sorted(session.connection.execute(query).fetchall())


def at_rest_they_are_equal(source_table: Any, steps: list[tuple[str, int]]) -> None:
    home = Path(tempfile.mkdtemp())
    changing = Changing(source_table, home)
    with source_table.engine.begin() as connection:
        changing.table.drop(connection, checkfirst=True)
        changing.table.create(connection)
    try:
        changing.write(0)
        for step, argument in steps:
            changing.do(step, argument)
        changing.commit()
        last = changing.sync()
        assert last.outcome in ("done", "no news"), last.reason
        if not any(step == "clock" and argument < 0 for step, argument in steps):  # what is stamped back is not seen
            assert set(changing.there()) <= set(changing.here())
        changing.sync(full=True)
        assert changing.there() == changing.here()
        assert changing.sync().outcome in ("no news",)
    finally:
        changing.commit()
        shutil.rmtree(home)


LAW: dict[str, Any] = {
    "deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture],
    "phases": (Phase.explicit, Phase.reuse, Phase.generate),  # to shrink an example takes many minutes
}  # fmt: skip


@settings(max_examples=5, **LAW)
@given(steps=STEPS)
@pytest.mark.usefixtures("in_a_hurry")
def test_at_rest_one_more_sync_makes_the_warehouse_equal(source_table, steps):
    """Whatever was written, deleted, committed late, interrupted or refused while syncs ran."""
    at_rest_they_are_equal(source_table, steps)


@pytest.mark.slow
@settings(max_examples=25, **LAW)
@given(steps=STEPS)
@pytest.mark.usefixtures("in_a_hurry")
def test_at_rest_one_more_sync_makes_the_warehouse_equal_in_many_cases(source_table, steps):
    at_rest_they_are_equal(source_table, steps)


# -- kill -9


SYNC = """
import sys

from dataclasses import replace
from pathlib import Path

from shared.pipeline import sync as syncing
from tests.exports import open_test_app
from tests.standins.fakes import Fatal, Watched

folder, url, moment, place = sys.argv[1:]
app = open_test_app(
    Path(folder), CATALOG_PATH=folder + "/catalog", SHOP_DATABASE_URL=url, SYNC_ROWS="5", SLICE_ROWS="2", BATCH_ROWS="2"
)
calls = Fatal(moment, place)
app = replace(app, warehouse=Watched(app.warehouse, calls), ledger=Watched(app.ledger, calls))
for result in syncing.sync(app.runner, app.settings, "shop", [], syncing.SyncOptions()):
    assert not result.failed, result
"""
MOMENTS = [
    ("stage", "within"), ("stage", "after"), ("merge", "within"), ("merge", "after"), ("commit", "before"),
    ("commit", "after"), ("tidy", "after"),
]  # fmt: skip


@pytest.mark.parametrize("moment", [quick_if(one[0] == "merge", one, id=" ".join(one)) for one in MOMENTS])
def test_a_killed_sync_goes_on_from_there(source_table, moment, tmp_path):
    """Every process is killed at its first such moment, until one finds nothing left to do there."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG)
    source_table.create(table(), *({"Id": n, "At": at(n), "Name": "x"} for n in range(12)))
    command = [sys.executable, "-c", SYNC, str(tmp_path), source_table.url]
    killed = subprocess.run([*command, *moment], cwd=ROOT, env=os.environ, check=False, capture_output=True)

    rest = subprocess.run([*command, "", ""], cwd=ROOT, env=os.environ, check=False, capture_output=True, text=True)

    app = open_test_app(tmp_path)
    with app.warehouse._session() as session:
        found = session.connection.execute('SELECT count(*), count("DeletedAt") FROM shop.item').fetchone()
    assert (-signal.SIGKILL, 0) == (killed.returncode, rest.returncode), rest.stderr
    assert ((12, 0), at(11).isoformat(timespec="microseconds")) == (found, app.ledger.watermark("shop.item").value)
