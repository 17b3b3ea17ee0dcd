"""Which exports of a folder are taken, in which order, and which are skipped."""

from __future__ import annotations

import datetime as dt
import random

import pytest

from shared.errors import ConfigError
from shared.pipeline.folder import LoadOptions
from shared.sources.exports.choice import Export, load_plans, one_client
from tests.exports import Clock, export_path, load_exports, open_test_app, write_parquet

NEWEST_DAY = dt.datetime(2026, 2, 9, tzinfo=dt.UTC)


def export(kind, day, table="location", *, client=None, complete=None, folder=None):
    time = f"2026-02-{day:02}T00:00:00.000000" if day else None
    is_complete = kind == "full" and day is not None if complete is None else complete
    return Export(
        table=table,
        kind=kind,
        client=client,
        exported_at=time,
        complete=is_complete,
        folder=folder or f"{kind}{day}",
        files=(),
    )


# -- what is chosen of a listing


def test_newest_full_comes_first_and_older_ones_are_used_if_it_fails():
    """By the time of the export, whatever the order of the listing and the names of the folders."""
    exports = [export("full", 2, folder="z"), export("full", 9, folder="a"), export("full", 5, folder="m")]

    (plan,) = load_plans(exports, everything=False)

    assert ["a", "m", "z"] == [full.folder for full in plan.fulls]
    assert () == plan.deltas


def test_deltas_after_the_full_are_taken_in_time_order_and_latest_last():
    """What has no time is the newest there is."""
    exports = [export("delta", None), export("delta", 9), export("delta", 3), export("full", 5), export("delta", 6)]

    (plan,) = load_plans(exports, everything=False)
    fresh, skipped = plan.after(plan.fulls[0])

    assert ["delta6", "delta9", "deltaNone"] == [delta.folder for delta in fresh]
    assert ["delta3"] == [one.export.folder for one in skipped]
    assert "superseded by the full export of 2026-02-05T00:00:00" == skipped[0].reason


def test_delta_of_the_fulls_own_time_is_taken():
    """Equal times are neither before nor after each other."""
    (plan,) = load_plans([export("full", 5), export("delta", 5)], everything=False)

    assert ([export("delta", 5)], []) == plan.after(plan.fulls[0])


def test_without_a_full_every_delta_is_taken():
    """No full has their content already."""
    (plan,) = load_plans([export("delta", 5), export("delta", 3), export("delta", None)], everything=False)
    fresh, skipped = plan.after(None)

    assert ["delta3", "delta5", "deltaNone"] == [delta.folder for delta in fresh]
    assert [] == skipped


def test_full_that_is_not_complete_does_not_replace_older_ones():
    """It is merged as a delta, so it is loaded like one, after the newest complete full."""
    latest, arriving = export("full", None), export("full", 7, complete=False)
    (plan,) = load_plans([latest, export("full", 5), arriving, export("delta", 6)], everything=False)
    fresh, _ = plan.after(plan.fulls[0])

    assert ["full5"] == [full.folder for full in plan.fulls]
    assert ["delta6", "full7", "fullNone"] == [delta.folder for delta in fresh]


def test_everything_is_taken_in_the_order_of_export():
    """Fulls included; at one time the full comes first, what has no time last."""
    exports = [export("delta", 5), export("full", 5), export("delta", None), export("full", 2), export("delta", 3)]
    expected = ["full2", "delta3", "full5", "delta5", "deltaNone"]

    (plan,) = load_plans(random.Random(1).sample(exports, len(exports)), everything=True)

    assert () == plan.fulls
    assert (expected, []) == ([taken.folder for taken in plan.after(None)[0]], plan.after(None)[1])


def test_each_table_is_planned_by_itself():
    """One table's newest full says nothing of another's."""
    exports = [export("full", 9, "asset"), export("full", 2, "location"), export("delta", 3, "location")]

    asset, location = load_plans(exports, everything=False)

    assert ("asset", "location") == (asset.table, location.table)
    assert [export("delta", 3, "location")] == location.after(location.fulls[0])[0]


def test_only_client_need_not_be_named():
    """Exports without a client belong to every client."""
    exports = [export("full", 1, client="Acme"), export("delta", 2)]

    assert exports == one_client(exports, None)


def test_one_of_several_clients_must_be_named():
    """The refusal names them and how to choose."""
    exports = [export("full", 1, client="Beta"), export("full", 1, client="Acme"), export("full", 1, client="Acme")]

    with pytest.raises(ConfigError, match=r"several clients: Acme, Beta\. .*--client"):
        one_client(exports, None)


def test_named_client_gets_its_own_exports():
    """And those that name no client, never another's."""
    mine, common, other = export("full", 1, client="Acme"), export("delta", 2), export("full", 3, client="Beta")

    assert [mine, common] == one_client([mine, common, other], "Acme")


def test_client_that_is_not_there_is_refused():
    """Nothing is loaded under a misspelt name; the refusal names who is there."""
    with pytest.raises(ConfigError, match=r"client 'Acne'\. Choose one of Acme, Beta"):
        one_client([export("full", 1, client="Beta"), export("full", 1, client="Acme")], "Acne")


# -- the same with files, through the whole app


@pytest.fixture
def root(tmp_path):
    return tmp_path / "exports"


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path, Clock(NEWEST_DAY))


def write_export(root, kind, day, *rows, table="location", client="Acme"):
    """An export of *day* (or ``latest``) whose rows are named after it."""
    stamp = f"202602{day:02}" if isinstance(day, int) else day
    modified = dt.datetime(2026, 2, day if isinstance(day, int) else 9)  # noqa: DTZ001 - as files have it
    content = [
        {f"{table.capitalize()}Id": key, "Name": f"{kind} {day}", "ModifiedOn": modified, "IsDeleted": False}
        for key in rows or (1,)
    ]
    return write_parquet(export_path(root, kind, stamp, table, client), content)


def load(app, root, **options):
    return list(load_exports(app, str(root), LoadOptions(system="coolr", **options)))


def outcomes(results):
    """What became of each export: its kind and folder, then done, failed or skipped."""
    return [(*result.place.split("/")[-3::2], result.run.status if result.run else "skipped") for result in results]


def test_root_of_many_exports_is_taken_from_its_newest_full_on(app, root):
    """Newest full, later deltas in time order, then ``latest``; the older ones are listed as skipped."""
    for kind, day in [("full", 2), ("full", 4), ("delta", 3), ("delta", 7), ("delta", 5), ("delta", "latest")]:
        write_export(root, kind, day)

    results = load(app, root)

    assert [
        ("Full", "20260204", "done"),
        ("Full", "20260202", "skipped"),
        ("Delta", "20260203", "skipped"),
        ("Delta", "20260205", "done"),
        ("Delta", "20260207", "done"),
        ("Delta", "latest", "done"),
    ] == outcomes(results)


def test_all_takes_the_older_ones_too(app, root):
    """In the order of export."""
    for kind, day in [("full", 4), ("full", 2), ("delta", 3), ("delta", 5)]:
        write_export(root, kind, day)

    results = load(app, root, everything=True)

    stamps = ["20260202", "20260203", "20260204", "20260205"]
    assert [(stamp, "done") for stamp in stamps] == [one[1:] for one in outcomes(results)]


def test_second_load_takes_only_what_is_new(app, root):
    """What is loaded is named as skipped, and the newest full still decides what is older."""
    for kind, day in [("full", 2), ("full", 4), ("delta", 3), ("delta", 5)]:
        write_export(root, kind, day)
    load(app, root)
    write_export(root, "delta", 6)

    results = load(app, root)

    taken = [result for result in results if result.run]
    assert [("Delta", "20260206", "done")] == outcomes(taken)
    assert 4 == len(results) - len(taken)


def test_unreadable_newest_full_falls_back_to_the_next_older(app, root):
    """It is reported as failed, and the deltas since the full that was taken come with it."""
    write_export(root, "full", 2)
    write_export(root, "full", 4)
    write_export(root, "full", 6).write_bytes(b"PAR1 cut off")
    write_export(root, "delta", 5)

    results = load(app, root)

    assert [
        ("Full", "20260206", "failed"),
        ("Full", "20260204", "done"),
        ("Full", "20260202", "skipped"),
        ("Delta", "20260205", "done"),
    ] == outcomes(results)


def test_timeless_full_comes_after_the_newest_full_with_a_time(app, root):
    """``Full/<client>/latest`` of a local folder has no time to count absences by: it only adds to the other."""
    write_export(root, "full", 4, 1, 2)
    write_export(root, "full", "latest", 1)

    results = load(app, root)

    assert [("Full", "20260204", "done"), ("Full", "latest", "done")] == outcomes(results)
    assert [True, False] == [result.run.complete for result in results]


def test_only_the_tables_of_the_option_are_loaded(app, root):
    """The others are not read."""
    write_export(root, "full", 4)
    write_export(root, "full", 4, table="asset")

    assert ["asset"] == [result.table for result in load(app, root, tables=("asset",))]


def test_table_that_is_not_there_is_refused(app, root):
    """Before anything is read, with the table's name."""
    write_export(root, "full", 4)

    with pytest.raises(ConfigError, match="no Parquet file for assets"):
        load(app, root, tables=("assets",))


def test_one_export_is_taken_as_it_is(app, root):
    """A folder below the root, given by itself."""
    write_export(root, "full", 2)
    write_export(root, "full", 4)

    results = load(app, root / "Full" / "Acme" / "20260202")

    assert [("Full", "20260202", "done")] == outcomes(results)


def test_setting_chooses_the_client(tmp_path, root):
    """COOLR_CLIENT is the default of ``--client``."""
    for client in ("Acme", "Beta"):
        write_export(root, "full", 4, client=client)
    app = open_test_app(tmp_path, Clock(NEWEST_DAY), COOLR_CLIENT="Beta")

    (result,) = load(app, root)
    (other,) = load(app, root, client="Acme", dry_run=True)

    assert "Beta" == result.run.client
    assert "Acme" == other.run.client
