"""The whole app, from an event or a request to the tables: real storage, a real warehouse, Durable's real client."""

from __future__ import annotations

import datetime as dt
import json
import threading

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from shared.app import App
from shared.pipeline.runner import Runner
from tests.arrivals import OLD_SECRET, SECRET, STAMP, Exports, jobs, notify, rows, signed, stored, units
from tests.exports import START, Clock, open_test_app, write_parquet
from tests.standins.functions_host import FunctionsHost, functions_host
from tests.web.hostile_webhooks import CLIENT, hostile


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(azurite, container, tmp_path, clock, receiver) -> App:
    """All of it in Azurite but the warehouse, which is a file."""
    table = container.container_name.replace("-", "")
    return open_test_app(
        tmp_path, clock, STORAGE_CONNECTION_STRING=azurite.connection_string, EXPORTS_URL=container.url,
        STATE_URL=f"{container.url}-state", LEDGER_URL=f"{azurite.table_url}/{table}",
        COOLR_WEBHOOK_SECRET=SECRET, COOLR_WEBHOOK_SECRET_OLD=OLD_SECRET,
        COOLR_WEBHOOK_HOSTS=urlsplit(azurite.blob_url).netloc, ALERT_URL=receiver.url, ALERT_FORMAT="json",
        SETTLE="0",
    )  # fmt: skip


@pytest.fixture
def host(app, monkeypatch) -> Iterator[FunctionsHost]:
    with functions_host(app, monkeypatch) as found:
        yield found


@pytest.fixture
def exports(container, azurite, tmp_path) -> Exports:
    return Exports(container, azurite, tmp_path)


# -- files that arrive


def test_an_event_brings_a_file_into_its_table(host, exports, app):
    """Its job says what became of the rows, the ledger knows the work, nothing is left in staging or state."""
    name = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(10))

    host.blob_event(exports.container, name)
    (job,) = jobs(host)
    reported = host.finished(job)

    assert ("done", ["done"], 10) == (reported["state"], units(reported), reported["units"][0]["inserted"])
    assert [(n, f"{n} at 0", True) for n in range(10)] == stored(app)
    assert [f"jobs/{job}/summary"] == [e.name for e in app.documents.entries("jobs/")]
    (record,) = app.ledger.known("coolr.location", [_work(exports, name)]).values()
    assert ("done", reported["units"][0]["run"]) == (record.status, record.run)
    assert app.ledger.watermark("coolr.location").value == "2026-02-24T10:00:00.000000"


def _work(exports: Exports, name: str) -> str:
    from shared.ids import work_id

    etag = exports.container.get_blob_client(name).get_blob_properties().etag.strip('"')
    return work_id(f"{exports.container.url}/{name}", etag)


def test_the_same_event_twice_is_one_load(host, exports, app):
    """While the first is running the second is refused; later the ledger tells that it is done."""
    name = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(5))

    host.blob_event(exports.container, name)
    host.blob_event(exports.container, name)
    (job,) = jobs(host)
    first = host.finished(job)
    host.blob_event(exports.container, name)
    again = host.finished(job)

    assert [job] == jobs(host)
    assert 1 == len(app.warehouse.runs())
    assert first["summary"] == again["summary"]


@pytest.mark.parametrize(
    "name",
    [
        "Full/Acme/20260224113000/_SUCCESS", "Full/Acme/20260224113000/location.csv", "readme.md",
        "Full/Acme/20260224113000/_location.parquet", "Full/Acme/20260224113000/.location.parquet.tmp",
        "loose/location.parquet",
    ],
)  # fmt: skip
def test_other_files_are_ignored_with_a_line_in_the_log(name, host, exports, caplog):
    """Markers, files nobody declared, temporary names, Parquet of which nobody knows whether it is a full."""
    exports.container.upload_blob(name, b"x")

    with caplog.at_level("INFO", "sluice"):
        host.blob_event(exports.container, name)

    assert [] == jobs(host)
    assert f"ignored {exports.container.url}/{name}: " in caplog.text


def test_a_file_that_is_gone_when_its_event_comes_is_ignored(host, exports, caplog):
    """Somebody cleaned up; there is nothing to do."""
    with caplog.at_level("INFO", "sluice"):
        host.blob_event(exports.container, f"Full/Acme/{STAMP}/location.parquet")

    assert [] == jobs(host)
    assert "no longer exists" in caplog.text


def test_a_large_file_is_staged_in_slices_and_merged_once(app, exports, monkeypatch, tmp_path):
    """By several workers at the same time, each with a slice of its own."""
    from dataclasses import replace

    sliced = replace(app, settings=replace(app.settings, slice_rows=100))
    name = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(1_000), row_group_size=100)

    with functions_host(sliced, monkeypatch, seed=3) as host:
        host.blob_event(exports.container, name)
        (job,) = jobs(host)
        reported = host.finished(job)
        staged = [request["slice"] for name, request in host.durable.calls if name == "stage"]

    assert sorted(staged) == list(range(10))
    assert (1_000, 1) == (reported["units"][0]["inserted"], len(app.warehouse.runs()))
    assert 1_000 == len(stored(app))


def test_a_delta_that_comes_before_its_full_changes_nothing_in_the_end(host, exports, app):
    """The full is older, and does not overwrite what the delta brought."""
    delta = exports.upload("Delta/Acme/20260224114000/location.parquet", rows(2, 10, first=4))
    full = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(5))
    for name in (delta, full):
        host.blob_event(exports.container, name)
        host.finished(jobs(host)[-1])

    assert [(0, "0 at 0", True), (3, "3 at 0", True), (4, "4 at 10", True), (5, "5 at 10", True)] == [
        row for row in stored(app) if row[0] in (0, 3, 4, 5)
    ]


def test_a_file_that_is_overwritten_while_it_is_read_is_not_mixed(app, exports, monkeypatch):
    """Its run ends as a conflict, and the event of the new content brings that."""
    name = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(40), row_group_size=10)
    from dataclasses import replace

    sliced = replace(app, settings=replace(app.settings, slice_rows=10))
    overwritten = threading.Event()
    stage = Runner.stage

    def meanwhile(self, plan, part, source):
        if part.number == 2 and not overwritten.is_set():
            exports.upload(name, rows(40, 5), row_group_size=10)
            overwritten.set()
        return stage(self, plan, part, source)

    monkeypatch.setattr(Runner, "stage", meanwhile)
    with functions_host(sliced, monkeypatch) as host:
        host.blob_event(exports.container, name)
        (first,) = jobs(host)
        reported = host.finished(first)
        host.blob_event(exports.container, name)
        second = jobs(host)[-1]
        host.finished(second)

    assert "failed" == reported["state"]
    assert "changed while it was read" in reported["units"][0]["error"]
    assert first != second
    assert [(n, f"{n} at 5", True) for n in range(40)] == stored(app)


def test_a_file_that_was_overwritten_before_it_is_read_is_left_to_its_own_event(host, exports, app):
    """The event of the old content has nothing to do."""
    name = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(3))
    from shared.jobs import triggers

    old = triggers.file_arrived(app, exports.container.get_blob_client(name))
    exports.upload(name, rows(4))
    host.durable.start(old.work.orchestrator, old.input, old.job)
    reported = host.finished(old.job)

    assert ["skipped"] == units(reported)
    assert "overwritten since" in reported["units"][0]["skipped"]


def test_a_damaged_file_fails_its_job_and_is_reported_at_once(host, exports, app, receiver):
    """History, ledger and alert have it; the link leads to the job."""
    name = f"Full/Acme/{STAMP}/location.parquet"
    exports.container.upload_blob(name, b"PAR1 and then rubbish")

    host.blob_event(exports.container, name)
    (job,) = jobs(host)
    reported = host.finished(job)
    failure = receiver.bodies[0]

    assert ("failed", ["failed"]) == (reported["state"], units(reported))
    assert ["failed"] == [run.status for run in app.warehouse.runs()]
    assert ("failure", "coolr.location failed") == (failure["kind"], failure["title"])
    assert failure["link"].startswith("http://localhost:7071/api/jobs/blob")


# -- notifications


def test_a_notification_loads_all_files_of_an_export(host, exports, app, receiver):
    """One job, a unit a table, one summary with counts; the payload with its links is gone afterwards."""
    names = [
        exports.upload(f"Full/Acme/{STAMP}/{table.lower()}.parquet", rows(count, table=table))
        for table, count in (("Location", 4), ("Asset", 5), ("Product", 6))
    ]

    job = notify(host, exports.notification(*names))
    reported = host.finished(job)

    assert ("done", ["done"] * 3) == (reported["state"], units(reported))
    assert [4, 5, 6] == [len(stored(app, table)) for table in ("location", "asset", "product")]
    assert [True] * 3 == [unit["complete"] for unit in reported["units"]]
    assert [] == list(app.documents.entries("notices/"))
    (summary,) = receiver.bodies
    assert ("summary", "Done: export Full of Acme, 2026-02-24 11:30") == (summary["kind"], summary["title"])
    assert (3, 15) == (summary["summary"]["done"], summary["summary"]["inserted"])


def test_nothing_that_signs_in_leaves_the_payload(host, exports, app, receiver):
    """No signature in an orchestration, a slice, the ledger, history, an alert or an answer."""
    name = exports.upload(f"Full/Acme/{STAMP}/location.parquet", [*rows(30), {**rows(1)[0], "LocationId": None}])

    with_links = exports.notification(name)
    job = notify(host, with_links)
    reported = host.finished(job)
    signature = with_links.decode().partition("sig=")[2][:20]
    everything = json.dumps([
        host.durable.snapshot(), host.durable.calls, reported, receiver.bodies,
        [str(run) for run in app.warehouse.runs()], list(app.warehouse.rejects("coolr.location")),
        [(e.name, (app.documents.get(e.name) or b"").decode()) for e in app.documents.entries("")],
    ])  # fmt: skip

    assert signature
    assert signature not in everything
    assert "sig=" not in everything.replace("sig=hush", "")


def test_a_full_that_is_notified_deletes_what_it_lacks(host, exports, app):
    """Its file list is the manifest that makes it complete."""
    for stamp, time, count in ((STAMP, "2026-02-24T11:30:00Z", 12), ("20260224115000", "2026-02-24T11:50:00Z", 10)):
        name = exports.upload(f"Full/Acme/{stamp}/location.parquet", rows(count))
        host.finished(notify(host, exports.notification(name, time=time)))

    assert [True] * 10 + [False] * 2 == [alive for _, _, alive in stored(app)]


def test_part_files_of_a_dump_are_one_unit(host, exports, app):
    """All files that lie in the folder of one dump are one table, and complete as they are listed."""
    folder = f"{STAMP}/location_dump_7"
    names = [exports.upload(f"{folder}/{n:08x}.parquet", rows(5, first=5 * n)) for n in range(3)]

    reported = host.finished(notify(host, exports.notification(*names)))

    assert ["done"] == units(reported)
    assert (15, True) == (reported["units"][0]["inserted"], reported["units"][0]["complete"])


def test_one_poisoned_file_never_stops_the_others(host, exports, app, receiver):
    """The summary says what failed, and the job that it was done in part."""
    good = [exports.upload(f"Full/Acme/{STAMP}/{t.lower()}.parquet", rows(3, table=t)) for t in ("Location", "Asset")]
    bad = f"Full/Acme/{STAMP}/product.parquet"
    exports.container.upload_blob(bad, b"rubbish")

    reported = host.finished(notify(host, exports.notification(*good, bad)))

    assert ("partly", ["done", "done", "failed"]) == (reported["state"], units(reported))
    assert ["failure", "summary"] == [body["kind"] for body in receiver.bodies]
    assert "product" in receiver.bodies[1]["text"]


def test_the_same_notification_again_is_the_same_job(host, exports, app, receiver):
    """Nothing is loaded twice, nothing is sent twice, nothing stays."""
    name = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(3))
    body = exports.notification(name)

    first = notify(host, body)
    before = host.finished(first)
    second = notify(host, exports.notification(name))
    after = host.finished(second)

    assert first == second
    assert before["summary"] == after["summary"]
    assert (1, 1) == (len(app.warehouse.runs()), len(receiver.bodies))
    assert [] == list(app.documents.entries("notices/"))


@pytest.mark.parametrize("order", ["event first", "notification first", "at once"])
def test_an_event_and_a_notification_of_one_file_load_it_once(order, host, exports, app):
    """Whichever comes second finds the work done, or comes to the very same."""
    name = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(20))
    ways = [lambda: host.blob_event(exports.container, name), lambda: notify(host, exports.notification(name))]
    for way in reversed(ways) if order == "notification first" else ways:
        way()
        if order != "at once":
            host.finished(jobs(host)[-1])
    for job in jobs(host):
        host.finished(job)

    assert [(n, f"{n} at 0", True) for n in range(20)] == stored(app)
    assert ["done"] == [run.status for run in app.warehouse.runs()]


def test_the_secret_before_is_accepted_while_it_is_replaced(host, exports):
    """And any other is not."""
    body = exports.notification(exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(1)))

    assert 202 == host.request("POST", "webhooks/coolr", body, signed(body, OLD_SECRET)).status
    assert 401 == host.request("POST", "webhooks/coolr", body, signed(body, "another")).status


def test_a_link_that_is_refused_fails_its_file_in_words(host, exports, app):
    """The others go on; the work stays to be done."""
    good = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(2))
    reported = json.loads(exports.notification(good))
    reported["files"].append({"fileName": "asset.parquet", "downloadUrl": exports.link("nowhere/asset.parquet")})

    shown = host.finished(notify(host, json.dumps(reported).encode()))

    assert ["failed", "done"] == units(shown)
    assert "does not exist" in shown["units"][0]["error"]


HOSTILE = hostile(START, SECRET, "exports.test")


@pytest.mark.parametrize("request_", HOSTILE, ids=lambda one: one.id)
def test_hostile_requests_are_refused_and_write_nothing(request_, abused):
    """Each with its status and one line of reason; no job, no document, no traceback."""
    reply = abused.request("POST", "webhooks/coolr", request_.body, request_.headers)

    assert request_.status == reply.status, reply.body
    assert {"error"} == reply.body.keys()
    assert "Traceback" not in reply.body["error"]
    assert "\n" not in reply.body["error"]
    assert [] == jobs(abused)
    assert [] == list(abused.app.documents.entries(""))


@pytest.fixture(scope="module")
def abused(tmp_path_factory) -> Iterator[FunctionsHost]:
    """One app for all of them: what one of them leaves behind, the next would find."""
    folder = tmp_path_factory.mktemp("abused")
    app = open_test_app(
        folder, STATE_URL=str(folder / "state"), COOLR_CLIENT=CLIENT, COOLR_WEBHOOK_SECRET=SECRET,
        COOLR_WEBHOOK_HOSTS="exports.test",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as monkeypatch, functions_host(app, monkeypatch) as found:
        yield found


# -- storage that is away


def test_storage_that_is_down_for_a_while_delays_a_load_and_loses_nothing(
    private_azurite, tmp_path, monkeypatch, clock
):  # fmt: skip
    """Steps fail and are tried again with growing pauses until it is back."""
    from azure.storage.blob import BlobServiceClient

    server = private_azurite()
    with BlobServiceClient.from_connection_string(server.connection_string) as service:
        container = service.create_container("exports")
        file = write_parquet(tmp_path / "location.parquet", rows(30))
        container.upload_blob(f"Full/Acme/{STAMP}/location.parquet", file.read_bytes())
        app = open_test_app(
            tmp_path, clock, STORAGE_CONNECTION_STRING=server.connection_string, EXPORTS_URL=container.url,
            STATE_URL=str(tmp_path / "state"),
        )  # fmt: skip
        failures = iter(range(3))
        stage = Runner.stage

        def outage(self, plan, part, source):
            if next(failures, None) is not None:
                server.kill()
                try:
                    return stage(self, plan, part, source)
                finally:
                    server.start()
            return stage(self, plan, part, source)

        monkeypatch.setattr(Runner, "stage", outage)
        import stamina

        with stamina.set_testing(True, attempts=1), functions_host(app, monkeypatch) as host:
            server.stop()
            server.start()
            host.blob_event(container, f"Full/Acme/{STAMP}/location.parquet")
            (job,) = jobs(host)
            reported = host.finished(job)
            ended = host.durable.instances[job]
            seconds = (ended.updated - ended.created).total_seconds()

    assert ("done", 30) == (reported["state"], reported["units"][0]["inserted"])
    assert 30 + 60 + 120 == seconds


# -- who waits for exports


def test_those_who_wait_for_an_export_are_called_once_it_has_gone_well(app, exports, monkeypatch, receiver):
    """Not for one that was done in part."""
    from dataclasses import replace

    waiting = replace(app, settings=replace(app.settings, downstream_url=receiver.url, alert_url=None))
    good = exports.upload(f"Full/Acme/{STAMP}/location.parquet", rows(3))
    bad = f"Full/Acme/{STAMP}/asset.parquet"
    exports.container.upload_blob(bad, b"rubbish")
    with functions_host(waiting, monkeypatch) as host:
        host.finished(notify(host, exports.notification(good, bad)))
        quiet = list(receiver.bodies)
        host.finished(notify(host, exports.notification(
            exports.upload("Full/Acme/20260224114500/location.parquet", rows(4, 1)), time="2026-02-24T11:45:00Z"
        )))  # fmt: skip

    assert [] == quiet
    assert [("done", 4)] == [(body["status"], body["read"]) for body in receiver.bodies]


def test_those_who_wait_are_called_after_files_that_came_one_by_one(app, exports, monkeypatch, receiver, clock):
    """Once fifteen minutes have passed without another."""
    from dataclasses import replace

    waiting = replace(app, settings=replace(app.settings, downstream_url=receiver.url, alert_url=None))
    with functions_host(waiting, monkeypatch) as host:
        for table in ("Location", "Asset"):
            host.blob_event(exports.container, exports.upload(
                f"Full/Acme/{STAMP}/{table.lower()}.parquet", rows(3, table=table)
            ))  # fmt: skip
            host.finished(jobs(host)[-1])
        host.timer("watchdog")
        quiet = list(receiver.bodies)
        clock.now = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=16)
        host.timer("watchdog")
        host.timer("watchdog")

    assert [] == quiet
    assert 1 == len(receiver.bodies)


# -- many


@pytest.mark.slow
@pytest.mark.long
def test_an_export_of_five_hundred_files_is_one_job(host, exports, app, receiver):
    """Each a table, one of them poisoned; what travels stays small, and so does what is reported."""
    names = [exports.upload(f"Full/Acme/{STAMP}/t{n:03}.parquet", rows(2, table=f"T{n:03}")) for n in range(499)]
    poisoned = f"Full/Acme/{STAMP}/t499.parquet"
    exports.container.upload_blob(poisoned, b"rubbish")

    reported = host.finished(notify(host, exports.notification(*names, poisoned)), timeout=1_200)
    largest, what = host.durable.largest_payload()

    assert ("partly", 499, 1) == (reported["state"], units(reported).count("done"), units(reported).count("failed"))
    assert 998 == reported["summary"]["inserted"]
    assert largest < 2_000, what
    assert ["failure", "summary"] == [body["kind"] for body in receiver.bodies]
