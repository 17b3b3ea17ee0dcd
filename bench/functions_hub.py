"""The Durable host's endpoint in a process of its own: jobs are taken and kept, and none of them runs.

Prints the client binding; ends when its input does.
"""

from __future__ import annotations

import gc
import sys

import function_app

from tests.standins.durable_host import DurableHost


def main() -> None:
    # The real host is no Python: what this one takes to look for garbage among its jobs is nobody's cost.
    gc.disable()
    with DurableHost(function_app.app, check_determinism=False) as host:
        print(host.client_binding(), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
