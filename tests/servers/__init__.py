"""Real servers that tests start for themselves: on free ports, in throw-away folders."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port of this machine that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
