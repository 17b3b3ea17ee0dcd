"""What is sent of the steps of runs, as a collector and Application Insights get it."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shared import telemetry
from tests.advice import advised
from tests.exports import export_path, write_parquet
from tests.servers.receiver import Receiver

KEY = "InstrumentationKey=00000000-0000-0000-0000-000000000001"

NOTE = "location: merged as a delta: 1 rejected rows have no readable key\n"
"""The only thing that a load says here."""


def load(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Load an export of three rows, one of them without a key, in a process of its own."""
    changed = dt.datetime(2026, 2, 24, tzinfo=dt.UTC)
    rows = [{"LocationId": key, "ModifiedOn": changed, "IsDeleted": False} for key in (1, 2, None)]
    write_parquet(export_path(folder / "exports", "Full", "20260224000000", "location"), rows)
    known = {
        "WAREHOUSE_URL": f"duckdb:///{folder}/warehouse.duckdb", "LEDGER_URL": f"sqlite:///{folder}/ledger.db",
        "STATE_URL": str(folder / "state"),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "shared", "load", str(folder / "exports"), "--max-reject-share", "1"],
        env={**os.environ, **known, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def values(attributes: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Attributes of OTLP as a dictionary."""
    return {one["key"]: next(iter(one["value"].values())) for one in attributes}


def test_a_collector_gets_a_trace_of_the_run_and_its_metrics(tmp_path):
    with Receiver() as collector:
        done = load(tmp_path, TELEMETRY="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url.partition("/alerts")[0])

    assert 0 == done.returncode, done.stderr
    spans = [
        span
        for body in collector.bodies for one in body.get("resourceSpans", ())
        for scope in one["scopeSpans"] for span in scope["spans"]
    ]  # fmt: skip
    assert ["plan", "stage", "publish", "tidy"] == [span["name"] for span in spans]
    of = [values(span["attributes"]) for span in spans]
    assert {"coolr.location"} == {one["sluice.feed"] for one in of}
    assert ["2", "1"] == [of[1]["sluice.rows"], of[1]["sluice.rejected"]]
    (run,) = {one["sluice.run"] for one in of}
    assert {telemetry.trace_of(run)} == {span["traceId"] for span in spans}

    metrics = {
        metric["name"]: metric
        for body in collector.bodies for one in body.get("resourceMetrics", ())
        for scope in one["scopeMetrics"] for metric in scope["metrics"]
    }  # fmt: skip
    assert {"sluice.step.duration", "sluice.rows", "sluice.lag"} == metrics.keys()
    rows = {values(p["attributes"])["sluice.change"]: p["asInt"] for p in metrics["sluice.rows"]["sum"]["dataPoints"]}
    assert {"inserted": "2", "rejected": "1"} == rows
    assert metrics["sluice.lag"]["gauge"]["dataPoints"][0]["asDouble"] > 86_400


@pytest.mark.slow
def test_application_insights_gets_the_same(tmp_path):
    with Receiver() as insights:
        address = insights.url.partition("alerts")[0]
        done = load(
            tmp_path, TELEMETRY="azure_monitor",
            APPLICATIONINSIGHTS_CONNECTION_STRING=f"{KEY};IngestionEndpoint={address}",
        )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    sent = [one["data"] for body in insights.bodies for one in body]
    steps = [one["baseData"] for one in sent if one["baseType"] == "RemoteDependencyData"]
    assert ["plan", "stage", "publish", "tidy"] == [one["name"] for one in steps]
    assert {"coolr.location"} == {one["properties"]["sluice.feed"] for one in steps}
    counted = [one["baseData"]["metrics"][0]["name"] for one in sent if one["baseType"] == "MetricData"]
    assert {"sluice.step.duration", "sluice.rows", "sluice.lag"} == set(counted)


@pytest.mark.slow
def test_a_collector_that_is_away_fails_no_load(tmp_path):
    """Nor does it say anything where people read what became of the load."""
    done = load(tmp_path, TELEMETRY="otlp", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")

    assert (0, NOTE) == (done.returncode, done.stderr)


def test_a_connection_string_that_cannot_be_used_is_refused(monkeypatch):
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", "odd")
    monkeypatch.setenv("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "true")
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED", "true")
    with advised(
        "Set APPLICATIONINSIGHTS_CONNECTION_STRING to what the resource's overview shows, or TELEMETRY to off"
    ):
        telemetry.open_telemetry("azure_monitor", os.environ)


def test_nothing_is_counted_where_it_is_off(monkeypatch):
    """And no package of OpenTelemetry is imported for it."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    telemetry.open_telemetry("off", {}).count_retry("TransientError")


def test_steps_of_a_job_are_one_trace_in_every_process():
    assert "2cf24dba5fb0a30e26e83b2ac5b9e29e" == telemetry.trace_of("hello")
