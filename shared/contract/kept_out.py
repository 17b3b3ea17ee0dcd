"""Keys that were erased and must not come back, known by keyed hashes alone. Pure."""

from __future__ import annotations

import datetime as dt
import hashlib

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from shared.errors import ConfigError


class KeptOut:
    """Recognises the rows of a feed whose key is to stay out."""

    def __init__(self, secret: str, feed: str, hashes: Collection[str]) -> None:
        """*hashes* are those of ``key_hash``. ConfigError if one was made with another secret."""
        if any(one.partition(":")[0] != _mark(secret) for one in hashes):
            raise ConfigError(
                f"KEEP_OUT_KEY is not the one that erased keys of {feed} were hashed with",
                fix="Set KEEP_OUT_KEY to its former value",
            )
        self._secret, self._feed, self._hashes = secret, feed, frozenset(hashes)

    def where(self, keys: Sequence[pa.Array[Any]]) -> pa.BooleanArray:
        """Which rows have such a key: *keys* are the columns of the key, in the order of the feed's keys."""
        rows = zip(*(column.to_pylist() for column in keys), strict=True)
        return pa.array([self._has(values) for values in rows], pa.bool_())

    def _has(self, values: tuple[Any, ...]) -> bool:
        return None not in values and key_hash(self._secret, self._feed, values) in self._hashes


def key_hash(secret: str, feed: str, values: Iterable[Any]) -> str:
    """The keyed hash of a key of *feed*. Without the *secret* nobody can try out which key it is of."""
    parts = (feed, *map(canonical, values))
    content = "".join(f"{len(part)}:{part}" for part in parts)  # lengths keep ("ab", "c") apart from ("a", "bc")
    return f"{_mark(secret)}:{hashlib.blake2b(content.encode(), key=_key(secret), digest_size=16).hexdigest()}"


def canonical(value: Any) -> str:
    """*value* as text that stays the same when its column gets a wider type.

    >>> canonical(7), canonical(Decimal("7.00")), canonical(7.0), canonical("7"), canonical(b"a")
    ('7', '7', '7', '7', '61')
    """
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def _key(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _mark(secret: str) -> str:
    """Tells one secret from another."""
    return hashlib.blake2b(b"sluice", key=_key(secret), digest_size=4).hexdigest()
