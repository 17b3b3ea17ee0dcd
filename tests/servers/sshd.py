"""OpenSSH's own server for SFTP, with throw-away keys, as an ordinary user and without touching the machine."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

from collections.abc import Iterator
from pathlib import Path

import pytest

from filelock import FileLock

from tests.servers import free_port

CACHE = Path(__file__).parents[2] / ".cache" / "sshd"
PACKAGES = ("openssh-server", "libwrap0")
START_SECONDS = 60
KINDS = ("ed25519", "rsa", "ecdsa")


class Sshd:
    """One server with a folder to serve; its users sign in with a key of any of ``KINDS``."""

    def __init__(self, binary: Path, home: Path) -> None:
        """*home* is of the user it is to run as, and holds all that it needs."""
        self.home = home
        self.root = home / "served"
        self.port = free_port()
        # As root it would want an account of its own; as anybody else it lets in just that somebody.
        self.user = pwd.getpwuid(home.stat().st_uid).pw_name
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        self.root.mkdir()
        for kind in KINDS:
            _keygen(home / f"user_{kind}", kind)
        self.change_host_key()
        public = [(home / f"user_{kind}.pub").read_text() for kind in KINDS]
        (home / "authorized_keys").write_text("".join(public))
        (home / "sshd_config").write_text("\n".join(self._config()) + "\n")

    @property
    def url(self) -> str:
        """Of the folder it serves."""
        return f"sftp://{self.user}@127.0.0.1:{self.port}{self.root}"

    def key_file(self, kind: str = "ed25519") -> Path:
        return self.home / f"user_{kind}"

    def known_hosts(self) -> str:
        """The line that knows it."""
        kind, key, *_ = (self.home / "host.pub").read_text().split()
        return f"[127.0.0.1]:{self.port} {kind} {key}\n"

    def change_host_key(self) -> None:
        """As a server that was set up anew shows another one; takes effect at the next start."""
        for old in (self.home / "host", self.home / "host.pub"):
            old.unlink(missing_ok=True)
        _keygen(self.home / "host", "ed25519")

    def start(self) -> Sshd:
        if self._process is not None:
            return self
        _hand_over(self.home)
        command = [str(self._binary), "-D", "-e", "-f", str(self.home / "sshd_config")]
        owner = self.home.stat()
        as_whom = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.getuid() == 0 else {}
        libraries = str(self._binary.parent / "lib")
        with (self.home / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, "LD_LIBRARY_PATH": libraries}, **as_whom
            )
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        """End it, and each connection's own process."""
        process, self._process = self._process, None
        if process is None:
            return
        for child in _children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)
        process.kill()
        process.wait()

    def drop_connections(self) -> None:
        """Cut every connection and go on listening."""
        assert self._process is not None
        for child in _children(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)

    def _config(self) -> Iterator[str]:
        yield f"Port {self.port}"
        yield "ListenAddress 127.0.0.1"
        yield f"HostKey {self.home}/host"
        yield f"AuthorizedKeysFile {self.home}/authorized_keys"
        yield f"PidFile {self.home}/pid"
        yield from ("StrictModes no", "PasswordAuthentication no", "KbdInteractiveAuthentication no")
        yield from (
            "Subsystem sftp internal-sftp",
            "UsePAM yes",
            "UseDNS no",
            "MaxStartups 100",
            "PrintMotd no",
            "LogLevel VERBOSE",
        )
        for name, option in (("sshd-session", "SshdSessionPath"), ("sshd-auth", "SshdAuthPath")):
            if (self._binary.parent / name).exists():
                yield f"{option} {self._binary.parent / name}"

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_SECONDS
        while not _greets(self.port):
            if process.poll() is not None or time.monotonic() > until:
                said = (self.home / "output.txt").read_text(errors="replace").strip()
                raise RuntimeError(f"sshd does not answer on port {self.port}: {said or 'it says nothing'}")
            time.sleep(0.05)


@contextlib.contextmanager
def running_sshd() -> Iterator[Sshd]:
    """A server until the end of the block; skips the test, with the reason, where OpenSSH cannot be had."""
    found = sshd_binary()
    # Not below pytest's own folders: those are closed to the user it runs as.
    home = Path(tempfile.mkdtemp(prefix="sluice-sshd-"))
    try:
        home.chmod(0o755)
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(home, nobody.pw_uid, nobody.pw_gid)
        server = Sshd(_copied(found, home), home).start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def sshd_binary() -> Path:
    """The machine's own sshd, or one unpacked from Debian's packages into a folder of the checkout."""
    for place in (shutil.which("sshd"), "/usr/sbin/sshd", "/usr/local/sbin/sshd"):
        if place and Path(place).exists():
            return Path(place)
    if os.environ.get("CI") == "true" and shutil.which("apt-get"):
        as_root = [] if os.getuid() == 0 else ["sudo", "-n"]
        subprocess.run([*as_root, "apt-get", "install", "-y", "-q", "openssh-server"], capture_output=True, check=False)
        if Path("/usr/sbin/sshd").exists():
            return Path("/usr/sbin/sshd")
    CACHE.mkdir(parents=True, exist_ok=True)
    unpacked = CACHE / "unpacked"
    with FileLock(CACHE / "lock"):
        if not unpacked.exists():
            _unpack(unpacked)
    return unpacked / "usr/sbin/sshd"


def _unpack(folder: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        pytest.skip("OpenSSH's server is not installed, and this is no Debian to get its package from")
    partial = folder.with_name("partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for package in PACKAGES:
        got = subprocess.run(
            ["apt-get", "download", "-q", package],
            cwd=partial,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if got.returncode and package == PACKAGES[0]:
            pytest.skip(f"OpenSSH's server is not installed and cannot be downloaded: {got.stderr.strip()[-200:]}")
    for archive in partial.glob("*.deb"):
        subprocess.run(["dpkg", "-x", archive, partial], check=True, capture_output=True)
    partial.rename(folder)


def _copied(binary: Path, home: Path) -> Path:
    """*binary* with what else it needs where the user it runs as can reach it; the machine's own stays in its place."""
    if not binary.is_relative_to(CACHE):
        return binary
    place = home / "bin"
    (place / "lib").mkdir(parents=True)
    unpacked = binary.parent.parent.parent
    shutil.copy(binary, place)
    for helper in (unpacked / "usr/lib/openssh").glob("sshd-*"):
        shutil.copy(helper, place)
    for library in unpacked.rglob("*.so*"):
        if "security" not in library.parts:
            shutil.copy(library, place / "lib")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(place / "lib")}
    linked = subprocess.run(
        ["ldd", place / binary.name], capture_output=True, text=True, env=environment, check=False
    ).stdout
    missing = [line.split()[0] for line in linked.splitlines() if "not found" in line]
    if missing:
        pytest.skip(f"OpenSSH's server is not installed, and its package lacks {', '.join(missing)} here")
    return place / binary.name


def _keygen(path: Path, kind: str) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen, of OpenSSH's client, is not installed")
    bits = ["-b", "2048"] if kind == "rsa" else []
    command = ["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-C", getpass.getuser(), "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def _hand_over(home: Path) -> None:
    """All of *home* to its owner: keys made by root could not be read by anybody else."""
    owner = home.stat()
    if os.getuid() == 0:
        for path in [home, *home.rglob("*")]:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _children(parent: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(parent).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _greets(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
        return probe.recv(4) == b"SSH-"
    return False
