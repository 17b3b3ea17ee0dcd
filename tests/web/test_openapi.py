"""What shared/web/openapi.json says of the API and what the functions answer over HTTP are the same."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
import threading
import tomllib
import zlib

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

import jsonschema_rs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
import schemathesis
import stamina

from hypothesis import Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation

import function_app
import shared.app

from shared import catalog
from shared.errors import ConfigError, ConflictError, TransientError
from shared.web import api, responses
from shared.web.responses import Response
from tests.exports import START, open_test_app
from tests.servers.web import served
from tests.standins.functions_host import FunctionsHost, functions_host
from tests.web.hostile_webhooks import HEADER, signature

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads((ROOT / "shared" / "web" / "openapi.json").read_text(encoding="utf-8"))
VERBS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
CLIENT, SECRET, FEED, PULLED = "Contoso", "a secret of both sides", "coolr.location", "shop.item"
NOTIFY, EVENTS, JOB = "POST /webhooks/coolr", "POST /webhooks/hubspot", "GET /jobs/{id}"
BACKFILL = "POST /feeds/{feed}/backfill"
FEEDS, UPLOAD, REJECTS = "GET /feeds", "POST /uploads", "POST /feeds/{feed}/rejects"
ANSWERS = {
    NOTIFY: {202, 400, 401},
    EVENTS: {401},
    JOB: {200, 404},
    "POST /jobs/{id}/retry": {404},
    "GET /feeds": {200},
    "POST /feeds/{feed}/run": {202, 400, 404},
    "POST /feeds/{feed}/backfill": {202, 400, 404},
    "POST /feeds/{feed}/pause": {202, 400, 404},
    "POST /feeds/{feed}/resume": {202, 400, 404},
    "POST /systems/{system}/run": {202, 400, 404},
    REJECTS: {400, 404},
    UPLOAD: {400, 404},
    "POST /uploads/{id}/link": {404},
    "POST /uploads/{id}/check": {404},
    "POST /uploads/{id}/load": {404},
    "GET /health": {200},
    "GET /openapi.json": {200},
}
"""What made-up requests have to be answered with at least, for the comparison to mean something."""
THE_HOSTS = ("ignored_auth", "unsupported_method", "allow_header_conformance")
"""Checks of what Azure's host does before it calls a function: keys, and methods that no function has."""


def closed(document):
    """*document*, its answers without any field that it does not name."""
    strict = copy.deepcopy(document)
    for schema in strict["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return strict


documented = schemathesis.openapi.from_dict(
    closed(DOCUMENT),
    config=schemathesis.Config.from_dict({
        "seed": 20260224,
        "generation": {"deterministic": True, "max-examples": 25, "database": "none"},
        "phases": {"coverage": {"unexpected-methods": []}},
        "checks": {
            **{name: {"enabled": False} for name in THE_HOSTS},
            "negative_data_rejection": {"expected-statuses": ["400", "401", "404", "413"]},
        },
    }),
)  # fmt: skip


# -- the document


def test_document_is_openapi():
    """By the schema that the specification has of itself."""
    assert DOCUMENT["openapi"].startswith("3.1.")
    documented.validate()


def test_what_is_no_openapi_is_seen():
    """The check above can fail."""
    with pytest.raises(jsonschema_rs.ValidationError):
        schemathesis.openapi.from_dict({**DOCUMENT, "paths": {"/x": {"get": {"responses": []}}}}).validate()


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_schema_is_json_schema(name):
    """OpenAPI's own schema lets anything pass for one."""
    jsonschema_rs.meta.validate(DOCUMENT["components"]["schemas"][name])


def test_examples_fit_their_schemas():
    """Whoever copies one sends, or expects, what is right."""
    shown = list(examples(DOCUMENT))

    assert len(shown) > 12
    for schema, value in shown:
        jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def test_references_lead_to_all_components():
    """None to what is not there, and nothing is there for nobody."""
    reported = set(re.findall(r'"\$ref": "#/components/(\w+/\w+)"', json.dumps(DOCUMENT)))

    there = {f"{kind}/{name}" for kind, named in DOCUMENT["components"].items() for name in named}
    assert {name for name in there if not name.startswith("securitySchemes/")} == reported


def test_document_is_what_the_app_answers(site):
    """Nothing is lost on the way."""
    answer = requests.get(f"{site.url}/openapi.json", timeout=60)

    assert DOCUMENT == answer.json()


def test_paths_are_the_routes_of_the_app():
    """Neither is without the other."""
    described = {
        (method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item if method in VERBS
    }

    assert described == set(routes())


def test_document_is_in_the_package():
    """Else an installed app would have none to show."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert "web/openapi.json" in project["tool"]["setuptools"]["package-data"]["shared"]


def examples(node):
    """Each example of *node* with its schema."""
    if isinstance(node, list):
        for one in node:
            yield from examples(one)
    elif isinstance(node, dict):
        if "schema" in node:
            shown = [resolved(one)["value"] for one in node.get("examples", {}).values()]
            yield from (
                (node["schema"], value) for value in [*shown, *([node["example"]] if "example" in node else [])]
            )
        for one in node.values():
            yield from examples(one)


def resolved(node):
    found = DOCUMENT
    for part in node.get("$ref", "").removeprefix("#").split("/")[1:]:
        found = found[part]
    return found if "$ref" in node else node


def routes():
    """Method and path of each HTTP function; one that is bound to several words stands for as many paths."""
    for builder in function_app.app._function_builders:
        trigger = builder.build(function_app.app.auth_level).get_trigger()
        if trigger.type == "httpTrigger" and not str(trigger.route).startswith("status/"):  # pages, no API
            for method in trigger.methods:
                yield from ((method.value, f"/{path}") for path in spelled_out(trigger.route))


def spelled_out(route):
    choice = re.search(r"\{\w+:regex\(\^\((.+?)\)\$\)\}", route)
    return [route.replace(choice[0], word) for word in choice[1].split("|")] if choice else [route]


# -- a site with jobs in every state


@dataclass
class Site:
    """The API over HTTP."""

    host: FunctionsHost
    url: str
    exports: str
    """Address of the files that notifications link to."""
    jobs: list[str] = field(default_factory=list)
    answered: dict[str, set[int]] = field(default_factory=dict)
    """By operation."""

    def notify(self, *names):
        body = json.dumps(notification(self.exports, names)).encode()
        answer = requests.post(f"{self.url}/webhooks/coolr", data=body, auth=Signed(), timeout=60)
        self.jobs.append(answer.json()["job"])
        return self.jobs[-1]

    def settle(self, answer):
        """Wait for the jobs that an answer names: whoever asks for one just when it ends is answered with 503."""
        reported = answer.json() if answer.status_code == 202 else {}
        for job in {reported.get("job"), *(one["job"] for one in reported.get("jobs", ()))} - {None, self.jobs[-1]}:
            self.host.durable.wait(job)


class Signed(requests.auth.AuthBase):
    """Signs a request with what its body has become by then."""

    def __call__(self, request):
        body = request.body or b""
        request.headers[HEADER] = signature(body if isinstance(body, bytes) else body.encode(), SECRET)
        return request


def notification(exports, names):
    files = [{"fileName": name, "downloadUrl": f"{exports}/exports/{name}"} for name in names]
    return {"clientName": CLIENT, "exportType": "Delta", "exportDateTime": START.isoformat(), "files": files}


def parquet(key):
    rows = [{key: n, "ModifiedOn": START.replace(tzinfo=None), "IsDeleted": False} for n in range(3)]
    content = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), content)
    return content.getvalue().to_pybytes()


def catalog_with_a_pull_feed(folder):
    shutil.copytree(catalog.PACKAGED, folder)
    (folder / "shop.toml").write_text('[system]\nname = "shop"\nsource = "sql"\n[tables]\nitem = { keys = ["Id"] }\n')
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    """Jobs of it are done, partly done, failed and running; nothing is asked of any other machine."""
    folder, hold = tmp_path_factory.mktemp("site"), threading.Event()
    with ExitStack() as opened:
        serving = served()
        files = serving.__enter__()
        opened.callback(serving.__exit__, None, None, None)  # it would go on serving after an error
        opened.enter_context(stamina.set_testing(True, attempts=1))
        app = open_test_app(
            folder, STATE_URL=f"{folder}/state", CATALOG_PATH=str(catalog_with_a_pull_feed(folder / "catalog")),
            COOLR_CLIENT=CLIENT, COOLR_WEBHOOK_SECRET=SECRET, COOLR_WEBHOOK_HOSTS=files.url.removeprefix("http://"),
            HUBSPOT_WEBHOOK_SECRET=SECRET, HUBSPOT_WEBHOOK_ACCOUNT="62515", HUBSPOT_WEBHOOK_SIGNATURE="v1",
        )  # fmt: skip
        host = opened.enter_context(functions_host(app, opened.enter_context(pytest.MonkeyPatch.context())))
        site = Site(host, opened.enter_context(host.listening()), files.url)
        opened.callback(hold.set)

        files.puts("/exports/location.parquet", parquet("LocationId"))
        files.puts("/exports/product.parquet", parquet("ProductId"))
        files.puts("/exports/asset.parquet", b"no Parquet at all")
        files.answers["/exports/order.parquet"] = lambda _: (404, {}, b"") if hold.wait() else None
        for names in (["location.parquet"], ["asset.parquet", "product.parquet"], ["asset.parquet"]):
            host.durable.wait(site.notify(*names))
        site.notify("order.parquet")
        yield site
    vars(app.warehouse).pop("_database", None)  # DuckDB complains of a process that ends with it
    for label, statuses in site.answered.items():
        assert ANSWERS[label] <= statuses, label


def test_site_has_jobs_in_every_state(site):
    """So that every shape of a job is among the answers."""
    states = [requests.get(f"{site.url}/jobs/{job}", timeout=60).json()["state"] for job in site.jobs]

    assert ["done", "partly", "failed", "running"] == states


# -- answers that come seldom


@pytest.mark.parametrize("action", ["run", "backfill", "resume"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TransientError("it is asleep", fix="Wait"), 503),
        (ConfigError("it is not set", fix="Set it"), 503),
        (ConflictError("it has changed", fix="Ask again"), 409),
        (RuntimeError("a bug"), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_failure_is_documented(site, monkeypatch, action, error, status):
    """Each kind of error has its status."""
    monkeypatch.setattr(api, "run_action", mock.Mock(side_effect=error))
    case = documented[f"/feeds/{{feed}}/{action}"]["POST"].Case(path_parameters={"feed": FEED})

    assert status == compared(case, site)


def test_health_of_what_is_away_is_documented(site, monkeypatch):
    """With the part that is."""
    away = mock.Mock(**{"runs.side_effect": TransientError("it is asleep", fix="Wait")})
    monkeypatch.setattr(shared.app, "current", lambda: replace(site.host.app, warehouse=away))

    assert 503 == compared(documented["/health"]["GET"].Case(query={"deep": "true"}), site)


def test_notification_that_is_too_large_is_documented(site):
    """It is refused before anybody looks at its signature."""
    body = {**notification(site.exports, ["location.parquet"]), "padding": "x" * (1 << 20)}

    assert 413 == compared(documented["/webhooks/coolr"]["POST"].Case(body=body, media_type="application/json"), site)


@pytest.mark.parametrize(
    ("kind", "status"), [("ticket.creation", 202), ("creation", 202), (None, 400), ("x" * (1 << 20), 413)]
)
def test_events_have_the_documented_answers(site, kind, status):
    """Signed as in v1; nothing is kept of what no feed reads."""
    body = json.dumps([{"subscriptionType": kind, "portalId": 62515, "occurredAt": 1, "objectId": 1}]).encode()
    headers = {
        "X-HubSpot-Signature": hashlib.sha256(SECRET.encode() + body).hexdigest(), "X-HubSpot-Signature-Version": "v1",
    }  # fmt: skip
    case = documented["/webhooks/hubspot"]["POST"].Case(body=body, media_type="application/json", headers=headers)
    answer = requests.post(f"{site.url}/webhooks/hubspot", data=body, headers=headers, timeout=60)
    load_all_checks()
    case.validate_response(answer, checks=[CHECKS.get_one("response_schema_conformance")])

    assert status == answer.status_code


def compared(case, site):
    """The status of an answer that is as documented."""
    answer = case.call(base_url=site.url)
    load_all_checks()
    case.validate_response(answer, excluded_checks=[CHECKS.get_one("not_a_server_error")])
    return answer.status_code


# -- answers that are not as documented are seen


@pytest.mark.parametrize(
    ("broken", "seen"),
    [
        (Response(200, {"status": "well", "feeds": 5}), "JsonSchemaError"),
        (Response(200, {"status": "ok", "feeds": 5, "secret": 1}), "JsonSchemaError"),
        (Response(200, {"feeds": 5}), "JsonSchemaError"),
        (Response(418, {"error": "tea"}), "UndefinedStatusCode"),
        (Response(500, {"error": "a bug"}), "ServerError"),
    ],
    ids=["value", "field too many", "field too few", "status", "failure"],
)
def test_answer_that_is_not_as_documented_is_seen(site, monkeypatch, broken, seen):
    """What compares answers with the document can fail."""
    monkeypatch.setattr(api, "health", lambda *_, **__: broken)

    assert seen in failures(documented["/health"]["GET"].Case(), site)


def test_missing_header_is_seen(site, monkeypatch):
    """Headers are compared, too."""
    accepted = responses.accepted_response
    monkeypatch.setattr(
        responses, "accepted_response", lambda *given: accepted(*given)._replace(headers={"Retry-After": "30"})
    )
    body = notification(site.exports, ["location.parquet"])

    case = documented["/webhooks/coolr"]["POST"].Case(body=body, media_type="application/json")
    assert ["MissingHeaders"] == failures(case, site, auth=Signed())


def test_wrong_request_that_is_taken_is_seen(site, monkeypatch):
    """So are refusals that do not come."""
    monkeypatch.setattr(api, "run_action", lambda *_: [])

    with pytest.raises(FailureGroup, match="Schema-violating request accepted"):
        made_up("/feeds/{feed}/pause", site)


def failures(case, site, **more):
    """Names of what is wrong with the answer to *case*."""
    answer = case.call(base_url=site.url, **more)
    with pytest.raises(FailureGroup) as caught:
        case.validate_response(answer)
    return [type(one).__name__ for one in caught.value.exceptions]


def made_up(path, site):
    strategy = documented[path]["POST"].as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

    @given(case=strategy)
    @settings(max_examples=25, database=None, derandomize=True, deadline=None, phases=[Phase.generate])
    def ask_and_compare(case):
        case.validate_response(send(case, site))

    ask_and_compare()


# -- made-up requests


@documented.parametrize()
def test_answers_are_as_documented(case, site):
    """Status, headers and body are among those documented, and wrong requests are refused."""
    answer = send(case, site)
    site.settle(answer)

    site.answered.setdefault(case.operation.label, set()).add(answer.status_code)
    case.validate_response(answer, excluded_checks=_left_out(case))


def send(case, site):
    """The answer to *case*; a good one asks mostly for what there is."""
    chance = zlib.crc32(json.dumps([case.path_parameters, str(case.body)]).encode())
    often = chance % 4
    if often and _is_good(case, ParameterLocation.PATH):
        if "feed" in case.path_parameters:
            case.path_parameters["feed"] = (FEED, PULLED)[often % 2]
        elif "system" in case.path_parameters:
            case.path_parameters["system"] = PULLED.partition(".")[0]
        elif "id" in case.path_parameters:
            case.path_parameters["id"] = site.jobs[chance // 4 % len(site.jobs)]
    if case.operation.label != NOTIFY:
        return case.call(base_url=site.url)
    if often > 1 and _is_good(case, ParameterLocation.BODY):
        names = [file["fileName"] for file in case.body["files"]]
        case.body = {**case.body, **notification(site.exports, names)}
    signed = often and HEADER in case.headers and _is_good(case, ParameterLocation.HEADER)
    return case.call(base_url=site.url, auth=Signed() if signed else None)


def _is_good(case, location):
    part = case.meta.components.get(location)
    return part is None or part.mode.is_positive


def _left_out(case):
    """A schema cannot say what makes a notification right (time, hosts, client), or a time where a feed has numbers."""
    load_all_checks()
    loose = case.operation.label in (NOTIFY, EVENTS, BACKFILL, FEEDS, UPLOAD, REJECTS)
    return [CHECKS.get_one("positive_data_acceptance")] if loose else []
