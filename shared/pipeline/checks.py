"""Whether everything a load needs is there, and what to do where it is not: one finding a check."""

from __future__ import annotations

import datetime as dt
import logging

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from shared.errors import IngestError
from shared.model import Finding
from shared.stores import open_store

if TYPE_CHECKING:
    from shared.app import App

_log = logging.getLogger("sluice")
_SOON = dt.timedelta(days=2)


def examine(app: App, location: str | None) -> Iterator[Finding]:
    """Settings, the place of exports at *location* if one is given, ledger, warehouse; a finding as each is known.

    Each check stands alone: what is wrong with one does not keep the next from being tried.
    """
    yield Finding("settings", "ok", f"{len(app.systems)} systems with {len(app.feeds())} feeds in the catalog")
    if location is not None:
        yield from run_check("storage", lambda: _storage(app, location))
    yield from run_check("ledger", lambda: _ledger(app))
    yield from run_check("warehouse", app.warehouse.examine)


def health(app: App) -> Iterator[Finding]:
    """Whether what jobs need answers, each asked one cheap question."""

    def asked(name: str, question: Callable[[], object]) -> Iterator[Finding]:
        def ask() -> Iterator[Finding]:
            try:
                question()
            except IngestError:
                raise
            except Exception as error:  # noqa: BLE001 - which part it is has to be told
                yield Finding(name, "failed", f"it fails: {type(error).__name__}", "Look into the log")
                _log.exception("%s fails", name)
                return
            yield Finding(name, "ok", "it answers")

        return run_check(name, ask)

    yield from asked("state", lambda: app.documents.get("health"))
    yield from asked("ledger", lambda: app.ledger.watermark("sluice.health"))
    yield from asked("warehouse", lambda: app.warehouse.runs(limit=1))
    if url := app.settings.exports_url:
        yield from asked("exports", lambda: next(open_store(url, app.settings).list(), None))


def run_check(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of *check*; an error of ours ends it as a finding of its own."""
    try:
        yield from check()
    except IngestError as error:
        yield Finding(name, "failed", error.problem, error.fix)


def _storage(app: App, location: str) -> Iterator[Finding]:
    store = open_store(location, app.settings)
    yield from _expiry(store.expires, app.now())
    files = store.list()
    first = next(files, None)
    if first is None:
        yield Finding("storage", "warning", "there is no file", "Check the path")
        return
    yield Finding("storage: list", "ok", f"{1 + sum(1 for _ in files):,} files, the first is {first.name}")
    with store.open(first) as opened:
        yield Finding("storage: read", "ok", f"the first {len(opened.read(4))} bytes of {first.name}")


def _expiry(ends: dt.datetime | None, now: dt.datetime) -> Iterator[Finding]:
    if ends is None:
        return
    told = f"the SAS ends {ends:%Y-%m-%d %H:%M} UTC, {_duration(ends - now)}"
    if ends <= now:
        yield Finding("storage: SAS", "failed", told, "Ask for a new link")
    elif ends - now < _SOON:
        yield Finding("storage: SAS", "warning", told, "Ask for a new link in time")
    else:
        yield Finding("storage: SAS", "ok", told)


def _duration(left: dt.timedelta) -> str:
    hours = abs(left) // dt.timedelta(hours=1)
    amount = f"{hours // 24} days" if hours >= 48 else f"{hours} hours" if hours else "less than an hour"
    return f"in {amount}" if left > dt.timedelta() else f"{amount} ago"


def _ledger(app: App) -> Iterator[Finding]:
    app.ledger.watermark("sluice.doctor")
    yield Finding("ledger", "ok", f"{type(app.ledger).__name__} answers")
