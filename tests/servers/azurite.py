"""Azurite, Microsoft's emulator of blobs, queues and tables, installed when it is first asked for."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time

from collections.abc import Iterator
from pathlib import Path

from azure.data.tables import TableClient

from tests.servers import free_port
from tests.servers.npm import node, npm_package

HERE = Path(__file__).parent
SERVICES = ("blob", "queue", "table")
START_SECONDS, STOP_SECONDS = 60, 15


class Azurite:
    """One server with a folder, ports and an account of its own; started again, it has them still.

    It writes what it holds to the folder every five seconds and when it is stopped: ``kill`` loses what came after.
    """

    account = "devstoreaccount1"

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.folder = folder
        self._command = command
        self._ports = {service: free_port() for service in SERVICES}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def key(self) -> str:
        """The one that every emulator has and every client knows."""
        return TableClient.from_connection_string("UseDevelopmentStorage=true", "any").credential.named_key.key

    @property
    def blob_url(self) -> str:
        return self._url("blob")

    @property
    def queue_url(self) -> str:
        return self._url("queue")

    @property
    def table_url(self) -> str:
        return self._url("table")

    @property
    def connection_string(self) -> str:
        """What the clients' ``from_connection_string`` take, key included."""
        places = "".join(f"{service.capitalize()}Endpoint={self._url(service)};" for service in SERVICES)
        return f"DefaultEndpointsProtocol=http;AccountName={self.account};AccountKey={self.key};{places}"

    def start(self) -> Azurite:
        """Start and wait until all three services answer; nothing if it runs already."""
        if self._process is not None:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(
                [*self._command, *self._arguments()],
                env={name: value for name, value in os.environ.items() if name != "AZURITE_ACCOUNTS"},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Let it finish and write down what it holds."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            self.kill()  # nothing is left to kill, mostly

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()  # waits, and closes its input

    def __enter__(self) -> Azurite:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _url(self, service: str) -> str:
        return f"http://127.0.0.1:{self._ports[service]}/{self.account}"

    def _arguments(self) -> Iterator[str]:
        yield from ("--location", str(self.folder), "--silent", "--skipApiVersionCheck", "--disableTelemetry")
        for service, port in self._ports.items():
            yield from (f"--{service}Host", "127.0.0.1", f"--{service}Port", str(port))

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_SECONDS
        for port in self._ports.values():
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > until:
                    said = (self.folder / "output.txt").read_text(errors="replace").strip()
                    raise RuntimeError(f"Azurite does not answer on port {port}: {said or 'it says nothing'}")
                time.sleep(0.05)


def azurite_command() -> list[str]:
    """How to start Azurite, installed first if need be; skips the test, saying why, where it cannot be had."""
    installed = npm_package("azurite")
    script = installed / "dist" / "src" / "azurite.js"
    return [node("azurite"), "--require", str(HERE / "with_parent.cjs"), str(script)]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
