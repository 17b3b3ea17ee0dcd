"""How fast a text file becomes batches of text, on one core and in how much memory: without cleaning and loading.

``python -m bench.csv_reader leads.csv`` reads the file with Sluice, Arrow, DuckDB and Python's csv, each in its own
process. ``python -m bench.csv_data leads.csv --rows 1000000`` makes such a file.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import resource
import tempfile
import time

from collections.abc import Callable, Iterator
from pathlib import Path

_BATCH_ROWS = 20_000


def sluice(path: str) -> Iterator[int]:
    from shared.sources.csv.dialect import detect
    from shared.sources.csv.reader import read

    with Path(path).open("rb") as opened:
        dialect = detect(opened)
    with Path(path).open("rb") as opened:
        for found in read(opened, dialect, _BATCH_ROWS):
            yield len(found) if isinstance(found, list) else found.num_rows


def arrow(path: str) -> Iterator[int]:
    from pyarrow import csv as pa_csv

    options = pa_csv.ReadOptions(use_threads=False), pa_csv.ParseOptions(newlines_in_values=True)
    for batch in pa_csv.open_csv(path, *options):
        yield batch.num_rows


def duckdb(path: str) -> Iterator[int]:
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        for batch in connection.read_csv(path, all_varchar=True, store_rejects=True).to_arrow_reader(_BATCH_ROWS):
            yield batch.num_rows


def python(path: str) -> Iterator[int]:
    with Path(path).open(encoding="utf-8", newline="") as opened:
        yield sum(1 for _ in csv.reader(opened)) - 1


READERS: tuple[Callable[[str], Iterator[int]], ...] = (sluice, arrow, duckdb, python)


def measure(reader: Callable[[str], Iterator[int]], path: str) -> str:
    """One line: rows, rows per second of processor time, and megabytes above those that a small file takes."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.NamedTemporaryFile(suffix=".csv") as small:
        small.write(b"id,name\n1,Ada\n2,Bob\n")
        small.flush()
        sum(reader(small.name))
    base, start = _peak(), time.process_time()
    rows = sum(reader(path))
    seconds = time.process_time() - start
    return f"{reader.__name__:8} {rows:>12,} rows {rows / seconds:>12,.0f} rows/s {_peak() - base:>6,.0f} MB"


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Measure how fast text files are read into batches of text.")
    arguments.add_argument("path")
    location = arguments.parse_args().path
    for one in READERS:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            print(process.apply(measure, (one, location)))
