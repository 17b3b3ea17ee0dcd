"""Open a file of DuckDB that another process may have open."""

from __future__ import annotations

import re

from pathlib import Path

import duckdb

from shared.errors import held, no_folder
from shared.remote import Busy
from shared.warehouses.embedded.session import is_held

_HELD = re.compile(r"Conflicting lock is held in (?P<program>.*?) \(PID (?P<pid>\d+)\)")


HIDDEN = "HIDDEN"
"""Option of ATTACH: views of the catalog leave the file out. They look at all others, and DuckDB keeps each file open
that a transaction has looked at until that ends, so that nobody could attach a detached one again meanwhile."""


def make_folder(path: Path) -> None:
    """The folder of the warehouse. ConfigError if it cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise no_folder(f"the warehouse {path}", "WAREHOUSE_URL", error) from error


def attached(connection: duckdb.DuckDBPyConnection, attach: str) -> None:
    """Run an ATTACH. Busy, with the holder, if another process has the file open."""
    try:
        connection.execute(attach)
    except duckdb.Error as error:
        if not is_held(error):
            raise
        found = _HELD.search(str(error))
        holder = f"{found['program']} (process {found['pid']})" if found else "another process"
        raise Busy(f"{holder}, which has the warehouse open", fix=held("").fix) from error


def file_literal(path: Path) -> str:
    """A path as a literal of SQL."""
    return "'" + str(path).replace("'", "''") + "'"
