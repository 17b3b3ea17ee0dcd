"""End a command on Ctrl-C or SIGTERM in one line that says what was done."""

from __future__ import annotations

import signal
import threading

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import click

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CONSEQUENCE = "shared.cli.interrupts"


@dataclass
class Received:
    """The last signal to stop."""

    number: int = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal has stopped."""
        return 128 + self.number


@contextmanager
def raised() -> Iterator[Received]:
    """Within it, either signal raises KeyboardInterrupt. Only the main thread can be interrupted so."""
    received = Received()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        received.number = number
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def explain(text: str) -> None:
    """Set what to say if the current command is interrupted from here on: what is done, what to do next."""
    click.get_current_context().meta[_CONSEQUENCE] = text


def message(context: click.Context) -> str:
    """The line for an interrupted command."""
    return f"Interrupted. {context.meta.get(_CONSEQUENCE, 'Nothing was changed')}."
