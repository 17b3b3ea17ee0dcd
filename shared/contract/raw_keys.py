"""Which rejected rows have a certain key. They are kept as they were read: names and types are the source's. Pure."""

from __future__ import annotations

import json
import re

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from shared.contract.cast import cast
from shared.contract.conform import folded
from shared.errors import ConfigError
from shared.model import Feed, Json

Key: TypeAlias = "tuple[str, ...]"
"""A value for each key column of a feed, in their order, as an operator writes them."""


def typed(feed: Feed, key: Key, kinds: Mapping[str, str]) -> tuple[Any, ...]:
    """The values of *key* as the types of the key columns, by folded name. ConfigError if one is no such value."""
    values = []
    for name, word in zip(feed.keys, key, strict=True):
        kind = kinds.get(folded(name), "text")
        value = cast(pa.array([word]), kind, feed.timezone).values[0].as_py()
        if value is None:
            # The value itself is personal data: it must not get into a log.
            raise ConfigError(f"a key of {feed.name} has no {kind} for column {name!r}", fix=f"Write it as {kind}")
        values.append(value)
    return tuple(values)


class RawKeys:
    """Finds rows with one of some keys."""

    def __init__(self, feed: Feed, keys: Sequence[Key], kinds: Mapping[str, str]) -> None:
        """*kinds* are the types of stored columns by folded name, as far as they are known."""
        self._feed, self._kinds = feed, kinds
        aliases = {column.name: column.aliases for column in feed.layout.columns} if feed.layout else {}
        for source, column in feed.rename.items():
            aliases[column] = (*aliases.get(column, ()), source)
        self._headers = [{folded(name) for name in (key, *aliases.get(key, ()))} for key in feed.keys]
        self._keys = [(key, typed(feed, key, kinds)) for key in keys]

    def has(self, raw: str) -> bool:
        """Whether *raw*, a JSON object, is a row with such a key.

        Of a record that shows no key column, whether each value of a key stands anywhere in it.
        """
        row = json.loads(raw)
        values = [[row[name] for name in row if folded(name) in headers] for headers in self._headers]
        if all(values):
            return any(self._is_key(values, *key) for key in self._keys)
        texts = [str(value) for value in row.values()]
        return any(all(any(_stands_in(word, text) for text in texts) for word in key) for key, _ in self._keys)

    def _is_key(self, found: Sequence[Sequence[Json]], key: Key, wanted: Sequence[Any]) -> bool:
        columns = zip(self._feed.keys, found, key, wanted, strict=True)
        return all(any(self._same(name, value, word, typed) for value in some) for name, some, word, typed in columns)

    def _same(self, name: str, value: Json, word: str, wanted: Any) -> bool:
        text = str(value).strip()
        if text.casefold() == word.strip().casefold():
            return True
        kind = self._kinds.get(folded(name), "text")
        return kind != "text" and bool(cast(pa.array([text]), kind, self._feed.timezone).values[0].as_py() == wanted)


def _stands_in(word: str, text: str) -> bool:
    """
    >>> _stands_in("7", "7,Ada"), _stands_in("7", "17,Ada"), _stands_in("a@b.org", "x;a@b.org;y")
    (True, False, True)
    """
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
