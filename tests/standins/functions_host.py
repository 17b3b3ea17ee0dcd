"""The functions of the app as Azure calls them, around the stand-in of the Durable host: events, requests, timers."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import threading

from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import azure.functions as func
import pytest

from azure.storage.blob import ContainerClient

import function_app
import shared.app

from shared.app import App
from tests.standins.durable_host import DurableHost, call_async

_EVENTS = "/runtime/webhooks/blobs?functionName=Host.Functions.on_export"


class Reply(NamedTuple):
    """What a request was answered with."""

    status: int
    body: Any
    headers: Mapping[str, str]


class FunctionsHost:
    """Runs function_app.py over one App: its HTTP functions by route, its other functions by name."""

    def __init__(self, app: App, durable: DurableHost) -> None:
        self.app, self.durable = app, durable
        built = [builder.build(function_app.app.auth_level) for builder in function_app.app._function_builders]
        self._functions = {function.get_function_name(): function for function in built}

    # -- what Azure does

    def blob_event(self, container: ContainerClient, name: str) -> None:
        """An event says that a blob was written."""
        self._call("on_export", file=container.get_blob_client(name))

    def events(self, body: bytes) -> Reply:
        """Event Grid posts events of the container that the setting ExportsStorage signs in to."""
        for event in json.loads(body):
            place, _, name = event["subject"].partition("/blobs/")
            connection = os.environ["ExportsStorage"]  # noqa: SIM112 - as the host spells it
            with ContainerClient.from_connection_string(connection, place.rpartition("/")[2]) as client:
                self.blob_event(client, name)
        return Reply(202, None, {})

    def timer(self, name: str) -> None:
        """The schedule of a timer has come."""
        self._call(name, timer=None)

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:  # fmt: skip
        """A request, as it comes to ``/api/<path>``; 404 if no function has the route."""
        parts = urlsplit(path)
        found = self._route(method, parts.path)
        if found is None:
            return Reply(404, None, {})
        name, params = found
        request = func.HttpRequest(
            method=method, url=f"https://sluice.test/api/{path}", headers=dict(headers or {}),
            params=dict(parse_qsl(parts.query)), route_params=params, body=body,
        )  # fmt: skip
        answer = self._call(name, req=request)
        text = answer.get_body().decode()
        content = json.loads(text) if text and answer.mimetype == "application/json" else text or None
        return Reply(answer.status_code, content, dict(answer.headers))

    # -- what tests ask

    def job(self, id: str) -> Any:
        """What the API says of a job."""
        return self.request("GET", f"jobs/{id}").body

    def finished(self, id: str, timeout: float = 300) -> Any:
        """What the API says of a job once it has ended."""
        self.durable.wait(id, timeout)
        return self.job(id)

    @contextlib.contextmanager
    def listening(self, port: int = 0) -> Iterator[str]:
        """Answer real HTTP requests; gives the address of the API."""
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path.startswith(_EVENTS):
                    reply = host.events(body)
                else:
                    path = self.path.removeprefix("/api/")
                    reply = host.request(self.command, path, body, dict(self.headers.items()))
                content = reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode()
                content = b"" if reply.body is None else content
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "Content-Type" not in reply.headers:
                    self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_TRACE = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}/api"
            finally:
                server.shutdown()
                thread.join()

    def _call(self, name: str, **given: Any) -> Any:
        self.durable.forward(seconds=1)  # no two things happen at the very same time
        function = self._functions[name]
        call = function.get_user_function()
        for binding in function.get_bindings():
            if binding.type == "durableClient":
                given[binding.name] = self.durable.client_binding()
        answer = call(**given)
        return call_async(answer) if inspect.isawaitable(answer) else answer

    def _route(self, method: str, path: str) -> tuple[str, dict[str, str]] | None:
        for name, function in self._functions.items():
            trigger = function.get_trigger()
            if trigger.type == "httpTrigger" and method in [str(one.value) for one in trigger.methods]:
                route = re.sub(r"/\{\*(\w+)\}", r"(?:/(?P<\1>.*))?", str(trigger.route))
                pattern = re.sub(r"\{(\w+)(?::regex\(\^?(.*?)\$?\))?\}", _part, route)
                if found := re.fullmatch(pattern, path):
                    return name, {key: unquote(value or "") for key, value in found.groupdict().items()}
        return None


def _part(found: re.Match[str]) -> str:
    return f"(?P<{found[1]}>{found[2] or '[^/]+'})"


@contextlib.contextmanager
def functions_host(app: App, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Iterator[FunctionsHost]:
    """The functions over *app*, their orchestrations run in the background by as many workers as an instance has."""
    monkeypatch.setattr(shared.app, "current", lambda: app)
    function_app._started.clear()  # as in a new process
    with DurableHost(function_app.app, payload_limit=45 << 10, **options) as durable, durable.running(workers=4):
        yield FunctionsHost(app, durable)
