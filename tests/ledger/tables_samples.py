"""A wire to Table Storage that can break, and limits that its tests share."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import http.client
import threading

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import AccountSasPermissions, ResourceTypes, TableClient, generate_account_sas

from shared.errors import IngestError
from shared.ledger.tables import rows
from shared.ledger.tables.table_ledger import TablesLedger
from shared.model import Record, Watermark
from tests.servers.azurite import Azurite
from tests.suites.ledger_suite import FEED, JANUARY, done

PATIENCE = 60.0
"""Seconds to go on for while others are in the way."""
HASTE = 0.0
"""No second attempt."""
MARK = Watermark("10", "bigint")


class StoredTable:
    """A ledger's table, looked into by Azure's client itself."""

    newest = 1

    def __init__(self, azurite: Azurite, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._client = TableClient.from_connection_string(azurite.connection_string, table)
        self._monkeypatch = monkeypatch

    @property
    def layout(self) -> int:
        try:
            return int(self._client.get_entity("~", "layout")["layout"])
        except ResourceNotFoundError:
            return 0

    @layout.setter
    def layout(self, layout: int) -> None:
        self._client.upsert_entity({"PartitionKey": "~", "RowKey": "layout", "layout": layout})

    def make_first(self) -> None:
        """What the first layout wrote. Never to be changed: such tables are out there."""
        self._client.create_table()
        self._client.create_entity({"PartitionKey": FEED, "RowKey": "watermark", "value": "10", "type": "bigint"})
        for work, status, times in (("w1", "done", 1), ("w2", "failed", 0)):
            key = f"work-{hashlib.sha256(work.encode()).hexdigest()}"
            row = {"work": work, "name": f"{work}.parquet", "run": "r1", "status": status, "times": times}
            self._client.create_entity({"PartitionKey": FEED, "RowKey": key, "exported_at": JANUARY, **row})

    def know_newer(self) -> None:
        self._monkeypatch.setattr(rows, "LAYOUT", self.newest + 1)


def many(count: int, run: str = "r1") -> list[Record]:
    return [done(f"w{n:05}", run) for n in range(count)]


def held(ledger, records, feed=FEED):
    """Everything the ledger says of *records* and of their feed, in a form that can be compared."""
    mark = ledger.watermark(feed)
    return (mark.value, mark.type), ledger.known(feed, [record.work for record in records])


def opened(url: str, patience: float = PATIENCE) -> TablesLedger:
    return TablesLedger(url, patience)


def is_one_line(error: IngestError) -> bool:
    return "\n" not in str(error)


def a_sas(azurite, **may: bool) -> str:
    return generate_account_sas(
        AzureNamedKeyCredential(azurite.account, azurite.key),
        resource_types=ResourceTypes(object=True, container=True),
        permission=AccountSasPermissions(**may),
        expiry=dt.datetime(2100, 1, 1, tzinfo=dt.UTC),
    )


class Wire(ThreadingHTTPServer):
    """Hands requests on to a server, and answers back, but for those it loses or answers itself."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.lock = threading.Lock()
        self.lose(None)

    def url(self, url: str) -> str:
        """The same place, by way of this wire."""
        return url.replace(self.target, f"127.0.0.1:{self.server_address[1]}")

    def lose(
        self, number: int | None, *, after: bool = False, only: str = "", then: Callable[[], None] | None = None
    ) -> None:
        """The request of this number, from now on, or its answer (and do *then*); only those to *only* count."""
        self.then = then
        self.number, self.after_effect, self.only, self.count, self.lost = number, after, only, 0, False
        self.acts: list[tuple[str, Callable[[], None]]] = []
        self.answers: tuple[int, bytes, int | None] | None = None

    def before(self, part: str, act: Callable[[], None]) -> None:
        """Do *act* once, before a request with *part* in its path goes on."""
        self.acts.append((part, act))

    def answer(self, status: int, code: str, times: int | None) -> None:
        """Answer the next requests so: as many as *times*, or all."""
        self.answers = status, f'{{"odata.error": {{"code": "{code}", "message": {{"value": "no"}}}}}}'.encode(), times

    def fate(self, path: str) -> str | None:
        """What becomes of this request."""
        with self.lock:
            acts = [act for part, act in self.acts if part in path]
            self.acts = [one for one in self.acts if one[0] not in path]
            if self.answers is not None and self.answers[2] != 0:
                status, body, times = self.answers
                self.answers = status, body, None if times is None else times - 1
                return "answered"
            chosen = self.only in path and self.number == self.count
            self.count += self.only in path
            self.lost |= chosen
        for act in acts:
            act()
        return ("answer lost" if self.after_effect else "request lost") if chosen else None

    def handle_error(self, *_: object) -> None:
        """A client that went away is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Wire

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fate = self.server.fate(self.path)
        if fate == "answered" and self.server.answers:
            self._back(self.server.answers[0], {"Content-Type": "application/json"}, self.server.answers[1])
        elif fate == "request lost":
            self.close_connection = True
        else:
            status, headers, content = self._on(body)
            if fate == "answer lost":
                self.close_connection = True
                if self.server.then:
                    self.server.then()
            else:
                self._back(status, headers, content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_MERGE = _any  # noqa: N815 - names of the library

    def _on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        with contextlib.closing(http.client.HTTPConnection(self.server.target)) as on:
            on.request(self.command, self.path, body, dict(self.headers.items()))
            answer = on.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def _back(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
