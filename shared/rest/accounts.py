"""What all feeds of one account of an API share in this process: its sign-in, and how often it may be called."""

from __future__ import annotations

import threading

from collections.abc import Callable, Hashable
from typing import NamedTuple

from shared.rest.auth import Auth
from shared.rest.limits import Limiter


class Account(NamedTuple):
    auth: Auth
    limiter: Limiter


_accounts: dict[Hashable, Account] = {}
_opening = threading.Lock()


def shared_account(key: Hashable, opened: Callable[[], Account]) -> Account:
    """The account of *key* (equal for the same host and secrets) in this process, *opened* at its first use."""
    with _opening:
        if key not in _accounts:
            _accounts[key] = opened()
        return _accounts[key]
