"""Few rows without a staging table end as the ordinary merge ends."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
import tempfile

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from shared.app import App
from shared.model import OUTCOMES, Feed, Run, from_text
from shared.mssql import odbc
from shared.pipeline.folder import LoadOptions
from shared.warehouses.merge import history
from shared.warehouses.merge.changes import BY, Rules
from shared.warehouses.merge.in_memory import ColumnNames, Stored, decide
from tests.exports import START, Clock, load_exports, open_test_app
from tests.standins.tsql.engine import Server
from tests.warehouses.azure_sql.direct.samples import URL
from tests.warehouses.merge.reference_model import Table
from tests.warehouses.merge.wild_files import EPOCH, Law, stored, wild_file

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
            rules = history.rules(of, run, history.Past(overtaken(run, runs), None, None, None))
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
@pytest.mark.long
@settings(_FAST, max_examples=400)
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


@pytest.mark.slow
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
