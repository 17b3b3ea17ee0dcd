"""What was rejected goes out as CSV, is corrected by a person, and comes in again as if it had been right at once."""

from __future__ import annotations

import datetime as dt
import io

from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest

from shared import catalog
from shared.errors import ConfigError, DataError
from shared.pipeline.folder import LoadOptions
from shared.pipeline.replay import replay, write_rejects
from tests.exports import export_path, load_exports, open_test_app, write_parquet

DAY = dt.datetime(2026, 2, 20, 1, 2, 3, 456789)  # noqa: DTZ001 - as exports have it
FEED = "coolr.location"


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path)


def _reject(app, tmp_path, stamp="20260224000000", **columns):
    """Load twelve rows of which the last has no key; its other values are the last of *columns*."""
    ids = pa.array([*range(1, 12), None], pa.int64())
    table = {"LocationId": ids, "ModifiedOn": [DAY] * 12, "IsDeleted": [False] * 12, **columns}
    file = write_parquet(export_path(tmp_path / "exports", "Delta", stamp, "location"), pa.table(table))
    (result,) = load_exports(app, str(file), LoadOptions())
    assert 1 == result.run.rejected
    return result.run


def _csv(app, tmp_path, *corrections):
    out = io.BytesIO()
    write_rejects(app.warehouse, FEED, None, out)
    text = out.getvalue().decode()
    for old, new in corrections:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "corrected.csv"
    path.write_text(text, newline="")
    return path


def _rows(tmp_path, columns):
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute(f"SELECT {columns} FROM coolr.location WHERE LocationId = 99").fetchall()


def test_corrected_row_has_every_value_and_type_it_had(app, tmp_path):
    """NULL stays NULL, an empty text stays empty; quotes, lines and bytes come through."""
    nothing = [None] * 11
    values = {
        "Empty": ["x"] * 11 + [""],
        "Missing": ["x"] * 11 + [None],
        "Text": [*nothing, 'say "hi",\nlà'],
        "Price": pa.array([*nothing, "12.50"]).cast(pa.decimal128(9, 2)),
        "Bytes": pa.array([*nothing, b"\x00\xff"], pa.binary()),
        "Tags": [[]] * 11 + [["a", "b"]],
        "Share": [*nothing, 0.1],
        "Day": pa.array([*nothing, dt.date(2026, 2, 3)]),
        "Time": pa.array([*nothing, dt.time(1, 2, 3)], pa.time64("us")),
    }
    _reject(app, tmp_path, **values)

    (result,) = replay(app.runner, FEED, _csv(app, tmp_path, ('no key",,', 'no key","99",')))

    assert ("done", 1, 1) == (result.run.status, result.run.read, result.run.inserted)
    assert [
        (
            "",
            None,
            'say "hi",\nlà',
            "12.50",
            b"\x00\xff",
            '["a", "b"]',
            0.1,
            dt.date(2026, 2, 3),
            dt.time(1, 2, 3),
            DAY,
        )
    ] == _rows(tmp_path, "Empty, Missing, Text, Price::text, Bytes, Tags, Share, Day, Time, ModifiedOn")


def test_corrected_row_does_not_overwrite_what_came_later(app, tmp_path):
    """It has the export time it first came with."""
    rejected = _reject(app, tmp_path)
    later = pa.table({"LocationId": [99], "ModifiedOn": [DAY], "IsDeleted": [True]})
    list(
        load_exports(
            app, write_parquet(export_path(tmp_path / "exports", "Delta", "20260224120000", "location"), later)
        )
    )

    (result,) = replay(app.runner, FEED, _csv(app, tmp_path, ('no key",,', 'no key","99",')))

    assert (1, rejected.exported_at) == (result.run.stale, result.run.exported_at)


def test_replaying_twice_does_nothing_more(app, tmp_path):
    """The same corrected file is the same work."""
    _reject(app, tmp_path)
    file = _csv(app, tmp_path, ('no key",,', 'no key","99",'))
    list(replay(app.runner, FEED, file))

    (again,) = replay(app.runner, FEED, file)

    assert "already loaded (--again repeats it)" == again.skipped


def test_rows_of_several_runs_are_loaded_run_by_run(app, tmp_path):
    """Each with its own export time."""
    _reject(app, tmp_path)
    _reject(app, tmp_path, "20260224060000", Name=["x"] * 12)

    results = list(replay(app.runner, FEED, _csv(app, tmp_path, ('no key",,', 'no key","99",'))))

    assert {"2026-02-24T00:00:00.000000", "2026-02-24T06:00:00.000000"} == {r.run.exported_at for r in results}


def test_row_that_is_still_wrong_is_rejected_again(app, tmp_path):
    """And nothing is published, as it is all there is."""
    _reject(app, tmp_path)

    (result,) = replay(app.runner, FEED, _csv(app, tmp_path))

    assert "failed" == result.run.status
    assert "1 of 1 rows were rejected" in result.run.error


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("a,b\n1,2\n", DataError, "has no column reject:run"),
        ("reject:run,LocationId\n,1\n", DataError, "a row without reject:run"),
        ("reject:run,LocationId\nfeed,1\n", ConfigError, "rows of run feed, which coolr.location does not have"),
        ('reject:run\n"x\n', DataError, "is not a CSV of rejects"),
        ("", DataError, "has no column reject:run"),
    ],
)
def test_other_files_are_refused(app, tmp_path, content, kind, said):
    """In one line that says what to start from."""
    path = tmp_path / "other.csv"
    path.write_text(content)

    with pytest.raises(kind, match=said):
        list(replay(app.runner, FEED, path))


CATALOG = """
[system]
name = "coolr"
source = "exports"
[tables]
location = {{ keys = ["LocationId"], cursor = "ModifiedOn", deleted = "IsDeleted", types = {{ {types} }} }}
"""


def _declaring(app, tmp_path, types):
    (tmp_path / "catalog").mkdir(exist_ok=True)
    (tmp_path / "catalog" / "coolr.toml").write_text(CATALOG.format(types=types))
    return replace(app, systems=catalog.read(tmp_path / "catalog"))


def test_a_type_declared_since_is_not_undone_by_the_types_of_the_run(app, tmp_path):
    """A column that was converted to text stays text; if that is declared no longer, the rows are refused."""
    _reject(app, tmp_path, Value=pa.array([5] * 12, pa.int64()))
    path = _csv(app, tmp_path, ('no key",,', 'no key","99",'))
    app = _declaring(app, tmp_path, 'Value = "text"')
    _reject(app, tmp_path, "20260225000000", Value=["5"] * 12)

    (undeclared,) = replay(_declaring(app, tmp_path, "").runner, FEED, path)
    (declared,) = replay(app.runner, FEED, path)

    assert "is text, but bigint in" in undeclared.run.error
    assert declared.run.error is None
    assert [("5", "VARCHAR")] == _rows(tmp_path, '"Value", typeof("Value")')
