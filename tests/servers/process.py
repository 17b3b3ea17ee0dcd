"""A server's process, which never outlives whoever started it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

Process: TypeAlias = "subprocess.Popen[bytes]"

START_SECONDS = 60

# It stops the server when its own input ends, and that is when whoever started it is gone, however that happened.
_WATCH = 'exec 3<&0; "$@" </dev/null 3<&- & server=$!; (read -r _ <&3; kill -$SIGNAL $server) & wait $server'


def started(
    name: str,
    command: Iterable[str],
    output: Path,
    answers: Callable[[], bool],
    *,
    signal: str = "QUIT",
    env: Mapping[str, str] | None = None,
    user: Mapping[str, Any] | None = None,
) -> Process:
    """Start *command* and wait until it *answers*; what it says goes to *output*. *signal* ends it at once."""
    watch = _WATCH.replace("$SIGNAL", signal)
    with output.open("ab") as said:
        process = subprocess.Popen(
            ["sh", "-c", watch, "sh", *command],
            stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, env=env, **(user or {}),
        )  # fmt: skip
    try:
        _wait(process, answers)
    except BaseException:
        stop(process)
        raise
    if process.poll() is None:
        return process
    reported = output.read_text(errors="replace").strip()
    raise RuntimeError(f"{name} does not start: {reported or 'it says nothing'}")


def stop(process: Process) -> None:
    """End it at once, as a crash would: what was not committed is lost, and nobody gets an answer."""
    process.communicate()  # ends its input, and waits


def other_user(*names: str) -> dict[str, Any] | None:
    """What makes a process run as the first of these users that exists, where this one is root; None if none does."""
    if sys.platform == "win32" or os.getuid():
        return {}
    import pwd

    for name in names:
        with contextlib.suppress(KeyError):
            known = pwd.getpwnam(name)
            return {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}
    return None


def _wait(process: Process, answers: Callable[[], bool]) -> None:
    for _ in range(START_SECONDS * 20):
        if process.poll() is not None or answers():
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise RuntimeError(f"there is no answer after {START_SECONDS} s")
