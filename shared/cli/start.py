"""Where the program ``sluice`` starts: a signal during its imports ends it in one line, as it does later."""

from __future__ import annotations

import os
import signal

from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def start() -> None:
    """Run the command line. The imports take a good part of a second, in which a person may press Ctrl-C."""
    before = {number: signal.signal(number, _end) for number in _SIGNALS}
    from shared.cli.main import main

    for number, handler in before.items():
        signal.signal(number, handler)
    main()


def _end(number: int, _frame: FrameType | None) -> None:
    os.write(2, b"Interrupted. Nothing was changed.\n")
    os._exit(128 + number)
