"""When a file was exported: what its path or its store says, and that it is not in the future. Pure."""

from __future__ import annotations

import datetime as dt
import re

from collections.abc import Iterable

from shared.errors import ConfigError
from shared.model import to_text
from shared.stores import File


def timestamp(segment: str) -> str | None:
    """The instant a path segment of 8 or 14 digits means, as text; None if it means none."""
    formats = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
    if not re.fullmatch(r"[0-9]+", segment) or len(segment) not in formats:
        return None
    try:
        return to_text(dt.datetime.strptime(segment, formats[len(segment)]))  # noqa: DTZ007 - UTC by the layout
    except ValueError:
        return None


def modified(files: Iterable[File]) -> str | None:
    """When the last of *files* was written, by the store's word. Times of local files say nothing of an export."""
    times = [file.modified for file in files if file.remote]
    return to_text(dt.datetime.fromtimestamp(max(times), dt.UTC)) if times else None


def refuse_future(place: str, exported_at: str | None, latest: dt.datetime) -> None:
    """ConfigError if *place* was exported after *latest* (aware): no later export could ever win over it."""
    if exported_at is not None and exported_at > to_text(latest):
        raise ConfigError(
            f"{place} is from {exported_at[:19]}, which is in the future", fix="Correct its time, or --exported-at"
        )
