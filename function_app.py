"""What Azure calls, translated into calls of shared and back into answers. Translation only.

Nothing heavy is imported before a function runs: the host indexes this module at every cold start. Functions that use
the Durable client are coroutines, and do what blocks in a thread; the steps of jobs are plain functions, which the
worker runs in threads of its own.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import os

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.durable_functions as df
import azure.functions as func

from azurefunctions.extensions.bindings import blob

from shared.jobs import orchestrations
from shared.settings import trigger_source

if TYPE_CHECKING:
    from shared.app import App
    from shared.jobs.triggers import Start
    from shared.jobs.watchdog import Instance, Stuck
    from shared.web.api import Response

_log = logging.getLogger("sluice")
_UNFINISHED = {
    df.OrchestrationRuntimeStatus.Pending,
    df.OrchestrationRuntimeStatus.Running,
    df.OrchestrationRuntimeStatus.ContinuedAsNew,
    df.OrchestrationRuntimeStatus.Suspended,
}
_EARLIEST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

# -- what starts jobs


@app.blob_trigger(
    arg_name="file", path="exports/{name}", connection="ExportsStorage",
    source=func.BlobSource(trigger_source(os.environ)),
)  # fmt: skip
@app.durable_client_input(client_name="client")
async def on_export(file: blob.BlobClient, client: df.DurableOrchestrationClient) -> None:
    """Start the job of a file that arrived; refused if it is in hand already."""
    from shared.jobs import triggers

    start = await asyncio.to_thread(lambda: triggers.file_arrived(_here(), file))
    await _start_all(client, [start] if start else [])


@app.route(route="webhooks/coolr", methods=["POST"])
@app.durable_client_input(client_name="client")
async def coolr_webhook(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Take CoolR's word that an export is ready. Nothing is downloaded before it is answered."""

    async def answer() -> Response:
        from shared.jobs import triggers
        from shared.web import api

        signature = req.headers.get("X-CoolR-Signature")
        start = await asyncio.to_thread(lambda: triggers.export_notified(_here(), req.get_body(), signature))
        await _start(client, start)
        return api.accepted_response(_here(), start.job)

    return await _answered(answer)


@app.timer_trigger(arg_name="timer", schedule="%SYNC_SCHEDULE%", run_on_startup=False, use_monitor=True)
@app.durable_client_input(client_name="client")
async def sync_due(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Start the syncs that are due. A late or missed tick changes nothing, for each goes on from its watermark."""
    from shared.jobs import triggers

    await _start_all(client, await asyncio.to_thread(lambda: list(triggers.due_syncs(_here()))))


@app.timer_trigger(arg_name="timer", schedule="%RECONCILE_SCHEDULE%", run_on_startup=False, use_monitor=True)
@app.durable_client_input(client_name="client")
async def reconcile(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Start jobs for files that no event announced."""
    from shared.jobs import triggers

    await _start_all(client, await asyncio.to_thread(lambda: list(triggers.missed_files(_here()))))


# -- looking after jobs


@app.timer_trigger(arg_name="timer", schedule="%WATCHDOG_SCHEDULE%", run_on_startup=False, use_monitor=True)
@app.durable_client_input(client_name="client")
async def watchdog(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Tell of what is late, stuck or poisoned; start again what can be; remove what is old."""
    from shared.jobs import watchdog as dog

    here = await asyncio.to_thread(_here)
    old = here.now() - dt.timedelta(seconds=here.settings.keep_jobs)
    listed = await dog.list_instances(lambda since, until: _unfinished(client, since, until), old, here.now())
    for stuck in dog.stuck(listed, here.now(), here.settings.stuck_after):
        try:
            await _restart(client, stuck, dog.children(stuck, listed))
        except Exception:  # noqa: BLE001 - one that cannot be mended must not keep the others from being seen
            _log.exception("job %s is stuck and could not be started again", stuck.instance.id)
        await asyncio.to_thread(here.alerts.tell, stuck.alert())
    await _start_all(client, await asyncio.to_thread(lambda: dog.check_all(here)))
    finished = [status for status in df.OrchestrationRuntimeStatus if status not in _UNFINISHED]
    await client.purge_instance_history_by(_EARLIEST, old, finished)


@app.route(route="jobs/{id}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def job(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """How a job stands, and what became of each of its files."""

    async def answer() -> Response:
        from shared.web import api

        id = api.job_id(req.route_params["id"])
        status = await client.get_status(id)
        told = _plain(status) if status else None
        return await asyncio.to_thread(lambda: api.job(_here(), id, told))

    return await _answered(answer)


@app.route(route="feeds/{feed}/{action:regex(^(run|backfill|pause|resume)$)}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def feed(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Run, backfill, pause or resume a feed."""

    async def answer() -> Response:
        from shared.web import api

        name, action = req.route_params["feed"], req.route_params["action"]
        starts = await asyncio.to_thread(lambda: api.run_action(_here(), name, action, req.get_body()))
        await _start_all(client, starts)
        return api.started_response(_here(), name, starts)

    return await _answered(answer)


@app.route(route="health", methods=["GET"])
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Whether the app is up; with ``?deep=true`` whether all it needs answers."""

    async def answer() -> Response:
        from shared.web import api

        return await asyncio.to_thread(lambda: api.health(_here(), deep=req.params.get("deep")))

    return await _answered(answer)


@app.route(route="openapi.json", methods=["GET"])
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """What this API is, as OpenAPI 3.1."""
    document = Path(__file__).with_name("shared") / "web" / "openapi.json"
    return func.HttpResponse(document.read_text(encoding="utf-8"), mimetype="application/json")


# -- jobs: how they go is in shared.jobs.orchestrations, what their activities do in shared.jobs.activities


def _activity(name: str) -> None:
    """Register the step *name*."""

    def step(ask: dict) -> dict:
        from shared.jobs import summaries

        answer: dict = summaries.do(_here(), name, ask)
        return answer

    step.__name__ = name
    app.activity_trigger(input_name="ask")(step)


for _orchestrator in orchestrations.ALL:
    app.orchestration_trigger(context_name="context")(_orchestrator)
for _name in orchestrations.STEPS:
    _activity(_name)


# -- translation


def _here() -> App:
    """The app of this process; opened on first use, which blocks."""
    from shared.app import current

    return current()


async def _start_all(client: df.DurableOrchestrationClient, starts: Iterable[Start]) -> None:
    """Start all that can be started; the first that cannot is raised at the end."""
    failures: list[Exception] = []
    for start in starts:
        try:
            await _start(client, start)
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)
    if failures:
        raise failures[0]


async def _start(client: df.DurableOrchestrationClient, start: Start) -> None:
    """Start a job, unless one of its id is not finished yet: the host refuses that, in one version or another."""
    for attempt in (1, 2):
        try:
            await client.start_new(start.orchestrator, instance_id=start.job, client_input=start.ask)
        except Exception as error:
            status = await client.get_status(start.job)
            if status and status.runtime_status in _UNFINISHED:
                _log.info("job %s is in hand already", start.job)
                return
            if attempt == 2:
                from shared.errors import TransientError

                raise TransientError(f"job {start.job} could not be started", fix="Try again") from error
            continue  # it has ended between the two questions, or the host was away for a moment
        _log.info("job %s is started", start.job)
        return


async def _restart(client: df.DurableOrchestrationClient, stuck: Stuck, children: Iterable[str]) -> None:
    """End a job with all its children, after its next attempt has been started."""
    id, retry = stuck.instance.id, stuck.retry
    if retry:
        from shared.jobs import triggers

        status = await client.get_status(id, show_input=True)
        ask = status.input_
        while isinstance(ask, str):  # JSON within JSON, how often depends on who started it
            ask = json.loads(ask)
        await asyncio.to_thread(lambda: triggers.remember_attempt(_here(), id, retry))
        await _start(client, triggers.Start(status.name, retry, ask))
    for one in (id, *children):
        await client.terminate(one, f"stuck; goes on as {retry}" if retry else "stuck")


async def _unfinished(client: df.DurableOrchestrationClient, since: dt.datetime, until: dt.datetime) -> list[Instance]:
    from shared.jobs.watchdog import Instance

    waiting = [df.OrchestrationRuntimeStatus.Pending, df.OrchestrationRuntimeStatus.Running]
    found = await client.get_status_by(since, until, waiting)
    return [
        Instance(
            one.instance_id, one.name, one.runtime_status.name, _aware(one.created_time), _aware(one.last_updated_time)
        )
        for one in found
    ]  # fmt: skip


def _plain(status: df.DurableOrchestrationStatus) -> dict[str, Any]:
    """What of the host's status is told on: none of its keys and links."""
    return {
        "orchestrator": status.name,
        "state": status.runtime_status.name.lower(),
        "created": _aware(status.created_time).isoformat(),
        "updated": _aware(status.last_updated_time).isoformat(),
        "progress": status.custom_status,
        "reason": status.output if status.runtime_status is df.OrchestrationRuntimeStatus.Terminated else None,
    }


def _aware(time: dt.datetime) -> dt.datetime:
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


async def _answered(answer: Callable[[], Awaitable[Response]]) -> func.HttpResponse:
    try:
        told = await answer()
    except Exception as error:  # noqa: BLE001 - whatever it is has an answer
        from shared.web import api

        told = api.error_response(error)
    return func.HttpResponse(
        json.dumps(told.body), status_code=told.status, headers=dict(told.headers), mimetype="application/json"
    )
