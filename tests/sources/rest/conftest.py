"""An API on this machine, and apps whose catalog describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stamina

from shared.app import App
from tests.exports import Clock, open_test_app
from tests.servers.api import TOKEN, Api, api

PEOPLE = """
[system]
name = "acme"
source = "rest"

[defaults.api]
auth = {{ kind = "bearer" }}
records = "data.items"
paging = {paging}

[tables.people]
keys = ["id"]
cursor = "updated_at"
overlap_seconds = 60
max_delete_share = 1.0

[tables.people.api]
path = "/v1/people"
since = {{ parameter = "since" }}
{more}
"""
PAGINGS = {
    "none": '{ kind = "none" }',
    "page": '{ kind = "page", parameter = "page", size_parameter = "per_page", size = 3, total = "data.total" }',
    "offset": '{ kind = "offset", parameter = "offset", size_parameter = "limit", size = 3 }',
    "cursor": '{ kind = "cursor", parameter = "after", next = "paging.next.after" }',
    "next": '{ kind = "next", next = "next" }',
    "link": '{ kind = "next" }',
}


@pytest.fixture
def server() -> Iterator[Api]:
    """Nothing was done that it does not allow."""
    with api() as found:
        yield found
        assert found.violations == []


@pytest.fixture(autouse=True)
def without_waits() -> Iterator[None]:
    stamina.set_testing(True, attempts=5)
    yield
    stamina.set_testing(False)


@pytest.fixture
def open_app(tmp_path: Path, server: Api) -> Callable[..., App]:
    """An app over *server*, by the text of a catalog file."""

    def opened(catalog: str | None = None, *, paging: str = "cursor", more: str = "", **env: Any) -> App:
        server.paging = "next" if paging == "link" else paging
        (tmp_path / "catalog").mkdir(exist_ok=True)
        text = catalog or PEOPLE.format(paging=PAGINGS[paging], more=more)
        (tmp_path / "catalog" / "acme.toml").write_text(text)
        return open_test_app(
            tmp_path, Clock(),
            **{
                "CATALOG_PATH": str(tmp_path / "catalog"), "ACME_BASE_URL": server.url, "ACME_API_TOKEN": TOKEN,
                "STATE_URL": str(tmp_path / "state"), **env,
            },
        )  # fmt: skip

    return opened
