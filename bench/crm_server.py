"""A HubSpot with contacts enough to measure a sync: lists, properties and the search for the newest; nothing else.

    python -m bench.crm_server --rows 200000 --properties 100

Prints its URL, and for GET /counts how many requests it has had, and the most within ten seconds. It is as cheap as it
can be, so that what is measured is the client: the values of a hundred records are made once and repeat in all pages.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import time

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

FIRST = 1_000_000
_SINCE = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - in UTC, as HubSpot's times are
_PAGE = 100


class Contacts:
    """Made by a formula: the n-th has an id and a time of change that grow with n."""

    def __init__(self, rows: int, properties: int) -> None:
        self.rows = rows
        self.types = {"hs_object_id": "number", "lastmodifieddate": "datetime"} | {
            f"property_number_{n}": ("string", "string", "enumeration", "number", "bool", "datetime", "date")[n % 7]
            for n in range(properties - 2)
        }
        chance = random.Random(7)
        self._bodies = [
            json.dumps({name: _value(kind, chance) for name, kind in list(self.types.items())[2:]})[1:-1].encode()
            for _ in range(_PAGE)
        ]

    def page(self, first: int) -> bytes:
        """A page of the list, from the *first*-th contact on."""
        last = min(first + _PAGE, self.rows)
        found = b",".join(self.record(n) for n in range(first, last))
        following = b',"paging":{"next":{"after":"%d","link":""}}' % last if last < self.rows else b""
        return b'{"results":[%b]%b}' % (found, following)

    def record(self, number: int) -> bytes:
        at = b"%b.000Z" % (_SINCE + dt.timedelta(seconds=number)).isoformat().encode()
        id, body = FIRST + number, self._bodies[number % _PAGE]
        return (
            b'{"id":"%d","properties":{"hs_object_id":"%d","lastmodifieddate":"%b",%b},'
            b'"createdAt":"%b","updatedAt":"%b","archived":false}' % (id, id, at, body, at, at)
        )


def _value(kind: str, chance: random.Random) -> str | None:
    if chance.random() < 0.4:
        return chance.choice((None, ""))
    number = chance.randrange(1_000_000)
    return {
        "number": f"{number / 100}", "bool": chance.choice(("true", "false")), "datetime": "2026-02-24T12:00:00.123Z",
        "date": "2026-02-24", "enumeration": chance.choice(("lead", "customer", "subscriber")),
    }.get(kind, f"a text of a contact, Crème № {number}")  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    contacts: Contacts
    times: list[float] = []  # noqa: RUF012 - one server in the process

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/counts":
            self._send(json.dumps({"requests": len(self.times), "most": _most(self.times)}).encode())
            return
        self.times.append(time.monotonic())
        given = parse_qs(parts.query)
        if "/properties/" in parts.path:
            known = [{"name": name, "type": kind} for name, kind in self.contacts.types.items()]
            self._send(json.dumps({"results": known}).encode())
        elif given.get("archived") == ["true"]:
            self._send(b'{"results":[]}')
        else:
            self._send(self.contacts.page(int(given.get("after", ["0"])[0])))

    def do_POST(self) -> None:
        self.times.append(time.monotonic())
        self.rfile.read(int(self.headers["Content-Length"]))
        newest = self.contacts.record(self.contacts.rows - 1)
        self._send(b'{"total":%d,"results":[%b]}' % (self.contacts.rows, newest))

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _most(times: list[float], seconds: float = 10.0) -> int:
    """The most *times* within so many *seconds*."""
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--properties", type=int, default=100)
    options = parser.parse_args()
    Handler.contacts = Contacts(options.rows, options.properties)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
