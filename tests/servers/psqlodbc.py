"""PostgreSQL's ODBC driver, unpacked from its Debian packages: a database for real pyodbc to bind values for."""

from __future__ import annotations

import pytest

from filelock import FileLock

from tests.servers import debian, odbc

_PACKAGES = ("odbc-postgresql", "libpq5", "libodbc2", "libodbcinst2", "libltdl7")
_LIBRARIES = ("libltdl.so.7", "libodbc.so.2", "libodbcinst.so.2", "libpq.so.5")
"""In the order in which they have to be loaded."""


def libraries() -> tuple[list[str], str]:
    """What to load before pyodbc, and the driver's path; skips the test where they cannot be had."""
    folder = odbc.CACHE / "psqlodbc"
    odbc.CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(odbc.CACHE / "psqlodbc.lock"):
        if not folder.exists() and not (debian.found("^odbc-postgresql$") and debian.unpacked(_PACKAGES, folder)):
            pytest.skip("PostgreSQL's ODBC driver cannot be had from Debian packages here")
    found = [next(folder.rglob(name), None) for name in (*_LIBRARIES, "psqlodbcw.so")]
    if None in found:
        pytest.skip(f"the packages of PostgreSQL's ODBC driver lack one of {', '.join(_LIBRARIES)}")
    *loaded, driver = map(str, found)
    return loaded, driver
