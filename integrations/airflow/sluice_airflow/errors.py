"""What went wrong in Sluice. No Airflow in here."""

from __future__ import annotations


class SluiceError(Exception):
    """A request, a job or a command failed; the text is the reason that Sluice gives."""

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.retryable = retryable
        """Whether the same may succeed later without anybody's help."""
