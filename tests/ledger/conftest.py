"""A table of Azurite for each test, and a wire to it that can break."""

from __future__ import annotations

import threading
import uuid

from collections.abc import Iterator

import pytest

from shared.ledger import open_ledger
from tests.ledger.tables_samples import PATIENCE, Wire


@pytest.fixture
def table():
    """A name that nobody has."""
    return f"t{uuid.uuid4().hex}"


@pytest.fixture
def url(azurite, table):
    return f"{azurite.table_url}/{table}"


@pytest.fixture
def ledger(url):
    return open_ledger(url, lock_timeout=PATIENCE)


@pytest.fixture
def wire(azurite) -> Iterator[Wire]:
    with Wire(azurite.table_url) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
