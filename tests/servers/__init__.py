"""Real servers that tests start for themselves: on free ports, in throw-away folders."""

from __future__ import annotations

import random
import socket

# Below the ports that systems hand out: no other connection takes one while its server is killed or not started yet.
_PORTS = range(15_000, 32_000)


def free_port() -> int:
    """A port of this machine that nobody listens on at the moment."""
    # Not from pytest's seed: two workers would try the same ports.
    for port in random.SystemRandom().sample(_PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port was found")
