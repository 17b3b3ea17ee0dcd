"""PostgreSQL, found on the machine or unpacked from the Debian packages when it is first asked for."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import tempfile
import uuid

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest

from filelock import FileLock
from psycopg import sql

from tests.servers import debian, free_port, process

CACHE = Path(__file__).parents[2] / ".cache" / "postgres"
OLDEST = 15
FAST = (
    "fsync=off", "full_page_writes=off", "max_wal_size=2GB", "max_connections=60",
    "autovacuum=off",  # it would hold locks that tests wait for in vain
)  # fmt: skip


class Postgres:
    """One server with a folder, a port and a password of its own; started again, it has them still.

    Text sorts as in a dictionary there, not by code points, as on most servers.
    """

    user = "sluice"

    def __init__(self, bin: Path, settings: tuple[str, ...] = FAST) -> None:
        # Not below pytest's folders: the server runs as a user who may not look into them.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = free_port()
        self.password = f"{secrets.token_urlsafe(12)}/@:%?"
        self._bin, self._settings = bin, settings
        self._process: process.Process | None = None

    def url(self, database: str = "postgres", *, port: int | None = None, **more: str) -> str:
        """What WAREHOUSE_URL takes; *port* is that of a proxy before the server."""
        quoted = "".join(f"%{byte:02X}" for byte in self.password.encode())
        query = "&".join(f"{name}={value}" for name, value in more.items())
        place = f"127.0.0.1:{port or self.port}/{database}"
        return f"postgresql://{self.user}:{quoted}@{place}{'?' if query else ''}{query}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(database), autocommit=True)

    def create_database(self) -> str:
        name = f"test_{uuid.uuid4().hex}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name

    def drop_database(self, name: str) -> None:
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def start(self) -> Postgres:
        """Start and wait until it answers; nothing if it runs already."""
        if self._process is not None:
            return self
        if not (self.folder / "data").exists():
            self._initialise()
        self._process = process.started(
            f"PostgreSQL on port {self.port}", self._command(), self.folder / "output.txt", self._answers,
            user=_other_user(),
        )  # fmt: skip
        return self

    def kill(self) -> None:
        """Stop it at once, as a crash would: what was not committed is lost, and nobody gets an answer."""
        running, self._process = self._process, None
        if running is not None:
            process.stop(running)

    def __enter__(self) -> Postgres:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialise(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        if owner := _other_user():
            for path in (self.folder, secret):
                shutil.chown(path, owner["user"], owner["group"])
        options = "--no-sync --encoding=UTF8 --locale=C --locale-provider=icu --icu-locale=en --auth=scram-sha-256"
        command = [self._bin / "initdb", "-D", self.folder / "data", "-U", self.user, f"--pwfile={secret}"]
        subprocess.run([*command, *options.split()], check=True, capture_output=True, cwd=self.folder, **_other_user())
        secret.unlink()

    def _command(self) -> Iterator[str]:
        yield from (str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port))
        for setting in ("listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", *self._settings):
            yield from ("-c", setting)

    def _answers(self) -> bool:
        command = [self._bin / "pg_isready", "-q", "-t", "1", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0


def postgres_programs() -> Path:
    """The folder with PostgreSQL's programs; skips the test, saying why, where there is none to be had."""
    if found := _working():
        return found
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "lock"):
        # Another process may have unpacked it while this one waited.
        return _working() or _unpacked() or _installed() or _missing("none is here that works, and no Debian package")


def _working() -> Path | None:
    return next((folder for folder in _places() if _version(folder) >= OLDEST), None)


def _places() -> Iterator[Path]:
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent  # the programs beside it are not always on the path
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    yield from (CACHE / "packages").glob("usr/lib/postgresql/*/bin")


def _version(folder: Path) -> int:
    """The major version of the server in a folder, 0 if none works there for the user that it would run as."""
    if not (folder / "initdb").exists():
        return 0
    try:
        said = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True, cwd="/", **_other_user()
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r"(\d+)", said)
    return int(found[1]) if found else 0


def _unpacked() -> Path | None:
    """Debian's packages, unpacked into the cache: PostgreSQL finds its files from where its programs are."""
    versions = sorted(int(name.rpartition("-")[2]) for name in debian.found(r"^postgresql-[0-9]+$"))
    if not versions or versions[-1] < OLDEST:
        return None
    partial = CACHE / "packages.partial"
    if (CACHE / "packages").exists():  # they do not work here: root made them in a folder that is closed to others
        return None
    if not debian.unpacked([f"postgresql-{versions[-1]}", f"postgresql-client-{versions[-1]}", "libpq5"], partial):
        return None
    for folder in partial.glob("usr/lib/postgresql/*/bin"):
        if _version(folder) >= OLDEST:
            partial.rename(CACHE / "packages")
            return CACHE / "packages" / folder.relative_to(partial)
    return None


def _installed() -> Path | None:
    debian.installed("postgresql")
    return next((folder for folder in _places() if _version(folder) >= OLDEST), None)


def _missing(why: str) -> NoReturn:
    pytest.skip(f"PostgreSQL {OLDEST} or later is needed: {why}")


def _other_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: another user does it then."""
    user = process.other_user("postgres", "nobody")
    if user is None:
        _missing("the server does not run as root, and there is no user postgres or nobody")
    return user
