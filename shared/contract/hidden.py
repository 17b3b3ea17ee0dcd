"""Columns of which only a keyed hash, or a part of each value, is stored. Pure.

Values are hidden before a row is used: staging tables, rejects and everything after them have no clear value.
"""

from __future__ import annotations

import datetime as dt
import hmac
import re

from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Any, Literal, NamedTuple, TypeAlias

import pyarrow as pa

from shared.arrow import pc
from shared.contract.cast import Cast, cast
from shared.contract.kept_out import KeptOut
from shared.contract.mapping import accepted_headers, normalized
from shared.contract.names import folded
from shared.declared import Mask
from shared.errors import ConfigError
from shared.model import Feed

How: TypeAlias = Literal["hash"] | Mask
"""How a column is hidden."""

MASKED = "****"
"""Replaces the part that is left out. Masking a masked value again does not change it."""
CORRECTED = b"corrected"
"""Metadata of a field of rejected rows that a person has corrected: it may be hidden already."""

_EXACT = Context(prec=76)
"""All digits that a decimal of Arrow can have: by default, Python rounds to 28."""
_SHOWN = 4
_LONG_ENOUGH = 8
"""Characters that a value needs for its last four to be shown: they would reveal too much of a shorter one."""


def how(feed: Feed, *names: str) -> How | None:
    """How the column with these *names* (in source and table) is hidden; None if its values are stored as they are."""
    own = {folded(name) for name in names}
    if own & {folded(name) for name in feed.hash}:
        return "hash"
    return next((form for name, form in feed.mask.items() if folded(name) in own), None)


def value_hash(key: str, value: Any) -> str:
    """HMAC-SHA-256 of a value as text, in 64 hexadecimal digits. The hash of 7 does not depend on the column's type.

    >>> value_hash("k" * 32, 7) == value_hash("k" * 32, Decimal("7.00")) == value_hash("k" * 32, "7")
    True
    """
    return hmac.digest(key.encode(), _canonical(value).encode(errors="surrogatepass"), "sha256").hex()


def is_hidden(form: How, value: str) -> bool:
    """Whether a stored value looks as if it were hidden in this *form*.

    >>> is_hidden("hash", "ada@example.org"), is_hidden("email", "****@example.org")
    (False, True)
    """
    return bool(re.match(_already(form), value))


def _already(form: How) -> str:
    """A pattern for values that are hidden already; where a value could not be hashed, it was masked."""
    return r"^([0-9a-f]{64}|\*{4})$" if form == "hash" else r"^\*{4}"


class Privacy(NamedTuple):
    """What keeps personal data out of a warehouse."""

    kept_out: KeptOut | None = None
    """Recognises rows with an erased key that has to stay out."""
    hash_key: str | None = None
    """The secret for hashing columns (HASH_KEY)."""


NO_SECRETS = Privacy()


class Hiding:
    """Hides the values of the columns that a feed hashes or masks."""

    def __init__(self, feed: Feed, key: str | None) -> None:
        """ConfigError if the feed has columns to hash and there is no *key* (HASH_KEY)."""
        if feed.hash and key is None:
            raise missing_key(feed)
        self._feed, self._key = feed, key or ""
        self._aliases = {
            normalized(header): column.name
            for column in (feed.layout.columns if feed.layout else ())
            if how(feed, column.name)
            for header in accepted_headers(column)
        }

    def __contains__(self, name: str) -> bool:
        return how(self._feed, name) is not None

    def hashed(self, value: Any) -> str:
        return value_hash(self._key, value)

    @property
    def hides(self) -> bool:
        return bool(self._feed.hash or self._feed.mask)

    def stored(self, form: How, source: pa.Field[Any], raw: pa.Array[Any], converted: Cast) -> Cast:
        """The values to store for a column, and its faults; *converted* is the cast of the *raw* values."""
        values = self._hidden(form, converted.values)
        if not (source.metadata or {}).get(CORRECTED):
            return Cast(values, converted.faults)
        done = pc.fill_null(pc.match_substring_regex(raw, _already(form)), False)
        faults = tuple(fault._replace(where=pc.and_not(fault.where, done)) for fault in converted.faults)
        return Cast(pc.if_else(done, raw, values), tuple(fault for fault in faults if fault.where.true_count))

    def redacted(self, batch: pa.RecordBatch, stored: Mapping[str, pa.Array[Any]]) -> pa.RecordBatch:
        """*batch* without clear values: hidden columns have their *stored* values, by name, or only asterisks."""
        if not self.hides:
            return batch
        columns = [self._redacted(name, batch.column(n), stored) for n, name in enumerate(batch.schema.names)]
        return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)

    def _redacted(self, name: str, raw: pa.Array[Any], stored: Mapping[str, pa.Array[Any]]) -> pa.Array[Any]:
        if name in stored:
            return pc.coalesce(stored[name], _masked(raw))  # type: ignore[no-any-return]  # Any
        return _masked(raw) if self._is_hidden(name) else raw

    def _is_hidden(self, name: str) -> bool:
        """Whether a column of the source has to be hidden, even if it is not stored."""
        renamed = [column for source, column in self._feed.rename.items() if folded(source) == folded(name)]
        return how(self._feed, name, *renamed) is not None or normalized(name) in self._aliases

    def _hidden(self, form: How, values: pa.Array[Any]) -> pa.Array[Any]:
        if form == "hash":
            return self._hashed(values)
        if form == "all":
            return _masked(values)
        text = cast(values, "text").values
        return _last4(text) if form == "last4" else _email(text)

    def _hashed(self, values: pa.Array[Any]) -> pa.Array[Any]:
        """Each different value is hashed once: Arrow has no keyed hash."""
        encoded = values.dictionary_encode()
        hashes = [value_hash(self._key, value) for value in encoded.dictionary.to_pylist()]
        return pa.array(hashes, pa.string()).take(encoded.indices)


def missing_key(feed: Feed) -> ConfigError:
    return ConfigError(
        f"there is no HASH_KEY to hash {', '.join(map(repr, feed.hash))} of {feed.name} with",
        fix="Set HASH_KEY, for every host that loads, to 32 random characters or more, and keep it",
    )


def _masked(values: pa.Array[Any]) -> pa.Array[Any]:
    return pc.if_else(values.is_valid(), MASKED, pa.scalar(None, pa.string()))  # type: ignore[no-any-return]  # Any


def _last4(text: pa.Array[Any]) -> pa.Array[Any]:
    is_long = pc.greater_equal(pc.utf8_length(text), _LONG_ENOUGH)
    end = pc.binary_join_element_wise(MASKED, pc.utf8_slice_codeunits(text, -_SHOWN), "")
    return pc.if_else(is_long, end, _masked(text))  # type: ignore[no-any-return]  # Any


def _email(text: pa.Array[Any]) -> pa.Array[Any]:
    """The part after the last @; nothing if the value is not an address."""
    is_address = pc.match_substring_regex(text, r"^\s*[^@\s]+@[^@\s]+\s*$")
    domain = pc.replace_substring_regex(text, r"^[^@]*@(\S*)\s*$", rf"{MASKED}@\1")
    return pc.if_else(is_address, domain, _masked(text))  # type: ignore[no-any-return]  # Any


def _canonical(value: Any) -> str:
    """*value* as text that does not depend on the type of its column."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal):
        return format(value.normalize(_EXACT), "f")
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)
