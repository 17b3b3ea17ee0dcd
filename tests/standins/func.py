"""A stand-in for `func start`: answers on a port, over the settings in its environment, until it is ended."""

from __future__ import annotations

import signal
import sys
import threading

import function_app

from shared.app import current
from tests.standins.durable_host import DurableHost
from tests.standins.functions_host import FunctionsHost


def main() -> None:
    port = int(sys.argv[sys.argv.index("--port") + 1])
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    durable = DurableHost(function_app.app)
    with durable, durable.running(workers=4), FunctionsHost(current(), durable).listening(port):
        ended.wait()


if __name__ == "__main__":
    main()
