"""What SQL Server's errors mean: what may pass, what is a value's fault, what somebody has to correct.

Numbers and classes are those of Microsoft's pages on transient faults and of the engine's message catalogue.
"""

from __future__ import annotations

import contextlib
import re

from collections.abc import Iterator, Mapping

from shared.errors import CORRECT_VALUE, ONE_ROW_A_KEY, ConfigError, DataError, IngestError, TransientError
from shared.mssql.odbc import Address
from shared.redaction import redact

TRANSIENT = frozenset(
    [
        *(926, 40197, 40501, 40613, 49918, 49919, 49920, 4221, 615),  # Microsoft's list, less 4060: a wrong name
        *(64, 233, 10053, 10054, 10060, 10928, 10929, 10936, 11001, 40143, 40166, 40540, 40020),  # its retry guides'
        *(1205, 1222, 3960, 4891, 4892),  # deadlock, lock time-out, snapshot conflict, table changed meanwhile
        *(2714, 2759),  # another run made the same schema at the same time
    ]
)
_LOST = ("08", "HYT00", "HYT01")
"""SQLSTATEs, or their beginnings, of connections that could not be made or were lost."""
_UNTRUSTED = "certificate verify failed"
_NO_TDS = "Protocol error in TDS stream"
"""Of HY000 and without a number: a gateway that is starting up, or that lost its server, answers so."""
ROW_FAULTS = frozenset((4863, 4864, 4865, 4867, 4869, 4879, 13811, 13812, 13813, 13814, 13817))
"""A field of a bulk load that does not fit its column."""
_VALUE_FAULTS = frozenset((220, 241, 242, 245, 248, 517, 2601, 2627, 2628, 8114, 8115, 8152))
_RIGHTS = frozenset((229, 230, 262, 297, 300, 916, 4834, 5301, 5304, 12703, 13823, 15151, 15247))
_NO_DRIVER = ("01000", "IM002", "IM003")
"""SQLSTATEs of a driver that is not there or cannot be loaded."""
_FIXES: Mapping[int, str] = {
    18456: "Check user, password or identity; an Entra identity has to be a user of the database (sluice sql setup)",
    40615: "Let this address through the server's firewall",
    40914: "Let this subnet through the server's virtual network rules",
    4060: "Check the database's name, and that the user exists in it",
    40544: "Free some space, or raise the maximum size of the database",
    4834: "Grant ADMINISTER DATABASE BULK OPERATIONS (sluice sql setup)",
    4860: "Check STAGING_URL against the data source's location: they must be the same container",
    4861: "Let the server read the staging container: role Storage Blob Data Reader for its identity, or a SAS",
    468: ONE_ROW_A_KEY,  # key columns of text are compared by their code points, others as the database has it
    511: "Export fewer columns: a row of this table does not fit into a page",
    1919: "Give the key columns types that an index takes, under types in the catalog",
    1946: "Use shorter or fewer key columns",
    2705: "Rename one of the two columns at the source",
    12703: "Create the external data source, and name it in STAGING_DATA_SOURCE (sluice sql setup)",
    12704: "Correct the location of the external data source (sluice sql setup)",
    12705: "Create the data source again with TYPE = BLOB_STORAGE (sluice sql setup)",
    13823: "Grant REFERENCES on the credential (sluice sql setup)",
    15151: "Run sluice sql setup: the data source or its credential is missing, or may not be used",
}


_LATER = (
    "Several tries have failed: load again later, and if it lasts, see whether the database is online and within its"
    " limits (Azure portal)"
)
_NUMBER = re.compile(r"\((\d+)\)(?: \(SQL\w+\))?(?=\s*$|; \[)")
"""At the end of a record of an error: what stands before may repeat a value of a row, parentheses and all."""


def number(error: Exception) -> int:
    """The server's own number of an error, that of the first record; 0 if there is none."""
    found = _NUMBER.search(_message(error)) if len(error.args) > 1 else None
    return int(found[1]) if found else 0


def state(error: Exception) -> str:
    """The SQLSTATE, or what stands in its place."""
    at = 1 if _is_drivers_own(error) else 0
    return str(error.args[at]) if error.args else ""


def _message(error: Exception) -> str:
    if len(error.args) < 2:
        return str(error)
    return str(error.args[0 if _is_drivers_own(error) else 1])


def _is_drivers_own(error: Exception) -> bool:
    """Whether pyodbc raised it before it called the driver: then message and SQLSTATE are in the other order."""
    if len(error.args) < 2:
        return False
    first, second = map(str, error.args[:2])
    return _SQLSTATE.fullmatch(first) is None and _SQLSTATE.fullmatch(second) is not None


_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_NOT_USABLE = re.compile(r"closed|parameter markers|not a valid|must be", re.IGNORECASE)
"""In errors of pyodbc's own that are about a call, not about a value."""


def may_pass(error: Exception) -> bool:
    """Whether the same unit of work may succeed on a new connection."""
    if isinstance(error, Unreachable):
        return error.may_pass
    if not _is_odbc(error):
        return isinstance(error, Again)
    code = number(error)
    if code in TRANSIENT:
        return True
    if code in _FIXES or _UNTRUSTED in str(error):  # however the driver calls the connection it could not make
        return False
    return state(error).startswith(_LOST) or state(error) == "40001" or _NO_TDS in str(error)


class Again(Exception):  # noqa: N818 - asks for another try
    """Raised in a unit that has to be done again on a new connection."""


class Unreachable(Exception):  # noqa: N818 - its name is what happened
    """No server answered at an address."""

    def __init__(self, where: Address, line: str, *, may_pass: bool) -> None:
        super().__init__(f"no answer from {where.host}, port {where.port}: {line}")
        self.may_pass, self.setting = may_pass, where.setting


_NO_ANSWER = frozenset((0, 53, 10060, 10061, 11001, 11002))
"""Numbers of a connection that got no answer: no server said anything, or there is no such host."""


def no_answer(error: Exception) -> str | None:
    """What the driver says of a connection that it could not make as no server answered; None for other errors."""
    if not _is_odbc(error) or _UNTRUSTED in str(error) or number(error) not in _NO_ANSWER:
        return None
    return line(error) if state(error).startswith(_LOST) else None


def is_data_fault(error: Exception) -> bool:
    """Whether it is a value that the server or pyodbc refuses, so that fewer rows may do."""
    if not _is_odbc(error):
        return False
    if _is_drivers_own(error):
        return _NOT_USABLE.search(_message(error)) is None
    return number(error) in ROW_FAULTS | _VALUE_FAULTS or state(error).startswith("22")


def _is_odbc(error: Exception) -> bool:
    return any(kind.__name__ == "Error" for kind in type(error).__mro__)  # without importing a driver to ask


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """The driver's errors in our words; *what* was being done."""
    try:
        yield
    except IngestError:
        raise
    except Exception as error:
        if not _is_odbc(error) and not isinstance(error, Again | Unreachable):
            raise
        raise in_words(error, what) from error


def in_words(error: Exception, what: str) -> IngestError:
    code = number(error)
    problem = f"{what}: {line(error)}"
    if isinstance(error, Unreachable):
        return TransientError(
            problem, fix=f"Correct host and port in {error.setting}, or let this machine through the server's firewall"
        )
    if may_pass(error) and code not in _FIXES:
        return TransientError(problem, fix=_LATER)
    if is_data_fault(error):
        return DataError(problem, fix=CORRECT_VALUE)
    if state(error) in _NO_DRIVER:
        return ConfigError(
            problem, fix="Install ODBC Driver 18 (package msodbcsql18), or what its wheel needs: libltdl7, libkrb5-3"
        )
    if _UNTRUSTED in problem:
        return ConfigError(
            problem, fix="Use the name the certificate has; for a test server, add TrustServerCertificate=yes"
        )
    return ConfigError(problem, fix=_FIXES.get(code) or _general_fix(code))


def _general_fix(code: int) -> str:
    if 40549 <= code <= 40553:
        return "Scale the database up, or export in smaller files, and load again"
    if code in _RIGHTS:
        return "Give the app's user its rights (sluice sql setup)"
    return f"Look up error {code} at https://learn.microsoft.com/sql/relational-databases/errors-events/"


def line(error: Exception) -> str:
    """What the server or the driver says, in one line and without secrets."""
    text = _message(error)
    text = re.sub(r"\[(Microsoft|SQL Server|ODBC Driver \d+ for SQL Server|unixODBC|Driver Manager|\w{5})\]", "", text)
    return redact(" ".join(re.sub(r"\(SQL\w+\).*$", "", text).split()))[:400].rstrip(". ")
