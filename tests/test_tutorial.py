"""The tutorial runs as it is written, from the first command to the line in the crontab."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CRONTAB = """#!/bin/sh
if [ "$1" = "-l" ]; then cat "$0.lines"; else cat > "$0.lines"; fi
"""
LEFT_OUT = ("make setup-demo", ". .venv/bin/activate", "sluice status --serve")
"""The test has an environment, and a server would not end."""


@pytest.mark.slow
def test_tutorial_runs_as_it_is_written(tmp_path):
    """Every block in order, with a stand-in for crontab; the corrected row is loaded."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "crontab").write_text(CRONTAB)
    (tools / "crontab").chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    outputs: list[str] = []

    def run(words: list[str], expected: int = 0) -> None:
        done = subprocess.run(
            words, cwd=home, env={"PATH": path, "HOME": str(home)}, capture_output=True, text=True, check=False
        )
        assert expected == done.returncode, (words, done.stdout, done.stderr)
        outputs.append(done.stdout)

    page = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    loads = 0
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        if language == "python":
            run([sys.executable, "-c", block])
            continue
        for line in block.splitlines():
            loads += line == "sluice load inbox/"
            damaged = line == "sluice load inbox/" and loads == 2  # the delta has a damaged file
            if line not in LEFT_OUT:
                run(["bash", "-c", line], int(damaged))
            if line.endswith("> bad.csv"):
                _correct(home / "bad.csv")

    assert "inserted" in "".join(outputs)
    assert f"*/15 * * * * cd '{home}' && .venv/bin/sluice load inbox/" in (tools / "crontab.lines").read_text()


def _correct(file: Path) -> None:
    """Write 999 into the empty cell of LocationId."""
    with file.open(newline="", encoding="utf-8-sig") as opened:
        reader = csv.DictReader(opened)
        rows, names = list(reader), reader.fieldnames or []
    assert [""] == [row["LocationId"] for row in rows]
    rows[0]["LocationId"] = "999"
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, names)
        writer.writeheader()
        writer.writerows(rows)
