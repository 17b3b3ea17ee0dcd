"""What can go wrong, grouped by who has to act.

* IngestError
  + ConfigError      an operator corrects a setting or a feed; never retried
  + DataError        the source broke its contract; look at what was rejected
  + ConflictError    another run won; drop this one
  + TransientError   nothing to correct; the same call may work later
* Refused          a request that is not taken, with its answer
"""

from __future__ import annotations


class IngestError(Exception):
    """Base of every error this package raises on purpose. Its message is one line: problem, then fix."""

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(" ".join(f"{problem}. {fix}.".split("\n")))  # a file's name may hold any character
        self.problem = problem
        self.fix = fix

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling between processes.
        return _rebuild, (type(self), self.problem, self.fix)


class ConfigError(IngestError):
    """A setting or a feed declaration is wrong."""


class DataError(IngestError):
    """The source delivered data its contract does not allow."""


class ConflictError(IngestError):
    """Another run won, or the source changed while it was read."""


class TransientError(IngestError):
    """A remote system is busy or away; the same call may succeed later."""


NEW_FILE = "Ask for the file again"
ENCRYPTED = "Start it with https://"
NEW_LINK = "Ask for a new link"
CORRECT_PATH = "Correct the path; it is case-sensitive"
CORRECT_VALUE = "Correct that value in the export, or declare the column as text under types in the catalog"
ONE_ROW_A_KEY = (
    "If the keys of the feed were changed in the catalog, set the former ones again, or drop its table and view and"
    " load a full with --again (sync a database or an API with --full); if not, something else wrote to the table: keep"
    " one row of each key, and load again"
)
"""The fix where rows of a table have the same key, or none."""
LOAD_AGAIN = "Load it again"


def held(problem: str) -> TransientError:
    """What a call needs was not let go of within the time that WAREHOUSE_LOCK_TIMEOUT allows."""
    return TransientError(problem, fix="Load again when it is done, or raise WAREHOUSE_LOCK_TIMEOUT")


def overtaken(feed: str) -> ConflictError:
    return ConflictError(
        f"feed {feed} was advanced by another run since this one began", fix="Nothing to do: the next run continues"
    )


def no_folder(what: object, setting: str, error: OSError) -> ConfigError:
    """*what*, in the folder that *setting* names, cannot be written."""
    return ConfigError(
        f"{what} cannot be written: {error.strerror}", fix=f"Name a folder in {setting} that can be written to"
    )


def written_by_newer(what: str, found: int, known: int) -> ConfigError:
    """*what*, such as a file, has layout *found*, of which this version, which knows *known*, understands nothing."""
    return ConfigError(
        f"{what} was written by a newer version of Sluice (layout {found}, this one knows {known})",
        fix="Run a newer version of Sluice",
    )


class RequestRefused(Exception):  # noqa: N818 - it is an answer more than an error
    """A request that is not taken: the HTTP status to answer with, and one line that may be sent back."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def _rebuild(kind: type[IngestError], problem: str, fix: str) -> IngestError:
    return kind(problem, fix=fix)
