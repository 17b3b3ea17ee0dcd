"""Files that are not what they seem, or that change while they are loaded."""

from __future__ import annotations

import subprocess
import sys

from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.pipeline.progress import Progress
from tests.exports import write_parquet
from tests.pipeline.bad_input import (
    ROOT,
    SECOND,
    Lab,
    case,
    numbers,
    plainly,
    refused_alone,
    reported,
    thing,
    things,
)
from tests.sources.encrypted import encrypted_parquet

pytestmark = pytest.mark.usefixtures("reading")  # both ways into DuckDB

# -- files that are not what they seem


@case("zero-byte")
def test_a_file_of_zero_bytes_is_refused_alone(lab, row):
    """A file without a byte is refused; the table beside it is loaded."""
    lab.put([thing()]).write_bytes(b"")

    row.holds("file refused", refused_alone(lab))


@case("csv-named-parquet")
def test_a_csv_named_parquet_is_refused_alone(lab, row):
    """Whatever its name says, a file that does not begin as Parquet is refused, with its first bytes."""
    lab.put([thing()]).write_text("ThingId;ModifiedOn;IsDeleted\n1;2026-02-24;0\n")

    row.holds("file refused", refused_alone(lab))


@case("encrypted-footer")
def test_an_encrypted_file_is_refused_alone(lab, row):
    """It begins with a mark of its own."""
    lab.put([thing()]).write_bytes(encrypted_parquet(things("a"), plaintext_footer=False, columns=["Value"]))

    row.holds("file refused", refused_alone(lab))


@case("encrypted-column")
def test_a_file_with_an_encrypted_column_is_refused_alone(lab, row):
    """Its footer can be read; pyarrow would abort the process at the column."""
    lab.put([thing()]).write_bytes(encrypted_parquet(things("a"), plaintext_footer=True, columns=["Value"]))

    row.holds("file refused", refused_alone(lab))


@case("truncated-footer")
def test_a_file_without_the_end_of_its_footer_is_refused_alone(lab, row):
    """An upload that broke off before its end is refused."""
    path = lab.put([thing()])
    path.write_bytes(path.read_bytes()[:-20])

    row.holds("file refused", refused_alone(lab))


@case("truncated-middle")
def test_a_file_that_lacks_bytes_in_its_middle_is_refused_alone(lab, row):
    """Bytes lost between a good head and a good footer are found when the rows are read; none of them is merged."""
    path = plainly(lab.path(), numbers(5000))
    content = path.read_bytes()
    path.write_bytes(content[:20_000] + content[60_000:])

    row.holds("file refused", refused_alone(lab))


@case("corrupt-page")
def test_a_page_found_corrupt_half_way_stops_its_file_alone(tmp_path, row):
    """A damaged page in a late row group undoes what the earlier slices staged; nothing of the file is merged."""
    lab = Lab(tmp_path, SLICE_ROWS="1000", BATCH_ROWS="500")
    path = plainly(lab.path(), numbers(5000), compression="snappy")
    content = bytearray(path.read_bytes())
    at = pq.read_metadata(path).row_group(3).column(1).data_page_offset
    content[at : at + 40] = b"\xff" * 40
    path.write_bytes(content)

    row.holds("file refused", refused_alone(lab))


@case("flipped-bit")
def test_a_flipped_bit_is_found_by_the_checksum_of_its_page(tmp_path, row):
    """Where the writer left checksums, one wrong bit in a value is enough."""
    lab = Lab(tmp_path, SLICE_ROWS="1000", BATCH_ROWS="500")
    path = plainly(lab.path(), numbers(5000), write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[pq.read_metadata(path).row_group(3).column(1).data_page_offset + 2000] ^= 1
    path.write_bytes(content)

    row.holds("file refused", refused_alone(lab))


_LOAD_AND_MEASURE = """
import re, resource, sys
from pathlib import Path
from tests.exports import load_exports, open_test_app
from shared.pipeline.folder import LoadOptions
folder, exports = sys.argv[1:]
(result,) = load_exports(open_test_app(Path(folder), CATALOG_PATH=f"{folder}/catalog"), exports)
print(result.run.error)
status = Path("/proc/self/status")  # getrusage would also count what the process had before it became this program
own = re.search(r"VmHWM:\\s+(\\d+)", status.read_text()) if status.exists() else None
print(own[1] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measured(lab: Lab) -> tuple[str, int]:
    """What a process of its own says of the load, and the most memory it had, in MB."""
    command = [sys.executable, "-c", _LOAD_AND_MEASURE, str(lab.folder), str(lab.exports)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    error, peak = done.stdout.splitlines()
    return error, int(peak) // 1024


@case("bomb")
def test_a_few_kilobytes_that_unpack_to_gigabytes_are_refused_from_the_footer(lab, row):
    """A column of 2 GiB of zeros in some kilobytes is never unpacked: the process stays small."""
    zeros = pa.chunked_array([pa.array([bytes(64 << 20)])] * 32)
    path = plainly(lab.path(), pa.table({"ThingId": zeros}), compression="zstd", write_statistics=False)

    error, peak = measured(lab)

    assert path.stat().st_size < 100_000
    assert peak < 400
    row.holds("file refused", reported(error))


@case("bomb-repeated")
def test_a_long_text_repeated_out_of_a_dictionary_is_refused_while_it_is_read(lab, row):
    """1 MiB of text, stored once and told 3,000 times, is in no footer: the process stays small all the same."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), pa.array(["x" * (1 << 20)]))
    path = plainly(
        lab.path(),
        things(*range(3000)).append_column("Text", text),
        row_group_size=3000,
        use_dictionary=True,
        compression="zstd",
    )

    error, peak = measured(lab)

    assert path.stat().st_size < 100_000
    assert peak < 400
    row.holds("file refused", reported(error))


# -- files that change while they are loaded


class Meddler(Progress):
    """Does something once, when the run starts or when rows have been read."""

    def __init__(self, *, deed: Callable[[], object], at_rows: bool = False) -> None:
        self._deed, self._at_rows, self._done = deed, at_rows, False

    def start(self, label: str, rows: int) -> None:
        if not self._at_rows:
            self._meddle()

    def rows(self, count: int) -> None:
        if self._at_rows:
            self._meddle()

    def _meddle(self) -> None:
        if not self._done:
            self._done = True
            self._deed()


@case("overwritten-before")
def test_a_file_overwritten_after_it_was_listed_is_not_merged(lab, row):
    """The run was for the content that was listed; the new content is new work."""
    path = lab.put([thing(Value="listed")])
    meddler = Meddler(deed=lambda: write_parquet(path, [thing(Value="newer content")]))

    row.holds("conflict", lab.error(watch=meddler))
    assert [] == lab.tables()
    assert {"inserted": 1} == lab.counts()
    assert ["newer content"] == lab.column("Value")


@case("overwritten-while")
def test_a_file_overwritten_in_mid_read_is_not_merged(tmp_path, row):
    """Not a row of either content is merged."""
    lab = Lab(tmp_path, BATCH_ROWS="1000")
    path = plainly(lab.path(), numbers(400_000), row_group_size=100_000, compression="gzip")  # for the source to read
    meddler = Meddler(deed=lambda: plainly(path, numbers(400_001), row_group_size=100_000), at_rows=True)

    row.holds("conflict", lab.error(watch=meddler))
    assert [] == lab.tables()


@case("removed-while")
def test_a_file_removed_before_it_is_read_is_not_merged(lab, row):
    """A file that went away is reported like one that changed."""
    path = lab.put([thing()])

    row.holds("conflict", lab.error(watch=Meddler(deed=path.unlink)))
    assert [] == lab.tables()


_LOAD_ON_A_SMALL_DISK = """
import resource, sys
from pathlib import Path
from tests.exports import load_exports, open_test_app
from shared.pipeline.folder import LoadOptions

folder, exports, most = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
app = open_test_app(Path(folder), CATALOG_PATH=f"{folder}/catalog")
for result in load_exports(app, exports, LoadOptions()):
    print(result.skipped or result.run.error)
"""


@case("disk-full")
@pytest.mark.parametrize("first", [True, False], ids=["first load", "merge"])
def test_a_full_disk_fails_the_run_and_the_next_load_repairs(lab, row, first):
    """Files may not grow: the run ends with what to do, the table is as before, and the load works afterwards."""
    if not first:
        lab.put(numbers(1000))
        lab.load()
    lab.put(numbers(200_000, start=501), "delta", SECOND)
    used = (lab.folder / "warehouse.duckdb").stat().st_size if not first else 0
    command = [sys.executable, "-c", _LOAD_ON_A_SMALL_DISK, str(lab.folder), str(lab.exports), str(used + (2 << 20))]
    full = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == full.returncode, full.stderr
    said = full.stdout.splitlines()[-1]

    assert ({"inserted": 200_000} if first else {"inserted": 199_500, "updated": 500}) == lab.counts()
    row.holds("run refused", reported(said))
