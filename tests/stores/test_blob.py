"""Azure Blob Storage as a store: each way to sign in, what is asked of the service, and what refusals mean."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import random
import re
import socket
import string

from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stamina

from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import (
    AccountSasPermissions,
    BlobSasPermissions,
    BlobServiceClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

from shared.azure import clients, identity, urls
from shared.azure import sas as sas_fields
from shared.azure.errors import Refusal, explained
from shared.azure.urls import StorageUrl
from shared.errors import ConfigError, TransientError
from shared.settings import Settings
from shared.sources.exports import parquet
from shared.sources.exports.listing import FindOptions, export_unit, find_exports
from shared.sources.exports.parquet import ExportsSource
from shared.stores import expect, open_store, ranged
from tests.servers.azurite import Azurite
from tests.servers.proxy import Fault, Proxy
from tests.suites.store_suite import FileSuite, StoreSuite, content, everything_said, tail

REAL_NOW = dt.datetime.now(dt.UTC)
LATER = REAL_NOW + dt.timedelta(days=1)
EARLIER = REAL_NOW - dt.timedelta(days=1)
ROOT = "root #1"


@pytest.fixture(autouse=True)
def no_waiting():
    """Retries happen at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def sas(azurite, container):
    """Makes the query that signs in: to the container, or to one blob."""

    def make(blob=None, *, permission="rl", expiry=LATER, start=None, key=None, **more):
        common = {"account_key": key or azurite.key, "expiry": expiry, "start": start, **more}
        if blob is not None:
            return generate_blob_sas(
                azurite.account, container.container_name, blob, permission=BlobSasPermissions.from_string(permission),
                **common,
            )  # fmt: skip
        return generate_container_sas(
            azurite.account, container.container_name,
            permission=ContainerSasPermissions.from_string(permission), **common,
        )  # fmt: skip

    return make


@pytest.fixture
def put(container):
    return lambda name, content: container.upload_blob(f"{ROOT}/{name}", content, overwrite=True)


@pytest.fixture
def remove(container):
    return lambda name: container.delete_blob(f"{ROOT}/{name}")


def _url(container, path=ROOT):
    return f"{container.url}/{quote(path)}"


# -- what every store does, by each way to sign in


class TestContainerSas(StoreSuite):
    """A link that may read and list one container."""

    @pytest.fixture
    def store(self, container, sas):
        return open_store(f"{_url(container)}?{sas()}")


class TestAccountSas(StoreSuite):
    """A link that may read and list everything in an account."""

    @pytest.fixture
    def store(self, azurite, container):
        signed = generate_account_sas(
            azurite.account, azurite.key, ResourceTypes(container=True, object=True),
            AccountSasPermissions(read=True, list=True), LATER,
        )  # fmt: skip
        return open_store(f"{_url(container)}?{signed}")


class TestConnectionString(StoreSuite):
    """A plain URL of the account whose key we have."""

    @pytest.fixture
    def store(self, azurite, container):
        return open_store(_url(container), Settings(storage_connection_string=azurite.connection_string))


class TestBlobSas(FileSuite):
    """A link to one blob, which may read but not list."""

    @pytest.fixture
    def store(self, container, sas):
        path = f"{ROOT}/a"
        return open_store(f"{_url(container, path)}?{sas(path, permission='r')}")


@pytest.fixture(scope="module")
def secure(azurite_installed, tmp_path_factory):
    """A server that speaks TLS and takes tokens."""
    folder = tmp_path_factory.mktemp("secure")
    certificate, key = _certificate(folder)
    command = [*azurite_installed, "--oauth", "basic", "--cert", str(certificate), "--key", str(key)]
    with Azurite(folder / "data", command) as server:
        yield server


class TestIdentity(StoreSuite):
    """A plain URL and a token, which travels over TLS alone."""

    @pytest.fixture
    def container(self, secure, monkeypatch):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(secure.folder.parent / "certificate.pem"))
        monkeypatch.setattr(identity, "credential", Token)
        url = secure.blob_url.replace("http:", "https:")
        text = secure.connection_string.replace("http:", "https:").replace("=http;", "=https;")
        with BlobServiceClient.from_connection_string(text) as service:
            assert url == service.url.rstrip("/")
            client = service.create_container(f"test-{random.getrandbits(60)}")
            yield client
            client.delete_container()

    @pytest.fixture
    def store(self, container):
        return open_store(_url(container))


class Token:
    """A credential whose token Azurite takes for one of Microsoft's: it looks at everything but the signature."""

    def get_token(self, *_scopes, **_options):
        now = int(dt.datetime.now(dt.UTC).timestamp())
        claims = {
            "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/", "aud": "https://storage.azure.com",
            "iat": now - 60, "nbf": now - 60, "exp": now + 3600, "ver": "1.0", "appid": "an-app", "oid": "a-principal",
        }  # fmt: skip
        parts = ({"alg": "RS256", "typ": "JWT"}, claims, "signature")
        packed = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        return AccessToken(".".join(packed), now + 3600)


def _certificate(folder):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only", "crl_sign"), False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(EARLIER)
        .not_valid_after(LATER)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    return certificate, private


# -- what is listed


def test_all_ways_to_a_blob_give_it_one_name(azurite, container, put, sas):
    """With a SAS or without, from the container, the folder or the blob itself: the work is the same."""
    put("a.parquet", b"1")
    settings = Settings(storage_connection_string=azurite.connection_string)
    ways = [
        _url(container), f"{_url(container)}/", container.url, f"{container.url}/",
        _url(container, f"{ROOT}/a.parquet"), f"{_url(container)}?{sas()}",
        f"{container.url}?restype=container&comp=list&{sas()}",
    ]  # fmt: skip

    found = {next(iter(open_store(way, settings).list())) for way in ways}

    (file,) = found
    assert f"{container.url}/{ROOT}/a.parquet" == file.name


def test_folder_is_not_taken_for_others_that_begin_like_it(container, put, sas):
    """Prefixes of blobs are just text; folders end at a slash."""
    put("20260224/a.parquet", b"1")
    put("20260224120000/b.parquet", b"1")

    store = open_store(f"{_url(container, f'{ROOT}/20260224')}?{sas()}")

    assert ["a.parquet"] == [tail(file.name, 1) for file in store.list()]


def test_entry_of_a_folder_is_no_file(container, put, sas):
    """Accounts with a hierarchical namespace list each folder as an empty blob that says so in its metadata."""
    put("folder/a.parquet", b"1")
    container.upload_blob(f"{ROOT}/folder", b"", metadata={"hdi_isfolder": "true"})

    listed = list(open_store(f"{_url(container)}?{sas()}").list())
    inside = list(open_store(f"{_url(container, f'{ROOT}/folder')}?{sas()}").list())

    assert ["a.parquet"] == [tail(file.name, 1) for file in listed]
    assert listed == inside


def test_listing_goes_on_after_a_page(container, sas, azurite):
    """However many blobs there are: pages are followed to the end."""
    for number in range(7):
        container.upload_blob(f"{ROOT}/{number}", b"1")
    with Proxy.to(azurite.blob_url) as proxy:
        store = open_store(f"{proxy.through(_url(container))}?{sas()}")
        store._client.list_blobs = _with(store._client.list_blobs, results_per_page=3)

        names = [tail(file.name, 1) for file in store.list()]

    assert list("0123456") == names
    assert 3 == sum("comp=list" in request.target for request in proxy.requests)


def _with(function, **more):
    return lambda *given, **named: function(*given, **named, **more)


def test_times_of_blobs_tell_when_they_were_exported(container, put, sas):
    """Last-Modified is the store's own word."""
    put("a", b"1")

    (file,) = open_store(f"{_url(container)}?{sas()}").list()

    assert file.remote
    assert abs(file.modified - dt.datetime.now(dt.UTC).timestamp()) < 3600


def test_etag_costs_nothing(azurite, container, put, sas):
    """The listing has it already."""
    put("a", b"1")
    with Proxy.to(azurite.blob_url) as proxy:
        store = open_store(f"{proxy.through(_url(container))}?{sas()}")
        (file,) = store.list()
        before = len(proxy.requests)

        store.etag(file)

        assert before == len(proxy.requests)


def test_exports_are_found_by_their_paths(container, sas):
    """Layouts are matched on the names that the store gives."""
    container.upload_blob("exports/Full/Acme/20260224120000/Location.parquet", b"PAR1")
    container.upload_blob("exports/Delta/Acme/latest/Location.parquet", b"PAR1")

    offers, passed = find_exports(
        open_store(f"{container.url}?{sas()}"), FindOptions(), REAL_NOW + dt.timedelta(days=3650)
    )

    assert [] == passed
    assert {("full", "Acme", "location"), ("delta", "Acme", "location")} == {
        (o.kind, o.client, o.table) for o in offers
    }


def test_directory_sas_lists_below_its_directory(container, put, sas, azurite):
    """It may list no more than that (sr=d), so the prefix of each request must be the directory, slash included."""
    put("20260224120000/a.parquet", b"1")
    with Proxy.to(azurite.blob_url) as proxy:
        store = open_store(f"{proxy.through(_url(container, f'{ROOT}/20260224120000'))}?{sas()}")
        list(store.list())

    listings = [request.target for request in proxy.requests if "comp=list" in request.target]
    assert 1 == len(listings)
    assert f"prefix={quote(f'{ROOT}/20260224120000/', safe='')}&" in listings[0].replace("+", "%20") + "&"


# -- how much is moved


def _exported(rows=60_000, groups=4, columns=12, seed=1):
    """A Parquet file as exports are: numbers, flags, texts that repeat and texts that do not."""
    rng = random.Random(seed)
    count = rows * groups
    words = ["".join(rng.choices(string.ascii_lowercase, k=12)) for _ in range(500)]
    table = {"LocationId": pa.array(range(count), pa.int64())}
    for number in range(columns):
        table[f"Number{number}"] = pa.Array.from_buffers(
            pa.float64(), count, [None, pa.py_buffer(rng.randbytes(8 * count))]
        )
        table[f"Word{number}"] = pa.array(rng.choices(words, k=count))
    table["Name"] = pa.array([f"{rng.getrandbits(80):x}" for _ in range(count)])
    table["IsDeleted"] = pa.array([0] * count, pa.int32())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(table), sink, row_group_size=rows)
    return sink.getvalue().to_pybytes()


def _needed(data, groups):
    """Bytes of the column chunks of *groups* and of the footer, and how many groups there are."""
    metadata = pq.read_metadata(pa.BufferReader(data))
    chunks = [metadata.row_group(g).column(c) for g in groups for c in range(metadata.num_columns)]
    return sum(chunk.total_compressed_size for chunk in chunks) + metadata.serialized_size + 8


@pytest.fixture(scope="module")
def exported():
    return _exported()


@pytest.mark.parametrize("wanted", [range(4), range(1, 2), range(2, 4)], ids=["all", "one", "end"])
def test_no_more_is_moved_than_a_load_needs(azurite, container, sas, exported, wanted):
    """Footers, dictionaries and columns once, in requests large enough to be few: at most five in a hundred more."""
    container.upload_blob("Full/Acme/20260224/location.parquet", exported)
    with Proxy.to(azurite.blob_url) as proxy:
        store = open_store(f"{proxy.through(container.url)}?{sas()}")
        (offer,), _ = find_exports(store, FindOptions(), REAL_NOW)
        source = ExportsSource(store, slice_rows=60_000, batch_rows=65_536)
        work = export_unit(offer, store)
        listed = proxy.bodies

        slices = source.describe(work).slices
        rows = sum(batch.num_rows for group in wanted for batch in source.read(slices[group]))

        moved, requests = proxy.bodies - listed, len(proxy.ranges())
    needed = _needed(exported, wanted)
    assert 60_000 * len(wanted) == rows
    assert needed * 0.95 < moved <= needed * 1.05
    assert requests <= 30 + needed / 400_000


def test_no_more_is_moved_for_many_row_groups_in_one_slice(azurite, container, sas, monkeypatch):
    """More than is kept in memory: what is looked at first, to judge each group, is not moved again for its rows."""
    for name, size in {"_AHEAD": 1 << 20, "_SMALLEST": 32 << 10, "_LARGEST": 256 << 10, "_MOST": 3 << 19}.items():
        monkeypatch.setattr(ranged, name, size)
    monkeypatch.setattr(parquet, "_STRETCH_BYTES", 1 << 19)
    data = _exported(rows=3_000, groups=30, columns=8)
    container.upload_blob("Full/Acme/20260224/location.parquet", data)
    with Proxy.to(azurite.blob_url) as proxy:
        store = open_store(f"{proxy.through(container.url)}?{sas()}")
        (offer,), _ = find_exports(store, FindOptions(), REAL_NOW)
        source = ExportsSource(store, slice_rows=10**9, batch_rows=65_536)
        (part,) = source.describe(export_unit(offer, store)).slices
        rows = sum(batch.num_rows for batch in source.read(part))

    assert 90_000 == rows
    assert len(data) > 4 * ranged._MOST
    assert proxy.bodies <= _needed(data, range(30)) * 1.05


def test_columns_that_are_not_read_are_not_moved(azurite, container, sas, exported):
    """A reader that says which ranges it wants gets those, in few requests."""
    container.upload_blob("a.parquet", exported)
    metadata = pq.read_metadata(pa.BufferReader(exported))
    chunks = [metadata.row_group(group).column(1) for group in range(4)]
    starts = [min(chunk.dictionary_page_offset or 2**60, chunk.data_page_offset) for chunk in chunks]
    spans = [(start, start + chunk.total_compressed_size) for start, chunk in zip(starts, chunks, strict=True)]
    with Proxy.to(azurite.blob_url) as proxy:
        (file,) = (store := open_store(f"{proxy.through(container.url)}/a.parquet?{sas()}")).list()
        with store.open(file) as opened:
            expect(opened, spans, 1)
            parquet = pq.ParquetFile(opened, buffer_size=256 << 10, pre_buffer=False)
            total = sum(batch.num_rows for batch in parquet.iter_batches(columns=["Number0"]))

    assert 240_000 == total
    needed = sum(end - start for start, end in spans) + metadata.serialized_size
    assert proxy.bodies <= needed * 1.05


# -- what refusals mean


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


def test_expired_sas_is_told_with_its_time(container, put, sas):
    """Nothing helps but another link."""
    put("a", b"1")

    said = _refused(f"{_url(container)}?{sas(expiry=EARLIER, start=EARLIER - dt.timedelta(1))}")

    assert f"the SAS expired at {EARLIER:%Y-%m-%d %H:%M:%S} UTC. Ask for a new link." in said


def test_sas_of_tomorrow_is_told_with_its_time(container, put, sas):
    """It starts later than somebody thought."""
    put("a", b"1")

    said = _refused(f"{_url(container)}?{sas(start=LATER, expiry=LATER + dt.timedelta(1))}")

    assert f"the SAS is not valid before {LATER:%Y-%m-%d %H:%M:%S} UTC" in said


@pytest.mark.parametrize(("permission", "lacking"), [("r", "list"), ("l", "read")])
def test_sas_without_a_permission_names_it(container, put, sas, permission, lacking):
    """Listing takes one, reading the other."""
    put("a", b"1")

    said = _refused(f"{container.url}?{sas(permission=permission)}")

    assert f"the SAS lacks {lacking} permission (sp={permission})" in said


def test_wrong_signature_is_told(container, put, sas):
    """As it is when a character was lost on the way, or the key changed. Azurite calls it AuthorizationFailure."""
    put("a", b"1")
    key = base64.b64encode(b"another key").decode()

    said = _refused(f"{_url(container)}?{sas(key=key)}")

    assert "AuthorizationFailure" in said or "signature of the SAS does not match" in said


def test_container_that_is_not_there_is_named(azurite, container):
    """Its name is often what was mistyped."""
    said = _refused(
        f"{azurite.blob_url}/no-such-one/Full", Settings(storage_connection_string=azurite.connection_string)
    )

    assert "there is no container 'no-such-one' on 127.0.0.1" in said


def test_folder_that_is_not_there_is_named(container, put, sas):
    """A SAS may be good, and the path wrong."""
    put("a", b"1")

    said = _refused(f"{_url(container, 'nowhere')}?{sas()}")

    assert f"{container.url}/nowhere does not exist. Check the path; it is case-sensitive." == said


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


def test_missing_sign_in_is_told(container, monkeypatch):
    """Not in the many lines of all that was tried."""

    class Nobody:
        def get_token(self, *_scopes, **_options):
            raise ClientAuthenticationError("DefaultAzureCredential failed:\n  1. that\n  2. this")

    monkeypatch.setattr(identity, "credential", Nobody)
    url = container.url.replace("http:", "https:")

    assert "needs a sign-in, and this process has none. Give a URL with a SAS" in _refused(url)


def test_unknown_host_is_told_at_once(monkeypatch):
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


class Answer:
    """A response as the service's documentation has it."""

    def __init__(self, status, code, **headers):
        self.status_code, self.reason = status, "Reason"
        self.headers = {"x-ms-error-code": code, "Date": NOON, **headers}

    def text(self):
        return ""


def _explained(status, code, sas=SAS, right="list", **headers):
    error = HttpResponseError(response=Answer(status, code, **headers))
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
        (409, "PublicAccessNotPermitted", None, "public access is off"),
        (409, "BlobArchived", SAS, "archive tier"),
        (403, "AuthenticationFailed", None, "does not accept our sign-in"),
        (401, "NoAuthenticationInformation", None, "does not accept our sign-in"),
        (404, "ContainerNotFound", SAS, "there is no container 'exports'"),
        (400, "InvalidQueryParameterValue", SAS, "answers 400 InvalidQueryParameterValue"),
    ],
)  # fmt: skip
def test_refusals_are_told_apart(status, code, sas, said):
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


# -- URLs


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


def test_broken_connection_string_is_told_without_repeating_it():
    """It holds a key."""
    with pytest.raises(ConfigError, match="STORAGE_CONNECTION_STRING cannot be read") as caught:
        clients.container_client(urls.parse_url(f"{ACME}/c"), Settings(storage_connection_string="AccountKey=canary"))
    _assert_secret(caught.value, "canary")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30.x"])
def test_unreadable_token_names_nobody(token):
    """A message about a missing role is still a message."""
    assert "this app's identity" == identity.identity_of(token)
