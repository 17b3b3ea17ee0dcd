"""A search of the exports container goes on from where the last one was, and misses nothing."""

from __future__ import annotations

import datetime as dt
import uuid

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from azure.storage.blob import ContainerClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.jobs import triggers
from shared.jobs.triggers import Wanted
from shared.ledger import open_ledger
from shared.model import Record
from shared.pipeline.backfill import BackfillRequest, backfill
from shared.sources.exports import listing
from shared.sources.exports.listing import FindOptions
from shared.sources.times import timestamp
from shared.stores import File, blob, open_store
from tests.exports import START, Clock, open_test_app
from tests.servers.proxy import Proxy

TABLES = ["asset", "location", "order", *(f"table{n}" for n in range(3, 10))]
DAYS = 60


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def app(azurite, container, tmp_path, clock):
    return open_test_app(
        tmp_path, clock, STORAGE_CONNECTION_STRING=azurite.connection_string, EXPORTS_URL=container.url,
        STATE_URL=str(tmp_path / "state"), SETTLE="0",
    )  # fmt: skip


def folder(days: float, kind: str = "Delta") -> str:
    return f"{kind}/Acme/{START - dt.timedelta(days=days):%Y%m%d%H%M%S}"


@pytest.fixture
def put(container):
    """Uploads files; what is in them does not matter to a search."""

    def put(*names: str) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: container.upload_blob(name, b"x"), names))

    return put


def found(app, **wanted):
    """The files for which a search starts jobs, by their path in the container."""
    starts = triggers.missed_files(app, Wanted(**wanted))
    return {start.work.url.partition(app.settings.exports_url)[2].strip("/") for start in starts}


def record(item, status):
    return Record(work=item.id, name=item.name, run="r", status=status, times=1)


def items(app):
    """The work item of each export, by the path of its file, with its feed."""
    store = triggers.open_store(app.settings.exports_url, app.settings)
    for export in listing.valid_exports(store, FindOptions(), app.now(), print):
        (item,) = listing.export_unit(export, store).work_items
        yield item.name.partition(app.settings.exports_url)[2].strip("/"), f"coolr.{export.table}", item


def settle(app, names, status="done"):
    """Record what a search would start, as its jobs do."""
    by_feed = {}
    for name, feed, item in items(app):
        if name in names:
            by_feed.setdefault(feed, []).append(record(item, status))
    for feed, records in by_feed.items():
        app.ledger.commit(feed, records)


def load_all(app):
    names = found(app)
    settle(app, names)
    return names


@pytest.fixture
def loaded(app, put):
    """A full 30 days ago, deltas before and after it, all loaded, and known to the searches so far."""
    put(*(f"{folder(30, 'Full')}/{table}.parquet" for table in TABLES[:3]))
    put(*(f"{folder(day)}/{table}.parquet" for day in (40, 20, 10, 1) for table in TABLES[:3]))
    assert 12 == len(load_all(app))
    assert set() == found(app)
    return app


def test_a_late_export_of_any_time_is_found_without_listing_the_rest(loaded, put, azurite, container):
    put(f"{folder(25)}/asset.parquet", f"{folder(0)}/location.parquet", f"{folder(50)}/order.parquet")
    put(f"{folder(1)}/table9.parquet", f"{folder(30, 'Full')}/table9.parquet")

    names = found(loaded)

    assert {
        f"{folder(25)}/asset.parquet", f"{folder(0)}/location.parquet", f"{folder(1)}/table9.parquet",
        f"{folder(30, 'Full')}/table9.parquet",
    } == names  # fmt: skip
    assert names == found(loaded, all_again=True)


@pytest.mark.parametrize("way", ["after a day", "on request"])
def test_a_file_that_comes_late_into_an_old_folder_is_found(loaded, put, clock, way):
    put(late := f"{folder(20)}/table9.parquet")
    assert set() == found(loaded)

    if way == "on request":
        assert {late} == found(loaded, feed="coolr.table9", all_again=True)
    clock.forward(days=1)
    assert {late} == found(loaded)


@pytest.mark.parametrize("way", ["backfill", "another ledger"])
def test_what_is_to_be_loaded_again_is_found(loaded, tmp_path, way):
    if way == "backfill":
        request = BackfillRequest(feed="coolr.location", to=None, requested_by="me", now="2026-02-24T12:00:00.000000")
        backfill(request, systems=loaded.systems, warehouse=loaded.warehouse, ledger=loaded.ledger)
        app, tables = loaded, ("location",)
    else:
        app, tables = replace(loaded, ledger=open_ledger(f"sqlite:///{tmp_path}/other.db", lock_timeout=1)), TABLES[:3]

    assert {f"{folder(20)}/{table}.parquet" for table in tables} <= (names := found(app))
    assert names == found(app, all_again=True)


def test_what_failed_or_is_superseded_by_what_is_not_loaded_is_listed_again(app, put):
    put(*(f"{folder(days, 'Full')}/asset.parquet" for days in (30, 20)), f"{folder(25)}/asset.parquet")
    new = f"{folder(20, 'Full')}/asset.parquet"
    assert {new} == found(app)
    settle(app, {new}, "failed")

    assert {f"{folder(30, 'Full')}/asset.parquet", f"{folder(25)}/asset.parquet"} == found(app)


@pytest.mark.slow
def test_a_search_of_a_large_container_takes_a_few_calls(app, put, azurite, monkeypatch):
    """As many pages as 100,000 files have at 5,000 a page: 600 files at 30 a page."""
    for name in ("list_blobs", "walk_blobs"):
        method = getattr(ContainerClient, name)
        paged = lambda *given, method=method, **more: method(*given, results_per_page=30, **more)  # noqa: E731
        monkeypatch.setattr(ContainerClient, name, paged)
    put(*(f"{folder(DAYS, 'Full')}/{table}.parquet" for table in TABLES))
    put(*(f"{folder(day)}/{table}.parquet" for day in range(1, DAYS) for table in TABLES))
    load_all(app)
    with Proxy.to(azurite.blob_url) as proxy:
        string = app.settings.storage_connection_string.replace(azurite.blob_url, proxy.through(azurite.blob_url))
        through = replace(
            app.settings, exports_url=proxy.through(app.settings.exports_url), storage_connection_string=string
        )
        searched = replace(app, settings=through)

        def calls():
            proxy.requests.clear()
            found(searched)
            return sum("comp=list" in request.target for request in proxy.requests)

        first, load, second, third = calls(), load_all(searched), calls(), calls()

    assert 600 == len(load)
    assert first >= 21
    assert 21 <= second
    assert 10 == third  # csv/, four levels, the full, and days that are not over


class Shelf:
    """Files in memory, listed as a container is."""

    expires = None

    def __init__(self, base):
        self.base, self.files = base, {}

    def put(self, *names):
        for name in names:
            self.files[name] = File(f"{self.base}/{name}", 1, START.timestamp(), f"v{len(self.files)}", remote=True)

    def list(self):
        return iter([self.files[name] for name in sorted(self.files)])

    def list_but(self, skipped, is_whole):
        for file in self.list():
            parts = file.name.split("/")
            above = ["/".join(parts[:n]) + "/" for n in range(1, len(parts))]
            if not any(is_whole(one) and skipped(one) for one in above[3:]):
                yield file

    def etag(self, file):
        return file.version


SOME = st.sets(st.sampled_from(TABLES[:3]))
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), st.integers(0, 9), st.sampled_from(["Full", "Delta"]), st.sets(st.sampled_from(TABLES[:3]))
        ),
        st.tuples(st.just("settle"), st.sampled_from(["done", "failed"]), st.integers(1, 3)),
        st.tuples(st.just("day")),
    ),
    max_size=20,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_search_finds_what_one_of_everything_finds(steps, tmp_path, monkeypatch):
    """Whatever comes when, in folders of their own, is loaded or fails."""
    base = "https://acme.blob.core.windows.net/exports"
    clock, place = Clock(START - dt.timedelta(days=2)), tmp_path / uuid.uuid4().hex
    app = open_test_app(place, clock, EXPORTS_URL=base, STATE_URL=str(place / "state"), SETTLE="0")
    shelf = Shelf(base)
    monkeypatch.setattr(triggers, "open_store", lambda url, _: shelf if url == base else Shelf(url))
    for number, (step, *more) in enumerate(steps):
        if step == "put":
            days, kind, tables = more
            shelf.put(*(f"{folder(4 * days + number / 1000, kind)}/{table}.parquet" for table in tables))
        elif step == "settle":
            status, most = more
            settle(app, set(sorted(found(app))[:most]), status)
        else:
            clock.forward(hours=5)

        everything = [found(app, feed=f"coolr.{table}", all_again=True) for table in TABLES[:3]]  # remembers nothing
        assert set().union(*everything) == found(app)


def test_folders_of_a_container_are_left_out_by_name(container, azurite, put, app, monkeypatch):
    """Whether they are listed one by one or all at once."""
    names = [
        "a.parquet", "Full/Acme/20260101/a.parquet", "Full/Acme/20260102/a.parquet", "Full/Acme/20260102/x/b.parquet",
        "Full/Acme/latest/a.parquet", "20260101/Full/Acme/20260103/a.parquet", "20260101/Full/Acme/20260104/a.parquet",
        "20260103/a_dump_1/p.parquet", "Delta/Other/20260105000000/a.parquet", "Delta/Other/20260105000001/a.parquet",
    ]  # fmt: skip
    put(*names)
    store = open_store(container.url, app.settings)
    skipped = {
        f"{container.url}/{name}/" for name in (
            "Full/Acme/20260102", "20260101/Full/Acme/20260103", "20260103", "Delta/Other/20260105000000"
        )
    }  # fmt: skip
    for most in (20, 0):
        monkeypatch.setattr(blob, "_MOST_CALLS", most)
        left = [file.name.removeprefix(f"{container.url}/") for file in store.list_but(skipped.__contains__, is_dated)]

        assert sorted(set(names) - {names[2], names[3], names[5], names[7], names[8]}) == sorted(left)


def is_dated(name):
    return timestamp(name.split("/")[-2]) is not None
