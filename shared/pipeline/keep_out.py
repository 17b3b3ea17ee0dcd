"""The erased keys of a feed that are not to come back, as a load needs them."""

from __future__ import annotations

from shared.contract.kept_out import KeptOut
from shared.warehouses import History


def kept_out(secret: str | None, feed: str, history: History) -> KeptOut | None:
    """None if there are none. Without the *secret* (KEEP_OUT_KEY) history is not asked; the doctor finds that."""
    if secret is None:
        return None
    hashes = {one for erasure in history.erasures(feed, None) for one in erasure.kept_out}
    return KeptOut(secret, feed, hashes) if hashes else None
