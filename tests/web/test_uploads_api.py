"""Uploads by the API: straight to storage by a link, or in the request; tried, and loaded by a job."""

from __future__ import annotations

import datetime as dt
import json
import re

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from azure.storage.blob import BlobServiceClient, UserDelegationKey

from shared.azure import identity, links, urls
from shared.settings import Settings
from tests.exports import Clock, open_test_app
from tests.standins.functions_host import functions_host

DOCUMENT = json.loads((Path(__file__).parents[2] / "shared" / "web" / "openapi.json").read_text(encoding="utf-8"))
FEED, NAME = "hubspot.zip_codes", "zips.csv"
CONTENT = b"Zip,City\n10115,Berlin\n80331,Munich\n"


@pytest.fixture
def host(azurite, container, tmp_path, monkeypatch):
    """An app whose documents are blobs."""
    app = open_test_app(
        tmp_path, Clock(dt.datetime.now(dt.UTC)), STATE_URL=f"{container.url}-state",
        STORAGE_CONNECTION_STRING=azurite.connection_string,
    )  # fmt: skip
    with functions_host(app, monkeypatch) as host:
        yield host


def put(url, content, **options):
    return requests.put(url, content, timeout=30, **options).status_code


def test_file_is_written_to_storage_by_a_link_and_loaded_by_a_job(host):
    """Block by block, as a browser does; the app never has its content in a request."""
    made = host.request("POST", f"uploads?feed={FEED}&name={NAME}", b"", {})
    early = host.request("POST", f"uploads/{made.body['upload']}/load", b"", {})
    blocks = [
        put(f"{made.body['url']}&comp=block&blockid={id}", part)
        for id, part in (("MDA=", CONTENT[:9]), ("MDE=", CONTENT[9:]))
    ]
    listed = "<BlockList><Latest>MDA=</Latest><Latest>MDE=</Latest></BlockList>"
    ended = put(f"{made.body['url']}&comp=blocklist", listed, headers={"Content-Type": "text/plain"})
    trial = host.request("POST", f"uploads/{made.body['upload']}/check", b"", {})
    loaded = host.request("POST", f"uploads/{made.body['upload']}/load", b"", {})
    job = loaded.body["jobs"][0]["job"]
    host.durable.wait(job)
    reported = host.request("GET", f"jobs/{job}", b"", {}).body

    assert (201, 409, [201, 201], 201, 200, 202) == (
        made.status, early.status, blocks, ended, trial.status, loaded.status
    )  # fmt: skip
    assert trial.body.keys() == DOCUMENT["components"]["schemas"]["Trial"]["properties"].keys()
    assert {"read": 2, "inserted": 2} == trial.body["outcomes"][0]["counts"]
    assert ("done", 2, FEED) == (reported["state"], reported["units"][0]["inserted"], reported["units"][0]["feed"])


def test_link_writes_its_own_blob_for_some_minutes_and_nothing_else(host):
    """It reads nothing, lists nothing, deletes nothing, and is of no other name."""
    url = host.request("POST", f"uploads?feed={FEED}&name={NAME}", b"", {}).body["url"]
    blob, _, sas = url.partition("?")
    fields = parse_qs(sas)
    put(url, CONTENT, headers={"x-ms-blob-type": "BlockBlob"})

    container = blob[: blob.index("/uploads/")]
    refused = [
        requests.get(url, timeout=30), requests.delete(url, timeout=30),
        requests.put(f"{blob}x?{sas}", CONTENT, headers={"x-ms-blob-type": "BlockBlob"}, timeout=30),
        requests.get(f"{container}?restype=container&comp=list&{sas}", timeout=30),
    ]  # fmt: skip

    assert [403] * 4 == [one.status_code for one in refused]
    assert (["cw"], ["b"]) == (fields["sp"], fields["sr"])
    minutes = (dt.datetime.fromisoformat(fields["se"][0]) - host.app.now()).total_seconds() / 60
    assert 29 <= minutes <= 30


def test_user_delegation_signs_with_the_identity_not_run_against_azurite_which_wants_https_for_it(monkeypatch):
    """Over https only, for one blob, to write; the key is valid as long as the link is valid."""
    calls = []

    def key(_service, start, expiry):
        calls.append((start, expiry))
        found = UserDelegationKey()
        found.signed_oid, found.signed_tid, found.signed_service, found.signed_version = "oid", "tid", "b", "2025-01-05"
        found.signed_start, found.signed_expiry, found.value = (
            "2026-02-24T11:55:00Z",
            "2026-02-24T12:30:00Z",
            "c2VjcmV0",
        )
        return found

    monkeypatch.setattr(BlobServiceClient, "get_user_delegation_key", key)
    monkeypatch.setattr(identity, "credential", Token)
    place = urls.parse_url("https://acme.blob.core.windows.net/state/uploads/1/csv/a/b/delta/2/x.csv")
    now = dt.datetime(2026, 2, 24, 12, tzinfo=dt.UTC)

    url = links.write_link(place, Settings.from_env({}), now, minutes=30)

    fields = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{place.link}?")
    assert ("cw", "b", "https", "oid", "2026-02-24T12:30:00Z") == tuple(
        fields[name] for name in ("sp", "sr", "spr", "skoid", "se")
    )
    assert [(now - dt.timedelta(minutes=5), now + dt.timedelta(minutes=30))] == calls


class Token:
    """An identity that is never called."""

    def get_token(self, *_scopes, **_options):
        raise AssertionError("no token is needed to sign")


def test_nothing_is_signed_with_a_sas():
    """It cannot be: a link is refused, and files come in requests."""
    place = urls.parse_url("https://acme.blob.core.windows.net/state/x?sv=2021-06-08&se=2027-01-01&sr=c&sp=rwl&sig=x")

    assert None is links.write_link(place, Settings.from_env({}), dt.datetime.now(dt.UTC), minutes=30)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"uploads?feed={FEED}&name=x.exe", 400), ("uploads?feed=x.y&name=x.csv", 404),
        (f"uploads?feed={FEED}&name=x.csv&full=maybe", 400),
        (f"uploads/{'0' * 32}/load", 404), ("uploads/x/check", 404),
    ],
)  # fmt: skip
def test_what_cannot_be_uploaded_is_refused(host, path, status):
    assert status == host.request("POST", path, CONTENT, {}).status


def test_page_lets_its_script_write_to_the_account(host):
    """And to no other place."""
    from tests.web.pages.browsing import OPERATES, get

    page = get(host.app, "upload", OPERATES)

    origin = re.match(r"https?://[^/]+", host.app.settings.state_url)[0]
    assert page.headers["Content-Security-Policy"].endswith(f"; script-src 'self'; connect-src 'self' {origin}")
    assert b"data-direct" in page.body
