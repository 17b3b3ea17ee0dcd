"""Erase what events of an API name as erased for privacy, as ``sluice erase`` does, before their unit is read."""

from __future__ import annotations

import hashlib

from typing import TYPE_CHECKING

from shared.errors import ConflictError, TransientError
from shared.jobs.documents import UnitDocuments
from shared.jobs.events import Events
from shared.jobs.request import ObjectEvents, UnitRequest
from shared.pipeline.erase import EraseOptions, erase

if TYPE_CHECKING:
    from shared.app import App


def erase_named(app: App, request: UnitRequest) -> None:
    """Erase, in every warehouse of its feed, the objects that events of the unit want erased.

    The run of the unit then stores a tombstone with nothing but the id: HubSpot may show the object for a while, and a
    sync must not bring it back. With KEEP_OUT_KEY no run stores anything of it any more, and there is no tombstone.
    Repeating it changes nothing. TransientError while a run of the feed is under way, which may bring the rows back.
    """
    work = request.work
    if not isinstance(work, ObjectEvents) or request.destination is not None:
        return
    batch = Events(app.documents).batch(work)
    if batch is None or request.unit >= len(batch.units) or UnitDocuments(app.documents, request).read() is not None:
        return  # it is planned: what its run has stored by now is the tombstone
    found = batch.units[request.unit]
    erased = [one for one in found.objects if one.erased]
    if not erased:
        return
    options = EraseOptions(
        id=_id(request), requested_by=f"events of {work.system}", keep_out=app.settings.keep_out_key is not None,
        stuck_after=app.settings.stuck_after,
    )  # fmt: skip
    try:
        erase(app.runner, app.documents, found.feed, [str(one.id) for one in erased], options)
    except ConflictError as error:
        raise TransientError(error.problem, fix=error.fix) from error


def _id(request: UnitRequest) -> str:
    """The same at every try of the unit. It does not tell which keys they are."""
    return hashlib.sha256(f"{request.job} {request.started} {request.unit}".encode()).hexdigest()[:16]
