"""Which exports of a folder are taken, in which order, and which are passed over."""

from __future__ import annotations

import datetime as dt
import random

import pytest

from shared.errors import ConfigError
from shared.pipeline.folder import LoadOptions
from shared.sources.exports.choice import Export, load_plans, one_client
from tests.exports import Clock, export_path, open_test_app, write_parquet

NEWEST_DAY = dt.datetime(2026, 2, 9, tzinfo=dt.UTC)


def offer(kind, day, table="location", *, client=None, complete=None, folder=None):
    time = f"2026-02-{day:02}T00:00:00.000000" if day else None
    whole = kind == "full" and day is not None if complete is None else complete
    return Export(
        table=table,
        kind=kind,
        client=client,
        exported_at=time,
        complete=whole,
        folder=folder or f"{kind}{day}",
        files=(),
    )


# -- what is chosen of a listing


def test_newest_full_comes_first_and_older_ones_stand_in_for_it():
    """By the time of the export, whatever the order of the listing and the names of the folders."""
    offers = [offer("full", 2, folder="z"), offer("full", 9, folder="a"), offer("full", 5, folder="m")]

    (queue,) = load_plans(offers, everything=False)

    assert ["a", "m", "z"] == [full.folder for full in queue.fulls]
    assert () == queue.deltas


def test_deltas_after_the_full_are_taken_in_time_order_and_latest_last():
    """What has no time is the newest there is."""
    offers = [offer("delta", None), offer("delta", 9), offer("delta", 3), offer("full", 5), offer("delta", 6)]

    (queue,) = load_plans(offers, everything=False)
    fresh, passed = queue.after(queue.fulls[0])

    assert ["delta6", "delta9", "deltaNone"] == [delta.folder for delta in fresh]
    assert ["delta3"] == [skipped.offer.folder for skipped in passed]
    assert "older than the full of 2026-02-05T00:00:00" == passed[0].reason


def test_delta_of_the_fulls_own_time_is_taken():
    """Equal times are neither before nor after each other."""
    (queue,) = load_plans([offer("full", 5), offer("delta", 5)], everything=False)

    assert ([offer("delta", 5)], []) == queue.after(queue.fulls[0])


def test_without_a_full_every_delta_is_taken():
    """There is nothing they could only repeat."""
    (queue,) = load_plans([offer("delta", 5), offer("delta", 3), offer("delta", None)], everything=False)
    fresh, passed = queue.after(None)

    assert ["delta3", "delta5", "deltaNone"] == [delta.folder for delta in fresh]
    assert [] == passed


def test_full_that_is_not_complete_does_not_stand_for_older_ones():
    """It is merged as a delta, so it is taken like one, after the newest complete full."""
    latest, arriving = offer("full", None), offer("full", 7, complete=False)
    (queue,) = load_plans([latest, offer("full", 5), arriving, offer("delta", 6)], everything=False)
    fresh, _ = queue.after(queue.fulls[0])

    assert ["full5"] == [full.folder for full in queue.fulls]
    assert ["delta6", "full7", "fullNone"] == [delta.folder for delta in fresh]


def test_everything_is_taken_in_the_order_of_export():
    """Fulls included; at one time the full comes first, what has no time last."""
    offers = [offer("delta", 5), offer("full", 5), offer("delta", None), offer("full", 2), offer("delta", 3)]
    expected = ["full2", "delta3", "full5", "delta5", "deltaNone"]

    (queue,) = load_plans(random.Random(1).sample(offers, len(offers)), everything=True)

    assert () == queue.fulls
    assert (expected, []) == ([taken.folder for taken in queue.after(None)[0]], queue.after(None)[1])


def test_tables_are_chosen_for_one_by_one():
    """One table's newest full says nothing of another's."""
    offers = [offer("full", 9, "asset"), offer("full", 2, "location"), offer("delta", 3, "location")]

    asset, location = load_plans(offers, everything=False)

    assert ("asset", "location") == (asset.table, location.table)
    assert [offer("delta", 3, "location")] == location.after(location.fulls[0])[0]


def test_only_client_need_not_be_named():
    """Exports without a client belong to whoever is asked for."""
    offers = [offer("full", 1, client="Acme"), offer("delta", 2)]

    assert offers == one_client(offers, None)


def test_one_of_several_clients_must_be_named():
    """The refusal names them and how to choose."""
    offers = [offer("full", 1, client="Beta"), offer("full", 1, client="Acme"), offer("full", 1, client="Acme")]

    with pytest.raises(ConfigError, match=r"several clients: Acme, Beta\. .*--client"):
        one_client(offers, None)


def test_named_client_gets_its_own_exports():
    """And those that name no client, never another's."""
    mine, common, other = offer("full", 1, client="Acme"), offer("delta", 2), offer("full", 3, client="Beta")

    assert [mine, common] == one_client([mine, common, other], "Acme")


def test_client_that_is_not_there_is_refused():
    """Nothing is loaded under a misspelt name; the refusal names who is there."""
    with pytest.raises(ConfigError, match=r"client 'Acne'\. Choose one of Acme, Beta"):
        one_client([offer("full", 1, client="Beta"), offer("full", 1, client="Acme")], "Acne")


# -- the same through the front door, with files


@pytest.fixture
def root(tmp_path):
    return tmp_path / "exports"


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path, Clock(NEWEST_DAY))


def export(root, kind, day, *rows, table="location", client="Acme"):
    """An export of *day* (or ``latest``) whose rows are named after it."""
    stamp = f"202602{day:02}" if isinstance(day, int) else day
    modified = dt.datetime(2026, 2, day if isinstance(day, int) else 9)  # noqa: DTZ001 - as files have it
    content = [
        {f"{table.capitalize()}Id": key, "Name": f"{kind} {day}", "ModifiedOn": modified, "IsDeleted": False}
        for key in rows or (1,)
    ]
    return write_parquet(export_path(root, kind, stamp, table, client), content)


def load(app, root, **options):
    return list(app.load(str(root), LoadOptions(system="coolr", **options)))


def told(results):
    """What became of each export: its kind and folder, then done, failed or skipped."""
    return [(*result.place.split("/")[-3::2], result.run.status if result.run else "skipped") for result in results]


def test_root_of_many_exports_is_taken_from_its_newest_full_on(app, root):
    """Newest full, later deltas in time order, then ``latest``; the older ones are listed as skipped."""
    for kind, day in [("full", 2), ("full", 4), ("delta", 3), ("delta", 7), ("delta", 5), ("delta", "latest")]:
        export(root, kind, day)

    results = load(app, root)

    assert [
        ("Full", "20260204", "done"),
        ("Full", "20260202", "skipped"),
        ("Delta", "20260203", "skipped"),
        ("Delta", "20260205", "done"),
        ("Delta", "20260207", "done"),
        ("Delta", "latest", "done"),
    ] == told(results)


def test_all_takes_the_older_ones_too(app, root):
    """In the order of export."""
    for kind, day in [("full", 4), ("full", 2), ("delta", 3), ("delta", 5)]:
        export(root, kind, day)

    results = load(app, root, everything=True)

    stamps = ["20260202", "20260203", "20260204", "20260205"]
    assert [(stamp, "done") for stamp in stamps] == [one[1:] for one in told(results)]


def test_second_load_takes_only_what_is_new(app, root):
    """What is loaded is named as skipped, and the newest full still decides what is older."""
    for kind, day in [("full", 2), ("full", 4), ("delta", 3), ("delta", 5)]:
        export(root, kind, day)
    load(app, root)
    export(root, "delta", 6)

    results = load(app, root)

    taken = [result for result in results if result.run]
    assert [("Delta", "20260206", "done")] == told(taken)
    assert 4 == len(results) - len(taken)


def test_unreadable_newest_full_falls_back_to_the_next_older(app, root):
    """It is told as failed, and the deltas since the full that was taken come with it."""
    export(root, "full", 2)
    export(root, "full", 4)
    export(root, "full", 6).write_bytes(b"PAR1 cut off")
    export(root, "delta", 5)

    results = load(app, root)

    assert [
        ("Full", "20260206", "failed"),
        ("Full", "20260204", "done"),
        ("Full", "20260202", "skipped"),
        ("Delta", "20260205", "done"),
    ] == told(results)


def test_timeless_full_comes_after_the_newest_full_with_a_time(app, root):
    """``Full/<client>/latest`` of a local folder has no time to count absences by: it only adds to the other."""
    export(root, "full", 4, 1, 2)
    export(root, "full", "latest", 1)

    results = load(app, root)

    assert [("Full", "20260204", "done"), ("Full", "latest", "done")] == told(results)
    assert [True, False] == [result.run.complete for result in results]


def test_only_the_tables_asked_for_are_taken(app, root):
    """The others are not even looked at."""
    export(root, "full", 4)
    export(root, "full", 4, table="asset")

    assert ["asset"] == [result.table for result in load(app, root, tables=("asset",))]


def test_table_that_is_not_there_is_refused(app, root):
    """Before anything is read, with what was asked for."""
    export(root, "full", 4)

    with pytest.raises(ConfigError, match="no Parquet file for assets"):
        load(app, root, tables=("assets",))


def test_one_export_is_taken_as_it_is(app, root):
    """A folder below the root, given by itself."""
    export(root, "full", 2)
    export(root, "full", 4)

    results = load(app, root / "Full" / "Acme" / "20260202")

    assert [("Full", "20260202", "done")] == told(results)


def test_setting_chooses_the_client(tmp_path, root):
    """COOLR_CLIENT stands for ``--client``, which stands above it."""
    for client in ("Acme", "Beta"):
        export(root, "full", 4, client=client)
    app = open_test_app(tmp_path, Clock(NEWEST_DAY), COOLR_CLIENT="Beta")

    (result,) = load(app, root)
    (other,) = load(app, root, client="Acme", dry_run=True)

    assert "Beta" == result.run.client
    assert "Acme" == other.run.client
