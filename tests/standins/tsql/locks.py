"""Application locks of a server, as sp_getapplock takes them."""

from __future__ import annotations

import threading

from collections import Counter


class Locks:
    """Application locks: who owns a resource, in which mode, and how often."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, Counter[tuple[object, str, str]]] = {}

    def take(self, resource: str, owner: tuple[object, str], mode: str, seconds: float | None) -> int:
        """0 granted, 1 granted after waiting, -1 not in time."""
        with self._changed:
            if self._is_free(resource, owner, mode):
                waited = 0
            elif self._changed.wait_for(lambda: self._is_free(resource, owner, mode), seconds):
                waited = 1
            else:
                return -1
            self._held.setdefault(resource, Counter())[(*owner, mode)] += 1
            return waited

    def release(self, resource: str, owner: tuple[object, str]) -> int:
        with self._changed:
            held = self._held.get(resource, Counter())
            mine = next((key for key in held if key[:2] == owner), None)
            if mine is None:
                return -999
            held[mine] -= 1
            self._held[resource] = +held
            self._changed.notify_all()
            return 0

    def end(self, session: object, *kinds: str) -> None:
        """Release all that *session* owns, of Transaction or Session *kinds*."""
        with self._changed:
            for resource, held in self._held.items():
                self._held[resource] = Counter(
                    {k: n for k, n in held.items() if k[0] is not session or k[1] not in kinds}
                )
            self._changed.notify_all()

    def _is_free(self, resource: str, owner: tuple[object, str], mode: str) -> bool:
        others = [key for key in self._held.get(resource, ()) if key[0] is not owner[0]]
        return not others or (mode == "Shared" and all(key[2] == "Shared" for key in others))
