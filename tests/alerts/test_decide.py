"""What is worth an alert, and how runs and jobs are summed up."""

from __future__ import annotations

import json

from dataclasses import asdict, replace

import pytest

from shared.alerts.decide import (
    Summary,
    alert_for_failure,
    alert_for_run,
    alert_for_summary,
    alert_key,
    run_message,
    summarize,
)
from tests.alerts.samples import DONE, FAILED, NO_NEWS, RUN, SKIPPED


@pytest.mark.parametrize(
    ("run", "reported"),
    [
        (RUN, None),
        (replace(RUN, status="dry", rejected=3), None),
        (replace(RUN, kind="full", complete=True), None),
        (replace(RUN, status="failed", error="no such\nfile"), "coolr.location failed: no such file"),
        (replace(RUN, status="failed"), "coolr.location failed: no error was recorded"),
        (replace(RUN, status="failed", error="x", rejected=3), "coolr.location failed: x"),
        (
            replace(RUN, status="failed", error="https://a.test/b?sig=canary is refused"),
            "coolr.location failed: https://a.test/b is refused",
        ),
        (replace(RUN, rejected=3), "coolr.location rejected 3 of 1,204 rows"),
        (replace(RUN, read=1, rejected=1), "coolr.location rejected 1 of 1 row"),
        (replace(RUN, values_rejected=1), "coolr.location rejected 1 value"),
        (
            replace(RUN, rejected=3, values_rejected=2000),
            "coolr.location rejected 3 of 1,204 rows; rejected 2,000 values",
        ),
        (
            replace(RUN, kind="full", note="merged as a delta: part files may still be arriving"),
            "coolr.location merged a full without deleting the rows it lacks: "
            "merged as a delta: part files may still be arriving",
        ),
        (replace(RUN, kind="full"), "coolr.location merged a full without deleting the rows it lacks"),
        (replace(RUN, note="late: a full is merged already"), None),
        (
            replace(RUN, note="late; check Age not_null: 2 rows fail it"),
            "coolr.location check Age not_null: 2 rows fail it",
        ),
    ],
)
def test_what_is_worth_telling(run, reported):
    """Failures, what was rejected, and a full that was none; in one line, without secrets."""
    assert reported == run_message(run)


def test_flawless_run_is_no_alert():
    """Nobody wants to read it."""
    assert None is alert_for_run(RUN, "location.parquet")


def test_failed_run_is_an_error_with_its_place():
    """And with what an operator looks up next."""
    run = replace(RUN, status="failed", error="no such file", client="Acme", exported_at="2026-02-24T11:00:00.000000")

    alert = alert_for_run(run, "Full/Acme/location.parquet", "https://a.test/j")

    facts = {
        "Place": "Full/Acme/location.parquet",
        "Client": "Acme",
        "Exported": "2026-02-24 11:00:00 UTC",
        "Run": "r1",
    }
    assert ("failure", "error", "coolr.location failed") == (alert.kind, alert.severity, alert.title)
    assert ("coolr.location failed: no such file", "https://a.test/j") == (alert.text, alert.link)
    assert facts == dict(alert.facts)


def test_run_with_rejected_rows_is_a_warning():
    """It is done, and somebody should look."""
    alert = alert_for_run(replace(RUN, rejected=3), "location.parquet")

    assert ("notice", "warning", "coolr.location was loaded with warnings") == (alert.kind, alert.severity, alert.title)


def test_part_that_failed_without_a_run_is_an_error_too():
    """Told by its feed, else by where it lies."""
    alert = alert_for_failure({**FAILED, "error": "no such\nfile"}, "https://a.test/j")

    assert ("failure", "error", "coolr.asset failed") == (alert.kind, alert.severity, alert.title)
    assert ("coolr.asset failed: no such file", "https://a.test/j") == (alert.text, alert.link)
    assert (("Place", FAILED["place"]),) == alert.facts
    assert "x.parquet failed" == alert_for_failure({"place": "x.parquet"}).title


def test_same_trouble_has_the_same_key_whatever_its_numbers():
    """A storm of one kind is one message; another reason or feed is another."""

    def key(**given):
        return alert_for_run(replace(RUN, status="failed", **given), "x").key

    known = key(error="file 20260224120000 of run 0a1b2c3d4e5f lacks 3 of 1,204 rows")
    assert known == key(error="file 20260225120000 of run 99aabbccddee lacks 17 of 9,000 rows")
    assert known != key(error="the warehouse is full")
    assert known != key(error="file 20260224120000 of run 0a1b2c3d4e5f lacks 3 of 1,204 rows", feed="coolr.asset")


def test_key_is_safe_as_a_name():
    """Whatever it is about, it may stand in the name of a blob or a file."""
    assert alert_key("stuck", "blob:../\ud800/é?", "x").replace("-", "").isalnum()


def test_outcomes_are_summed():
    """Counts that are missing are 0, and absent rows count as deleted."""
    outcomes = [
        {**DONE, "read": 10, "inserted": 1, "updated": 2, "deleted": 3, "absent": 4, "undeleted": 1, "unchanged": 1},
        {**DONE, "read": 5, "inserted": 1, "stale": 1, "superseded": 1, "rejected": 2, "deleted": None},
        SKIPPED,
        {**FAILED, "error": "no such\nfile"},
    ]

    summary = summarize("j1", "export Full of Acme, 2026-02-24 12:00", outcomes, 12.5, "https://a.test/j1")

    assert Summary(
        job="j1", what="export Full of Acme, 2026-02-24 12:00", status="partly", files=4, done=2, skipped=1, failed=1,
        read=15, inserted=2, updated=2, deleted=7, undeleted=1, unchanged=1, rejected=2, stale=1, superseded=1,
        seconds=12.5, failures=("coolr.asset failed: no such file",), link="https://a.test/j1",
    ) == summary  # fmt: skip
    assert asdict(summary) | {"failures": list(summary.failures)} == json.loads(json.dumps(asdict(summary)))


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], "done"),
        ([DONE], "done"),
        ([SKIPPED], "done"),
        ([DONE, SKIPPED], "done"),
        ([DONE, FAILED], "partly"),
        ([NO_NEWS], "done"),
        ([NO_NEWS, FAILED], "partly"),
        ([SKIPPED, FAILED], "failed"),
        ([FAILED], "failed"),
    ],
)
def test_job_failed_if_nothing_was_done_and_something_failed(outcomes, status):
    """And partly if some of both."""
    assert status == summarize("j1", "sync genius.prospect", outcomes, 1.0, None).status


def test_of_many_failures_ten_are_listed_and_the_rest_counted():
    """A message is read, not searched."""
    summary = summarize("j1", "x", [{**FAILED, "error": f"reason {number}"} for number in range(1200)], 1.0)

    assert [f"coolr.asset failed: reason {number}" for number in range(10)] == list(summary.failures)
    assert "and 1,190 more" == alert_for_summary(summary).text.splitlines()[-1]


def test_failure_without_feed_is_found_by_its_place():
    """A file that no feed wants has no other name."""
    outcomes = [{"status": "failed", "place": "https://a.test/b.parquet?sig=canary"}, {"status": "failed"}]

    failures = summarize("j1", "x", outcomes, 1.0).failures

    assert "https://a.test/b.parquet failed: no error was recorded" == failures[0]
    assert "a file without a feed failed: no error was recorded" == failures[1]


@pytest.mark.parametrize(
    ("outcomes", "title", "severity"),
    [
        ([DONE], "Done: x", "info"),
        ([DONE, NO_NEWS], "Done: x", "info"),
        ([NO_NEWS, SKIPPED], "No news: x", "info"),
        ([{**DONE, "rejected": 1}], "Done, with rejected rows: x", "warning"),
        ([DONE, FAILED], "Partly done: x", "warning"),
        ([FAILED], "Failed: x", "error"),
    ],
)
def test_title_says_how_it_ended(outcomes, title, severity):
    """That is what a phone shows."""
    alert = alert_for_summary(summarize("j1", "x", outcomes, 1.0))

    assert (title, severity) == (alert.title, alert.severity)


def test_summary_of_a_system_says_how_its_tables_did_and_which_is_furthest_behind():
    """A table that was skipped is another job's, or paused: it does not count."""
    outcomes = [
        {**DONE, "behind": 0.0, "read": 2}, {**NO_NEWS, "behind": 0.0}, {**FAILED, "error": "x", "behind": 7_380.0},
        {**SKIPPED, "behind": 9_999.0}, {**DONE, "behind": None},
    ]  # fmt: skip

    summary = summarize("sync:shop", "sync shop", outcomes, 125.0)
    alert = alert_for_summary(summary)

    assert (7_380.0, "coolr.asset", 1) == (summary.behind, summary.furthest, summary.no_news)
    assert "2 of 5 done, 1 without news, 1 skipped, 1 failed; 2 rows read in 2 min 5 s." == alert.text.splitlines()[0]
    assert "2 h 3 min (coolr.asset)" == dict(alert.facts)["Behind"]


@pytest.mark.parametrize(("outcomes", "behind"), [([DONE], None), ([{**DONE, "behind": 0.0}, SKIPPED], 0.0)])
def test_what_has_caught_up_is_behind_by_nothing(outcomes, behind):
    """And what is not known is not said."""
    summary = summarize("sync:shop", "sync shop", outcomes, 1.0)

    assert (behind, None) == (summary.behind, summary.furthest)
    assert "Behind" not in dict(alert_for_summary(summary).facts)


def test_summary_says_what_happened_to_the_rows():
    """With separators, and nothing about what did not happen."""
    outcomes = [{**DONE, "read": 1204, "inserted": 1000, "absent": 204}, SKIPPED]

    alert = alert_for_summary(summarize("j1", "x", outcomes, 125.0))

    assert "1 of 2 done, 1 skipped; 1,204 rows read in 2 min 5 s." == alert.text
    assert (
        ("Read", "1,204"), ("Inserted", "1,000"), ("Deleted", "204"), ("Took", "2 min 5 s"), ("Job", "j1"),
    ) == alert.facts  # fmt: skip
