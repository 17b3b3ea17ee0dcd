"""Requests that no webhook of CoolR may take, each with the status it deserves: in one process, or through HTTP.

The app they are sent to takes the exports of CLIENT, at most MAX_AGE seconds old, from the host that they are made for
(a plain name, without a port), and has one secret.
"""

from __future__ import annotations

import codecs
import datetime as dt
import hashlib
import hmac
import json

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

CLIENT = "Contoso"
MAX_AGE = 604_800.0
HEADER = "X-CoolR-Signature"
NOW = dt.datetime(2026, 2, 24, 18, tzinfo=dt.UTC)
SECRET = "a secret of both sides"
HOST = "exports.blob.core.windows.net"
SAS = "sv=2021-06-08&se=2036-03-03T00%3A00%3A00Z&sr=b&sp=r&sig=canary%3D"


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request, and what it is answered with."""

    id: str
    body: bytes
    headers: dict[str, str]
    status: int


def signature(body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def good(now: dt.datetime = NOW, host: str = HOST) -> dict[str, Any]:
    """A notification with nothing wrong in it."""
    names = ("location.parquet", "asset.parquet")
    return {
        "clientName": CLIENT,
        "exportType": "Full",
        "exportDateTime": (now - dt.timedelta(hours=1)).isoformat(),
        "files": [{"fileName": name, "downloadUrl": link(host, name)} for name in names],
    }


def link(host: str, name: str) -> str:
    return f"https://{host}/exports/Full/Contoso/20260224000000/{name}?{SAS}"


def hostile(now: dt.datetime, secret: str, host: str) -> list[Hostile]:
    """All of them. *now* is aware; *host* is the only one that links may lead to."""
    reported = good(now, host)
    found = [
        *_badly_signed(json.dumps(reported).encode(), reported, secret),
        *(Hostile(name, body, {HEADER: signature(body, secret)}, status) for name, body, status in _bodies(reported)),
    ]
    for name, change in (*_fields(now), *_names(), *_links(host)):
        changed = json.loads(json.dumps(reported))
        change(changed)
        body = json.dumps(changed).encode()
        found.append(Hostile(name, body, {HEADER: signature(body, secret)}, 400))
    return found


def _badly_signed(body: bytes, reported: Any, secret: str) -> Iterator[Hostile]:
    right = signature(body, secret)
    wrong = {
        "signature-empty": "",
        "signature-none": "none",
        "signature-upper-case": right.upper(),
        "signature-cut-off": right[:-1],
        "signature-half": right[:32],
        "signature-too-long": f"{right}0",
        "signature-with-prefix": f"sha256={right}",
        "signature-quoted": f'"{right}"',
        "signature-twice": f"{right}, {right}",
        "signature-not-hex": right[:-1] + "g",
        "signature-zeros": "0" * 64,
        "signature-last-digit-off": right[:-1] + ("0" if right[-1] != "0" else "1"),
        "signature-first-digit-off": ("0" if right[0] != "0" else "1") + right[1:],
        "signature-base64": "3q2+7w==" * 8,
        # As UTF-8 reads on its way through headers, which are Latin-1.
        "signature-not-ascii": "\xc3\xa9" * 32,
        "signature-of-nothing": signature(b"", secret),
        "signature-of-other-spacing": signature(json.dumps(reported, separators=(",", ":")).encode(), secret),
        "signature-of-sorted-json": signature(json.dumps(reported, sort_keys=True).encode(), secret),
        "signature-of-one-byte-more": signature(body + b"\n", secret),
        "signature-by-another-secret": signature(body, "another secret"),
        "signature-by-the-old-secret": signature(body, f"{secret}, as it was before"),
        "signature-by-no-secret": signature(body, ""),
        "signature-by-the-body": signature(body, body.decode()),
        "signature-without-secret": hashlib.sha256(body).hexdigest(),
        "signature-by-prefixing": hashlib.sha256(secret.encode() + body).hexdigest(),
        "signature-sha1": hmac.new(secret.encode(), body, hashlib.sha1).hexdigest(),
        "signature-sha512": hmac.new(secret.encode(), body, hashlib.sha512).hexdigest(),
    }
    yield Hostile("signature-missing", body, {}, 401)
    yield Hostile("signature-in-another-header", body, {"X-Hub-Signature-256": right}, 401)
    yield from (Hostile(name, body, {HEADER: value}, 401) for name, value in wrong.items())
    tampered = body.replace(b'"Full"', b'"Delta"')
    yield Hostile("body-changed-after-signing", tampered, {HEADER: right}, 401)
    yield Hostile("hostile-body-without-signature", b"[" * 100_000, {}, 401)


def _bodies(reported: Any) -> Iterator[tuple[str, bytes, int]]:
    """Bodies that are no notification, each well signed."""
    text = json.dumps(reported)
    body = text.encode()
    padded = {**reported, "padding": "x" * (1 << 20)}
    yield "body-too-large", json.dumps(padded).encode(), 413
    yield "body-too-large-with-blanks", body + b" " * (1 << 20), 413
    yield "body-empty", b"", 400
    yield "body-blank", b"  ", 400
    yield "body-null", b"null", 400
    yield "body-list", f"[{text}]".encode(), 400
    yield "body-text", json.dumps(text).encode(), 400
    yield "body-number", b"1", 400
    yield "body-form", b"clientName=Contoso&exportType=Full", 400
    yield "body-xml", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>', 400
    yield "body-gzip", bytes.fromhex("1f8b080000000000020303000000000000000000"), 400
    yield "body-cut-off", body[:-1], 400
    yield "body-goes-on", body + b"{}", 400
    yield "body-with-comment", body + b"// more", 400
    yield "body-with-comma", body[:-1] + b",}", 400
    yield "body-single-quotes", text.replace('"', "'").encode(), 400
    yield "body-utf-8-bom", codecs.BOM_UTF8 + body, 400
    yield "body-utf-16", text.encode("utf-16"), 400
    yield "body-utf-16-le", text.encode("utf-16-le"), 400
    yield "body-utf-32", text.encode("utf-32"), 400
    yield "body-latin-1", text.replace("Contoso", "Contosö").encode("latin-1"), 400
    yield "body-broken-utf-8", body.replace(b"Contoso", b"Con\xfftoso"), 400
    yield "body-overlong-utf-8", body.replace(b"Contoso", b"Con\xc0\xaftoso"), 400
    yield "body-surrogate-in-utf-8", body.replace(b"Contoso", b"Con\xed\xa0\x80toso"), 400
    yield "body-surrogate-in-what-is-ignored", _more(text, '"x"').replace(b'"x"', b'"\xed\xa0\x80"'), 400
    yield "body-nul", body + b"\0", 400
    yield "body-raw-control", body.replace(b"Contoso", b"Con\ntoso"), 400
    yield "body-nested-lists", _more(text, "[" * 100_000 + "]" * 100_000), 400
    yield "body-nested-objects", _more(text, '{"a":' * 100_000 + "1" + "}" * 100_000), 400
    yield "body-nested-and-cut-off", b"[" * 1_000_000, 400
    yield "body-nan", _more(text, "NaN"), 400
    yield "body-infinity", _more(text, "-Infinity"), 400
    yield "body-huge-float", _more(text, "1e999"), 400
    yield "body-huge-integer", _more(text, "9" * 5_000), 400
    yield "body-long-integer", _more(text, "9" * 100), 400
    yield "body-hex-integer", _more(text, "0x10"), 400
    yield "duplicate-client", body[:-1] + b', "clientName": "Contoso"}', 400
    yield "duplicate-files", body[:-1] + b', "files": []}', 400
    yield "duplicate-escaped", body[:-1] + b', "\\u0066iles": []}', 400
    yield "duplicate-in-a-file", body.replace(b'{"fileName"', b'{"fileName": "x.parquet", "fileName"', 1), 400
    yield "duplicate-in-what-is-ignored", _more(text, '{"a": 1, "a": 2}'), 400


def _more(text: str, value: str) -> bytes:
    return f'{text[:-1]}, "more": {value}}}'.encode()


_Change = Callable[[Any], None]
_GONE = object()


def _set(*where: Any, to: Any) -> _Change:
    def change(reported: Any) -> None:
        *above, last = where
        place = reported
        for step in above:
            place = place[step]
        if to is _GONE:
            del place[last]
        else:
            place[last] = to

    return change


def _fields(now: dt.datetime) -> Iterator[tuple[str, _Change]]:
    others = {"null": None, "true": True, "number": 1, "list": ["Full"], "object": {"a": 1}, "empty": "", "gone": _GONE}
    for field in ("clientName", "exportType", "exportDateTime"):
        yield from ((f"{field}-{kind}", _set(field, to=value)) for kind, value in others.items())
    for field in ("fileName", "downloadUrl"):
        yield from ((f"{field}-{kind}", _set("files", 1, field, to=value)) for kind, value in others.items())
    texts = {
        "client-of-others": ("clientName", "Fabrikam"),
        "client-in-other-case": ("clientName", "contoso"),
        "client-with-blank": ("clientName", "Contoso "),
        "client-look-alike": ("clientName", "C\u043entoso"),
        "client-too-long": ("clientName", "x" * 101),
        "client-control": ("clientName", "Contoso\u0000"),
        "client-half-character": ("clientName", "Contoso\ud800"),
        "client-right-to-left": ("clientName", "Contoso\u202e"),
        "type-lower-case": ("exportType", "full"),
        "type-unknown": ("exportType", "Partial"),
        "type-with-blank": ("exportType", "Full "),
        "type-both": ("exportType", "Full|Delta"),
        "time-empty-of-meaning": ("exportDateTime", "yesterday"),
        "time-epoch": ("exportDateTime", f"{now.timestamp():.0f}"),
        "time-american": ("exportDateTime", now.strftime("%m/%d/%Y")),
        "time-of-no-day": ("exportDateTime", f"{now.year}-02-30T00:00:00Z"),
        "time-of-no-month": ("exportDateTime", f"{now.year}1301"),
        "time-of-hour-24": ("exportDateTime", now.strftime("%Y%m%d240000")),
        "time-with-name-of-zone": ("exportDateTime", now.strftime("%Y-%m-%dT%H:%M:%S Europe/Amsterdam")),
        "time-in-week": ("exportDateTime", now.strftime("%G-W%V-%u")),
        "time-in-other-digits": ("exportDateTime", "".join(chr(0x660 + int(d)) for d in now.strftime("%Y%m%d"))),
        "time-before-all": ("exportDateTime", "0001-01-01T00:00:00+23:59"),
        "time-after-all": ("exportDateTime", "9999-12-31T23:59:59-23:59"),
        "time-too-long": ("exportDateTime", now.isoformat() + "0" * 1_000),
        "time-control": ("exportDateTime", f"{now.isoformat()}\n"),
        "replayed-after-a-week": ("exportDateTime", (now - dt.timedelta(days=7, seconds=60)).isoformat()),
        "replayed-after-a-year": ("exportDateTime", (now - dt.timedelta(days=365)).strftime("%Y%m%d%H%M%S")),
        "replayed-by-way-of-a-zone": (
            "exportDateTime",
            (now - dt.timedelta(days=7, hours=-5)).replace(tzinfo=None).isoformat() + "+06:00",
        ),
        "from-the-day-after-tomorrow": ("exportDateTime", (now + dt.timedelta(days=1, seconds=600)).isoformat()),
        "from-the-future": ("exportDateTime", (now + dt.timedelta(days=3650)).isoformat()),
    }
    yield from ((name, _set(field, to=value)) for name, (field, value) in texts.items())
    lists = {
        "files-gone": _GONE, "files-null": None, "files-empty": [], "files-text": "location.parquet",
        "files-object": {}, "files-of-texts": ["location.parquet"], "files-of-lists": [[]], "files-of-nothing": [None],
        "files-too-many": [{}] * 10_001,
    }  # fmt: skip
    yield from ((name, _set("files", to=value)) for name, value in lists.items())


def _names() -> Iterator[tuple[str, _Change]]:
    wrong = {
        "name-above": "../location.parquet",
        "name-far-above": "../../../../etc/passwd",
        "name-above-in-between": "a/../location.parquet",
        "name-above-encoded": "..%2flocation.parquet",
        "name-above-encoded-twice": "%252e%252e%252flocation.parquet",
        "name-above-overlong": "..\u2215location.parquet",
        "name-absolute": "/etc/location.parquet",
        "name-of-a-drive": "C:\\location.parquet",
        "name-of-a-share": "\\\\server\\share\\location.parquet",
        "name-backslash": "..\\location.parquet",
        "name-folder": "Full/location.parquet",
        "name-nul": "location.parquet\u0000.exe",
        "name-nul-before-ending": "location\u0000.parquet",
        "name-newline": "location\n.parquet",
        "name-ends-in-newline": "location.parquet\n",
        "name-dots": "..",
        "name-dots-inside": "location..parquet",
        "name-hidden": ".location.parquet",
        "name-ending-alone": ".parquet",
        "name-without-ending": "location",
        "name-other-ending": "location.parquet.exe",
        "name-ending-in-dot": "location.parquet.",
        "name-ending-in-blank": "location.parquet ",
        "name-blank": "location of.parquet",
        "name-dash-first": "-rf.parquet",
        "name-home": "~root.parquet",
        "name-variable": "$HOME.parquet",
        "name-sql": "location';drop table x;--.parquet",
        "name-stream": "location.parquet::$DATA",
        "name-other-letters": "l\u043ecation.parquet",
        "name-other-ending-letters": "location.par\uff51uet",
        "name-half-character": "location\udc00.parquet",
        "name-right-to-left": "location\u202eteuqrap.parquet",
        "name-device": "CON.parquet",
        "name-device-alone": "NUL",
        "name-port": "com1.x.parquet",
        "name-too-long": "x" * 121 + ".parquet",
        "name-endless": "x" * 100_000 + ".parquet",
        "name-twice": "location.parquet",
        "name-twice-in-other-case": "LOCATION.Parquet",
    }
    yield from ((name, _set("files", 1, "fileName", to=value)) for name, value in wrong.items())


def _links(host: str) -> Iterator[tuple[str, _Change]]:
    path = "/exports/asset.parquet"
    wrong = {
        "link-to-others": f"https://evil.test{path}",
        "link-http": f"http://{host}{path}",
        "link-ftp": f"ftp://{host}{path}",
        "link-file": "file:///etc/passwd",
        "link-file-with-host": f"file://{host}{path}",
        "link-gopher": f"gopher://{host}:70/_GET%20/",
        "link-data": "data:application/octet-stream;base64,UEFSMQ==",
        "link-script": "javascript:alert(1)",
        "link-sftp": f"sftp://me@{host}{path}",
        "link-upper-case-scheme": f"HTTPS://{host}{path}",
        "link-without-scheme": f"//{host}{path}",
        "link-path-alone": path,
        "link-one-slash": f"https:/{host}{path}",
        "link-three-slashes": f"https:///{host}{path}",
        "link-no-slash": f"https:{host}{path}",
        "link-user": f"https://me@{host}{path}",
        "link-user-and-password": f"https://me:pw@{host}{path}",
        "link-empty-user": f"https://@{host}{path}",
        "link-host-as-user": f"https://{host}@evil.test{path}",
        "link-host-and-port-as-user": f"https://{host}:443@evil.test{path}",
        "link-encoded-at": f"https://{host}%40evil.test{path}",
        "link-user-after-backslash": f"https://evil.test\\@{host}{path}",
        "link-backslash-as-slash": f"https://evil.test\\{path}?@{host}/",
        "link-backslashes": f"https:\\\\{host}{path}",
        "link-backslash-in-path": f"https://{host}/exports\\..\\asset.parquet",
        "link-host-first-of-longer": f"https://{host}.evil.test{path}",
        "link-host-last-of-longer": f"https://evil{host}{path}",
        "link-below-host": f"https://evil.{host}{path}",
        "link-other-account": f"https://other{host[host.find('.') :]}{path}",
        "link-trailing-dot": f"https://{host}.{path}",
        "link-leading-dot": f"https://.{host}{path}",
        "link-host-in-query": f"https://evil.test?{host}{path}",
        "link-host-in-fragment": f"https://evil.test#{host}{path}",
        "link-host-in-path": f"https://evil.test/{host}{path}",
        "link-semicolon": f"https://evil.test;{host}{path}",
        "link-comma": f"https://{host},evil.test{path}",
        "link-pattern": f"https://*{path}",
        "link-empty-host": f"https://{path}",
        "link-port-alone": f"https://:443{path}",
        "link-localhost": f"https://localhost{path}",
        "link-localhost-http": f"http://localhost{path}",
        "link-loopback": f"https://127.0.0.1{path}",
        "link-loopback-http": f"http://127.0.0.1:10000/devstoreaccount1{path}",
        "link-loopback-short": f"https://127.1{path}",
        "link-loopback-decimal": f"https://2130706433{path}",
        "link-loopback-octal": f"https://0177.0.0.1{path}",
        "link-loopback-hex": f"https://0x7f000001{path}",
        "link-loopback-ipv6": f"https://[::1]{path}",
        "link-loopback-ipv6-http": f"http://[::1]{path}",
        "link-loopback-mapped": f"https://[::ffff:127.0.0.1]{path}",
        "link-loopback-by-name": f"https://127.0.0.1.nip.test{path}",
        "link-any-address": f"https://0.0.0.0{path}",
        "link-zone-of-ipv6": f"https://[fe80::1%25eth0]{path}",
        "link-half-a-bracket": f"https://[{host}{path}",
        "link-name-in-brackets": f"https://[{host}]{path}",
        "link-private": f"https://10.0.0.1{path}",
        "link-metadata": "http://169.254.169.254/metadata/identity/oauth2/token.parquet",
        "link-metadata-https": "https://169.254.169.254/metadata/identity/oauth2/token.parquet",
        "link-platform": f"https://168.63.129.16{path}",
        "link-other-letter": f"https://{host.replace('e', chr(0x435), 1)}{path}",
        "link-wide-letters": f"https://{''.join(chr(ord(c) + 0xFEE0) for c in host)}{path}",
        "link-wide-dot": f"https://{host.replace('.', chr(0x3002), 1)}{path}",
        "link-wide-slash": f"https://{host}\uff0fevil.test{path}",
        "link-slash-by-normalising": f"https://{host}\u2100.evil.test{path}",
        "link-sharp-s": f"https://{host.replace('s', chr(0xDF), 1)}{path}",
        "link-punycode": f"https://xn--{host}{path}",
        "link-soft-hyphen": f"https://ex\u00adports.test{path}",
        "link-encoded-host": f"https://%65{host[1:]}{path}",
        "link-encoded-slash-in-host": f"https://evil.test%2f{host}{path}",
        "link-encoded-nul-in-host": f"https://{host}%00.evil.test{path}",
        "link-nul-in-host": f"https://{host}\u0000.evil.test{path}",
        "link-tab-in-host": f"https://ev\til.test{path}",
        "link-tab-in-scheme": f"ht\ttps://{host}{path}",
        "link-newline": f"https://{host}{path}\nHost: evil.test",
        "link-return-and-newline": f"https://{host}{path}\r\nX-Evil: 1",
        "link-newline-last": f"https://{host}{path}\n",
        "link-blank-first": f" https://{host}{path}",
        "link-blank-last": f"https://{host}{path} ",
        "link-blank-inside": f"https://{host}/ex ports/asset.parquet",
        "link-blank-in-host": f"https://{host} evil.test{path}",
        "link-hard-blank": f"https://{host}{path}\u00a0",
        "link-half-character": f"https://{host}{path}?sig=\ud800",
        "link-other-port": f"https://{host}:8443{path}",
        "link-port-22": f"https://{host}:22{path}",
        "link-port-zero-first": f"https://{host}:0443{path}",
        "link-port-empty": f"https://{host}:{path}",
        "link-port-too-high": f"https://{host}:65979{path}",
        "link-port-no-number": f"https://{host}:https{path}",
        "link-port-negative": f"https://{host}:-443{path}",
        "link-two-ports": f"https://{host}:443:443{path}",
        "link-port-in-other-digits": f"https://{host}:\uff14\uff14\uff13{path}",
        "link-fragment": f"https://{host}{path}#part",
        "link-empty-fragment": f"https://{host}{path}#",
        "link-no-path": f"https://{host}",
        "link-root": f"https://{host}/",
        "link-query-alone": f"https://{host}?{SAS}",
        "link-to-a-folder": f"https://{host}/exports/Full/",
        "link-above": f"https://{host}/exports/../state/asset.parquet",
        "link-above-at-the-end": f"https://{host}/exports/..",
        "link-here": f"https://{host}/exports/./asset.parquet",
        "link-above-encoded": f"https://{host}/exports/%2e%2e/state/asset.parquet",
        "link-above-half-encoded": f"https://{host}/exports/.%2E/state/asset.parquet",
        "link-above-encoded-twice": f"https://{host}/exports/%252e%252e/state/asset.parquet",
        "link-encoded-slash": f"https://{host}/exports%2f..%2fstate/asset.parquet",
        "link-encoded-backslash": f"https://{host}/exports%5c..%5cstate/asset.parquet",
        "link-encoded-nul": f"https://{host}/exports/asset.parquet%00.txt",
        "link-encoded-newline": f"https://{host}/exports/asset%0d%0aHost:%20evil.test",
        "link-encoded-no-utf-8": f"https://{host}/exports/%ff.parquet",
        "link-percent-alone": f"https://{host}/exports/100%.parquet",
        "link-two-slashes": f"https://{host}//evil.test/asset.parquet",
        "link-two-slashes-inside": f"https://{host}/exports//asset.parquet",
        "link-angle-brackets": f"https://{host}/exports/<script>.parquet",
        "link-quotes": f'https://{host}/exports/".parquet',
        "link-letters-in-path": f"https://{host}/exports/\xe9.parquet",
        "link-too-long": f"https://{host}{path}?{'x' * 4096}",
        "link-endless": f"https://{'a' * 100_000}{path}",
        "link-to-the-same-file": f"https://{host.upper()}:443/exports/Full/Contoso/20260224000000/loc%61tion.parquet",
    }
    yield from ((name, _set("files", 1, "downloadUrl", to=value)) for name, value in wrong.items())


HOSTILE = hostile(NOW, SECRET, HOST)
