"""Notifications of CoolR for the benchmark: signed, each of another export, all of them right."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json

from collections.abc import Iterator
from typing import NamedTuple

SECRET = "the secret of the benchmark"  # noqa: S105 - of nothing else
CLIENT = "Contoso"
_TABLES = ("location", "asset", "product", "order", "orderitem")
_SAS = "sv=2024-11-04&se=2036-03-03T00%3A00%3A00Z&sr=b&sp=r&sig=bm90IGEgcmVhbCBzaWduYXR1cmUsIGJ1dCBhcyBsb25n%3D"


class Delivery(NamedTuple):
    body: bytes
    signature: str


def deliveries(count: int, host: str, now: dt.datetime) -> Iterator[Delivery]:
    """*count* notifications of five files each, whose links lead to *host*; up to six days before *now*."""
    first = now.replace(microsecond=0) - dt.timedelta(days=6)
    for number in range(count):
        body = _body(first + dt.timedelta(seconds=number), host)
        yield Delivery(body, hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest())


def _body(moment: dt.datetime, host: str) -> bytes:
    stamp = f"{moment:%Y%m%d%H%M%S}"
    files = [
        {
            "fileName": f"{table}_{stamp}.parquet",
            "downloadUrl": f"https://{host}/exports/Full/{CLIENT}/{stamp}/{table}.parquet?{_SAS}",
        }
        for table in _TABLES
    ]
    notification = {"clientName": CLIENT, "exportType": "Full", "exportDateTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
    return json.dumps({**notification, "files": files}).encode()
