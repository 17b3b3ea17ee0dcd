"""Links that let somebody write one blob for some minutes, and nothing else (a service SAS)."""

from __future__ import annotations

import datetime as dt

from typing import TYPE_CHECKING, Any

from shared import remote
from shared.azure import identity
from shared.azure.clients import container_client
from shared.azure.errors import Refusal, explained
from shared.azure.urls import StorageUrl
from shared.errors import IngestError

if TYPE_CHECKING:
    from shared.settings import Settings

_EARLIER = dt.timedelta(minutes=5)
"""Clocks differ: a link is valid from so long ago on."""


def write_link(place: StorageUrl, settings: Settings, now: dt.datetime, *, minutes: int) -> str | None:
    """A URL by which the blob at *place* may be created and written until *minutes* after *now* (aware).

    It is signed by a user delegation key of this process's identity, or with the account's key where
    STORAGE_CONNECTION_STRING has it. None if neither is known: with a SAS nothing can be signed.
    https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas
    """
    from azure.core.exceptions import AzureError
    from azure.storage.blob import BlobSasPermissions, BlobServiceClient, generate_blob_sas

    if place.sas is not None:
        return None
    client = container_client(place, settings)
    start, expiry = now - _EARLIER, now + dt.timedelta(minutes=minutes)
    key = getattr(client.credential, "account_key", None)
    signed: dict[str, Any] = {"account_key": key}
    if key is None:

        def explain(error: Exception) -> IngestError:
            return explained(error, Refusal.of(error, place, "sign links for"), identity=identity.identity_name)

        service = BlobServiceClient(place.account_url, credential=identity.credential(), permit_redirects=False)
        delegated = remote.call_with_retry(
            lambda: service.get_user_delegation_key(start, expiry), (AzureError, OSError), explain
        )
        signed = {"user_delegation_key": delegated}
    sas = generate_blob_sas(
        client.account_name, place.container, place.path, permission=BlobSasPermissions(create=True, write=True),
        start=start, expiry=expiry, protocol="https" if place.account_url.startswith("https:") else None, **signed,
    )  # fmt: skip
    return f"{place.link}?{sas}"
