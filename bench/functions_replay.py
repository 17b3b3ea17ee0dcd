"""Run `export` jobs with steps that do nothing, and say what their replay costs. Arguments: files of a job, jobs.

Everything goes through the stand-in of the Durable host; seconds of the processor inside the orchestrators (the SDK
decodes the history, replays it and encodes what is to be done) are taken apart from the stand-in's own.
"""

from __future__ import annotations

import gc
import json
import sys
import time

from typing import Any

import function_app

from shared.jobs import orchestrations
from tests.standins.durable_host import DurableHost
from tests.standins.durable_host.functions import Functions, OrchestrationResult

_WORK = {"work": {"kind": "notification", "id": "0" * 32}}


class Inside:
    """Seconds of the processor that orchestrators take, as ``Functions.orchestrate`` is called."""

    def __init__(self) -> None:
        self.seconds, self.episodes = 0.0, 0
        self._orchestrate = Functions.orchestrate

    def __enter__(self) -> Inside:
        inside = self

        def orchestrate(functions: Functions, name: str, context: str) -> OrchestrationResult:
            since = time.thread_time()
            try:
                return inside._orchestrate(functions, name, context)
            finally:
                inside.seconds += time.thread_time() - since
                inside.episodes += 1

        Functions.orchestrate = orchestrate
        return self

    def __exit__(self, *_: object) -> None:
        Functions.orchestrate = self._orchestrate


def main() -> None:
    files, jobs = int(sys.argv[1]), int(sys.argv[2])
    _job(10, 0)  # the first replay imports, compiles and fills caches
    found = [_job(files, number + 1) for number in range(jobs)]
    totals = {name: sum(job[name] for job in found) for name in ("inside", "total", "episodes", "events")}
    print(json.dumps({**totals, "files": files * jobs, "largest": max(job["largest"] for job in found)}))


def _job(files: int, seed: int) -> dict[str, Any]:
    steps = {name: lambda _: {"status": "done"} for name in orchestrations.ACTIVITIES}
    steps["open_units"] = lambda _: {"units": files}
    steps["plan"] = lambda _: {"slices": 1}
    gc.collect()
    with (
        Inside() as inside,
        DurableHost(function_app.app, overrides=steps, batch=None, check_determinism=False, seed=seed) as host,
    ):
        since = time.process_time()
        job = host.run("export_job", _WORK, "export:1")
        total = time.process_time() - since
        if job.status != "Completed":
            raise SystemExit(f"the job is {job.status}: {job.output}")
        events = sum(len(instance.history) for instance in host.instances.values())
        return {
            "inside": inside.seconds, "total": total, "episodes": inside.episodes, "events": events,
            "largest": host.largest_payload(),
        }  # fmt: skip


if __name__ == "__main__":
    main()
