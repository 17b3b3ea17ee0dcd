"""Remove a person's rows for good, in every warehouse of a feed, and what the app keeps beside them."""

from __future__ import annotations

import json
import logging
import re
import uuid

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shared.contract.conform import folded
from shared.contract.hidden import Hiding
from shared.contract.kept_out import key_hash
from shared.contract.raw_keys import Key, typed
from shared.documents import Documents, read_json
from shared.errors import ConfigError
from shared.ids import plain_name
from shared.model import Feed, FeedName, to_text
from shared.pipeline.backfill import under_way
from shared.pipeline.destinations import targets
from shared.pipeline.feeds import known_feed
from shared.pipeline.runner import Runner
from shared.warehouses import EraseRequest, Erasure, NeedsUpkeep

_log = logging.getLogger("sluice")
_EARLIER_VERSIONS = (
    "earlier versions of the lake's table have the rows until the files that were replaced are deleted"
    " (docs/lake.md, Erased rows)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseOptions:
    """How to erase."""

    requested_by: str
    keep_out: bool = False
    """Whether the keys are not to come back."""
    raw: Path | None = None
    """A folder in which ``sluice sync --keep-raw`` has kept answers: those that name a key are deleted."""
    stuck_after: float
    """Seconds after which a job that has not ended counts as dead."""
    dry_run: bool = False
    id: str | None = None
    """Of the record, the same at every try of one request; it must not tell which keys they are. Random by default."""


class ErasedFrom(NamedTuple):
    """What was removed in one place: a destination, the app's documents, or a folder of raw answers."""

    place: str
    erasure: Erasure | None = None
    """Of a destination."""
    files: int = 0
    """Of the other places."""
    note: str | None = None


def erase(
    runner: Runner, documents: Documents, feed: str, words: Sequence[str], options: EraseOptions
) -> list[ErasedFrom]:
    """Remove the rows of *feed* whose keys *words* are: a value for each key column, one key after the other.

    Repeating it changes nothing, and does the rest of one that broke off. ConfigError if *words* are no keys of the
    feed; ConflictError while a run of it is under way: it may bring back what it has read already.
    """
    known_feed(feed, runner.systems, runner.warehouse)
    for target in targets(runner, feed):
        _ = target.runner  # ConfigError: one that is not set up may have rows too
    runners = [runner, *runner.others.values()]
    known, kinds = _described(runners, feed)
    clear = _keys(known, words)
    keys = _stored(known, clear, runner.hash_key)
    now = runner.now()
    dead_before = now.timestamp() - options.stuck_after
    left = list(_slices(documents, known, dead_before))
    if any(one.warehouse.is_loading(feed) for one in runners):
        raise under_way(feed)
    request = EraseRequest(
        id=options.id or uuid.uuid4().hex[:16], feed=known, keys=keys, at=to_text(now),
        requested_by=options.requested_by, dry_run=options.dry_run,
        kept_out=_hashes(runner, known, keys, kinds) if options.keep_out else (),
    )  # fmt: skip
    done = [_erase_in(one, request) for one in runners]
    masked = _masked_reports(documents, feed, [*keys, *clear], dry_run=options.dry_run)
    done.append(ErasedFrom("documents", files=_delete(documents, left, dry_run=options.dry_run) + masked))
    if options.raw is not None:
        folder = options.raw / feed if (options.raw / feed).is_dir() else options.raw  # a sync makes one for each feed
        done.append(ErasedFrom(str(folder), files=_erase_raw(folder, clear, dry_run=options.dry_run)))
    return done


def _erase_in(runner: Runner, request: EraseRequest) -> ErasedFrom:
    erasure = runner.warehouse.erase(request)
    _log.info(
        "erase feed=%s destination=%s keys=%d rows=%d history=%d rejects=%d staging=%d%s", request.feed.name,
        runner.destination, len(request.keys), erasure.rows, erasure.history, erasure.rejects, erasure.staging,
        " dry run" if request.dry_run else "",
    )  # fmt: skip
    versions = isinstance(runner.warehouse, NeedsUpkeep) and erasure.rows + erasure.history + erasure.rejects
    note = _EARLIER_VERSIONS if versions else None
    return ErasedFrom(runner.destination, erasure, note=note)


def _described(runners: Sequence[Runner], feed: str) -> tuple[Feed, dict[str, str]]:
    """The feed, and the types of its columns by folded name, of the first warehouse that has its table."""
    name = FeedName.parse(feed)
    system = runners[0].systems.get(name.system)
    if system is None:
        raise ConfigError(f"system {name.system!r} is not in the catalog", fix="Declare it again, for its keys")
    bare = Feed(system=name.system, table=name.table, source="", keys=())
    stored = next((columns for one in runners if (columns := one.warehouse.columns(bare))), {})
    return system.feed(name.table, list(stored)), {folded(name): kind for name, kind in stored.items()}


def _keys(feed: Feed, words: Sequence[str]) -> list[Key]:
    size = len(feed.keys)
    if len(words) % size:
        listed = ", ".join(feed.keys)
        raise ConfigError(
            f"{len(words)} values are no keys of {feed.name}", fix=f"Write for each key, in turn: {listed}"
        )
    return [tuple(words[start : start + size]) for start in range(0, len(words), size)]


def _stored(feed: Feed, keys: Sequence[Key], hash_key: str | None) -> list[Key]:
    """*keys* as they are stored, where the feed hashes some of their columns. ConfigError without the *hash_key*."""
    hiding = Hiding(feed, hash_key)
    kinds = {folded(name): kind for name, kind in feed.types.items()}
    found = []
    for key in keys:
        values = typed(feed, key, kinds)
        pairs = zip(feed.keys, key, values, strict=True)
        found.append(tuple(hiding.hashed(value) if name in hiding else word for name, word, value in pairs))
    return found


def _hashes(runner: Runner, feed: Feed, keys: Sequence[Key], kinds: dict[str, str]) -> tuple[str, ...]:
    if runner.keep_out_key is None:
        raise ConfigError(
            "there is no KEEP_OUT_KEY to hash keys with that are to stay out",
            fix="Set KEEP_OUT_KEY, for every host that loads, to 32 random characters or more, and keep it",
        )
    return tuple(key_hash(runner.keep_out_key, feed.name, typed(feed, key, kinds)) for key in keys)


# -- what jobs and syncs leave


def _slices(documents: Documents, feed: Feed, dead_before: float) -> Iterator[str]:
    """Documents of dead jobs that may have rows of *feed*: a few rows travel in them. ConflictError if one is alive."""
    names = {entry.name: entry.modified for entry in documents.entries("jobs/")}
    for name, modified in names.items():
        if not name.endswith("/unit"):
            continue
        state = read_json(documents, name) or {}
        of = (state.get("plan") or {}).get("feed") or {}
        if (of.get("system"), of.get("table")) != (feed.system, feed.table) or state.get("outcome"):
            continue
        if modified > dead_before:
            raise under_way(feed.name)
        yield from (other for other in names if other.startswith(f"{name.removesuffix('unit')}slice/"))


def _delete(documents: Documents, names: Sequence[str], *, dry_run: bool) -> int:
    for name in () if dry_run else names:
        documents.delete(name)
    return len(names)


def _masked_reports(documents: Documents, feed: str, keys: Sequence[Key], *, dry_run: bool) -> int:
    """Mask quoted values of the keys in what jobs keep of runs of *feed*, and in alerts: in how many documents."""
    values = [json.dumps(repr(word), ensure_ascii=False)[1:-1] for key in keys for word in key]
    count = 0
    for name in dict.fromkeys(_reports(documents, feed)):
        content = (documents.get(name) or b"").decode(errors="replace")
        masked = content
        for value in values:
            masked = masked.replace(value, "'***'")
        count += masked != content
        if masked != content and not dry_run:
            documents.put(name, masked.encode())
    return count


def _reports(documents: Documents, feed: str) -> Iterator[str]:
    yield f"feeds/{plain_name(feed)}/runs"
    for entry in documents.entries(f"runs/{plain_name(feed)}/"):
        yield entry.name
        if job := (read_json(documents, entry.name) or {}).get("job"):
            yield f"jobs/{job}/summary"
    yield "status/overview"
    yield from (entry.name for entry in documents.entries("alerts/"))


def _erase_raw(folder: Path, keys: Sequence[Key], *, dry_run: bool) -> int:
    """Delete the files that name a key, and the lines of ``calls.jsonl`` that do: how many there were."""
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and _names_one(path.read_bytes(), keys)]
    for path in () if dry_run else found:
        if path.name == "calls.jsonl":
            lines = path.read_bytes().splitlines(keepends=True)
            path.write_bytes(b"".join(line for line in lines if not _names_one(line, keys)))
        else:
            path.unlink()
    return len(found)


def _names_one(content: bytes, keys: Sequence[Key]) -> bool:
    text = content.decode(errors="replace")
    return any(all(_names(text, word) for word in key) for key in keys)


def _names(text: str, word: str) -> bool:
    """Whether *word* stands in a JSON or XML document, as it is or with JSON's escapes.

    >>> _names('{"id": 7}', "7"), _names('{"id": 77}', "7"), _names('{"name": "\\\\u00e9"}', "é")
    (True, False, True)
    """
    forms = {word, json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1]}
    return any(re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text, re.IGNORECASE) for form in forms)
