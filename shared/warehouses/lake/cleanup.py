"""What no version of a table within the retention needs: replaced data files, and old entries of its log.

Ages are by the clock of the storage, which all who write share: who replaced a file, and when, is read from the entries
of the log and their ages, not from times that writers have put into them.
"""

from __future__ import annotations

import json
import re

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote

from shared.warehouses.lake.errors import damaged
from shared.warehouses.lake.storage import Entry
from shared.warehouses.lake.table import Snapshot
from shared.warehouses.lake.work import Work

LOG = "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")
_OF_A_VERSION = re.compile(r"(\d{20})\.")


def needed(work: Work, path: str, snapshot: Snapshot | None, since: float) -> set[str] | None:
    """Data files, by path in the lake, that the current version has, or that commits name of the last *since* seconds.

    None if the log does not reach back so far: then nobody knows what else is needed.
    """
    log = list(work.storage.entries(f"{path}/{LOG}/"))
    commits = {version: entry for entry in log if (version := _version(_COMMIT, entry)) is not None}
    if commits and 0 not in commits and all(entry.age <= since for entry in log):
        return None
    young = [entry.path for entry in commits.values() if entry.age <= since]
    found = {file.path for file in snapshot.files} if snapshot else set()
    for file in work.storage.local(young, work.scratch).values():
        try:
            found.update(_named(file.read_text(encoding="utf-8")))
        except ValueError as error:
            raise damaged(f"{path}/{LOG}/{file.name}") from error
    return {f"{path}/{name}" for one in found for name in (one, unquote(one))}


def unneeded(entries: Iterable[Entry], path: str, kept: set[str], since: float) -> dict[str, int]:
    """Data files of the table at *path* that are older than *since* seconds and not *kept*: sizes by path.

    Files of a writer that has not committed yet are younger.
    """
    return {
        entry.path: entry.size
        for entry in entries
        if entry.age > since and entry.path not in kept and not _is_hidden(entry.path.removeprefix(f"{path}/"))
    }


def obsolete(log: Sequence[Entry], since: float) -> list[str]:
    """Entries of a table's log that no version needs which was current within *since* seconds, oldest first.

    Those before a checkpoint from which all these versions can be read.

    >>> ages = {"0.json": 90, "1.json": 80, "1.checkpoint.parquet": 80, "2.json": 70, "3.json": 5}
    >>> log = [Entry(f"t/_delta_log/{name.zfill(20 + len(name) - 1)}", age, 1) for name, age in ages.items()]
    >>> [path[-6:] for path in obsolete(log, 30)], obsolete(log, 85)
    (['0.json'], [])
    """
    commits = {version: entry.age for entry in log if (version := _version(_COMMIT, entry)) is not None}
    young = [version for version, age in commits.items() if age <= since]
    last = min(young) - 1 if young else max(commits, default=0)
    checkpoints = [version for entry in log if (version := _version(_CHECKPOINT, entry)) is not None]
    base = max((version for version in checkpoints if version <= last), default=0)
    before = [(version, entry) for entry in log if (version := _version(_OF_A_VERSION, entry)) is not None]
    return [entry.path for version, entry in sorted(before) if version < base and entry.age > since]


def last_checkpoint(log: Iterable[Entry]) -> int:
    """The version of the last checkpoint; -1 without any."""
    return max((version for one in log if (version := _version(_CHECKPOINT, one)) is not None), default=-1)


def _version(pattern: re.Pattern[str], entry: Entry) -> int | None:
    name = entry.path.rpartition("/")[2]
    found = pattern.match(name) if pattern is _OF_A_VERSION else pattern.fullmatch(name)
    return int(found[1]) if found else None


def _named(commit: str) -> Iterable[str]:
    for line in commit.splitlines():
        action: Mapping[str, Mapping[str, str]] = json.loads(line) if line.strip() else {}
        yield from (action[kind]["path"] for kind in ("add", "remove", "cdc") if kind in action)


def _is_hidden(path: str) -> bool:
    """Whether readers of Delta overlook it: the log, manifests, and what else is no data."""
    return any(part.startswith(("_", ".")) for part in path.split("/"))
