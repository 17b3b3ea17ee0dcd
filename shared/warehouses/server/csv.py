"""Write batches as the CSV that BULK INSERT reads back without loss. Pure.

UTF-8 without BOM, commas, LF after every row, no header. NULL is nothing between two commas. What Arrow sees as text
is quoted in all rows, with ``"`` doubled, so that an empty text is ``""``; nothing else is. How each type is written:

| column       | bytes                                                                                |
|--------------|--------------------------------------------------------------------------------------|
| boolean      | 0 or 1                                                                               |
| integers     | digits                                                                               |
| decimal(p,s) | all s digits after the point, never an exponent; in quotes if s is above 6           |
| real         | the fewest digits that give the same 32 bit number again, perhaps with an exponent   |
| double       | likewise with 64 bits                                                                |
| text         | in quotes                                                                            |
| binary       | hex pairs without 0x, in quotes: staged as nvarchar, converted with style 2          |
| date         | YYYY-MM-DD                                                                           |
| time         | hh:mm:ss.ffffff, or hh:mm:ss where all times of the batch are whole seconds          |
| timestamp    | YYYY-MM-DDThh:mm:ss.ffffff or YYYY-MM-DDThh:mm:ss likewise, in quotes                |

Quotes belong to the CSV, not to the value (RFC 4180). Instants and long decimals get them because they are texts of
our making: Arrow would write the first with a blank for the T, the second, near zero, with an exponent, which is
refused. Taking the quotes away again was tried, and cost a quarter of the whole time for two bytes.

Arrow's writer needs 5 to 8 s of processor time for 5,000,000 rows of 20 columns, and other threads run meanwhile;
joining columns by ``binary_join_element_wise`` took twice as long. DuckDB's COPY needs 15 s with reading the Parquet,
which takes Arrow 5 s (``python -m bench staging`` measures it).
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pyarrow import csv

from shared.arrow import pc
from shared.errors import DataError

# "needed" quotes every text, whatever is in it, and nothing else.
_OPTIONS = csv.WriteOptions(include_header=False, quoting_style="needed")
_PLAIN_SCALE = 6
"""Up to this scale Arrow writes all decimals as plain digits."""
_WHOLE = {pa.timestamp("us"): pa.timestamp("s"), pa.time64("us"): pa.time32("s")}


def encode(batch: pa.RecordBatch) -> pa.Buffer:
    r"""The rows of *batch* as CSV. Its columns are shared.contract.types.to_arrow types, the first without NULL.

    (Else a row could be a blank line.) DataError for what a contract never lets through: NaN, infinity, years beyond
    9999, and text with NUL, which the other side may take for its end or for an empty text.

    >>> bytes(encode(pa.record_batch({"row": [0, 1], "said": ['Say "Hi", then', None], "paid": [True, None]})))
    b'0,"Say ""Hi"", then",1\n1,,\n'
    """
    names = [str(number) for number in range(batch.num_columns)]
    sink = pa.BufferOutputStream()
    csv.write_csv(pa.RecordBatch.from_arrays([_written(array) for array in batch.columns], names), sink, _OPTIONS)
    return sink.getvalue()


def _written(array: Any) -> Any:
    """*array* as what Arrow writes as we want it."""
    kind, is_ = array.type, pa.types
    if is_.is_string(kind):
        return _text(array)
    if is_.is_binary(kind):
        return hex_text(array)
    if is_.is_timestamp(kind):
        return _instants(_in_seconds(array))
    if is_.is_decimal(kind):
        return _plain_digits(array) if kind.scale > _PLAIN_SCALE else array
    return _in_seconds(array) if is_.is_time(kind) else _number(array)


def _text(array: Any) -> Any:
    if b"\0" in _apart(array)[1]:
        raise DataError("text with a NUL character cannot be staged", fix="Remove it at the source")
    return array


def hex_text(array: Any) -> Any:
    """*array* of binary as large_string with two digits for each byte, made all at once; NULL stays NULL."""
    whole, data = _apart(array)
    valid, offsets, _ = whole.buffers()
    # Not in the 32 bits that binary has: twice as long they might not fit.
    starts = pa.Array.from_buffers(pa.int32(), len(whole) + 1, [None, offsets]).cast(pa.int64())
    doubled = pc.multiply(starts, 2).buffers()[1]
    pairs = pa.py_buffer(data.hex().encode())
    return pa.Array.from_buffers(pa.large_string(), len(whole), [valid, doubled, pairs], whole.null_count)


def _in_seconds(array: Any) -> Any:
    """Seven bytes less for each value where all are whole seconds, as they often are."""
    try:
        return array.cast(_WHOLE[array.type])
    except pa.ArrowInvalid:
        return array


def _instants(array: Any) -> Any:
    """All are of one length, so that each T has its place."""
    whole, data = _apart(array.cast(pa.string()))
    length = len("YYYY-MM-DDThh:mm:ss") if array.type.unit == "s" else len("YYYY-MM-DDThh:mm:ss.ffffff")
    count = len(whole) - whole.null_count
    if len(data) != count * length:
        raise DataError("a time outside the years 0 to 9999 cannot be staged", fix="Export NULL instead of it")
    text = bytearray(data)
    text[len("YYYY-MM-DD") :: length] = b"T" * count
    valid, offsets, _ = whole.buffers()
    return pa.Array.from_buffers(pa.string(), len(whole), [valid, offsets, pa.py_buffer(text)], whole.null_count)


def _plain_digits(array: Any) -> Any:
    kind = pa.decimal128(array.type.precision, 0)
    digits = pa.Array.from_buffers(kind, len(array), array.buffers(), offset=array.offset).cast(pa.string())
    least = array.type.scale + 1  # a zero before the point
    padded = pc.if_else(
        pc.starts_with(digits, "-"), pc.utf8_zero_fill(digits, least + 1), pc.utf8_zero_fill(digits, least)
    )
    return pc.utf8_replace_slice(padded, -array.type.scale, -array.type.scale, ".")


def _number(array: Any) -> Any:
    if pa.types.is_boolean(array.type):
        return array.cast(pa.int8())  # as true and false they are refused with 4864
    if pa.types.is_floating(array.type) and pc.all(pc.is_finite(array)).as_py() is False:
        raise DataError("NaN or infinity cannot be staged", fix="Export NULL instead of it")
    return array


def _apart(array: Any) -> tuple[Any, bytes]:
    """*array* as one of its own, not a part of a longer one, and all its bytes."""
    whole = pa.concat_arrays([array])
    data = whole.buffers()[2]
    return whole, data.to_pybytes() if data else b""
