"""HubSpot's events, from the request to the rows: through the functions, their jobs and a HubSpot on this machine."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import hmac
import json

from collections import Counter
from dataclasses import replace

import pytest
import stamina

import function_app
import shared.app

from shared.jobs.events import EVENTS, unit_of
from shared.jobs.feed_state import FeedStates
from shared.jobs.request import ObjectEvents
from shared.jobs.summary import read_record
from tests.advice import advised, advises
from tests.exports import Clock, open_test_app
from tests.quick import quick_if
from tests.servers.hubspot import NOON, TOKEN, hubspot, ms
from tests.standins.durable_host import DurableHost
from tests.standins.fakes import Calls, Watched
from tests.standins.functions_host import FunctionsHost

CATALOG = """
[system]
name = "crm"
source = "hubspot"

[defaults]
keys = ["id"]
cursor = "hs_lastmodifieddate"
deleted = "archived"
max_delete_share = 1.0

[defaults.api]
version = "2026-03"
auth = { kind = "bearer", token = "access_token" }

[tables]
contact = { cursor = "lastmodifieddate", api = { object = "contacts", properties = ["email"] } }
deal = { api = { object = "deals", properties = ["amount"] } }

[tables.contact_company]
keys = ["from_id", "to_id", "category", "type_id"]
cursor = false
deleted = false
api = { object = "contacts", associated = "companies" }
"""
ACCOUNT, SECRET, OLD_SECRET = 62515, "a client secret", "the one before"
URL = "https://sluice.test/api/webhooks/hubspot"


class Site:
    """The functions over an app; its jobs go on when the test says so."""

    def __init__(self, app, clock, server):
        self.app, self.clock, self.server, self.durable = app, clock, server, None
        self._numbers = iter(range(1, 10**6))
        self.replaced()

    def replaced(self):
        """Another process takes over, with what was stored and no more."""
        self.close()
        function_app._started.clear()
        self.durable = DurableHost(function_app.app, start=self.clock(), payload_limit=45 << 10)
        self.host = FunctionsHost(self.app, self.durable)

    def close(self):
        if self.durable is not None:
            self.durable.close()

    def event(self, kind, id, at=None, **more):
        return {
            "eventId": next(self._numbers), "subscriptionId": 1, "portalId": ACCOUNT, "appId": 3, "attemptNumber": 0,
            "occurredAt": ms(at or self.server.now), "subscriptionType": kind, "objectId": id, **more,
        }  # fmt: skip

    def posts(self, *events, secret=SECRET, skew=0, url=URL, headers=None):
        body = json.dumps(events).encode()
        stamp = str(int((self.clock().timestamp() + skew) * 1000))
        signature = hmac.digest(secret.encode(), b"POST" + url.encode() + body + stamp.encode(), hashlib.sha256)
        own = {"X-HubSpot-Signature-v3": base64.b64encode(signature).decode(), "X-HubSpot-Request-Timestamp": stamp}
        return self.host.request("POST", "webhooks/hubspot", body, headers or own)

    def delivers(self, *events):
        """Events that come and are worked off."""
        self.clock.forward(seconds=10)
        answer = self.posts(*events)
        assert 202 == answer.status, answer
        self.durable.run_until_idle()
        return answer.body

    def synced(self):
        self.host.request("POST", "feeds/crm.contact/run")
        self.durable.run_until_idle()

    def rows(self, table="contact"):
        """Key, e-mail address or amount, and whether the row is deleted, of all rows."""
        value = {"contact": "email", "deal": "amount"}[table]
        with self.app.warehouse._session() as session:
            sql = f'SELECT "id", "{value}", "DeletedAt" IS NOT NULL FROM crm.{table} ORDER BY 1'
            return session.connection.execute(sql).fetchall()

    def everything(self):
        with self.app.warehouse._session() as session:
            return session.connection.execute("SELECT * FROM crm.contact ORDER BY id").fetchall()

    def kept(self):
        return [entry.name for entry in self.app.documents.entries("event")]

    def jobs(self):
        return sorted(id for id in self.durable.instances if id.startswith("events:") and id.count(":") == 1)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("shared.sources.hubspot.source._SEARCHED", ())
    with hubspot() as found:
        for id in (1, 2, 3):
            found.put("contacts", id, NOON - dt.timedelta(hours=1), email=f"{id}@a.test")
        yield found
        assert [] == found.violations


@pytest.fixture
def opens(server, tmp_path, monkeypatch):
    """A site with these settings beside its own."""
    with stamina.set_testing(True, attempts=1), contextlib.ExitStack() as stack:
        yield lambda **env: stack.enter_context(contextlib.closing(_site(server, tmp_path, monkeypatch, env)))


@pytest.fixture
def site(opens):
    return opens()


def _site(server, tmp_path, monkeypatch, env):
    folder = tmp_path / "catalog"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "crm.toml").write_text(CATALOG)
    clock = Clock(NOON.replace(tzinfo=dt.UTC))
    settings = {
        "CRM_BASE_URL": server.url, "CRM_ACCESS_TOKEN": TOKEN, "CRM_WEBHOOK_SECRET": SECRET,
        "CRM_WEBHOOK_SECRET_OLD": OLD_SECRET, "CRM_WEBHOOK_ACCOUNT": str(ACCOUNT), **env,
    }  # fmt: skip
    app = open_test_app(tmp_path, clock, STATE_URL=str(tmp_path / "state"), CATALOG_PATH=str(folder), **settings)
    monkeypatch.setattr(shared.app, "current", lambda: app)
    return Site(app, clock, server)


# -- the request


def test_events_are_kept_before_anything_is_called(site):
    """The answer says how many; HubSpot is not called for it, and no value of an event is kept."""
    answer = site.posts(site.event("contact.propertyChange", 1, propertyName="email", propertyValue="hush"))

    assert (202, {"events": 1, "kept": 1, "ignored": 0, "unknown": 0}) == (answer.status, answer.body)
    assert [] == site.server.calls
    (name,) = site.kept()
    assert name.startswith(EVENTS)
    assert b"hush" not in site.app.documents.get(name)


def test_what_is_not_read_is_counted(site):
    """Unknown types, other accounts, objects without a feed and associations fail nothing, and start nothing."""
    answer = site.posts(
        site.event("contact.somethingNew", 1),
        site.event("contact.propertyChange", 1, portalId=ACCOUNT + 1),
        site.event("ticket.creation", 5),
        {**site.event("contact.associationChange", 1), "fromObjectId": 1, "toObjectId": 99},
    )

    assert (202, {"events": 4, "kept": 0, "ignored": 3, "unknown": 1}) == (answer.status, answer.body)
    assert ([], []) == (site.kept(), site.jobs())


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (202, {"secret": OLD_SECRET}),
        (202, {"skew": 299}),
        (202, {"skew": -299}),
        (401, {"secret": "another"}),
        (401, {"skew": 301}),
        (401, {"skew": -301}),
        (401, {"url": URL.replace("https", "http")}),
        (401, {"headers": {"X-HubSpot-Request-Timestamp": "1"}}),
    ],
    ids=str,
)
def test_only_what_hubspot_signed_lately_is_kept(status, how, site):
    """With the secret, or the one before it."""
    answer = site.posts(site.event("contact.creation", 1), **how)

    assert (status, status == 202) == (answer.status, bool(site.kept()))


def test_more_than_a_hundred_events_or_a_large_body_are_refused(site):
    """With the status that says so."""
    assert 400 == site.posts(*(site.event("contact.creation", n) for n in range(101))).status
    assert 413 == site.posts(site.event("contact.creation", 1, padding="x" * (1 << 20))).status
    assert 400 == site.posts().status
    assert [] == site.kept()


def test_without_its_settings_the_route_says_which(opens):
    """And keeps nothing."""
    site = opens(CRM_WEBHOOK_ACCOUNT="")
    answer = site.posts(site.event("contact.creation", 1))

    assert (503, []) == (answer.status, site.kept())
    assert "Set CRM_WEBHOOK_SECRET and CRM_WEBHOOK_ACCOUNT" in answer.body["error"]


def test_an_unknown_version_of_signatures_is_refused_until_it_is_a_known_one(opens):
    """All events are, so that none is accepted by a weaker one."""
    site = opens(CRM_WEBHOOK_SIGNATURE="v4")
    answer = site.posts(site.event("contact.creation", 1))
    advises("Set it to v3, v2 or v1", answer.body["error"])
    site = opens(CRM_WEBHOOK_SIGNATURE="v3")

    assert (503, 202) == (answer.status, site.posts(site.event("contact.creation", 1)).status)


def test_an_older_signature_and_the_url_of_a_proxy_are_settings(opens):
    """Of v2, which signs the URL that HubSpot called."""
    site = opens(CRM_WEBHOOK_SIGNATURE="v2", PUBLIC_URL="https://crm.example.com")
    events = [site.event("contact.creation", 1)]
    text = f"{SECRET}POSThttps://crm.example.com/api/webhooks/hubspot{json.dumps(events)}"
    headers = {
        "X-HubSpot-Signature": hashlib.sha256(text.encode()).hexdigest(), "X-HubSpot-Signature-Version": "v2",
    }  # fmt: skip

    assert 202 == site.posts(*events, headers=headers).status
    assert 401 == site.posts(*events).status


# -- the job


def test_objects_are_read_again_as_they_are_now(site):
    """Created, changed, archived and erased ones, of the feeds that have them; the watermark stays where it was."""
    site.synced()
    before = site.app.ledger.watermark("crm.contact")
    server = site.server
    server.put("contacts", 1, email="new@a.test")
    server.put("contacts", 4, email="4@a.test")
    server.put("deals", 7, amount="12")
    server.archive("contacts", 2)
    server.objects["contacts"][3].gone = True

    site.delivers(
        site.event("contact.propertyChange", 1, propertyName="email", propertyValue="old news"),
        site.event("contact.creation", 4), site.event("contact.deletion", 2),
        site.event("contact.privacyDeletion", 3), site.event("object.creation", 7, objectTypeId="0-3"),
    )  # fmt: skip

    assert [(1, "new@a.test", False), (2, "2@a.test", True), (3, None, True), (4, "4@a.test", False)] == site.rows()
    assert [(7, 12.0, False)] == site.rows("deal")
    assert before == site.app.ledger.watermark("crm.contact")
    assert [] == site.kept()
    assert "delta" == site.app.warehouse.runs("crm.contact")[0].kind


def test_an_erasure_is_done_though_the_object_can_still_be_read(site):
    """HubSpot erases after its event; what was written at the very same time goes, too."""
    site.synced()
    site.server.put("contacts", 3, site.server.now + dt.timedelta(seconds=1), email="late@a.test")
    site.delivers(site.event("contact.propertyChange", 3))
    site.delivers(site.event("contact.privacyDeletion", 3))

    assert (3, None, True) == site.rows()[-1]


def test_an_erasure_is_that_of_the_command(opens):
    """The row is gone, a record says so, once, and with KEEP_OUT_KEY no later run brings it back."""
    site = opens(KEEP_OUT_KEY="k" * 32)
    site.synced()
    site.delivers(site.event("contact.privacyDeletion", 3))

    assert [1, 2] == [row[0] for row in site.rows()]
    (record,) = site.app.warehouse.erasures("crm.contact")
    assert ("events of crm", 1, 1) == (record.requested_by, record.rows, len(record.kept_out))

    site.clock.forward(hours=1)
    site.delivers(site.event("contact.privacyDeletion", 3))
    site.server.put("contacts", 3, email="back@a.test")
    site.delivers(site.event("contact.propertyChange", 3))
    assert [1, 2] == [row[0] for row in site.rows()]
    assert [record] == list(site.app.warehouse.erasures("crm.contact"))


def test_an_erasure_waits_for_a_run_that_may_bring_the_row_back(site, monkeypatch):
    """The step is tried again; in the end the watchdog does it."""
    site.synced()
    loading = [True, True]
    monkeypatch.setattr(type(site.app.warehouse), "is_loading", lambda self, feed: bool(loading and loading.pop()))
    site.delivers(site.event("contact.privacyDeletion", 3))

    assert [] == loading
    assert (3, None, True) == site.rows()[2]
    assert 1 == len(list(site.app.warehouse.erasures("crm.contact")))


def test_a_merge_leaves_a_tombstone_that_names_the_survivor(site):
    """Both are read; the one that is gone is deleted."""
    site.synced()
    site.server.merge("contacts", 1, 2)
    site.delivers(site.event("contact.merge", 1, primaryObjectId=1, mergedObjectIds=[2]))

    with site.app.warehouse._session() as session:
        sql = 'SELECT id, merged_into, "DeletedAt" IS NOT NULL FROM crm.contact ORDER BY 1'
        assert [(1, None, False), (2, 1, True), (3, None, False)] == session.connection.execute(sql).fetchall()


def test_events_of_a_short_time_are_one_job_and_one_batch(site):
    """A request after that has another one."""
    first = site.event("contact.propertyChange", 1)
    for event in (first, first, site.event("contact.propertyChange", 2), site.event("contact.propertyChange", 1)):
        site.posts(event)
    site.durable.run_until_idle()
    reads = [call for call in site.server.calls if call.path.endswith("/batch/read")]
    site.delivers(site.event("contact.propertyChange", 3))

    assert [["1", "2"]] == [[one["id"] for one in call.json["inputs"]] for call in reads]
    assert 2 == len(site.jobs())


def test_a_repeated_delivery_changes_nothing(site):
    """Of changes, deletions and erasures, hours later, alone or with other events; HubSpot numbers its attempts."""
    site.synced()
    site.server.put("contacts", 1, email="new@a.test")
    site.server.archive("contacts", 2)
    site.server.objects["contacts"][3].gone = True
    events = [
        site.event("contact.propertyChange", 1), site.event("contact.deletion", 2),
        site.event("contact.privacyDeletion", 3),
    ]  # fmt: skip
    site.delivers(*events)
    before = site.everything()
    for again in ([*events], [events[2]], [events[1], events[0]]):
        site.clock.forward(hours=1)
        site.delivers(*({**event, "attemptNumber": 1} for event in again))

    assert before[:2] == site.everything()[:2]
    assert site.rows()[2] == (3, None, True)
    assert [] == site.kept()


def test_a_process_that_dies_after_its_answer_loses_nothing(site):
    """No job has begun; the watchdog starts one for what is kept."""
    site.posts(site.event("contact.propertyChange", 1))
    site.clock.now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    site.replaced()
    site.host.timer("watchdog")
    site.durable.run_until_idle()

    assert [(1, "1@a.test", False)] == site.rows()
    assert [] == site.kept()


def test_events_of_a_feed_that_is_paused_wait_for_it(site):
    """Its other feeds go on."""
    FeedStates(site.app.documents).pause("crm.contact", "2026-02-24T12:00:00.000000")
    site.server.put("deals", 7, amount="12")
    site.delivers(site.event("contact.propertyChange", 1), site.event("deal.creation", 7))
    waiting = site.kept()
    assert 202 == site.host.request("POST", "feeds/crm.contact/resume").status
    site.durable.run_until_idle()

    assert 1 == len(waiting)
    assert [(7, 12.0, False)] == site.rows("deal")
    assert [1, 2, 3] == [id for id, _, _ in site.rows()]
    assert [] == site.kept()


def test_events_whose_objects_cannot_be_read_are_kept_and_read_later(site):
    """The watchdog starts their job again once that may succeed."""
    site.server.tokens.clear()
    site.delivers(site.event("contact.propertyChange", 1))
    kept = site.kept()
    site.server.tokens.add(TOKEN)
    site.host.request("POST", "feeds/crm.contact/run")
    site.durable.run_until_idle()

    assert 1 == len(kept)
    assert [] == site.kept()
    assert "1@a.test" == site.rows()[0][1]


def test_objects_that_end_processes_are_read_again_by_running_the_feed(site):
    """As the error of their unit says, once there is more memory: three processes died over them here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("shared.jobs.fatal.MAX_STARTS", 0)
        site.delivers(site.event("contact.propertyChange", 1))
    (record,) = (read_record(site.app.documents, job) for job in site.jobs())

    advises(
        "Give the process more memory, then run the feed: it reads the objects again", str(record.outcomes[0].error)
    )
    site.host.request("POST", "feeds/crm.contact/run")
    site.durable.run_until_idle()
    assert [] == site.kept()
    assert "1@a.test" == site.rows()[0][1]


def test_a_sync_after_events_still_reads_what_they_did_not_name(site):
    """An event that is lost costs no row."""
    site.synced()
    site.server.put("contacts", 1, email="named@a.test")
    site.server.put("contacts", 2, email="unnamed@a.test")
    site.delivers(site.event("contact.propertyChange", 1))
    site.server.now += dt.timedelta(minutes=30)
    site.clock.forward(minutes=30)
    site.synced()

    assert [(1, "named@a.test", False), (2, "unnamed@a.test", False), (3, "3@a.test", False)] == site.rows()


def test_events_that_are_no_longer_kept_are_made_up_for_by_a_sync(site):
    """As the error of their unit says."""
    site.server.put("contacts", 1, NOON - dt.timedelta(minutes=30), email="new@a.test")
    with advised("Sync {} to read what has changed") as advice:
        unit_of(site.app.documents, ObjectEvents(system="crm", window=1, wait=0.0), 0, "")
    site.host.request("POST", f"systems/{advice.values[0]}/run")
    site.durable.run_until_idle()

    assert (1, "new@a.test", False) == site.rows()[0]


CALLS = 41
"""At least so many calls does a job of events make; the test below holds the number."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("lost", [quick_if(n in (2, 3, 9, 30), n) for n in range(1, CALLS)])
def test_losing_any_one_call_changes_nothing(lost, after, site, monkeypatch):
    """Whichever call to documents, ledger or warehouse it is, once the events are kept."""
    site.server.archive("contacts", 2)
    site.posts(site.event("contact.creation", 1), site.event("contact.deletion", 2))
    calls = Calls(lost, after=after)
    _watched(site, calls, monkeypatch)
    site.durable.run_until_idle()
    site.clock.now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    site.host.timer("watchdog")
    site.durable.run_until_idle()

    assert [(1, "1@a.test", False), (2, "2@a.test", True)] == site.rows(), calls.lost
    assert [] == site.kept(), calls.lost


def _watched(site, calls, monkeypatch):
    app = site.app
    watched = replace(
        app, warehouse=Watched(app.warehouse, calls), ledger=Watched(app.ledger, calls),
        documents=Watched(app.documents, calls),
    )  # fmt: skip
    monkeypatch.setattr(shared.app, "current", lambda: watched)


def test_the_test_above_loses_nearly_all_calls(site, monkeypatch):
    """Those of the last steps among them."""
    site.server.archive("contacts", 2)
    site.posts(site.event("contact.creation", 1), site.event("contact.deletion", 2))
    calls = Calls()
    _watched(site, calls, monkeypatch)
    site.durable.run_until_idle()

    assert CALLS - 8 < len(calls.names) <= CALLS, Counter(calls.names)
