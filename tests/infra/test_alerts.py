"""What Azure alerts, and what the workbook shows, is found in the log that the app writes."""

from __future__ import annotations

import json
import logging
import re

from dataclasses import replace

import pytest

from shared.alerts.send import Alerts
from tests.alerts.samples import ALERT, Memory, session_with, settings
from tests.infra.template import APP, INFRA, ROOT, block, everything, main, module

ALERTS = block(module("alerts"), "var queries = [")
WORKBOOK = json.loads((INFRA / "modules" / "runs.workbook.json").read_text(encoding="utf-8"))
SHOWN = {item["content"]["title"]: item["content"]["query"] for item in WORKBOOK["items"] if item["type"] == 3}


def test_each_thing_worth_an_alert_has_one():
    """Failed runs, dead letters, the poison queue, staleness, the log rate, an app that is down, cost."""
    names = re.findall(r"^    name: '([\w-]+)'", module("alerts"), re.MULTILINE)

    assert {"events-failed", "events-dead-lettered", "sql-log-rate", "runs-failed", "events-poisoned", "feeds-stale",
            "alerts-lost", "app-silent"} == set(names)  # fmt: skip
    assert "Microsoft.Consumption/budgets@" in module("alerts")
    assert "if (!empty(alertEmail))" in main()


@pytest.mark.parametrize(
    ("name", "file", "template", "line"),
    [
        ("runs-failed", "pipeline/runner.py", "%s: run %s failed: %s", "coolr.location: run 3f2 failed: no key"),
        ("events-poisoned", "jobs/watchdog.py", "poisoned event: %s", "poisoned event: exports/a.parquet"),
        ("alerts-lost", "alerts/send.py", "alert was not sent: %s: %s", "alert was not sent: coolr.a failed: 500"),
    ],
)
def test_query_finds_the_line_that_the_app_logs(name, file, template, line):
    """A line that is reworded would silence the alert."""
    assert f'"{template}"' in (ROOT / "shared" / file).read_text(encoding="utf-8")
    assert _finds(_query(name), line)
    assert not _finds(_query(name), "stage feed=coolr.location run=3f2 rows=1 seconds=0.10")


@pytest.mark.parametrize("url", [True, False])
def test_a_stale_feed_is_found_whether_or_not_its_alert_is_sent(url, caplog):
    """The log has the line in both cases."""
    alert = replace(ALERT, title="coolr.a has had no data for 26 h")
    session, _ = session_with(lambda _: (202, {}, b""))
    with caplog.at_level(logging.INFO, "sluice"):
        Alerts(settings(**{} if url else {"alert_url": ""}), Memory(), session).send(alert)

    assert [True] == [_finds(_query("feeds-stale"), record.getMessage()) for record in caplog.records]
    assert "has had no data for {hours" in (ROOT / "shared/jobs/watchdog.py").read_text(encoding="utf-8")


def test_silence_is_that_of_a_function_that_runs_each_quarter_of_an_hour():
    """The query counts its requests by name."""
    (name,) = re.findall(r'Name == "(\w+)"', _query("app-silent"))

    assert f"def {name}(" in APP
    assert "param watchdogSchedule string = '0 */15 * * * *'" in main()


def test_workbook_reads_the_lines_of_steps():
    """Each field that it shows is in the line of a step; feeds, runs, rows, errors and alerts are shown."""
    publish = "publish feed=coolr.location run=3f2 job=blob:1 rows=12 inserted=7 updated=5 seconds=0.31"
    stage = "stage feed=coolr.location run=3f2 slice=0 rows=12 rejected=2 seconds=0.10"
    failed = "coolr.location: run 3f2 failed: column Id is missing"
    expected = {
        "Runs by feed": (
            publish,
            {"Feed": "coolr.location", "Run": "3f2", "Rows": "12", "Inserted": "7", "Updated": "5", "Seconds": "0.31"},
        ),
        "Rows merged an hour": (publish, {"Rows": "12"}),
        "Rows rejected while staging": (stage, {"Feed": "coolr.location", "Run": "3f2", "Rejected": "2"}),
        "Failed runs": (failed, {"Feed": "coolr.location", "Run": "3f2", "Error": "column Id is missing"}),
        "Where the time goes": (publish, {"Step": "publish", "Seconds": "0.31"}),
    }  # fmt: skip

    for title, (line, fields) in expected.items():
        assert _finds(SHOWN[title], line), title
        assert fields.items() <= _extracted(SHOWN[title], line).items(), title
    assert _finds(SHOWN["Alerts"], "alert was sent: coolr.a has had no data for 26 h")
    assert set(SHOWN) == {*expected, "Alerts"}
    runner = (ROOT / "shared/pipeline/runner.py").read_text(encoding="utf-8")
    assert "{step.verb} feed={step.run.feed} run={step.run.id} {text} seconds={step.seconds:.2f}" in runner
    assert "rows=merged.run.read, inserted=merged.run.inserted, updated=merged.run.updated" in runner
    assert "rejected=staged.rejected" in runner


def test_budget_keeps_its_start():
    """Azure refuses another one; infra/deploy passes on that of the first deployment."""
    assert "startDate: budgetStart" in everything()
    assert "\nparam monthlyBudget int = 0\n" in main()


def _query(name):
    rest = ALERTS[ALERTS.index(f"name: '{name}'") :]
    return re.search(r"query: '([^\n]+)'\n", rest)[1]


def _finds(query, line):
    """Whether the filters of a query for AppTraces let *line* through."""
    found = re.findall(r'where Message (startswith|matches regex) @?"([^"]+)"', query)
    assert found
    return all(line.startswith(text) if how == "startswith" else re.search(text, line) for how, text in found)


def _extracted(query, line):
    found = re.findall(r'(\w+) = (?:\w+\()?extract\(@"([^"]+)", 1, Message\)', query)
    return {name: match[1] for name, pattern in found if (match := re.search(pattern, line))}
