"""Retries of PostgreSQL without their waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.warehouses.postgres import engine


def retries_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = replace(engine._RETRY, first_wait=0.0, jitter=0.0)
    monkeypatch.setattr(engine, "_RETRY", at_once)
