"""`make demo-csv` shows what it promises."""

from __future__ import annotations

import re
import subprocess
import sys

from pathlib import Path

import pytest

from shared.cli.demo_csv import ROWS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_demo_previews_and_loads_the_file_and_every_rejected_row(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "shared.cli.demo_csv", "--folder", str(tmp_path / "demo")]

    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    _, preview, load, again, rejects, reload, query = re.split(r"^[2-7]\. .*$", shown, flags=re.MULTILINE)
    assert re.search(r"^Phone, Primary Phone +phone_1 +text", preview, re.MULTILINE)
    assert re.search(r"^leads .* dry +2,000 +1,994 +6", preview, re.MULTILINE)
    assert re.search(r"^leads .* done +2,000 +1,994 +6", load, re.MULTILINE)
    assert "skipped: already loaded" in again
    assert "key_null" in rejects or "not_a_date" in rejects
    assert re.search(r"^leads +bad.csv +done +\d+ +6 +\d+ *$", reload, re.MULTILINE)
    assert ROWS == sum(map(int, re.findall(r"^(?:Facebook|Home show|Search) +(\d+)", query, re.MULTILINE)))
