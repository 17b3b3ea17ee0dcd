"""PostgreSQL's errors: which may pass when the same is tried again, and all of them in our words."""

from __future__ import annotations

import contextlib
import re

from collections.abc import Iterator

import psycopg

from psycopg import errors

from shared.errors import (
    CORRECT_VALUE,
    LOAD_AGAIN,
    ONE_ROW_A_KEY,
    ConfigError,
    DataError,
    IngestError,
    TransientError,
    held,
)

_RETRYABLE = frozenset({"40001", "40P01", "53300", "57P01", "57P02", "57P03", "57P05"})
"""Serialization failure, deadlock, too many connections, and a server on its way down or up."""
_BUSY = re.compile(r"too many|remaining connection slots|starting up|shutting down|recovery mode", re.IGNORECASE)
_REFUSED = re.compile(
    r"connection to server .* failed: FATAL|could not translate host name|failed to resolve host|does not support SSL"
    r"|no password supplied|invalid \w+ value|certificate|authentication method",
    re.IGNORECASE | re.DOTALL,
)
_LATER = "Load again; if it lasts, check that the server runs and that WAREHOUSE_URL names its host and port"
_CANCELLED = "Load it again; if it is cancelled again, raise statement_timeout for the user of WAREHOUSE_URL"
_SPACE = "Free some disk space on the server, then load again"
_MORE = "Check user, password, host and database in WAREHOUSE_URL, and that the server allows this machine"
_VIEWS = "Drop what depends on that column, load, and create it again"
_REFUSALS: tuple[tuple[str, type[IngestError], str, str], ...] = (
    ("28", ConfigError, "the warehouse cannot be opened", _MORE),
    ("3D", ConfigError, "the warehouse cannot be opened", _MORE),
    ("42501", ConfigError, "the user of WAREHOUSE_URL lacks a right", "Grant it CREATE on the database and schemas"),
    ("25006", ConfigError, "the server is read-only", "Name the primary server in WAREHOUSE_URL"),
    ("57014", TransientError, "the statement was cancelled", _CANCELLED),
    ("53", TransientError, "the server has no disk space left", _SPACE),
    ("0A000", DataError, "the table cannot hold the incoming rows", _VIEWS),
    ("2BP01", DataError, "the table cannot hold the incoming rows", _VIEWS),
    ("21", DataError, "the warehouse refused the rows", ONE_ROW_A_KEY),
    ("23", DataError, "the warehouse refused the rows", ONE_ROW_A_KEY),
    ("42P10", DataError, "the table was made with other keys", ONE_ROW_A_KEY),
    ("22", DataError, "the warehouse refused a value", CORRECT_VALUE),
    ("54", DataError, "the warehouse refused a value", CORRECT_VALUE),
)
"""By the beginning of SQLSTATE."""


def passes(error: BaseException) -> bool:
    """Whether the same unit of work may succeed on a new connection."""
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate
    if state is None:  # no answer at all: the connection broke, or was never made
        return isinstance(error, psycopg.OperationalError) and not _is_refused(error)
    if state in _RETRYABLE or state.startswith("08"):
        return True
    # Two sessions that create the same schema: the second hears of it from the catalog's own index.
    return (state == "23505" and error.diag.schema_name == "pg_catalog") or "concurrently updated" in str(error)


@contextlib.contextmanager
def translated(lock_timeout: float) -> Iterator[None]:
    """Errors that an operator can do something about as ours; the rest are bugs and stay as they are."""
    try:
        yield
    except IngestError:
        raise
    except psycopg.Error as error:
        translation = _in_words(error, lock_timeout)
        if translation is None:
            raise
        raise translation from error


def _in_words(error: psycopg.Error, lock_timeout: float) -> IngestError | None:
    state, said = error.sqlstate or "", line(error)
    if passes(error):
        return TransientError(f"the warehouse is unavailable or busy: {said}", fix=_LATER)
    if not state:
        refused = isinstance(error, psycopg.OperationalError)
        return ConfigError(f"the warehouse cannot be opened: {said}", fix=_MORE) if refused else None
    if isinstance(error, errors.LockNotAvailable):
        return held(f"another session has held a lock that this one needs for {lock_timeout:g} s")
    if isinstance(error, errors.UndefinedTable) and '"staging.' in said:
        return TransientError(f"the staged rows no longer exist: {said}", fix=LOAD_AGAIN)
    return _refusal(state, said)


def _refusal(state: str, said: str) -> IngestError | None:
    for start, kind, problem, fix in _REFUSALS:
        if state.startswith(start):
            return kind(f"{problem}: {said}", fix=fix)
    return None


def line(error: psycopg.Error) -> str:
    """What the server said, in one line and without the full stop."""
    said = error.diag.message_primary or next(iter(str(error).strip().splitlines()), type(error).__name__)
    detail = error.diag.message_detail
    return " ".join((f"{said}: {detail}" if detail else said).split()).rstrip(".")


def _is_refused(error: psycopg.Error) -> bool:
    """Whether a connection was refused for good. Only the words tell: libpq keeps the code to itself here."""
    said = str(error)
    if "Temporary failure" in said or _BUSY.search(said):
        return False
    return bool(_REFUSED.search(said))
