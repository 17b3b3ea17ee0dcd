"""A MarketSharp on this machine, and apps whose catalog names its sets."""

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
from tests.servers.marketsharp import COMPANY, KEY, SECRET, MarketSharp, marketsharp

CATALOG = """
[system]
name = "crm"
source = "odata"

[defaults]
keys = ["id"]
cursor = false
max_reject_share = 1.0
max_delete_share = 1.0

[defaults.api]
auth = {{ kind = "signed" }}
size = {size}

[tables.contact]
cursor = "{cursor}"
deleted = "isDeleted"
overlap_seconds = 60
api = {{ set = "{name}" }}

[tables.kind]
api = {{ set = "ContactTypes" }}
"""


@pytest.fixture(autouse=True)
def without_waits() -> Iterator[None]:
    stamina.set_testing(True, attempts=5)
    yield
    stamina.set_testing(False)


@pytest.fixture
def server() -> Iterator[MarketSharp]:
    """Nothing was done that it does not allow."""
    with marketsharp() as found:
        yield found
        assert found.violations == []


@pytest.fixture
def fresh_server() -> Callable[[], AbstractContextManager[MarketSharp]]:
    return marketsharp


@pytest.fixture
def fresh_app(tmp_path: Path) -> Callable[..., App]:
    """An app with a warehouse of its own at each call."""

    def opened(
        server: MarketSharp, *, size: int = 5_000, cursor: str = "lastUpdate", name: str = "Contacts", **env: Any
    ) -> App:
        folder = tmp_path / uuid.uuid4().hex
        (folder / "catalog").mkdir(parents=True)
        (folder / "catalog" / "crm.toml").write_text(CATALOG.format(size=size, cursor=cursor, name=name))
        return open_test_app(
            folder, Clock(),
            **{
                "CATALOG_PATH": str(folder / "catalog"), "CRM_BASE_URL": server.url, "CRM_COMPANY_ID": COMPANY,
                "CRM_API_KEY": KEY, "CRM_API_SECRET": SECRET,
                "STATE_URL": str(folder / "state"), **env,
            },
        )  # fmt: skip

    return opened


@pytest.fixture
def open_app(fresh_app: Callable[..., App], server: MarketSharp) -> Callable[..., App]:
    return lambda **words: fresh_app(server, **words)
