"""Text without what signs in, and logs that hold no more than that."""

from __future__ import annotations

import logging
import re

_QUERY = re.compile(r"(://[^\s?'\"<>]*)\?[^\s'\"<>)]*|(?<=[^\s?])\?[^\s'\"<>)]*=[^\s'\"<>)]*")
"""Of a URL, and of what stands for one without its host."""
_USER = re.compile(r"(?<=://)[^\s/@'\"]+@")
_PROOF = re.compile(
    r"(?i)\b(sig|signature|token|password|pwd|accountkey|sharedaccesssignature)(?:=|%3d)"
    r"(?:\{(?:[^}]|\}\})*\}|[^\s&;'\"<>)]+)"
)
_TALKATIVE = ("azure", "urllib3", "requests", "paramiko", "msal", "stamina")
"""Loggers of libraries that repeat the URLs they ask."""


def redact(text: str) -> str:
    """*text* without queries of URLs, users, signatures and passwords.

    >>> redact("GET https://me:pw@host/a%20b?sv=1&sig=x failed for sig=y")
    'GET https://host/a%20b failed for sig=***'
    """
    return _PROOF.sub(r"\1=***", _USER.sub("", _QUERY.sub(r"\1", text)))


class RedactingFormatter(logging.Formatter):
    """Formats as another formatter does, and redacts the outcome: message, traceback and all."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return redact(self._inner.format(record))


def redact_logs() -> None:
    """Let no log of this process tell how it signs in: at the root's handlers, and where libraries are talkative.

    For a host to call once, when it has set up its logging.
    """
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        if not isinstance(handler.formatter, RedactingFormatter):
            handler.setFormatter(RedactingFormatter(handler.formatter or logging.Formatter()))
