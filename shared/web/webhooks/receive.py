"""Accept a notification: verify it, keep it, and say which job does its work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast, get_args

from shared.catalog import System
from shared.errors import ConfigError, RequestRefused
from shared.jobs.event_jobs import events_job
from shared.jobs.events import ChangedObject, Events, events_id
from shared.jobs.notifications import Notifications
from shared.jobs.request import Start
from shared.jobs.triggers import notification_job
from shared.model import Feed
from shared.settings import Settings
from shared.web.webhooks import coolr, hubspot
from shared.web.webhooks.hubspot import Request

__all__ = ["Accepted", "Request", "export_notified", "objects_changed"]

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


class Accepted(NamedTuple):
    """What became of the events of one request."""

    starts: Sequence[Start]
    """The jobs that read the objects. One job has the events of several requests."""
    events: int
    """Different ones."""
    kept: int
    ignored: int
    """Of another account, or of objects that no feed reads."""
    unknown: int
    """Of types that are not known here."""


def objects_changed(app: App, request: Request) -> Accepted:
    """Keep HubSpot's events until the objects that they name have been read again; HubSpot itself is not called.

    RequestRefused, with the status to answer, if the request is not genuine or not valid. ConfigError if none can be
    accepted.
    """
    own = request._replace(url=hubspot.called(request.url, app.settings.public_url))
    systems = _signers(app, own)
    events = hubspot.read(request.body)
    kept: set[str] = set()
    starts: list[Start] = []
    for system in systems:
        account, readers = app.settings.system(system.name).webhook_account, _readers(system)
        used = [event for event in events if str(event.portal) == account and _feeds(readers, event)]
        if used:
            Events(app.documents).keep(
                system.name, events_id(event.key for event in used), _objects(readers, used)
            )  # fmt: skip
            # Only now: the job collects what was kept before its window ended.
            starts.append(events_job(system.name, app.now(), app.settings.webhook_group))
            kept |= {event.key for event in used}
    unknown = sum(event.action == "none" for event in events)
    return Accepted(starts, len(events), len(kept), len(events) - len(kept) - unknown, unknown)


def _objects(readers: Mapping[str, Sequence[str]], events: Iterable[hubspot.Event]) -> dict[str, list[ChangedObject]]:
    """The objects that *events* name, by the feeds that read them."""
    found: dict[str, dict[int, ChangedObject]] = {}
    for event in events:
        for feed in _feeds(readers, event):
            objects = found.setdefault(feed, {})
            for id in event.ids:
                one = ChangedObject(id, event.occurred_at, event.action == "erase")
                objects[id] = one.with_other(objects.get(id))
    return {feed: list(objects.values()) for feed, objects in found.items()}


def _feeds(readers: Mapping[str, Sequence[str]], event: hubspot.Event) -> Sequence[str]:
    """The feeds that read the objects of *event*. An association changes no object, and ids of two types are in it."""
    return () if event.action in ("none", "associate") else readers.get(event.object_type, ())


def _readers(system: System) -> dict[str, list[str]]:
    """The feeds that read objects, by the type of object."""
    found: dict[str, list[str]] = {}
    for feed in filter(_reads_objects, system.feeds()):
        found.setdefault(hubspot.object_type(str(feed.api["object"])), []).append(feed.name)
    return found


def _reads_objects(feed: Feed) -> bool:
    return feed.source == "hubspot" and "associated" not in feed.api


def _signers(app: App, request: Request) -> list[System]:
    """The systems whose secret signed the request: several accounts may have installed one app of HubSpot's."""
    ready = [
        system for system in app.systems.values() if _hubspot_secrets(app.settings, system.name) and _readers(system)
    ]
    if not ready:
        names = (system.name.upper() for system in app.systems.values() if _readers(system))
        needed = " or ".join(f"{name}_WEBHOOK_SECRET and {name}_WEBHOOK_ACCOUNT" for name in names)
        raise ConfigError("events are not set up", fix=f"Set {needed}")
    found: list[System] = []
    refused: RequestRefused | None = None
    for system in ready:
        secrets, version = _hubspot_secrets(app.settings, system.name), _signature_version(app.settings, system.name)
        try:
            hubspot.verify(request, secrets, version=version, now=app.now())
        except RequestRefused as error:
            refused = error
        else:
            found.append(system)
    if refused is not None and not found:
        raise refused
    return found


def _hubspot_secrets(settings: Settings, system: str) -> list[str]:
    """The secrets of a system that takes events; none if its settings are not complete."""
    known = settings.system(system)
    if not known.webhook_secret or not known.webhook_account:
        return []
    return [secret for secret in (known.webhook_secret, known.webhook_secret_old) if secret]


def _signature_version(settings: Settings, system: str) -> hubspot.Version:
    version = settings.system(system).webhook_signature
    if version not in get_args(hubspot.Version):
        raise ConfigError(
            f"{system.upper()}_WEBHOOK_SIGNATURE is no version of HubSpot's signatures", fix="Set it to v3, v2 or v1"
        )
    return cast("hubspot.Version", version)


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
