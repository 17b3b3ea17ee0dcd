"""The page on this machine: over the embedded warehouse, for whoever has the link, and for nobody else."""

from __future__ import annotations

import re
import socket
import threading

import pytest
import requests

from shared.pipeline.status import HistoryLog
from shared.web.pages.local import LocalServer
from tests.advice import advised
from tests.exports import Clock, export_path, load_exports, open_test_app, write_parquet


def call(method, url, **options):
    return requests.request(method, url, timeout=30, **options)


@pytest.fixture
def app(tmp_path):
    """A warehouse with a run that rejected a row, and one that failed."""
    app = open_test_app(tmp_path, Clock(), STATE_URL=str(tmp_path / "state"))
    rows = [{"LocationId": n or None, "Name": "a", "ModifiedOn": None, "IsDeleted": False} for n in range(20)]
    write_parquet(export_path(tmp_path / "exports", "full", "20260224110000", "location"), rows)
    (tmp_path / "exports/Full/Acme/20260224110000/asset.parquet").write_bytes(b"PAR1 and then rubbish")
    list(load_exports(app, tmp_path / "exports"))
    return app


@pytest.fixture
def server(app):
    with LocalServer(app, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_history_gives_what_jobs_would_have_kept(app):
    """Counts, errors, reasons of rejects."""
    log = HistoryLog(app.warehouse)
    recent = log.recent().runs
    (run,) = log.of_feed("coolr.location")
    found = log.run("coolr.location", run.key)

    assert {"coolr.location": "done", "coolr.asset": "failed"} == {
        name: one.last.status for name, one in recent.items()
    }
    assert ({"read": 20, "inserted": 19, "rejected": 1}, recent["coolr.location"].data_at) == (run.counts, run.finished)
    assert 1 == sum(found.reasons.values())
    assert None is log.run("coolr.asset", run.key)


def test_link_signs_one_browser_in_and_shows_the_pages(server):
    """From the overview to a run and its rejects; there are commands for what jobs do elsewhere."""
    browser = requests.Session()

    overview = browser.get(server.link)
    pages = [
        browser.get(f"http://{server.host}/api/status/{path}")
        for path in ("feed?name=coolr.location", "settings", "jobs")
    ]
    rejects = browser.get(f"http://{server.host}/api/status/rejects.csv?feed=coolr.location")

    assert f"http://{server.host}/api/status" == overview.url
    assert "coolr.asset" in overview.text
    assert [200] * 4 == [one.status_code for one in (*pages, rejects)]
    assert "sluice load FOLDER --tables location" in pages[0].text
    of_files = browser.get(pages[0].url.replace("coolr.location", "hubspot.zip_codes"), timeout=30)
    assert "sluice csv hubspot zip_codes FILE" in of_files.text
    assert not re.search(r"Run now|Pause|Backfill<", pages[0].text)
    assert "No jobs run on this machine" in pages[0].text
    assert "key_null" in rejects.text


def test_nobody_else_gets_in(server):
    """Not by the link again, without the cookie, by a made-up one, by another name of this machine, or by a form."""
    link, page = server.link, f"http://{server.host}/api/status"
    call("get", link)

    assert 403 == call("get", link).status_code
    assert 403 == call("get", page).status_code
    assert 403 == call("get", f"{page}?token=None").status_code
    assert 403 == call("get", page, headers={"Cookie": "sluice_status=1; =;"}).status_code
    assert 421 == call("get", page, headers={"Host": "evil.test"}).status_code
    assert (404, 403) == tuple(call("post", f"{page}{path}").status_code for path in ("", "/upload"))


def test_cookie_is_for_this_site_alone(server):
    """No script and no other site has it."""
    first = call("get", server.link, allow_redirects=False)

    assert first.headers["Set-Cookie"].endswith("; Path=/api/status; HttpOnly; SameSite=Strict")
    assert "no-store" == first.headers["Cache-Control"]


def test_port_that_is_taken_is_refused(app):
    """Another one is free."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with advised("Choose another --port"):
            LocalServer(app, other.getsockname()[1])
        LocalServer(app, 0).server_close()


def test_file_is_uploaded_tried_and_loaded(server, app):
    """By whoever has signed in, with the token of the form; what needs jobs is refused."""
    browser = requests.Session()
    browser.get(server.link)
    url = f"http://{server.host}/api/status/upload"
    token = re.search(r'name="token" value="(\w+)"', browser.get(url, timeout=30).text)[1]
    given = {"token": token, "feed": "hubspot.zip_codes", "action": "file"}

    stranger = call("post", url, data=given, files={"file": ("zips.csv", b"Zip\n10115\n")})
    forged = browser.post(url, data={**given, "token": "x"}, files={"file": ("zips.csv", b"Zip\n10115\n")}, timeout=60)
    trial = browser.post(url, data=given, files={"file": ("zips.csv", b"Zip\n10115\n")}, timeout=60)
    id = re.search(r"id=(\w+)", trial.url)[1]
    loaded = browser.post(url, data={"token": token, "action": "load", "id": id}, timeout=60)
    run = browser.post(
        url.replace("upload", "feed"), data={"token": token, "name": "coolr.location", "action": "run"}, timeout=30
    )

    assert [403, 403, 200, 200, 403] == [one.status_code for one in (stranger, forged, trial, loaded, run)]
    assert "1 inserted" in trial.text
    assert [1] == [one.inserted for one in app.warehouse.runs("hubspot.zip_codes")]
    assert "no jobs run on this machine" in run.text
