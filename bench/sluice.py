"""Sluice as its user starts it: ``sluice load FOLDER --tables orderitem``, all settings but the places left alone.

Every check is on: the file is hashed, each batch goes through the contract, twins are looked for, outcomes must add
up, the run is recorded in the warehouse and the work in the ledger.
"""

from __future__ import annotations

import sys

from pathlib import Path

DATABASE = "warehouse.duckdb"


def command(step: str, exports: Path) -> list[str]:
    """*step* may end in ``dry run`` or ``again``."""
    asked = ["--dry-run"] if step.endswith("dry run") else ["--again"] if step.endswith("again") else []
    return [sys.executable, "-m", "shared", "load", str(exports), "--tables", "orderitem", "--json", *asked]


def settings(state: Path) -> dict[str, str]:
    """Where it keeps its two files."""
    return {"WAREHOUSE_URL": f"duckdb:///{state / DATABASE}", "LEDGER_URL": f"sqlite:///{state / 'ledger.db'}"}
