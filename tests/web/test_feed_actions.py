"""Running, backfilling, pausing and resuming a feed over the real functions."""

from __future__ import annotations

import pytest

from shared.jobs.view import job_loading
from shared.model import Watermark
from shared.pipeline.runner import Runner
from tests.web.site import FEED, PULLED, blob, day, outcomes, parquet

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

    answer = pushed.sends("POST", f"feeds/{FEED}/run")

    (started,) = answer.body["jobs"]
    assert (202, FEED) == (answer.status, answer.body["feed"])
    assert f"http://localhost:7071/api/jobs/{started['job'].replace(':', '%3A')}" == started["url"]
    search = pushed.ended(started["url"].partition("/api/jobs/")[2].replace("%3A", ":"))
    assert ("completed", 1) == (search["state"], search["progress"]["units"])
    assert ["done"] == [pushed.ended(job)["state"] for job in search["progress"]["jobs"]]


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


@pytest.mark.parametrize("action", ["run", "resume"])
def test_a_request_does_not_list_the_container_itself(site, azurite, action):
    """A job does: with many files that takes longer than a request may. Here there is nothing that could be listed."""
    url = f"{azurite.blob_url}/no-such-container"
    site.opens(EXPORTS_URL=url, STORAGE_CONNECTION_STRING=azurite.connection_string)

    answer = site.sends("POST", f"feeds/{FEED}/{action}")
    (search,) = answer.body["jobs"]

    assert 202 == answer.status
    assert ("search_job", "failed") == tuple(site.ended(search["job"])[name] for name in ("orchestrator", "state"))


def test_a_search_is_refused_while_the_same_one_runs_and_not_while_another_does(pushed):
    """What a person allows for once is not lost because somebody else searches at the moment."""
    answers = [pushed.sends("POST", f"feeds/{FEED}/run", body) for body in ({}, {}, {"max_delete_share": 1})]
    first, second, third = ([one["job"] for one in answer.body["jobs"]] for answer in answers)
    for job in {*first, *third}:
        pushed.ended(job)

    assert first == second != third


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

    requested = [request["max_delete_share"] for name, request in pulled.host.durable.calls if name == "publish"]
    assert [0.25] == requested


# -- run of a system


def test_run_of_a_system_syncs_all_its_feeds_in_one_job(pulled):
    """Of those that are pulled; the response is the link of the job."""
    answer = pulled.sends("POST", "systems/shop/run")
    reported = pulled.ended("sync:shop")

    url = "http://localhost:7071/api/jobs/sync%3Ashop"
    assert (202, {"system": "shop", "jobs": [{"job": "sync:shop", "url": url}]}) == (answer.status, answer.body)
    assert ("done", "sync shop", 3) == (
        reported["state"], reported["summary"]["what"], reported["summary"]["inserted"]
    )  # fmt: skip
    assert [PULLED] == [unit["feed"] for unit in reported["units"]]


@pytest.mark.parametrize("feeds", ["item", PULLED, " item , shop.item,"])
def test_feeds_of_a_system_can_be_chosen(pulled, feeds):
    """By the names of their tables, or by their own."""
    assert 202 == pulled.sends("POST", f"systems/shop/run?feeds={feeds}").status
    assert [("done", 3, None)] == outcomes([pulled.ended("sync:shop")])
    (work,) = [request["work"] for name, request in pulled.host.durable.calls if name == "open_tables"]
    assert {"kind": "system", "system": "shop", "feeds": ["item"]} == work


def test_paused_feed_of_a_system_is_skipped(pulled):
    """As in a run of its own."""
    pulled.acts("pause", PULLED)
    pulled.sends("POST", "systems/shop/run")

    assert [("skipped", None, "its feed is paused")] == outcomes([pulled.ended("sync:shop")])


@pytest.mark.parametrize(
    ("system", "reason"),
    [
        (
            "shops",
            "there is no system 'shops'. Choose one of genius, genius_api, hubspot, leadconduit, marketsharp, shop.",
        ),
        (
            "coolr",
            "system 'coolr' has no table to sync. Choose one of genius, genius_api, hubspot, leadconduit, marketsharp, "
            "shop.",
        ),
        ("shop?feeds=items", "system 'shop' has no table 'items' to sync. Choose of item."),
        ("%00", "there is no system"),
    ],
)
def test_system_or_feed_that_cannot_be_synced_is_not_found(pulled, system, reason):
    """The response names those there are, and nothing is started."""
    path, _, query = system.partition("?")
    answer = pulled.sends("POST", f"systems/{path}/run{f'?{query}' if query else ''}")

    assert 404 == answer.status
    assert reason in answer.body["error"]
    assert {} == pulled.host.durable.instances


def test_run_of_a_system_has_no_body(pulled):
    """A limit is for one feed."""
    answer = pulled.sends("POST", "systems/shop/run", {"max_delete_share": 1})

    assert (400, "'max_delete_share' is unknown; known are no fields") == (answer.status, answer.body["error"])


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

    assert [("no news", 2, None)] == outcomes(pulled.acts("backfill", PULLED, {"to": "2026-02-02T00:00:00+00:00"}))
    later = pulled.acts("backfill", PULLED, {"to": "2026-02-09"})  # than its watermark
    assert [("no news", None, "it has nothing new")] == outcomes(later)


def test_backfill_of_a_feed_that_was_never_read_reads_it(pulled):
    """There is nothing to set back."""
    assert [("done", 3, None)] == outcomes(pulled.acts("backfill", PULLED, {"to": "2026-02-02"}))


def test_reset_reads_everything_again_and_history_says_who_wanted_it(pulled):
    """Whoever gives no name is the API."""
    pulled.acts("run", PULLED)
    pulled.acts("backfill", PULLED, {"reset": True, "by": "Ada of the night shift"})
    (job,) = pulled.acts("backfill", PULLED, {"to": "2026-02-02"})

    warehouse = pulled.app.warehouse
    assert ["the API", "Ada of the night shift"] == [one.requested_by for one in warehouse.backfills(PULLED)]
    notes = ["reread from 2026-02-02T00:00:00.000000 after a backfill by the API",
             "reread from the beginning after a backfill by Ada of the night shift", None]  # fmt: skip
    assert notes == [run.note for run in warehouse.runs(PULLED)]
    assert 2 == job["summary"]["unchanged"]


def test_backfill_is_refused_while_a_job_of_the_feed_is_under_way(pulled, monkeypatch):
    """Between two of its steps, too, when no process works on it; a lease that has expired keeps nothing out."""
    pulled.acts("run", PULLED)
    refused = []
    merge = Runner.merge

    def merged(runner, *arguments):
        for later in (0, pulled.app.settings.stuck_after + 1):
            since = pulled.app.now().timestamp() + later - pulled.app.settings.stuck_after
            refused.append(job_loading(pulled.app.documents, PULLED, since))
        refused.append(pulled.sends("POST", f"feeds/{PULLED}/backfill", {"reset": True}))
        return merge(runner, *arguments)

    monkeypatch.setattr(Runner, "merge", merged)
    pulled.acts("run", PULLED)

    job, late, answer = refused
    assert (f"sync:{PULLED}", None, 409) == (job, late, answer.status)
    assert "a run of shop.item is under way" in answer.body["error"]
    assert [] == pulled.app.warehouse.backfills(PULLED)


def test_feed_that_is_read_by_a_number_cannot_be_set_back_to_a_time(pulled):
    """The answer says why, and nothing has changed."""
    pulled.app.ledger.rewind(PULLED, Watermark("17", "bigint"))

    answer = pulled.sends("POST", f"feeds/{PULLED}/backfill", {"to": "2026-02-02"})

    assert (400, "17") == (answer.status, pulled.app.ledger.watermark(PULLED).value)
    assert "shop.item cannot be set back to '2026-02-02': that is no number as its cursor is" in answer.body["error"]


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
