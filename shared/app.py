"""Open the ports that the settings name, and read the clock."""

from __future__ import annotations

import datetime as dt
import os
import threading
import time

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shared import catalog
from shared.catalog import System
from shared.documents import Documents, open_documents
from shared.ledger import Ledger, open_ledger
from shared.pipeline.runner import Runner
from shared.redaction import redact_logs
from shared.remote import log_retries
from shared.settings import Settings
from shared.warehouses import WarehouseWithHistory, open_warehouse


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Everything a host needs."""

    settings: Settings
    systems: Mapping[str, System]
    warehouse: WarehouseWithHistory
    ledger: Ledger
    documents: Documents
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)

    @property
    def runner(self) -> Runner:
        """Does units of work over these ports."""
        return Runner(
            systems=self.systems, warehouse=self.warehouse, ledger=self.ledger,
            cursor_ahead=self.settings.cursor_ahead, now=self.now, timer=time.perf_counter,
        )  # fmt: skip


def open_app(env: Mapping[str, str], **instead: Any) -> App:
    """The app that *env* describes; *instead* replaces parts of it."""
    settings = Settings.from_env(env)
    folder = Path(settings.catalog_path) if settings.catalog_path else catalog.PACKAGED
    systems = {
        name: system.with_settings(settings.system(name).client, settings.system(name).timezone)
        for name, system in catalog.read(folder).items()
    }
    parts: dict[str, Any] = {"settings": settings, "systems": systems, **instead}
    if "warehouse" not in parts:
        parts["warehouse"] = open_warehouse(settings)
    if "documents" not in parts:
        parts["documents"] = open_documents(settings)
    if "ledger" not in parts:
        parts["ledger"] = open_ledger(
            settings.ledger_url,
            lock_timeout=settings.warehouse_lock_timeout,
            storage_connection_string=settings.storage_connection_string,
        )
    return App(**parts)


def current() -> App:
    """The app of this process, built from its environment on first use. From then on no log has a secret."""
    with _OPENING:  # several threads may be the first
        return opened()


_OPENING = threading.Lock()


@cache
def opened() -> App:
    redact_logs()
    log_retries()
    return open_app(os.environ)
