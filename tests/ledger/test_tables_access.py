"""Where LEDGER_URL points, how the ledger signs in there, and what refusals mean."""

from __future__ import annotations

import socket
import traceback
import uuid

import pytest

from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.data.tables import (
    TableClient,
)

from shared.azure import clients, identity, urls
from shared.errors import ConfigError, IngestError, TransientError
from shared.ledger import open_ledger
from shared.ledger.tables.table_ledger import TablesLedger
from tests.ledger.tables_samples import HASTE, MARK, a_sas, held, is_one_line, opened
from tests.servers import free_port
from tests.suites.ledger_suite import FEED, done


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_service_is_called_again_for_a_bounded_time(url, wire, status):
    """Once is made good; a service that stays busy is reported, with its host."""
    wire.answer(status, "ServerBusy", times=2)
    opened(wire.url(url)).commit(FEED, [done()], MARK)
    wire.answer(status, "ServerBusy", times=None)

    with pytest.raises(TransientError, match=rf"127\.0\.0\.1:\d+ is busy \({status} ServerBusy\)") as caught:
        opened(wire.url(url), 0.3).watermark(FEED)
    assert is_one_line(caught.value)
    assert "10" == opened(url).watermark(FEED).value


@pytest.mark.parametrize(
    ("status", "code", "by", "expected"),
    [
        (403, "AuthorizationPermissionMismatch", "identity", "may not be used by Ada .*Storage Table Data Contributor"),
        (403, "AuthenticationFailed", "identity", "does not accept our sign-in .*own tenant"),
        (403, "AuthenticationFailed", "SAS", "does not accept our sign-in .*has not expired"),
        (403, "AuthenticationFailed", "LEDGER_URL", "does not accept our sign-in .*access keys"),
        (403, "AuthorizationFailure", "identity", "refuses this network .*firewall"),
        (403, "AuthorizationPermissionMismatch", "SAS", "may not be used with our SAS .*sp=raudc"),
        (403, "KeyBasedAuthenticationNotPermitted", "LEDGER_URL", "accepts no keys.*Storage Table Data Contributor"),
        (404, "", "identity", r"does not respond like Table Storage \(404\).*Set LEDGER_URL"),
        (400, "InvalidInput", "identity", r"does not respond like Table Storage \(400 InvalidInput\)"),
    ],
)
def test_refusals_say_what_to_do(monkeypatch, status, code, by, expected):
    """By what the process signs in with."""
    monkeypatch.setattr(identity, "identity_name", lambda: "Ada")
    client = TableClient.from_connection_string("UseDevelopmentStorage=true", "ledger")
    error = HttpResponseError("no")
    error.status_code, error.error_code = status, code

    with pytest.raises(ConfigError, match=expected) as caught:
        raise clients.TableAccess(client, by).explained(error)
    assert is_one_line(caught.value)


def test_table_that_may_not_be_created_is_reported(azurite, table):
    """The SAS may do all with a table, but there is none."""
    sas = a_sas(azurite, read=True, add=True, update=True, delete=True)

    with pytest.raises(ConfigError, match=f"table {table} of .* may not be used with our SAS"):
        opened(f"{azurite.table_url}/{table}?{sas}").commit(FEED, [done()])


def test_wrong_key_is_reported(azurite, table):
    """Of the right form, of another account."""
    wrong = azurite.connection_string.replace(azurite.key, "A" * 86 + "==")

    with pytest.raises(ConfigError, match="refuses the key in LEDGER_URL") as caught:
        opened(wrong).watermark(FEED)
    assert is_one_line(caught.value)


def test_key_that_is_none_is_reported(azurite):
    """Cut off when it was copied."""
    with pytest.raises(ConfigError, match="the account key in LEDGER_URL is no key"):
        opened(azurite.connection_string.replace(azurite.key, azurite.key[:9])).watermark(FEED)


def test_server_that_is_down_is_transient():
    """It may come up again."""
    with pytest.raises(TransientError, match="refuses connections"):
        opened(f"http://127.0.0.1:{free_port()}/devstoreaccount1", HASTE).watermark(FEED)


def test_host_that_does_not_exist_is_a_matter_of_configuration(monkeypatch):
    """The account's name is misspelt; nobody waits for it to appear."""

    def nowhere(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    with pytest.raises(ConfigError, match=r"there is no host acme\.table\.core\.windows\.net"):
        opened("https://acme.table.core.windows.net?sv=1&sig=hush").watermark(FEED)


def test_place_that_is_no_table_storage_is_reported(azurite):
    """The blob endpoint answers too, but not as it should."""
    with pytest.raises(ConfigError, match="does not respond like Table Storage"):
        opened(azurite.blob_url).watermark(FEED)


def test_secrets_are_in_no_error(azurite, wire, caplog):
    """Neither key nor signature, not even in what lies behind the error, nor in the logs, whatever fails."""
    sas = a_sas(azurite, read=True)
    secrets = [azurite.key, sas.partition("sig=")[2], "hush"]
    urls = [
        f"{azurite.table_url}/nobody?{sas}",
        f"{wire.url(azurite.table_url)}/{'x' * 9}?{sas}",
        f"http://127.0.0.1:{free_port()}/devstoreaccount1?{sas}",
        f"https://user:hush@acme.example/ledger?{sas}",
        f"https://acme.table.core.windows.net/a/b/hush?{sas}",
        f"https://acme.table.core.windows.net:hush/?{sas}",
        "https://acme.table.core.windows.net/ledger?sv=1&hush=1",
        azurite.connection_string.replace("AccountName", "hush"),
        azurite.connection_string.replace(azurite.key, azurite.key[:-4]),
        "DefaultEndpointsProtocol=http;AccountKey=hush;x://y",
        f"tables{azurite.key}://hush",
    ]
    wire.lose(0, after=True)
    for url in urls:
        with pytest.raises(IngestError) as caught:
            open_ledger(url, lock_timeout=HASTE).commit(FEED, [done()])
        reported = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
        assert [] == [secret for secret in secrets if secret in reported], url


def test_what_the_client_says_is_passed_on_without_secrets(url, monkeypatch):
    """Some of its errors repeat the whole URL."""
    ledger, secret = opened(url, HASTE), uuid.uuid4().hex

    def fail(*_: object) -> None:
        raise ServiceRequestError(f"GET {url}?sv=1&sig={secret} failed")

    monkeypatch.setattr(ledger._access.client, "get_entity", fail)
    with pytest.raises(TransientError) as caught:
        ledger.watermark(FEED)
    reported = "".join(traceback.format_exception(caught.value))
    assert (f"GET {url} failed" in reported, secret in reported) == (True, False)


@pytest.mark.parametrize(
    ("url", "endpoint", "table"),
    [
        ("https://acme.table.core.windows.net", "https://acme.table.core.windows.net", "ledger"),
        ("https://acme.table.core.windows.net/", "https://acme.table.core.windows.net", "ledger"),
        ("https://ACME.table.core.windows.net/Other", "https://acme.table.core.windows.net", "Other"),
        ("https://acme.table.core.chinacloudapi.cn/x1y", "https://acme.table.core.chinacloudapi.cn", "x1y"),
        ("http://127.0.0.1:10002/devstoreaccount1", "http://127.0.0.1:10002/devstoreaccount1", "ledger"),
        ("http://127.0.0.1:10002/devstoreaccount1/other", "http://127.0.0.1:10002/devstoreaccount1", "other"),
        ("http://azurite:10002/devstoreaccount1/", "http://azurite:10002/devstoreaccount1", "ledger"),
    ],
)
def test_url_names_an_account_and_maybe_a_table(url, endpoint, table):
    """The table is ``ledger`` unless it is named; the emulator has its account in the path."""
    assert (endpoint, table, None) == urls.parse_table_url(url)[:3]
    assert (endpoint, table, "sv=1&sig=x") == urls.parse_table_url(f"{url}?sv=1&sig=x")[:3]


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.blob.core.windows.net/ledger",
        "https://example.com/ledger",
        "https://acme.table.core.windows.net.example.com/ledger",
        "http://acme.table.core.windows.net/ledger",
        "http://127.0.0.1:10002",
        "https://",
        "https://acme.table.core.windows.net/a/b",
        "https://acme.table.core.windows.net/no-such-name",
        "https://acme.table.core.windows.net/tables",
        "https://acme.table.core.windows.net/ledger?sv=2021&se=2030",
        "https://[acme",
    ],
)
def test_url_of_something_else_is_refused_at_once(url):
    """A token is sent to nobody but Microsoft, and nothing goes unencrypted."""
    with pytest.raises(ConfigError, match="LEDGER_URL") as caught:
        open_ledger(url, lock_timeout=1)
    assert is_one_line(caught.value)


def test_every_way_to_sign_in_leads_to_the_same_table(azurite, url):
    """A SAS, the account's connection string beside the URL, and the key that the emulator is known by."""
    sas = a_sas(azurite, read=True, add=True, update=True, delete=True, create=True)
    other = "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=aGVsbG8=;EndpointSuffix=core.windows.net"
    ways = [
        open_ledger(url, lock_timeout=1),
        open_ledger(f"{url}?{sas}", lock_timeout=1),
        open_ledger(url, lock_timeout=1, storage_connection_string=azurite.connection_string),
        open_ledger(url, lock_timeout=1, storage_connection_string=other),
    ]
    ways[0].commit(FEED, [done()], MARK)

    assert [held(ways[0], [done()])] * 4 == [held(way, [done()]) for way in ways]
    assert ["LEDGER_URL", "SAS", "STORAGE_CONNECTION_STRING", "LEDGER_URL"] == [way._access.by for way in ways]


def test_connection_string_has_the_table_ledger(azurite):
    """It has no place for another name."""
    ledger = open_ledger(azurite.connection_string, lock_timeout=1)
    feed = uuid.uuid4().hex
    ledger.commit(feed, [done()], MARK)

    assert held(ledger, [done()], feed) == held(opened(f"{azurite.table_url}/ledger"), [done()], feed)


def test_connection_string_of_the_emulator_needs_no_more():
    """As the Functions host takes it, too."""
    assert "http://127.0.0.1:10002/devstoreaccount1" == opened("UseDevelopmentStorage=true")._access.endpoint


def test_account_without_proof_is_signed_in_to_by_identity(monkeypatch):
    """What is deployed has no key anywhere."""
    monkeypatch.setattr(identity, "credential", lambda: AzureNamedKeyCredential("acme", "aGVsbG8="))

    assert "identity" == opened("https://acme.table.core.windows.net")._access.by


def test_unreadable_connection_string_is_reported():
    """With the setting it stands in."""
    with pytest.raises(ConfigError, match="the connection string in STORAGE_CONNECTION_STRING cannot be read"):
        TablesLedger("https://acme.table.core.windows.net", HASTE, "hush").watermark(FEED)
