"""Folders of several clients, without a kind, or with a faulty part file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import ConfigError
from tests.exports import write_parquet
from tests.pipeline.bad_input import (
    FIRST,
    MORNING,
    SECOND,
    Lab,
    case,
    plainly,
    reported,
    thing,
)

# -- folders


@case("several-clients")
def test_a_folder_with_several_clients_is_refused_until_one_is_chosen(lab, row):
    """Their keys may be the same: what is loaded must be said."""
    lab.put([thing(1)], client="Acme")
    lab.put([thing(2)], client="Beta")
    with pytest.raises(ConfigError) as refused:
        lab.load()
    row.holds("load refused", reported(str(refused.value)))

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
    row.holds("load refused", reported(str(refused.value)))


@case("no-files")
def test_a_folder_without_parquet_is_refused(lab, row):
    """Nothing to load is not the same as nothing to do."""
    lab.exports.mkdir()
    with pytest.raises(ConfigError) as refused:
        lab.load()

    row.holds("load refused", reported(str(refused.value)))


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
    """The dump is not recorded done, so loading it again takes the corrected part, and absences count."""
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
