"""`make host`, as far as it goes without Azure Functions Core Tools, which cannot be had everywhere."""

from __future__ import annotations

import os
import subprocess
import sys

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(path: str) -> subprocess.CompletedProcess[str]:
    """What `make host` runs, with these folders to find programs in."""
    env = {**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, "-m", "tests.local_host"], cwd=ROOT, env=env, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip


def test_without_core_tools_it_says_what_to_install(tmp_path):
    """In one line, and fails."""
    done = run(str(tmp_path))

    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "npm install -g azure-functions-core-tools@4" in done.stderr


@pytest.mark.slow
def test_with_a_stand_in_for_core_tools_an_export_is_loaded(tmp_path, azurite_installed):
    """Azurite is started, five files are uploaded, announced and loaded; the real func start is not tried here."""
    func = tmp_path / "func"
    func.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.standins.func "$@"\n')
    func.chmod(0o755)

    done = run(f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    assert 0 == done.returncode, done.stderr
    assert 5 == done.stdout.count(" done ")
