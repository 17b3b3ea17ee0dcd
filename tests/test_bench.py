"""The benchmark runs, and says what it is there to say."""

from __future__ import annotations

import csv
import subprocess
import sys

from dataclasses import replace
from pathlib import Path

import pytest

from bench import check, csv_data, report
from bench.contestants import CONTESTANTS, ROOT
from bench.measure import Cost

ROWS = {"rows": 1_030, "dead": 5, "touched": 85}


@pytest.mark.slow
def test_results_show_every_section_and_figure(tmp_path: Path) -> None:
    results = tmp_path / "results.md"
    few = ["--rows", "2000", "--runs", "1", "--only", "plain,sluice"]
    places = ["--work", str(tmp_path), "--results", str(results)]

    subprocess.run([sys.executable, "-m", "bench", *few, *places], cwd=ROOT, check=True)

    text = results.read_text(encoding="utf-8")
    titles = [line for line in text.splitlines() if line.startswith("#")]
    assert [title.split()[1] for title in titles] == [
        "Benchmark", "First", "Second", "Delta", "Figures", "Memory", "Dry", "Start",
    ]  # fmt: skip
    assert 3 == text.count("| plain SQL |")
    assert 18 == text.count("| at most")
    assert "wrong" not in text
    assert str(tmp_path) not in text


@pytest.mark.slow
@pytest.mark.usefixtures("azurite_installed")
def test_functions_show_every_section_and_figure(tmp_path: Path) -> None:
    results = tmp_path / "results.md"

    command = [sys.executable, "-m", "bench", "functions", "--quick", "--results", str(results)]
    subprocess.run(command, cwd=ROOT, check=True)

    text = results.read_text(encoding="utf-8")
    titles = [line for line in text.splitlines() if line.startswith("#")]
    assert [title.split()[1] for title in titles] == ["Benchmark", "Figures", "Replay", "Webhook", "Import"]
    assert 9 == sum(line.endswith(("| yes |", "| **no** |")) for line in text.splitlines())
    assert 4 == text.count("| Azurite, ") + text.count("| answers at once, ")
    assert 2 == text.count("| a blob")
    assert "| Webhook, connections to where links lead, or elsewhere | none | none | yes |" in text
    assert "| Heavy modules that it imports | none | none | yes |" in text
    assert str(ROOT) not in text


@pytest.mark.slow
def test_the_import_of_a_csv_file_is_measured_and_checked() -> None:
    """A line for each that takes part; those that are not installed say so."""
    command = [sys.executable, "-m", "bench.csv_load", "--rows", "2000", "--rounds", "1"]

    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)

    lines = done.stdout.splitlines()
    assert ["`sluice", "DuckDB,", "dlt,", "dlt,"] == [line.split()[1] for line in lines[2:]]
    assert all(line.endswith(" MB |") or "make bench-peers" in line for line in lines[2:])


def test_right_table_passes() -> None:
    seen = {"alive": [1_025, "17"], "dead": 5, "touched": 85}

    assert "right" == check.verdict("delta", ROWS, {"delta": [1_025, "17"]}, seen)


@pytest.mark.parametrize("fault", [{"alive": [1_025, "18"]}, {"dead": 4}, {"touched": 84}])
def test_faulty_table_is_called_wrong(fault: dict[str, object]) -> None:
    seen = {"alive": [1_025, "17"], "dead": 5, "touched": 85, **fault}

    assert check.verdict("delta", ROWS, {"delta": [1_025, "17"]}, seen).startswith("wrong")


def test_peer_that_is_not_installed_is_named(tmp_path: Path) -> None:
    absent = replace(CONTESTANTS["dlt"], python=tmp_path / "python")
    turn = report.Turn(Cost(1.0, 1.0, 100.0), 10.0, "right")
    rounds = [{(step, "plain"): turn for step in ("first", "second", "delta")}]

    text = report.text(1_000, [CONTESTANTS["plain"], absent], rounds, None)

    assert 3 == text.count("not installed: `make bench-peers`")


def test_csv_file_has_the_columns_and_the_faults_it_promises_every_time(tmp_path: Path) -> None:
    for name in ("first.csv", "second.csv"):
        csv_data.make(tmp_path / name, 3_000)

    with (tmp_path / "first.csv").open(encoding="utf-8", newline="") as text:
        header, *rows = csv.reader(text)
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    assert {csv_data.COLUMNS} == {len(row) for row in (header, *rows)}
    assert csv_data.expected(3_000) == {"loaded": 2_997, "rejected": sum(not row[0] for row in rows)}
    phones = [row[header.index("Primary Phone")] for row in rows]
    assert 0.4 < sum(phone.isdigit() or phone.startswith("+1") for phone in phones) / len(phones) < 0.6
