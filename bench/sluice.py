"""Sluice as its user starts it: ``sluice load FOLDER --tables orderitem``, all settings but the URLs at their defaults.

Every check is on: the file is hashed, each batch goes through the contract, duplicate keys are found, outcomes must add
up, the run is recorded in the warehouse and the work in the ledger.
"""

from __future__ import annotations

import sys

from pathlib import Path

DATABASE = "warehouse.duckdb"


def command(step: str, exports: Path) -> list[str]:
    """*step* may end in ``dry run`` or ``again``."""
    flags = ["--dry-run"] if step.endswith("dry run") else ["--again"] if step.endswith("again") else []
    return [sys.executable, "-m", "shared", "load", str(exports), "--tables", "orderitem", "--json", *flags]


def settings(state: Path) -> dict[str, str]:
    """Where it keeps its two files."""
    return {"WAREHOUSE_URL": f"duckdb:///{state / DATABASE}", "LEDGER_URL": f"sqlite:///{state / 'ledger.db'}"}
