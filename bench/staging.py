"""Measure how rows get from Parquet to staged CSV: DuckDB's COPY beside our encoder, and how uploading overlaps it.

    python -m bench staging                              5,000,000 rows, three runs, some minutes
    python -m bench staging --rows 100000 --runs 1       a quick look

Each step is a process of its own, and they take turns as in ``python -m bench``:

    copy      DuckDB: COPY (FROM 'orderitem.parquet') TO 'orderitem.csv', all its settings left alone
    file      the same file through our encoder to a CSV file, as the loader does it: one thread reads, one encodes
    encode    the same, with the CSV thrown away
    upload    as many bytes, made before, to Azurite on this machine: four blocks of 8 MB at a time
    both      the loader: read, encode and upload at once

``copy`` writes neither quotes around every text nor row numbers, so that its file is a little smaller. Processor time
and memory are those of the process; Azurite has its own, on the same cores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import data, report
from bench.contestants import ROOT, quiet
from bench.measure import Cost, run

STEPS = {
    "copy": "DuckDB COPY to a file",
    "file": "Parquet, encode, to a file",
    "encode": "Parquet, encode, thrown away",
    "upload": "upload alone, bytes made before",
    "both": "Parquet, encode and upload",
}
_REMOTE = ("upload", "both")
_PART, _BLOCK, _IN_FLIGHT = 256 << 20, 8 << 20, 4
_ROWS = 65_536
"""Of a batch: what Sluice reads at once by default."""
_CONTAINER = "bench"

Round = Mapping[str, Cost]


def main(arguments: Sequence[str]) -> None:
    options = _arguments(arguments)
    exports = (options.work / f"{options.rows}").resolve()
    run([sys.executable, "-m", "bench.data", str(exports), "--rows", str(options.rows)], quiet(), ROOT)
    rounds: list[Round] = []
    for number in range(1, options.runs + 1):
        print(f"Run {number} of {options.runs}", flush=True)
        rounds.append(_round(exports / data.FILES["first"]))
    print(text(options.rows, rounds))


def text(rows: int, rounds: Sequence[Round]) -> str:
    """The results as Markdown."""
    done = [step for step in STEPS if step in rounds[0]]
    head = (f"{rows:,} rows", "wall s", "x", "CPU s", "x", "peak MB")
    parts = [report._table(head, [_line(step, rounds) for step in done])]
    aims = [
        ("Encode to a file, wall, to DuckDB's COPY", 1.2, _ratios(rounds, ["file"], ["copy"])),
        ("Encode and upload, wall, to the longer of both alone", 1.25, _ratios(rounds, ["both"], ["encode", "upload"])),
    ]
    lines = [
        [name, f"at most {aim} x", f"{median(got):.2f} x", _yes(median(got) <= aim)] for name, aim, got in aims if got
    ]
    peak = median(turns["file"].peak for turns in rounds)
    lines.append(["Encode to a file, peak memory", "at most 400 MB", f"{peak:.0f} MB", _yes(peak <= 400)])
    parts.append(report._table(("staging", "aim", "measured", "reached"), lines))
    return "\n\n".join(parts)


def _line(step: str, rounds: Sequence[Round]) -> list[str]:
    costs = [turns[step] for turns in rounds]
    return [
        STEPS[step],
        report._spread([cost.wall for cost in costs]),
        f"{median(_ratios(rounds, [step], ['copy'])):.2f}",
        report._spread([cost.cpu for cost in costs]),
        f"{median(turns[step].cpu / turns['copy'].cpu for turns in rounds):.2f}",
        report._spread([cost.peak for cost in costs], 0),
    ]


def _ratios(rounds: Sequence[Round], steps: Sequence[str], to: Sequence[str]) -> list[float]:
    """Of wall times, the longest of *steps* to the longest of *to* in each run; empty if one was not measured."""
    if not rounds[0].keys() >= {*steps, *to}:
        return []
    return [max(turns[step].wall for step in steps) / max(turns[step].wall for step in to) for turns in rounds]


def _yes(reached: bool) -> str:
    return "yes" if reached else "**no**"


def _round(parquet: Path) -> Round:
    costs: dict[str, Cost] = {}
    size = "0"
    for step in STEPS:
        with tempfile.TemporaryDirectory(dir=parquet.parent) as folder, _server(step, Path(folder)) as remote:
            if remote is None:
                continue
            command = [sys.executable, "-m", "bench.staging", step, str(parquet), folder, size]
            costs[step], said = run(command, quiet({"STAGING": remote}), ROOT)
        size = said.strip() or size
        print(
            f"  {step:8} {costs[step].wall:7.2f} s {costs[step].cpu:7.2f} s CPU {costs[step].peak:6.0f} MB", flush=True
        )
    return costs


@contextlib.contextmanager
def _server(step: str, folder: Path) -> Iterator[str | None]:
    """Connection string of a fresh Azurite for steps that need one, None where it cannot be had."""
    if step not in _REMOTE:
        yield ""
        return
    import pytest

    from tests.servers.azurite import Azurite, azurite_command

    try:
        command = azurite_command()
    except pytest.skip.Exception as reason:
        print(f"  {step:8} not measured: {reason}")
        yield None
        return
    with Azurite(folder / "azurite", command) as server:
        yield server.connection_string


def _step(step: str, parquet: str, folder: Path, size: int) -> None:
    """One step, in this process; prints how many bytes of CSV there were."""
    if step == "copy":
        import duckdb

        duckdb.sql(f"COPY (FROM '{parquet}') TO '{folder / 'orderitem.csv'}'")
    elif step == "upload":
        _upload_alone(size)
    else:
        from shared.warehouses.azure_sql.parts import upload

        with contextlib.ExitStack() as opened:
            if step == "both":
                container, in_flight = opened.enter_context(_container()), _IN_FLIGHT
            else:
                name = os.devnull if step == "encode" else folder / "orderitem.csv"
                container, in_flight = _File(opened.enter_context(Path(name).open("wb", buffering=0))), 1
            parts = upload(_batches(parquet), container, "run", part_bytes=_PART, in_flight=in_flight)
        print(sum(part.bytes for part in parts))


class _File:
    """As much of a ContainerClient as it takes; with one block in flight they come in order."""

    container_name = account_name = "file"

    def __init__(self, file: Any) -> None:
        self._file = file

    def get_blob_client(self, _name: str) -> _File:
        return self

    def stage_block(self, _id: str, block: bytes, _length: int) -> None:
        self._file.write(block)

    def commit_block_list(self, _blocks: Sequence[Any], **_options: Any) -> None:
        pass


def _container() -> Any:
    from azure.storage.blob import BlobServiceClient

    service = BlobServiceClient.from_connection_string(os.environ["STAGING"])
    return service.create_container(_CONTAINER)


def _upload_alone(size: int) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from shared.warehouses.azure_sql.parts import _Blocks

    block = bytes(_BLOCK)
    with _container() as container, ThreadPoolExecutor(_IN_FLIGHT) as uploads:
        blocks = _Blocks(container, uploads, _IN_FLIGHT, _BLOCK)
        for start in range(0, size, _PART):
            ids = [f"{number:05}" for number in range(start // _BLOCK, min(start + _PART, size) // _BLOCK)]
            for id in ids:
                blocks.put(f"run/{start}.csv", id, block)
            blocks.commit(f"run/{start}.csv", ids)


def _batches(parquet: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    # Read as shared.sources.exports does: page by page, not a row group at once.
    with pq.ParquetFile(parquet, buffer_size=256 << 10, pre_buffer=False) as opened:
        for batch in opened.iter_batches(_ROWS):
            numbers = pa.arange(row, row + batch.num_rows)
            row += batch.num_rows
            yield pa.RecordBatch.from_arrays([numbers, *batch.columns], ["_sluice_row", *batch.schema.names])


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    summary, _, rest = str(__doc__).partition("\n")
    parser = argparse.ArgumentParser(
        "python -m bench staging",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=5_000_000, help="in the file (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of everything (%(default)s)")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="folder for the export and the CSV")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    _step(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
