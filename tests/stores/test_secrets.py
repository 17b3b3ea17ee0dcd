"""What signs in stays where it is: in no output, log, error, warehouse or ledger, whatever happens to a load."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sqlite3

from urllib.parse import parse_qs, quote

import duckdb
import pytest
import stamina

from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from click.testing import CliRunner

from shared import app as shared_app
from shared.cli.main import main
from shared.redaction import RedactingFormatter, redact, redact_logs
from tests.servers import free_port
from tests.servers.proxy import Fault, Proxy, busy
from tests.suites.store_suite import everything_said, locations

NOW = dt.datetime.now(dt.UTC)
BLOB = "Full/Acme/20260224000000/location.parquet"
LIBRARIES = ("azure", "urllib3", "requests", "paramiko", "stamina", "sluice", "asyncio")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Retries happen at once."""
    monkeypatch.setattr("azure.storage.blob._download.time.sleep", lambda _: None)
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


class _Keeps(logging.Handler):
    """Every record as it was made, before any formatter has had a look at it."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.said = []

    def emit(self, record):
        self.said.append(f"{record.getMessage()} {vars(record)!r}")


@pytest.fixture
def logged():
    """All that libraries log, each asked for as much as it has."""
    handler = _Keeps()
    before = {name: logging.getLogger(name).level for name in LIBRARIES}
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).addHandler(handler)
    yield handler.said
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).removeHandler(handler)


@pytest.fixture
def sluice(tmp_path, monkeypatch):
    """Run a command with a warehouse and a ledger of its own."""
    monkeypatch.setenv("WAREHOUSE_URL", f"duckdb:///{tmp_path}/warehouse.duckdb")
    monkeypatch.setenv("LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    shared_app.opened.cache_clear()
    yield lambda *words: CliRunner().invoke(main, ["-v", *(str(word) for word in words)])
    shared_app.opened.cache_clear()
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def signed(azurite, container):
    """Makes the URL of an export, with one row in a thousand to reject, and gives the signature in it as well."""
    container.upload_blob(BLOB, locations(2_000, keyless=2))

    def make(*, permission="rl", expiry=NOW + dt.timedelta(days=1), through=lambda url: url):
        sas = generate_container_sas(
            azurite.account, container.container_name, account_key=azurite.key, expiry=expiry,
            start=expiry - dt.timedelta(days=2), permission=ContainerSasPermissions.from_string(permission),
        )  # fmt: skip
        return f"{through(container.url)}/Full?{sas}", parse_qs(sas)["sig"][0]

    return make


def _assert_nowhere(secret, result, logged, tmp_path):
    """*secret* is in nothing that a command said or left behind."""
    exception = everything_said(result.exception)
    places = {"output": result.output, "exception": exception, "log": "\n".join(logged), **_kept(tmp_path)}
    forms = {secret, quote(secret, safe=""), quote(secret)}
    assert {} == {place: form for place, said in places.items() for form in forms if form in said}


def _kept(folder):
    """All that the warehouse's own tables and the ledger hold, as text."""
    kept = {}
    if (folder / "warehouse.duckdb").exists():
        with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
            for (name,) in connection.execute(
                "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE schema_name = 'ingest'"
            ).fetchall():
                kept[name] = json.dumps(connection.execute(f"SELECT * FROM {name}").fetchall(), default=str)
    if (folder / "ledger.db").exists():
        with sqlite3.connect(folder / "ledger.db") as ledger:
            kept["ledger"] = "\n".join(ledger.iterdump())
        ledger.close()
    return kept


def test_good_load_leaves_no_signature(sluice, signed, logged, tmp_path):
    """Rows merged, rows rejected, the run in the history and the work in the ledger."""
    url, secret = signed()

    result = sluice("load", url)

    kept = _kept(tmp_path)
    assert 0 == result.exit_code
    assert "location.parquet" in kept["ingest.run"] + kept["ledger"]
    assert "keyless" in kept["ingest.rejected"] or "LocationId" in kept["ingest.rejected"]
    assert " stage feed=coolr.location" in result.stderr
    _assert_nowhere(secret, result, logged, tmp_path)


@pytest.mark.parametrize("command", [["load"], ["load", "--json"], ["audit"], ["load", "--dry-run"]], ids=" ".join)
@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"expiry": NOW - dt.timedelta(hours=1)}, "expired at"),
        ({"permission": "l"}, "lacks read permission"),
        ({"permission": "r"}, "lacks list permission"),
    ],
    ids=["expired", "no read", "no list"],
)
def test_refused_load_tells_why_without_its_signature(sluice, signed, logged, tmp_path, command, made, said):
    """In the line of the error, and in all that led to it."""
    url, secret = signed(**made)

    result = sluice(*command, url)

    assert 1 == result.exit_code
    assert said in result.output
    assert "Traceback" not in result.output
    _assert_nowhere(secret, result, logged, tmp_path)


@pytest.mark.parametrize(
    "fault",
    [{"answer": b""}, {"cut_after": 10}, {"answer": busy(503)}, {"answer": busy(500)}, {"answer": b"HTTP/1.1 200"}],
    ids=["killed", "cut", "503", "500", "nonsense"],
)
def test_broken_load_tells_why_without_its_signature(sluice, signed, azurite, logged, tmp_path, fault):
    """Libraries repeat the URL they could not reach."""
    with Proxy.to(azurite.blob_url) as proxy:
        url, secret = signed(through=proxy.through)
        proxy.faults.append(Fault(when=lambda request: request.range is not None, times=99, **fault))

        result = sluice("load", url)

    assert 1 == result.exit_code
    assert "Traceback" not in result.output
    _assert_nowhere(secret, result, logged, tmp_path)


def test_server_that_is_gone_is_reported_without_the_signature(sluice, signed, logged, tmp_path):
    """Killed before the load began."""
    port = free_port()
    url, secret = signed(through=lambda url: f"http://127.0.0.1:{port}/devstoreaccount1/{url.rpartition('/')[2]}")

    result = sluice("load", url)

    assert 1 == result.exit_code
    assert f"127.0.0.1:{port} refuses connections" in result.output
    _assert_nowhere(secret, result, logged, tmp_path)


@pytest.mark.parametrize("fault", [{"answer": b""}, {"answer": busy(403)}, {"answer": busy(503)}, None])
def test_link_is_reported_without_its_signature(sluice, signed, azurite, logged, tmp_path, fault, monkeypatch):
    """The same for one https link to one file."""
    monkeypatch.setattr("shared.azure.urls.is_blob_url", lambda _: False)
    with Proxy.to(azurite.blob_url) as proxy:
        url, secret = signed(through=proxy.through)
        if fault:
            proxy.faults.append(Fault(when=lambda request: request.range is not None, times=99, **fault))

        result = sluice("load", url.replace("/Full?", f"/{BLOB}?"))

    assert (0 if fault is None else 1) == result.exit_code
    _assert_nowhere(secret, result, logged, tmp_path)


def test_account_key_appears_nowhere(sluice, azurite, container, logged, tmp_path, monkeypatch):
    """Neither by a load that works nor by one that is refused."""
    container.upload_blob(BLOB, locations(10))
    monkeypatch.setenv("STORAGE_CONNECTION_STRING", azurite.connection_string)
    worked = sluice("load", container.url)
    shared_app.opened.cache_clear()
    refused = sluice("load", f"{azurite.blob_url}/nowhere")

    assert (0, 1) == (worked.exit_code, refused.exit_code)
    for result in (worked, refused):
        _assert_nowhere(azurite.key, result, logged, tmp_path)


def test_password_of_sftp_appears_nowhere(sluice, logged, tmp_path):
    """Given in the URL, which is what errors like to repeat."""
    result = sluice("load", f"sftp://me:canary@127.0.0.1:{free_port()}/x")

    assert 1 == result.exit_code
    assert "refuses connections" in result.output
    _assert_nowhere("canary", result, logged, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('https://h:443 "GET /c?comp=list&sig=canary HTTP/1.1" 200', 'https://h:443 "GET /c HTTP/1.1" 200'),
        (
            "Max retries exceeded with url: /c?sv=1&sig=canary (Caused by",
            "Max retries exceeded with url: /c (Caused by",
        ),
        ("sftp://me:canary@host/x", "sftp://host/x"),
        ("AccountName=a;AccountKey=canary==;X=1", "AccountName=a;AccountKey=***;X=1"),
        ("ftp://elsewhere/a?canary", "ftp://elsewhere/a"),
        ("why? because of x=y", "why? because of x=y"),
    ],
)
def test_text_is_scrubbed(text, expected):
    """Of queries, users, signatures and keys, and of nothing else."""
    assert expected == redact(text)


def test_logs_of_a_host_are_scrubbed():
    """Message, arguments and traceback, through whatever formatter it had."""
    root, stream = logging.getLogger(), _Stream()
    handler = logging.StreamHandler(stream)
    before = root.handlers[:]
    root.handlers[:] = [handler]
    try:
        redact_logs()
        redact_logs()
        failed = ValueError("https://host/a?sig=canary1")
        other = logging.getLogger("other")
        other.setLevel(logging.ERROR)  # whatever a command has set for all
        other.error("at %s", "https://host/b?sig=canary2", exc_info=failed)
    finally:
        root.handlers[:] = before

    assert isinstance(handler.formatter, RedactingFormatter)
    assert "at https://host/b\n" in stream.said
    assert "ValueError: https://host/a\n" in stream.said
    assert "canary" not in stream.said


class _Stream:
    said = ""

    def write(self, text):
        self.said += text

    def flush(self):
        pass
