"""Measure what the Functions app costs around the loading itself, and write bench/RESULTS_FUNCTIONS.md.

    python -m bench functions            some minutes
    python -m bench functions --quick    a look at whether it works; its figures say nothing

Three figures, each measured in fresh processes, several times over:

    replay     an `export` job of 100 and of 1,000 files with steps that do nothing, in the stand-in of the Durable
               host (tests/durable_host): seconds of the processor that the SDK takes to replay its orchestrators
    webhook    deliveries to the webhook, called as the worker calls it: one process, one event loop, blocking work in
               the loop's threads; storage and the stand-in's endpoint in two other processes. Storage is Azurite, and
               then a server that answers at once. Beside it, what Azurite and the endpoint take from a client that
               does nothing else
    import     `import function_app`, which every cold start waits for; then what the first call adds

Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from bench import functions_report
from bench.contestants import ROOT, quiet
from bench.functions_deliveries import CLIENT, SECRET, deliveries
from bench.measure import run

_STATE, _BARE = "sluice", "bare"


class Size(NamedTuple):
    """How much is measured."""

    runs: int
    seconds: int
    """Of each stretch of load."""
    warm_up: int
    """Deliveries before that."""
    rate: int
    jobs: Mapping[int, int]
    """Files of a job, and how many such jobs a process runs."""
    starts: int
    at_once: tuple[int, ...]
    """Callers of each closed loop."""


FULL = Size(runs=5, seconds=4, warm_up=200, rate=300, jobs={100: 10, 1_000: 1}, starts=9, at_once=(1, 4, 16))
QUICK = Size(runs=1, seconds=1, warm_up=5, rate=20, jobs={5: 2, 10: 1}, starts=1, at_once=(4,))


def main(arguments: Sequence[str]) -> None:
    options = _arguments(arguments)
    size = QUICK if options.quick else FULL._replace(runs=options.runs, seconds=options.seconds)
    rounds: list[functions_report.Round] = []
    for number in range(1, size.runs + 1):
        print(f"Run {number} of {size.runs}", flush=True)
        rounds.append(_round(size))
    starts = _starts(size.starts)
    options.results.write_text(functions_report.text(rounds, starts, size), encoding="utf-8")
    print(f"Written: {options.results}")


def _round(size: Size) -> functions_report.Round:
    before = os.getloadavg()[0]
    replay = {files: _replay(files, jobs) for files, jobs in size.jobs.items()}
    for files, found in replay.items():
        print(f"  replay of {files:5} files  {1000 * found['inside'] / found['files']:6.2f} ms CPU a file", flush=True)
    webhook: dict[str, dict[str, Any]] = {}
    for name, storage in (("azurite", _azurite), ("at once", _at_once)):
        stretches = {load: _load(size, load, storage) for load in (0, *size.at_once)}
        webhook[name] = {"open": stretches.pop(0), "closed": stretches}
        _say(name, size, webhook[name])
    bare = {kind: {n: _wire(size, kind, n) for n in size.at_once} for kind in ("put", "both")}
    most = {name: functions_report.most(found) for name, found in bare.items()}
    print(f"  bare: at most {most['put']:.0f} blobs/s, {most['both']:.0f}/s of a blob and a job", flush=True)
    return functions_report.Round(before, replay, webhook, bare)


def _say(name: str, size: Size, found: Mapping[str, Any]) -> None:
    opened, last = found["open"], functions_report.percentile(found["open"]["latencies"], 99)
    print(
        f"  webhook, {name:8}  {opened['accepted'] / opened['seconds']:.0f} of {size.rate}/s, p99 {last:.1f} ms;"
        f" at most {functions_report.most(found['closed']):.0f}/s",
        flush=True,
    )


def _replay(files: int, jobs: int) -> dict[str, Any]:
    return _output(["bench.functions_replay", str(files), str(jobs)])


# -- the webhook


class StorageAddress(NamedTuple):
    """Where the app keeps its documents."""

    url: str
    settings: Mapping[str, str]
    process: int
    bare: str | None = None
    """URL, with a SAS, of the container that a client puts blobs into that does nothing else."""


class Links:
    """Where the links of deliveries lead: a port that counts who connects."""

    def __init__(self) -> None:
        self.visits = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._count)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _count(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                self._socket.accept()[0].close()
                self.visits += 1


@contextlib.contextmanager
def _azurite() -> Iterator[StorageAddress]:
    """A fresh Azurite that keeps all in memory; SystemExit where there is none to be had."""
    import psutil
    import pytest

    from tests.servers.azurite import Azurite, azurite_command

    class InMemory(Azurite):
        """Writing to a disk takes it a third more of the processor, and Blob Storage takes none of this machine's."""

        def _arguments(self) -> Iterator[str]:
            _location, _folder, *rest = super()._arguments()
            yield from ("--inMemoryPersistence", *rest)

    try:
        command = azurite_command()
    except pytest.skip.Exception as reason:
        raise SystemExit(f"The webhook cannot be measured: {reason}") from None
    with tempfile.TemporaryDirectory() as folder, InMemory(Path(folder), command) as server:
        (node,) = [one.pid for one in psutil.Process().children() if "azurite.js" in " ".join(one.cmdline())]
        settings = {
            "STATE_URL": f"{server.blob_url}/{_STATE}", "STORAGE_CONNECTION_STRING": server.connection_string
        }  # fmt: skip
        yield StorageAddress(server.blob_url, settings, node, f"{server.blob_url}/{_BARE}?{_sas(server)}")


def _sas(server: Any) -> str:
    from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

    with BlobServiceClient.from_connection_string(server.connection_string) as service:
        service.create_container(_BARE)
    return generate_container_sas(
        server.account, _BARE, account_key=server.key, permission=ContainerSasPermissions(write=True, create=True),
        expiry=dt.datetime.now(dt.UTC) + dt.timedelta(days=1),
    )  # fmt: skip


@contextlib.contextmanager
def _at_once() -> Iterator[StorageAddress]:
    """A storage that answers at once and keeps nothing."""
    with _process("bench.functions_storage") as (port, process):
        url = f"http://127.0.0.1:{port}/devstoreaccount1"
        yield StorageAddress(url, {"STATE_URL": f"{url}/{_STATE}?sv=2024-11-04&sp=rwdlc&sr=c&sig=x"}, process)


@contextlib.contextmanager
def _hub() -> Iterator[tuple[str, int]]:
    """The Durable host's endpoint: client binding and process."""
    with _process("bench.functions_hub") as found:
        yield found


@contextlib.contextmanager
def _process(module: str) -> Iterator[tuple[str, int]]:
    """The first line that *module* prints, and its process, which ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module], env=quiet(), cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.communicate()


def _load(size: Size, at_once: int, storage: Callable[[], AbstractContextManager[StorageAddress]]) -> dict[str, Any]:
    """A stretch of load: so many callers, or (0) a fixed schedule. All processes are fresh, for Azurite slows down as
    blobs grow in number. Whatever is refused, lost or downloaded ends the benchmark; what is late is counted."""
    with (
        storage() as place, _hub() as (binding, hub), contextlib.closing(Links()) as links,
        tempfile.TemporaryDirectory() as folder,
    ):  # fmt: skip
        request = {
            "binding": binding, "pids": {"storage": place.process, "host": hub},
            "servers": {"storage": place.url, "host": json.loads(binding)["rpcBaseUrl"]}, "links": links.address,
            "warm_up": size.warm_up, "rate": size.rate, "seconds": size.seconds, "at_once": at_once,
        }  # fmt: skip
        env = {**_settings(Path(folder), links), **place.settings}
        found = _output(["bench.functions_load", json.dumps(request)], env)
        kept = _kept(place) if place.bare else found["jobs"]
    if found["other"].keys() - {"late"} or found["refused"] or links.visits:
        raise SystemExit(f"not accepted: {found['other']}; elsewhere: {found['refused']}, {links.visits}")
    if not found["jobs"] <= kept <= found["jobs"] + found["other"].get("late", 0):
        raise SystemExit(f"{found['jobs']} jobs were accepted, and {kept} notifications kept")
    return found


def _settings(folder: Path, links: Links) -> dict[str, str]:
    return {
        "WAREHOUSE_URL": f"duckdb:///{folder}/warehouse.duckdb",
        "LEDGER_URL": f"sqlite:///{folder}/ledger.db",
        "COOLR_CLIENT": CLIENT,
        "COOLR_WEBHOOK_SECRET": SECRET,
        "COOLR_WEBHOOK_HOSTS": links.address,
    }


def _kept(place: StorageAddress) -> int:
    """How many notifications lie in the app's container."""
    from azure.storage.blob import ContainerClient

    text = place.settings["STORAGE_CONNECTION_STRING"]
    with ContainerClient.from_connection_string(text, _STATE) as container:
        return sum(1 for _ in container.list_blob_names(name_starts_with="notices/"))


def _wire(size: Size, kind: str, at_once: int) -> dict[str, Any]:
    """What a fresh Azurite and a fresh endpoint take from a client that does nothing else."""
    from shared.web.webhooks import coolr

    now, host = dt.datetime.now(dt.UTC), "exports.test"
    (delivery,) = deliveries(1, host, now)
    notification = coolr.read(delivery.body, now=now, max_age_seconds=7e5, ahead_seconds=0, hosts=[host], client=CLIENT)
    size_of_document = len(json.dumps(asdict(notification)).encode())
    with _azurite() as place, _hub() as (binding, _):
        request = {
            "blob": place.bare, "rpc": json.loads(binding)["rpcBaseUrl"], "bytes": size_of_document,
            "kind": kind, "at_once": at_once, "warm_up": size.warm_up, "seconds": size.seconds,
        }  # fmt: skip
        return _output(["bench.functions_wire", json.dumps(request)])


# -- starts

_IMPORT = "import time; t = time.perf_counter(); import function_app; print(time.perf_counter() - t)"
_OPEN = (
    "import time, function_app; t = time.perf_counter(); from shared.app import current; current();"
    " print(time.perf_counter() - t)"
)
_MODULES = "import json, sys, function_app; print(json.dumps(sorted(sys.modules)))"


def _starts(times: int) -> functions_report.Starts:
    """Seconds of fresh processes, and what the import brings in."""
    found = functions_report.Starts([], [], [], [], [], {})
    with tempfile.TemporaryDirectory() as folder:
        env = {
            "WAREHOUSE_URL": f"duckdb:///{folder}/warehouse.duckdb", "LEDGER_URL": f"sqlite:///{folder}/ledger.db",
            "STATE_URL": "http://127.0.0.1:1/devstoreaccount1/sluice?sv=2024-11-04&sig=x",
        }  # fmt: skip
        for _ in range(times):
            found.bare.append(run([sys.executable, "-c", "pass"], quiet(), ROOT)[0].wall)
            cost, said = run([sys.executable, "-c", _IMPORT], quiet(), ROOT)
            found.whole.append(cost.wall)
            found.inside.append(float(said))
            found.opened.append(float(run([sys.executable, "-c", _OPEN], quiet(env), ROOT)[1]))
    modules = json.loads(run([sys.executable, "-c", _MODULES], quiet(), ROOT)[1])
    return found._replace(modules=modules, costly=_costly())


def _costly() -> dict[str, float]:
    """Seconds that each package takes to import, without what it imports in turn."""
    command = [sys.executable, "-X", "importtime", "-c", "import function_app"]
    output = subprocess.run(command, env=quiet(), cwd=ROOT, check=True, capture_output=True, text=True).stderr
    found: dict[str, float] = {}
    for line in output.splitlines():
        alone, _, name = line.removeprefix("import time:").partition("|")
        if alone.strip().isdigit():
            parts = name.rpartition("|")[2].strip().split(".")
            package = ".".join(parts[: 3 if parts[:2] == ["azure", "storage"] else 2 if parts[0] == "azure" else 1])
            found[package] = found.get(package, 0.0) + int(alone) / 1e6
    return found


def _output(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a process of this benchmark prints."""
    _, said = run([sys.executable, "-W", "ignore", "-m", *arguments], quiet(env), ROOT)
    return dict(json.loads(said))


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    summary, _, rest = str(__doc__).partition("\n")
    arguments = argparse.ArgumentParser(
        "python -m bench functions",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument("--runs", type=int, default=FULL.runs, help="of everything (%(default)s)")
    arguments.add_argument("--seconds", type=int, default=FULL.seconds, help="of each stretch of load (%(default)s)")
    arguments.add_argument("--quick", action="store_true", help="as little as possible of everything")
    arguments.add_argument(
        "--results", type=Path, default=ROOT / "bench" / "RESULTS_FUNCTIONS.md", help="file to write"
    )
    return arguments.parse_args(given)
