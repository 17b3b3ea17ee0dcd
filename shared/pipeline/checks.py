"""Whether everything a load needs is there, and what to do where it is not: one finding a check."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from shared.catalog import System
from shared.contract.kept_out import KeptOut
from shared.documents import Documents
from shared.errors import CORRECT_PATH, NEW_LINK, IngestError, TransientError
from shared.ledger import Ledger
from shared.model import MAIN, Feed, Finding
from shared.pipeline.feeds import declared
from shared.pipeline.forecast import read_rate
from shared.settings import Settings, naming_setting, warehouse_setting
from shared.sources import KINDS, examine_source, ping_database
from shared.stores import open_store
from shared.warehouses import History

_log = logging.getLogger("sluice")
_SOON = dt.timedelta(days=2)
_NO_ANSWER = "Check that its server runs and is not overloaded, and that this machine can reach it"


def doctor(
    location: str | None,
    *,
    settings: Settings,
    systems: Mapping[str, System],
    warehouse: History,
    ledger: Ledger,
    now: Callable[[], dt.datetime],
    others: Mapping[str, History] = MappingProxyType({}),
) -> Iterator[Finding]:
    """Settings, the exports at *location* if one is given, sources, ledger, warehouses: findings as checks are done.

    Each check stands alone: a failure does not keep the others from being made. *now* is aware; *others* are the
    warehouses beside the main one, by destination.
    """
    yield Finding("settings", "ok", f"{len(systems)} systems with {len(declared(systems))} feeds in the catalog")
    if location is not None:
        yield from run_check("storage", lambda: _storage(location, settings, now()))
    for system in systems.values():
        yield from run_check(f"source {system.name}", partial(_sources, system, settings, warehouse, now))
    yield from run_check("ledger", lambda: _ledger(ledger))
    yield from run_check("warehouse", warehouse.examine)
    yield from run_check("erased keys", lambda: _kept_out(settings, [warehouse, *others.values()]))
    yield from _destinations(systems, others)


def _kept_out(settings: Settings, warehouses: Iterable[History]) -> Iterator[Finding]:
    """Whether keys that are to stay out can be recognised."""
    hashes: dict[str, set[str]] = {}
    for erasure in (one for warehouse in warehouses for one in warehouse.erasures(None, None)):
        hashes.setdefault(erasure.feed, set()).update(erasure.kept_out)
    wanted = {feed: several for feed, several in hashes.items() if several}
    if wanted and settings.keep_out_key is None:
        text = f"keys of {', '.join(sorted(wanted))} are to stay out, but there is no KEEP_OUT_KEY to recognise them by"
        yield Finding("erased keys", "failed", text, "Set KEEP_OUT_KEY to its former value")
    elif wanted and settings.keep_out_key is not None:
        for feed, several in wanted.items():
            KeptOut(settings.keep_out_key, feed, several)
        yield Finding("erased keys", "ok", f"{sum(map(len, wanted.values()))} erased keys are kept out")


def _destinations(systems: Mapping[str, System], others: Mapping[str, History]) -> Iterator[Finding]:
    """The warehouses beside the main one, and those that the catalog names but no setting does."""
    named = {name: system for system in systems.values() for name in system.all_destinations() if name != MAIN}
    for name, system in named.items():
        if name not in others:
            text, setting = f"feeds of {system.name} go there, but it has no URL", warehouse_setting(name)
            yield Finding(f"warehouse {name}", "failed", text, f"Set {setting} to the URL of that warehouse")
    for name, warehouse in others.items():
        if name not in named:
            fix = f"Add it to `destinations` in the catalog, or remove {warehouse_setting(name)}"
            yield Finding(f"warehouse {name}", "warning", "no feed goes there", fix)
        for found in run_check("warehouse", warehouse.examine):
            check = found.check.replace("warehouse", f"warehouse {name}", 1)
            message, fix = naming_setting(found.message, name), naming_setting(found.fix, name)
            yield replace(found, check=check, message=message, fix=fix)


def _sources(
    system: System, settings: Settings, warehouse: History, now: Callable[[], dt.datetime]
) -> Iterator[Finding]:
    """What the pull feeds of *system* are read from."""

    def rate(feed: str) -> float | None:
        with contextlib.suppress(IngestError):  # which has a finding of its own
            return read_rate(warehouse.runs(feed, limit=5))
        return None

    by_kind: dict[str, list[Feed]] = {}
    for feed in system.feeds():
        if KINDS[feed.source].pulled:
            by_kind.setdefault(feed.source, []).append(feed)
    for feeds in by_kind.values():
        yield from examine_source(feeds, settings, now, rate)


def health(
    *,
    settings: Settings,
    documents: Documents,
    ledger: Ledger,
    warehouse: History,
    others: Mapping[str, History] = MappingProxyType({}),
    systems: Mapping[str, System] = MappingProxyType({}),
    patience: float = 5.0,
) -> Iterator[Finding]:
    """Whether what jobs need can be reached: documents, ledger, warehouses, the container that exports arrive in, and
    the databases that *systems* are read from.

    A database that is read has *patience* seconds to answer, all of them at the same time.
    """
    sources = {name: _pending(name, kind, settings) for name, kind in _databases(systems, settings)}
    yield from _reachable("state", lambda: documents.get("health"))
    yield from _reachable("ledger", lambda: ledger.watermark("sluice.health"))
    yield from _reachable("warehouse", lambda: warehouse.runs(limit=1))
    for name, other in others.items():
        yield from _reachable(f"warehouse {name}", partial(other.runs, limit=1))
    if url := settings.exports_url:
        yield from _reachable("exports", lambda: next(open_store(url, settings).list(), None))
    wait(sources.values(), timeout=patience)
    for name, pinged in sources.items():
        yield from _reachable(f"source {name}", partial(_given, pinged))


def _databases(systems: Mapping[str, System], settings: Settings) -> Iterator[tuple[str, str]]:
    """Name and kind of each system whose feeds are tables of a database that is set."""
    for system in systems.values():
        kinds = {system.source, *(feed.source for feed in system.feeds())}
        if system.is_set_up(settings):
            yield from ((system.name, kind) for kind in sorted(kinds) if KINDS[kind].discovers)


def _pending(system: str, kind: str, settings: Settings) -> Future[None]:
    """Done once a database has answered. Drivers cannot be interrupted, so a thread of its own waits for it."""
    pinged: Future[None] = Future()

    def wait_for_it() -> None:
        try:
            ping_database(system, kind, settings)
        except Exception as error:  # noqa: BLE001 - whoever looks at the answer gets it
            pinged.set_exception(error)
        else:
            pinged.set_result(None)

    threading.Thread(target=wait_for_it, daemon=True).start()
    return pinged


def _given(pinged: Future[None]) -> None:
    """Raises what went wrong; TransientError if there is no answer yet."""
    if not pinged.done():
        raise TransientError("its database gives no answer", fix=_NO_ANSWER)
    pinged.result()


def _reachable(name: str, call: Callable[[], object]) -> Iterator[Finding]:
    def check() -> Iterator[Finding]:
        try:
            call()
        except IngestError:
            raise
        except Exception as error:  # noqa: BLE001 - it must be known which part fails
            yield Finding(name, "failed", f"failed: {type(error).__name__}", f'Look for "{name} fails" in the log')
            _log.exception("%s fails", name)
            return
        yield Finding(name, "ok", "it answers")

    return run_check(name, check)


def run_check(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of *check*; an error of ours ends it as a finding of its own."""
    try:
        yield from check()
    except IngestError as error:
        yield Finding(name, "failed", error.problem, error.fix)


def _storage(location: str, settings: Settings, now: dt.datetime) -> Iterator[Finding]:
    store = open_store(location, settings)
    yield from _expiry(store.expires, now)
    files = store.list()
    first = next(files, None)
    if first is None:
        yield Finding("storage", "warning", "there is no file", CORRECT_PATH)
        return
    yield Finding("storage: list", "ok", f"{1 + sum(1 for _ in files):,} files, the first is {first.name}")
    with store.open(first) as opened:
        yield Finding("storage: read", "ok", f"the first {len(opened.read(4))} bytes of {first.name}")


def _expiry(ends: dt.datetime | None, now: dt.datetime) -> Iterator[Finding]:
    if ends is None:
        return
    text = f"the SAS ends {ends:%Y-%m-%d %H:%M} UTC, {_duration(ends - now)}"
    if ends <= now:
        yield Finding("storage: SAS", "failed", text, NEW_LINK)
    elif ends - now < _SOON:
        yield Finding("storage: SAS", "warning", text, f"{NEW_LINK} before then")
    else:
        yield Finding("storage: SAS", "ok", text)


def _duration(left: dt.timedelta) -> str:
    hours = abs(left) // dt.timedelta(hours=1)
    amount = f"{hours // 24} days" if hours >= 48 else f"{hours} hours" if hours else "less than an hour"
    return f"in {amount}" if left > dt.timedelta() else f"{amount} ago"


def _ledger(ledger: Ledger) -> Iterator[Finding]:
    ledger.watermark("sluice.doctor")
    yield Finding("ledger", "ok", "it can be read")
