"""Accept a notification: verify it, keep it, and say which job loads its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shared.catalog import System
from shared.errors import ConfigError, RequestRefused
from shared.jobs.notifications import Notifications
from shared.jobs.request import Start
from shared.jobs.triggers import notification_job
from shared.settings import Settings
from shared.web.webhooks import coolr

if TYPE_CHECKING:
    from shared.app import App


def export_notified(app: App, body: bytes, signature: str | None) -> Start:
    """The job for CoolR's notification, which is kept until all its files are loaded.

    RequestRefused, with the status to answer, if it is not genuine or not valid. ConfigError if none can be accepted.
    """
    system = _signer(app.systems, app.settings, body, signature)
    settings = app.settings
    listed = settings.system(system.name).webhook_hosts.split(",")
    notification = coolr.read(
        body, now=app.now(), max_age_seconds=settings.webhook_max_age, ahead_seconds=settings.cursor_ahead,
        hosts=[host.strip() for host in listed if host.strip()], client=system.client,
    )  # fmt: skip
    Notifications(app.documents).keep(notification)
    return notification_job(notification.id)


def _signer(systems: Mapping[str, System], settings: Settings, body: bytes, signature: str | None) -> System:
    """The exporting system whose secret signed the notification. RequestRefused if there is none."""
    exporting = [system for system in systems.values() if system.exporting]
    secrets = {system.name: _secrets(settings, system.name) for system in exporting}
    ready = [system for system in exporting if secrets[system.name]]
    if not ready:
        names = (system.name.upper() for system in exporting)
        needed = " or ".join(f"{name}_WEBHOOK_SECRET and {name}_WEBHOOK_HOSTS" for name in names)
        raise ConfigError("notifications are not set up", fix=f"Set {needed}")
    for system in ready[:-1]:
        try:
            coolr.verify(body, signature, secrets[system.name])
        except RequestRefused:
            continue
        return system
    coolr.verify(body, signature, secrets[ready[-1].name])
    return ready[-1]


def _secrets(settings: Settings, system: str) -> list[str]:
    """The secrets of a system that takes notifications; none if its settings are not complete."""
    known = settings.system(system)
    if not known.webhook_secret or not known.webhook_hosts:
        return []
    return [secret for secret in (known.webhook_secret, known.webhook_secret_old) if secret]
