"""What delta-rs and the storage below it say, in our words."""

from __future__ import annotations

import contextlib

from collections.abc import Iterator

from deltalake.exceptions import CommitFailedError, DeltaError, DeltaProtocolError, TableNotFoundError

from shared.errors import LOAD_AGAIN, ConfigError, IngestError, TransientError
from shared.native import native_call
from shared.redaction import redact

_NEWER = ("reader version", "writer version", "unsupported", "not supported", "reader feature", "writer feature")


_RESTORE = "Restore it to an earlier version, or move its folder away and load a full export with --again"


def damaged(line: str) -> ConfigError:
    """A data file cannot be read."""
    return ConfigError(f"a file of the lake is damaged: {line}", fix=_RESTORE)


class Lost(ConfigError):  # noqa: N818 - beside Overtaken
    """A file of a table's version is gone. If the table has a later one since, that does not matter."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} of the lake is gone, though its table has it", fix=_RESTORE)


class Overtaken(Exception):  # noqa: N818 - it is no failure: the change is computed again
    """Another process has changed the table since it was read."""


@contextlib.contextmanager
def translated(table: str) -> Iterator[None]:
    """Errors of delta-rs about *table* in our words; Overtaken where another writer was faster."""
    try:
        with native_call("deltalake"):
            yield
    except (IngestError, Overtaken, TableNotFoundError):
        raise
    except (DeltaError, OSError) as error:
        line = redact(" ".join(str(error).split()))[:300].rstrip(". ")
        raise _explained(table, line, error) from error


def _explained(table: str, line: str, error: Exception) -> Exception:
    lower = line.lower()
    if isinstance(error, CommitFailedError) or "already exists" in lower:
        return Overtaken(line)
    if isinstance(error, DeltaProtocolError) or any(word in lower for word in _NEWER):
        return too_new(table, line)
    if isinstance(error, OSError) or "error sending request" in lower or "timed out" in lower or "generic" in lower:
        return TransientError(f"the storage of table {table} does not answer as it should: {line}", fix=LOAD_AGAIN)
    return ConfigError(
        f"table {table} of the lake cannot be read: {line}",
        fix=_RESTORE,
    )


def too_new(table: str, what: str) -> ConfigError:
    return ConfigError(
        f"table {table} of the lake uses what Sluice does not write: {what}",
        fix="Turn that off in the program that turned it on, or move the table's folder away and load a full export"
        " with --again",
    )
