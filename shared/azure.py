"""Signing in to Azure: one credential for all of it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential


@cache
def credential() -> DefaultAzureCredential:
    """The identity this process has: managed, federated (workload), or a developer's own sign-in."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()
