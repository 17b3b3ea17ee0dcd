"""Measure the status page over many feeds and runs, and print it.

    python -m bench pages                          500 feeds and 100,000 runs, half of them of one feed

Each page is made several times in one thread, and CPU seconds are counted, as others may be at work on the machine.
Calls for documents and the names that listings give are counted, too: in Azure each call takes some milliseconds, and
a listing one more call for every 5,000 names. bench/RESULTS_PAGES.md is written by hand from what this prints.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import tempfile
import time

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

from shared.app import App, open_app
from shared.documents import DocumentEntry, Documents, to_json
from shared.model import to_text
from shared.pipeline.status import FeedRuns, RunReport, SliceReport
from shared.web.pages.sign_in import READER, Principal
from shared.web.pages.site import Request, respond

_NOW = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC)
_BUSY = "big.t000"
"""The feed that has half of the runs: one every five minutes."""
_READER = Principal("1", "Ada", frozenset({READER}))


class Counted:
    """Documents that count what is asked of them."""

    def __init__(self, documents: Documents) -> None:
        self._documents, self.reads, self.writes, self.lists, self.names = documents, 0, 0, 0, 0

    def get(self, name: str) -> bytes | None:
        self.reads += 1
        return self._documents.get(name)

    def put(self, name: str, content: bytes) -> None:
        self.writes += 1
        self._documents.put(name, content)

    def entries(self, prefix: str) -> Iterator[DocumentEntry]:
        self.lists += 1
        for entry in self._documents.entries(prefix):
            self.names += 1
            yield entry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)


def main(given: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feeds", type=int, default=500)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=9)
    options = parser.parse_args(given)
    folder = Path(tempfile.mkdtemp(prefix="sluice-pages-"))
    try:
        app = open_app({"STATE_URL": str(folder), "WAREHOUSE_URL": f"duckdb:///{folder}/none.duckdb"}, now=lambda: _NOW)
        write(app, options.feeds, options.runs)
        print(f"{options.feeds:,} feeds, {options.runs:,} runs, {options.runs // 2:,} of them of one feed")
        _pages(app, options.times)
    finally:
        shutil.rmtree(folder)


def write(app: App, feeds: int, runs: int) -> None:
    """The documents that so many runs leave: half of them are of one feed, the others as many of each."""
    for number in range(feeds):
        name = f"big.t{number:03}"
        count = runs // 2 if name == _BUSY else runs // 2 // (feeds - 1)
        minutes = 5 if name == _BUSY else 360
        latest = FeedRuns(feed=name)
        for place in range(count):
            at = to_text(_NOW - dt.timedelta(minutes=minutes * (count - place)))
            report = _report(name, at, place)
            app.documents.put(f"runs/{name}/{report.key}", to_json(asdict(report)))
            latest = latest.with_run(replace(report, slices=(), files=())) if place > count - 30 else latest
        app.documents.put(f"feeds/{name}/runs", to_json(asdict(latest)))
        for other in ("done", "asked"):
            app.documents.put(f"feeds/{name}/{other}", b"{}")


def _report(feed: str, at: str, place: int) -> RunReport:
    return RunReport(
        key=f"{at}-0000-0000-main", feed=feed, status="failed" if place % 50 == 7 else "done", started=at, finished=at,
        run=f"{place:016x}", job=f"sync:{feed}", kind="window", place="2026-11-01 to 2026-11-02",
        counts={"read": 1_000 + place, "inserted": 10, "updated": 90, "unchanged": 900}, size=100_000, seconds=2.5,
        slices=(SliceReport(number=0, origin=feed, rows=1_000, seconds=2.5),),
    )  # fmt: skip


def _pages(app: App, times: int) -> None:
    pages: dict[str, tuple[str, dict[str, str]]] = {
        "all feeds": ("", {}), "failed feeds": ("", {"state": "failed"}),
        "feeds with a run in the last hour": ("", {"when": "hour"}), "a feed": ("feed", {"name": "big.t007"}),
        "the feed with most runs": ("feed", {"name": _BUSY}),
        "its runs of the last day": ("feed", {"name": _BUSY, "when": "day"}),
        "its runs of a month": ("feed", {"name": _BUSY, "from": "2026-09-01T00:00", "to": "2026-10-01T00:00"}),
        "a run": ("run", {"feed": _BUSY, "run": f"{to_text(_NOW - dt.timedelta(minutes=5))}-0000-0000-main"}),
        "jobs": ("jobs", {}), "alerts": ("alerts", {}),
    }  # fmt: skip
    since = time.process_time()
    first = respond(app, Request(method="GET", path="", query={}, principal=_READER))
    print(f"  the first page of a process: {1e3 * (time.process_time() - since):.0f} ms of CPU, status {first.status}")
    print("  page | CPU, median | most | reads | writes | listings | names listed | KB")
    for title, (path, query) in pages.items():
        request = Request(method="GET", path=path, query=query, principal=_READER)
        costs = []
        for _ in range(times):
            counted = Counted(app.documents)
            began = time.process_time()
            page = respond(replace(app, documents=counted), request)
            costs.append(1e3 * (time.process_time() - began))
        print(
            f"  {title} | {median(costs):.0f} ms | {max(costs):.0f} ms | {counted.reads} | {counted.writes} "
            f"| {counted.lists} | {counted.names:,} | {len(page.body) / 1e3:.0f} ({page.status})", flush=True,
        )  # fmt: skip
