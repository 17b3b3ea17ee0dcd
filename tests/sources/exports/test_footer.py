"""Footers that would end the process are refused in words."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import DataError
from shared.sources.exports.footer import read_footer, refuse_fatal
from tests.sources.encrypted import encrypted_parquet


def refuse(content):
    footer = read_footer(io.BytesIO(content), len(content))
    refuse_fatal("x.parquet", footer, pq.read_metadata(pa.BufferReader(b"PAR1" + footer)).schema)


TABLE = pa.table(
    {
        "Id": pa.array([1, 2, None], pa.int64()),
        "Text": ["a", None, "c"],
        "Nested": [[{"a": 1, "b": ["x"]}], [], None],
        "Required": pa.array([1.0, 2.0, 3.0]),
    },
    schema=pa.schema(
        [
            ("Id", pa.int64()), ("Text", pa.string()),
            ("Nested", pa.list_(pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]))),
            pa.field("Required", pa.float64(), nullable=False),
        ]
    ),
)  # fmt: skip


def test_an_encrypted_column_is_refused_though_the_footer_is_plain():
    """pyarrow opens such a file, and aborts the process when it looks at the column."""
    content = encrypted_parquet(TABLE, plaintext_footer=True, columns=["Text"])

    assert 1 == pq.ParquetFile(io.BytesIO(content)).num_row_groups
    with pytest.raises(DataError, match=r"x\.parquet is encrypted\. Export it without Parquet encryption"):
        refuse(content)


def test_an_encrypted_column_is_refused_though_nothing_else_says_so():
    """A footer that does not name its encryption, but has the column's."""
    content = bytearray(encrypted_parquet(TABLE, plaintext_footer=True, columns=["Text"]))
    footer = read_footer(io.BytesIO(bytes(content)), len(content))
    schema = pq.read_metadata(pa.BufferReader(b"PAR1" + footer)).schema
    algorithm = footer.rindex(b"\x1c\x1c\x28")  # encryption_algorithm: a union, its first member, the AAD
    plain = footer[:algorithm] + b"\0" + footer[-8:]

    with pytest.raises(DataError, match="is encrypted"):
        refuse_fatal("x.parquet", plain, schema)


OPTIONS = {
    "plain": {},
    "page index": {"write_page_index": True},
    "version 1": {"version": "1.0"},
    "no dictionaries": {"use_dictionary": False, "compression": "zstd", "data_page_version": "2.0"},
    "no statistics": {"write_statistics": False, "store_schema": False},
    "sorted": {"sorting_columns": [pq.SortingColumn(0)]},
    "bloom filter": {"bloom_filter_options": {"Text": {"ndv": 10}}},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_footers_of_all_options_pass(name):
    """Every field that a writer may leave is skipped rightly."""
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, row_group_size=2, **OPTIONS[name])

    refuse(sink.getvalue())


def test_a_histogram_of_other_levels_is_refused():
    """Arrow aborts the process over it: here an optional column, by the footer, that is required by the schema."""
    required = pa.schema([field.with_nullable(False) for field in TABLE.schema])
    footer = read_footer(io.BytesIO(parquet()), len(parquet()))

    with pytest.raises(DataError, match=r"is damaged or not Parquet: column 'Id' has a histogram of 2 levels"):
        refuse_fatal("x.parquet", footer, pq.read_metadata(pa.BufferReader(parquet(required))).schema)


def test_a_row_group_with_other_columns_than_the_schema_is_refused():
    """Arrow would look for them beyond the schema's end."""
    footer = read_footer(io.BytesIO(parquet()), len(parquet()))
    narrow = pq.read_metadata(pa.BufferReader(parquet(TABLE.schema.remove(3)))).schema

    with pytest.raises(DataError, match="a row group has 5 columns, the schema 4"):
        refuse_fatal("x.parquet", footer, narrow)


def parquet(schema=TABLE.schema):
    sink = io.BytesIO()
    pq.write_table(TABLE.slice(0, 1).select(schema.names).cast(schema), sink)
    return sink.getvalue()


def test_a_footer_cut_anywhere_is_refused_or_passes_in_finite_time():
    """What is read is never beyond the bytes there are."""
    content = parquet()
    footer = read_footer(io.BytesIO(content), len(content))
    schema = pq.read_metadata(pa.BufferReader(content)).schema

    for end in range(len(footer) - 8):
        with pytest.raises(DataError, match="is damaged or not Parquet"):
            refuse_fatal("x.parquet", footer[:end] + footer[-8:], schema)


def test_a_long_footer_is_read_whole():
    """Beyond the bytes that are read at once."""
    table = pa.table({f"column_{n}": [n] for n in range(2_000)})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    content = sink.getvalue()

    footer = read_footer(io.BytesIO(content), len(content))

    assert len(footer) > 64 << 10
    assert footer == content[-len(footer) :]
    assert len(footer) == int.from_bytes(content[-8:-4], "little") + 8


@pytest.mark.parametrize(
    ("before", "wrong", "said"),
    [
        (b"\x18\x02Id\x15", b"\x14", "column 'Id' has a compression of number 10"),
        (b"\x1c\x15", b"\x0e", "column 'Id' has pages of another type"),
    ],
    ids=["compression", "type"],
)  # fmt: skip
def test_a_number_that_arrow_does_not_know_is_refused(before, wrong, said):
    """pyarrow opens such a file, and aborts the process when it looks at the column."""
    file = io.BytesIO()
    pq.write_table(TABLE.select(["Id"]), file, store_schema=False)
    content = bytearray(file.getvalue())
    place = content.rindex(before, 0, content.rindex(b"\x18\x02Id\x15") + len(before)) + len(before)
    content[place : place + 1] = wrong

    with pytest.raises(DataError, match=said):
        refuse(bytes(content))
