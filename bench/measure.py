"""Run a command and see what it took. Imports nothing large: a process starts with its parent's peak as its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """What one process, its threads and children took from start to end."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds in user and system mode."""
    peak: float
    """Most memory resident at once, in MB of 2**20 bytes."""


def run(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> tuple[Cost, str]:
    """The cost of *command* and what it printed; SystemExit with its last words if it fails."""
    os.sync()  # what others wrote is not this one's to wait for
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said, tempfile.TemporaryFile("w+") as complained:
        since = time.perf_counter()
        process = subprocess.Popen(command, env=dict(env), cwd=cwd, stdout=said, stderr=complained)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - since
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complained.seek(0)
        if process.returncode:
            words = f"{said.read()}\n{complained.read()}".strip()[-3000:]
            raise SystemExit(f"exit {process.returncode} of {' '.join(command)}\n{words}")
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / unit), said.read()
