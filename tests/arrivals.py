"""Exports that arrive in Azurite with notifications of them, and what is left of the jobs they start."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json

from collections.abc import Mapping
from typing import Any

from azure.storage.blob import BlobSasPermissions, generate_blob_sas

from shared.app import App
from tests.exports import START, write_parquet
from tests.standins.functions_host import FunctionsHost

EPOCH = START.replace(tzinfo=None)
SECRET, OLD_SECRET = "our shared secret", "the one before"
STAMP = "20260224113000"


def rows(count: int, minutes: int = 0, *, first: int = 0, table: str = "Location") -> list[dict[str, Any]]:
    cursor = EPOCH - dt.timedelta(hours=2) + dt.timedelta(minutes=minutes)
    return [
        {f"{table}Id": n, "ModifiedOn": cursor, "IsDeleted": False, "Name": f"{n} at {minutes}"}
        for n in range(first, first + count)
    ]


class Exports:
    """Files in the exports container, and notifications of them."""

    def __init__(self, container: Any, azurite: Any, folder: Any) -> None:
        self.container, self._azurite, self._folder = container, azurite, folder

    def upload(self, name: str, table: Any, **more: Any) -> str:
        file = write_parquet(self._folder / "upload.parquet", table, **more)
        self.container.upload_blob(name, file.read_bytes(), overwrite=True)
        return name

    def link(self, name: str) -> str:
        sas = generate_blob_sas(
            self._azurite.account, self.container.container_name, name, account_key=self._azurite.key,
            permission=BlobSasPermissions(read=True), expiry=dt.datetime.now(dt.UTC) + dt.timedelta(days=1),
        )  # fmt: skip
        return f"{self.container.url}/{name}?{sas}"

    def notification(self, *names: str, kind: str = "Full", time: str = "2026-02-24T11:30:00Z", **more: Any) -> bytes:
        files = [{"fileName": name.rpartition("/")[2], "downloadUrl": self.link(name)} for name in names]
        told = {"clientName": "Acme", "exportType": kind, "exportDateTime": time, "files": files, **more}
        return json.dumps(told).encode()


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-CoolR-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def notify(host: FunctionsHost, body: bytes) -> str:
    reply = host.request("POST", "webhooks/coolr", body, signed(body))
    assert 202 == reply.status, reply.body
    return str(reply.body["job"])


def jobs(host: FunctionsHost) -> list[str]:
    return [id for id in host.durable.instances if id.count(":") == 1]


def stored(app: App, table: str = "location") -> list[tuple[Any, ...]]:
    """Key, name and whether it is alive, of each row."""
    with app.warehouse._session() as session:  # type: ignore[attr-defined]
        query = f'SELECT "{table}Id", "Name", "DeletedAt" IS NULL FROM coolr."{table}" ORDER BY 1'
        return list(session.connection.execute(query).fetchall())


def units(told: Mapping[str, Any]) -> list[Any]:
    return [unit["status"] for unit in told["units"]]
