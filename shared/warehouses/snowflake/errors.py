"""The driver's errors: which may pass when the same is tried again, and all of them in our words.

They are known by their names, as the driver need not be installed.
"""

from __future__ import annotations

import contextlib

from collections.abc import Iterator

from shared.errors import CORRECT_VALUE, LOAD_AGAIN, ConfigError, DataError, IngestError, TransientError
from shared.warehouses.merge.session import GONE

MISSING = 2003
"""Number of the error that an object is not there, or that the role may not see it."""
_LOCKED = {625, 626}
"""Numbers of errors of a statement that waited for another transaction, or was its victim."""
_AWAY = ("OperationalError", "InterfaceError", "ServiceUnavailableError", "GatewayTimeoutError", "BadGatewayError",
         "InternalServerError", "TooManyRequests", "RequestTimeoutError", "OtherHTTPRetryableError")  # fmt: skip
_SIGN_IN = frozenset({
    390100, 390101, 390102, 390103, 390104, 390114, 390144, 390189, 390201, 390303, 390318, 390422, 394303, 250001,
    251001, 251005, 251006, 251007,
})  # fmt: skip
"""Numbers of refused sign-ins, and of connections that are described wrongly."""
_OPEN = "Check account, user, warehouse and role in WAREHOUSE_URL, the sign-in, and the network policy of the account"
_RIGHTS = "Grant the role what docs/snowflake.md lists"
_LATER = "Load again; if it lasts, look at the status page of Snowflake"
_REFUSALS: tuple[tuple[frozenset[int], str, str], ...] = (
    (_SIGN_IN, "the warehouse cannot be opened", _OPEN),
    (frozenset({3001, 3041, 3540}), "the role of WAREHOUSE_URL lacks a right", _RIGHTS),
    (frozenset({606}), "no warehouse of Snowflake is chosen", "Add ?warehouse=NAME to WAREHOUSE_URL"),
)


def passes(error: BaseException) -> bool:
    """Whether the same unit of work may succeed on a new connection."""
    if not is_drivers(error) or number(error) in _SIGN_IN:
        return False
    return number(error) in _LOCKED or bool(_names(error) & set(_AWAY))


def is_missing(error: BaseException) -> bool:
    """Whether a statement names something that is not there, or that the role may not see."""
    return is_drivers(error) and number(error) in (MISSING, 2043)


def is_drivers(error: BaseException) -> bool:
    """Whether *error* is one of the driver's."""
    return any(kind.__module__.startswith("snowflake.connector") for kind in type(error).__mro__)


def number(error: BaseException) -> int | None:
    """Snowflake's number of *error*."""
    found = getattr(error, "errno", None)
    return int(found) if isinstance(found, int) else None


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors that an operator can do something about as ours; the rest are bugs and stay as they are."""
    try:
        yield
    except IngestError:
        raise
    except Exception as error:
        translation = _in_words(error) if is_drivers(error) else None
        if translation is None:
            raise
        raise translation from error


def _in_words(error: Exception) -> IngestError | None:
    said, known = line(error), number(error)
    for numbers, problem, fix in _REFUSALS:
        if known in numbers:
            return ConfigError(f"{problem}: {said}", fix=fix)
    if passes(error):
        return TransientError(f"the warehouse is unavailable or busy: {said}", fix=_LATER)
    if known == MISSING and "staging" in said.lower():
        return TransientError(GONE, fix=LOAD_AGAIN)
    if str(getattr(error, "sqlstate", None)).startswith("22"):
        return DataError(f"the warehouse refused a value: {said}", fix=CORRECT_VALUE)
    return None


def line(error: BaseException) -> str:
    """What Snowflake said, in one line and without the full stop."""
    said = getattr(error, "raw_msg", None) or getattr(error, "msg", None) or str(error)
    return " ".join(str(said).split()).rstrip(".")


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
