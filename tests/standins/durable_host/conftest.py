"""What several tests of the host use."""

from __future__ import annotations

import pytest

from tests.standins.durable_host import DurableHost
from tests.standins.durable_host.samples import app_of, gate


@pytest.fixture
def gates():
    """A host whose instances wait for an event, and answer with what it brings."""
    with DurableHost(app_of(gate)) as host:
        yield host
