"""Packages of npm that tests use: pinned in package.json, and each installed when it is first needed."""

from __future__ import annotations

import shutil
import subprocess

from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from filelock import FileLock

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache"
OLDEST_NODE = 18
INSTALL_SECONDS = 300


def npm_package(name: str) -> Path:
    """The folder of the package, installed first if need be; skips the test, saying why, where it cannot be had."""
    node(name)
    version = loads((HERE / "package.json").read_text())["dependencies"][name]
    cache = CACHE / name.rpartition("/")[2]
    cache.mkdir(parents=True, exist_ok=True)
    installed = cache / version
    with FileLock(cache / "lock"):
        if not installed.exists():
            _install(name, version, installed)
    return installed / "node_modules" / name


def node(wanted_by: str) -> str:
    """The command that runs JavaScript; skips the test, saying why, if there is none that can."""
    command = shutil.which("node")
    if command is None or shutil.which("npm") is None:
        missing = "npm" if command else "node"
        pytest.skip(f"{wanted_by} needs Node {OLDEST_NODE} or later and npm; there is no {missing} here")
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"{wanted_by} needs Node {OLDEST_NODE} or later, here is {version}")
    return command


def _install(name: str, version: str, folder: Path) -> None:
    """Into a folder beside it that gets its name when all is there, so that half an installation never counts."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    (partial / "package.json").write_text(dumps({"private": True, "dependencies": {name: version}}))
    flags = "--no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error --fetch-retries=1"
    try:
        subprocess.run(["npm", "install", *flags.split()], cwd=partial, **_captured(), check=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{name} cannot be installed: {_reason(error.stderr)}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name} cannot be installed: npm took more than {INSTALL_SECONDS} s")
    partial.rename(folder)


def _captured() -> dict[str, Any]:
    return {"capture_output": True, "text": True, "timeout": INSTALL_SECONDS}


def _reason(reported: str) -> str:
    """What npm says first, a code, and last; where it keeps its log is no reason."""
    lines = [line for line in reported.splitlines() if line.strip(" .") and "complete log of this run" not in line]
    return "; ".join(dict.fromkeys([*lines[:1], *lines[-1:]])) or "npm does not say why"
