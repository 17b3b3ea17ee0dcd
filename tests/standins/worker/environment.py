"""Microsoft's Python worker library, in an environment of its own that is made when it is first asked for.

The environment has what the deployed app has, so that a clash of the two, or a missing wheel, is found here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from filelock import FileLock

ROOT = Path(__file__).parents[3]
REQUIREMENTS = ROOT / "requirements.txt"
CACHE = ROOT / ".cache" / "worker"
SCRIPT = Path(__file__).parent / "index.py"
PYTHON = (3, 13)
RUNTIME = "azure-functions-runtime==1.3.0"
TRIAL = "import ensurepip, json, sys, venv; print(json.dumps([list(sys.version_info[:3]), sys.base_prefix]))"
TRIAL_SECONDS, INSTALL_SECONDS, INDEX_SECONDS = 60, 900, 120
STEERING = re.compile("PYTHON|APPLICATIONINSIGHTS|BLOB_TRIGGER")
"""What names of this process's environment would steer the worker or the app."""


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker library; each question is answered by a process of its own, as an app is indexed once in each."""

    python: Path

    def index(self, app: Path, **env: str) -> dict[str, Any]:
        """What the worker finds in a folder with a function_app.py: see tests/standins/worker/index.py."""
        return self._reported([app], env)

    def invoke(self, app: Path, name: str, inputs: Mapping[str, Any], **env: str) -> dict[str, Any]:
        """What the function *name* answers; inputs by parameter, each as ``{"http" | "json" | "string": value}``."""
        return self._reported([app, "--invoke", name, "--inputs", json.dumps(inputs)], env)

    def _reported(self, arguments: list[Any], env: Mapping[str, str]) -> dict[str, Any]:
        command = [self.python, "-I", SCRIPT, *arguments]
        reported = subprocess.run(
            command, env=without_steering() | env, capture_output=True, text=True, timeout=INDEX_SECONDS, check=False
        )
        assert reported.returncode == 0, reported.stderr
        answer: dict[str, Any] = json.loads(reported.stdout)
        return answer


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One that can make environments: its command, and what tells it from others."""

    command: str
    version: tuple[int, ...]
    prefix: str


def worker() -> Worker:
    """The worker, installed first if need be; skips the test, saying why, where it cannot be had."""
    interpreter = _interpreter(list(candidates()))
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / _key(interpreter)
    with FileLock(CACHE / "lock"):
        if not _marker(folder).exists():
            _install(interpreter, folder)
    return Worker(folder / "bin" / "python")


def candidates() -> Iterator[str]:
    """Commands that may be the Python we look for; none is to be believed before it was tried."""
    name = "python{}.{}".format(*PYTHON)
    yield from filter(None, [shutil.which(name)])
    yield from map(str, sorted(Path.home().glob(f".pyenv/versions/{name.removeprefix('python')}*/bin/{name}")))
    yield from (f"{folder}/{name}" for folder in ("/usr/bin", "/usr/local/bin") if Path(folder, name).exists())
    if PYTHON == sys.version_info[:2]:
        yield sys.executable


def tried(command: str) -> Interpreter | str:
    """The interpreter that *command* starts, or why it is none for us: a version manager's shim may exist and fail."""
    try:
        said = subprocess.run(
            [command, "-I", "-c", TRIAL], capture_output=True, text=True, timeout=TRIAL_SECONDS, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        return _reason(error.stderr) or f"it ended with {error.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    try:
        version, prefix = json.loads(said)
    except (TypeError, ValueError):
        return f"it says {said.strip()!r}"
    if tuple(version[:2]) != PYTHON:
        return f"it is Python {version[0]}.{version[1]}"
    return Interpreter(command, tuple(version), prefix)


def ours(complaint: str) -> bool:
    """Whether what pip says is about our requirements, rather than about an index that it cannot reach."""
    lacking = "No matching distribution" in complaint and "Retrying" not in complaint
    return lacking or "ResolutionImpossible" in complaint


def _interpreter(commands: list[str]) -> Interpreter:
    refusals = []
    for command in commands:
        found = tried(command)
        if isinstance(found, Interpreter):
            return found
        refusals.append(f"{command}: {found}")
    why = "; ".join(dict.fromkeys(refusals)) or "there is none here"
    pytest.skip("Microsoft's Python worker needs Python {}.{} with venv: {}".format(*PYTHON, why))


def _key(interpreter: Interpreter) -> str:
    parts = [REQUIREMENTS.read_text(), RUNTIME, interpreter.version, interpreter.prefix]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _marker(folder: Path) -> Path:
    return folder / ".installed"


def _install(interpreter: Interpreter, folder: Path) -> None:
    """Mark the folder when all is there, so that half an installation never counts: an environment cannot be moved."""
    shutil.rmtree(folder, ignore_errors=True)
    flags = "--quiet --disable-pip-version-check --no-input --only-binary=:all: --retries=1"
    install = [str(folder / "bin" / "python"), "-I", "-m", "pip", "install", *flags.split()]
    environment = [interpreter.command, "-I", "-m", "venv", str(folder)]
    library = [*install, "--no-deps", RUNTIME]  # if the index has this, what it lacks next is our mistake
    everything = [*install, "-r", str(REQUIREMENTS), RUNTIME]
    for command in (environment, library, everything):
        complaint = complaint_of(command)
        if complaint and command is everything and ours(complaint):
            pytest.fail(f"requirements.txt and {RUNTIME} cannot be installed together: {_reason(complaint)}")
        if complaint:
            pytest.skip(f"Microsoft's Python worker cannot be installed: {_reason(complaint)}")
    _marker(folder).touch()


def complaint_of(command: list[str]) -> str | None:
    """What a command says that does not succeed."""
    try:
        subprocess.run(
            command, env=without_steering(), capture_output=True, text=True, timeout=INSTALL_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip() or f"it ended with {error.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None


def without_steering() -> dict[str, str]:
    """This process's environment, but for what would change the answer."""
    return {name: value for name, value in os.environ.items() if not STEERING.match(name)}


def _reason(reported: str) -> str:
    """What pip calls an error; else what is said first, or of a traceback what is said last."""
    lines = [line.strip() for line in reported.splitlines() if line.strip()]
    if errors := [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]:
        return " ".join(errors)
    return lines[-1 if lines[0].startswith("Traceback") else 0] if lines else ""
