"""A HubSpot on this machine, and apps whose catalog names its objects."""

from __future__ import annotations

import uuid

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import stamina

from shared.app import App
from tests.exports import Clock, open_test_app
from tests.servers.hubspot import TOKEN, HubSpot, hubspot

CATALOG = """
[system]
name = "crm"
source = "hubspot"

[defaults]
keys = ["id"]
cursor = "hs_lastmodifieddate"
deleted = "archived"
overlap_seconds = 600
max_reject_share = 1.0
max_delete_share = 1.0

[defaults.api]
version = "{version}"
auth = {{ kind = "bearer", token = "access_token" }}

[tables]
contact = {{ cursor = "lastmodifieddate", api = {{ object = "contacts" }} }}
company = {{ api = {{ object = "companies", properties = ["amount"] }} }}

[tables.contact_company]
keys = ["from_id", "to_id", "category", "type_id"]
cursor = false
deleted = false
api = {{ object = "contacts", associated = "companies" }}
"""


@pytest.fixture(autouse=True)
def without_waits() -> Iterator[None]:
    stamina.set_testing(True, attempts=5)
    yield
    stamina.set_testing(False)


@pytest.fixture(autouse=True)
def without_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches are as many a second as there can be: rates have tests of their own."""
    monkeypatch.setattr("shared.sources.hubspot.source._SEARCHED", ())


@pytest.fixture
def server() -> Iterator[HubSpot]:
    """Nothing was done that it does not allow."""
    with hubspot() as found:
        yield found
        assert found.violations == []


@pytest.fixture
def fresh_server() -> Callable[[], AbstractContextManager[HubSpot]]:
    return hubspot


@pytest.fixture
def fresh_app(tmp_path: Path) -> Callable[..., App]:
    """An app with a warehouse of its own at each call."""

    def opened(server: HubSpot, version: str = "2026-03", **env: Any) -> App:
        folder = tmp_path / uuid.uuid4().hex
        (folder / "catalog").mkdir(parents=True)
        (folder / "catalog" / "crm.toml").write_text(CATALOG.format(version=version))
        return open_test_app(
            folder,
            Clock(),
            CATALOG_PATH=str(folder / "catalog"),
            CRM_BASE_URL=server.url,
            CRM_ACCESS_TOKEN=TOKEN,
            **{"STATE_URL": str(folder / "state"), **env},
        )

    return opened


@pytest.fixture
def open_app(fresh_app: Callable[..., App], server: HubSpot) -> Callable[..., App]:
    return lambda **words: fresh_app(server, **words)
