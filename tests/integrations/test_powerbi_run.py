"""What the queries for Power BI return, by an evaluator of the part of Power Query that they use."""

from __future__ import annotations

import json
import subprocess

from pathlib import Path

from tests.servers.npm import node, npm_package

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "integrations" / "powerbi"
EXPORTS, LAKE, SERVER, DATABASE = "exports", "lake", "server", "database"
NOW = "2026-02-25T00:00:00Z"


def evaluated(query, sources, *, start="2026-02-01", end="2026-03-01"):
    """The value of the query, or the text of its error. Times are ISO texts in what comes out."""
    parser = npm_package("@microsoft/powerquery-parser").parents[2]
    names = {
        "ExportsUrl": EXPORTS, "LakeUrl": LAKE, "ServerName": SERVER, "DatabaseName": DATABASE, "Now": {"time": NOW},
        "RangeStart": {"time": f"{start}T00:00:00"}, "RangeEnd": {"time": f"{end}T00:00:00"},
    }  # fmt: skip
    command = [node("The parser of Power Query"), ROOT / "tests" / "integrations" / "powerquery_run.cjs", parser]
    done = subprocess.run(
        [*command, FOLDER / query], input=json.dumps({"names": names, "sources": sources}), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    return found.get("error") or found["value"]


# -- the newest dump


def file(path, *rows, written="2026-02-24T00:00:00"):
    return {"Name": path, "Date modified": {"time": written}, "Content": list(rows)}


def latest(*files):
    found = evaluated("LatestExport.pq", {EXPORTS: list(files)})
    return found if isinstance(found, str) else [row["Id"] for row in found]


def test_every_part_of_the_newest_dump_is_read():
    """Also where a part lacks a column. An older dump, another dataset and other folders are not."""
    assert [1, 2] == latest(
        file("20260223120000/outlet_dump_a/1.parquet", {"Id": 9, "IsDeleted": False}),
        file("20260224/outlet_dump_b/1.parquet", {"Id": 1, "IsDeleted": False, "New": 1}),
        file("20260224/outlet_dump_b/2.PARQUET", {"Id": 2, "IsDeleted": False}),
        file("20260224/order_dump_b/1.parquet", {"Id": 8, "IsDeleted": False}),
        file("20260224/outlet_dump_b/readme.txt", {"Id": 7, "IsDeleted": False}),
        file("latest/outlet_dump_b/1.parquet", {"Id": 6, "IsDeleted": False}),
        file("20260224/outlet_dump_b/more/1.parquet", {"Id": 5, "IsDeleted": False}),
    )


def test_newest_is_by_time_and_not_by_length():
    """A day is its midnight."""
    assert [1] == latest(
        file("20260224/outlet_dump_a/1.parquet", {"Id": 2, "IsDeleted": False}),
        file("20260224000001/outlet_dump_a/1.parquet", {"Id": 1, "IsDeleted": False}),
    )


def test_dump_that_is_being_written_is_not_read_yet():
    """One fresh part is enough; whatever kind of time the connector gives."""
    for zone in ("", "Z"):
        assert [1] == latest(
            file(
                "20260223/outlet_dump_a/1.parquet", {"Id": 1, "IsDeleted": False}, written=f"2026-02-23T00:00:00{zone}"
            ),
            file(
                "20260224/outlet_dump_a/1.parquet", {"Id": 2, "IsDeleted": False}, written=f"2026-02-24T00:00:00{zone}"
            ),
            file(
                "20260224/outlet_dump_a/2.parquet", {"Id": 3, "IsDeleted": False}, written=f"2026-02-24T23:55:00{zone}"
            ),
        )


def test_flag_may_be_a_logical_value_or_a_number():
    """The example compared with 0 alone, and found no active row where it is logical."""
    flags = [False, True, 0, 1, None]
    rows = [{"Id": id, "IsDeleted": flag} for id, flag in enumerate(flags)]

    assert [0, 2, 4] == latest(file("20260224/outlet_dump_a/1.parquet", *rows))


def test_no_complete_dump_is_said_to_be_none():
    """Not an error about a list."""
    assert "There is no complete dump of outlet in exports" == latest()


# -- tables


def row(id, first, synced, deleted=None):
    times = {"FirstSyncAt": first, "SyncedAt": synced, "DeletedAt": deleted}
    return {"Id": id, **{name: day and {"time": f"2026-{day}T00:00:00"} for name, day in times.items()}}


def database(*rows):
    tables = {"location": rows, "location_active": [one for one in rows if one["DeletedAt"] is None]}
    return {
        f"{SERVER}/{DATABASE}": [{"Schema": "coolr", "Item": name, "Data": [*data]} for name, data in tables.items()]
    }


BEFORE = database(
    row(1, "01-31", "02-20"), row(2, "02-01", "02-02"), row(3, "02-28", "02-28"), row(4, "03-01", "03-01")
)
AFTER = database(
    row(1, "01-31", "02-20"), row(2, "02-01", "03-05", "03-04"), row(3, "02-28", "02-28"), row(4, "03-01", "03-01")
)


def test_each_row_is_in_one_partition():
    """By FirstSyncAt, from the start to before the end."""
    months = [("2026-01-01", "2026-02-01"), ("2026-02-01", "2026-03-01"), ("2026-03-01", "2026-04-01")]
    found = [evaluated("ActiveRows.pq", BEFORE, start=start, end=end) for start, end in months]

    assert [[1], [2, 3], [4]] == [[one["Id"] for one in part] for part in found]


def test_deletion_changes_the_polled_value_but_not_that_of_the_active_rows():
    """Why the polling expression reads the table: here the deleted row is not even the newest."""
    active = [max(one["SyncedAt"] for one in evaluated("ActiveRows.pq", tables)) for tables in (BEFORE, AFTER)]
    polled = [evaluated("LastChange.pq", tables) for tables in (BEFORE, AFTER)]

    assert active[0] == active[1]
    assert ["2026-02-28T00:00:00", "2026-03-05T00:00:00"] == polled


def test_empty_partition_has_a_value_to_compare_with():
    """As Power BI's own expression gives it."""
    assert "1901-01-01T00:00:00" == evaluated("LastChange.pq", database())


def test_rows_with_deleted_ones_say_which_are_active():
    """For models that cannot set a polling expression."""
    found = evaluated("AllRows.pq", AFTER)

    assert [(2, False), (3, True)] == [(one["Id"], one["IsActive"]) for one in found]


def test_lake_gives_the_active_rows_of_the_partition():
    """Its times have a zone; the parameters of Power BI have none."""
    rows = [row(1, "02-01", "02-01"), row(2, "02-02", "02-03", "02-03"), row(3, "03-01", "03-01")]
    for one in rows:
        for name in ("FirstSyncAt", "SyncedAt"):
            one[name] = {"time": f"{one[name]['time']}Z"}

    assert [1] == [one["Id"] for one in evaluated("LakeActiveRows.pq", {f"{LAKE}/coolr/location": rows})]


def test_appended_rows_are_divided_by_the_day_of_the_run():
    """As the files of the lake are."""
    rows = [
        {"Id": id, "SyncedOn": {"time": f"2026-{day}T00:00:00"}} for id, day in enumerate(("01-31", "02-01", "03-01"))
    ]

    assert [1] == [one["Id"] for one in evaluated("LakeAppendedRows.pq", {f"{LAKE}/coolr/location": rows})]
