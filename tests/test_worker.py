"""The Python worker of Azure Functions takes function_app.py, and hands the host the bindings that were meant."""

from __future__ import annotations

import json
import subprocess
import sys

from pathlib import Path

import pytest

from tests.standins.worker import environment, rules
from tests.standins.worker.environment import Interpreter, ours, tried
from tests.standins.worker.samples import FAILING, GOOD, REFUSED

ROOT = Path(__file__).parents[1]
FIELDS = {
    "type", "direction", "name", "path", "connection", "source", "route", "methods", "authLevel", "schedule",
    "runOnStartup", "useMonitor",
}  # fmt: skip
"""What of a binding matters to us."""
HEAVY = {"duckdb", "paramiko", "psycopg", "pyarrow", "pymysql", "pyodbc", "shared.app", "sqlalchemy"}


def takes(kind, name, **rest):
    return {"type": kind, "direction": "IN", "name": name, **rest}


def http(method, route):
    trigger = takes("httpTrigger", "req", route=route, methods=[method], authLevel="FUNCTION")
    return [trigger, {"type": "http", "direction": "OUT", "name": "$return"}]


def pages(route):
    trigger = takes("httpTrigger", "req", route=route, methods=["GET", "POST"], authLevel="ANONYMOUS")
    return [trigger, {"type": "http", "direction": "OUT", "name": "$return"}]


def timer(setting):
    return takes("timerTrigger", "timer", schedule=f"%{setting}%", runOnStartup=False, useMonitor=True)


def blob(name, path, connection, *, source="EventGrid"):
    return takes("blobTrigger", name, path=path, connection=connection, source=source)


CLIENT = takes("durableClient", "client")
ORCHESTRATION = takes("orchestrationTrigger", "context")
ACTIVITY = takes("activityTrigger", "request")

EXPECTED = {
    "on_export": [blob("file", "exports/{name}", "ExportsStorage"), CLIENT],
    "coolr_webhook": [*http("POST", "webhooks/coolr"), CLIENT],
    "hubspot_webhook": [*http("POST", "webhooks/hubspot"), CLIENT],
    "sync_due": [timer("SYNC_SCHEDULE"), CLIENT],
    "reconcile": [timer("RECONCILE_SCHEDULE"), CLIENT],
    "watchdog": [timer("WATCHDOG_SCHEDULE"), CLIENT],
    "upkeep": [timer("UPKEEP_SCHEDULE")],
    "job": [*http("GET", "jobs/{id}"), CLIENT],
    "retry": [*http("POST", "jobs/{id}/retry"), CLIENT],
    "feeds": http("GET", "feeds"),
    "feed": [*http("POST", "feeds/{feed}/{action:regex(^(run|backfill|pause|resume)$)}"), CLIENT],
    "rejects": http("POST", "feeds/{feed}/rejects"),
    "upload": http("POST", "uploads"),
    "act_on_upload": [*http("POST", "uploads/{id}/{action:regex(^(link|check|load)$)}"), CLIENT],
    "system": [*http("POST", "systems/{system}/run"), CLIENT],
    "status": [*pages("status/{*path}"), CLIENT],
    "health": http("GET", "health"),
    "openapi": http("GET", "openapi.json"),
    "start_found": [ACTIVITY, CLIENT],
    **{
        name: [ORCHESTRATION]
        for name in (
            "file_job",
            "export_job",
            "search_job",
            "system_job",
            "lane",
            "table",
            "batch",
            "unit",
            "stage_slice",
            "pieces",
        )
    },
    **{
        name: [ACTIVITY]
        for name in (
            "open_units",
            "open_tables",
            "take_table",
            "finish_table",
            "plan",
            "stage",
            "record_failure",
            "publish",
            "fail",
            "tidy",
            "finish",
        )
    },
}
"""Every function of the app and its bindings."""

GOOD_EXPECTED = {
    "on_export": [blob("export", "exports/{name}", "ExportsStorage"), CLIENT],
    "webhook": http("POST", "webhooks/{source}"),
    "sync_due": [timer("SYNC_SCHEDULE")],
    "export": [ORCHESTRATION],
    "load": [ACTIVITY],
}

SIMPLE_RULES = (
    rules.unknown_triggers,
    rules.timers_at_start,
    rules.forgetful_timers,
    rules.open_routes,
    rules.reserved_routes,
    rules.shared_routes,
    rules.polled_blobs,
)
"""Those that look at functions alone."""


# -- the app in this checkout


def test_worker_takes_exactly_the_functions_that_are_planned(indexed):
    """What is deployed is found, loaded and bound as the table says; nothing more, nothing less."""
    assert reduced(EXPECTED) == reduced(by_name(indexed))


def test_sdk_tells_the_same_bindings(reported):
    """Also where there is no worker, and on the other Pythons."""
    assert reduced(EXPECTED) == reduced(reported)


def test_host_learns_that_the_worker_has_indexed(indexed):
    """Without that it looks for a function.json in a folder of each function's name."""
    assert {"True"} == {function["properties"].get("worker_indexed") for function in indexed["functions"]}


def test_a_blob_comes_as_a_client_and_never_as_its_content(indexed):
    """The host hands on a reference; a file of many gigabytes never travels through the worker."""
    (trigger,) = [b for b in by_name(indexed)["on_export"] if b["type"] == "blobTrigger"]

    assert {"SupportsDeferredBinding": True} == trigger["properties"]


def test_steps_run_in_threads_and_clients_in_the_loop():
    """A coroutine that blocks would stop all others; a plain function cannot use the client."""
    kinds = printed(
        "import inspect; from function_app import app; "
        "found = [builder.build(app.auth_level) for builder in app._function_builders]; "
        "print(json.dumps([[f.get_trigger().type, any(b.type == 'durableClient' for b in f.get_bindings()), "
        "inspect.iscoroutinefunction(f.get_user_function())] for f in found]))",
        ROOT,
    )

    steps = [(client, loop) for kind, client, loop in kinds if kind == "activityTrigger"]
    assert {(False, False), (True, True)} == set(steps)
    assert 1 == steps.count((True, True)), "only the one that starts jobs has a client"
    assert {True} == {loop for _, client, loop in kinds if client}


def test_blob_source_is_a_setting_of_the_app(worker):
    """A laptop with Azurite, which sends no events, has to poll."""
    polled = worker.index(ROOT, BLOB_TRIGGER_SOURCE="LogsAndContainerScan")

    assert reduced(polling(EXPECTED)) == reduced(by_name(polled))


def test_sdk_tells_the_blob_source_of_the_setting():
    """Also where there is no worker."""
    assert reduced(polling(EXPECTED)) == reduced(sdk(ROOT, BLOB_TRIGGER_SOURCE="LogsAndContainerScan"))


def test_health_answers_through_the_worker(worker, tmp_path):
    """A request comes in as the worker makes it, and the answer can be sent."""
    places = {
        "WAREHOUSE_URL": f"duckdb:///{tmp_path}/warehouse.duckdb",
        "LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
    }

    judged = worker.invoke(ROOT, "health", {"req": {"http": {"url": "https://app.test/api/health"}}}, **places)

    assert judged["error"] is None
    assert (None, 200) == (judged["answer"]["error"], judged["answer"]["value"]["status"])
    assert "ok" == json.loads(judged["answer"]["value"]["body"])["status"]


def test_cold_start_of_the_worker_imports_nothing_heavy(indexed):
    """Each instance pays for the SDK alone before its first call."""
    assert set() == HEAVY & set(indexed["modules"])


def test_cold_import_of_the_app_imports_nothing_heavy():
    """Also where there is no worker."""
    assert [] == printed(f"import function_app; print(json.dumps(sorted({HEAVY} & set(sys.modules))))", ROOT)


# -- rules for all its functions


def test_every_function_has_one_trigger_that_is_known(reported):
    """A new kind gets a rule of its own first."""
    assert [] == rules.unknown_triggers(reported)


def test_no_timer_fires_when_an_instance_starts(reported):
    """Scaling out is no reason to sync."""
    assert [] == rules.timers_at_start(reported)


def test_every_timer_makes_up_for_a_missed_run(reported):
    """An instance that was not there is no reason to skip a day."""
    assert [] == rules.forgetful_timers(reported)


def test_every_schedule_is_a_setting_with_a_good_sample(reported):
    """An operator changes it without a deployment, and sees how it is written: six fields, seconds first."""
    assert [] == rules.wrong_schedules(reported, sample_settings())


def test_every_route_asks_for_a_key(reported):
    """There is nothing here for everybody, and nobody should need the master key."""
    assert [] == rules.open_routes(reported)


def test_no_route_begins_like_the_hosts_own(reported):
    """The host leaves such a function out."""
    assert [] == rules.reserved_routes(reported)


def test_no_two_functions_answer_the_same_call(reported):
    """The host leaves one of them out."""
    assert [] == rules.shared_routes(reported)


def test_blobs_are_announced_by_event_grid(reported):
    """Flex Consumption knows no other way, and refuses an app that asks for one."""
    assert [] == rules.polled_blobs(reported)


# -- the rules can fail


@pytest.mark.parametrize(
    ("rule", "binding"),
    [
        (rules.unknown_triggers, takes("queueTrigger", "message")),
        (rules.unknown_triggers, CLIENT),
        (rules.timers_at_start, timer("S") | {"runOnStartup": True}),
        (rules.timers_at_start, takes("timerTrigger", "timer", schedule="%S%")),
        (rules.forgetful_timers, timer("S") | {"useMonitor": False}),
        (rules.forgetful_timers, takes("timerTrigger", "timer", schedule="%S%")),
        (rules.open_routes, http("GET", "a")[0] | {"authLevel": "ANONYMOUS"}),
        (rules.open_routes, http("GET", "a")[0] | {"authLevel": "ADMIN"}),
        (rules.open_routes, takes("httpTrigger", "req", route="a")),
        (rules.reserved_routes, http("GET", "admin/jobs")[0]),
        (rules.reserved_routes, http("GET", "/Runtime")[0]),
        (rules.polled_blobs, blob("b", "exports/{name}", "C", source="LogsAndContainerScan")),
        (rules.polled_blobs, takes("blobTrigger", "b", path="exports/{name}", connection="C")),
    ],
)
def test_breaking_a_rule_is_found(rule, binding):
    """In a single function, whether it says the wrong thing or leaves it to a default."""
    assert 1 == len(rule({"a": [binding]}))


def test_two_triggers_are_found():
    """One function starts in one way."""
    assert ["a: ['timerTrigger', 'activityTrigger']"] == rules.unknown_triggers({"a": [timer("S"), ACTIVITY]})


def test_route_that_is_not_given_is_the_functions_name():
    """So that a function may be reserved by its name alone."""
    assert ["admin_jobs: admin_jobs"] == rules.reserved_routes({"admin_jobs": [takes("httpTrigger", "req")]})


@pytest.mark.parametrize(
    "other",
    [
        http("GET", "jobs/{id}"),
        http("get", "/Jobs/{name}/"),
        [takes("httpTrigger", "req", route="jobs/{id}", methods=["POST", "GET"])],
        [takes("httpTrigger", "req", route="jobs/{id}")],
    ],
)
def test_two_functions_for_one_call_are_found(other):
    """However the route is spelled; and no method means every method."""
    assert ["a and b: jobs/{id}"] == rules.shared_routes({"a": http("GET", "jobs/{id}"), "b": other})


@pytest.mark.parametrize(
    ("schedule", "value"),
    [
        ("0 0 2 * * *", ""),
        ("%OTHER%", "0 0 2 * * *"),
        ("%S%", ""),
        ("%S%", "0 2 * * *"),
        ("%S%", "0 0 0 2 * * *"),
        ("%S%", "* 0 2 * * *"),
        ("%S%", "60 0 2 * * *"),
        ("%S%", "0 0 24 * * *"),
        ("%S%", "0 0 2 0 * *"),
        ("%S%", "0 0 2 * FEBR *"),
        ("%S%", "0 0 2 * * 7"),
        ("%S%", "0 0 5-2 * * *"),
        ("%S%", "0 */0 * * * *"),
        ("%S%", "0 1,,2 * * * *"),
        ("%S%", "00:15:00"),
    ],
)
def test_schedule_that_the_host_cannot_read_is_found(schedule, value):
    """It would leave the function out, and only a log would say so."""
    assert 1 == len(rules.wrong_schedules({"a": [timer("S") | {"schedule": schedule}]}, {"S": value}))


def test_good_app_breaks_no_rule(good):
    """What is meant is not found."""
    functions = sdk(good)

    assert [] == rules.wrong_schedules(functions, {"SYNC_SCHEDULE": "0 1-59/15 6,18 * JAN-MAR MON"})
    assert {} == {rule.__name__: rule(functions) for rule in SIMPLE_RULES if rule(functions)}


def test_routes_may_be_shared_by_methods():
    """To read and to write are two functions."""
    assert [] == rules.shared_routes({"a": http("GET", "jobs/{id}"), "b": http("DELETE", "jobs/{id}")})


# -- the worker as a judge


def test_worker_takes_a_function_of_each_kind(worker, good):
    """Its bindings are those of the table, and it says which library judged."""
    judged = worker.index(good)

    assert (True, None) == (judged["ok"], judged["error"])
    assert environment.RUNTIME.endswith(f"=={judged['worker']}")
    assert reduced(GOOD_EXPECTED) == reduced(by_name(judged))


def test_worker_and_sdk_agree(worker, good):
    """So the one may stand in for the other: nothing that matters differs."""
    assert reduced(by_name(worker.index(good))) == reduced(sdk(good))


def test_worker_hands_on_the_source_of_the_setting(worker, good):
    """The environment decides when the app is indexed."""
    polled = worker.index(good, BLOB_TRIGGER_SOURCE="LogsAndContainerScan")

    assert reduced(polling(GOOD_EXPECTED)) == reduced(by_name(polled))


@pytest.mark.parametrize("case", REFUSED)
def test_worker_refuses(worker, tmp_path, case):
    """An app that Azure would show without functions is refused here, with the reason."""
    text, reason = REFUSED[case]

    judged = worker.index(app(tmp_path, text))

    assert (False, []) == (judged["ok"], judged["functions"])
    assert reason in judged["error"]


def test_worker_refuses_a_folder_without_an_app(worker, tmp_path):
    """A package that was built in the wrong place."""
    assert "there is no function_app.py" == worker.index(tmp_path)["error"]


@pytest.mark.parametrize("case", FAILING)
def test_worker_takes_what_it_cannot_run(worker, tmp_path, case):
    """Indexing does not find everything: functions have to be invoked, too."""
    text, inputs, reason = FAILING[case]

    judged = worker.invoke(app(tmp_path, text), "asked", inputs)

    assert (True, False) == (judged["ok"], judged["answer"]["ok"])
    assert reason in judged["answer"]["error"]


def test_http_request_arrives_whole(worker, good):
    """Method, parameters, header and body come in, status and body go out; what is printed stays out of the answer."""
    request = {
        "method": "POST",
        "url": "https://app.test/api/webhooks/crm?page=2",
        "params": {"source": "crm"},
        "query": {"page": "2"},
        "headers": {"x-id": "7"},
        "body": "höhe",
    }

    answer = worker.invoke(good, "webhook", {"req": {"http": request}})["answer"]

    assert (202, "POST crm 2 7 höhe") == (answer["value"]["status"], answer["value"]["body"])


def test_activity_takes_and_gives_json(worker, good):
    """As Durable sends it."""
    answer = worker.invoke(good, "load", {"request": {"json": {"rows": 3}}})["answer"]

    assert {"ok": True, "error": None, "value": {"got": {"rows": 3}}} == answer


def test_error_of_a_function_is_reported(worker, good):
    """The worker goes on; the call has failed."""
    answer = worker.invoke(good, "sync_due", {"timer": {"json": {"IsPastDue": True}}})["answer"]

    assert {"ok": False, "error": "RuntimeError('nothing to sync')", "value": None} == answer


# -- the environment


def test_running_interpreter_tells_its_version(monkeypatch):
    """It can make environments, or there would be none to run this test in."""
    monkeypatch.setattr(environment, "PYTHON", sys.version_info[:2])

    assert Interpreter(sys.executable, sys.version_info[:3], sys.base_prefix) == tried(sys.executable)


def test_interpreter_of_another_version_is_refused(monkeypatch):
    """Whatever it is called."""
    monkeypatch.setattr(environment, "PYTHON", (3, 99))

    assert "it is Python {}.{}".format(*sys.version_info) == tried(sys.executable)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'pyenv: python3.13: command not found' >&2; exit 127", "pyenv: python3.13: command not found"),
        (
            "echo 'Traceback (most recent call last):\nImportError: no ensurepip' >&2; exit 1",
            "ImportError: no ensurepip",
        ),
        ("exit 3", "it ended with 3"),
        ("echo Python 3.13", "it says 'Python 3.13'"),
    ],
)
def test_shim_that_fails_is_not_believed(tmp_path, script, expected):
    """A version manager puts a command on the path for each version that it knows of."""
    shim = tmp_path / "python3.13"
    shim.write_text(f"#!/bin/sh\n{script}\n")
    shim.chmod(0o755)

    assert expected == tried(str(shim))


def test_command_that_is_not_there_is_refused(tmp_path):
    """A link that leads nowhere, say."""
    assert "No such file" in tried(str(tmp_path / "python3.13"))


@pytest.mark.parametrize(
    ("complaint", "expected"),
    [
        ("ERROR: Cannot install a==1 and b==2 because ...\nERROR: ResolutionImpossible: for help", True),
        ("ERROR: No matching distribution found for duckdb==9.0", True),
        ("WARNING: Retrying after connection broken\nERROR: No matching distribution found for duckdb==2.0", False),
        ("ERROR: Could not install packages due to an OSError: No space left on device", False),
    ],
)
def test_only_what_is_our_fault_fails(complaint, expected):
    """Pins that clash, or have no wheel, are a mistake; a machine without a network, or without room, is none."""
    assert expected == ours(complaint)


def test_missing_interpreter_skips_and_says_what_was_tried(monkeypatch):
    """So that a contributor knows what to install."""
    monkeypatch.setattr(environment, "candidates", lambda: iter([sys.executable]))
    monkeypatch.setattr(environment, "PYTHON", (3, 99))

    with pytest.raises(pytest.skip.Exception, match=r"needs Python 3\.99 with venv: .*: it is Python 3\.1"):
        environment.worker()


def test_half_an_installation_never_counts(installing):
    """What pip left unfinished is made again; what is finished is used."""
    installing.complaint = "ERROR: No space left on device"
    with pytest.raises(pytest.skip.Exception, match="cannot be installed: No space left on device"):
        environment.worker()
    installing.complaint = None

    first, second = environment.worker(), environment.worker()

    assert first == second
    assert 2 == sum("venv" in command for command in installing.commands)


def test_pins_that_clash_fail(installing):
    """They would fail in Azure, too."""
    installing.complaint = "ERROR: ResolutionImpossible: for help"

    with pytest.raises(pytest.fail.Exception, match="cannot be installed together: ResolutionImpossible"):
        environment.worker()


def test_other_requirements_get_another_environment(installing, monkeypatch, tmp_path):
    """What was installed for earlier pins says nothing about these."""
    first = environment.worker()
    (tmp_path / "requirements.txt").write_text("cronsim==2.8\n")
    monkeypatch.setattr(environment, "REQUIREMENTS", tmp_path / "requirements.txt")

    assert first != environment.worker()


@pytest.fixture(scope="session")
def worker():
    """The worker library; tests that need it are skipped where it cannot be had."""
    return environment.worker()


@pytest.fixture(scope="module")
def indexed(worker):
    """What the worker finds in this checkout."""
    judged = worker.index(ROOT)

    assert judged["error"] is None
    return judged


@pytest.fixture(scope="module")
def reported():
    """The functions of this checkout and their bindings, by the SDK in the Python that runs the tests."""
    return sdk(ROOT)


class Installing:
    """What would be installed: nothing is, and the last step may fail."""

    def __init__(self):
        self.complaint = None
        self.commands = []

    def complaint_of(self, command):
        self.commands.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir()
        return self.complaint if "-r" in command else None


@pytest.fixture
def installing(monkeypatch, tmp_path):
    """A cache of its own, and the interpreter that runs the tests."""
    fake = Installing()
    monkeypatch.setattr(environment, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(environment, "PYTHON", sys.version_info[:2])
    monkeypatch.setattr(environment, "candidates", lambda: iter([sys.executable]))
    monkeypatch.setattr(environment, "complaint_of", fake.complaint_of)
    return fake


@pytest.fixture
def good(tmp_path):
    return app(tmp_path, GOOD)


def app(folder, text):
    (folder / "function_app.py").write_text(text)
    return folder


def by_name(judged):
    return {function["name"]: function["bindings"] for function in judged["functions"]}


def reduced(functions):
    """What matters, in an order that does not depend on that of decorators."""
    return {
        name: sorted(({k: v for k, v in b.items() if k in FIELDS} for b in bindings), key=lambda b: b["type"])
        for name, bindings in functions.items()
    }


def polling(functions):
    """The same functions with blob triggers that poll."""
    return {
        name: [b | {"source": "LogsAndContainerScan"} if b["type"] == "blobTrigger" else b for b in bindings]
        for name, bindings in functions.items()
    }


def sdk(folder, **env):
    """Each function's bindings by its name, by the SDK: an app is indexed once per process."""
    show = "{f.get_function_name(): [json.loads(b) for b in f.get_raw_bindings()] for f in found}"
    return printed(
        f"from function_app import app; found = app.get_functions(); print(json.dumps({show}))", folder, **env
    )


def printed(code, folder, **env):
    """What the code prints as JSON in an interpreter of its own."""
    command = [sys.executable, "-c", f"import json, sys; {code}"]
    environ = environment.without_steering() | env
    ran = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def sample_settings():
    return json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
