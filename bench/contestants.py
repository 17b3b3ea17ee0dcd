"""Who takes part, and the command line of each for every step. A step is one process, from its start to its end."""

from __future__ import annotations

import os
import sys

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import sluice

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".venv-peers" / "bin" / "python"

Command = tuple[list[str], dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """*command* makes arguments and environment from a step, a folder to keep the state in, and the exports."""

    name: str
    label: str
    command: Callable[[str, Path, Path], Command]
    database: str
    schema: str
    kind: str = "history"
    """``history`` if the table has FirstSyncAt, DeletedAt and the like, else ``plain``."""
    python: Path = Path(sys.executable)

    @property
    def installed(self) -> bool:
        return self.python.exists()


def _module(python: Path, *name: str) -> Callable[[str, Path, Path], Command]:
    return lambda step, state, exports: ([str(python), "-m", *name, step, str(state), str(exports)], quiet())


def _plain(name: str, label: str, how: str) -> Contestant:
    command = _module(Path(sys.executable), "bench.plain", how)
    return Contestant(name=name, label=label, command=command, database="plain.duckdb", schema="main")


def _dlt(name: str, label: str, how: str) -> Contestant:
    return Contestant(
        name=name, label=label, command=_module(PEERS, "bench.dlt_peer", how), database="dlt.duckdb",
        schema="coolr", kind="plain", python=PEERS,
    )  # fmt: skip


def quiet(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without the settings that whoever starts this may have."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {**kept, "TZ": "UTC", **(more or {})}


CONTESTANTS = {
    "plain": _plain("plain", "plain SQL", "direct"),
    "plain-staged": _plain("plain-staged", "plain SQL, staged", "staged"),
    "sluice": Contestant(
        name="sluice",
        label="Sluice",
        command=lambda step, state, exports: (
            sluice.command(step, exports),
            quiet(sluice.settings(state)),
        ),
        database=sluice.DATABASE,
        schema="coolr",
    ),
    "dlt": _dlt("dlt", "dlt, merge", "merge"),
    "dlt-replace": _dlt("dlt-replace", "dlt, fulls replaced", "replace"),
}
