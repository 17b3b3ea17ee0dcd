"""Traces and metrics of the steps of runs, sent by OpenTelemetry where TELEMETRY says so.

All steps of a job are one trace, in whichever process they run: the id of the trace is made of the job's. So are those
of a run without a job. Where TELEMETRY is ``off``, nothing is counted and no package of OpenTelemetry is imported.
What cannot be sent is lost: it never delays or fails a load.
"""

from __future__ import annotations

import datetime as dt
import hashlib

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError
from shared.model import from_text

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import SpanContext, Tracer

    from shared.model import Run

_NAME = "sluice"
_SECONDS = 5
"""How long one attempt to send may take: a process that ends waits for the last."""
_BOUNDS = (0.01, 0.1, 1, 10, 60, 300, 900, 3600)
"""Upper bounds of the histogram of durations, in seconds."""
_OF_MICROSOFT = tuple(
    f"APPLICATIONINSIGHTS_{name}" for name in ("STATSBEAT_DISABLED_ALL", "CONTROLPLANE_DISABLED", "SDKSTATS_DISABLED")
)
"""Azure Monitor's exporter reports on itself, and asks Microsoft for flags, unless these are set."""
_CHANGES = ("inserted", "updated", "undeleted", "deleted", "unchanged", "rejected")
"""Numbers of a run that are counted as rows, each under its own ``change``."""


@dataclass(slots=True, kw_only=True)
class Step:
    """One verb of a run."""

    verb: str
    """plan, stage, publish or tidy."""
    run: Run
    """With its numbers once it is published."""
    destination: str
    job: str | None = None
    details: dict[str, int] = field(default_factory=dict)
    """What the log says of it besides: slice, rows."""
    finished: dt.datetime | None = None
    """When it was over; None while it is not."""
    seconds: float = 0.0
    error: str | None = None
    """The type of the error that ended it, if one did."""


class Telemetry:
    """Sends nothing."""

    def record(self, step: Step) -> None:
        """A step is over."""

    def count_retry(self, reason: str) -> None:
        """A call to another machine is repeated; *reason* is the type of its error."""


class _OpenTelemetry(Telemetry):
    """Sends a span for each step, and the metrics that docs/telemetry.md lists."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._seconds = meter.create_histogram(
            "sluice.step.duration", unit="s", explicit_bucket_boundaries_advisory=_BOUNDS
        )
        self._rows = meter.create_counter("sluice.rows", unit="{row}")
        self._retries = meter.create_counter("sluice.retries", unit="{retry}")
        self._lag = meter.create_gauge("sluice.lag", unit="s")

    def record(self, step: Step) -> None:
        self._trace(step)
        of = {"sluice.feed": step.run.feed, "sluice.destination": step.destination}
        outcome = "failed" if step.error else "done"
        self._seconds.record(step.seconds, {**of, "sluice.verb": step.verb, "sluice.outcome": outcome})
        if step.verb != "publish" or step.error or step.run.status == "dry":
            return
        for change in _CHANGES:
            if count := getattr(step.run, change):
                self._rows.add(count, {**of, "sluice.change": change})
        exported, finished = from_text(step.run.exported_at), from_text(step.run.finished)
        if exported and finished:
            self._lag.set((finished - exported).total_seconds(), of)

    def count_retry(self, reason: str) -> None:
        self._retries.add(1, {"error.type": reason})

    def _trace(self, step: Step) -> None:
        from opentelemetry import trace

        assert step.finished is not None  # noqa: S101 - it is over
        end = int(step.finished.timestamp() * 1e9)
        parent = trace.set_span_in_context(trace.NonRecordingSpan(_parent(step.job or step.run.id)))
        span = self._tracer.start_span(
            step.verb, context=parent, start_time=end - int(step.seconds * 1e9), attributes=_attributes(step)
        )
        if step.error:
            span.set_status(trace.StatusCode.ERROR, step.error)
        span.end(end)


def open_telemetry(kind: str, env: MutableMapping[str, str]) -> Telemetry:
    """What sends to *kind*, a value of TELEMETRY, until the process ends.

    The exporters read variables of their own from *env*, that of the process; for Azure Monitor some are added.
    ConfigError if they cannot be used.
    """
    if kind == "off":
        return Telemetry()
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    spans, metrics = _otlp() if kind == "otlp" else _azure_monitor(env)
    resource = Resource.create({"service.name": _NAME})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(spans))
    meters = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metrics)])
    return _OpenTelemetry(traces.get_tracer(_NAME), meters.get_meter(_NAME))


def trace_of(job: str) -> str:
    """The id of the trace that has all steps of a *job*, or of a run without one: 32 hexadecimal digits."""
    return hashlib.sha256(job.encode()).hexdigest()[:32]


def _otlp() -> tuple[Any, Any]:
    """Exporters of spans and of metrics."""
    from opentelemetry.exporter.otlp.json.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(timeout=_SECONDS), OTLPMetricExporter(timeout=_SECONDS)


def _azure_monitor(env: MutableMapping[str, str]) -> tuple[Any, Any]:
    """Exporters of spans and of metrics."""
    from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter, AzureMonitorTraceExporter

    for name in _OF_MICROSOFT:
        env.setdefault(name, "true")
    try:
        options = {"disable_offline_storage": True, "timeout": _SECONDS}
        return AzureMonitorTraceExporter(**options), AzureMonitorMetricExporter(**options)
    except ValueError as error:
        raise ConfigError(
            f"TELEMETRY is azure_monitor, but Application Insights cannot be called: {error}",
            fix="Set APPLICATIONINSIGHTS_CONNECTION_STRING to what the resource's overview shows, or TELEMETRY to off",
        ) from error


def _parent(job: str) -> SpanContext:
    """The span that all steps of *job* are below. It is never sent: no process knows when a job begins and ends."""
    from opentelemetry.trace import SpanContext, TraceFlags

    trace = trace_of(job)
    return SpanContext(int(trace, 16), int(trace[:16], 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _attributes(step: Step) -> dict[str, str | int]:
    known = {
        "feed": step.run.feed, "run": step.run.id, "job": step.job, "destination": step.destination, **step.details,
    }  # fmt: skip
    return {f"sluice.{name}": value for name, value in known.items() if value is not None}
