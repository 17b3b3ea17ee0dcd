"""A stand-in for the Durable Functions host: runs azure-functions-durable 1.x by its wire protocol.

    with DurableHost(app, seed=7, duplicates=0.2, crash=0.05) as host:
        done = host.run("ingest", {"files": ["a", "b"]})
    assert done.status == "Completed"

The app's functions get what the real host would send them and their answers are taken for what the real host would take
them for; the SDK's client talks to ``client_binding()``. Entities, ``call_http`` and rewind are not played.
"""

from __future__ import annotations

from tests.standins.durable_host.functions import call_async
from tests.standins.durable_host.host import DurableHost
from tests.standins.durable_host.hub import Refused
from tests.standins.durable_host.payloads import PayloadTooLarge
from tests.standins.durable_host.records import Instance
from tests.standins.durable_host.shim import NonDeterministic

__all__ = ["DurableHost", "Instance", "NonDeterministic", "PayloadTooLarge", "Refused", "call_async"]
