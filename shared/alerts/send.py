"""Sends alerts, and the same one only once in a while."""

from __future__ import annotations

import logging
import traceback

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from shared.alerts import formats
from shared.alerts.decide import Alert
from shared.errors import IngestError
from shared.model import Json
from shared.rest.post import post_json
from shared.settings import Settings
from shared.text import one_line

if TYPE_CHECKING:
    import requests

_log = logging.getLogger("sluice")

_FORMATS: Mapping[str, Callable[[Alert], Json]] = {
    "teams": formats.teams,
    "slack": formats.slack,
    "json": formats.json,
}


class AlertMemory(Protocol):
    """Remembers which alerts have been sent, for all processes of the app."""

    def first(self, key: str, within_seconds: float) -> bool:
        """True for the first caller with *key* within so many seconds."""
        ...

    def forget(self, key: str) -> None:
        """Whoever asks next for *key* is the first again."""
        ...


class Alerts:
    """Sends alerts to where the settings say. Never raises: what an alert is about does not fail because of it."""

    def __init__(
        self, settings: Settings, memory: AlertMemory, session: requests.Session | None = None,
        on_sent: Callable[[Alert], None] = lambda alert: None,
    ) -> None:  # fmt: skip
        """*on_sent* is called with each alert that was sent."""
        self._settings = settings
        self._memory = memory
        self._session = session
        self._on_sent = on_sent

    def send(self, alert: Alert) -> bool:
        """Send *alert*, unless it has been sent within ``alert_repeat``, and say whether it was sent.

        What cannot be sent is logged, and the next attempt may send it. Without ALERT_URL an alert is only logged.
        """
        if self._settings.alert_on == "problems" and alert.kind == "summary" and alert.severity == "info":
            return False
        if not self._settings.alert_url:
            _log.warning("alert: %s", one_line(f"{alert.title}\n{alert.text}"))
            return False
        if not self._is_first(alert.key):
            return False
        problem = self._problem(alert, self._settings.alert_url)
        if problem is None:
            _log.info("alert was sent: %s", one_line(alert.title))
            self._keep(alert)
            return True
        _log.error("alert was not sent: %s: %s", one_line(alert.title), problem)
        self._forget(alert.key)
        return False

    def _is_first(self, key: str) -> bool:
        try:
            return self._memory.first(key, self._settings.alert_repeat)
        except Exception as error:  # noqa: BLE001 - twice is better than never
            _log.warning("cannot look up whether an alert was sent, so it is sent: %s", _said(error))
            return True

    def _forget(self, key: str) -> None:
        try:
            self._memory.forget(key)
        except Exception as error:  # noqa: BLE001 - it has been logged that it was not sent
            _log.warning("an alert that was not sent counts as sent: %s", _said(error))

    def _keep(self, alert: Alert) -> None:
        try:
            self._on_sent(alert)
        except Exception as error:  # noqa: BLE001 - it has been sent
            _log.warning("an alert that was sent is not on the status page: %s", _said(error))

    def _problem(self, alert: Alert, url: str) -> str | None:
        """Send *alert*; why it was not taken, or None."""
        try:
            body = _FORMATS[self._settings.alert_format](alert)
            result = post_json(url, body, setting="ALERT_URL", session=self._session)
        except Exception as error:  # noqa: BLE001 - whatever it is, the work it is about goes on
            return _said(error)
        return None if result.accepted else f"the server of ALERT_URL refuses it {result}"


def _said(error: Exception) -> str:
    """*error* in words. Of one that nobody foresaw its place, not its text, which may hold an address."""
    if isinstance(error, IngestError):
        return one_line(str(error))
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"
