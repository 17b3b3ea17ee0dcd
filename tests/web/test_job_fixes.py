"""What the API, or the outcome of a job, advises is done, and then its work is done."""

from __future__ import annotations

import dataclasses

from shared.jobs.activities import run_activity
from shared.jobs.documents import UnitDocuments
from shared.jobs.request import SliceRequest
from shared.model import from_json
from tests.advice import advises
from tests.jobs.job_steps import STARTED
from tests.web.hostile_webhooks import HEADER
from tests.web.site import SECRET, Away, blob, outcomes, parquet


def test_notifications_are_set_up(site, server):
    said = site.opens().sends("POST", "webhooks/coolr", {}, {HEADER: "0" * 64}).body["error"]

    (names,) = advises("Set {}", said)
    values = {"COOLR_WEBHOOK_SECRET": SECRET, "COOLR_WEBHOOK_HOSTS": server.url.removeprefix("http://")}
    assert values.keys() == set(names.split(" and "))
    site.opens(**values)
    server.puts("/location.parquet", parquet(1))
    assert "done" == site.ended(site.notified(server, "location.parquet"))["state"]


def test_a_notification_that_is_gone_is_sent_again(notifying, server):
    """It is removed once all is loaded; its job may be delivered once more."""
    server.puts("/location.parquet", parquet(1))
    notifying.ended(first := notifying.notified(server, "location.parquet"))
    work = {"kind": "notification", "id": first.partition(":")[2]}

    again = run_activity(notifying.app, "open_units", {"job": first, "started": STARTED, "work": work})

    advises("Ask the sender for a new one", again["error"])
    notifying.clock.forward(minutes=1)
    assert "done" == notifying.ended(notifying.notified(server, "location.parquet"))["state"]


def test_what_a_part_of_the_app_fails_with_is_in_the_log(site, caplog):
    """Unexpected errors are not shown to everybody."""
    site.opens({"ledger": Away(ValueError("a column that nobody foresaw"))})

    (failed,) = [one for one in site.sends("GET", "health?deep=1").body["checks"] if one["status"] == "failed"]

    (name,) = advises('Look for "{} fails" in the log', failed["fix"])
    (record,) = [one for one in caplog.records if one.getMessage() == f"{name} fails"]
    assert "a column that nobody foresaw" in str(record.exc_info)


def test_a_system_that_left_the_catalog_is_declared_and_run(pulled):
    """A job for it was started before the new catalog was deployed."""
    work = {"kind": "system", "system": "shop", "feeds": []}
    systems = {name: system for name, system in pulled.app.systems.items() if name != "shop"}
    without = dataclasses.replace(pulled.app, systems=systems)

    failed = run_activity(without, "open_tables", {"job": "sync:shop", "started": STARTED, "work": work})

    advises("Declare it, and run it again", failed["error"])
    answer = pulled.sends("POST", "systems/shop/run")
    assert "done" == pulled.ended(answer.body["jobs"][0]["job"])["state"]


def test_a_file_that_ends_processes_is_written_with_smaller_row_groups_and_run(pushed, container):
    """Three processes died over it, which tests/jobs/test_fatal_files.py sees done: here they only began."""
    sent = container.upload_blob(blob(20), parquet(1, 2, 3))
    work = {"kind": "file", "url": sent.url, "etag": sent.get_blob_properties().etag.strip('"')}
    request = {"job": "blob:1", "started": STARTED, "unit": 0, "work": work}
    run_activity(pushed.app, "plan", request)
    for _ in range(3):
        UnitDocuments(pushed.app.documents, from_json(SliceRequest, {**request, "slice": 0})).begin(0)

    assert {"status": "fault"} == run_activity(pushed.app, "stage", {**request, "slice": 0})
    said = run_activity(pushed.app, "publish", request)["error"]

    advises("Ask for the file again; if it is sound, have it written with smaller row groups; then run the feed", said)
    run_activity(pushed.app, "tidy", request)
    container.upload_blob(blob(20), parquet(1, 2, 3, groups=1), overwrite=True)
    assert [("done", 3, None)] == outcomes(pushed.acts("run"))
