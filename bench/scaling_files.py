"""What files cost: as jobs in Azure, looked for in a container, loaded from a folder; and a ledger that fills.

    python -m bench.scaling_files jobs 200          so many files of 100 rows, each an event and a job
    python -m bench.scaling_files container 2000    the timer that looks for files whose event was lost
    python -m bench.scaling_files folder 10000      `sluice load` of a folder of so many files, all loaded
    python -m bench.scaling_files ledger 1000000    look-ups and commits in a ledger of so many work items

Jobs run through the stand-ins of the hosts over Azurite (blobs, tables) and DuckDB. Requests are those that go to
storage, counted where ``requests`` sends them.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import tempfile
import time

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from bench.functions_replay import Inside
from bench.scaling import scratch
from shared.model import Record
from tests.arrivals import Exports, rows
from tests.exports import START, Clock, export_path, load_exports, open_test_app, write_parquet

ROWS = 100
_BEFORE = 43_200
"""Minutes before now that the first export is from; each one after it is a minute later."""


def said(**found: Any) -> None:
    print(json.dumps(found), flush=True)


def spent(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of the processor, seconds on the clock, and the result of *work*."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.process_time() - cpu, time.perf_counter() - wall, result


@contextmanager
def counted(names: dict[int, str]) -> Iterator[Counter[str]]:
    """Requests by the name of their port and their method."""
    sent: Counter[str] = Counter()
    real = requests.Session.send

    def send(session: requests.Session, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        sent[names.get(urlsplit(str(request.url)).port or 0, "other")] += 1
        return real(session, request, **more)

    requests.Session.send = send  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        requests.Session.send = real  # type: ignore[method-assign]


@contextmanager
def storage() -> Iterator[tuple[Any, Any, Callable[..., Any]]]:
    """Azurite with an empty container, and what opens an app over it in a folder."""
    from azure.storage.blob import ContainerClient

    from tests.servers.azurite import Azurite, azurite_command

    with tempfile.TemporaryDirectory(prefix="scaling-") as folder, Azurite(Path(folder), azurite_command()) as server:
        container = ContainerClient.from_connection_string(server.connection_string, "exports")
        container.create_container()
        os.environ["ExportsStorage"] = server.connection_string  # noqa: SIM112 - as the host spells it
        ports = {urlsplit(getattr(server, f"{name}_url")).port or 0: name for name in ("blob", "table", "queue")}

        def opened(home: Path) -> Any:
            return open_test_app(
                home, Clock(), STORAGE_CONNECTION_STRING=server.connection_string, EXPORTS_URL=container.url,
                STATE_URL=f"{server.blob_url}/state", LEDGER_URL=f"{server.table_url}/ledger", SETTLE="0",
            )  # fmt: skip

        opened.ports = ports  # type: ignore[attr-defined]
        yield server, container, opened


def jobs(count: int) -> None:
    """Events for *count* files, each a job from its start to its end; the first ten only warm up."""
    import pytest

    from tests.standins.functions_host import functions_host

    warm = min(10, count)
    with storage() as (server, container, opened), pytest.MonkeyPatch.context() as patch:
        home = scratch("jobs")
        exports, app = Exports(container, server, home), opened(home)
        names = [exports.upload(f"Full/Acme/{_stamp(n)}/location.parquet", _rows(ROWS, n)) for n in range(count + warm)]
        with functions_host(app, patch) as host, Inside() as inside, counted(opened.ports) as sent:

            def taken(some: list[str]) -> None:
                for name in some:
                    host.blob_event(container, name)
                    (job,) = [id for id, one in host.durable.instances.items() if ":" in id and id not in done]
                    host.finished(job)
                    done.update(host.durable.instances)

            done: set[str] = set()
            taken(names[:warm])
            sent.clear()
            inside.seconds = 0.0
            cpu, wall, _ = spent(lambda: taken(names[warm:]))
        said(
            files=count, rows_each=ROWS, cpu_ms_a_file=cpu / count * 1000, wall_ms_a_file=wall / count * 1000,
            orchestrators_cpu_ms=inside.seconds / count * 1000,
            **{f"{name}_requests_a_file": number / count for name, number in sorted(sent.items())},
        )  # fmt: skip


def container(count: int) -> None:
    """The search for missed files, over *count* files that the ledger does not know, and over none of them."""
    from shared.jobs.triggers import missed_files

    with storage() as (server, blobs, opened):
        home = scratch("container")
        exports, app = Exports(blobs, server, home), opened(home)
        for step in (count // 4, count):
            have = sum(1 for _ in blobs.list_blob_names())
            for n in range(have, step):
                exports.upload(f"Delta/Acme/{_stamp(n)}/location.parquet", _rows(1, n))
            with counted(opened.ports) as sent:
                cpu, wall, found = spent(lambda: list(missed_files(app)))
            said(
                blobs=step, found=len(found), cpu_ms_a_blob=cpu / step * 1000, wall_s=wall, requests=sum(sent.values())
            )


def folder(count: int) -> None:
    """`sluice load` over a folder with *count* exports that the ledger says are loaded."""
    home = scratch("folder")
    app = open_test_app(home)
    for step in (count // 10, count):
        for n in range(step):
            path = export_path(home / "exports", "delta", _stamp(n), "location")
            if not path.exists():
                write_parquet(path, _rows(1, n))
        cpu, _, loaded = spent(lambda: sum(1 for _ in load_exports(app, home / "exports", None)))
        said(exports=step, results=loaded, first_load_cpu_ms_a_file=cpu / step * 1000)
        cpu, wall, _ = spent(lambda: list(load_exports(app, home / "exports", None)))
        said(exports=step, again_cpu_ms_a_file=cpu / step * 1000, again_cpu_s=cpu, again_wall_s=wall)


def ledger(count: int) -> None:
    """A ledger in SQLite as it fills: a look-up of one work and a commit of one."""
    from shared.ledger import open_ledger

    path = scratch("ledger") / "ledger.db"
    book = open_ledger(f"sqlite:///{path}", lock_timeout=10)
    made = 0
    for step in sorted({1_000, count // 10, count}):
        while made < step:
            some = range(made, min(made + 5_000, step))
            book.commit("coolr.location", [_record(n) for n in some])
            made = some.stop
        some_work = [f"work{n}" for n in range(0, step, step // 200 or 1)]
        look, _, _ = spent(lambda some=some_work: [book.known("coolr.location", [one]) for one in some])
        keep, _, _ = spent(lambda: [book.commit("coolr.location", [_record(10**9 + n)]) for n in range(200)])
        said(
            work_items=step,
            look_up_cpu_ms=look / len(some_work) * 1000,
            commit_cpu_ms=keep / 200 * 1000,
            mb=path.stat().st_size / 2**20,
        )


def _record(n: int) -> Record:
    return Record(
        work=f"work{n}", name=f"Full/Acme/{_stamp(n % 40_000)}/location.parquet", run=f"run{n}", status="done", times=1,
        exported_at="2026-02-24T10:00:00.000000",
    )  # fmt: skip


def _stamp(n: int) -> str:
    return (START - dt.timedelta(minutes=_BEFORE - n)).strftime("%Y%m%d%H%M%S")


def _rows(count: int, n: int) -> list[dict[str, Any]]:
    """Rows of the export of minute *n*, all changed since the one before."""
    return rows(count, minutes=n - _BEFORE)


if __name__ == "__main__":
    {"jobs": jobs, "container": container, "folder": folder, "ledger": ledger}[sys.argv[1]](int(sys.argv[2]))
