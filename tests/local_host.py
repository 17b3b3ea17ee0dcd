"""`make host`: Azurite, the host of Azure Functions, an export that arrives, and what became of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from azure.storage.blob import BlobServiceClient, ContainerClient

from shared.app import open_app
from shared.cli import demo, output
from shared.jobs.triggers import Start, file_arrived
from tests.servers import free_port
from tests.servers.azurite import Azurite, azurite_command

ROOT = Path(__file__).parents[1]
START_SECONDS, JOB_SECONDS = 180, 300
MISSING = (
    "Azure Functions Core Tools are not here: there is no func on the PATH."
    " Install them (npm install -g azure-functions-core-tools@4), then make host again."
)


def main() -> int:
    """Run all of it; the exit code."""
    func = shutil.which("func")
    if func is None:
        print(MISSING, file=sys.stderr)
        return 1
    try:
        command = azurite_command()
    except pytest.skip.Exception as error:  # why it cannot be had
        print(error, file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="sluice-host-") as home,
        Azurite(Path(home) / "azurite", command) as storage,
    ):
        folder = Path(home)
        env = settings(storage, folder)
        with host(func, env) as address, _container(storage) as container:
            print(f"The host answers at {address}; its files are in {folder}.", flush=True)
            failed = _take_an_export(address, container, env, folder)
            if sys.stdin.isatty():
                print("Press Ctrl-C to stop.", flush=True)
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
    return int(failed)


def settings(storage: Azurite, folder: Path) -> dict[str, str]:
    """The sample's settings, with Azurite and *folder* in place of what differs on every machine."""
    sample = json.loads((ROOT / "local.settings.sample.json").read_text(encoding="utf-8"))["Values"]
    own = {
        "AzureWebJobsStorage": storage.connection_string,
        "ExportsStorage": storage.connection_string,
        "STORAGE_CONNECTION_STRING": storage.connection_string,
        "EXPORTS_URL": f"{storage.blob_url}/exports",
        "STATE_URL": f"{storage.blob_url}/state",
        "LEDGER_URL": storage.connection_string,
        "WAREHOUSE_URL": f"duckdb:///{folder}/warehouse.duckdb",
    }
    return {**sample, **own}


@contextlib.contextmanager
def host(func: str, env: Mapping[str, str]) -> Iterator[str]:
    """`func start` with these settings until the block ends; gives its address once it answers."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": sys.prefix}
    process = subprocess.Popen(
        [func, "start", "--port", str(port)], cwd=ROOT, env={**os.environ, **own, **env}, stdin=subprocess.DEVNULL
    )
    try:
        _until(lambda: _json(f"{address}/api/health"), START_SECONDS, process)
        yield address
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()


def _take_an_export(address: str, container: ContainerClient, env: Mapping[str, str], folder: Path) -> bool:
    """Upload the first export of the demo, announce it as Event Grid would, and print what became of it."""
    list(demo.play(folder / "demo"))
    root = folder / "demo" / "exports"
    first = sorted((root / "Full").rglob("*.parquet"))
    app = open_app(env)
    failed = False
    for file in first:
        name = file.relative_to(root).as_posix()
        blob = container.upload_blob(name, file.read_bytes(), overwrite=True)
        start = file_arrived(app, blob)
        assert isinstance(start, Start), f"{name} is no export"
        _announce(address, name, blob.url)
        reported = _until(lambda start=start: _finished(address, start.job), JOB_SECONDS)
        output.print_table([{"file": name, "job": reported["job"], "state": reported["state"], **_counts(reported)}])
        failed = failed or reported["state"] != "done"
    return failed


def _announce(address: str, name: str, url: str) -> None:
    event = {
        "id": name, "topic": "", "subject": f"/blobServices/default/containers/exports/blobs/{name}",
        "eventType": "Microsoft.Storage.BlobCreated", "eventTime": "2026-02-24T00:00:00Z", "dataVersion": "1",
        "data": {"api": "PutBlob", "url": url},
    }  # fmt: skip
    hook = f"{address}/runtime/webhooks/blobs?functionName=Host.Functions.on_export"
    headers = {"aeg-event-type": "Notification", "Content-Type": "application/json"}
    with urlopen(Request(hook, json.dumps([event]).encode(), headers), timeout=30):  # noqa: S310 - this machine
        pass


def _finished(address: str, job: str) -> Any:
    reported = _json(f"{address}/api/jobs/{job}")
    return reported if reported["summary"] else None


def _counts(reported: Mapping[str, Any]) -> dict[str, Any]:
    return {name: reported["summary"][name] for name in ("read", "inserted", "rejected")}


def _json(url: str) -> Any:
    with urlopen(url, timeout=30) as answer:  # noqa: S310 - this machine
        return json.load(answer)


def _until(poll: Any, seconds: float, process: subprocess.Popen[bytes] | None = None) -> Any:
    """What *ask* answers, once it is something; it is asked again while nobody answers, or nothing is there yet."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(URLError, ConnectionError, TimeoutError):
            if found := poll():
                return found
        if process is not None and process.poll() is not None:
            raise SystemExit(f"func start ended with {process.returncode}: see above")
        time.sleep(0.5)
    raise SystemExit(f"nothing came of it in {seconds} s: see the host's output above")


@contextlib.contextmanager
def _container(storage: Azurite) -> Iterator[ContainerClient]:
    with BlobServiceClient.from_connection_string(storage.connection_string) as service:
        yield service.create_container("exports")


if __name__ == "__main__":
    sys.exit(main())
