"""Few rows are merged without a staging table: decided in memory, read in one batch and written in another."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import random
import tempfile

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import stamina

from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from shared.app import App
from shared.errors import ConfigError, DataError, TransientError
from shared.model import OUTCOMES, Feed, Plan, Run, Staged, from_json, from_text
from shared.pipeline.folder import LoadOptions, exports_source
from shared.pipeline.runner import RunOptions
from shared.warehouses import Limits, Merged
from shared.warehouses.azure_sql import direct, odbc
from shared.warehouses.azure_sql.session import MSSQLSession
from shared.warehouses.merge import history
from shared.warehouses.merge.changes import BY, DELETED, FIRST, SYNCED, Rules
from shared.warehouses.merge.in_memory import ColumnNames, Decided, Stored, Write, by_key, decide, higher
from shared.warehouses.server import inline
from tests.exports import START, Clock, load_exports, open_test_app
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_case import HOSTILE, LOOKALIKES, VALUES, WarehouseCase, day, row, some
from tests.warehouses.merge.reference_model import Table
from tests.warehouses.merge.wild_files import EPOCH, Law, stored, wild_file

# -- what is decided


EXPORTED, NOW = day(10), day(20)


def feed(**more: Any) -> Feed:
    given = {"cursor": "At", "deleted": "Gone", **more}
    return Feed(system="shop", table="item", source="exports", keys=("Id",), **given)


def decided(
    incoming: list[dict[str, Any]], known: list[Stored] | None = None, of: Feed | None = None, **rules: Any
) -> Decided:
    reported = {"now": NOW, "exported": EXPORTED, "overtaken_by": None, "full": False, **rules}
    spelling = ColumnNames(keys=("Id",), stored={"Id": "Id", "At": "At", "Gone": "Gone", "Name": "NAME"})
    found = by_key(spelling, known or [], map(spelling.key, incoming))
    assert found is not None
    return decide(Rules(feed=of or feed(), **reported), "this", spelling, found, incoming)


def new(key: Any = 1, at: Any = day(2), name: Any = "Ada", gone: bool | None = False) -> dict[str, Any]:  # noqa: B008
    return {"Id": key, "At": at, "Gone": gone, "Name": name}


def old(
    key: Any = 1, at: Any = day(2), name: Any = "Ada", *, gone: bool | None = False,  # noqa: B008
    exported: dt.datetime | None = day(9), deleted: dt.datetime | None = None,  # noqa: B008
) -> Stored:  # fmt: skip
    ours = {FIRST: day(1), SYNCED: day(1), BY: "that", DELETED: deleted}
    return Stored({"Id": key, "At": at, "Gone": gone, "NAME": name, **ours}, exported)


def outcomes(reported: Decided) -> dict[str, int]:
    return {name: count for name, count in reported.counts.items() if count}


def test_new_row_is_inserted_with_our_columns():
    """By the table's own spelling of the names."""
    (write,) = decided([new()]).writes

    ours = {FIRST: NOW, SYNCED: NOW, BY: "this", DELETED: None}
    assert Write("insert", (1,), {"Id": 1, "At": day(2), "Gone": False, "NAME": "Ada", **ours}) == write


def test_changed_row_is_updated_but_for_its_key_and_first_time():
    """FirstSyncAt never changes again."""
    (write,) = decided([new(at=day(3), name="Bob")], [old()]).writes

    ours = {SYNCED: NOW, BY: "this", DELETED: None}
    assert Write("update", (1,), {"At": day(3), "Gone": False, "NAME": "Bob", **ours}) == write


@pytest.mark.parametrize(
    ("incoming", "known", "expected"),
    [
        (new(name="Bob"), old(), "updated"),
        (new(), old(), "unchanged"),
        (new(at=day(1), name="Bob"), old(), "stale"),
        (new(name="Bob"), old(exported=day(11)), "stale"),
        (new(name="Bob"), old(exported=EXPORTED), "updated"),
        (new(name="Bob"), old(exported=None), "updated"),
        (new(at=day(3), name="Bob"), old(exported=day(11)), "updated"),
        (new(at=None, name="Bob"), old(), "stale"),
        (new(at=None, name="Bob"), old(at=None), "updated"),
        (new(name="Bob"), old(at=None, exported=day(11)), "updated"),
        (new(at=day(3), gone=True), old(), "deleted"),
        (new(at=day(3), gone=None), old(), "updated"),
        (new(at=day(3)), old(gone=True, deleted=day(2)), "undeleted"),
        (new(gone=True), old(gone=True, deleted=day(2)), "unchanged"),
        (new(gone=True), old(gone=True, deleted=day(7)), "updated"),
    ],
)
def test_newest_wins(incoming, known, expected):
    """By cursor; among equals by the time of the export."""
    assert {expected: 1} == outcomes(decided([incoming], [known]))


@pytest.mark.parametrize(
    ("stored", "incoming"),
    [("", None), (None, ""), ("a", "a "), ("a", "A"), ("é", "e\u0301"), (1, True), (0, False), (b"a", b"a\0")],
)
def test_values_that_look_alike_differ(stored, incoming):
    """What a collation or Python takes for the same is not."""
    assert {"updated": 1} == outcomes(decided([new(name=incoming)], [old(name=stored)]))


@pytest.mark.parametrize(
    ("stored", "incoming"),
    [(Decimal("1.00"), Decimal("1.0")), (Decimal(7), 7), (0.0, -0.0), (0.10000000149011612, 0.10000000149011612)],
)
def test_numbers_are_compared_by_value(stored, incoming):
    """Scale, width and the sign of zero do not matter, as in SQL."""
    assert {"unchanged": 1} == outcomes(decided([new(name=incoming)], [old(name=stored)]))


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ([new(at=day(3), name="x"), new(at=day(2), name="y")], "x"),
        ([new(at=day(3), name="x"), new(at=day(3), name="y")], "y"),
        ([new(at=None, name="x"), new(at=day(1), name="y")], "y"),
        ([new(at=day(1), name="x"), new(at=None, name="y")], "x"),
        ([new(at=None, name="x"), new(at=None, name="y")], "y"),
    ],
)
def test_of_rows_with_one_key_the_highest_cursor_counts(rows, name):
    """Then the last in file order; the other is superseded."""
    reported = decided(rows)

    assert {"superseded": 1, "inserted": 1} == outcomes(reported)
    assert [name] == [write.values["NAME"] for write in reported.writes]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (10, 9, True), (9, 10, False), (9, 9, False), (None, 9, False), (9, None, True), (None, None, False),
        (Decimal("10.5"), Decimal("9.5"), True), ("10", "9", False), ("b", "a", True), ("B", "a", False),
        ("a ", "a", False), ("a", "a ", False), ("a", "a\t", True), ("\uff5e", "\U0001f511", True),
    ],
)  # fmt: skip
def test_cursors_are_compared_as_the_server_sorts_them(one, other, expected):
    """Numbers as numbers; text in UTF-16, with blanks at its end that do not count."""
    assert expected is higher(one, other)


def test_late_file_changes_no_active_row_and_brings_dead_ones():
    """A complete full exported later is merged already."""
    reported = decided([new(1, day(8), "Bob"), new(2)], [old(1)], overtaken_by=day(15))

    assert {"stale": 1, "inserted": 1} == outcomes(reported)
    assert [day(15)] == [write.values[DELETED] for write in reported.writes]


def test_late_file_updates_a_dead_row():
    """Which stays dead, since the full that lacked it."""
    reported = decided([new(1, day(8), "Bob")], [old(deleted=day(12))], overtaken_by=day(15))

    assert {"updated": 1} == outcomes(reported)
    assert [day(15)] == [write.values[DELETED] for write in reported.writes]


def test_deletions_can_be_hard():
    """The row goes; what was never there is not kept as a tombstone."""
    reported = decided([new(1, day(3), gone=True), new(2, gone=True)], [old()], feed(deletes="hard"))

    assert {"deleted": 1, "unchanged": 1} == outcomes(reported)
    assert [Write("delete", (1,), {})] == reported.writes


@pytest.mark.parametrize(
    ("cursor", "exported", "known", "expected"),
    [
        (day(3), EXPORTED, [], day(3)),
        (None, EXPORTED, [], EXPORTED),
        (3, EXPORTED, [], EXPORTED),
        (3, None, [old(at=1, deleted=day(7))], day(7)),
        (3, None, [], NOW),
    ],
)
def test_flagged_row_is_dead_since_its_cursor_or_else_its_export(cursor, exported, known, expected):
    """Then since it was found dead before, then since now."""
    (write,) = decided([new(at=cursor, gone=True)], known, exported=exported).writes

    assert expected == write.values[DELETED]


def test_without_cursor_all_rows_are_equally_new():
    """The time of the export decides."""
    of = feed(cursor=None)

    assert {"updated": 1} == outcomes(decided([new(at=day(1), name="Bob")], [old()], of))
    assert {"stale": 1} == outcomes(decided([new(at=day(3), name="Bob")], [old(exported=day(11))], of))


def test_stored_rows_are_found_to_the_letter():
    """The server may find more; two with one key are not for this way."""
    spelling = ColumnNames(keys=("Id",), stored={"Id": "Id"})
    rows = [old("a"), old("a "), old("A")]

    assert {("a",): rows[0]} == by_key(spelling, rows, [("a",)])
    assert by_key(spelling, [*rows, old("a")], [("a",)]) is None
    assert {} == by_key(spelling, [old("b"), old("b")], [("a",)])


# -- the same as the ordinary merge


_FAST = settings(
    deadline=None, print_blob=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


class Tapped:
    """A warehouse that remembers the rows of the last run it staged."""

    def __init__(self, warehouse: Any) -> None:
        self._warehouse = warehouse
        self.rows: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._warehouse, name)

    def stage(self, feed: Feed, name: str, columns: Any, batches: Any, inline_limit: int = 0) -> Any:
        def received() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                self.rows += batch.to_pylist()
                yield batch

        return self._warehouse.stage(
            feed, name, columns, batches if name.endswith("_keys") else received(), inline_limit
        )


@st.composite
def wild_files(draw: st.DrawFn, most: int) -> tuple[Law, list[Any]]:
    """Few keys, cursors and times, so that everything collides; mostly deltas."""
    law = Law(draw(st.sampled_from(["instant", "number", None])), hard=draw(st.booleans()))
    chance = random.Random(draw(st.integers(0, 1 << 32)))
    files = [wild_file(chance, law, 6) for _ in range(draw(st.integers(2, most)))]
    return law, [replace(f, export=replace(f.export, kind=chance.choice([f.export.kind, "delta"]))) for f in files]


ALL_AT_ONCE = {"again": True, "max_delete_share": 1.0}


@contextlib.contextmanager
def duckdb_app(folder: Path, law: Law) -> Iterator[App]:
    app = open_test_app(folder, Clock(START + dt.timedelta(hours=2)), CATALOG_PATH=str(law.catalog(folder / "catalog")))
    with app.warehouse._session():  # held open: opening the file anew for each verb is most of the time
        yield app


def overtaken(run: Run, before: list[Run]) -> dt.datetime | None:
    times = [r.exported_at for r in before if r.status == "done" and r.complete and r.id != run.id]
    return min((from_text(t) for t in times if run.exported_at and t and t > run.exported_at), default=None)


Rows = dict[int, dict[str, Any]]


def remembered(
    rules: Rules, run: str, names: Sequence[str], incoming: list[dict[str, Any]], before: Rows, times: Mapping[str, Any]
) -> tuple[dict[str, int], Rows]:
    """What is decided in memory over *before*, done to it; *names* are the run's columns, *times* those of exports."""
    columns = dict.fromkeys([*names, *(name for values in before.values() for name in values)])
    spelling = ColumnNames(keys=("ItemId",), stored={name: name for name in names})
    known = {(key,): Stored({**columns, **values}, times.get(values[BY])) for key, values in before.items()}
    reported = decide(rules, run, spelling, known, incoming)
    after = {key: {**columns, **values} for key, values in before.items()}
    for write in reported.writes:
        (key,) = write.key
        if write.verb == "delete":
            del after[key]
        else:
            after[key] = {**after.get(key, columns), **write.values}
    for outcome, count in reported.counts.items():
        if count:
            event(outcome)
    return reported.counts, after


def lined_up(rows: Rows, like: Rows) -> Rows:
    """*rows* with the columns of *like*: what is in none of those is NULL."""
    names = {name for values in like.values() for name in values}
    return {key: {name: values.get(name) for name in names} for key, values in rows.items()}


@settings(_FAST, max_examples=300)
@given(wild_files(most=8))
def test_memory_decides_what_the_rules_say(reported):
    """Whatever is stored and comes in: same counts, same rows as the plain model of the rules has."""
    law, files = reported
    model = Table(law.rules)
    of = Feed(
        system="coolr", table="item", source="exports", keys=("ItemId",), cursor=law.rules.cursor, deleted="IsDeleted",
        deletes="hard" if law.hard else "soft",
    )  # fmt: skip
    for number, file in enumerate(files):
        before, export, now = model.copy(), file.export, EPOCH + dt.timedelta(hours=2, minutes=number)
        expected, taken = model.merge(str(number), export, now)
        late = before._late_for(taken)
        if taken.complete and late is None:
            continue
        rules = Rules(feed=of, now=now, exported=taken.exported_at, overtaken_by=late, full=False)
        names = [*export.columns, *(name for name in export.untyped if name in before.columns)]
        times = {known.run: known.exported_at for known in before.history.values()}
        found, after = remembered(rules, str(number), names, before._judged(export, now)[0], before.rows, times)
        note(f"{law} {export} {expected}")

        assert {name: count for name, count in expected.items() if name != "rejected"} == found
        assert lined_up(model.rows, after) == after


def check_replay(reported: tuple[Law, list[Any]]) -> None:
    law, files = reported
    with tempfile.TemporaryDirectory() as folder, duckdb_app(Path(folder), law) as app:
        for number, file in enumerate(files):
            before, runs = stored(app), app.warehouse.runs("coolr.item", limit=None)
            tapped = Tapped(app.warehouse)
            (result,) = load_exports(
                replace(app, warehouse=tapped), file.write(Path(folder) / str(number), law), LoadOptions(**ALL_AT_ONCE)
            )
            run = result.run
            assert run.error is None
            if run.complete:
                continue
            of = app.systems["coolr"].feed("item", ["ItemId", "Cursor", "IsDeleted"])
            there = {name for values in before.values() for name in values}
            names = [column.name for column in run.columns if column.type != "null" or column.name in there]
            times = {known.id: from_text(known.exported_at) for known in runs if known.status == "done"}
            rules = history.rules(of, run, overtaken(run, runs))
            counts, after = remembered(rules, run.id, names, tapped.rows, before, times)
            note(f"{law} {file} {counts}")

            assert {name: getattr(run, name) for name in counts} == counts
            assert lined_up(stored(app), after) == after


@settings(_FAST, max_examples=4)
@given(wild_files(most=6))
def test_memory_decides_what_sql_would(reported):
    """Whatever is stored and comes in: same counts, same rows as the ordinary merge leaves."""
    check_replay(reported)


@pytest.mark.slow
@settings(_FAST, max_examples=810)
@given(wild_files(most=8))
def test_memory_decides_what_sql_would_in_many_more_cases(reported):
    """The same, for as long as a coffee takes."""
    check_replay(reported)


def table_of(server: Server) -> dict[int, dict[str, Any]]:
    columns = server.query(
        "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = N'coolr' AND TABLE_NAME = N'item'"
        " ORDER BY ORDINAL_POSITION"
    )
    rows = server.query("SELECT * FROM [coolr].[item]") if columns else []
    named = [dict(zip((name for (name,) in columns), values, strict=True)) for values in rows]
    return {values["ItemId"]: values for values in named}


@settings(_FAST, max_examples=3)
@given(wild_files(most=5))
def test_the_server_ends_as_the_embedded_warehouse(reported):
    """Batch by batch, over both ways: same counts and rows as DuckDB with the same files."""
    law, files = reported
    server = Server()
    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb_app(Path(folder), law) as app,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(odbc, "load_pyodbc", lambda: server)
        few = open_test_app(
            Path(folder) / "few", app.now, WAREHOUSE_URL=URL, LEDGER_URL=f"sqlite:///{folder}/few.db",
            CATALOG_PATH=str(Path(folder) / "catalog"),
        )  # fmt: skip
        for number, file in enumerate(files):
            root = str(file.write(Path(folder) / str(number), law))
            runs = [next(iter(load_exports(one, root, LoadOptions(**ALL_AT_ONCE)))).run for one in (app, few)]

            assert [None, None] == [run.error for run in runs]
            expected, found = ({name: getattr(run, name) for name in (*OUTCOMES, "absent")} for run in runs)
            assert expected == found
            assert stored(app) == table_of(server)


# -- on the stand-in


URL = "mssql://app:secret@stand-in/sluice"


@pytest.fixture(autouse=True)
def no_waiting():
    """Retries as ever, at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def server(monkeypatch) -> Server:
    server = Server()
    monkeypatch.setattr(odbc, "load_pyodbc", lambda: server)
    return server


def change(server: Server, statement: str) -> None:
    """What somebody else does to the database."""
    with contextlib.closing(server.connect(autocommit=True)) as connection:
        connection.execute(statement)


def opened(folder: Path, server: Server, **env: str) -> WarehouseCase:
    def query(statement: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in server.query(statement)]

    return WarehouseCase(folder, query, WAREHOUSE_URL=URL, **env)


@pytest.fixture
def case(tmp_path: Path, server: Server) -> WarehouseCase:
    """Three items are stored, the third of them dead."""
    case = opened(tmp_path, server)
    case.loaded("full", 5, row(1, "Ada", 1), row(2, "Bob", 2), row(3, "Cy", 3, True))
    return case


class Publishing:
    """An export that is staged, and that can be published."""

    def __init__(
        self, case: WarehouseCase, *rows: dict[str, Any], number: float = 6, kind: Any = "delta", **how: Any
    ) -> None:
        from shared.pipeline import verbs
        from shared.sources.exports.listing import FindOptions, export_unit, find_exports
        from shared.stores import open_store

        self.app = case.app
        file = case.write(kind, number, rows, **how)
        store = open_store(str(file.parent), self.app.settings)
        reported = FindOptions(
            kind=kind, client=None, exported_at=None, tables=(file.stem,), settle_seconds=0, ahead_seconds=86_400
        )
        offers, _ = find_exports(store, reported, self.app.now())
        (work,) = [export_unit(offered, store) for offered in offers]
        run = verbs.run_for(f"shop.{file.stem}", work, self.app.ledger, "2026-02-24T12:00:00.000000")
        assert run is not None
        source = exports_source(store, self.app.settings)
        self.plan: Plan = self.app.runner.plan(run, work, source)
        self.staged = [self.app.runner.stage(self.plan, part, source) for part in self.plan.slices]

    def __call__(self, staged: list[Staged] | None = None, *, dry_run: bool = False) -> Merged:
        merged = self.merge(self.plan, staged, dry_run=dry_run)
        self.app.runner.tidy(self.plan, dry_run=dry_run)
        return merged

    def merge(self, plan: Plan, staged: list[Staged] | None = None, *, dry_run: bool = False) -> Merged:
        options = RunOptions(max_delete_share=1.0, dry_run=dry_run)
        return self.app.runner.merge(plan, dict(enumerate(staged or self.staged)), {}, options)


def tables_made(statements: list[str]) -> list[str]:
    return [text for text in statements if "CREATE TABLE [staging]" in text]


TWENTY = (row(1, "Ida", 4), row(2, "Bob", 2), row(3, "Cy", 4), row(2, "Old", 1),
          *(row(n, f"n{n}", 4, n % 3 == 0) for n in range(10, 26)))  # fmt: skip
OF_TWENTY = {"superseded": 1, "unchanged": 1, "inserted": 16, "undeleted": 1, "updated": 1, "read": 20}


def test_twenty_rows_take_one_batch_to_read_and_one_to_write(case, server):
    """And nothing else: neither a transaction's beginning nor its end, nor anything when a connection is opened."""
    publish = Publishing(case, *TWENTY)
    case.app.warehouse._engine.units.close_idle()
    before = len(server.statements)

    merged = case.app.warehouse.merge(publish.plan, publish.staged, replace(
        publish.plan.run, finished=publish.plan.run.started, read=20, exported_at=publish.plan.unit.exported_at
    ), Limits(max_delete_share=1.0))  # fmt: skip

    assert 2 == len(server.statements) - before
    assert OF_TWENTY == some(merged.run)
    case.app.warehouse._engine.units.close_idle()


def test_few_rows_are_staged_nowhere(case, server):
    """All that staging does is forget what an earlier try of it rejected."""
    before = len(server.statements)

    publish = Publishing(case, *TWENTY)

    assert 3 == len(server.statements) - before
    assert ["DELETE FROM [ingest].[rejected]"] == [s[:31] for s in server.statements[before:] if "TRANSACTION" not in s]
    publish()
    assert [] == tables_made(server.statements[before:])


def test_what_changes_nothing_is_history_too(case, server):
    """A run of rows that are all there is written down, and no row is touched."""
    before = case.rows("SyncedAt", "SyncedBy")

    run = case.loaded("delta", 6, row(1, "Ada", 1), row(2, "Old", 1))

    assert {"unchanged": 1, "stale": 1, "read": 2} == some(run)
    assert before == case.rows("SyncedAt", "SyncedBy")
    assert run == case.app.warehouse.run(run.id)


def test_a_delta_without_rows_is_merged(case):
    """There is nothing to look for."""
    assert {} == some(case.loaded("delta", 6))


def test_published_again_a_run_finds_itself(case):
    """The same counts, and nothing is done."""
    publish = Publishing(case, *TWENTY)
    first = publish()
    before = case.contents()

    assert first.run == publish().run
    assert before == case.contents()


def test_hard_deletions_and_numbers_as_cursors(tmp_path, server):
    """Directly as well."""
    case = opened(tmp_path, server)
    case.loaded("full", 5, row(1), row(2), table="hard")
    case.loaded("full", 5, row(1, Version=9), row(2, Version=10), table="numbered", types={"Version": pa.int64()})

    hard = case.loaded("delta", 6, row(1, "Ada", 3, True), row(7, "Eve", 3, True), table="hard")
    numbered = case.loaded(
        "delta", 6, row(1, "Bob", Version=10), row(2, "Bob", Version=9), table="numbered", types={"Version": pa.int64()}
    )

    assert {"deleted": 1, "unchanged": 1, "read": 2} == some(hard)
    assert [("Ada",)] == case.rows("Name", table="hard")
    assert {"updated": 1, "stale": 1, "read": 2} == some(numbered)
    assert [] == [s for s in server.statements if "CREATE TABLE [#changes]" in s][2:]


@pytest.mark.parametrize("kind", VALUES)
def test_every_value_arrives_as_it_is(tmp_path, server, kind):
    """Inserted, found unchanged, and put in the place of others, NULL among them."""
    arrow, values = VALUES[kind]
    case = opened(tmp_path, server)
    short = [value for value in values if not isinstance(value, str) or len(value) < 1_000]
    # Rows of a full come by a staging table; it makes the columns that the others find.
    case.loaded("full", 5, row(0, Value=values[0]), types={"Value": arrow})
    before = len(server.statements)
    inserted = case.loaded("delta", 6, *(row(n, Value=v) for n, v in enumerate(short, 1)), types={"Value": arrow})
    again = case.loaded("delta", 7, *(row(n, Value=v) for n, v in enumerate(short, 1)), types={"Value": arrow})
    turned = short[1:] + short[:1]
    updated = case.loaded(
        "delta", 8, *(row(n, Value=v, modified=2) for n, v in enumerate(turned, 1)), types={"Value": arrow}
    )

    assert [len(short)] * 3 == [inserted.inserted, again.unchanged, updated.updated]
    assert turned == [value for (value,) in case.rows("Value")[1:]]
    assert [] == tables_made(server.statements[before:])


def test_columns_and_keys_may_be_called_anything(tmp_path, server):
    """What looks like SQL or a parameter is a name."""
    case = opened(tmp_path, server)
    names = [name for name in HOSTILE if name.strip()]
    types = {name: pa.string() for name in names}
    case.loaded("full", 5, row(1, **dict.fromkeys(names, "x")), types=types)
    before = len(server.statements)

    run = case.loaded("delta", 6, row(1, "Bob", 3, **dict.fromkeys(names, "?")), row(2), types=types)

    assert {"updated": 1, "inserted": 1, "read": 2} == some(run)
    assert [("?",) * len(names), (None,) * len(names)] == case.rows(*names)
    assert [] == tables_made(server.statements[before:])


def test_keys_that_look_alike_are_told_apart(tmp_path, server):
    """The server takes some of them for equal."""
    case = opened(tmp_path, server)
    case.loaded("full", 5, *(row(key, f"old {key}") for key in LOOKALIKES), key=pa.string())
    before = len(server.statements)

    run = case.loaded("delta", 6, row("a ", "new", 3), row("ß", "new", 3), row("A\t", "new", 3), key=pa.string())

    assert {"updated": 2, "inserted": 1, "read": 3} == some(run)
    found = dict(case.query('SELECT "ItemId", "Name" FROM "shop"."item"'))
    assert {**{key: f"old {key}" for key in LOOKALIKES}, "a ": "new", "ß": "new", "A\t": "new"} == found
    assert [] == tables_made(server.statements[before:])


def test_keys_of_several_columns(tmp_path, server):
    """Each part counts."""
    case, line = opened(tmp_path, server), {"Line": pa.time64("us")}
    first, second = dt.time(1, 2, 3, 4), dt.time(1, 2, 3, 5)
    case.loaded("full", 5, row("x", Line=first), row("x", Line=second), table="pair", key=pa.string(), types=line)
    before = len(server.statements)

    run = case.loaded("delta", 6, row("x", "Bob", 3, Line=second), table="pair", key=pa.string(), types=line)

    assert {"updated": 1, "read": 1} == some(run)
    assert {(first, "Ada"), (second, "Bob")} == set(case.query('SELECT "Line", "Name" FROM "shop"."pair"'))
    assert [] == tables_made(server.statements[before:])


# -- what takes a staging table after all


def test_first_load_makes_the_table(tmp_path, server):
    """Rows that came inline are staged when there is no table to compare them with."""
    case = opened(tmp_path, server)

    run = case.loaded("delta", 5, row(1), row(2))

    assert {"inserted": 2, "read": 2} == some(run)
    assert 1 == len(tables_made(server.statements))
    assert [] == case.query("SELECT t.name FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id"
                             " WHERE s.name = N'staging'")  # fmt: skip


@pytest.mark.parametrize(
    ("more", "kind", "expected"),
    [
        ({"Extra": "x"}, pa.string(), "text"),
        ({"Size": 1 << 40}, pa.int64(), "bigint"),
        ({"Name": "x" * 5_000}, pa.string(), "text"),
    ],
)
def test_table_that_has_to_grow_is_merged_into_the_ordinary_way(tmp_path, server, more, kind, expected):
    """A new column, a wider one, a text too long for its column."""
    case = opened(tmp_path, server)
    case.loaded("full", 5, row(1, Size=1), types={"Size": pa.int32()})
    before = len(server.statements)
    types = {name: kind for name in more if name != "Name"}
    (name,) = more

    run = case.loaded("delta", 6, {**row(1, "Bob", 3), **more}, types=types)

    assert {"updated": 1, "read": 1} == some(run)
    assert expected == case.columns()[name]
    assert [(more[name],)] == case.rows(name)
    assert 1 == len(tables_made(server.statements[before:]))


def test_types_that_do_not_go_together_are_refused_as_ever(case):
    """By the ordinary merge, which names column and file."""
    case.loaded("delta", 6, row(1, Size=1), types={"Size": pa.int64()})

    assert "is bigint, but text in" in case.refused("delta", 7, row(1, Size="x"), types={"Size": pa.string()})


@pytest.mark.parametrize("name", ["ItemId", "SyncedAt"])
def test_foreign_table_is_left_to_the_ordinary_merge(case, server, name):
    """A table that lacks the key or our columns."""
    change(server, f"EXEC sp_rename N'shop.item.{name}', N'Other', N'COLUMN'")
    publish = Publishing(case, row(1, "Bob", 3))

    assert case.app.warehouse._engine.direct(publish.plan, publish.staged, publish.plan.run) is None
    case.app.warehouse._engine.units.close_idle()


def test_two_stored_rows_with_one_key_are_refused(case, server):
    """As in the ordinary way, whose business it is."""
    change(server, "INSERT INTO [shop].[item] SELECT * FROM [shop].[item] WHERE [ItemId] = 1")

    assert "have the same key as another row" in case.refused("delta", 6, row(1, "Bob", 3))


def test_row_that_goes_meanwhile_is_noticed(case, server, monkeypatch):
    """Somebody else's hand in the table: nothing of the run is written."""
    publish = Publishing(case, row(2, "Bea", 3), row(1, "Bob", 3))
    interrupted(monkeypatch, lambda: change(server, "DELETE FROM [shop].[item] WHERE [ItemId] = 1"))

    with pytest.raises(DataError, match="does not exist exactly once"):
        publish()
    assert [("Bob",), ("Cy",)] == case.rows("Name")
    assert 1 == len(case.app.warehouse.runs("shop.item"))


def test_complete_full_is_never_merged_in_memory(case):
    """What it lacks is absent: that needs the whole table, even if its rows came inline."""
    publish = Publishing(case, row(1, "Ada", 1))
    run = replace(publish.plan.run, kind="full", complete=True, read=1)

    merged = case.app.warehouse.merge(publish.plan, publish.staged, run, Limits(max_delete_share=1.0))

    assert {"unchanged": 1, "absent": 1, "read": 1} == some(merged.run)
    case.app.runner.tidy(publish.plan)


def test_rows_of_a_complete_full_are_staged_at_once(case, server):
    """They will need their table anyway."""
    before = len(server.statements)

    publish = Publishing(case, row(1, "Ada", 1), row(2, "Bob", 2), kind="full")

    assert [None] == [part.inline for part in publish.staged]
    assert 1 == len(tables_made(server.statements[before:]))
    assert {"unchanged": 2, "read": 2} == some(publish().run)


def test_dry_run_shows_its_changes(case):
    """Which are those of the ordinary merge, and stay nowhere."""
    before = case.contents()

    merged = Publishing(case, row(1, "Bob", 3))(dry_run=True)

    assert [("updated", "Ada", "Bob")] == [(c.outcome, c.before["Name"], c.after["Name"]) for c in merged.changes]
    assert before == case.contents()


def test_slices_that_are_not_all_inline_are_merged_together(tmp_path, server):
    """What came inline gets the staging table it was spared."""
    case = opened(tmp_path, server, SLICE_ROWS="21")
    case.loaded("full", 5, row(1))
    publish = Publishing(case, *(row(n, f"n{n}", 3) for n in range(1, 23)), groups=1)

    merged = publish()

    assert [False, True] == [part.inline is not None for part in publish.staged]
    assert {"inserted": 21, "updated": 1, "read": 22} == some(merged.run)


def test_several_slices_that_are_all_inline_are_merged_in_memory(tmp_path, server):
    """As one run."""
    case = opened(tmp_path, server, SLICE_ROWS="2")
    case.loaded("full", 5, row(1))
    before = len(server.statements)
    publish = Publishing(case, row(1, "Bob", 3), row(2), row(2, "Bea", 3), groups=1)

    merged = publish()

    assert 2 == len(publish.staged)
    assert {"superseded": 1, "inserted": 1, "updated": 1, "read": 3} == some(merged.run)
    assert [] == tables_made(server.statements[before:])


@pytest.mark.parametrize("most", [7, 30])
def test_more_parameters_than_a_statement_takes(case, server, monkeypatch, most):
    """Too many keys to ask for, or too many values to write: the server would refuse the batch."""
    monkeypatch.setattr(direct, "_MOST_PARAMETERS", most)
    before = len(server.statements)

    run = case.loaded("delta", 6, row(1, "Bob", 3), row(4))

    assert {"updated": 1, "inserted": 1, "read": 2} == some(run)
    assert 1 == len(tables_made(server.statements[before:]))
    assert [most > 7] == [any("IF OBJECT_ID(N'[shop].[item]')" in text for text in server.statements[before:])]


def test_row_the_server_refuses_says_how_to_set_it_aside(case, monkeypatch):
    """It cannot be rejected any more once the slice is staged."""
    publish = Publishing(case, row(1, "Bob", 3, Extra="x"), types={"Extra": pa.string()})
    loaded = case.app.warehouse._engine.load
    refused = [type("One", (), {"reason": "an odd value"})()]
    monkeypatch.setattr(case.app.warehouse._engine, "load", lambda *a: loaded(*a)._replace(refused=refused))

    with pytest.raises(DataError, match=r"an odd value.*WAREHOUSE_LOADER=array"):
        publish()


# -- when things go wrong


def interrupted(monkeypatch: pytest.MonkeyPatch, between: Any, times: int = 1) -> None:
    """Let something happen between the first batch and the second, so many times."""
    left = [times]
    original = MSSQLSession.batch

    def batch(self: MSSQLSession, text: str, parameters: Any) -> Any:
        if "sp_getapplock" in text and left[0]:
            left[0] -= 1
            between()
        return original(self, text, parameters)

    monkeypatch.setattr(MSSQLSession, "batch", batch)


READ, WRITE = r"^SET LOCK_TIMEOUT", r"sp_getapplock.*UPDATE"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("which", [READ, WRITE])
def test_lost_answer_changes_nothing(case, server, which, after):
    """The unit is done again as a whole, and finds itself if it was done: rows, history and counts are as ever."""
    publish = Publishing(case, row(1, "Bob", 3), row(4))
    server.fail_next(which, 0, after=after)

    merged = publish()

    assert {"updated": 1, "inserted": 1, "read": 2} == some(merged.run)
    assert [("Bob",), ("Bob",), ("Cy",), ("Ada",)] == case.rows("Name")
    assert [merged.run, 2] == [case.app.warehouse.run(merged.run.id), len(case.app.warehouse.runs("shop.item"))]


@pytest.mark.parametrize("number", [1205, 40613, 1222])
def test_what_passes_is_tried_again(case, server, number):
    """A deadlock, a failover, a lock that others held too long: nothing of the first try stays."""
    publish = Publishing(case, row(1, "Bob", 3), row(4))
    server.fail_next(WRITE, number)

    assert {"updated": 1, "inserted": 1, "read": 2} == some(publish().run)


def test_failure_in_the_middle_takes_all_back(case, server):
    """One transaction: what was updated before is as it was."""
    publish = Publishing(case, row(1, "Bob", 3), row(4))
    before = case.contents()
    server.fail_next(WRITE, 547, after=False)

    with pytest.raises(ConfigError):
        publish()
    publish.app.warehouse._engine.units.close_idle()
    assert before == case.contents()


@pytest.mark.parametrize(("taken", "error"), [(-1, TransientError), (-999, ConfigError), (-3, TransientError)])
def test_lock_that_is_not_granted_ends_the_run(case, server, taken, error):
    """Nothing is written; what the lock's answer means is the same as for every merge."""
    publish = Publishing(case, row(1, "Bob", 3))
    before = case.contents()
    server.applock_result = taken

    with pytest.raises(error, match=r"lock|another merge"):
        publish()
    server.applock_result = None
    assert before == case.contents()


def test_merge_of_somebody_else_is_waited_for_until_time_is_up(tmp_path, server):
    """The lock is the one that every merge into the table takes."""
    case = opened(tmp_path, server, WAREHOUSE_LOCK_TIMEOUT="0.05")
    case.loaded("full", 5, row(1))
    publish = Publishing(case, row(1, "Bob", 3))
    engine = case.app.warehouse._engine

    def unit(session: Any) -> None:
        engine.lock(session, "shop.item")
        with pytest.raises(TransientError, match=r"another merge into shop.item has been running for 0.05 s"):
            publish.merge(publish.plan)

    engine.units.run(unit)
    assert {"updated": 1, "read": 1} == some(publish().run)


def test_run_that_comes_between_is_seen(tmp_path, case, server, monkeypatch):
    """What was read is old by then: all is done again, on what is stored now."""
    publish = Publishing(case, row(1, "Bob", 3))
    other = opened(tmp_path, server)
    interrupted(monkeypatch, lambda: other.loaded("delta", 7, row(1, "Zoe", 4)))

    merged = publish()

    assert {"stale": 1, "read": 1} == some(merged.run)
    assert [("Zoe",), ("Bob",), ("Cy",)] == case.rows("Name")


def test_too_many_runs_between_are_waited_for_in_the_ordinary_way(tmp_path, case, server, monkeypatch):
    """Whoever looks without a lock might look for ever."""
    publish = Publishing(case, row(1, "Bob", 15), number=15)
    days = iter(range(7, 15))
    runs = direct._LOOKS
    other = opened(tmp_path, server, WAREHOUSE_LOADER="array")
    interrupted(monkeypatch, lambda: other.loaded("delta", next(days), row(2, "Zoe", 4)), runs)
    before = len(server.statements)

    merged = publish()

    assert {"updated": 1, "read": 1} == some(merged.run)
    assert runs + 1 == len(tables_made(server.statements[before:]))


def test_second_client_is_refused(case):
    """With the same words as ever."""
    publish = Publishing(case, row(1, "Bob", 3))
    plan = replace(publish.plan, run=replace(publish.plan.run, client="Other"))

    with pytest.raises(ConfigError, match="holds the data of client 'Acme', this is of 'Other'"):
        publish.merge(plan)


def test_rows_that_got_lost_on_the_way_are_missed(case):
    """As many have to come as were read."""
    publish = Publishing(case, row(1, "Bob", 3))

    with pytest.raises(DataError, match=r"2 rows of shop.item were passed on, but 1 are there"):
        publish([replace(publish.staged[0], rows=2)])


# -- what travels


def test_staged_rows_travel_as_json(case):
    """What another machine publishes is what this one read."""
    publish = Publishing(case, *TWENTY)
    reported = [from_json(Staged, json.loads(json.dumps(asdict(part)))) for part in publish.staged]

    assert publish.staged == reported
    assert OF_TWENTY == some(publish(reported).run)


@pytest.mark.parametrize("kind", VALUES)
def test_inline_rows_are_read_back_as_they_were(kind):
    """Every type, and no rows at all."""
    arrow, values = VALUES[kind]
    batch = pa.RecordBatch.from_arrays([pa.array(values, arrow)], names=["x"])

    assert [batch, batch.slice(1)] == list(inline.read(inline.written([batch, batch.slice(1)])))
    assert [] == list(inline.read(inline.written([])))


def test_rows_that_take_too_much_room_are_staged(case, server):
    """What travels stays small, however long the texts are."""
    chance = random.Random(1)
    before = len(server.statements)
    text = "".join(chr(chance.randint(0x4E00, 0x9FFF)) for _ in range(3_900))
    publish = Publishing(case, row(1, text, 3), row(2, text[::-1], 3))

    assert [None] == [part.inline for part in publish.staged]
    assert 1 == len(tables_made(server.statements[before:]))
    assert {"updated": 2, "read": 2} == some(publish().run)


def test_slices_share_the_room(tmp_path, server):
    """All of them travel to publish together."""
    case = opened(tmp_path, server, SLICE_ROWS="1")

    publish = Publishing(case, *(row(n) for n in range(40)), groups=1)

    assert 40 == len(publish.staged)
    assert 12_000 >= sum(len(part.inline or "") for part in publish.staged)


def test_long_key_is_rejected_before_it_travels(tmp_path, server):
    """As in every other way; the rest goes on."""
    case = opened(tmp_path, server)
    case.loaded("full", 5, row("a"), key=pa.string())
    many = [row(f"k{n}") for n in range(15)]

    run = case.loaded("delta", 6, row("k" * 451), *many, key=pa.string())

    assert {"rejected": 1, "inserted": 15, "read": 16} == some(run)
    assert ["key_too_long"] == [reject["code"] for reject in case.app.warehouse.rejects("shop.item")]


def test_rows_that_travel_are_neither_logged_nor_kept(case, caplog):
    """They are data, and belong in the table alone."""
    caplog.set_level(logging.DEBUG)
    publish = Publishing(case, row(1, "Bob", 3))

    publish()

    inline = publish.staged[0].inline
    assert inline
    assert inline not in repr(publish.staged)
    assert inline not in caplog.text
    assert inline not in repr(case.query("SELECT * FROM [ingest].[run]"))
