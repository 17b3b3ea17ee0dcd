"""Azure Blob Storage as a store: each way to sign in, what is asked of the service, and what refusals mean."""

from __future__ import annotations

import random

import pytest

from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ResourceTypes,
    generate_account_sas,
)

from shared.azure import identity
from shared.settings import Settings
from shared.stores import open_store
from tests.servers.azurite import Azurite
from tests.servers.certificate import self_signed
from tests.stores.blob_samples import LATER, ROOT, Token, _url
from tests.suites.store_suite import FileSuite, StoreSuite


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
    certificate, key = self_signed(folder)
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
