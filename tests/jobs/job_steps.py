"""Jobs for one exported file on this machine, and all that they leave behind, for tests."""

from __future__ import annotations

import datetime as dt
import re

from pathlib import Path
from typing import Any

from shared.stores import open_store
from tests.exports import START

EPOCH = START.replace(tzinfo=None)
STARTED = "2026-02-24T12:00:00.000000"


def row(key: int | None, minutes: int = 0) -> dict[str, Any]:
    return {
        "LocationId": key,
        "ModifiedOn": EPOCH + dt.timedelta(minutes=minutes),
        "IsDeleted": False,
        "Name": str(key),
    }


def file_work(file: Path) -> dict[str, str]:
    (found,) = open_store(str(file)).list()
    return {"kind": "file", "url": str(file), "etag": found.version}


def everything(app: Any) -> dict[str, Any]:
    """Tables, history, rejects, ledger, staging and state, but for what tells how long something took."""
    with app.warehouse._session() as session:
        found = {
            name: sorted(session.connection.execute(f"SELECT {what} FROM {name}").fetchall(), key=repr)
            for name, what in (
                ("coolr.location", "*"), ("ingest.run", "* EXCLUDE (seconds)"), ("ingest.rejected", "*")
            )
        }  # fmt: skip
        tables = session.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    staged = [name for (name,) in tables if name.startswith("s_")]
    ledger = app.ledger.watermark("coolr.location").value, sorted(run.id for run in app.warehouse.runs())
    state = {
        entry.name: re.sub(rb'"seconds":[\d.e-]+', b"", app.documents.get(entry.name) or b"")
        for entry in app.documents.entries("")
        if "told/" not in entry.name
    }
    return {**found, "staged": staged, "ledger": ledger, "state": state}
