"""A disk without room for more, as far as this process can tell."""

from __future__ import annotations

import contextlib

from collections.abc import Iterator

import pytest

resource = pytest.importorskip("resource", reason="limits of a process are Unix's")


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file grows beyond *size* bytes; the system then says that it is too large, not that the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
