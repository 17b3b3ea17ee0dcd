"""In which order tables are synced, and which of them side by side."""

from __future__ import annotations

import contextlib

from collections.abc import Iterator, Sequence

from shared.errors import IngestError
from shared.model import Feed
from shared.pipeline.destinations import targets
from shared.pipeline.relations import in_order
from shared.pipeline.runner import Runner
from shared.pipeline.starts import begun


def side_by_side(runner: Runner, feeds: Sequence[Feed]) -> Iterator[list[Feed]]:
    """Feeds to sync side by side, one list after the other: those that others refer to first.

    Those whose last sync ended its process come last and alone: the next end of the process is then of one feed.
    """
    starts = {feed.name: _begun(runner, feed.name) for feed in feeds}
    for level in in_order(feeds):
        yield [feed for feed in level if not starts[feed.name]]
    for feed in sorted(feeds, key=lambda feed: starts[feed.name]):
        if starts[feed.name]:
            yield [feed]


def _begun(runner: Runner, feed: str) -> int:
    ledgers = [target.found.ledger for target in targets(runner, feed) if isinstance(target.found, Runner)]
    with contextlib.suppress(IngestError):  # the sync of the table says what is wrong with its ledger
        return max((begun(ledger, feed) for ledger in ledgers), default=0)
    return 0
