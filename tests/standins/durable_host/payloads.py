"""How large everything is that the hub stores for an orchestration."""

from __future__ import annotations


class PayloadTooLarge(AssertionError):  # noqa: N818 - the finding itself
    """Something that travels through the hub is above the limit set for it."""


class Payloads:
    """Keeps the largest of each sort, in bytes of the JSON text (UTF-8) that is stored."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.sizes: dict[str, int] = {}
        """By what it is, such as ``result of activity stage``."""

    def note(self, what: str, text: str | None) -> None:
        """Measure *text*; PayloadTooLarge above the limit."""
        size = len((text or "").encode())
        self.sizes[what] = max(size, self.sizes.get(what, 0))
        if self.limit is not None and size > self.limit:
            raise PayloadTooLarge(f"{what} has {size} bytes: at most {self.limit} are allowed")

    def largest(self) -> tuple[int, str]:
        """Bytes, and what they are of; (0, "") before anything was stored."""
        return max(((size, what) for what, size in self.sizes.items()), default=(0, ""))
