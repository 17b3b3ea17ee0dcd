"""The app registration that people sign in to the status page with: made once, with the roles that the page knows."""

from __future__ import annotations

import json
import uuid

from collections.abc import Mapping

from infra.deploy.azure import Azure

ROLES = {"Reader": "sees every page, and downloads rejected rows", "Operator": "acts, too: runs, backfills, pauses"}
"""Each role of the page, and what it allows."""


def register(azure: Azure, outputs: Mapping[str, str]) -> str:
    """The client id of the registration, which is made or brought up to date; only whoever has a role can sign in."""
    name = f"{outputs['functionAppName']} status page"
    host = outputs["apiUrl"].removesuffix("/api")
    words = ("--web-redirect-uris", f"{host}/.auth/login/aad/callback", "--enable-id-token-issuance", "true",
             "--app-roles", json.dumps([_role(value, text) for value, text in ROLES.items()]))  # fmt: skip
    client: str | None = azure.read("ad", "app", "list", "--display-name", name, "--query", "[0].appId")
    if client is None:
        new = ("--display-name", name, "--sign-in-audience", "AzureADMyOrg", "--query", "appId")
        client = str(azure.read("ad", "app", "create", *new, *words))
    else:
        azure.read("ad", "app", "update", "--id", client, *words)
    if azure.found("ad", "sp", "show", "--id", client, "--query", "id") is None:
        azure.again(lambda: azure.read("ad", "sp", "create", "--id", client))
    azure.again(lambda: azure.read("ad", "sp", "update", "--id", client, "--set", "appRoleAssignmentRequired=true"))
    return client


def _role(value: str, text: str) -> dict[str, object]:
    """The same id each time, or Entra would take it for another role."""
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"sluice:{value}")), "value": value, "displayName": value,
        "description": text, "isEnabled": True, "allowedMemberTypes": ["User"],
    }  # fmt: skip
