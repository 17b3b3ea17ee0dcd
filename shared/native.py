"""Calls into native libraries: what they raise in a crash becomes one of our errors."""

from __future__ import annotations

import asyncio

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import DataError
from shared.redaction import redact

_INTERRUPTS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


@contextmanager
def native_call(library: str, file: str | None = None) -> Iterator[None]:
    """DataError for what is neither an Exception nor an interrupt, such as a panic of Rust code; the rest passes.

    Such a thing would go through every ``except Exception`` and end the process.
    """
    try:
        yield
    except (Exception, *_INTERRUPTS):
        raise
    except BaseException as error:
        line = redact(" ".join(str(error).split()))[:300].rstrip(". ")
        raise DataError(
            f"{library} crashed{f' over {file}' if file else ''}: {type(error).__name__}: {line}",
            fix=f"Have the file written anew, or install another version of {library}",
        ) from error
