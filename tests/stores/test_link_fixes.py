"""A link that is refused is sent again as the error says, and then its file is read."""

from __future__ import annotations

import socket

from collections.abc import Iterator
from typing import Any

import pytest

from shared.settings import Settings
from shared.stores.links import LinkStore
from tests.advice import advised, follows
from tests.servers.web import Pages, served

SAS = "sv=2021-06-08&se=2036-03-03&sr=b&sp=r&sig=AAAA"


@pytest.fixture
def server() -> Iterator[Pages]:
    with served() as server:
        server.puts("/a.parquet", b"content")
        server.puts("/b.parquet", b"more")
        yield server


def store(*urls: str, most_bytes: int = 1 << 30, addresses: tuple[str, ...] = ("20.60.1.1",)) -> LinkStore:
    return LinkStore(urls, Settings(), most_bytes=most_bytes, resolve=lambda _: list(addresses))


COMPLETE: list[Any] = [
    follows("Ask for complete links to files, with their SAS", wrong)
    for wrong in (
        "ftp://host/a.parquet", "https://[half/a", "https://acme.blob.core.windows.net/c/a.parquet",
        f"https://acme.blob.core.windows.net/c/?{SAS}",
    )
]  # fmt: skip


@pytest.mark.parametrize(("advice", "wrong"), COMPLETE)
def test_a_complete_link_is_taken(advice, wrong):
    with advised(advice):
        store(wrong)

    assert store(f"https://acme.blob.core.windows.net/c/a.parquet?{SAS}")


def test_each_file_has_one_link(server):
    with advised("Ask for one link to each file"):
        store(f"{server.url}/a.parquet?t=1", f"{server.url}/a.parquet?t=2")

    assert 2 == len(list(store(f"{server.url}/a.parquet?t=1", f"{server.url}/b.parquet").list()))


def test_a_file_that_no_link_leads_to_comes_with_a_new_notification(server):
    (other,) = store(f"{server.url}/b.parquet").list()

    with advised("Ask for a new notification"):
        store(f"{server.url}/a.parquet").open(other)

    assert b"more" == store(f"{server.url}/b.parquet").open(other).read()


def test_a_large_file_is_allowed(server):
    with advised("Inspect it, then raise WEBHOOK_MAX_BYTES if it should be loaded"):
        list(store(f"{server.url}/a.parquet", most_bytes=6).list())

    raised = Settings.from_env({"WEBHOOK_MAX_BYTES": "7"}).webhook_max_bytes
    assert 1 == len(list(store(f"{server.url}/a.parquet", most_bytes=raised).list()))


def test_a_host_gets_a_public_address():
    link = f"https://acme.blob.core.windows.net/c/a.parquet?{SAS}"

    with advised("Check the link and this machine's DNS. Files in a private network: use sluice load and their URL"):
        store(link, addresses=("10.0.0.5",))._refuse_inside("acme.blob.core.windows.net")

    store(link)._refuse_inside("acme.blob.core.windows.net")


def test_a_host_that_is_not_there_gets_its_right_name():
    def resolve(host: str) -> list[str]:
        if host == "acmee.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ["20.60.1.1"]

    links = LinkStore(["https://acme.test/a"], Settings(), most_bytes=1, resolve=resolve)

    with advised("Correct its name, or this machine's DNS"):
        links._refuse_inside("acmee.test")

    links._refuse_inside("acme.test")
