"""How often the loading of something has begun without an end: what ended the process so often would end it again.

A crash of native code, a lack of memory or a host's patience end a process without a word. The ledger keeps, for each
feed, the runs that have begun and not ended, in a watermark of their own.
"""

from __future__ import annotations

import contextlib
import itertools
import json

from collections.abc import Iterator, Mapping

from shared.errors import DataError, IngestError
from shared.ledger import Ledger
from shared.model import Run, Watermark

MAX_STARTS = 3
_MOST_RUNS = 100
"""Of one feed that are remembered, the last ones."""


@contextlib.contextmanager
def counted(ledger: Ledger, run: Run, place: str, *, anew: bool) -> Iterator[None]:
    """Note that *run* begins, and that it ended, with whatever outcome; *anew* forgets its earlier starts.

    DataError, which names *place*, if it has begun three times and never ended.
    """
    key = f"{run.feed} starts"
    known: dict[str, int] = json.loads(ledger.watermark(key).value or "{}")
    starts = 0 if anew else known.get(run.id, 0)
    if starts >= MAX_STARTS:
        raise DataError(
            f"{place} ended the process {starts} times while it was loaded: by a crash, or for memory or time",
            fix="Ask for the file again; if it is sound, give the process more memory, and load it with --again",
        )
    others = {id: count for id, count in known.items() if id != run.id}
    _keep(ledger, key, {run.id: starts + 1, **others})
    try:
        yield
    finally:
        with contextlib.suppress(IngestError):  # it counts as one that did not end, until the next that does
            _keep(ledger, key, others)


def _keep(ledger: Ledger, key: str, starts: Mapping[str, int]) -> None:
    kept = dict(itertools.islice(starts.items(), _MOST_RUNS))
    ledger.rewind(key, Watermark(json.dumps(kept), "starts"))
