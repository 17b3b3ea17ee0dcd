"""How jobs report: alerts, and links to the page of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from shared.alerts.send import Alerts
from shared.azure import urls
from shared.documents.throttle import AlertThrottle

if TYPE_CHECKING:
    from shared.app import App
    from shared.settings import Settings


def alerts_of(app: App) -> Alerts:
    """The alerts of the app, each sent once in a while whichever process has it to send."""
    return Alerts(app.settings, AlertThrottle(app.documents, app.now))


def job_link(settings: Settings, job: str) -> str:
    """The URL of a job in the operations API."""
    host = settings.website_hostname
    scheme = "http" if urls.is_loopback(host.partition(":")[0]) else "https"
    return f"{scheme}://{host}/api/jobs/{quote(job)}"
