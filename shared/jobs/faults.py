"""Errors of one step as data for another."""

from __future__ import annotations

from shared import errors
from shared.errors import IngestError
from shared.jobs.request import Fault
from shared.pipeline.runner import Bug, error_text
from shared.redaction import redact


def as_fault(error: Exception) -> Fault:
    """*error*, without credentials."""
    if isinstance(error, IngestError):
        return Fault(kind=type(error).__name__, problem=redact(error.problem), fix=error.fix)
    return Fault(kind=None, problem=redact(error_text(error)))


def as_error(fault: Fault) -> Exception:
    """The error that ``as_fault`` kept."""
    if fault.kind is None:
        return Bug(fault.problem)
    error: IngestError = getattr(errors, fault.kind)(fault.problem, fix=fault.fix)
    return error
