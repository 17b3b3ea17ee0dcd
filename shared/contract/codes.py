"""Every code of a rejected row or value. They are stable: reports and filters rely on them."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Stored in ``ingest.rejected`` as its text; ``docs/bad-input.md`` lists all of them with their meaning."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Code:
        code = str.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    KEY_NULL = "key_null", "the row has no key"
    KEPT_OUT = "kept_out", "the row's key was erased with `--keep-out`; the row is not kept here"
    CHECK_FAILED = "check_failed", "the row fails a check that the catalog declares"
    VALUE_MISSING = "value_missing", "a required column has no value"
    CURSOR_IN_FUTURE = "cursor_in_future", "the cursor is later than the export, by more than CURSOR_AHEAD"
    UNREADABLE = "unreadable", "the text cannot be read as the column's type"
    OUT_OF_RANGE = "out_of_range", "the value does not fit the column's type"
    NOT_FINITE = "not_finite", "NaN or infinity"
    NUL_IN_TEXT = "nul_in_text", "the text has a NUL character"
    NOT_UTF8 = "not_utf8", "the text is not UTF-8"
    NOT_JSON = "not_json", "a nested value has something that JSON cannot hold"
    KEY_TOO_LONG = "key_too_long", "the key is longer than an index of the warehouse can hold"
    NOT_A_PHONE = "not_a_phone", "the text is no phone number"
    NOT_AN_EMAIL = "not_an_email", "the text is no e-mail address"
    NOT_A_DATE = "not_a_date", "the text is no date or time, or in no known format or zone"
    NOT_A_ZIP = "not_a_zip", "the text is no postal code"
    REFUSED_BY_SERVER = "refused_by_server", "the database refused the row; the reason has its message"
    TOO_FEW_FIELDS = "too_few_fields", "the record has fewer fields than the header"
    TOO_MANY_FIELDS = "too_many_fields", "the record has more fields than the header"
    BAD_QUOTES = "bad_quotes", "a quote of the record is never closed, or closes in the middle of a field"
    BAD_ENCODING = "bad_encoding", "the record has bytes that are no text in the encoding of its file"
    RECORD_TOO_LONG = "record_too_long", "the record is longer than 32 MB"
    TOTAL_ROW = "total_row", "the last rows of a file: a total of the rows before them"
