"""Parquet files of this machine that DuckDB reads by itself: a note of each is staged instead of its rows.

Only of a lake on this machine: what is staged in a remote one may be published by a machine that lacks the file.
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.contract.direct import Check
from shared.model import Column, PlainFile
from shared.warehouses import LoadedFile
from shared.warehouses.embedded import direct
from shared.warehouses.embedded.session import DuckDBSession
from shared.warehouses.lake.work import Work

_KEPT = ("path", "version", "rows", "first_row")


def stage(
    work: Work, note: Path, cursor: str | None, columns: Sequence[Column], file: PlainFile, checks: Sequence[Check]
) -> LoadedFile | None:
    """Leave *note* of *file*. None if its rows have to be staged, see docs/decisions/0016."""
    file, session = dataclasses.replace(file, path=str(Path(file.path).resolve())), DuckDBSession(work.connection)
    query = direct.select(session, file, columns)
    if query is None:
        return None
    without_statistics(work)
    highest = direct.examine(session, f"({query})", file, columns, checks)
    direct.refuse_changed(file.path, file.version)
    if highest is None:
        return None
    unfinished = note.with_suffix(f".{uuid.uuid4().hex}.tmp")
    unfinished.write_text(json.dumps({name: getattr(file, name) for name in _KEPT}), encoding="utf-8")
    os.replace(unfinished, note)  # noqa: PTH105 - at once, over an earlier one
    return LoadedFile(file.rows, highest.get(cursor or ""))


def read(note: Path) -> PlainFile:
    """The file of *note*. ConflictError if it has changed since."""
    known: Mapping[str, Any] = json.loads(note.read_text(encoding="utf-8"))
    file = PlainFile(**known, known={})
    direct.refuse_changed(file.path, file.version)
    return file


def without_statistics(work: Work) -> None:
    """Let DuckDB believe no statistics, until the call ends: those of a file from elsewhere may be wrong."""
    work.connection.execute(f"SET disabled_optimizers = '{direct.WITHOUT_STATISTICS}'")
