"""unixODBC, found on the machine or unpacked from the Debian packages, for a child process that talks real ODBC."""

from __future__ import annotations

import ctypes.util
import json
import shutil
import subprocess
import sys

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from filelock import FileLock

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "odbc"
PACKAGES = ("libodbc2", "libltdl7", "libodbcinst2", "odbcinst")
LIBRARIES = ("libltdl.so.7", "libodbc.so.2")
"""In the order in which they have to be loaded."""
INSTALL_SECONDS, RUN_SECONDS = 120, 120

# pyodbc asks for libodbc by its name alone, and takes the one that is loaded already.
_PREAMBLE = "import ctypes, json, sys\nfor path in {!r}: ctypes.CDLL(path, ctypes.RTLD_GLOBAL)\n"


def libraries() -> list[str]:
    """What to load before pyodbc, nothing where the system has it; skips the test, saying why, if it cannot be had."""
    missing = [package for package in ("pyodbc", "mssql_python_odbc") if find_spec(package) is None]
    if missing:
        pytest.skip(f"real ODBC needs {', '.join(missing)}")
    if ctypes.util.find_library("odbc"):
        return []
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "lock"):
        unpacked = CACHE / "packages"
        if not unpacked.exists():
            _unpack(unpacked)
    found = [next(unpacked.rglob(name), None) for name in LIBRARIES]
    if None in found:
        pytest.skip(f"real ODBC needs {' and '.join(LIBRARIES)}, which the packages of this machine do not have")
    return [str(path) for path in found]


def run(libraries: list[str], code: str) -> Any:
    """Run *code* in a process that has pyodbc; what it printed, which has to be JSON."""
    done = subprocess.run(
        [sys.executable, "-c", _PREAMBLE.format(libraries) + code], cwd=ROOT, capture_output=True, text=True,
        timeout=RUN_SECONDS, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def _unpack(folder: Path) -> None:
    """Into a folder beside it that gets its name when all is there, so that half of it never counts."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        pytest.skip("real ODBC needs unixODBC: there is none here, and no Debian package to be had")
    partial = folder.with_name("packages.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    if reason := _failure("apt-get", "download", *PACKAGES, into=partial):
        pytest.skip(f"real ODBC needs unixODBC, which cannot be downloaded: {reason}")
    for package in partial.glob("*.deb"):
        if reason := _failure("dpkg", "-x", package.name, ".", into=partial):
            pytest.skip(f"real ODBC needs unixODBC, which cannot be unpacked: {reason}")
    partial.rename(folder)


def _failure(*command: str, into: Path) -> str | None:
    """Why a command failed; None if it did not."""
    try:
        done = subprocess.run(command, cwd=into, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{command[0]} took more than {INSTALL_SECONDS} s"
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1] if done.returncode else None
