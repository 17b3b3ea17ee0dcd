"""Decisions about few rows, and an app that publishes them, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.model import Feed, Plan, Staged
from shared.pipeline.folder import exports_source
from shared.pipeline.runner import RunOptions
from shared.warehouses import Merged
from shared.warehouses.azure_sql.session import MSSQLSession
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_case import WarehouseCase, row


def feed(**more: Any) -> Feed:
    given = {"cursor": "At", "deleted": "Gone", **more}
    return Feed(system="shop", table="item", source="exports", keys=("Id",), **given)


URL = "mssql://app:secret@stand-in/sluice"


def opened(folder: Path, server: Server, **env: str) -> WarehouseCase:
    def query(statement: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in server.query(statement)]

    return WarehouseCase(folder, query, WAREHOUSE_URL=URL, **env)


class Publishing:
    """An export that is staged, and that can be published."""

    def __init__(
        self, case: WarehouseCase, *rows: dict[str, Any], number: float = 6, kind: Any = "delta", **how: Any
    ) -> None:
        from shared.pipeline import verbs
        from shared.sources.exports.listing import FindOptions, export_unit, find_exports
        from shared.stores import open_store

        self.app = case.app
        file = case.write(kind, number, rows, **how)
        store = open_store(str(file.parent), self.app.settings)
        reported = FindOptions(
            kind=kind, client=None, exported_at=None, tables=(file.stem,), settle_seconds=0, ahead_seconds=86_400
        )
        offers, _ = find_exports(store, reported, self.app.now())
        (work,) = [export_unit(offered, store) for offered in offers]
        run = verbs.run_for(f"shop.{file.stem}", work, self.app.ledger, "2026-02-24T12:00:00.000000")
        assert run is not None
        source = exports_source(store, self.app.settings)
        self.plan: Plan = self.app.runner.plan(run, work, source)
        self.staged = [self.app.runner.stage(self.plan, part, source) for part in self.plan.slices]

    def __call__(self, staged: list[Staged] | None = None, *, dry_run: bool = False) -> Merged:
        merged = self.merge(self.plan, staged, dry_run=dry_run)
        self.app.runner.tidy(self.plan, dry_run=dry_run)
        return merged

    def merge(self, plan: Plan, staged: list[Staged] | None = None, *, dry_run: bool = False) -> Merged:
        options = RunOptions(max_delete_share=1.0, dry_run=dry_run)
        return self.app.runner.merge(plan, dict(enumerate(staged or self.staged)), {}, options)


def tables_made(statements: list[str]) -> list[str]:
    return [text for text in statements if "CREATE TABLE [staging]" in text]


TWENTY = (row(1, "Ida", 4), row(2, "Bob", 2), row(3, "Cy", 4), row(2, "Old", 1),
          *(row(n, f"n{n}", 4, n % 3 == 0) for n in range(10, 26)))  # fmt: skip


OF_TWENTY = {"superseded": 1, "unchanged": 1, "inserted": 16, "undeleted": 1, "updated": 1, "read": 20}


def interrupted(monkeypatch: pytest.MonkeyPatch, between: Any, times: int = 1) -> None:
    """Let something happen between the first batch and the second, so many times."""
    left = [times]
    original = MSSQLSession.batch

    def batch(self: MSSQLSession, text: str, parameters: Any) -> Any:
        if "sp_getapplock" in text and left[0]:
            left[0] -= 1
            between()
        return original(self, text, parameters)

    monkeypatch.setattr(MSSQLSession, "batch", batch)
