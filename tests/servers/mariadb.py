"""MariaDB, found on the machine or unpacked from the Debian packages when it is first asked for."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pymysql
import pytest

from filelock import FileLock

from tests.servers import debian, free_port, process

CACHE = Path(__file__).parents[2] / ".cache" / "mariadb"
OLDEST = (10, 6)
FAST = ("innodb-flush-log-at-trx-commit=2", "innodb-flush-method=nosync", "innodb-log-file-size=16M", "sync-binlog=0")


class Programs(NamedTuple):
    """Where the server and what it needs lie."""

    server: Path
    share: Path
    libraries: tuple[Path, ...] = ()

    def command(self, *options: str) -> list[str]:
        """The server over the files that came with it, whatever is configured on this machine.

        Root runs it as root: another user may not be allowed into the folder that this clone is in.
        """
        reported = (f"--lc-messages-dir={self.share}", f"--character-sets-dir={self.share / 'charsets'}")
        as_root = ["--user=root"] if sys.platform != "win32" and os.getuid() == 0 else []
        return [str(self.server), "--no-defaults", *reported, *as_root, *options]

    def env(self) -> Mapping[str, str] | None:
        if not self.libraries:
            return None
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, self.libraries))}


class MariaDB:
    """One server with a folder, a port and a password of its own; started again, it has them still.

    Text compares without regard to case and to blanks at its end there, as on most servers.
    """

    user = "sluice"

    def __init__(self, programs: Programs, settings: tuple[str, ...] = FAST) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
        self.port = free_port()
        self.password = f"{secrets.token_urlsafe(12)}/@:%?"
        self._programs, self._settings = programs, settings
        self._process: process.Process | None = None

    def url(self, database: str = "mysql", *, port: int | None = None, **more: str) -> str:
        """What a DATABASE_URL takes; *port* is that of a proxy before the server."""
        quoted = "".join(f"%{byte:02X}" for byte in self.password.encode())
        query = "&".join(f"{name}={value}" for name, value in more.items())
        place = f"127.0.0.1:{port or self.port}/{database}"
        return f"mysql://{self.user}:{quoted}@{place}{'?' if query else ''}{query}"

    def connect(self, database: str | None = None) -> pymysql.Connection[Any]:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=self.user, password=self.password, database=database,
            charset="utf8mb4", autocommit=True,
        )  # fmt: skip

    def create_database(self) -> str:
        name = f"test_{uuid.uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
        return name

    def drop_database(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {name}")

    def start(self) -> MariaDB:
        """Start and wait until it answers; nothing if it runs already."""
        if self._process is not None:
            return self
        if not (self.folder / "data" / "mysql").exists():
            self._initialise()
        self._process = process.started(
            f"MariaDB on port {self.port}", self._command(), self.folder / "output.txt", self._answers,
            signal="KILL", env=self._programs.env(),
        )  # fmt: skip
        return self

    def kill(self) -> None:
        """Stop it at once, as a crash would: nobody gets an answer."""
        running, self._process = self._process, None
        if running is not None:
            process.stop(running)

    def __enter__(self) -> MariaDB:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _execute(self, statement: str) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def _initialise(self) -> None:
        (self.folder / "data").mkdir()
        text = "\n".join(_first_statements(self._programs.share, self.user, self.password))
        command = self._programs.command("--bootstrap", *self._places(), *(f"--{one}" for one in self._settings))
        subprocess.run(
            command, input=text.encode(), check=True, capture_output=True, cwd=self.folder, env=self._programs.env()
        )  # fmt: skip

    def _command(self) -> Iterator[str]:
        reported = ("bind-address=127.0.0.1", f"port={self.port}", "skip-name-resolve", *self._settings)
        yield from self._programs.command(*self._places(), *(f"--{one}" for one in reported))

    def _places(self) -> Iterator[str]:
        for name, file in (("datadir", "data"), ("socket", "socket"), ("pid-file", "pid"), ("tmpdir", ".")):
            yield f"--{name}={self.folder / file}"

    def _answers(self) -> bool:
        """It greets whoever connects once it is ready."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                return bool(probe.recv(1))
        except OSError:
            return False


def _first_statements(share: Path, user: str, password: str) -> Iterator[str]:
    """What makes an empty folder a server with one user: the scripts that its own installer runs."""
    yield from ("CREATE DATABASE mysql;", "USE mysql;")
    for part in ("system_tables", "performance_tables", "system_tables_data"):
        yield from (path.read_text() for path in sorted(share.glob(f"m*_{part}.sql"))[:1])
    yield "FLUSH PRIVILEGES;"
    yield f"CREATE USER {user}@'%' IDENTIFIED BY '{password}';"
    yield f"GRANT ALL ON *.* TO {user}@'%' WITH GRANT OPTION;"


def mariadb_programs() -> Programs:
    """Where MariaDB lies; skips the test, saying why, where there is none to be had."""
    if found := _working(_places()):
        return found
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "lock"):
        # Another process may have unpacked it while this one waited.
        return (
            _working(_places())
            or _unpacked()
            or _installed()
            or _missing("there is none here, and no Debian package to be had")
        )


def _places() -> Iterator[Programs]:
    if found := shutil.which("mariadbd"):
        for share in ("mysql", "mariadb"):
            yield Programs(Path(found), Path(found).resolve().parent.parent / "share" / share)
    yield Programs(Path("/usr/sbin/mariadbd"), Path("/usr/share/mysql"))
    yield from _below(CACHE / "packages")


def _below(folder: Path) -> Iterator[Programs]:
    """What packages unpacked in a folder hold; the libraries beside it are used before the machine's own."""
    libraries = tuple(sorted({found.parent for found in folder.glob("**/lib*.so.*")}))
    for share in ("mysql", "mariadb"):
        yield Programs(folder / "usr/sbin/mariadbd", folder / "usr/share" / share, libraries)


def _working(places: Iterable[Programs]) -> Programs | None:
    return next((programs for programs in places if _version(programs) >= OLDEST), None)


def _version(programs: Programs) -> tuple[int, ...]:
    """The version of a server, nothing if it does not work or lacks the scripts that set it up."""
    if not any(programs.share.glob("m*_system_tables.sql")):
        return ()
    try:
        said = subprocess.run(
            [programs.server, "--version"], capture_output=True, text=True, check=True, env=programs.env()
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ()
    found = re.search(r"(\d+)\.(\d+)\.\d+-MariaDB", said)
    return tuple(map(int, found.groups())) if found else ()


def _unpacked() -> Programs | None:
    """Debian's packages, unpacked into the cache: the server gets the path of its files."""
    names = sorted(debian.found(r"^mariadb-server-core(-[0-9.]+)?$"))
    partial = CACHE / "packages.partial"
    if not names or not debian.unpacked([names[0], *debian.libraries(names[0])], partial):
        return None
    if _working(_below(partial)) is None:
        return None
    partial.rename(CACHE / "packages")
    return _working(_below(CACHE / "packages"))


def _installed() -> Programs | None:
    debian.installed("mariadb-server")
    return _working(_places())


def _missing(why: str) -> NoReturn:
    pytest.skip(f"MariaDB {'.'.join(map(str, OLDEST))} or later is needed: {why}")
