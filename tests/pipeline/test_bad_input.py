"""What becomes of bad input, each case loaded from real files and held against docs/bad-input.md."""

from __future__ import annotations

import datetime as dt
import random
import re
import subprocess
import sys
import tomllib

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.app import App
from shared.errors import ConfigError
from shared.pipeline.folder import LoadOptions
from shared.pipeline.runner import Progress, Result
from tests.exports import START, Clock, export_path, load_exports, open_test_app, write_parquet

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "bad-input.md"
MORNING = dt.datetime(2026, 2, 24, 8)  # noqa: DTZ001 - as exports write it
FIRST, SECOND, THIRD = "20260224120000", "20260225120000", "20260226120000"

LENIENT = """
[system]
name = "coolr"
source = "exports"

[defaults]
cursor = "ModifiedOn"
deleted = "IsDeleted"
max_reject_share = 1

[undeclared]
keys = ["{table}Id"]

[tables]
thing = { keys = ["ThingId"] }
small = { keys = ["SmallId"], types = { Amount = "smallint" } }
"""
"""A catalog that lets every row be rejected, so that a file of one bad row shows what is said of it."""


# -- the page, and the tests that hold it


@dataclass
class Row:
    """One row of the page's table."""

    case: str
    input: str
    outcome: str
    message: str
    remedy: str
    held: bool = field(default=False)

    def holds(self, outcome: str, text: object) -> None:
        """Assert that the page promises *outcome*, and that each of its `quoted` words stands in *text*."""
        self.held = True
        assert self.outcome == outcome
        quoted = re.findall(r"``? ?(.+?) ?`?`", self.message)
        assert quoted, f"{self.case} quotes nothing"
        for words in quoted:
            pattern = ".*?".join(re.escape(part) for part in words.split("…"))
            assert re.search(pattern, str(text)), f"{words!r} is not in {str(text)!r}"


_HEAD = ["case", "input", "outcome", "message", "what to do"]


def page() -> dict[str, Row]:
    """The rows of the page's table, by case."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    rows = [Row(*found) for found in cells if len(found) == len(_HEAD) and found != _HEAD]
    assert len(rows) == len({row.case for row in rows})
    return {row.case: row for row in rows}


def case(name: str) -> Callable[[Any], Any]:
    """Mark a test as the one that holds row *name* of the page."""

    def mark(test: Any) -> Any:
        test.case = name
        return test

    return mark


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    """The page's row for this test, which the test must hold."""
    found = page()[
        getattr(
            request.function,
            "case",
            request.node.callspec.params.get("name") if hasattr(request.node, "callspec") else "",
        )
    ]
    yield found
    assert found.held


def test_page_and_tests_know_the_same_cases():
    """Every row of the page is held by one test, and every case has its row."""
    marked = [test.case for test in globals().values() if hasattr(test, "case")]

    assert sorted(page()) == sorted([*marked, *KEPT, *NAMES])


# -- a folder of exports, and an app to load it


class Lab:
    """Writes exports into a folder, loads it, and looks at what became of it."""

    def __init__(self, folder: Path, catalog: str | None = LENIENT, **env: str) -> None:
        self.exports = folder / "exports"
        self.folder = folder
        if catalog is not None:
            (folder / "catalog").mkdir(exist_ok=True)
            (folder / "catalog" / "coolr.toml").write_text(catalog, encoding="utf-8")
            env = {"CATALOG_PATH": str(folder / "catalog"), **env}
        self.clock = Clock(START + dt.timedelta(days=5))
        self.app: App = open_test_app(folder, self.clock, **env)

    def path(self, kind: str = "full", stamp: str = FIRST, table: str = "thing", client: str = "Acme") -> Path:
        return export_path(self.exports, kind, stamp, table, client)

    def put(
        self, rows: Any, kind: str = "full", stamp: str = FIRST, table: str = "thing", client: str = "Acme"
    ) -> Path:
        return write_parquet(self.path(kind, stamp, table, client), rows)

    def load(self, place: Path | None = None, watch: Progress | None = None, **options: Any) -> list[Result]:
        self.clock.forward(hours=1)
        return list(load_exports(self.app, str(place or self.exports), LoadOptions(**options), watch))

    def one(self, place: Path | None = None, watch: Progress | None = None, **options: Any) -> Result:
        (result,) = [result for result in self.load(place, watch, **options) if result.run]
        return result

    def error(self, *args: Any, **options: Any) -> str:
        result = self.one(*args, **options)
        assert result.failed
        return told(result.run.error)

    def counts(self, *args: Any, **options: Any) -> dict[str, int]:
        """The outcomes of the only run, without those that did not happen."""
        run = self.one(*args, **options).run
        assert run.error is None
        names = (
            "rejected", "superseded", "stale", "unchanged", "inserted", "deleted", "undeleted", "updated", "absent",
            "values_rejected",
        )  # fmt: skip
        return {name: getattr(run, name) for name in names if getattr(run, name)}

    def rejects(self, feed: str = "coolr.thing") -> list[dict[str, Any]]:
        return [dict(reject) for reject in self.app.warehouse.rejects(feed)]

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "warehouse.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def tables(self) -> list[str]:
        found = self.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'coolr' ORDER BY 1")
        return [name for (name,) in found]

    def column(self, name: str, table: str = "thing") -> list[Any]:
        quoted = '"' + name.replace('"', '""') + '"'
        return [value for (value,) in self.sql(f"SELECT {quoted} FROM coolr.{table} ORDER BY 1")]


def told(message: str | None) -> str:
    """*message*, which must be one line: a problem and its fix."""
    assert message is not None
    assert 1 == len(message.splitlines())
    assert message.endswith(".")
    assert 2 <= len(re.findall(r"[.] |[.]$", message))
    return message


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def thing(key: Any = 1, **more: Any) -> dict[str, Any]:
    return {"ThingId": key, "ModifiedOn": MORNING, "IsDeleted": False, **more}


def things(*values: Any, kind: pa.DataType | None = None, name: str = "Value") -> pa.Table:
    """A table of one row a value of *values*, in a column *name*."""
    array = values[0] if len(values) == 1 and isinstance(values[0], pa.Array) else pa.array(list(values), kind)
    keys, rest = range(1, len(array) + 1), [thing(n) for n in range(len(array))]
    columns: dict[str, Any] = {"ThingId": pa.array(keys, pa.int64())}
    columns |= {n: pa.array([r[n] for r in rest]) for n in ("ModifiedOn", "IsDeleted")}
    return pa.table({**columns, name: array})


def numbers(rows: int, start: int = 1, **more: Any) -> pa.Table:
    """*rows* rows whose Value cannot be compressed."""
    noise = pa.py_buffer(random.Random(7).randbytes(8 * rows))
    columns = {
        "ThingId": pa.arange(start, start + rows),
        "Value": pa.Array.from_buffers(pa.int64(), rows, [None, noise]),
    }
    columns["ModifiedOn"] = pa.array([MORNING] * rows, pa.timestamp("us"))
    columns["IsDeleted"] = pa.array([False] * rows)
    return pa.table({**columns, **more})


def plainly(path: Path, table: pa.Table, **options: Any) -> Path:
    """Write *table* with its values as they are, in row groups of 1,000 rows, so that bytes can be found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **{"row_group_size": 1000, "use_dictionary": False, "compression": "none", **options})
    return path


# -- files that are not what they seem


def refused_alone(lab: Lab) -> str:
    """The error of the file of table thing, while table other, beside it, is loaded."""
    other = {"OtherId": 1, "ModifiedOn": MORNING, "IsDeleted": False}
    lab.put([other], table="other")
    by_table = {result.table: result for result in lab.load()}
    assert ["done", "failed"] == [by_table[name].run.status for name in ("other", "thing")]
    assert ["other", "other_active"] == lab.tables()
    failed = by_table["thing"].run
    assert ("failed", failed.error) == lab.sql(f"SELECT status, error FROM ingest.run WHERE id = '{failed.id}'")[0]
    return told(failed.error)


@case("zero-byte")
def test_a_file_of_zero_bytes_is_refused_alone(lab, row):
    """A file without a byte is refused; the table beside it is loaded."""
    lab.put([thing()]).write_bytes(b"")

    row.holds("file refused", refused_alone(lab))


@case("csv-named-parquet")
def test_a_csv_named_parquet_is_refused_alone(lab, row):
    """Whatever its name says, a file that does not begin as Parquet is refused, with its first bytes."""
    lab.put([thing()]).write_text("ThingId;ModifiedOn;IsDeleted\n1;2026-02-24;0\n")

    row.holds("file refused", refused_alone(lab))


@case("truncated-footer")
def test_a_file_without_the_end_of_its_footer_is_refused_alone(lab, row):
    """An upload that broke off before its end is refused."""
    path = lab.put([thing()])
    path.write_bytes(path.read_bytes()[:-20])

    row.holds("file refused", refused_alone(lab))


@case("truncated-middle")
def test_a_file_that_lacks_bytes_in_its_middle_is_refused_alone(lab, row):
    """Bytes lost between a good head and a good footer are found when the rows are read; none of them is merged."""
    path = plainly(lab.path(), numbers(5000))
    content = path.read_bytes()
    path.write_bytes(content[:20_000] + content[60_000:])

    row.holds("file refused", refused_alone(lab))


@case("corrupt-page")
def test_a_page_found_corrupt_half_way_stops_its_file_alone(tmp_path, row):
    """A damaged page in a late row group undoes what the earlier slices staged; nothing of the file is merged."""
    lab = Lab(tmp_path, SLICE_ROWS="1000", BATCH_ROWS="500")
    path = plainly(lab.path(), numbers(5000), compression="snappy")
    content = bytearray(path.read_bytes())
    at = pq.read_metadata(path).row_group(3).column(1).data_page_offset
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)

    row.holds("file refused", refused_alone(lab))


@case("flipped-bit")
def test_a_flipped_bit_is_found_by_the_checksum_of_its_page(tmp_path, row):
    """Where the writer left checksums, one wrong bit in a value is enough."""
    lab = Lab(tmp_path, SLICE_ROWS="1000", BATCH_ROWS="500")
    path = plainly(lab.path(), numbers(5000), write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[pq.read_metadata(path).row_group(3).column(1).data_page_offset + 2000] ^= 1
    path.write_bytes(content)

    row.holds("file refused", refused_alone(lab))


_LOAD_AND_MEASURE = """
import re, resource, sys
from pathlib import Path
from tests.exports import load_exports, open_test_app
from shared.pipeline.folder import LoadOptions
folder, exports = sys.argv[1:]
(result,) = open_test_app(Path(folder), CATALOG_PATH=f"{folder}/catalog").load(exports, LoadOptions())
print(result.run.error)
status = Path("/proc/self/status")  # getrusage would also count what the process had before it became this program
own = re.search(r"VmHWM:\\s+(\\d+)", status.read_text()) if status.exists() else None
print(own[1] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measured(lab: Lab) -> tuple[str, int]:
    """What a process of its own says of the load, and the most memory it had, in MB."""
    command = [sys.executable, "-c", _LOAD_AND_MEASURE, str(lab.folder), str(lab.exports)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    error, peak = done.stdout.splitlines()
    return error, int(peak) // 1024


@case("bomb")
def test_a_few_kilobytes_that_unpack_to_gigabytes_are_refused_from_the_footer(lab, row):
    """A column of 2 GiB of zeros in some kilobytes is never unpacked: the process stays small."""
    zeros = pa.chunked_array([pa.array([bytes(64 << 20)])] * 32)
    path = plainly(lab.path(), pa.table({"ThingId": zeros}), compression="zstd", write_statistics=False)

    error, peak = measured(lab)

    assert path.stat().st_size < 100_000
    assert peak < 400
    row.holds("file refused", told(error))


@case("bomb-repeated")
def test_a_long_text_repeated_out_of_a_dictionary_is_refused_while_it_is_read(lab, row):
    """1 MiB of text, stored once and told 3,000 times, is in no footer: the process stays small all the same."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), pa.array(["x" * (1 << 20)]))
    path = plainly(
        lab.path(),
        things(*range(3000)).append_column("Text", text),
        row_group_size=3000,
        use_dictionary=True,
        compression="zstd",
    )

    error, peak = measured(lab)

    assert path.stat().st_size < 100_000
    assert peak < 400
    row.holds("file refused", told(error))


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

    mended = Lab(lab.folder, LENIENT + line + "\n")

    assert {"inserted": 1} == mended.counts()


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
def test_a_full_without_rows_over_a_full_table_is_braked(lab, row):
    """An empty full says that everything is gone: more than the share allows."""
    lab.put(numbers(20))
    lab.load()
    lab.put(numbers(20).slice(0, 0), stamp=SECOND)

    error = lab.error()

    assert 20 == len(lab.column("ThingId", "thing_active"))
    row.holds("run refused", error)


@case("full-lacks-nearly-all")
def test_a_full_that_lacks_nearly_everything_is_braked_until_it_is_allowed(lab, row):
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
    """A row that cannot be told from others is set aside, whatever type the column has."""
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


# -- cursors


def with_cursor(values: Any, kind: pa.DataType | None = None) -> pa.Table:
    table = things(*range(len(values)))
    return table.set_column(1, "ModifiedOn", values if isinstance(values, pa.Array) else pa.array(values, kind))


@case("cursor-null")
def test_a_row_without_cursor_is_below_every_other(lab, row):
    """NULL is the lowest cursor: it is stored where nothing is, and gives way to anything."""
    lab.put(with_cursor([None, MORNING]), "delta", FIRST)
    lab.put(with_cursor([MORNING, None]), "delta", SECOND)

    first, second = (result.run for result in lab.load())

    assert (2, 1, 1) == (first.inserted, second.updated, second.stale)
    assert [MORNING, MORNING] == lab.column("ModifiedOn")
    row.holds("loaded", "NULL is stored")


@case("cursor-year-1")
def test_a_cursor_in_the_year_1_is_stored(lab, row):
    """.NET's DateTime.MinValue is an instant like any other, and a very old one."""
    lab.put(with_cursor([dt.datetime(1, 1, 1)], pa.timestamp("us")))  # noqa: DTZ001

    assert {"inserted": 1} == lab.counts()
    row.holds("loaded", lab.column("ModifiedOn")[0].isoformat())


@case("cursor-9999")
def test_a_cursor_in_the_year_9999_is_rejected(lab, row):
    """It would win over every later change until the next full."""
    lab.put(with_cursor([dt.datetime(9999, 12, 31)], pa.timestamp("us")))  # noqa: DTZ001

    assert {"rejected": 1} == lab.counts()
    row.holds("row rejected", lab.rejects())


@case("cursor-beyond-calendar")
def test_a_cursor_beyond_the_calendar_is_rejected(lab, row):
    """No engine here holds it; the raw row is kept with what it was."""
    lab.put(with_cursor(pa.array([2**62, -(2**62)], pa.timestamp("us"))))

    assert {"rejected": 2} == lab.counts()
    row.holds("row rejected", lab.rejects())


@case("cursor-zones")
def test_cursors_with_and_without_zone_are_the_same_instants(lab, row):
    """What has no zone is in UTC; what has one is brought to UTC."""
    berlin = pa.array([MORNING], pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "Europe/Berlin"))
    lab.put(with_cursor([MORNING]), "delta", FIRST)
    lab.put(with_cursor(berlin), "delta", SECOND)

    first, second = (result.run for result in lab.load())

    assert (1, 1) == (first.inserted, second.unchanged)
    row.holds("loaded", lab.column("ModifiedOn")[0].isoformat())


@case("cursor-zone-setting")
def test_the_zone_of_cursors_without_one_can_be_set(tmp_path, row):
    """A setting says what clock the exporting system goes by."""
    lab = Lab(tmp_path, COOLR_TIMEZONE="Europe/Amsterdam")
    lab.put(with_cursor([MORNING]))
    lab.load()

    row.holds("loaded", lab.column("ModifiedOn")[0].isoformat())


@case("cursor-ns")
def test_nanoseconds_are_cut_off(lab, row):
    """Instants are kept in microseconds, and never rounded up into the future."""
    ns = pa.array([1771920000_123456_999], pa.timestamp("ns"))
    lab.put(with_cursor(ns))
    lab.load()

    row.holds("loaded", lab.column("ModifiedOn")[0].isoformat())


@case("cursor-int96")
def test_int96_timestamps_are_read(lab, row):
    """Spark's and Hive's old timestamps, also those that nanoseconds in 64 bits could not hold."""
    lab.path().parent.mkdir(parents=True)
    times = [MORNING, dt.datetime(1500, 1, 1)]  # noqa: DTZ001
    pq.write_table(with_cursor(times), lab.path(), use_deprecated_int96_timestamps=True)
    lab.load()

    assert sorted(times) == lab.column("ModifiedOn")
    row.holds("loaded", lab.column("ModifiedOn")[1].isoformat())


@case("cursor-text")
def test_cursors_in_text_are_read_where_the_catalog_says_so(tmp_path, row):
    """ISO 8601, with zone or without, also with the seven digits of .NET."""
    lab = Lab(tmp_path, catalog=None)
    lab.put(with_cursor(["2026-02-24T08:00:00.1234567Z", "2026-02-24 10:00:00.123456+02:00"]), table="thing")
    lab.load()

    found = lab.column("ModifiedOn")

    assert found[0] == found[1]
    row.holds("loaded", found[0].isoformat())


@case("cursor-no-order")
def test_a_cursor_without_order_refuses_the_file(lab, row):
    """Bytes are neither earlier nor later than others."""
    lab.put(with_cursor([b"1"]))

    row.holds("file refused", refused_alone(lab))


# -- deletion flags


def with_flag(values: Sequence[Any], kind: pa.DataType | None = None) -> pa.Table:
    return things(*range(len(values))).set_column(2, "IsDeleted", pa.array(values, kind))


@case("flag-kinds")
@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, False, None], pa.bool_()),
        ([1, 0, None], pa.int64()),
        ([1.0, 0.0, None], pa.float64()),
        ([Decimal(1), Decimal(0), None], pa.decimal128(1, 0)),
        (["true", "False", None], pa.string()),
        ([" Y ", "n", None], pa.large_string()),
    ],
)
def test_a_deletion_flag_may_be_bool_number_or_text(lab, row, values, kind):
    """Whatever it is written as, yes is a tombstone; no and NULL are active rows."""
    lab.put(with_flag(values, kind))
    lab.load()

    found = lab.sql('SELECT "IsDeleted", "DeletedAt" FROM coolr.thing ORDER BY "ThingId"')

    assert [(True, MORNING), (False, None), (None, None)] == found
    row.holds("loaded", "boolean")


@case("flag-null-column")
def test_a_flag_column_without_type_flags_nothing(lab, row):
    """A column of nothing but NULL says no."""
    lab.put(with_flag([None, None], pa.null()))
    lab.load()

    assert [1, 2] == lab.column("ThingId", "thing_active")
    row.holds("loaded", "NULL")


@case("flag-unreadable")
@pytest.mark.parametrize("values", [["maybe", "no"], [2, 0], [float("nan"), 0.0]])
def test_a_flag_that_is_neither_yes_nor_no_rejects_its_row(lab, row, values):
    """Whether the row is deleted decides what becomes of it: it cannot go on without."""
    lab.put(with_flag(values))

    assert {"rejected": 1, "inserted": 1} == lab.counts()
    row.holds("row rejected", lab.rejects())


# -- types that change


@case("int-turns-text")
def test_a_column_that_turns_from_number_to_text_is_refused(lab, row):
    """The error names the column, both types and the file; the table stays as it is."""
    lab.put(things(5), "delta", FIRST)
    lab.put(things("five"), "delta", SECOND)

    _, second = (result.run for result in lab.load())

    assert [5] == lab.column("Value")
    assert str(lab.path("delta", SECOND)) in second.error
    row.holds("run refused", told(second.error))


@case("int-widens")
def test_a_number_that_outgrows_its_column_widens_it(lab, row):
    """From integer to bigint and on to decimal, nothing is lost."""
    lab.put(things(5, kind=pa.int32()), "delta", FIRST)
    lab.put(things(2**40), "delta", SECOND)
    lab.put(things(Decimal("1.5")), "delta", THIRD)
    later = [lab.load(lab.path("delta", stamp).parent) for stamp in (FIRST, SECOND, THIRD)]

    assert ["done"] * 3 == [results[0].run.status for results in later]
    row.holds("loaded", lab.sql("SELECT data_type FROM information_schema.columns WHERE column_name = 'Value'"))


@case("column-vanishes")
def test_a_column_that_vanishes_keeps_its_values_and_may_come_back(lab, row):
    """What a file does not have, it does not change."""
    noon = MORNING + dt.timedelta(hours=4)
    lab.put([thing(1, Value="kept"), thing(2, Value="old")], "delta", FIRST)
    lab.put([thing(1, ModifiedOn=noon, Other=1), thing(2, ModifiedOn=noon, Other=2)], "delta", SECOND)
    lab.put([thing(2, ModifiedOn=noon + dt.timedelta(hours=1), Value="back")], "delta", THIRD)
    lab.load()

    found = lab.sql('SELECT "ThingId", "Value", "Other" FROM coolr.thing ORDER BY 1')

    assert [(1, "kept", 1), (2, "back", 2)] == found
    row.holds("loaded", "stored values stay")


# -- values


@case("not-finite")
def test_nan_and_infinity_are_set_aside(lab, row):
    """SQL Server has no such numbers: the row goes on without the value."""
    lab.put(things(float("nan"), float("inf"), float("-inf"), 1.5))

    assert {"values_rejected": 3, "inserted": 4} == lab.counts()
    assert [1.5, None, None, None] == lab.column("Value")
    row.holds("value rejected", lab.rejects())


@case("nul-in-text")
def test_text_with_a_nul_is_set_aside(lab, row):
    """PostgreSQL cannot store it; the raw row keeps it, escaped."""
    lab.put(things("a\0b", "ab"))

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert ["ab", None] == lab.column("Value")
    assert r"a\u0000b" in lab.rejects()[0]["raw"]
    row.holds("value rejected", lab.rejects())


@case("not-utf8")
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_text_that_is_not_utf8_is_set_aside(lab, row, kind):
    """Latin-1 in a text column is not guessed at; the raw row keeps the bytes, escaped."""
    lab.put(things(pa.array([b"caf\xe9", "café".encode()], pa.binary()).view(pa.string()).cast(kind)))

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert ["café", None] == lab.column("Value")
    assert r"caf\\xe9" in lab.rejects()[0]["raw"]
    row.holds("value rejected", lab.rejects())


@case("not-utf8-key")
def test_a_key_that_is_not_utf8_rejects_its_row(lab, row):
    """A key that cannot be read is no key."""
    keys = pa.array([b"caf\xe9", b"b"], pa.binary()).view(pa.string())
    lab.put(things(1, 2).set_column(0, "ThingId", keys))

    assert {"rejected": 1, "inserted": 1} == lab.counts()
    assert ["b"] == lab.column("ThingId")
    row.holds("row rejected", lab.rejects())


@case("out-of-range")
def test_a_value_too_large_for_the_type_the_catalog_gives_is_set_aside(lab, row):
    """The catalog says smallint, the file has 70,000."""
    rows = [{"SmallId": n, "ModifiedOn": MORNING, "IsDeleted": False, "Amount": n} for n in (7, 70_000)]
    lab.put(rows, table="small")

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert [7, None] == lab.column("Amount", "small")
    row.holds("value rejected", lab.rejects("coolr.small"))


@case("unreadable")
def test_text_that_is_no_number_is_set_aside_where_the_catalog_wants_one(lab, row):
    """The catalog says smallint, the file has text."""
    rows = [{"SmallId": n, "ModifiedOn": MORNING, "IsDeleted": False, "Amount": n2} for n, n2 in ((1, " 7 "), (2, "x"))]
    lab.put(rows, table="small")

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert [7, None] == lab.column("Amount", "small")
    row.holds("value rejected", lab.rejects("coolr.small"))


@case("date-beyond-calendar")
def test_a_date_beyond_the_year_9999_is_set_aside(lab, row):
    """Parquet can hold millions of years; databases cannot."""
    lab.put(things(pa.array([2**30, 0], pa.date32())))

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert [dt.date(1970, 1, 1), None] == lab.column("Value")
    row.holds("value rejected", lab.rejects())


@case("nested-not-json")
def test_a_nested_value_that_json_cannot_hold_is_set_aside(lab, row):
    """NaN, or bytes that are not UTF-8, somewhere inside."""
    latin = pa.array([b"caf\xe9", b"ok"], pa.binary()).view(pa.string())
    lab.put(things(pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), latin)))

    assert {"values_rejected": 1, "inserted": 2} == lab.counts()
    assert ['["ok"]', None] == lab.column("Value")
    row.holds("value rejected", lab.rejects())


KEPT: Mapping[str, tuple[pa.Array[Any], str, Any]] = {
    "type-list": (pa.array([[1, None]]), "VARCHAR", "[1, null]"),
    "type-struct": (pa.array([{"a": "é", "b": Decimal("1.50")}]), "VARCHAR", '{"a": "é", "b": "1.50"}'),
    "type-map": (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())), "VARCHAR", '[["k", 1]]'),
    "type-dictionary": (pa.array(["a"]).dictionary_encode(), "VARCHAR", "a"),
    "type-uint8": (pa.array([2**8 - 1], pa.uint8()), "SMALLINT", 255),
    "type-uint16": (pa.array([2**16 - 1], pa.uint16()), "INTEGER", 65_535),
    "type-uint32": (pa.array([2**32 - 1], pa.uint32()), "BIGINT", 4_294_967_295),
    "type-uint64": (pa.array([2**64 - 1], pa.uint64()), "DECIMAL(20,0)", Decimal(2**64 - 1)),
    "type-float16": (pa.array([1.5], pa.float16()), "FLOAT", 1.5),
    "type-decimal": (pa.array([Decimal("1.50")], pa.decimal128(18, 2)), "DECIMAL(18,2)", Decimal("1.50")),
    "type-decimal256": (pa.array([Decimal("1.50")], pa.decimal256(38, 2)), "DECIMAL(38,2)", Decimal("1.50")),
    "type-time": (pa.array([dt.time(1, 2, 3, 4)], pa.time64("ns")), "TIME", dt.time(1, 2, 3, 4)),
    "type-date": (pa.array([dt.date(2026, 2, 24)]), "DATE", dt.date(2026, 2, 24)),
    "type-binary": (pa.array([b"\0\xff"]), "BLOB", b"\0\xff"),
    "type-uuid": (pa.array([b"0123456789abcdef"], pa.uuid()), "BLOB", b"0123456789abcdef"),
    "type-duration": (pa.array([90], pa.duration("s")), "BIGINT", 90_000_000),
    "type-large-string": (pa.array(["a"], pa.large_string()), "VARCHAR", "a"),
    "type-string-view": (pa.array(["a"], pa.string_view()), "VARCHAR", "a"),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A table with a column of each type, loaded twice."""
    lab = Lab(tmp_path_factory.mktemp("kept"))
    table = things(0)
    for name, (array, _, _) in KEPT.items():
        table = table.append_column(name, array)
    lab.put(table, "delta", FIRST)
    lab.put(table, "delta", SECOND)
    assert [(1, 0), (0, 1)] == [(result.run.inserted, result.run.unchanged) for result in lab.load()]
    return lab


@pytest.mark.parametrize("name", KEPT)
def test_every_type_parquet_has_is_kept_as_the_page_says(kept, row, name):
    """Each is stored in the type of its row on the page, with its value; a second file changes nothing."""
    _, kind, value = KEPT[name]

    assert [value] == kept.column(name)
    assert [(kind,)] == kept.sql(
        f"SELECT data_type FROM information_schema.columns WHERE table_name = 'thing' AND column_name = '{name}'"
    )
    row.holds("loaded", kind)


@case("type-null")
def test_a_column_without_type_is_stored_once_it_has_one(lab, row):
    """Nothing but NULL tells no type: the column waits for a file that does."""
    lab.put(things(pa.nulls(1)), "delta", FIRST)
    lab.put(things(7), "delta", SECOND)
    lab.put(
        things(pa.nulls(1)).set_column(1, "ModifiedOn", pa.array([MORNING + dt.timedelta(hours=1)])), "delta", THIRD
    )
    before, after = (lab.load(lab.path("delta", stamp).parent)[0].run for stamp in (FIRST, SECOND))

    assert (1, 1) == (before.inserted, after.updated)
    assert [7] == lab.column("Value")
    lab.load()
    assert [None] == lab.column("Value")
    row.holds("loaded", "not stored")


@case("type-decimal-39")
def test_a_decimal_of_more_than_38_digits_refuses_the_file(lab, row):
    """No engine here holds it without loss."""
    lab.put(things(pa.array([Decimal(1)], pa.decimal256(39, 0))))

    row.holds("file refused", refused_alone(lab))


# -- folders


@case("several-clients")
def test_a_folder_with_several_clients_is_refused_until_one_is_chosen(lab, row):
    """Their keys may be the same: what is loaded must be said."""
    lab.put([thing(1)], client="Acme")
    lab.put([thing(2)], client="Beta")
    with pytest.raises(ConfigError) as refused:
        lab.load()
    row.holds("load refused", told(str(refused.value)))

    assert {"inserted": 1} == lab.counts(client="Beta")
    assert [2] == lab.column("ThingId")


@case("second-client")
def test_a_second_client_is_not_merged_into_the_first_ones_table(lab, row):
    """A second client is a second system."""
    lab.put([thing(1)], client="Acme")
    lab.put([thing(2)], client="Beta")
    lab.load(client="Acme")

    error = lab.error(client="Beta")

    assert [1] == lab.column("ThingId")
    row.holds("run refused", error)


@case("no-kind")
def test_a_folder_that_does_not_say_what_it_is_is_refused(lab, row):
    """Whether a missing key is gone must be said."""
    write_parquet(lab.exports / "thing.parquet", [thing()])
    with pytest.raises(ConfigError) as refused:
        lab.load()

    assert {"inserted": 1} == lab.counts(kind="delta")
    row.holds("load refused", told(str(refused.value)))


@case("no-files")
def test_a_folder_without_parquet_is_refused(lab, row):
    """Nothing to load is not the same as nothing to do."""
    lab.exports.mkdir()
    with pytest.raises(ConfigError) as refused:
        lab.load()

    row.holds("load refused", told(str(refused.value)))


DUMP = "outlet_dump_1"


def dump(lab: Lab, stamp: str, parts: Mapping[str, pa.Table]) -> Path:
    for guid, table in parts.items():
        write_parquet(lab.exports / stamp / DUMP / f"{guid}.parquet", table)
    return lab.exports / stamp


def outlets(*keys: int, **more: Any) -> pa.Table:
    return pa.Table.from_pylist([{"OutletId": key, "ModifiedOn": MORNING, "IsDeleted": False, **more} for key in keys])


@case("part-faulty")
def test_a_dump_with_one_faulty_part_is_merged_but_nothing_counts_as_absent(tmp_path, row):
    """The keys of the faulty part are not known: the full is a delta, and the run says so."""
    lab = Lab(tmp_path, SETTLE="0")
    dump(lab, FIRST, {"a": outlets(1, 2), "b": outlets(3, 4)})
    lab.load(lab.exports / FIRST, kind="full")
    second = dump(lab, SECOND, {"a": outlets(1, 5), "b": outlets(3)})
    damaged = second / DUMP / "b.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-9])

    run = lab.one(second, kind="full").run

    assert ("done", False, 1, 0) == (run.status, run.complete, run.inserted, run.absent)
    assert [1, 2, 3, 4, 5] == lab.column("OutletId", "outlet_active")
    row.holds("loaded", run.note)


@case("part-faulty-late")
def test_a_part_found_faulty_while_it_is_read_is_left_out_whole(tmp_path, row):
    """Not a row of a part that breaks half-way is merged, also of its slices that were fine."""
    lab = Lab(tmp_path, SETTLE="0", SLICE_ROWS="1000")
    folder = dump(lab, FIRST, {"a": outlets(1, 2)})
    many = outlets(*range(10, 3010))
    path = plainly(folder / DUMP / "b.parquet", many, compression="snappy")
    content = bytearray(path.read_bytes())
    at = pq.read_metadata(path).row_group(2).column(1).data_page_offset
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)

    run = lab.one(folder, kind="full").run

    assert ("done", False, 2) == (run.status, run.complete, run.inserted)
    assert [1, 2] == lab.column("OutletId", "outlet")
    row.holds("loaded", run.note)


@case("part-corrected")
def test_a_faulty_part_that_was_sent_again_completes_the_dump(tmp_path, row):
    """The dump is not recorded done, so loading it again takes the mended part, and absences count."""
    lab = Lab(tmp_path, SETTLE="0")
    dump(lab, FIRST, {"a": outlets(1, 2), "b": outlets(3, 4)})
    lab.load(lab.exports / FIRST, kind="full")
    second = dump(lab, SECOND, {"a": outlets(1, 5), "b": outlets(3)})
    good = (second / DUMP / "b.parquet").read_bytes()
    (second / DUMP / "b.parquet").write_bytes(b"")
    lab.load(second, kind="full")
    (second / DUMP / "b.parquet").write_bytes(good)

    run = lab.one(second, kind="full").run

    assert (True, 2) == (run.complete, run.absent)
    assert [1, 3, 5] == lab.column("OutletId", "outlet_active")
    row.holds("loaded", f"{run.absent} absent")


@case("parts-disagree")
def test_parts_that_disagree_on_their_columns_are_refused(tmp_path, row):
    """They are not parts of one table."""
    lab = Lab(tmp_path, SETTLE="0")
    dump(lab, FIRST, {"a": outlets(1), "b": outlets(2, Extra=1)})

    row.holds("run refused", lab.error(kind="full"))
    assert [] == lab.tables()


@case("parts-types")
def test_parts_whose_types_do_not_go_together_are_refused(tmp_path, row):
    """A number in one part and text in another have no common type."""
    lab = Lab(tmp_path, SETTLE="0")
    dump(lab, FIRST, {"a": outlets(1, Extra="x"), "b": outlets(2, Extra=1)})

    row.holds("run refused", lab.error(kind="full"))


@case("no-part-readable")
def test_a_dump_without_a_readable_part_is_refused(tmp_path, row):
    """There is nothing to merge."""
    lab = Lab(tmp_path, SETTLE="0")
    folder = dump(lab, FIRST, {"a": outlets(1)})
    write_parquet(folder / DUMP / "b.parquet", outlets(2)).write_bytes(b"")
    (folder / DUMP / "a.parquet").write_bytes(b"")

    row.holds("run refused", lab.error(kind="full"))


# -- files that change while they are loaded


class Meddler(Progress):
    """Does something once, when the run starts or when rows have been read."""

    def __init__(self, *, deed: Callable[[], object], at_rows: bool = False) -> None:
        self._deed, self._at_rows, self._done = deed, at_rows, False

    def start(self, label: str, rows: int) -> None:
        if not self._at_rows:
            self._meddle()

    def rows(self, count: int) -> None:
        if self._at_rows:
            self._meddle()

    def _meddle(self) -> None:
        if not self._done:
            self._done = True
            self._deed()


@case("overwritten-before")
def test_a_file_overwritten_after_it_was_listed_is_not_merged(lab, row):
    """The run was for the content that was listed; the new content is new work."""
    path = lab.put([thing(Value="listed")])
    meddler = Meddler(deed=lambda: write_parquet(path, [thing(Value="newer content")]))

    row.holds("conflict", lab.error(watch=meddler))
    assert [] == lab.tables()
    assert {"inserted": 1} == lab.counts()
    assert ["newer content"] == lab.column("Value")


@case("overwritten-while")
def test_a_file_overwritten_in_mid_read_is_not_merged(tmp_path, row):
    """Not a row of either content is merged."""
    lab = Lab(tmp_path, BATCH_ROWS="1000")
    path = plainly(lab.path(), numbers(400_000), row_group_size=100_000)
    meddler = Meddler(deed=lambda: plainly(path, numbers(400_001), row_group_size=100_000), at_rows=True)

    row.holds("conflict", lab.error(watch=meddler))
    assert [] == lab.tables()


@case("removed-while")
def test_a_file_removed_before_it_is_read_is_not_merged(lab, row):
    """A file that went away is told like one that changed."""
    path = lab.put([thing()])

    row.holds("conflict", lab.error(watch=Meddler(deed=path.unlink)))
    assert [] == lab.tables()


_LOAD_ON_A_SMALL_DISK = """
import resource, sys
from pathlib import Path
from tests.exports import load_exports, open_test_app
from shared.pipeline.folder import LoadOptions
folder, exports, most = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
app = open_test_app(Path(folder), CATALOG_PATH=f"{folder}/catalog")
for result in load_exports(app, exports, LoadOptions()):
    print(result.skipped or result.run.error)
"""


@case("disk-full")
@pytest.mark.parametrize("first", [True, False], ids=["first load", "merge"])
def test_a_full_disk_fails_the_run_and_the_next_load_repairs(lab, row, first):
    """Files may not grow: the run ends with what to do, the table is as before, and the load works afterwards."""
    if not first:
        lab.put(numbers(1000))
        lab.load()
    lab.put(numbers(200_000, start=501), "delta", SECOND)
    used = (lab.folder / "warehouse.duckdb").stat().st_size if not first else 0
    command = [sys.executable, "-c", _LOAD_ON_A_SMALL_DISK, str(lab.folder), str(lab.exports), str(used + (2 << 20))]
    full = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == full.returncode, full.stderr
    said = full.stdout.splitlines()[-1]

    assert ({"inserted": 200_000} if first else {"inserted": 199_500, "updated": 500}) == lab.counts()
    row.holds("run refused", told(said))
