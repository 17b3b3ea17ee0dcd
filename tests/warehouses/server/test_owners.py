"""A run has one owner, from its first staging table until it is tidied up. On PostgreSQL and the T-SQL stand-in."""

from __future__ import annotations

import logging
import threading

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from shared.errors import TransientError
from shared.ids import staging_name
from shared.mssql import odbc
from shared.pipeline.folder import LoadOptions
from shared.warehouses.server.warehouse import ServerWarehouse
from tests.exports import load_exports
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_case import WarehouseCase, row, some
from tests.warehouses.server.server_samples import just_before_commit

RUN, FEED = "0123456789abcdef", "shop.item"
ROWS = [row(n, f"n{n}", 4) for n in range(60)]


@dataclass
class Shared:
    """One database server, for several processes that this one stands for."""

    folder: Path
    opened: Callable[[Path, dict[str, str]], WarehouseCase]
    query: Callable[[str], Any]

    def case(self, name: str, **env: str) -> WarehouseCase:
        """A process with a warehouse of its own, and the ledger that all of them share."""
        case = self.opened(self.folder / name, env)
        ledger = f"sqlite:///{self.folder / 'ledger.db'}"
        return replace_app(case, self.opened(self.folder / "ledger", {**env, "LEDGER_URL": ledger}))

    def staging_tables(self) -> list[Any]:
        return self.query("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'staging'")


def replace_app(case: WarehouseCase, other: WarehouseCase) -> WarehouseCase:
    case.app = replace(case.app, ledger=other.app.ledger)
    return case


@pytest.fixture(params=["PostgreSQL", "T-SQL stand-in"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Shared:
    if request.param == "PostgreSQL":
        url = request.getfixturevalue("postgres").url(request.getfixturevalue("database"))
        query = request.getfixturevalue("query")
        return Shared(tmp_path, lambda folder, env: WarehouseCase(folder, query, WAREHOUSE_URL=url, **env), query)
    stand_in = Server()
    request.getfixturevalue("monkeypatch").setattr(odbc, "load_pyodbc", lambda: stand_in)
    url = "mssql://app:secret@stand-in/sluice"
    return Shared(
        tmp_path,
        lambda folder, env: WarehouseCase(folder, stand_in.query, WAREHOUSE_URL=url, WAREHOUSE_LOADER="array", **env),
        stand_in.query,
    )


@contextmanager
def waiting() -> Iterator[threading.Event]:
    """Set once somebody waits for another process."""
    seen = threading.Event()

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("waiting for another process"):
                seen.set()

    log, handler = logging.getLogger("sluice"), Seen()
    before = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield seen
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def load_while(
    case: WarehouseCase, file: Path, other: Callable[[], Any], monkeypatch: Any, error: TransientError | None = None
) -> tuple[Any, Any]:
    """Load *file*; *other* begins in another thread when the rows are staged. They are merged once it waits.

    With *error* they are not merged, but fail by it.
    """
    results: list[Any] = []
    second = threading.Thread(target=lambda: results.append(other()))
    merge = ServerWarehouse.merge

    def merged(self: ServerWarehouse, *arguments: Any) -> Any:
        if self is case.app.warehouse:
            second.start()
            assert seen.wait(30), "the second does not wait"
            if error is not None:
                raise error
        return merge(self, *arguments)

    with waiting() as seen:
        monkeypatch.setattr(ServerWarehouse, "merge", merged)
        first = case.load(file)
        second.join()
    return first, results[0]


def test_who_loads_the_same_export_meanwhile_waits_and_finds_it_loaded(server, monkeypatch):
    """It comes when the rows are staged, and would drop their table."""
    one, other = server.case("one"), server.case("other")
    file = one.write("full", 6, ROWS)

    first, second = load_while(one, file, lambda: other.load(file), monkeypatch)

    assert {"inserted": 60, "read": 60} == some(first.run)
    assert (None, "loaded meanwhile by another process") == (second.run, second.skipped)
    assert 60 == len(one.rows("Name"))
    assert [] == server.staging_tables()


def test_who_loads_again_meanwhile_waits_and_gets_the_outcome_of_that_run(server, monkeypatch):
    """The run is the same, and merged once."""
    one, other = server.case("one"), server.case("other")
    file = one.write("full", 6, ROWS)

    first, second = load_while(one, file, lambda: other.load(file, again=True), monkeypatch)

    assert some(first.run) == some(second.run)
    assert 1 == len(one.app.warehouse.runs())


def test_who_waits_for_one_that_fails_loads_itself(server, monkeypatch):
    """Nothing of it is recorded as done."""
    one, other = server.case("one"), server.case("other")
    file = one.write("full", 6, ROWS)
    server_went_away = TransientError("the server went away", fix="Try again")

    first, second = load_while(one, file, lambda: other.load(file), monkeypatch, server_went_away)

    assert first.failed
    assert {"inserted": 60, "read": 60} == some(second.run)


def test_who_waits_too_long_for_an_owner_fails_with_the_reason(server):
    """Loading it again does work, once the other is done."""
    one, other = server.case("one"), server.case("other", WAREHOUSE_LOCK_TIMEOUT="0.2")
    file = one.write("full", 6, ROWS)
    (result,) = load_exports(other.app, str(file.parent), LoadOptions(system="shop", kind="full", dry_run=True))

    with one.app.warehouse._owners.working(result.run.id, "shop.item"):
        (failed,) = load_exports(other.app, str(file.parent), LoadOptions(system="shop", kind="full", dry_run=True))

    assert "for 0.2 s. Load again when it is done, or raise WAREHOUSE_LOCK_TIMEOUT" in failed.run.error
    assert not other.load(file).failed


def test_slices_of_a_run_are_staged_at_once_but_each_by_one_alone(server):
    """An activity may be delivered twice at the same time; others stage other slices."""
    one = server.case("one").app.warehouse._owners
    other = server.case("other", WAREHOUSE_LOCK_TIMEOUT="0.2").app.warehouse._owners
    first, second = staging_name(RUN, 0), staging_name(RUN, 1)

    with one.working(RUN, FEED, first):
        with other.working(RUN, FEED, second):
            pass
        with pytest.raises(TransientError), other.working(RUN, FEED, first):
            pass
        with pytest.raises(TransientError), other.working(RUN, FEED):
            pass
    with one.working(RUN, FEED), pytest.raises(TransientError), other.working(RUN, FEED, second):
        pass


def test_lock_goes_with_the_connection_of_its_holder(server):
    """A process that is killed leaves nothing behind that others would wait for."""
    one, other = (server.case(name, WAREHOUSE_LOCK_TIMEOUT="60").app.warehouse._owners for name in ("one", "other"))
    with pytest.raises(KeyboardInterrupt), one.working(RUN, FEED):
        raise KeyboardInterrupt
    with other.working(RUN, FEED):
        pass


def test_a_run_whose_staging_table_is_gone_fails_with_the_reason(server, monkeypatch):
    """Somebody has dropped it by hand. Loading it again does work."""
    case = server.case("one")
    file = case.write("full", 6, ROWS)
    merge = ServerWarehouse.merge

    def merged(self: ServerWarehouse, *arguments: Any) -> Any:
        ((name,),) = server.staging_tables()
        self._engine.drop([name])
        return merge(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(ServerWarehouse, "merge", merged)
        failed = case.load(file)

    assert "is gone: another process has loaded the same work, or cleaned up. Load it again" in failed.run.error
    assert not case.load(file).failed


def test_staging_tables_cannot_be_dropped_or_changed_before_the_commit_of_their_merge(
    postgres, database, query, tmp_path, monkeypatch
):
    """On PostgreSQL. Of SQL Server only the statement is known here, see ``test_tsql``."""
    case = WarehouseCase(tmp_path, query, WAREHOUSE_URL=postgres.url(database))
    case.loaded("full", 5, row(1))
    refused = []

    def drop() -> None:
        ((name,),) = query("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'")
        for statement in (f"DROP TABLE staging.{name}", f'UPDATE staging.{name} SET "Name" = NULL'):
            with postgres.connect(database) as other:
                other.execute("SET lock_timeout = '100ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    other.execute(statement)
            refused.append(statement)

    just_before_commit(monkeypatch, drop)
    case.loaded("delta", 6, *ROWS)

    assert 2 == len(refused)


def test_merge_on_sql_server_locks_its_staging_tables_before_it_reads_them_as_far_as_the_statements_tell(
    tmp_path, monkeypatch
):
    stand_in = Server()
    monkeypatch.setattr(odbc, "load_pyodbc", lambda: stand_in)
    url = "mssql://app:secret@stand-in/sluice"
    case = WarehouseCase(tmp_path, stand_in.query, WAREHOUSE_URL=url, WAREHOUSE_LOADER="array")
    case.loaded("full", 5, row(1))
    before = len(stand_in.statements)

    case.loaded("delta", 6, *ROWS)

    reading = [s for s in stand_in.statements[before:] if "[staging].[s_" in s and "SELECT" in s and "CREATE" not in s]
    assert "WITH (TABLOCK, HOLDLOCK)" in reading[0]
