"""A server that only writes down when it starts and stops."""

from __future__ import annotations

import os

from pathlib import Path

from filelock import FileLock

STOP_SECONDS = 30


class Noted:
    """It has a lock while it runs; its notes are lines of a file."""

    def __init__(self, folder: Path, *, fails: bool = False) -> None:
        self.folder, self.fails = folder, fails

    @property
    def running(self) -> FileLock:
        """Whoever gets it knows that the server has stopped."""
        return FileLock(self.folder / "running", timeout=STOP_SECONDS)

    def notes(self) -> list[str]:
        return (self.folder / "notes").read_text().split()

    def note(self, text: str) -> None:
        with (self.folder / "notes").open("a") as notes:
            notes.write(f"{text}\n")

    def __enter__(self) -> Noted:
        if self.fails:
            raise RuntimeError("no port is free")
        self._lock = self.running
        self._lock.acquire()
        self.note("start")
        (self.folder / "pid").write_text(str(os.getpid()))
        return self

    def __exit__(self, *_: object) -> None:
        self.note("stop")
        self._lock.release()
