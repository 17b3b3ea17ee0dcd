"""One server of a kind for all processes of a test run: the first that needs it starts it, it ends after the last.

A process of its own holds the server. Each user has a lock on a file, shared with the other users; the holder ends the
server once it gets that lock for itself. The kernel returns the lock of a user that is killed, so that no server
outlives its run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import subprocess
import sys

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

Server = TypeVar("Server", bound="contextlib.AbstractContextManager[Any]")

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def shared(make: Callable[[], Server], folder: Path) -> Iterator[Server]:
    """The server whose users meet in *folder*: a copy that knows how to reach it, which must not be stopped.

    *make* gives one that is not started yet, for the holder to start; its class must be pickled by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("ab") as users:
        with FileLock(folder / "lock"):
            found: Server = pickle.loads(_known(folder, users.fileno()) or _started(make(), folder, users.fileno()))  # noqa: S301
        yield found


def _known(folder: Path, users: int) -> bytes | None:
    """The server that runs, pickled; None if there is none, or its holder is ending it or was killed."""
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
        pickled = (folder / "server").read_bytes()
        return pickled if _is_held(folder) else None
    return None


def _is_held(folder: Path) -> bool:
    with (folder / "holder").open("ab") as holder:
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _started(server: object, folder: Path, users: int) -> bytes:
    fcntl.flock(users, fcntl.LOCK_SH)  # waits for a holder that is ending
    pickled = pickle.dumps(server)
    command = [sys.executable, "-m", "tests.servers.shared", str(folder)]
    with (folder / "output.txt").open("wb") as output:
        done = subprocess.run(command, input=pickled, stdout=output, stderr=output, cwd=ROOT, check=False)
    if done.returncode:
        raise RuntimeError((folder / "output.txt").read_text(errors="replace"))
    return pickled


# -- what runs in the holder


def _main(folder: Path) -> None:
    """Fork: the parent ends when the server runs, or cannot be started; the child holds it."""
    pickled = sys.stdin.buffer.read()
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        sys.exit(0 if os.read(reading, 1) else 1)
    _hold(folder, pickled, writing)


def _hold(folder: Path, pickled: bytes, ready: int) -> None:
    with (folder / "users").open("ab") as users, (folder / "holder").open("ab") as alive, pickle.loads(pickled):  # noqa: S301
        fcntl.flock(alive, fcntl.LOCK_EX)
        (folder / "server").write_bytes(pickled)
        os.write(ready, b"1")
        fcntl.flock(users, fcntl.LOCK_EX)
        (folder / "server").unlink()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
