"""Links that end: refused once they have, and warned of when they are likely to before the load does."""

from __future__ import annotations

import datetime as dt

import pytest

from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from shared.errors import ConfigError
from shared.model import Run
from shared.pipeline.folder import LoadOptions, audits, load
from shared.pipeline.progress import Progress
from shared.stores.expiry import bytes_per_second, expected_seconds, expiry_warning, refuse_expired
from tests.exports import Clock, load_exports, open_test_app
from tests.servers.proxy import Proxy
from tests.suites.store_suite import locations

NOON = dt.datetime(2026, 2, 24, 12, tzinfo=dt.UTC)
END = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).replace(microsecond=0)


def _run(seconds=10, files=("a",), read=1, status="done"):
    finished = f"2026-02-24T12:00:{seconds:02d}.000000"
    return Run(
        id="r", feed="f", kind="full", started="2026-02-24T12:00:00.000000", finished=finished, files=files, read=read,
        status=status,
    )  # fmt: skip


def test_warning_says_both_times():
    """When the link ends, and until when the load is likely to take."""
    said = expiry_warning(NOON + dt.timedelta(minutes=5), NOON, 600)

    assert "expires at 2026-02-24 12:05:00 UTC" in said
    assert "likely to take until 2026-02-24 12:10:00 UTC" in said


@pytest.mark.parametrize(
    ("expires", "seconds"), [(NOON + dt.timedelta(minutes=5), 299), (None, 1e6), (NOON + dt.timedelta(minutes=5), 0)]
)
def test_link_that_lasts_is_not_warned_of(expires, seconds):
    """Nor one that does not say when it ends, nor a load with nothing to do."""
    assert expiry_warning(expires, NOON, seconds) is None


def test_pace_is_that_of_earlier_runs():
    """All bytes over all seconds, of files whose size is known."""
    runs = [_run(10, ("a",)), _run(30, ("b", "c"))]

    assert 1_000.0 == bytes_per_second(runs, {"a": 10_000, "b": 10_000, "c": 20_000})


@pytest.mark.parametrize(
    "runs", [[], [_run(status="failed")], [_run(files=("gone",))], [_run(read=0)], [_run(seconds=0)], [_run(files=())]]
)
def test_runs_that_tell_nothing_leave_the_pace_open(runs):
    """Failed, of files that are gone, of none, or too short to be timed."""
    assert bytes_per_second(runs, {"a": 10_000}) is None


def test_without_a_pace_two_megabytes_a_second_are_taken():
    """Cautious: a slow line does that."""
    assert 5.0 == expected_seconds({"a": 6_000_000, "b": 4_000_000}, None)
    assert 10.0 == expected_seconds({"a": 10_000}, 1_000.0)


def test_link_that_has_ended_is_refused():
    """At its very second."""
    refuse_expired(None, NOON)
    refuse_expired(NOON, NOON - dt.timedelta(seconds=1))

    with pytest.raises(ConfigError, match=r"the SAS of the URL expired at 2026-02-24 12:00:00 UTC. Ask for a new link"):
        refuse_expired(NOON, NOON)


class Hears(Progress):
    """Keeps the warnings."""

    def __init__(self):
        self.reported = []
        super().__init__(self.reported.append)


@pytest.fixture
def export(azurite, container):
    """URL of an export of half a megabyte, signed until ``END``, by way of a proxy."""
    container.upload_blob("Full/Acme/20260224000000/location.parquet", locations(60_000))
    sas = generate_container_sas(
        azurite.account, container.container_name, account_key=azurite.key, expiry=END,
        permission=ContainerSasPermissions(read=True, list=True),
    )  # fmt: skip
    with Proxy.to(azurite.blob_url) as proxy:
        yield proxy, f"{proxy.through(container.url)}/Full?{sas}"


@pytest.mark.parametrize("verb", [load, audits], ids=["load", "audit"])
def test_ended_link_is_refused_before_anything_is_requested(export, tmp_path, verb):
    """Nobody needs the server to say what the link says itself."""
    proxy, url = export
    app = open_test_app(tmp_path, Clock(END + dt.timedelta(seconds=1)))

    with pytest.raises(ConfigError, match="expired at"):
        list(verb(app.runner, app.settings, url, LoadOptions()))
    assert [] == proxy.requests


def test_load_that_may_outlast_its_link_is_warned_of_before_it_starts(export, tmp_path):
    """And goes on; of what is loaded already nobody is warned."""
    _, url = export
    app, hears = open_test_app(tmp_path, Clock(END - dt.timedelta(milliseconds=10))), Hears()
    watch = Hears()

    results = load_exports(app, url, LoadOptions(), hears)
    (first,) = results
    (second,) = load_exports(app, url, LoadOptions(), watch)

    assert 1 == len(hears.reported)
    assert f"expires at {END:%Y-%m-%d %H:%M:%S} UTC" in hears.reported[0]
    assert "sig" not in hears.reported[0].replace("signed", "")
    assert 60_000 == first.run.inserted
    assert second.skipped
    assert [] == watch.reported


def test_load_with_time_enough_is_not_warned_of(export, tmp_path):
    """A day is plenty for this."""
    _, url = export
    app, hears = open_test_app(tmp_path, Clock(END - dt.timedelta(days=1))), Hears()

    list(load_exports(app, url, LoadOptions(), hears))

    assert [] == hears.reported
