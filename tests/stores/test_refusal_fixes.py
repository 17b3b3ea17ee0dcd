"""A container that refuses is opened as its error advises; where Azurite has no such rule, a proxy refuses by it."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

from azure.storage.blob import AccountSasPermissions, ContainerClient, ResourceTypes, generate_account_sas

from shared import remote
from shared.errors import ConfigError
from shared.settings import Settings
from shared.stores import open_store
from tests.advice import advised, follows
from tests.servers.azurite import Azurite
from tests.servers.certificate import self_signed
from tests.servers.proxy import Fault, Proxy, Request, busy
from tests.servers.web import served
from tests.stores.blob_samples import LATER, ROOT, _url
from tests.suites.store_suite import content


def read_all(url: str, settings: Settings = Settings()) -> list[bytes]:  # noqa: B008 - it is frozen
    store = open_store(url, settings)
    return [content(store, file) for file in store.list()]


class Room(NamedTuple):
    """A container with one file, behind a proxy."""

    azurite: Azurite
    container: ContainerClient
    proxy: Proxy
    sas: Callable[..., str]

    def url(self, query: str = "") -> str:
        return self.proxy.through(_url(self.container)) + (f"?{query}" if query else "")

    def account_sas(self, services: str = "b", types: str = "co") -> str:
        return generate_account_sas(
            self.azurite.account, self.azurite.key, ResourceTypes.from_string(types),
            AccountSasPermissions.from_string("rl"), LATER, services=services,
        )  # type: ignore[no-untyped-call]  # fmt: skip

    def refuse(self, status: int, code: str, when: Callable[[Request], bool]) -> Fault:
        fault = Fault(when=when, times=99, answer=busy(status, code=code))
        self.proxy.faults.append(fault)
        return fault


@pytest.fixture
def room(azurite, container, put, sas):
    put("a", b"1")
    with Proxy.to(azurite.blob_url) as proxy:
        yield Room(azurite, container, proxy, sas)


def with_services(room: Room) -> tuple[str, str]:
    return room.url(room.account_sas(services="t")), room.url(room.account_sas(services="bt"))


def with_types(room: Room) -> tuple[str, str]:
    return room.url(room.account_sas(types="s")), room.url(room.account_sas(types="sco"))


def with_whole_signature(room: Room) -> tuple[str, str]:
    complete = room.url(room.sas())
    signature = unquote(complete.rpartition("sig=")[2])
    room.refuse(403, "AuthenticationFailed", lambda request: signature not in unquote(request.target))
    return complete[:-9], complete


def of_this_folder(room: Room) -> tuple[str, str]:
    other = room.url(f"sv=2026-01-01&se=2036-03-03&sr=d&sdd=1&sp=rl&sig={'A' * 43}%3D")
    room.refuse(403, "AuthorizationPermissionMismatch", lambda request: "sr=d" in request.target)
    return other, room.url(room.sas())


def from_this_address(room: Room) -> tuple[str, str]:
    room.refuse(403, "AuthorizationSourceIPMismatch", lambda request: "sip=10.1.2.3" in request.target)
    return room.url(room.sas(ip="10.1.2.3")), room.url(room.sas(ip="127.0.0.1"))


LINKS: list[Any] = [
    follows("Ask for a link whose ss has b", with_services),
    follows("Ask for a link whose srt has c and o", with_types),
    follows(
        "Copy the complete link again, in quotes; if the account key was rotated, ask for a new link",
        with_whole_signature,
    ),
    follows(
        "Ask for a link for exactly this folder; a SAS with sr=b is for one blob, with sr=d for one directory",
        of_this_folder,
    ),
    follows("Ask for a link for this machine's address", from_this_address),
]


@pytest.mark.parametrize(("advice", "links"), LINKS)
def test_a_link_is_replaced_as_advised(room, advice, links):
    wrong, right = links(room)

    with advised(advice) as given:
        read_all(wrong)
    assert "sig=" not in str(given.error)

    assert [b"1"] == read_all(right)


OWNERS: list[Any] = [
    follows("Ask its owner to enable it", "AccountIsDisabled"),
    follows(
        "Ask the account's owner to allow this machine's address or network in its firewall, then check the link",
        "AuthorizationFailure",
    ),
]


@pytest.mark.parametrize(("advice", "code"), OWNERS)
def test_what_the_owner_of_the_account_changes_is_enough(room, advice, code):
    rule = room.refuse(403, code, lambda _: True)

    with advised(advice):
        read_all(room.url(room.sas()))

    room.proxy.faults.remove(rule)
    assert [b"1"] == read_all(room.url(room.sas()))


def test_an_archived_blob_is_rehydrated(room):
    blob = room.container.get_blob_client(f"{ROOT}/a")
    blob.set_standard_blob_tier("Archive")

    with advised("Rehydrate it to the hot or cool tier first"):
        read_all(room.url(room.sas()))

    blob.set_standard_blob_tier("Cool")
    assert [b"1"] == read_all(room.url(room.sas()))


def test_a_proxy_that_redirects_is_taken_out_of_the_way(room):
    answer = b"HTTP/1.1 307 Moved\r\nLocation: http://x.test/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    room.proxy.faults.append(Fault(when=lambda _: True, times=9, answer=answer))

    with advised("Correct the host, or the proxy on the way to it"):
        read_all(room.url(room.sas()))

    assert [b"1"] == read_all(f"{_url(room.container)}?{room.sas()}")


# -- links and hosts


@pytest.fixture
def page():
    with served() as pages:
        pages.puts("/a", b"1")
        yield pages


def test_a_location_is_written_as_advised(tmp_path, page):
    (tmp_path / "a").write_bytes(b"1")

    with advised("Check its host and port"):
        open_store("https://[127.0.0.1/a")
    with advised("Give a path, or a URL that starts with {}") as advice:
        open_store(f"ftp://127.0.0.1{tmp_path}/a")

    assert [b"1"] == read_all(f"{page.url}/a") == read_all(str(tmp_path / "a"))
    assert [b"1"] == read_all(f"{advice.values[0].split(', ')[0]}{tmp_path}/a")


def test_a_host_that_does_not_respond_is_corrected(page, monkeypatch):
    """Nobody takes its connections."""
    monkeypatch.setattr(remote, "READ_SECONDS", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        advised("Correct the host and port, or let this machine through firewalls on the way, and load again"),
    ):
        read_all(f"http://127.0.0.1:{silent.getsockname()[1]}/a")

    assert [b"1"] == read_all(f"{page.url}/a")


def test_a_connection_that_is_lost_is_tried_again_later(room):
    broken = Fault(when=lambda _: True, times=99, answer=b"")
    room.proxy.faults.append(broken)
    with advised("Load again; if it lasts, check the network and proxies on the way"):
        read_all(room.url(room.sas()))

    room.proxy.faults.remove(broken)
    assert [b"1"] == read_all(room.url(room.sas()))


def test_an_authority_that_is_not_known_here_is_named(tmp_path, monkeypatch):
    certificate, key = self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with served(tls) as pages:
        pages.puts("/a", b"1")
        url = f"{pages.url.replace('http', 'https')}/a"

        with advised("Correct the host, set this machine's clock, or name its authority's file in {}") as advice:
            read_all(url)

        monkeypatch.setenv(advice.values[0], str(certificate))
        assert [b"1"] == read_all(url)
        with pytest.raises(ConfigError, match="does not exist"):  # Azure's library has got as far as an answer
            read_all(f"{pages.url.replace('http', 'https')}/devstoreaccount1/c?{'sv=1&sp=rl&sig=x'}")


# -- local files


@contextlib.contextmanager
def without_rights(path: Path) -> Iterator[None]:
    """The file may not be read: root, who may read everything, is somebody else meanwhile."""
    path.chmod(0)
    if os.getuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(os.getuid())
        path.chmod(0o600)


@contextlib.contextmanager
def with_a_folder_in_its_place(path: Path) -> Iterator[None]:
    data = path.read_bytes()
    path.unlink()
    path.mkdir()
    yield
    path.rmdir()
    path.write_bytes(data)


@pytest.mark.parametrize("spoilt", [without_rights, with_a_folder_in_its_place])
def test_rights_or_path_of_a_local_file_are_corrected(tmp_path, spoilt):
    (tmp_path / "a").write_bytes(b"1")
    (file,) = (store := open_store(str(tmp_path / "a"))).list()

    with spoilt(tmp_path / "a"), advised("Correct its rights or path"):
        store.open(file)

    assert [b"1"] == read_all(str(tmp_path / "a"))
