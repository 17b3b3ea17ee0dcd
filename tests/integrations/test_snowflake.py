"""The scripts for Snowflake: parsed by sqlglot's grammar of it, and their MERGE run on fakesnow."""

from __future__ import annotations

import itertools
import json
import re
import subprocess

from pathlib import Path

import pytest
import sqlglot

from sqlglot import exp

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "integrations" / "snowflake"
PYTHON = ROOT / ".venv-snowflake" / "bin" / "python"


def script(name):
    """The script with a name for each place to fill in."""
    return re.sub(r"<[\w ]+>", "name", (FOLDER / name).read_text(encoding="utf-8"))


def statements(name):
    """Its statements, without comments; a task is its first lines and the statement that it runs."""
    text = re.sub(r"^--.*\n", "", script(name), flags=re.MULTILINE)
    return [statement.strip() for statement in text.split(";\n") if statement.strip()]


def tasks():
    """The statement that each task runs, parsed, by the name of the task."""
    found = [
        re.fullmatch(r"CREATE OR REPLACE TASK (\w+)\n(.*?)\nAS\n(.*)", text, re.DOTALL)
        for text in statements("location.sql")
    ]
    return {task[1]: (task[2], sqlglot.parse_one(task[3], dialect="snowflake")) for task in found if task}


def test_setup_can_be_parsed():
    """Every statement, as what it is: one that the grammar does not know would be a mere command."""
    parsed = [sqlglot.parse_one(text, dialect="snowflake") for text in statements("setup.sql")]

    assert [exp.Create, exp.Create, exp.Use, exp.Create, exp.Describe, exp.Create, exp.Create] == [
        type(one) for one in parsed
    ]


def test_table_can_be_parsed():
    """But for streams, and for the first lines of tasks, which sqlglot does not know; what tasks run is parsed."""
    known = [text for text in statements("location.sql") if not re.match(r"(CREATE .*(TASK|STREAM)|ALTER TASK) ", text)]

    assert [exp.Use, exp.Create, exp.Create, exp.Create] == [
        type(sqlglot.parse_one(text, dialect="snowflake")) for text in known
    ]
    assert {"load_location": exp.Copy, "merge_location": exp.Merge} == {
        name: type(run) for name, (_, run) in tasks().items()
    }


def test_no_script_holds_a_credential():
    """The example had a SAS in it."""
    assert [] == [name for name in ("setup.sql", "location.sql") if re.search(r"SAS_TOKEN|sig=|PASSWORD", script(name))]


def test_tasks_run_every_six_hours_one_after_the_other():
    """The merge only if something has arrived; both are started, the later one first."""
    text = script("location.sql")

    assert "SCHEDULE = 'USING CRON 0 */6 * * * UTC'" in tasks()["load_location"][0]
    assert "AFTER load_location\n  WHEN SYSTEM$STREAM_HAS_DATA('location_new')" in tasks()["merge_location"][0]
    assert ["merge_location", "load_location"] == re.findall(r"^ALTER TASK (\w+) RESUME;", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("Delta/name/20260224120000/location.parquet", True),
        ("Full/name/20260224/location.parquet", True),
        ("Delta/name/latest/location.parquet", False),
        ("Delta/other/20260224/location.parquet", False),
        ("Delta/name/20260224/locationtype.parquet", False),
        ("Delta/name/20260224/locationxparquet", False),
    ],
)
def test_files_of_the_table_are_taken_and_no_others(path, taken):
    """By the whole path below the stage. What lies in "latest" lies in a folder with a time, too."""
    (pattern,) = re.findall(r"^PATTERN = '(.+)'$", script("location.sql"), re.MULTILINE)

    assert taken is bool(re.fullmatch(pattern, path))


def test_columns_that_arrive_are_columns_that_are_merged():
    """A column that was added to one table only would be lost."""
    arrived, stored = re.findall(r"^CREATE TABLE IF NOT EXISTS \w+ \((.*?)^\);", script("location.sql"), re.M | re.S)
    names = [re.findall(r"^  (\w+) ", columns, re.MULTILINE) for columns in (arrived, stored)]
    merge = tasks()["merge_location"][1]
    inserted = next(when for when in merge.find_all(exp.When) if not when.args["matched"]).args["then"]
    updated = next(when for when in merge.find_all(exp.When) if when.args["matched"]).args["then"]

    assert {"FileName", "FileRow"} == {*names[0]} - {*names[1]}
    assert names[1] == [column.name for column in inserted.this.expressions]
    changed = {one.this.name for one in updated.expressions}
    assert {*names[1]} - {"LocationId", "FirstSyncAt"} == changed


# -- the MERGE, on fakesnow

EARLY, LATE = "Delta/name/20260224/location.parquet", "Delta/name/20260224060000/location.parquet"


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """Merges lists of rows one after the other: what the table then has."""
    if not PYTHON.exists():
        pytest.skip("fakesnow is not here: make snowflake installs it")
    filled = tmp_path_factory.mktemp("snowflake") / "location.sql"
    filled.write_text(script("location.sql"))
    runner = ROOT / "tests" / "integrations" / "run_snowflake.py"

    def run(*lists):
        done = subprocess.run(
            [PYTHON, runner, filled], input=json.dumps(lists), capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run


def row(id, name, day, *, deleted=False, file=EARLY, place=1):
    return [id, name, day and f"2026-02-{day:02} 00:00:00", deleted, file, place]


@pytest.mark.slow
def test_newest_wins_in_every_order(merged):
    """Six orders of three deltas, and all at once: the last change counts, an older one changes nothing."""
    deltas = [[row(1, "a", 1), row(2, "x", 1)], [row(1, "b", 2), row(2, "x", 2, deleted=True)], [row(1, "c", 3)]]
    orders = [*itertools.permutations(deltas), [[*itertools.chain(*deltas)]]]

    ends = [merged(*order) for order in orders]

    for end in ends:
        assert [[1, "c", None], [2, "x", True]] == [
            [int(id), name, bool(gone) or None] for id, name, _, gone, *_ in end["rows"]
        ]
        assert [1] == end["active"]


@pytest.mark.slow
def test_repeated_rows_change_nothing_and_later_exports_win(merged):
    """Also where the cursors are equal, or missing; a key that is deleted comes back with a newer row only."""
    end = merged(
        [
            row(1, "a", 1),
            row(1, "b", 1, place=2),
            row(2, "n", None),
            row(3, "d", 5, deleted=True),
            row(None, "no key", 1),
        ],
        [row(1, "b", 1)],
        [row(1, "late", 1, file=LATE), row(2, "known", 1), row(3, "old", 4)],
        [row(1, "early", 1), row(2, "gone again?", None), row(3, "back", 6, deleted=None)],
    )

    assert [["1", "late"], ["2", "known"], ["3", "back"]] == [
        [str(int(float(id))), name] for id, name, *_ in end["rows"]
    ]
    assert [[3, 0], [0, 0], [0, 2], [0, 1]] == end["counts"]
    assert [1, 2, 3] == end["active"]
