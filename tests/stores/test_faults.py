"""What goes wrong between here and a store: loads end right or fail clean, and the next one repairs."""

from __future__ import annotations

import datetime as dt
import types

import pytest
import stamina

from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from shared import remote
from shared.errors import ConfigError, TransientError
from shared.pipeline.folder import LoadOptions
from shared.settings import Settings
from shared.stores import expect, open_store, ranged
from shared.stores.https import HttpsStore
from tests.advice import advises
from tests.exports import load_exports, open_test_app
from tests.servers.proxy import Fault, Proxy, busy
from tests.suites.store_suite import content, everything_said, locations

LATER = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
ROWS = 20_000
BLOB = "Full/Acme/20260224000000/location.parquet"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Retries happen at once: ours, and those of a broken body, which are the SDK's own."""
    monkeypatch.setattr("azure.storage.blob._download.time", types.SimpleNamespace(sleep=lambda _: None))
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture(scope="module")
def data():
    return locations(ROWS)


@pytest.fixture
def proxy(azurite):
    with Proxy.to(azurite.blob_url) as proxy:
        yield proxy


@pytest.fixture
def signed(azurite, container, data, proxy):
    """The container with an export in it, by way of the proxy, with a SAS."""
    container.upload_blob(BLOB, data)
    return f"{proxy.through(container.url)}?{_sas(azurite, container.container_name)}"


def _sas(azurite, name):
    return generate_container_sas(
        azurite.account, name, account_key=azurite.key, expiry=LATER,
        permission=ContainerSasPermissions(read=True, list=True),
    )  # fmt: skip


def _is_range(request):
    return request.range is not None and request.range != (0, 0)


def _is_listing(request):
    return "comp=list" in request.target


@pytest.fixture(params=["blob", "https"])
def store(request, signed):
    """Both stores that speak HTTP, on the same blob."""
    if request.param == "blob":
        yield open_store(signed)
        return
    url, _, query = signed.partition("?")
    link = HttpsStore(f"{url}/{BLOB}?{query}")
    yield link
    link._session.close()


@pytest.mark.parametrize(
    "fault",
    [
        {"cut_after": 1_000},
        {"cut_after": 1},
        {"answer": b""},
        {"answer": busy(503, "1")},
        {"answer": busy(429, "1")},
        {"answer": busy(500)},
        {"dribble": 1_000},
    ],
    ids=["cut", "cut at once", "no answer", "503", "429", "500", "slow"],
)
def test_fault_that_passes_is_not_noticed(store, proxy, data, fault):
    """The request is repeated, and the bytes are right."""
    (file,) = store.list()
    proxy.faults.append(trouble := Fault(when=_is_range, times=2, **fault))

    assert data == content(store, file)
    assert len(trouble.met) >= 1


def test_server_that_stalls_is_called_again(store, proxy, data, monkeypatch):
    """No answer for a while is one to give up, on that connection."""
    (file,) = store.list()
    monkeypatch.setattr(remote, "READ_SECONDS", 0.3)
    proxy.faults.append(Fault(when=_is_range, stall=True))

    assert data == content(store, file)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"answer": busy(503)}, "is busy \\(503\\)"),
        ({"cut_after": 10}, "the connection to 127.0.0.1:?[0-9]* was lost"),
        ({"stall": True}, "did not respond in time"),
    ],
)
def test_fault_that_stays_is_reported(store, proxy, monkeypatch, fault, said):
    """After so many times, as what may pass later."""
    (file,) = store.list()
    monkeypatch.setattr(remote, "READ_SECONDS", 0.2)
    proxy.faults.append(Fault(when=_is_range, times=99, **fault))

    with pytest.raises(TransientError, match=said) as caught:
        content(store, file)
    assert "sig=" not in everything_said(caught.value)


def test_fault_within_a_listing_is_not_noticed(signed, proxy):
    """No file is lost or listed twice."""
    proxy.faults.append(Fault(when=_is_listing, answer=busy(503)))
    proxy.faults.append(Fault(when=_is_listing, cut_after=100))

    assert 1 == len(list(open_store(signed).list()))


@pytest.mark.parametrize("status", [403, 404, 412])
def test_refusal_is_not_repeated(signed, proxy, status):
    """Nothing changes by asking."""
    store = open_store(signed)
    (file,) = store.list()
    proxy.faults.append(trouble := Fault(when=_is_range, times=99, answer=busy(status, code="AuthenticationFailed")))

    with pytest.raises(Exception, match=r"\."):
        content(store, file)
    assert 1 == len(trouble.met)


def test_wait_is_as_long_as_the_server_asks(signed, proxy, monkeypatch):
    """In seconds, and to the second."""
    waits = []
    monkeypatch.setattr("tenacity.nap.time", types.SimpleNamespace(sleep=waits.append))
    (file,) = (store := open_store(signed)).list()
    proxy.faults.append(Fault(when=_is_range, answer=busy(503, "7")))
    proxy.faults.append(Fault(when=_is_range, answer=busy(429, "Tue, 24 Feb 2026 12:00:30 GMT")))

    with stamina.set_testing(False):
        content(store, file)

    assert [7.0, 30.0] == waits


def test_server_that_asks_for_too_long_a_wait_is_given_up(signed, proxy, monkeypatch):
    """An hour is for the next run, not for this one."""
    waits = []
    monkeypatch.setattr("tenacity.nap.time", types.SimpleNamespace(sleep=waits.append))
    (file,) = (store := open_store(signed)).list()
    proxy.faults.append(Fault(when=_is_range, answer=busy(503, "3600"), times=99))

    with stamina.set_testing(False), pytest.raises(TransientError, match="is busy"):
        content(store, file)
    assert [] == waits


def test_only_the_range_that_broke_is_moved_again(signed, proxy, data, monkeypatch):
    """What came before it is kept."""
    monkeypatch.setattr(ranged, "_LARGEST", 256 << 10)
    (file,) = (store := open_store(signed)).list()
    proxy.faults.append(broken := Fault(when=lambda request: request.range and request.range[0] > 300_000, cut_after=9))

    with store.open(file) as opened:
        expect(opened, [(0, file.size)], 1)
        read = b"".join(iter(lambda: opened.read(100_000), b""))

    assert data == read
    requested = proxy.ranges()
    assert [broken.met[0].range] == [one for one in set(requested) if requested.count(one) > 1]
    assert len(data) == sum(last + 1 - first for first, last in set(requested))


def test_load_through_faults_ends_right(signed, proxy, tmp_path):
    """Every row once."""
    app = open_test_app(tmp_path)
    for trouble in ({"cut_after": 5_000}, {"answer": busy(503, "1")}, {"dribble": 5_000}):
        proxy.faults.append(Fault(when=_is_range, **trouble))

    (result,) = load_exports(app, signed, LoadOptions())

    assert (ROWS, ROWS) == (result.run.read, result.run.inserted)
    assert all(fault.met for fault in proxy.faults)


def test_server_killed_while_it_is_read_fails_the_load_clean_and_the_next_repairs(private_azurite, data, tmp_path):
    """Nothing is merged of half a file, nor recorded as done."""
    server = private_azurite()
    with BlobServiceClient.from_connection_string(server.connection_string) as service:
        service.create_container("exports").upload_blob(BLOB, data)
    server.stop()  # so that it writes down what it holds
    server.start()
    app = open_test_app(tmp_path)
    with Proxy.to(server.blob_url) as proxy:
        url = f"{proxy.through(server.blob_url)}/exports?{_sas(server, 'exports')}"
        killed = Fault(when=_in_the_middle(len(data)), before=server.kill, answer=b"")
        proxy.faults.append(killed)

        (failed,) = load_exports(app, url, LoadOptions())
        merged = app.warehouse.profile(app.systems["coolr"].feed("location", _COLUMNS)).rows
        server.start()
        (repaired,) = load_exports(app, url, LoadOptions())

    assert killed.met
    assert failed.failed
    assert "127.0.0.1" in str(failed.run.error)
    assert not merged
    assert (ROWS, ROWS) == (repaired.run.read, repaired.run.inserted)


_COLUMNS = ("LocationId", "Name", "ModifiedOn", "IsDeleted")


def _in_the_middle(size):
    return lambda request: request.range is not None and 0 < request.range[0] < size - 70_000


def test_file_that_changes_while_it_is_loaded_is_new_work(azurite, container, signed, proxy, tmp_path):
    """The run of the old content ends without merging, and the next load takes the new."""
    app = open_test_app(tmp_path)
    newer = locations(ROWS + 1)
    before = lambda: container.upload_blob(BLOB, newer, overwrite=True)  # noqa: E731 - said where it is used
    size = container.get_blob_client(BLOB).get_blob_properties().size
    proxy.faults.append(Fault(when=_in_the_middle(size), before=before))

    (failed,) = load_exports(app, signed, LoadOptions())
    (repaired,) = load_exports(app, signed, LoadOptions())

    assert "changed while it was read" in failed.run.error
    advises("Load it again; its new content is a new work item", failed.run.error)
    assert ROWS + 1 == repaired.run.inserted


def test_resolver_that_fails_for_a_moment_may_pass(monkeypatch):
    """Only a name that does not exist is the operator's to correct."""
    import socket

    def resolve(*_given, **_options):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    with pytest.raises(TransientError):
        list(open_store("https://acme.example/a?sig=canary", Settings()).list())


def test_unknown_host_of_a_link_is_reported(monkeypatch):
    """At once."""
    import socket

    def resolve(*_given, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    with pytest.raises(ConfigError, match="there is no host acme") as caught:
        list(open_store("https://acme.example/a?sig=canary", Settings()).list())
    assert "canary" not in everything_said(caught.value)
