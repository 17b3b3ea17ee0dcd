"""A URL of storage that is refused is written as the error shows, and then it is understood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.azure import clients, urls
from shared.settings import Settings
from tests.advice import advised, follow, follows

SAS = "sv=2021-06-08&se=2036-03-03&sr=c&sp=rl&sig=AAAA"
KEY = "AccountName=acme;AccountKey=bm90IGEga2V5;EndpointSuffix=core.windows.net"
BLOB = "https://acme.blob.core.windows.net/exports/coolr"
TABLE = "https://acme.table.core.windows.net/ledger"


def client(url: str, **settings: Any) -> object:
    return clients.container_client(urls.parse_url(url), Settings(**settings))


CASES: list[Any] = [
    follows(
        "Write https://<account>.blob.core.windows.net/<container>/<folder>",
        urls.parse_url, ["https://acme.example/exports", "https://acme.blob.core.windows.net/"], [BLOB],
    ),
    follows("Start it with https://", urls.parse_url, [BLOB.replace("https", "http")], [BLOB]),
    follows("Put the URL in quotes: a shell stops at each &", urls.parse_url, [f"{BLOB}?sv=2021"], [f"{BLOB}?{SAS}"]),
    follows(
        "Write https://<account>.table.core.windows.net/<table>, a SAS behind it or not, or give a connection string",
        urls.parse_table_url, ["https://acme.table.core.windows.net:x/", "https://acme.example/ledger"],
        [TABLE, f"{TABLE}?{SAS}"],
    ),
    follows(
        "Its name has 3 to 63 letters and digits, a letter first",
        urls.parse_table_url, [f"{TABLE}-1", f"{TABLE}/more", TABLE.replace("ledger", "2nd")],
        [f"{TABLE}1", TABLE.replace("ledger", "second2")],
    ),
    follows(
        "Put LEDGER_URL in quotes: a shell stops at each &",
        urls.parse_table_url, [f"{TABLE}?sv=2021"], [f"{TABLE}?{SAS}"],
    ),
    follows(
        "Copy it from the storage account's access keys, starting with DefaultEndpointsProtocol=",
        lambda text: client(BLOB, storage_connection_string=text),
        ["acme", "AccountKey=bm90IGEga2V5"], [f"DefaultEndpointsProtocol=https;{KEY}"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("advice", "read", "wrong", "right"), CASES)
def test_a_url_is_written_as_advised(advice: str, read: Callable[[str], object], wrong: list[str], right: list[str]):
    follow(advice, read, wrong, right)


def test_a_token_is_sent_only_where_it_is_encrypted():
    emulated = "http://127.0.0.1:10000/devstoreaccount1/exports"
    connection = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm90IGEga2V5;"
        "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1"
    )
    with advised("Use https, a URL with a SAS, or STORAGE_CONNECTION_STRING"):
        client(emulated)

    assert client(emulated.replace("http:", "https:"))
    assert client(f"{emulated}?{SAS}")
    assert client(emulated, storage_connection_string=connection)
