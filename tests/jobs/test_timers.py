"""What runs by the clock: syncs that are due, files that nobody announced, what the watchdog sees and does."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json

from dataclasses import replace

import pytest

from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient

import function_app

from shared.jobs import triggers, watchdog
from shared.jobs.feed_state import FeedStates
from shared.jobs.triggers import Wanted
from shared.jobs.watchdog import Instance
from shared.settings import SystemSettings
from shared.web.webhooks import receive
from tests.arrivals import SECRET, STAMP, Exports, jobs, rows, signed, stored, units
from tests.exports import START, Clock, open_test_app
from tests.standins.durable_host import DurableHost
from tests.standins.functions_host import FunctionsHost, functions_host

NOW = START


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def app(azurite, container, tmp_path, clock, receiver):
    return open_test_app(
        tmp_path, clock, STORAGE_CONNECTION_STRING=azurite.connection_string, EXPORTS_URL=container.url,
        STATE_URL=str(tmp_path / "state"), ALERT_URL=receiver.url, ALERT_FORMAT="json", KEEP_JOBS=str(500 * 86_400),
    )  # fmt: skip


@pytest.fixture
def host(app, monkeypatch):
    with functions_host(app, monkeypatch, start=NOW) as found:
        yield found


@pytest.fixture
def exports(container, azurite, tmp_path):
    return Exports(container, azurite, tmp_path)


def test_systems_that_are_not_set_up_are_not_synced(app):
    """The catalog has schedules for Genius, which not everyone has."""
    set_up = replace(app, settings=replace(app.settings, systems={"GENIUS": SystemSettings(database_url="x")}))

    assert [] == list(triggers.due_syncs(app))
    assert any("genius" in start.job for start in triggers.due_syncs(set_up))


# -- reconcile


def test_files_that_no_event_announced_are_taken(host, exports, app):
    """Of each table the newest full and what came after it; what the ledger knows is left alone."""
    for name, minutes in (
        ("Full/Acme/20260222120000/location.parquet", 0), ("Full/Acme/20260223120000/location.parquet", 5),
        ("Delta/Acme/20260222180000/location.parquet", 3), ("Delta/Acme/20260223180000/location.parquet", 9),
    ):  # fmt: skip
        exports.upload(name, rows(3, minutes))
    known = exports.upload("Full/Acme/20260223120000/asset.parquet", rows(2, table="Asset"))
    host.blob_event(exports.container, known)
    host.finished(jobs(host)[0])
    before = set(jobs(host))

    host.timer("reconcile")
    started = [job for job in jobs(host) if job not in before]
    for job in started:
        host.finished(job)

    assert 2 == len(started)
    assert [(n, f"{n} at 9", True) for n in range(3)] == stored(app)
    assert {"Full/Acme/20260223120000", "Delta/Acme/20260223180000"} == {
        "/".join(run.files[0].split("/")[-4:-1]) for run in app.warehouse.runs("coolr.location")
    }


def test_reconciling_again_starts_nothing(host, exports):
    """Also not what failed, which would fail again."""
    exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(3))
    exports.container.upload_blob(f"Full/Acme/{STAMP}/asset.parquet", b"rubbish")
    host.timer("reconcile")
    for job in jobs(host):
        host.finished(job)
    calls = len(host.durable.calls)

    host.timer("reconcile")

    assert 2 == len(jobs(host))
    assert calls == len(host.durable.calls)


def test_a_full_that_failed_is_replaced_by_the_next_older_one(host, exports, app):
    """As `sluice load` does it, with the deltas after the older full; the newer one is not tried again."""
    exports.upload("Full/Acme/20260223120000/location.parquet", rows(3))
    exports.upload("Delta/Acme/20260223180000/location.parquet", rows(1, 3))
    exports.container.upload_blob("Full/Acme/20260224110000/location.parquet", b"rubbish")
    reconciled = []

    for _ in range(3):
        before = set(jobs(host))
        host.timer("reconcile")
        reconciled.append([units(host.finished(job)) for job in jobs(host) if job not in before])

    assert [[["failed"]], [["done"], ["done"]], []] == reconciled
    assert [(0, "0 at 3", True), (1, "1 at 0", True), (2, "2 at 0", True)] == stored(app)


def test_a_job_for_a_file_has_the_id_that_its_event_has(host, exports, app):
    """So an event that comes while it runs is refused."""
    name = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(3))

    (start,) = triggers.missed_files(app)

    assert start == triggers.file_arrived(app, exports.container.get_blob_client(name))


def test_part_files_that_came_one_by_one_are_taken_as_a_whole_once_they_have_settled(host, exports, app, clock):
    """Each event merges a part, which says nothing of what is missing; the settled folder is a complete full."""
    full = exports.upload("Full/Acme/20260223120000/location.parquet", rows(15))
    host.blob_event(exports.container, full)
    host.finished(jobs(host)[0])
    folder = "20260224110000/location_dump_1"
    for n in range(2):
        name = exports.upload(f"{folder}/{n:08x}.parquet", rows(5, 5, first=5 * n))
        host.blob_event(exports.container, name)
        host.finished(jobs(host)[-1])
    alive = sum(row[2] for row in stored(app))

    later(clock, hours=1)
    host.timer("reconcile")
    reported = host.finished(jobs(host)[-1])

    assert 15 == alive
    assert (["done"], True, 5) == (units(reported), reported["units"][0]["complete"], reported["units"][0]["absent"])
    assert 10 == sum(row[2] for row in stored(app))


def test_a_folder_that_contradicts_itself_does_not_stop_the_others(host, exports, caplog):
    """It is named in the log."""
    for x in (1, 2):
        exports.upload(f"{STAMP}/location_dump_{x}/00000001.parquet", rows(2))
    exports.upload(f"Full/Acme/{STAMP}/asset.parquet", rows(2, table="Asset"))

    host.timer("reconcile")

    assert 1 == len(jobs(host))
    assert "several dumps of one time" in caplog.text


def test_exports_of_another_client_are_not_taken(app, exports, clock):
    """Where the settings name one; without, the second client is refused, for it would mix into the tables."""
    exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(2))
    other = exports.upload(f"Full/Fabrikam/{STAMP}/location.parquet", rows(2))
    systems = {name: replace(system, client="Acme") for name, system in app.systems.items()}
    named = replace(app, systems=systems)

    assert 1 == len(list(triggers.missed_files(named)))
    assert triggers.file_arrived(named, exports.container.get_blob_client(other)) is None


def test_a_second_client_is_refused_in_words(host, exports, app):
    """Its rows would mix with those of the first."""
    for client in ("Acme", "Fabrikam"):
        host.blob_event(exports.container, exports.upload(f"Full/{client}/{STAMP}/location.parquet", rows(2)))
        reported = host.finished(jobs(host)[-1])

    assert "failed" == reported["state"]
    assert "holds the data of client 'Acme'" in reported["units"][0]["error"]
    assert ["done", "failed"] == sorted(run.status for run in app.warehouse.runs())


# -- the watchdog


@pytest.fixture
def notified(app, exports, clock):
    """The app with a webhook; gives a way to keep the notification of some files and say which job it asks for."""
    app = replace(app, settings=replace(app.settings, systems={"COOLR": _webhook(exports)}))

    def keep(*names):
        body = exports.notification(*names)
        return receive.export_notified(app, body, signed(body)["X-CoolR-Signature"])

    return keep


def later(clock, **span):
    """The clock of the app so much later than that of the storage, which is this machine's."""
    clock.now = dt.datetime.now(dt.UTC) + dt.timedelta(**span)


def test_notifications_that_were_kept_but_never_started_are_started(host, exports, app, clock, notified):
    """The process died between keeping the payload and starting the job."""
    start = notified(exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(2)))
    later(clock, minutes=30)

    host.timer("watchdog")
    reported = host.finished(start.job)

    assert ["done"] == units(reported)
    assert [] == list(app.documents.entries("notices/"))


def test_a_notification_that_left_something_to_be_done_is_taken_up_once_an_hour(host, exports, app, clock, notified):
    """Its feed was paused; as long as it is, nothing is sent."""
    FeedStates(app.documents).pause("coolr.location", "2026-02-24T12:00:00.000000")
    start = notified(exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(2)))
    later(clock, minutes=30)
    host.timer("watchdog")
    paused = host.finished(start.job)
    FeedStates(app.documents).resume("coolr.location")
    host.timer("watchdog")
    early = host.finished(start.job)
    later(clock, minutes=95)
    host.timer("watchdog")
    done = host.finished(start.job)

    assert (["skipped"], True) == (units(paused), paused["retryable"])
    assert ["skipped"] == units(early)
    assert (["done"], False) == (units(done), done["retryable"])


def test_what_failed_for_good_is_kept_for_the_operator_to_run(host, exports, app, clock, notified):
    """A full that would delete too much: its links are still there when somebody allows it."""
    first = exports.upload("Full/Acme/20260224100000/location.parquet", rows(40))
    host.blob_event(exports.container, first)
    host.finished(jobs(host)[0])
    start = notified(exports.upload(f"elsewhere/{STAMP}/location.parquet", rows(1)))
    host.durable.start(start.work.orchestrator, start.input, start.job)
    refused = host.finished(start.job)
    later(clock, minutes=95)
    host.timer("watchdog")
    untouched = host.job(start.job)

    host.request("POST", "feeds/coolr.location/run", b'{"max_delete_share": 1}')
    allowed = host.finished(start.job)

    assert ["failed"] == units(refused) == units(untouched)
    assert (["done"], 39) == (units(allowed), allowed["units"][0]["absent"])
    assert [] == list(app.documents.entries("notices/"))


def test_a_job_that_fails_again_and_again_is_reported_once(host, exports, app, clock, notified, receiver):
    """A link that leads nowhere is asked each time; the same alert is not repeated."""
    name = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(2))
    start = notified(name)
    exports.container.delete_blob(name)
    for _ in range(3):
        host.durable.forward(minutes=30)
        host.durable.start(start.work.orchestrator, start.input, start.job)
        host.finished(start.job)

    assert ["failure", "summary"] == [body["kind"] for body in receiver.bodies]
    assert "coolr.location failed" == receiver.bodies[0]["title"]


def test_a_notification_whose_links_have_expired_is_given_up_and_reported(
    host, exports, app, clock, notified, receiver
):
    """Its links lead nowhere any more, and it holds signatures."""
    notified(exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(2)))
    later(clock, days=30)

    host.timer("watchdog")

    assert [] == jobs(host)
    assert [] == list(app.documents.entries("notices/"))
    (reported,) = [body for body in receiver.bodies if body["title"] == "A notification expired"]
    assert "export Full of Acme, 2026-02-24 11:30" in reported["text"]


def test_what_the_watchdog_cannot_see_does_not_blind_it_to_the_rest(app, host, clock, monkeypatch, receiver):
    """The queue may not be read; a feed without data is reported all the same."""
    monkeypatch.setattr(watchdog, "poisoned", lambda app: 1 / 0)
    host.timer("watchdog")
    clock.forward(hours=31)

    host.timer("watchdog")

    titles = {body["title"] for body in receiver.bodies}
    assert {"The watchdog could not finish its checks", "coolr.location has had no data for 31 h"} <= titles


def _webhook(exports):
    from urllib.parse import urlsplit

    from shared.settings import SystemSettings

    return SystemSettings(webhook_secret=SECRET, webhook_hosts=urlsplit(exports.container.url).netloc)


def test_a_feed_without_data_is_reported_once(app, host, clock, receiver, monkeypatch):
    """After as many hours as the catalog allows, since it was first looked at or last had data."""
    monkeypatch.setitem(app.systems["coolr"].tables["location"], "max_age_hours", 24)

    host.timer("watchdog")
    quiet = list(receiver.bodies)
    clock.forward(hours=25)
    host.timer("watchdog")
    host.timer("watchdog")

    assert [] == quiet
    assert ["coolr.location has had no data for 25 h"] == [body["title"] for body in receiver.bodies]
    assert "none since 2026-02-24 12:00 UTC" in receiver.bodies[0]["text"]


def test_a_feed_that_has_had_data_or_is_paused_is_not_stale(app, host, exports, clock, receiver, monkeypatch):
    """A run that was done is data; who pauses a feed knows that none will come."""
    for table, options in app.systems["coolr"].tables.items():
        monkeypatch.setitem(options, "max_age_hours", 24 if table in ("location", "asset") else None)
    host.timer("watchdog")
    clock.forward(hours=23)
    host.blob_event(exports.container, exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(2)))
    host.finished(jobs(host)[0])
    FeedStates(app.documents).pause("coolr.asset", "2026-02-24T12:00:00.000000")
    clock.forward(hours=23)
    receiver.bodies.clear()

    host.timer("watchdog")

    assert [] == [body for body in receiver.bodies if body["kind"] == "stale"]


def test_a_poisoned_event_is_reported_and_taken_out_of_its_queue(host, app, azurite, receiver):
    """Whether the host wrote it as it is or in base64."""
    queue = QueueClient.from_connection_string(azurite.connection_string, watchdog.POISON)
    queue.create_queue()
    event = json.dumps(
        {"FunctionId": "Host.Functions.on_export", "ContainerName": "exports", "BlobName": "a/b.parquet"}
    )
    for content in (event, base64.b64encode(event.encode()).decode(), "neither"):
        queue.send_message(content)

    host.timer("watchdog")
    left = list(queue.receive_messages())
    queue.delete_queue()

    assert [] == left
    (reported,) = receiver.bodies
    assert "3 events failed too often" == reported["title"]
    assert (2, 1) == (
        reported["text"].count("exports/a/b.parquet"),
        reported["text"].count("a message that cannot be read"),
    )


def test_dead_letters_are_reported_once(app, monkeypatch, azurite, container, receiver, clock):
    """They stay where they are, for whoever looks into it."""
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        letters = service.create_container(f"{container.container_name}-letters")
        letters.upload_blob("2026/2/24/12/a.json", b"[]")
        app = replace(app, settings=replace(app.settings, dead_letter_url=letters.url))
        with functions_host(app, monkeypatch) as host:
            host.timer("watchdog")
            clock.forward(days=2)
            host.timer("watchdog")

        (reported,) = [body for body in receiver.bodies if body["kind"] == "poison"]
        assert "a.json" in reported["text"]
        assert 1 == len(list(letters.list_blobs()))


def test_a_job_that_never_began_is_ended_and_started_under_another_id(app, monkeypatch, exports, clock, receiver):
    """The host has lost its message: the first attempt waits for ever, the second is done."""
    monkeypatch.setattr("shared.app.current", lambda: app)
    name = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(4))
    import function_app

    from tests.standins.durable_host import DurableHost
    from tests.standins.functions_host import FunctionsHost

    with DurableHost(function_app.app, start=NOW) as durable:
        host = FunctionsHost(app, durable)
        host.blob_event(exports.container, name)
        (job,) = jobs(host)
        clock.forward(minutes=16)
        host.timer("watchdog")
        durable.run_until_idle()
        reported = host.job(f"{job}~2")

        assert "Terminated" == durable.instances[job].status
        assert ("done", 4) == (reported["state"], reported["units"][0]["inserted"])
        assert [f"job {job} is stuck"] == [body["title"] for body in receiver.bodies]
        assert f"stuck; restarted as {job}~2" == host.job(job)["reason"]


def test_a_job_that_does_not_go_on_is_ended_with_its_children(app, monkeypatch, exports, clock, receiver, notified):
    """The second attempt does the whole export; what the first still does comes to nothing."""
    monkeypatch.setattr("shared.app.current", lambda: app)
    names = [exports.upload(f"Full/Acme/{STAMP}/{t.lower()}.parquet", rows(3, table=t)) for t in ("Location", "Asset")]
    start = notified(*names)
    with DurableHost(function_app.app, start=NOW) as durable:
        host = FunctionsHost(app, durable)
        durable.start(start.work.orchestrator, start.input, start.job)
        while not any(step == "plan" for step, _ in durable.calls):
            durable.step()
        clock.forward(hours=5)
        host.timer("watchdog")
        ended = {id: one.status for id, one in durable.instances.items() if not id.startswith(f"{start.job}~2")}
        durable.run_until_idle()
        reported = host.job(f"{start.job}~2")

        assert {"Terminated"} == set(ended.values())
        assert 3 < len(ended)
        assert ["done", "done"] == units(reported)
        assert [] == list(triggers.open_notifications(app, Wanted(failed=True)))


def test_what_is_older_than_jobs_are_kept_is_removed(app, host, exports, clock):
    """Summaries, plans that were left behind and the host's history; not what is young."""
    host.blob_event(exports.container, exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(2)))
    (job,) = jobs(host)
    host.finished(job)
    app.documents.put("jobs/left/behind", b"x")

    host.timer("watchdog")
    kept = [entry.name for entry in app.documents.entries("jobs/")]
    later(clock, days=501)
    host.timer("watchdog")

    assert [f"jobs/{job}/summary", "jobs/left/behind"] == kept
    assert [] == list(app.documents.entries("jobs/"))
    assert 404 == host.request("GET", f"jobs/{job}").status


# -- what is decided, without I/O


def instance(id: str, status: str = "Running", hours: float = 0, still: float | None = None) -> Instance:
    """One that was made so many hours ago, and has been still for as long, or for less."""
    times = (NOW - dt.timedelta(hours=span) for span in (hours, hours if still is None else still))
    return Instance(id, "file_job", status, *times)


@pytest.mark.parametrize(
    ("given", "retry"),
    [
        (instance("blob:1", "Pending", 0.3), "blob:1~2"),
        (instance("export:1", "Running", 5), "export:1~2"),
        (instance("blob:1~2", "Running", 5), "blob:1~3"),
        (instance("folder:1~3", "Running", 5), None),
        (instance("sync:genius.lead", "Running", 5), None),
        (instance("sync:genius", "Running", 5), None),
    ],
)
def test_what_is_stuck_is_started_again_as_another_attempt(given, retry):
    """Three times at most; a sync is for its schedule to start again."""
    (found,) = watchdog.stuck([given], NOW, 4 * 3600)

    assert retry == found.retry
    assert given.id in found.alert().title


@pytest.mark.parametrize(
    "given",
    [
        instance("blob:1", "Pending", 0.2), instance("blob:1", "Running", 3.9), instance("blob:1:0", "Running", 9),
        instance("blob:1", "Completed", 9), instance("something else", "Running", 9),
        instance("blob:1", "Running", 9, 3),
    ],
    ids=lambda one: f"{one.id} {one.status}",
)  # fmt: skip
def test_what_is_young_or_a_child_or_not_ours_is_not_stuck(given):
    """Children go with their job."""
    assert [] == watchdog.stuck([given], NOW, 4 * 3600)


def test_a_job_goes_on_as_long_as_one_of_its_children_does():
    """However long ago it began: an export of a thousand files is not stuck while files get done."""
    job, child = instance("export:1", "Running", 30, 29), instance("export:1:0:7", "Running", 2, 1)

    assert [] == watchdog.stuck([job, child], NOW, 4 * 3600)
    assert [job] == [
        one.instance for one in watchdog.stuck([job, instance("export:12:0", "Running", 1)], NOW, 4 * 3600)
    ]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1_234])
def test_all_orchestrations_are_listed_though_an_answer_holds_a_hundred(count):
    """Spans are halved until each answer is whole."""
    times = [NOW - dt.timedelta(seconds=n * n) for n in range(count)]
    made = [Instance(str(n), "file_job", "Running", time, time) for n, time in enumerate(times)]

    async def page(since, until):
        return [one for one in made if since <= one.created <= until][: watchdog.PAGE]

    found = asyncio.run(watchdog.list_instances(page, NOW - dt.timedelta(days=365), NOW))

    assert {one.id for one in made} == {one.id for one in found}


CRON = [
    ("*/15 * * * *", "2026-02-24T11:44:59", True), ("*/15 * * * *", "2026-02-24T12:00:00", False),
    ("0 6 * * *", "2026-02-24T05:59:00", True), ("0 6 * * *", "2026-02-24T06:00:01", False),
    ("0 18 * * *", "2026-02-23T18:00:02", False), ("0 18 * * *", None, True),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "requested", "is_due"), CRON)
def test_a_sync_is_due_once_its_schedule_has_come(schedule, requested, is_due, tmp_path, monkeypatch):
    """By when the last one began; a feed that was never synced is due at once."""
    app = open_test_app(tmp_path, STATE_URL=str(tmp_path / "state"))
    feed = app.systems["coolr"].feeds()[0]
    monkeypatch.setitem(app.systems["coolr"].tables[feed.table], "schedule", schedule)
    if requested:
        FeedStates(app.documents).record_sync(feed.name, f"{requested}.000000")

    assert ([("sync:coolr", (feed.table,))] if is_due else []) == [
        (start.job, start.work.feeds) for start in triggers.due_syncs(app)
    ]


def test_each_system_with_feeds_that_are_due_has_one_job(tmp_path):
    """For those alone, in the order of the catalog; of very many those that have waited longest."""
    tables = "\n".join(f'"t{n}" = {{ keys = ["Id"] }}' for n in range(501))
    for name in ("crm", "shop"):
        text = f'[system]\nname = "{name}"\nsource = "sql"\n[defaults]\nschedule = "0 * * * *"\n[tables]\n{tables}\n'
        (tmp_path / f"{name}.toml").write_text(text)
    app = open_test_app(
        tmp_path, CATALOG_PATH=str(tmp_path), STATE_URL=str(tmp_path / "state"), CRM_DATABASE_URL="x",
        SHOP_DATABASE_URL="x",
    )  # fmt: skip
    for n in range(501):
        FeedStates(app.documents).record_sync(f"crm.t{n}", f"2026-02-24T{12 if n > 2 else 11}:00:00.000000")
    FeedStates(app.documents).record_sync("shop.t7", "2026-02-24T11:59:00.000000")

    found = list(triggers.due_syncs(app))

    assert ["sync:crm", "sync:shop"] == [start.job for start in found]
    assert ("t0", "t1", "t2") == found[0].work.feeds
    assert tuple(f"t{n}" for n in range(501) if n != 7) == found[1].work.feeds
    assert len(json.dumps(found[1].input)) < 45 << 10


def test_a_paused_feed_is_never_due(tmp_path, monkeypatch):
    """Until it is resumed."""
    app = open_test_app(tmp_path, STATE_URL=str(tmp_path / "state"))
    feed = app.systems["coolr"].feeds()[0]
    monkeypatch.setitem(app.systems["coolr"].tables[feed.table], "schedule", "* * * * *")

    FeedStates(app.documents).pause(feed.name, "2026-02-24T12:00:00.000000")
    paused = list(triggers.due_syncs(app))
    FeedStates(app.documents).resume(feed.name)

    assert [] == paused
    assert 1 == len(list(triggers.due_syncs(app)))


@pytest.mark.parametrize("feed", ["genius.prospect", "genius.a b/c#?", "x." + "ж" * 56, "x" * 63 + "." + "y" * 56])
def test_ids_of_jobs_are_such_as_durable_takes(feed):
    """At most a hundred characters, and none of those it refuses, with room for the children's numbers."""
    job = triggers.sync_job(feed).job

    assert len(job) <= 90
    assert not set(job) & set("/\\#?")
    assert job != triggers.sync_job(f"{feed}x").job
