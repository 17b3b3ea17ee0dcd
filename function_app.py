"""The functions of the app: triggers, requests and activities of Azure, translated into calls of shared.

Nothing heavy is imported before a function runs, because the host indexes this module at every cold start. Functions
that use the Durable client are coroutines and do what blocks in a thread; activities are plain functions, which the
worker runs in threads of its own.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import os

from collections import deque
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
    from shared.jobs.request import Start
    from shared.jobs.watchdog import Instance, Stuck
    from shared.web.responses import Response

_log = logging.getLogger("sluice")
_UNFINISHED = {
    df.OrchestrationRuntimeStatus.Pending,
    df.OrchestrationRuntimeStatus.Running,
    df.OrchestrationRuntimeStatus.ContinuedAsNew,
    df.OrchestrationRuntimeStatus.Suspended,
}
_MAX_NAMED = 100
"""Jobs that a search names: its progress is kept small."""
_started: deque[str] = deque(maxlen=16)
"""The last jobs that this process has started for events, so that not each request costs a call of the host."""
_EARLIEST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

# -- what starts jobs


@app.blob_trigger(
    arg_name="file", path="exports/{name}", connection="ExportsStorage",
    source=func.BlobSource(trigger_source(os.environ)),
)  # fmt: skip
@app.durable_client_input(client_name="client")
async def on_export(file: blob.BlobClient, client: df.DurableOrchestrationClient) -> None:
    """Start the job of a file that arrived, unless it is running already."""
    from shared.jobs import triggers

    start = await asyncio.to_thread(lambda: triggers.file_arrived(_app(), file))
    await _start_all(client, [start] if start else [])


@app.route(route="webhooks/coolr", methods=["POST"])
@app.durable_client_input(client_name="client")
async def coolr_webhook(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Accept CoolR's notification that an export is ready. Nothing is downloaded before the answer."""

    async def respond() -> Response:
        from shared.web import responses
        from shared.web.webhooks import receive

        signature = req.headers.get("X-CoolR-Signature")
        start = await asyncio.to_thread(lambda: receive.export_notified(_app(), req.get_body(), signature))
        await _start(client, start)
        return responses.accepted_response(start.job, _app().settings)

    return await _http(respond)


@app.route(route="webhooks/hubspot", methods=["POST"])
@app.durable_client_input(client_name="client")
async def hubspot_webhook(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Accept HubSpot's events. HubSpot is not called before the answer."""

    async def respond() -> Response:
        from shared.web import responses
        from shared.web.webhooks import receive

        headers = {name.lower(): value for name, value in req.headers.items()}
        request = receive.Request(req.method, req.url, headers, req.get_body())
        accepted = await asyncio.to_thread(lambda: receive.objects_changed(_app(), request))
        for start in accepted.starts:
            await _start_once(client, start)
        return responses.events_response(accepted)

    return await _http(respond)


@app.timer_trigger(arg_name="timer", schedule="%SYNC_SCHEDULE%", run_on_startup=False, use_monitor=True)
@app.durable_client_input(client_name="client")
async def sync_due(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Start the syncs that are due. A late or missed tick changes nothing: each goes on from its watermark."""
    from shared.jobs import triggers

    await _start_all(client, await asyncio.to_thread(lambda: list(triggers.due_syncs(_app()))))


@app.timer_trigger(arg_name="timer", schedule="%RECONCILE_SCHEDULE%", run_on_startup=False, use_monitor=True)
@app.durable_client_input(client_name="client")
async def reconcile(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Start jobs for files that no event announced."""
    from shared.jobs import triggers

    await _start_all(client, await asyncio.to_thread(lambda: list(triggers.missed_files(_app()))))


# -- looking after jobs


@app.timer_trigger(arg_name="timer", schedule="%WATCHDOG_SCHEDULE%", run_on_startup=False, use_monitor=True)
@app.durable_client_input(client_name="client")
async def watchdog(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Alert about what is late, stuck or poisoned; restart what can be; remove what is old."""
    from shared.jobs import watchdog as checks

    opened = await asyncio.to_thread(_app)
    old = opened.now() - dt.timedelta(seconds=opened.settings.keep_jobs)
    listed = await checks.list_instances(lambda since, until: _unfinished(client, since, until), old, opened.now())
    for stuck in checks.stuck(listed, opened.now(), opened.settings.stuck_after):
        try:
            await _restart(client, stuck, checks.children(stuck, listed))
        except Exception:  # noqa: BLE001 - one that cannot be restarted must not keep the others from being checked
            _log.exception("job %s is stuck and could not be restarted", stuck.instance.id)
        await asyncio.to_thread(checks.send, opened, stuck.alert())
    await _start_all(client, await asyncio.to_thread(lambda: checks.check_all(opened)))
    finished = [status for status in df.OrchestrationRuntimeStatus if status not in _UNFINISHED]
    await client.purge_instance_history_by(_EARLIEST, old, finished)


@app.timer_trigger(arg_name="timer", schedule="%UPKEEP_SCHEDULE%", run_on_startup=False, use_monitor=True)
def upkeep(timer: func.TimerRequest) -> None:
    """Put small files of data lakes together and delete replaced ones; nothing where there is no lake."""
    from shared.jobs import upkeep as tables

    tables.tend_all(_app())


@app.route(route="jobs/{id}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def job(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """How a job stands, and what became of each of its files."""

    async def respond() -> Response:
        from shared.web import api

        id = api.job_id(req.route_params["id"])
        status = await client.get_status(id)
        host = _public(status) if status else None
        return await asyncio.to_thread(lambda: api.job(_app(), id, host))

    return await _http(respond)


@app.route(route="jobs/{id}/retry", methods=["POST"])
@app.durable_client_input(client_name="client")
async def retry(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Take up again what failed in a job."""

    async def respond() -> Response:
        from shared.web import api, responses

        id = api.job_id(req.route_params["id"])
        starts = await asyncio.to_thread(lambda: api.retry_job(_app(), id))
        await _start_all(client, starts)
        return responses.retried_response(id, starts, _app().settings)

    return await _http(respond)


@app.route(route="feeds", methods=["GET"])
async def feeds(req: func.HttpRequest) -> func.HttpResponse:
    """Every feed with its freshness and last run."""

    async def respond() -> Response:
        from shared.web import api

        return await asyncio.to_thread(lambda: api.feeds(_app(), req.params))

    return await _http(respond)


@app.route(route="feeds/{feed}/{action:regex(^(run|backfill|pause|resume)$)}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def feed(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Run, backfill, pause or resume a feed."""

    async def respond() -> Response:
        from shared.web import api, responses

        name, action = req.route_params["feed"], req.route_params["action"]
        starts = await asyncio.to_thread(lambda: api.run_action(_app(), name, action, req.get_body()))
        await _start_all(client, starts)
        return responses.started_response(name, starts, _app().settings)

    return await _http(respond)


@app.route(route="feeds/{feed}/rejects", methods=["POST"])
async def rejects(req: func.HttpRequest) -> func.HttpResponse:
    """Load corrected rejects of a feed, at once."""

    async def respond() -> Response:
        from shared.web import uploads

        name = req.route_params["feed"]
        return await asyncio.to_thread(lambda: uploads.corrected(_app(), name, req.get_body()))

    return await _http(respond)


@app.route(route="uploads", methods=["POST"])
async def upload(req: func.HttpRequest) -> func.HttpResponse:
    """Take a file to load, or say where to write it."""

    async def respond() -> Response:
        from shared.web import uploads

        return await asyncio.to_thread(lambda: uploads.created(_app(), req.params, req.get_body()))

    return await _http(respond)


@app.route(route="uploads/{id}/{action:regex(^(link|check|load)$)}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def act_on_upload(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Say anew where to write an upload, say what loading it would do, or load it."""

    async def respond() -> Response:
        from shared.web import responses, uploads

        id, action = req.route_params["id"], req.route_params["action"].lower()
        response, starts = await asyncio.to_thread(lambda: uploads.acted(_app(), id, action))
        await _start_all(client, starts)
        return response or responses.uploaded_response(id, starts, _app().settings)

    return await _http(respond)


@app.route(route="systems/{system}/run", methods=["POST"])
@app.durable_client_input(client_name="client")
async def system(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Sync the pull feeds of a system, all of them or those in ``?feeds=``."""

    async def respond() -> Response:
        from shared.web import api, responses

        name, feeds = req.route_params["system"], req.params.get("feeds")
        start = await asyncio.to_thread(lambda: api.run_system(_app(), name, feeds, req.get_body()))
        await _start(client, start)
        return responses.system_response(name, start, _app().settings)

    return await _http(respond)


@app.route(route="status/{*path}", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
@app.durable_client_input(client_name="client")
async def status(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """The status page. It asks for no key of the host, because people sign in there: shared.web.pages checks who."""
    from shared.web.pages import site

    opened = await asyncio.to_thread(_app)
    request = site.request_of(opened.settings, req.method, req.route_params, req.params, req.headers, req.get_body())
    page = await asyncio.to_thread(lambda: site.respond(opened, request))
    try:
        await _start_all(client, page.starts)
    except Exception as error:  # noqa: BLE001 - every error has a page
        page = site.failed(request, error)
    return func.HttpResponse(page.body, status_code=page.status, headers=page.http_headers)


@app.route(route="health", methods=["GET"])
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Whether the app is up; with ``?deep=true`` whether all it needs answers."""

    async def respond() -> Response:
        from shared.web import api

        return await asyncio.to_thread(lambda: api.health(_app(), deep=req.params.get("deep")))

    return await _http(respond)


@app.route(route="openapi.json", methods=["GET"])
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """This API as an OpenAPI 3.1 document."""
    document = Path(__file__).with_name("shared") / "web" / "openapi.json"
    return func.HttpResponse(document.read_text(encoding="utf-8"), mimetype="application/json")


# -- jobs: their course is in shared.jobs.orchestrations, what their activities do in shared.jobs.activities


def _register(name: str) -> None:
    def activity(request: dict) -> dict:
        from shared.jobs import activities

        return activities.run_activity(_app(), name, request)

    activity.__name__ = name
    app.activity_trigger(input_name="request")(activity)


@app.activity_trigger(input_name="request")
@app.durable_client_input(client_name="client")
async def start_found(request: dict, client: df.DurableOrchestrationClient) -> dict:
    """Look for files that are not loaded, and start their jobs. What runs already or is loaded is not started again."""
    from shared.jobs import triggers
    from shared.jobs.request import Start
    from shared.model import from_json

    search = from_json(Start, request)
    found = await asyncio.to_thread(lambda: triggers.found_files(_app(), search))
    await _start_all(client, found)
    return {"units": len(found), "jobs": [start.job for start in found[:_MAX_NAMED]]}


for _orchestrator in orchestrations.ORCHESTRATORS:
    app.orchestration_trigger(context_name="context")(_orchestrator)
for _name in orchestrations.ACTIVITIES:
    _register(_name)


# -- translation


def _app() -> App:
    """The app of this process. Its first use opens it, which blocks."""
    from shared.app import current

    return current()


async def _start_all(client: df.DurableOrchestrationClient, starts: Iterable[Start]) -> None:
    """Start all that can be started; the first failure is raised at the end."""
    failures: list[Exception] = []
    for start in starts:
        try:
            await _start(client, start)
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)
    if failures:
        raise failures[0]


async def _start_once(client: df.DurableOrchestrationClient, start: Start) -> None:
    """Start a job that has the requests of a span of time, unless this process has started it already."""
    if start.job not in _started:
        await _start(client, start)
        _started.append(start.job)


async def _start(client: df.DurableOrchestrationClient, start: Start) -> None:
    """Start a job, unless one with its id is running: the host refuses that, in one way or another."""
    for attempt in (1, 2):
        try:
            await client.start_new(start.work.orchestrator, instance_id=start.job, client_input=start.input)
        except Exception as error:
            status = await client.get_status(start.job)
            if status and status.runtime_status in _UNFINISHED:
                _log.info("job %s is already running", start.job)
                return
            if attempt == 2:
                from shared.errors import TransientError

                raise TransientError(f"job {start.job} could not be started", fix="Try again") from error
            continue  # it ended between the two calls, or the host was unreachable for a moment
        _log.info("job %s started", start.job)
        return


async def _restart(client: df.DurableOrchestrationClient, stuck: Stuck, children: Iterable[str]) -> None:
    """Terminate a job with all its children, once its next attempt has been started."""
    id, retry = stuck.instance.id, stuck.retry
    if retry:
        from shared.jobs import triggers
        from shared.jobs.request import Start
        from shared.model import from_json

        status = await client.get_status(id, show_input=True)
        given = status.input_
        while isinstance(given, str):  # JSON within JSON; how deep depends on who started it
            given = json.loads(given)
        await asyncio.to_thread(lambda: triggers.remember_attempt(_app().documents, id, retry))
        await _start(client, from_json(Start, {**given, "job": retry}))
    for one in (id, *children):
        await client.terminate(one, f"stuck; restarted as {retry}" if retry else "stuck")


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


def _public(status: df.DurableOrchestrationStatus) -> dict[str, Any]:
    """What of the host's status may be shown: none of its keys and links."""
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


async def _http(respond: Callable[[], Awaitable[Response]]) -> func.HttpResponse:
    try:
        response = await respond()
    except Exception as error:  # noqa: BLE001 - every error has an answer
        from shared.web import responses

        response = responses.error_response(error)
    return func.HttpResponse(
        json.dumps(response.body), status_code=response.status, headers=dict(response.headers),
        mimetype="application/json",
    )  # fmt: skip
