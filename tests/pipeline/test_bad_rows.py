"""Names that cannot be columns or tables, files without rows, rows that are too many, late or the same."""

from __future__ import annotations

import datetime as dt
import tomllib

import pyarrow as pa
import pytest

from tests.pipeline.bad_input import (
    FIRST,
    LENIENT,
    MORNING,
    SECOND,
    Lab,
    case,
    numbers,
    refused_alone,
    thing,
    things,
)

pytestmark = pytest.mark.usefixtures("reading")  # both ways into DuckDB

# -- names of columns and tables


NAMES = {
    "name-hostile": 'x"]; DROP TABLE y; --',
    "name-emoji": "🧊",
    "name-63-bytes": "é" * 31 + "x",
    "name-empty": "",
    "name-200": "x" * 200,
    "name-nul": "a\0b",
}


@pytest.mark.parametrize("name", ["name-hostile", "name-emoji", "name-63-bytes"])
def test_a_strange_column_name_is_stored_as_it_is(lab, row, name):
    """Names are quoted, never pasted: whatever can be a name is one."""
    lab.put([thing(**{NAMES[name]: 7})])
    lab.put([thing(2, **{NAMES[name]: 8})], "delta", SECOND)

    counts = [result.run.inserted for result in lab.load()]

    assert [1, 1] == counts
    assert [7, 8] == lab.column(NAMES[name])
    row.holds("loaded", f"column {NAMES[name]}")


@pytest.mark.parametrize("name", ["name-empty", "name-200", "name-nul"])
def test_a_column_name_that_cannot_be_stored_refuses_the_file(lab, row, name):
    """What some engine here could not hold is refused on every engine."""
    lab.put([thing(**{NAMES[name]: 7})])

    row.holds("file refused", refused_alone(lab))


@case("name-case-twins")
def test_two_columns_that_differ_only_in_case_refuse_the_file(lab, row):
    """Most databases take Id and ID for one column."""
    lab.put([thing(Id=1, ID=2)])

    row.holds("file refused", refused_alone(lab))


@case("name-ours")
def test_a_source_column_with_one_of_our_names_is_kept_under_another(lab, row):
    """SyncedAt of the source becomes SyncedAt_source; ours says when the merge was."""
    lab.put([thing(SyncedAt="theirs")])
    lab.load()

    assert [lab.clock.now.replace(tzinfo=None)] == lab.column("SyncedAt")
    assert ["theirs"] == lab.column("SyncedAt_source")
    row.holds("loaded", "SyncedAt_source")


@case("name-ours-twice")
def test_a_name_that_our_suffix_would_double_refuses_the_file(lab, row):
    """SyncedAt beside SyncedAt_source leaves no name for either."""
    lab.put([thing(SyncedAt="theirs", SyncedAt_source="theirs too")])

    row.holds("file refused", refused_alone(lab))


@case("table-hostile")
def test_a_hostile_table_name_is_quoted_like_any_other(lab, row):
    """A file may be called anything that can be a table."""
    name = 'y"]; drop table thing; --'
    lab.put([thing()])
    lab.put([{f"{name}Id": 1, "ModifiedOn": MORNING, "IsDeleted": False}], table=name)

    done = [result.run.status for result in lab.load()]

    assert ["done", "done"] == done
    assert sorted(["thing", "thing_active", name, f"{name}_active"]) == lab.tables()
    row.holds("loaded", f"table {name}")


@case("table-of-ours")
def test_a_table_with_the_name_of_a_view_is_refused(lab, row):
    """`thing_active` is what the view of `thing` is called."""
    lab.put([{"thing_activeId": 1, "ModifiedOn": MORNING, "IsDeleted": False}], table="thing_active")

    row.holds("file refused", lab.error())


@case("undeclared")
def test_an_undeclared_table_without_the_usual_columns_shows_the_line_to_add(lab, row):
    """The line the error shows, put under [tables], makes the same file load."""
    lab.put([{"Nr": 1, "Code Id": 'a"b', "ModifiedOn": MORNING}], table="odd")
    error = lab.error()
    row.holds("file refused", error)
    line = error.partition("there: ")[2].removesuffix(".")
    assert {"odd": {"keys": ["Code Id"], "deleted": False}} == tomllib.loads(line)

    corrected = Lab(lab.folder, LENIENT + line + "\n")

    assert {"inserted": 1} == corrected.counts()


@case("key-column-missing")
def test_a_declared_table_without_its_key_column_is_refused(lab, row):
    """Without its key no row can be told from another."""
    lab.put([{"Name": "a", "ModifiedOn": MORNING, "IsDeleted": False}])

    row.holds("file refused", refused_alone(lab))


# -- rows


@case("no-rows-delta")
def test_a_delta_without_rows_is_a_run_that_changes_nothing(lab, row):
    """An empty delta is no fault."""
    lab.put([thing()])
    lab.put(things(1).slice(0, 0), "delta", SECOND)
    lab.load(lab.path().parent)

    counts = lab.counts(lab.path("delta", SECOND).parent)

    assert {} == counts
    assert [1] == lab.column("ThingId")
    row.holds("loaded", f"{counts.get('read', 0)} rows")


@case("no-rows-full")
def test_a_full_without_rows_over_a_full_table_is_refused(lab, row):
    """An empty full says that everything is gone: more than the share allows."""
    lab.put(numbers(20))
    lab.load()
    lab.put(numbers(20).slice(0, 0), stamp=SECOND)

    error = lab.error()

    assert 20 == len(lab.column("ThingId", "thing_active"))
    row.holds("run refused", error)


@case("full-lacks-nearly-all")
def test_a_full_that_lacks_nearly_everything_is_refused_until_it_is_allowed(lab, row):
    """The error names the option that lets it pass, and with it the full is merged."""
    lab.put(numbers(20))
    lab.load()
    lab.put(numbers(2), stamp=SECOND)
    row.holds("run refused", lab.error())

    counts = lab.counts(max_delete_share=1.0)

    assert {"absent": 18, "unchanged": 2} == counts
    assert [1, 2] == lab.column("ThingId", "thing_active")


@case("key-all-null")
def test_rows_without_a_key_are_rejected(lab, row):
    """A row that cannot be told from others is rejected, whatever type the column has."""
    for kind, stamp in ((pa.int64(), FIRST), (pa.null(), SECOND)):
        table = things(1, 2).drop_columns("ThingId").append_column("ThingId", pa.nulls(2, kind))
        lab.put(table, "delta", stamp)

    runs = [result.run for result in lab.load()]

    assert [(2, 2, "done")] * 2 == [(run.read, run.rejected, run.status) for run in runs]
    assert [] == lab.column("ThingId")
    row.holds("row rejected", {reject["code"] for reject in lab.rejects()})


@case("key-all-null-share")
def test_a_file_whose_keys_are_all_null_is_over_the_share(tmp_path, row):
    """With the default share, a file without a single key comes to nothing, and its rows can be looked at."""
    lab = Lab(tmp_path, catalog=None)
    lab.put(things(1, 2).drop_columns("ThingId").append_column("ThingId", pa.nulls(2)))

    row.holds("run refused", lab.error())
    assert ["key_null"] * 2 == [reject["code"] for reject in lab.rejects()]


@case("reject-share")
def test_rejects_above_the_share_publish_nothing_and_stay_readable(tmp_path, row):
    """Two bad rows of ten are more than a tenth: nothing is merged, and the rejects say that their run failed."""
    lab = Lab(tmp_path, catalog=None)
    lab.put(things(*range(10)).set_column(0, "ThingId", pa.array([None, None, *range(8)], pa.int64())))

    row.holds("run refused", lab.error())
    assert [] == lab.tables()
    assert [("failed", "key_null")] * 2 == [(reject["status"], reject["code"]) for reject in lab.rejects()]


@case("same-key-1000")
def test_of_a_thousand_rows_with_one_key_the_newest_counts(lab, row):
    """The highest cursor wins; the others are superseded, and counted."""
    times = [MORNING + dt.timedelta(seconds=(n * 7) % 1000) for n in range(1000)]
    lab.put([thing(1, Value=n, ModifiedOn=time) for n, time in enumerate(times)])

    counts = lab.counts()

    assert [times.index(max(times))] == lab.column("Value")
    assert {"superseded": 999, "inserted": 1} == counts
    row.holds("loaded", counts)


@case("older-delta")
def test_a_delta_older_than_what_is_stored_changes_nothing(lab, row):
    """An older row arrives late: the newer one stays."""
    lab.put([thing(Value="new")], "delta", FIRST)
    lab.put([thing(Value="old", ModifiedOn=MORNING - dt.timedelta(days=1))], "delta", SECOND)

    first, second = (result.run for result in lab.load())

    assert (1, 1) == (first.inserted, second.stale)
    assert ["new"] == lab.column("Value")
    row.holds("loaded", f"{second.stale} stale")


@case("same-file-twice")
def test_the_same_file_is_taken_once(lab, row):
    """A file that is recorded done is skipped and named; asked for again, it changes nothing."""
    lab.put([thing(), thing(2)])
    lab.load()

    (second,) = lab.load()

    assert {"unchanged": 2} == lab.counts(again=True)
    row.holds("skipped", second.skipped)


@case("either-order")
@pytest.mark.parametrize("order", [(FIRST, SECOND), (SECOND, FIRST)])
def test_two_deltas_end_the_same_in_either_order(lab, row, order):
    """Newest wins, whatever comes first."""
    lab.put([thing(1, Value="old"), thing(2, Value="gone")], "delta", FIRST)
    noon = MORNING + dt.timedelta(hours=4)
    later = [thing(1, Value="new", ModifiedOn=noon), thing(2, Value="gone", ModifiedOn=noon, IsDeleted=True)]
    lab.put(later, "delta", SECOND)
    for stamp in order:
        lab.load(lab.path("delta", stamp).parent)

    found = lab.sql('SELECT "ThingId", "Value", "DeletedAt" FROM coolr.thing ORDER BY 1')

    assert [(1, "new", None), (2, "gone", noon)] == found
    row.holds("loaded", f"{found[0][1]} wins")
