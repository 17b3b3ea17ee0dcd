"""Ids that are the same for the same thing, on every machine and at every try. Pure."""

from __future__ import annotations

import hashlib
import os
import re

from collections.abc import Iterable


def work_id(name: str, etag: str) -> str:
    """Id of a file in one version of its content."""
    return _digest("work", name, etag)[:32]


def plain_name(feed: str) -> str:
    """The name of a feed as ids and names of documents can have it: as it is, or else its hash."""
    return feed if re.fullmatch(r"[a-z0-9_.-]{1,80}", feed) else hashlib.sha256(feed.encode()).hexdigest()[:32]


def file_version(stat: os.stat_result) -> str:
    """What changes whenever a local file is written or replaced."""
    return f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"


def run_id(feed: str, work_items: Iterable[tuple[str, int]], *, dry: bool = False) -> str:
    """Id of a run: its feed, and each work id with how often it has been recorded done before.

    A dry run has one of its own, so that what it leaves and takes away is never that of a real one.

    So a retry after a crash is the same run, and a wished repetition is a new one.
    """
    return _digest("dry run" if dry else "run", feed, *(f"{work} {times}" for work, times in sorted(work_items)))[:16]


def staging_name(run: str, part: int) -> str:
    """Name of the staging table of one slice: the same at every try, never shared."""
    return f"s_{run}_{part}"


def run_of_staging(table: str) -> str | None:
    """The run whose rows, or keys of rejected rows, are in a staging table; None if it is no such table.

    >>> run_of_staging("s_46ffd996c1600485_1"), run_of_staging("s_46ffd996c1600485_1_keys"), run_of_staging("s_x")
    ('46ffd996c1600485', '46ffd996c1600485', None)
    """
    found = re.fullmatch(r"s_([0-9a-f]{16})_\d+(_keys)?", table)
    return found[1] if found else None


def _digest(*parts: str) -> str:
    # Lengths keep ("ab", "c") apart from ("a", "bc").
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
