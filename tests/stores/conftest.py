"""Containers of Azurite with a SAS; retries without waits."""

from __future__ import annotations

import pytest
import stamina

from azure.storage.blob import (
    BlobSasPermissions,
    ContainerSasPermissions,
    generate_blob_sas,
    generate_container_sas,
)

from tests.stores.blob_samples import LATER, ROOT


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
