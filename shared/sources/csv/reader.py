"""Reads records as batches of text, in bounded memory, with every record that cannot be read beside them.

Blocks of whole records go to Arrow's CSV reader. What in a block is not well-formed was found before (``records``);
what has the wrong number of fields Arrow tells. A block in which the two disagree is split field by field here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv

from shared.arrow import pc
from shared.contract.codes import Code
from shared.sources.csv.batches import Batches
from shared.sources.csv.blocks import Bad, BadRecord, Block, Blocks, Cut, Known
from shared.sources.csv.dialect import Dialect

_SPARE = "\0"
"""The name of the column that only a delimiter at the end of each line makes."""


def read(
    opened: BinaryIO,
    dialect: Dialect,
    batch_rows: int,
    *,
    skipped: Counter[str] | None = None,
    cuts: Sequence[Cut | None] = (),
) -> Iterator[pa.RecordBatch | list[BadRecord]]:
    """All records of a file, as text columns called ``dialect.names``, and lists of those that cannot be read.

    *opened* stands at its beginning and need not be seekable. *skipped* counts, by kind, what holds no record: blank
    lines and rows, repeated header rows. Nothing else is left out. *cuts* are what ``survey`` returned of the same
    bytes. DataError as the stream itself raises it.
    """
    if not dialect.names:
        return
    counts = Counter[str]() if skipped is None else skipped
    batches = Batches(dialect, batch_rows, counts)
    for piece in Blocks(opened, dialect, cuts):
        if isinstance(piece, BadRecord):
            yield [piece]
        elif isinstance(piece, Known):
            counts["blank lines"] += piece.cut.blank
            yield from batches.add(_table(piece.text, dialect, dialect.names, None))
        else:
            table, bad = _records(piece, dialect, counts)
            if bad:
                yield piece.reported(bad)
            yield from batches.add(table)
    yield from batches.rest()


def survey(
    opened: BinaryIO, dialect: Dialect, names: Sequence[str], look: Callable[[pa.Table], bool]
) -> list[Cut | None]:
    """Show *look* the columns *names* of all records, part by part, until it returns False.

    Rows that ``read`` leaves out may be among them. Returns where the parts end, for ``read``.
    """
    cuts: list[Cut | None] = []
    for piece in Blocks(opened, dialect) if dialect.names else ():
        cuts.append(None)
        if not isinstance(piece, Block):
            continue
        parsed = _parsed(piece, dialect, names)
        if parsed is not None and not parsed.misfits and not piece.split.flaws:
            cuts[-1] = Cut(piece.size, piece.split.used, piece.blank)
        table = parsed.table if parsed else _split_by_hand(piece, dialect, Counter[str]())[0].select(list(names))
        if not look(table):
            break
    return cuts


def _records(block: Block, dialect: Dialect, counts: Counter[str]) -> tuple[pa.Table, list[Bad]]:
    counts["blank lines"] += block.blank
    parsed = _parsed(block, dialect, dialect.names)
    if parsed is None:
        return _split_by_hand(block, dialect, counts)
    bad = block.flawed()
    if parsed.misfits:
        spans = block.split.spans()
        for misfit in parsed.misfits:
            start, end = spans[misfit.row]
            if block.buffer[start:end].isspace():
                counts["blank lines"] += 1
            else:
                bad.append(_misfit(start, end, misfit.fields, dialect))
    return parsed.table, bad


class _Misfit(NamedTuple):
    row: int
    fields: int


class _Parsed(NamedTuple):
    table: pa.Table
    misfits: list[_Misfit]


def _parsed(block: Block, dialect: Dialect, wanted: Sequence[str]) -> _Parsed | None:
    """A block as Arrow reads it; None if it cannot, or does not find the records that we found."""
    if not dialect.grammar.plain:
        return None
    misfits: list[_Misfit] = []

    def note(row: Any) -> str:
        misfits.append(_Misfit(row.number - 1, row.actual_columns))
        return "skip"

    spare = (_SPARE,) if dialect.spare else ()
    table = _table(block.split.readable(block.buffer), dialect, (*wanted, *spare), note)
    if table.num_rows + len(misfits) != block.records:
        return None
    if not spare:
        return _Parsed(table, misfits)
    filled = pc.any(pc.not_equal(table.column(_SPARE), "")).as_py()
    return None if misfits or filled else _Parsed(table.drop_columns([_SPARE]), [])


def _table(text: bytes, dialect: Dialect, wanted: Sequence[str], note: Any) -> pa.Table:
    """The columns *wanted*. *note* is called with each record of another width, which is skipped then."""
    if not text:
        return pa.table({name: pa.array([], pa.string()) for name in wanted})
    names = [*dialect.names, *((_SPARE,) if dialect.spare else ())]
    grammar = dialect.grammar
    return pa_csv.read_csv(
        pa.BufferReader(text),  # type: ignore[arg-type]  # the stubs want a file of Python's
        pa_csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
        pa_csv.ParseOptions(
            delimiter=grammar.delimiter.decode(),
            quote_char=grammar.quote.decode() if grammar.quote else False,
            escape_char=grammar.escape.decode() if grammar.escape else False,
            newlines_in_values=True,
            invalid_row_handler=note,
        ),
        pa_csv.ConvertOptions(
            check_utf8=False,  # checked before, record by record
            column_types=dict.fromkeys(wanted, pa.string()),
            include_columns=list(wanted),
            strings_can_be_null=False,
        ),
    )


def _split_by_hand(block: Block, dialect: Dialect, counts: Counter[str]) -> tuple[pa.Table, list[Bad]]:
    rows: list[list[bytes]] = []
    bad = block.flawed()
    width = len(dialect.names)
    for start, end in block.split.spans():
        record = _without_line_end(block.buffer[start:end])
        fields = dialect.grammar.fields(record)
        if dialect.spare and len(fields) == width + 1 and not fields[-1]:
            fields.pop()
        if len(fields) == width:
            rows.append(fields)
        elif not record.strip():
            counts["blank lines"] += 1
        else:
            bad.append(_misfit(start, end, len(fields), dialect))
    columns: Any = zip(*rows, strict=True) if rows else [[]] * width
    arrays = [pa.array(values, pa.binary()).cast(pa.string()) for values in columns]
    return pa.Table.from_arrays(arrays, names=list(dialect.names)), bad


def _without_line_end(record: bytes) -> bytes:
    return record.removesuffix(b"\n").removesuffix(b"\r")


def _misfit(start: int, end: int, fields: int, dialect: Dialect) -> Bad:
    width = len(dialect.names)
    code = Code.TOO_FEW_FIELDS if fields < width else Code.TOO_MANY_FIELDS
    return Bad(start, end, code, f"the record has {fields} fields instead of {width}")
