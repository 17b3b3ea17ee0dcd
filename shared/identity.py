"""Ids that are the same for the same thing, on every machine and at every try. Pure."""

from __future__ import annotations

import hashlib

from collections.abc import Iterable


def work_id(name: str, etag: str) -> str:
    """Id of a file in one version of its content."""
    return _digest("work", name, etag)[:32]


def run_id(feed: str, works: Iterable[tuple[str, int]]) -> str:
    """Id of a run: its feed, and each work id with how often it has been recorded done before.

    So a retry after a crash is the same run, and a wished repetition is a new one.
    """
    return _digest("run", feed, *(f"{work} {times}" for work, times in sorted(works)))[:16]


def staging_name(run: str, part: int) -> str:
    """Name of the staging table of one slice: the same at every try, never shared."""
    return f"s_{run}_{part}"


def _digest(*parts: str) -> str:
    # Lengths keep ("ab", "c") apart from ("a", "bc").
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
