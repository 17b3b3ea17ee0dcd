"""The operations API over the real functions: what it starts, what it tells of jobs, and how it refuses."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shutil
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stamina

from shared import catalog
from shared.errors import ConfigError, TransientError
from shared.jobs import activities, triggers
from shared.jobs.feed_state import FeedStates
from shared.jobs.view import view
from shared.model import Watermark
from shared.sources import sql
from shared.web import api, responses
from shared.web.webhooks import receive
from tests.exports import Clock, open_test_app
from tests.standins.fakes import MemoryPullSource
from tests.standins.functions_host import functions_host
from tests.stores.test_links import served
from tests.web.hostile_webhooks import HEADER, signature

FEED, PULLED, CLIENT, SECRET = "coolr.location", "shop.item", "Acme", "a secret of both sides"
ACTIONS = ("run", "backfill", "pause", "resume")
NOBODY = f"export:{'0' * 32}"


@pytest.fixture(autouse=True)
def impatient():
    """One try, and no waits."""
    with stamina.set_testing(True, attempts=1):
        yield


class Site:
    """The functions over an app with settings of its own; what they answer is kept."""

    def __init__(self, tmp_path, monkeypatch, stack):
        self._tmp_path, self._monkeypatch, self._stack = tmp_path, monkeypatch, stack
        self.answers, self.held, self.host = [], None, None
        # Of documents in a local folder it is the machine that says when they were written.
        self.clock = Clock(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))

    def opens(self, instead=None, **env):
        self.app = open_test_app(
            self._tmp_path, self.clock, instead=instead, STATE_URL=f"{self._tmp_path}/state", COOLR_CLIENT=CLIENT, **env
        )
        overrides = {"publish": self._held} if self.held else {}
        self.host = self._stack.enter_context(functions_host(self.app, self._monkeypatch, overrides=overrides))
        return self

    def _held(self, request):
        self.held.wait()
        return activities.run_activity(self.app, "publish", request)

    def asks(self, method, path, body=None, headers=None):
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = self.host.request(method, path, content, headers)
        self.answers.append(answer)
        return answer

    def acts(self, action, feed=FEED, body=None):
        """The jobs that an action names, once they have ended."""
        answer = self.asks("POST", f"feeds/{feed}/{action}", body)
        assert answer.status == 202, answer
        return [self.ended(one["job"]) for one in answer.body["jobs"]]

    def ended(self, job):
        self.host.durable.wait(job)
        return self.asks("GET", f"jobs/{job}").body

    def notified(self, server, *names):
        told = {
            "clientName": CLIENT, "exportType": "Delta", "exportDateTime": self.clock().isoformat(),
            "files": [{"fileName": name, "downloadUrl": f"{server.url}/{name}"} for name in names],
        }  # fmt: skip
        body = json.dumps(told).encode()
        answer = self.asks("POST", "webhooks/coolr", body, {HEADER: signature(body, SECRET)})
        assert answer.status == 202, answer
        return answer.body["job"]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Nothing that it answered has a key of the host, or a link that carries one."""
    with contextlib.ExitStack() as stack:
        site = Site(tmp_path, monkeypatch, stack)
        yield site
        if site.held:
            site.held.set()
        assert "code=KEY" in (site.host.durable.client_binding() if site.host else "code=KEY")
        for answer in site.answers:
            said = json.dumps([answer.body, dict(answer.headers)])
            assert "KEY" not in said
            assert "code=" not in said


@pytest.fixture
def pushed(site, azurite, container):
    """A site with a container that exports arrive in."""
    return site.opens(EXPORTS_URL=container.url, STORAGE_CONNECTION_STRING=azurite.connection_string)


@pytest.fixture
def server(site):
    """Links of notifications lead there."""
    with served() as server:
        yield server


@pytest.fixture
def notifying(site, server):
    """A site that takes notifications."""
    hosts = server.url.removeprefix("http://")
    return site.opens(COOLR_WEBHOOK_SECRET=SECRET, COOLR_WEBHOOK_HOSTS=hosts)


@pytest.fixture
def pulled(site, tmp_path, monkeypatch):
    """A site with a feed that is read from a source in memory."""
    schema = pa.schema([("Id", pa.int64()), ("At", pa.timestamp("us"))])
    site.source = MemoryPullSource(schema, [{"Id": n, "At": day(n)} for n in (1, 2, 3)], "At", "timestamp")
    monkeypatch.setattr(sql, "open_source", lambda *_: site.source)
    folder = tmp_path / "catalog"
    shutil.copytree(catalog.PACKAGED, folder)
    (folder / "shop.toml").write_text(
        '[system]\nname = "shop"\nsource = "sql"\n[tables]\nitem = { keys = ["Id"], cursor = "At" }\n'
    )
    return site.opens(CATALOG_PATH=str(folder))


def day(number):
    return dt.datetime(2026, 2, number)  # noqa: DTZ001 - naive UTC, as columns are


def parquet(*ids, key="LocationId", changed=20):
    rows = [{key: n, "ModifiedOn": day(changed), "IsDeleted": False} for n in ids]
    content = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), content)
    return content.getvalue().to_pybytes()


def blob(number, table="location", kind="Full"):
    return f"{kind}/{CLIENT}/202602{number:02}000000/{table}.parquet"


def outcomes(told):
    """What became of the units of jobs: status, rows read, and why they were skipped."""
    return [(unit["status"], unit.get("read"), unit.get("skipped")) for job in told for unit in job["units"]]


# -- run


def test_run_takes_what_nobody_announced(pushed, container):
    """Of the feed alone; what is loaded starts no second job."""
    container.upload_blob(blob(21), parquet(1, 2, 3))
    container.upload_blob(blob(21, "asset"), parquet(1, key="AssetId"))

    assert [("done", 3, None)] == outcomes(pushed.acts("run"))
    assert [] == pushed.acts("run")
    assert [("done", 1, None)] == outcomes(pushed.acts("run", "coolr.asset"))


def test_run_answers_with_the_jobs_and_where_to_look(pushed, container):
    """The link is that of the job's own route."""
    container.upload_blob(blob(21), parquet(1))

    answer = pushed.asks("POST", f"feeds/{FEED}/run")

    (started,) = answer.body["jobs"]
    assert (202, FEED) == (answer.status, answer.body["feed"])
    assert f"http://localhost:7071/api/jobs/{started['job'].replace(':', '%3A')}" == started["url"]
    assert "done" == pushed.ended(started["url"].partition("/api/jobs/")[2].replace("%3A", ":"))["state"]


def test_run_takes_up_what_failed_and_reconcile_does_not(pushed, container):
    """A full that deletes too much fails each time, until a run allows it."""
    pushed.acts("run")
    container.upload_blob(blob(21), parquet(*range(20)))
    pushed.acts("run")
    container.upload_blob(blob(22), parquet(1))
    (failed,) = pushed.acts("run")

    before = dict(pushed.host.durable.instances)
    pushed.host.timer("reconcile")
    assert before == dict(pushed.host.durable.instances)
    assert ["failed", "failed"] == [failed["state"], *(job["state"] for job in pushed.acts("run"))]
    (allowed,) = pushed.acts("run", body={"max_delete_share": 1})
    assert ("done", 19) == (allowed["state"], allowed["summary"]["deleted"])


def test_smaller_share_than_in_the_catalog_reaches_the_merge(pushed, container):
    """Three of twenty would be let go by the catalog."""
    container.upload_blob(blob(21), parquet(*range(40)))
    pushed.acts("run")
    container.upload_blob(blob(22), parquet(*range(29)))

    (refused,) = pushed.acts("run", body={"max_delete_share": 0.1})
    (taken,) = pushed.acts("run")

    assert ("failed", "done", 11) == (refused["state"], taken["state"], taken["summary"]["deleted"])


def test_run_of_an_empty_container_starts_nothing(pushed):
    """Nor is it an error."""
    assert [] == pushed.acts("run")


def test_run_without_a_container_starts_nothing(site):
    """Exports may come by notification alone."""
    assert [] == site.opens().acts("run")


def test_run_of_a_pull_feed_syncs_it(pulled):
    """By the one job there is for it, from where it stands."""
    (first,) = pulled.acts("run", PULLED)
    pulled.source.rows.append({"Id": 4, "At": day(4)})
    (second,) = pulled.acts("run", PULLED)

    assert [f"sync:{PULLED}"] * 2 == [first["job"], second["job"]]
    assert ("sync shop.item", 3) == (first["summary"]["what"], first["summary"]["inserted"])
    assert (2, 1) == (second["summary"]["read"], second["summary"]["inserted"])


def test_share_reaches_the_sync(pulled):
    """As it does files."""
    pulled.acts("run", PULLED, {"max_delete_share": 0.25})

    asked = [ask["max_delete_share"] for name, ask in pulled.host.durable.calls if name == "publish"]
    assert [0.25] == asked


# -- backfill


def test_backfill_takes_again_what_came_since(pushed, container):
    """And leaves what came before; rows that are the same stay as they are."""
    container.upload_blob(blob(20), parquet(1, 2, 3))
    container.upload_blob(blob(21, kind="Delta"), parquet(4, 5))
    pushed.acts("run")

    assert [("done", 2, None)] == outcomes(pushed.acts("backfill", body={"to": "2026-02-21T00:00:00Z"}))
    again = pushed.acts("backfill", body={"to": "2026-02-20"})
    assert [2, 3] == sorted(job["summary"]["unchanged"] for job in again)


def test_backfill_of_a_pull_feed_reads_again_from_there(pulled):
    """Its watermark is set back, never forward."""
    pulled.acts("run", PULLED)

    assert [("done", 2, None)] == outcomes(pulled.acts("backfill", PULLED, {"to": "2026-02-02T00:00:00+00:00"}))
    assert [("done", 1, None)] == outcomes(pulled.acts("backfill", PULLED, {"to": "2026-02-09"}))


def test_backfill_of_a_feed_that_was_never_read_reads_it(pulled):
    """There is nothing to set back."""
    assert [("done", 3, None)] == outcomes(pulled.acts("backfill", PULLED, {"to": "2026-02-02"}))


def test_feed_that_is_read_by_a_number_cannot_be_set_back_to_a_time(pulled):
    """The answer says why, and nothing has changed."""
    pulled.app.ledger.rewind(PULLED, Watermark("17", "bigint"))

    answer = pulled.asks("POST", f"feeds/{PULLED}/backfill", {"to": "2026-02-02"})

    assert (400, "17") == (answer.status, pulled.app.ledger.watermark(PULLED).value)
    assert "shop.item is read by a cursor of type bigint, which cannot be set back" in answer.body["error"]


def test_backfill_of_a_paused_feed_says_that_nothing_was_taken(pushed, container):
    """Not what the same job did before."""
    container.upload_blob(blob(21), parquet(1))
    pushed.acts("run")
    pushed.acts("pause")

    assert [("skipped", None, "its feed is paused")] == outcomes(pushed.acts("backfill", body={"to": "2026-02-01"}))


# -- pause and resume


def test_paused_feed_skips_files_and_resume_takes_them(pushed, container):
    """Pausing twice is pausing once."""
    assert [] == [*pushed.acts("pause"), *pushed.acts("pause")]
    container.upload_blob(blob(21), parquet(1, 2, 3))
    pushed.host.blob_event(container, blob(21))
    (job,) = pushed.host.durable.instances

    skipped = pushed.ended(job)

    assert ("done", [("skipped", None, "its feed is paused")]) == (skipped["state"], outcomes([skipped]))
    assert (1, 0) == (skipped["summary"]["skipped"], skipped["summary"]["read"])
    assert [("done", 3, None)] == outcomes(pushed.acts("resume"))


def test_other_feeds_go_on_while_one_is_paused(pushed, container):
    """A pause is of one feed."""
    pushed.acts("pause")
    container.upload_blob(blob(21, "asset"), parquet(1, key="AssetId"))

    assert [("done", 1, None)] == outcomes(pushed.acts("run", "coolr.asset"))


def test_notification_during_a_pause_is_kept_for_resume(notifying, server):
    """Its link is all there is of the file."""
    server.puts("/location.parquet", parquet(1, 2))
    notifying.acts("pause")
    job = notifying.notified(server, "location.parquet")
    paused = notifying.ended(job)

    (resumed,) = notifying.acts("resume")

    assert [("skipped", None, "its feed is paused")] == outcomes([paused])
    assert (job, [("done", 2, None)]) == (resumed["job"], outcomes([resumed]))
    assert [] == notifying.acts("resume")


def test_paused_pull_feed_is_read_once_it_is_resumed(pulled):
    """Run does not overrule a pause."""
    pulled.acts("pause", PULLED)

    assert [("skipped", None, "its feed is paused")] == outcomes(pulled.acts("run", PULLED))
    assert [("done", 3, None)] == outcomes(pulled.acts("resume", PULLED))


# -- what is refused


@pytest.mark.parametrize("feed", ["coolr.locations", "location", "Coolr.Location", "%2e%2e%2fcoolr", "%00", "a" * 3000])
@pytest.mark.parametrize("action", ACTIONS)
def test_unknown_feed_is_not_found(site, action, feed):
    """Whatever is to be done to it."""
    body = {"to": "2026-02-24"} if action == "backfill" else None

    answer = site.opens().asks("POST", f"feeds/{feed}/{action}", body)

    assert 404 == answer.status
    assert "there is no" in answer.body["error"]


def test_unknown_feed_is_told_those_there_are(site):
    """So that a slip is seen at once."""
    answer = site.opens().asks("POST", "feeds/coolr.locations/run")

    assert "'coolr.locations'" in answer.body["error"]
    assert FEED in answer.body["error"]


def test_name_that_some_databases_cannot_be_asked_for_is_not_found(site):
    """PostgreSQL takes no such character, not even to look for it."""
    site.opens({"warehouse": Away(ValueError("text fields cannot contain NUL"))})

    assert 404 == site.asks("POST", "feeds/coolr.%00/run").status


WRONG = [
    ("run", b"{", "the body is not JSON"),
    ("run", b"\xff", "the body is not JSON"),
    ("run", b"[" * 100_000, "the body is not JSON"),
    ("run", b"[]", "the body is not a JSON object"),
    ("run", b"null", "the body is not a JSON object"),
    ("run", b'{"max_delete_shares": 1}', "'max_delete_shares' is not known here; known are max_delete_share"),
    ("run", b'{"max_delete_share": 1.5}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": -0.1}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": NaN}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": 1e999}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": true}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": "1"}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": null}', "max_delete_share must be a number from 0 to 1"),
    ("backfill", b"", "to is missing"),
    ("backfill", b"{}", "to is missing"),
    ("backfill", b'{"to": "yesterday"}', "to must be a time"),
    ("backfill", b'{"to": 20260224}', "to must be a time"),
    ("backfill", b'{"to": null}', "to must be a time"),
    ("backfill", b'{"to": "2026-02-30"}', "to must be a time"),
    ("backfill", b'{"to": "0001-01-01T00:00:00+14:00"}', "to must be a time"),
    ("backfill", b'{"to": "\\ud800"}', "the body is not JSON"),
    ("backfill", b'{"from": "2026-02-24"}', "'from' is not known here; known are to"),
    ("pause", b'{"until": "2026-02-24"}', "'until' is not known here; known are no fields"),
    ("resume", b'{"\\ud800": 1}', "the body is not JSON"),
]


@pytest.mark.parametrize(("action", "body", "reason"), WRONG, ids=[f"{a}-{b[:24]!r}" for a, b, _ in WRONG])
def test_wrong_body_is_refused_by_the_name_of_its_field(site, action, body, reason):
    """And nothing is done."""
    answer = site.opens().asks("POST", f"feeds/{FEED}/{action}", body)

    assert 400 == answer.status
    assert reason in answer.body["error"]
    assert not FeedStates(site.app.documents).paused(FEED)
    assert {} == site.host.durable.instances


@pytest.mark.parametrize(
    "id",
    [
        NOBODY, "export", "export:", "export:a%2Fb", "export:..%2F..%2Ffeeds", "export:a%0A", "export:%00", "other:1",
        "EXPORT:1", "export:1~", "export:1~2~3", f"export:{'a' * 300}", f"{'a' * 300}:1", "export:%C3%A9",
        "export:a%20b", "@export@1", "%2E%2E",
    ],
)  # fmt: skip
def test_job_that_cannot_be_is_not_found(site, id):
    """Nobody is asked for it by a name that it could not have."""
    answer = site.opens().asks("GET", f"jobs/{id}")

    assert (404, {"error": "there is no such job"}) == (answer.status, answer.body)


def test_child_of_a_job_is_no_job(notifying, server):
    """Its parts are the host's business."""
    job = notifying.notified(server, "location.parquet")
    notifying.ended(job)

    assert {job, f"{job}:0", f"{job}:0:0"} <= notifying.host.durable.instances.keys()
    assert 404 == notifying.asks("GET", f"jobs/{job}:0").status


def test_action_may_be_written_in_any_case(site):
    """Routes of the host know no case, and hand on what was written."""
    site.opens()

    assert [] == api.run_action(site.app, FEED, "PAUSE", b"")
    assert FeedStates(site.app.documents).paused(FEED)


def test_notification_where_none_is_expected_says_what_to_set(site):
    """To be mended by an operator: waiting does not help."""
    answer = site.opens().asks("POST", "webhooks/coolr", {}, {HEADER: "0" * 64})

    assert (503, False) == (answer.status, "Retry-After" in answer.headers)
    assert "COOLR_WEBHOOK_SECRET" in answer.body["error"]


# -- jobs


def test_job_is_seen_while_it_runs_and_after(site, server):
    """First without a summary, and with what is through already."""
    site.held = threading.Event()
    site.opens(COOLR_WEBHOOK_SECRET=SECRET, COOLR_WEBHOOK_HOSTS=server.url.removeprefix("http://"))
    server.puts("/location.parquet", parquet(1, 2, 3))
    job = site.notified(server, "asset.parquet", "location.parquet")
    site.host.durable.wait(f"{job}:0:0")  # the file that is not there

    running = site.asks("GET", f"jobs/{job}").body
    site.held.set()
    ended = site.ended(job)

    assert (job, "export_job", "running", None) == tuple(
        running[name] for name in ("job", "orchestrator", "state", "summary")
    )
    assert {"units": 2} == running["progress"]
    assert [("coolr.asset", "failed")] == [(unit["feed"], unit["status"]) for unit in running["units"]]
    assert ("partly", 1, 1, 3) == (ended["state"], *(ended["summary"][name] for name in ("done", "failed", "inserted")))
    assert ["coolr.asset", FEED] == [unit["feed"] for unit in ended["units"]]


def test_job_that_the_host_has_forgotten_is_told_from_its_summary(notifying, server):
    """The app's own memory of it lasts as long."""
    server.puts("/location.parquet", parquet(1))
    job = notifying.notified(server, "location.parquet")
    known = notifying.ended(job)
    del notifying.host.durable.instances[job]

    told = notifying.asks("GET", f"jobs/{job}").body

    assert {name: known[name] for name in ("job", "state", "retryable", "summary", "units")} == told


def test_job_that_was_ended_does_not_pass_for_the_one_before(pulled):
    """A sync has one id for all its times."""
    (first,) = pulled.acts("run", PULLED)
    work = {"kind": "feed", "feed": PULLED}
    activities.run_activity(pulled.app, "plan", {"job": first["job"], "started": "2027", "unit": 0, "work": work})
    pulled.host.durable.instances[first["job"]].status = "Terminated"

    told = pulled.asks("GET", f"jobs/{first['job']}").body

    assert ("done", "terminated", None) == (first["state"], told["state"], told["summary"])


def test_what_an_ended_job_left_is_not_shown_of_the_next(site):
    """Both have one id, and the first could not clear up."""
    site.opens()
    for started in ("2026-02-24T12:00:00.000000", "2026-02-25T12:00:00.000000"):
        outcome = {"status": "skipped", "place": started}
        name = f"jobs/sync:{PULLED}/{started}/0/unit"
        site.app.documents.put(name, json.dumps({"outcome": outcome}).encode())

    told = view(site.app.documents, f"sync:{PULLED}", {"state": "running"})

    assert ["2026-02-25T12:00:00.000000"] == [unit["place"] for unit in told["units"]]


# -- health


class Away:
    """A part of the app that must not be asked."""

    def __init__(self, error):
        self._error = error

    def __getattr__(self, name):
        raise self._error


@pytest.mark.parametrize("query", ["", "?deep", "?deep=", "?deep=0", "?deep=False"])
def test_health_wakes_nobody(site, query):
    """Probes come often, and a database that is woken costs."""
    parts = ("warehouse", "ledger", "documents")
    site.opens({name: Away(AssertionError(f"{name} is asked")) for name in parts})

    answer = site.asks("GET", f"health{query}")

    assert (200, {"status": "ok", "feeds": 5}) == (answer.status, answer.body)


def test_deep_health_asks_every_part(pushed):
    """And says so."""
    answer = pushed.asks("GET", "health?deep=true")

    assert (200, "ok") == (answer.status, answer.body["status"])
    assert ["state", "ledger", "warehouse", "exports"] == [one["check"] for one in answer.body["checks"]]


@pytest.mark.parametrize("part", ["state", "ledger", "warehouse"])
def test_deep_health_says_which_part_is_away(site, part):
    """With what to do, and without what signs in there; the others are asked all the same."""
    away = TransientError("sql://me:pw@host/db?sig=canary is asleep", fix="Wait for sql://host?sig=canary")
    site.opens({"documents" if part == "state" else part: Away(away)})

    answer = site.asks("GET", "health?deep=1")

    assert (503, "failed") == (answer.status, answer.body["status"])
    by_part = {one["check"]: (one["status"], one["message"], one["fix"]) for one in answer.body["checks"]}
    assert ("failed", "sql://host/db is asleep", "Wait for sql://host") == by_part.pop(part)
    assert {("ok", "it answers", "")} == set(by_part.values())


def test_deep_health_says_that_the_container_is_away(site, azurite):
    """Files could not be read from there."""
    url = f"{azurite.blob_url}/no-such-container"
    site.opens(EXPORTS_URL=url, STORAGE_CONNECTION_STRING=azurite.connection_string)

    answer = site.asks("GET", "health?deep=yes")

    assert 503 == answer.status
    assert ["exports"] == [one["check"] for one in answer.body["checks"] if one["status"] == "failed"]


# -- what goes wrong


@pytest.mark.parametrize(
    ("method", "path", "module", "function"),
    [
        ("GET", "health", api, "health"),
        ("GET", f"jobs/{NOBODY}", api, "job"),
        ("POST", f"feeds/{FEED}/run", api, "run_action"),
        ("POST", "webhooks/coolr", responses, "accepted_response"),
    ],
)
def test_the_traceback_of_an_unexpected_error_is_in_the_log_alone(
    site, monkeypatch, caplog, method, path, module, function
):  # fmt: skip
    """The answer is one sentence, the same for all."""

    def broken(*_, **__):
        raise RuntimeError("the canary died in C:/site")

    monkeypatch.setattr(module, function, broken)
    monkeypatch.setattr(receive, "export_notified", lambda *_: triggers.sync_job(FEED))
    site.opens()

    answer = site.asks(method, path)

    assert (500, {"error": "internal error; see the log"}) == (answer.status, answer.body)
    assert ["the canary died in C:/site"] == [str(one.exc_info[1]) for one in caplog.records if one.exc_info]


def test_what_passes_says_when_to_ask_again(site, monkeypatch):
    """And nothing that signs in."""
    busy = TransientError("https://a.test/x?sig=canary is busy", fix="Try again")
    site.opens({"warehouse": Away(busy)})

    answer = site.asks("POST", "feeds/coolr.other/run")

    assert (503, "30") == (answer.status, answer.headers["Retry-After"])
    assert {"error": "https://a.test/x is busy. Try again."} == answer.body


def test_what_is_set_wrongly_is_not_worth_waiting_for(site):
    """The sentence says what to mend."""
    site.opens({"documents": Away(ConfigError("no right to write", fix="Give one"))})

    answer = site.asks("POST", f"feeds/{FEED}/pause")

    assert (503, {"error": "no right to write. Give one."}) == (answer.status, answer.body)
    assert "Retry-After" not in answer.headers
