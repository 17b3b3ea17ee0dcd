"""Mode ``current``: merged by the shared rules, but for a first load of many rows, with nothing to compare."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from shared.model import Change
from shared.warehouses.lake.session import LakeSession
from shared.warehouses.merge.changes import BY, DELETED, FIRST, SYNCED, at, flag_time, flagged
from shared.warehouses.merge.history import no_outcomes
from shared.warehouses.merge.merge import Merge
from shared.warehouses.merge.shape import grow
from shared.warehouses.merge.types import TEXT


class Current(Merge):
    """The merge of one run into a table that may not be there yet."""

    def _bring_in(self) -> tuple[dict[str, int], list[Change]]:
        feed, session = self._feed, self._session
        assert isinstance(session, LakeSession)  # noqa: S101 - the lake's engine makes it
        is_first = session.streams and not session.columns(feed.system, feed.table)
        has_keys = self._run.kind != "keys" and all(key in self._all.c for key in feed.keys)
        if not (is_first and has_keys) or self._rules.overtaken_by is not None or self._duplicates() is not None:
            return super()._bring_in()
        return self._insert_all(), []

    def _insert_all(self) -> dict[str, int]:
        """Write the rows into data files as they were staged: each has a key of its own."""
        feed, rows, now = self._feed, self._all.c, at(self._rules.now)
        shape = grow(self._session, feed, self._columns, self._run.files, {})
        flag, content = flagged(feed, rows), self._content(shape)
        since = flag_time(feed, rows, *(at(time) for time in (self._rules.exported, self._rules.now) if time))
        ours = {
            FIRST: now,
            SYNCED: now,
            BY: sa.literal(self._run.id, TEXT),
            DELETED: sa.case((flag, since), else_=at(None)),
        }
        kept: sa.Select[Any] = sa.select(*content.values(), *ours.values()).select_from(self._all)
        if feed.deletes == "hard":
            kept = kept.where(sa.not_(flag))
        inserted = self._session.insert(shape.table, [*content, *ours], kept)
        return {**no_outcomes(), "inserted": inserted, "unchanged": self._staged - inserted}
