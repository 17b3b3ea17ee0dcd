"""What runs on the schedule of upkeep: the tables of data lakes, one after the other, for as long as a function may."""

from __future__ import annotations

import datetime as dt
import logging

from typing import TYPE_CHECKING

from shared.alerts.decide import Alert, alert_key
from shared.jobs.reports import alerts_of
from shared.pipeline.upkeep import TendedTable, Upkeep, in_need, upkeep

if TYPE_CHECKING:
    from shared.app import App

_log = logging.getLogger("sluice")

MOST = dt.timedelta(minutes=30)
"""After that no further table is begun. Those that were done cost little the next time: the others get their turn."""


def tend_all(app: App) -> list[TendedTable]:
    """Do the upkeep of every lake, and send one alert about what failed."""
    if not in_need(app.runner):
        return []
    started, done = app.now(), []
    for one in upkeep(app.runner, [], Upkeep(keep=dt.timedelta(seconds=app.settings.lake_keep))):
        done.append(one)
        if app.now() - started > MOST:
            _log.warning("upkeep ends after %d tables: the others wait for the next time", len(done))
            break
    freed = sum(one.table.deleted_bytes for one in done)
    _log.info("upkeep of %d tables: %d bytes freed", len(done), freed)
    if failed := [one for one in done if one.error]:
        alerts_of(app).send(_alert(failed))
    return done


def _alert(failed: list[TendedTable]) -> Alert:
    text = "\n".join(f"{one.table.table}: {one.error}" for one in failed)
    title = f"Upkeep of {len(failed)} tables of the data lake failed"
    return Alert(kind="failure", title=title, text=text, severity="error", key=alert_key("failure", "upkeep", text))
