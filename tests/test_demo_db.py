"""`make demo-db` shows what it promises."""

from __future__ import annotations

import re
import subprocess
import sys

from pathlib import Path

import pytest

from tests.demo_db import PROSPECTS

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.usefixtures("mariadb_installed")
def test_the_demo_syncs_a_database_finds_deletions_and_reads_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.demo_db", "--folder", str(tmp_path / "demo")]

    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    _, full, _, incremental, keys, backfill, history, query = re.split(r"^[1-7]\. .*$", shown, flags=re.MULTILINE)
    assert re.search(rf"^genius.prospect +done +caught up +\S+ +{PROSPECTS:,} +{PROSPECTS:,} *$", full, re.MULTILINE)
    assert 31 == len(re.findall(r"^genius\.\w+ +done +caught up", full, re.MULTILINE))
    assert re.search(r"^genius.prospect +done +caught up +\S+ +4 +1 +3 *$", incremental, re.MULTILINE)
    assert re.search(
        rf"^genius.prospect +done +unknown +\S+ +{PROSPECTS - 4:,} +{PROSPECTS - 4:,} +5 *$", keys, re.MULTILINE
    )
    assert re.search(r"^genius.prospect +no news +caught up", backfill, re.MULTILINE)
    assert 4 == len(re.findall(r"^\w{16} +genius.prospect +(?:window|keys) ", history, re.MULTILINE))
    assert re.search(r"^division 1 +101 ", query, re.MULTILINE)
