"""The identity that this process signs in to Azure with."""

from __future__ import annotations

import base64
import json

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential


@cache
def credential() -> DefaultAzureCredential:
    """The identity this process has: managed, federated (workload), or a developer's own sign-in."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def identity_name() -> str:
    """The name of that identity as its token has it, for people; never raises."""
    from azure.core.exceptions import AzureError

    try:
        return identity_of(credential().get_token("https://storage.azure.com/.default").token)
    except AzureError:
        return "this app's identity"


def identity_of(token: str) -> str:
    """Who *token* was given to: a person's sign-in name, or an application's ids.

    >>> identity_of("e30.eyJ1cG4iOiAiYWRhQGFjbWUuY29tIn0.x")
    'ada@acme.com'
    """
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return "this app's identity"
    person, app, principal = claims.get("upn"), claims.get("appid"), claims.get("oid")
    return str(person or (f"application {app} (principal {principal})" if app else "this app's identity"))
