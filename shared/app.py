"""Open the ports that the settings name, and read the clock."""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
import time

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from shared import catalog
from shared.catalog import System
from shared.documents import Documents, open_documents
from shared.errors import IngestError
from shared.ledger import Ledger, open_ledger
from shared.ledger.of_destination import ledger_of
from shared.model import to_text
from shared.pipeline.discovery import resolved
from shared.pipeline.feed_list import LastValues
from shared.pipeline.runner import Runner
from shared.redaction import redact_logs
from shared.remote import log_retries
from shared.settings import Settings
from shared.telemetry import Telemetry, open_telemetry
from shared.text import SHOW_WARNING
from shared.warehouses import WarehouseWithHistory, open_destination, open_warehouse

_log = logging.getLogger("sluice")

_LOOKUP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Everything a host needs."""

    settings: Settings
    systems: Mapping[str, System]
    warehouse: WarehouseWithHistory
    ledger: Ledger
    documents: Documents
    others: Mapping[str, WarehouseWithHistory] = field(default_factory=dict)
    """The warehouses beside that one, by destination."""
    telemetry: Telemetry = field(default_factory=Telemetry, repr=False)
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    lookups: dict[str, tuple[float, System]] = field(default_factory=dict, compare=False, repr=False)
    """Systems whose tables this process has looked up, each with the time."""

    @property
    def runner(self) -> Runner:
        """Does units of work over these ports, and knows the runners of all destinations."""
        main = Runner(
            systems=self.systems, warehouse=self.warehouse, ledger=self.ledger,
            cursor_ahead=self.settings.cursor_ahead, keep_out_key=self.settings.keep_out_key,
            hash_key=self.settings.hash_key, now=self.now, timer=time.perf_counter, telemetry=self.telemetry,
        )  # fmt: skip
        others = {
            name: replace(main, warehouse=warehouse, ledger=ledger_of(self.ledger, name), destination=name)
            for name, warehouse in self.others.items()
        }
        return replace(main, others=others)

    def resolved(self, system: str, *, fresh: bool = False) -> App:
        """This app, where *system* has the tables too that its database, or its list of feeds, names.

        They are looked up once a minute at most, unless they are to be *fresh*. ConfigError or TransientError if they
        cannot be. A system that has declared tables only is not looked up.
        """
        known = self.systems.get(system)
        if known is None or not known.looks_up:
            return self
        since, found = self.lookups.get(system, (None, known))
        now = self.now().timestamp()
        if fresh or since is None or not since <= now < since + _LOOKUP_SECONDS:
            found = resolved(known, self.settings, self.warehouse)
            self.lookups[system] = (now, found)
        return replace(self, systems={**self.systems, system: found})

    def resolved_where_possible(self, systems: Iterable[str] | None = None) -> App:
        """This app, with *systems*, by default all that are set up, resolved; those that cannot be stay as they are.

        A warning in the log says why.
        """
        app = self
        for name in [*self.systems] if systems is None else systems:
            try:
                app = app.resolved(name) if systems is not None or self._is_set_up(name) else app
            except IngestError as error:
                _log.warning("the tables of system %s cannot be looked up: %s", name, error, extra=SHOW_WARNING)
        return app

    def apply_last_values(self, system: str, tables: Collection[str] = ()) -> None:
        """Set watermarks back as the list of feeds of a *system* says that is resolved; those of *tables* if given."""
        if system in self.systems:
            main = self.runner
            for runner in (main, *main.others.values()):
                LastValues(
                    systems=self.systems, warehouse=runner.warehouse, ledger=runner.ledger, documents=self.documents,
                    now=to_text(self.now()), destination=runner.destination,
                ).apply(system, tables)  # fmt: skip

    def _is_set_up(self, system: str) -> bool:
        return self.systems[system].is_set_up(self.settings)


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
    if "others" not in parts:
        parts["others"] = {name: open_destination(settings, name) for name in settings.destinations}
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
    app = open_app(os.environ)
    telemetry = open_telemetry(app.settings.telemetry, os.environ)
    log_retries(telemetry.count_retry)
    return replace(app, telemetry=telemetry)
