"""What refusals of Blob Storage mean, in words, and which URLs name a container."""

from __future__ import annotations

import base64
import datetime as dt
import re
import socket

from urllib.parse import quote

import pytest

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from shared.azure import clients, identity, urls
from shared.azure import sas as sas_fields
from shared.azure.errors import Refusal, explained
from shared.azure.urls import StorageUrl
from shared.errors import ConfigError, TransientError
from shared.settings import Settings
from shared.stores import open_store
from tests.advice import advises
from tests.servers.proxy import Fault, Proxy
from tests.stores.blob_samples import EARLIER, LATER, ROOT, Token, _url
from tests.suites.store_suite import content, everything_said


def _list(url, settings=None):
    return list(open_store(url, settings or Settings()).list())


def _read_all(url, settings):
    store = open_store(url, settings)
    for file in store.list():
        content(store, file)


def _refused(url, settings=None):
    """The sentence that refuses *url*, which holds no signature."""
    with pytest.raises(ConfigError) as caught:
        _read_all(url, settings or Settings())
    _assert_secret(caught.value)
    return str(caught.value)


def _assert_secret(error, *more):
    said = everything_said(error)
    assert [] == [secret for secret in ("sig=", *more) if secret in said]


def test_expired_sas_is_reported_with_its_time(container, put, sas):
    """Nothing helps but another link."""
    put("a", b"1")

    said = _refused(f"{_url(container)}?{sas(expiry=EARLIER, start=EARLIER - dt.timedelta(1))}")

    assert f"the SAS expired at {EARLIER:%Y-%m-%d %H:%M:%S} UTC. Ask for a new link." in said


def test_sas_of_tomorrow_is_reported_with_its_time(container, put, sas):
    """It starts later than somebody thought."""
    put("a", b"1")

    said = _refused(f"{_url(container)}?{sas(start=LATER, expiry=LATER + dt.timedelta(1))}")

    assert f"the SAS is not valid before {LATER:%Y-%m-%d %H:%M:%S} UTC" in said
    advises("Wait, or ask for a link that starts earlier", said)
    _read_all(f"{_url(container)}?{sas(start=EARLIER, expiry=LATER + dt.timedelta(1))}", Settings())


@pytest.mark.parametrize(("permission", "lacking"), [("r", "list"), ("l", "read")])
def test_sas_without_a_permission_names_it(container, put, sas, permission, lacking):
    """Listing takes one, reading the other."""
    put("a", b"1")

    said = _refused(f"{container.url}?{sas(permission=permission)}")

    assert f"the SAS lacks {lacking} permission (sp={permission})" in said
    (wanted,) = advises("Ask for a link with sp={}", said)
    _read_all(f"{container.url}?{sas(permission=''.join({*wanted, permission}))}", Settings())


def test_wrong_signature_is_reported(container, put, sas):
    """As it is when a character was lost on the way, or the key changed. Azurite calls it AuthorizationFailure."""
    put("a", b"1")
    key = base64.b64encode(b"another key").decode()

    said = _refused(f"{_url(container)}?{sas(key=key)}")

    assert "AuthorizationFailure" in said or "signature of the SAS does not match" in said


def test_container_that_is_not_there_is_named(azurite, container, put):
    """Its name is often what was mistyped."""
    said = _refused(
        f"{azurite.blob_url}/no-such-one/Full", Settings(storage_connection_string=azurite.connection_string)
    )

    assert "there is no container 'no-such-one' on 127.0.0.1" in said
    advises("Correct the container in the URL, or create it", said)
    put("Full/a", b"1")
    _read_all(container.url, Settings(storage_connection_string=azurite.connection_string))


def test_folder_that_is_not_there_is_named(container, put, sas):
    """A SAS may be good, and the path wrong."""
    put("a", b"1")

    said = _refused(f"{_url(container, 'nowhere')}?{sas()}")

    assert f"{container.url}/nowhere does not exist. Correct the path; it is case-sensitive." == said


def test_redirect_is_not_followed(azurite, container, put, sas):
    """Blob Storage has none: it would come from somebody in between, and what signs in would go with it."""
    put("a", b"1")
    there = quote(f"{container.url}/{ROOT}/a", safe=":/")
    with Proxy.to(azurite.blob_url) as proxy:
        head = f"HTTP/1.1 307 Moved\r\nLocation: {there}?{sas()}\r\n"
        answer = f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
        proxy.faults.append(Fault(when=lambda _: True, times=9, answer=answer))
        for url in (f"{_url(container)}?{sas()}", f"{_url(container, f'{ROOT}/a')}?{sas()}", _url(container)):
            said = _refused(
                proxy.through(url), Settings(storage_connection_string=_through(proxy, azurite.connection_string))
            )

            assert "answers with a redirect (307), which Blob Storage never does" in said


def _through(proxy, connection_string):
    """*connection_string* with the proxy's port for the one of blobs."""
    return re.sub(r"(BlobEndpoint=http://127\.0\.0\.1:)\d+", rf"\g<1>{proxy.port}", connection_string)


def test_token_is_not_sent_in_the_clear(container, monkeypatch):
    """An emulator without TLS is read with a SAS or a key."""
    monkeypatch.setattr(identity, "credential", Token)

    assert "would receive our token unencrypted" in _refused(container.url)


def test_missing_sign_in_is_reported(azurite, container, put, sas, monkeypatch):
    """Not in the many lines of all that was tried."""

    class Nobody:
        def get_token(self, *_scopes, **_options):
            raise ClientAuthenticationError("DefaultAzureCredential failed:\n  1. that\n  2. this")

    monkeypatch.setattr(identity, "credential", Nobody)
    url = container.url.replace("http:", "https:")

    said = _refused(url)

    assert "needs a sign-in, and this process has none" in said
    advises(
        "Give a URL with a SAS, set STORAGE_CONNECTION_STRING, give the app a managed identity,"
        " or sign in with az login",
        said,
    )
    put("a", b"1")
    _read_all(f"{container.url}?{sas()}", Settings())
    _read_all(container.url, Settings(storage_connection_string=azurite.connection_string))


def test_unknown_host_is_reported_at_once(monkeypatch):
    """A name that does not exist will not exist in a minute."""
    calls = []

    def resolve(host, *_rest, **_options):
        calls.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    assert "there is no host acme.blob.core.windows.net" in _refused(f"{ACME}/exports?{SAS}")
    assert 1 == len(calls)


def test_refused_connection_may_pass(azurite):
    """A server that restarts is back soon: no setting is to blame."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    with pytest.raises(TransientError, match=f"127.0.0.1:{port} refuses connections") as caught:
        _list(f"http://127.0.0.1:{port}/devstoreaccount1/c?{SAS}")
    _assert_secret(caught.value, "canary")


ACME = "https://acme.blob.core.windows.net"
SAS = "sv=2021-06-08&se=2026-03-03&sr=d&sp=rl&sig=canary"
NOON = "Tue, 24 Feb 2026 12:00:00 GMT"


class CannedResponse:
    """A response as the service's documentation has it."""

    def __init__(self, status, code, **headers):
        self.status_code, self.reason = status, "Reason"
        self.headers = {"x-ms-error-code": code, "Date": NOON, **headers}

    def text(self):
        return ""


def _explained(status, code, sas=SAS, right="list", **headers):
    error = HttpResponseError(response=CannedResponse(status, code, **headers))
    place = StorageUrl(ACME, "exports", "Full/Acme", sas)
    return explained(error, Refusal.of(error, place, right), identity=lambda: "ada@acme.com")


@pytest.mark.parametrize(
    ("status", "code", "sas", "said"),
    [
        (403, "AuthenticationFailed", SAS, "the signature of the SAS does not match"),
        (403, "AuthenticationFailed", SAS.replace("2026-03-03", "2026-02-24"), "expired at 2026-02-24 00:00:00 UTC"),
        (403, "AuthenticationFailed", f"st=2026-02-25&{SAS}", "not valid before 2026-02-25 00:00:00 UTC"),
        (403, "AuthorizationPermissionMismatch", SAS.replace("rl", "r"), "lacks list permission (sp=r)"),
        (403, "AuthorizationPermissionMismatch", SAS, "the SAS does not allow to list this"),
        (403, "AuthorizationFailure", SAS, "refuses this network"),
        (403, "AuthorizationFailure", None, "refuses this network"),
        (403, "AuthorizationResourceTypeMismatch", SAS, "not for containers and blobs (srt)"),
        (403, "AuthorizationSourceIPMismatch", SAS, "for other IP addresses"),
        (403, "KeyBasedAuthenticationNotPermitted", SAS, "accepts no keys"),
        (409, "BlobArchived", SAS, "archive tier"),
        (403, "AuthenticationFailed", None, "does not accept our sign-in"),
        (401, "NoAuthenticationInformation", None, "does not accept our sign-in"),
        (404, "ContainerNotFound", SAS, "there is no container 'exports'"),
        (400, "InvalidQueryParameterValue", SAS, "answers 400 InvalidQueryParameterValue"),
    ],
)  # fmt: skip
def test_refusals_are_distinguished(status, code, sas, said):
    """By the codes of the service, and by what the SAS says of itself against the time of the answer."""
    error = _explained(status, code, sas)

    assert isinstance(error, ConfigError)
    assert said in str(error)
    assert "canary" not in str(error)


def test_missing_role_names_who_needs_it_and_where():
    """So that it can be given by who reads the line."""
    said = str(_explained(403, "AuthorizationPermissionMismatch", sas=None))

    assert "Give ada@acme.com the role Storage Blob Data Reader on acme/exports" in said


@pytest.mark.parametrize(("given", "after"), [("7", 7.0), ("Tue, 24 Feb 2026 12:00:30 GMT", 30.0), (None, None)])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_service_says_when_to_come_back(status, given, after):
    """In seconds, or as a moment by its own clock."""
    error = _explained(status, "ServerBusy", **({"Retry-After": given} if given else {}))

    assert isinstance(error, TransientError)
    assert after == error.after


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"{ACME}/exports", (ACME, "exports", "", None)),
        (f"{ACME}/exports/", (ACME, "exports", "", None)),
        (f"{ACME}/exports/Full/a%20b%23.parquet", (ACME, "exports", "Full/a b#.parquet", None)),
        (f"{ACME}/exports/Full/X?{SAS}", (ACME, "exports", "Full/X", SAS)),
        ("https://ACME.dfs.core.windows.net:443/exports", (ACME, "exports", "", None)),
        ("https://acme-secondary.blob.core.windows.net/c", (ACME, "c", "", None)),
        ("https://acme.privatelink.blob.core.windows.net/c", (ACME, "c", "", None)),
        (
            "https://acme.dfs.core.chinacloudapi.cn/c/x",
            ("https://acme.blob.core.chinacloudapi.cn", "c", "x", None),
        ),
        (
            "https://acme.blob.core.usgovcloudapi.net/c",
            ("https://acme.blob.core.usgovcloudapi.net", "c", "", None),
        ),
        ("https://acme.z12.blob.storage.azure.net/c", ("https://acme.z12.blob.storage.azure.net", "c", "", None)),
        (
            "http://127.0.0.1:10000/devstoreaccount1/c/x/y",
            ("http://127.0.0.1:10000/devstoreaccount1", "c", "x/y", None),
        ),
        ("http://azurite:10000/devstoreaccount1/c", ("http://azurite:10000/devstoreaccount1", "c", "", None)),
    ],
)
def test_urls_are_split_into_account_container_path_and_sas(url, expected):
    """All ways to write one account become one."""
    assert expected == tuple(urls.parse_url(url))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (ACME, "names no container"),
        (f"{ACME}/", "names no container"),
        (f"{ACME}/?{SAS}", "names no container"),
        ("http://127.0.0.1:10000/devstoreaccount1", "names no container"),
        ("http://acme.blob.core.windows.net/c", "is not encrypted"),
        ("https://acme.blob.core.windows.net.evil.example/c", "is no URL of Blob Storage"),
        ("http://127.evil.example/devstoreaccount1/c", "is no URL of Blob Storage"),
        (f"{ACME}/c?sv=2021-06-08", "truncated: it has no sig. Put the URL in quotes"),
    ],
)
def test_urls_that_point_to_no_container_are_refused(url, said):
    """Without repeating what may be secret."""
    with pytest.raises(ConfigError, match=said) as caught:
        urls.parse_url(url)
    assert "canary" not in str(caught.value)


def test_place_shows_no_sas():
    """However it gets into a log or a traceback."""
    place = urls.parse_url(f"{ACME}/exports/Full?{SAS}")

    assert "canary" in place.sas
    assert "canary" not in f"{place} {place!r} {place.url}"


@pytest.mark.parametrize(
    ("sas", "expected"),
    [
        ("se=2026-03-03&sig=x", dt.datetime(2026, 3, 3, tzinfo=dt.UTC)),
        ("se=2026-03-03T01%3A02%3A03Z&sig=x", dt.datetime(2026, 3, 3, 1, 2, 3, tzinfo=dt.UTC)),
        ("?se=2026-03-03T01:02Z&sig=x", dt.datetime(2026, 3, 3, 1, 2, tzinfo=dt.UTC)),
        ("se=2026-03-03T01%3A02%3A03.1234567Z&sig=x", dt.datetime(2026, 3, 3, 1, 2, 3, 123456, tzinfo=dt.UTC)),
        ("si=policy&sig=x", None),
        ("se=soon&sig=x", None),
        ("se=0001-01-01T00:00:00%2B23:59&sig=x", None),
    ],
)
def test_sas_says_when_it_ends(sas, expected):
    """In each form the service takes; a stored policy may keep it to itself."""
    assert expected == sas_fields.sas_expiry(sas)


def test_connection_string_is_used_for_its_own_account_alone(monkeypatch):
    """A key is no use elsewhere, and none of another account's business."""
    monkeypatch.setattr(identity, "credential", Token)
    key = base64.b64encode(b"key").decode()
    settings = Settings(
        storage_connection_string=f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={key};"
        "EndpointSuffix=core.windows.net"
    )

    own = clients.container_client(urls.parse_url(f"{ACME}/c"), settings)
    other = clients.container_client(urls.parse_url(f"{ACME.replace('acme', 'other')}/c"), settings)
    with_sas = clients.container_client(urls.parse_url(f"{ACME}/c?{SAS}"), settings)

    assert "acme" == own.credential.account_name
    assert isinstance(other.credential, Token)
    assert with_sas.url.endswith("sig=canary")


def test_broken_connection_string_is_reported_without_repeating_it():
    """It holds a key."""
    with pytest.raises(ConfigError, match="STORAGE_CONNECTION_STRING cannot be read") as caught:
        clients.container_client(urls.parse_url(f"{ACME}/c"), Settings(storage_connection_string="AccountKey=canary"))
    _assert_secret(caught.value, "canary")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30.x"])
def test_unreadable_token_names_nobody(token):
    """A message about a missing role is still a message."""
    assert "this app's identity" == identity.identity_of(token)
