"""Small blobs are written as the SDK writes them: what is stored, and what is raised, are the same."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys

from concurrent.futures import ThreadPoolExecutor

import pytest
import stamina

from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas
from urllib3 import HTTPResponse

from shared.azure import identity, small_blobs
from shared.azure.small_blobs import SmallBlobs
from shared.documents import open_documents
from shared.errors import IngestError
from shared.settings import Settings
from tests.servers import free_port
from tests.servers.azurite import Azurite
from tests.servers.certificate import self_signed
from tests.servers.proxy import Fault, Proxy, busy
from tests.stores.blob_samples import EARLIER, LATER, Token
from tests.suites.documents_suite import HOSTILE
from tests.suites.store_suite import everything_said

REFUSALS = {
    "another key": (403, "AuthenticationFailed"), "no right": (403, "AuthorizationPermissionMismatch"),
    "firewall": (403, "AuthorizationFailure"), "not signed in": (401, "NoAuthenticationInformation"),
    "not there": (404, "ResourceNotFound"), "there already": (409, "BlobAlreadyExists"),
    "lease": (412, "LeaseIdMissing"),
    "condition": (412, "ConditionNotMet"), "busy": (503, "ServerBusy"), "internal": (500, "InternalError"),
    "throttled": (429, "TooManyRequests"), "moved": (307, ""), "no reason": (400, ""),
    "large": (413, "RequestBodyTooLarge"),
}  # fmt: skip


class BySDK(SmallBlobs):
    """What this module replaces."""

    def write(self, name, content, *, overwrite):
        self._write_by_sdk(name, content, overwrite=overwrite)


@pytest.fixture(autouse=True)
def no_waiting():
    """Retries happen at once."""
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


@pytest.fixture
def proxy(azurite):
    with Proxy.to(azurite.blob_url) as proxy:
        yield proxy


@pytest.fixture
def sas(azurite, container):
    """The query that signs in to the container."""

    def make(*, permission="racwdl", expiry=LATER, key=None):
        return generate_container_sas(
            azurite.account, container.container_name, account_key=key or azurite.key, expiry=expiry,
            permission=ContainerSasPermissions.from_string(permission), start=EARLIER.replace(year=2020),
        )  # fmt: skip

    return make


def through(proxy, azurite, container):
    """Documents in *container*, whose requests all go through *proxy*."""
    string = re.sub(r"(BlobEndpoint=http://127\.0\.0\.1:)\d+", rf"\g<1>{proxy.port}", azurite.connection_string)
    return open_documents(Settings(state_url=proxy.through(container.url), storage_connection_string=string))


def ended(call):
    """What *call* returns, or the words of its error."""
    try:
        return call()
    except IngestError as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusals_are_those_of_the_sdk(azurite, container, proxy, refusal, overwrite):
    """The same words for the operator, the same answer for the program, after as many requests."""
    status, code = REFUSALS[refusal]
    documents = through(proxy, azurite, container)
    seen = []
    for blobs in (SmallBlobs(documents._client), BySDK(documents._client)):
        documents._blobs = blobs
        fault = Fault(when=lambda _: True, times=9, answer=busy(status, code=code))
        proxy.faults[:] = [fault]
        call = documents.put if overwrite else documents.add
        seen.append((ended(lambda call=call: call("a", b"x")), [request.method for request in fault.met]))

    assert seen[0] == seen[1]
    assert seen[0][0] is not None, "the fault was met"


def test_a_conflict_does_not_mean_that_there_is_a_blob(azurite, container, proxy):
    """The SDK says so of a container that is being deleted; who then reads the blob finds none."""
    documents = through(proxy, azurite, container)
    proxy.faults.append(Fault(when=lambda _: True, answer=busy(409, code="ContainerBeingDeleted")))

    assert "ContainerBeingDeleted" in ended(lambda: documents.add("a", b"x"))


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", busy(503)], ids=["cut", "nonsense", "busy"])
@pytest.mark.parametrize("stored", [False, True])
def test_a_fault_that_passes_costs_a_repetition_only(azurite, container, proxy, answer, stored):
    """A connection that breaks, before or after the blob is stored, an answer that is none, a busy server."""
    documents = through(proxy, azurite, container)

    def before():
        if stored:
            container.upload_blob("a", b"content")

    proxy.faults.append(Fault(when=lambda _: True, answer=answer, before=before))

    documents.put("a", b"content")

    assert b"content" == container.download_blob("a").readall()
    assert 2 == sum(request.method == "PUT" for request in proxy.requests)


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(azurite, container, proxy):
    """As servers close those that nobody uses."""
    documents = through(proxy, azurite, container)
    for number in range(3):  # the proxy ends each connection after one answer
        documents.put(f"{number}", b"x")

    assert ["0", "1", "2"] == [entry.name for entry in documents.entries("")]


def test_a_server_that_is_away_is_reported_as_by_the_sdk():
    """Nothing listens there any more."""
    place = f"http://127.0.0.1:{free_port()}/devstoreaccount1"
    documents = open_documents(Settings(state_url=f"{place}/state?sv=1&sig=x"))
    by_us = ended(lambda: documents.put("a", b"x"))
    documents._blobs = BySDK(documents._client)

    assert by_us == ended(lambda: documents.put("a", b"x"))
    assert "refuses connections" in by_us


def test_one_connection_serves_many_writes(azurite, container):
    """It is kept, which is what this is for."""
    blobs = SmallBlobs(ContainerClient.from_connection_string(azurite.connection_string, container.container_name))
    for number in range(5):
        blobs.write(f"{number}", b"x", overwrite=True)

    assert (1, 5) == (blobs._connections[0].num_connections, blobs._connections[0].num_requests)


@pytest.mark.slow
def test_what_is_written_survives_the_death_of_its_writer(azurite, container):
    """Killed at once after the call: a webhook has answered by then."""
    program = (
        "import os, signal, sys; from shared.documents import open_documents; from shared.settings import Settings\n"
        "open_documents(Settings(state_url=sys.argv[1], storage_connection_string=sys.argv[2])).put('a', b'content')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", program, container.url, azurite.connection_string]

    assert -signal.SIGKILL == subprocess.run(command, check=False).returncode
    assert b"content" == container.download_blob("a").readall()


def test_writers_at_once_do_not_mix(azurite, container):
    """Each content is under its name."""
    blobs = SmallBlobs(ContainerClient.from_connection_string(azurite.connection_string, container.container_name))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: blobs.write(f"{n}", b"%d" % n * 50, overwrite=False), range(40)))

    assert {f"{n}": b"%d" % n * 50 for n in range(40)} == {
        blob.name: container.download_blob(blob.name).readall() for blob in container.list_blobs()
    }


@pytest.mark.parametrize("sign_in", ["key", "sas"])
def test_every_way_to_sign_in_works(azurite, container, sas, sign_in):
    """With names that have to be encoded, in the signed path too, and contents of all kinds, none among them."""
    credential = {"key": azurite.key, "sas": sas()}[sign_in]
    writes_all(ContainerClient(azurite.blob_url, container.container_name, credential=credential), container)


def writes_all(client, container):
    names = ["a~b+c&d=e%2F", "ü", "x/y z", *HOSTILE[1:]]
    expected = {name: name.encode() * (n % 3) for n, name in enumerate(names)}
    blobs = SmallBlobs(client)
    for name, content in expected.items():
        blobs.write(name, content, overwrite=False)

    assert expected == {blob.name: container.download_blob(blob.name).readall() for blob in container.list_blobs()}


@pytest.fixture(scope="module")
def secure(azurite_installed, tmp_path_factory):
    """A server that speaks TLS and takes tokens."""
    folder = tmp_path_factory.mktemp("secure")
    certificate, key = self_signed(folder)
    command = [*azurite_installed, "--oauth", "basic", "--cert", str(certificate), "--key", str(key)]
    with Azurite(folder / "data", command) as server:
        yield server


@pytest.fixture
def secured(secure, monkeypatch):
    """A container there, over TLS; the authority is named as operators name it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(secure.folder.parent / "certificate.pem"))
    url = secure.blob_url.replace("http:", "https:")
    with ContainerClient(url, "secured", credential=secure.key) as client:
        client.create_container()
        yield client
        client.delete_container()


@pytest.mark.slow
def test_an_identity_signs_in_over_tls(secure, secured):
    """A token is fetched once."""
    scopes_seen = []

    class Counted(Token):
        def get_token(self, *scopes, **options):
            scopes_seen.append(scopes)
            return super().get_token(*scopes, **options)

    writes_all(ContainerClient(secure.blob_url.replace("http:", "https:"), "secured", credential=Counted()), secured)

    assert [("https://storage.azure.com/.default",)] == scopes_seen


@pytest.mark.slow
def test_a_challenge_is_left_to_the_sdk(secure, secured):
    """It takes a token of the tenant that the answer names."""

    class Refusing:
        def urlopen(self, *_request, **_options):
            return HTTPResponse(b"", {"WWW-Authenticate": "Bearer authorization_uri=x"}, status=401)

    blobs = SmallBlobs(ContainerClient(secure.blob_url.replace("http:", "https:"), "secured", credential=Token()))
    blobs._connections = (Refusing(), "")
    blobs.write("a", b"content", overwrite=True)

    assert b"content" == secured.download_blob("a").readall()


def test_blobs_look_as_those_of_the_sdk(azurite, container):
    """Type, content type and encoding, for whoever looks at them in a portal."""
    client = ContainerClient.from_connection_string(azurite.connection_string, container.container_name)
    for name, blobs in {"a": SmallBlobs(client), "b": BySDK(client)}.items():
        blobs.write(name, b"x", overwrite=True)
    ours, theirs = (container.get_blob_client(name).get_blob_properties() for name in "ab")

    assert (theirs.blob_type, theirs.content_settings.content_type, theirs.metadata) == (
        ours.blob_type, ours.content_settings.content_type, ours.metadata
    )  # fmt: skip


@pytest.mark.parametrize("wrong", [{"permission": "rl"}, {"expiry": EARLIER}, {"key": "YW5vdGhlciBrZXk="}])
def test_a_wrong_sas_is_reported_as_by_the_sdk(container, sas, wrong):
    """Why it does not allow this, without its signature."""
    documents = open_documents(Settings(state_url=f"{container.url}?{sas(**wrong)}"))
    with pytest.raises(IngestError) as caught:
        documents.put("a", b"x")
    documents._blobs = BySDK(documents._client)

    assert ended(lambda: documents.put("a", b"x")) == f"{type(caught.value).__name__}: {caught.value}"
    assert "sig=" not in everything_said(caught.value)


def test_large_ones_are_left_to_the_sdk(azurite, container, monkeypatch):
    """A slow line takes longer for them."""
    monkeypatch.setattr(small_blobs, "MOST_BYTES", 3)
    blobs = SmallBlobs(ContainerClient.from_connection_string(azurite.connection_string, container.container_name))
    blobs.write("a", b"four", overwrite=True)

    assert b"four" == container.download_blob("a").readall()
    assert "_connections" not in vars(blobs)


def test_no_sign_in_is_reported(monkeypatch):
    """Nothing is sent then."""

    class Nobody:
        def get_token(self, *_scopes, **_options):
            raise ClientAuthenticationError("DefaultAzureCredential failed:\n  1. that\n  2. this")

    monkeypatch.setattr(identity, "credential", Nobody)
    documents = open_documents(Settings(state_url="https://acme.blob.core.windows.net/state"))

    assert "needs a sign-in, and this process has none" in ended(lambda: documents.put("a", b"x"))


def test_proxies_and_authorities_are_found_as_by_requests(monkeypatch, proxy):
    """The SDK finds them so, too."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.delenv("http_proxy", raising=False)
    proxy.faults.append(Fault(when=lambda _: True, answer=busy(201)))
    client = ContainerClient("http://storage:10000/devstoreaccount1", "c", credential="sv=1&sig=x")
    with contextlib.suppress(OSError):
        SmallBlobs(client).write("a b", b"x", overwrite=True)

    assert ["http://storage:10000/devstoreaccount1/c/a%20b?sv=1&sig=x"] == [one.target for one in proxy.requests]
