"""What Blob and Table Storage mean when they refuse, in words that say what to do. Pure."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from shared import remote
from shared.azure.sas import sas_expiry, sas_field, sas_time
from shared.azure.urls import StorageUrl
from shared.errors import CORRECT_PATH, ENCRYPTED, NEW_LINK, ConfigError, IngestError, TransientError

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError


class Refusal(NamedTuple):
    """An answer without what was asked for."""

    place: StorageUrl
    right: str
    """What was tried: ``read``, ``list``, ``write`` or ``delete``."""
    status: int | None
    """None if there was no answer at all."""
    code: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, error: Any, place: StorageUrl, right: str) -> Refusal:
        response = getattr(error, "response", None)
        headers = {str(k).lower(): str(v) for k, v in dict(getattr(response, "headers", None) or {}).items()}
        code = getattr(error, "error_code", None) or headers.get("x-ms-error-code", "")
        status = getattr(response, "status_code", None)
        # An answer that broke off has a good status, and is none.
        answered = isinstance(status, int) and status >= 300
        return cls(place, right, status if answered else None, str(getattr(code, "value", code)), headers)


def explained(error: Exception, refusal: Refusal, *, identity: Callable[[], str]) -> IngestError:
    """The refusal as our error; *identity* is asked for the name that lacks a role."""
    host = urlsplit(refusal.place.account_url).netloc
    if refusal.status is None:
        return _unanswered(error, host)
    if refusal.status in remote.BUSY:
        after = remote.retry_after(refusal.headers.get("retry-after"), refusal.headers.get("date"))
        return remote.RetryLater(f"{host} is busy ({refusal.status})", after=after)
    if refusal.status in (401, 403, 409):
        return _forbidden(refusal, identity)
    if refusal.code in ("ContainerNotFound", "ContainerBeingDeleted"):
        return ConfigError(
            f"there is no container {refusal.place.container!r} on {host}",
            fix="Correct the container in the URL, or create it",
        )
    if refusal.status == 404:
        return ConfigError(f"{refusal.place.url} does not exist", fix=CORRECT_PATH)
    return _other(refusal)


def _unanswered(error: Exception, host: str) -> IngestError:
    from azure.core.exceptions import ClientAuthenticationError

    if isinstance(error, ClientAuthenticationError):  # no token: nothing has been sent to the host yet
        return ConfigError(f"{host} needs a sign-in, and this process has none", fix=_SIGN_IN)
    return remote.unreachable(error, host)


_SIGN_IN = (
    "Give a URL with a SAS, set STORAGE_CONNECTION_STRING, give the app a managed identity, or sign in with az login"
)


def _forbidden(refusal: Refusal, identity: Callable[[], str]) -> IngestError:
    place = refusal.place
    if refusal.code in _PLAIN:
        problem, fix = _PLAIN[refusal.code]
        return ConfigError(f"{place.url}: {problem}", fix=fix)
    if place.sas:
        return _sas_refused(refusal, place.sas)
    if refusal.code == "AuthorizationFailure":
        return _firewall(place)
    if refusal.code in ("AuthorizationPermissionMismatch", "InsufficientAccountPermissions"):
        return ConfigError(
            f"{place.url} may not be {_PAST[refusal.right]} by {identity()}",
            fix=f"Give {identity()} the role Storage Blob Data {_ROLE[refusal.right]} on {_scope(place)}; "
            "this can take ten minutes to take effect",
        )
    if refusal.code in ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"):
        return ConfigError(
            f"{place.account_url} does not accept our sign-in ({refusal.code})",
            fix="Check the key in STORAGE_CONNECTION_STRING, or that the identity is of the account's own tenant",
        )
    return _other(refusal)


_PAST = {"read": "read", "list": "listed", "write": "written to", "delete": "deleted from"}
_ROLE = {"read": "Reader", "list": "Reader", "write": "Contributor", "delete": "Contributor"}
_PERMISSIONS = {"read": "r", "list": "rl", "write": "racwdl", "delete": "racwdl"}
_PLAIN = {
    "PublicAccessNotPermitted": ("public access is off", "Use a link with a SAS, or sign in"),
    "KeyBasedAuthenticationNotPermitted": (
        "the account accepts no keys and no SAS made with one",
        "Ask for a user delegation SAS, or give the app's identity the role Storage Blob Data Reader",
    ),
    "BlobArchived": ("it is in the archive tier", "Rehydrate it to the hot or cool tier first"),
    "AuthorizationSourceIPMismatch": ("its SAS is for other IP addresses", "Ask for a link for this machine's address"),
    "AuthorizationProtocolMismatch": ("its SAS is for https only", ENCRYPTED),
    "AuthorizationServiceMismatch": ("its SAS is not for blobs (ss)", "Ask for a link whose ss has b"),
    "AuthorizationResourceTypeMismatch": (
        "its SAS is not for containers and blobs (srt)",
        "Ask for a link whose srt has c and o",
    ),
    "AccountIsDisabled": ("the account is disabled", "Ask its owner to enable it"),
}


def _sas_refused(refusal: Refusal, sas: str) -> IngestError:
    """The reasons that the SAS and the answer's Date show come first: codes are the same for many."""
    url, now = refusal.place.url, _date(refusal.headers)
    start, end = sas_time(sas, "st"), sas_expiry(sas)
    if now and end and now >= end:
        return ConfigError(f"{url}: the SAS expired at {utc(end)}", fix=NEW_LINK)
    if now and start and now < start:
        return ConfigError(
            f"{url}: the SAS is not valid before {utc(start)}", fix="Wait, or ask for a link that starts earlier"
        )
    permissions = sas_field(sas, "sp")
    if permissions and refusal.right[0] not in permissions:
        return ConfigError(
            f"{url}: the SAS lacks {refusal.right} permission (sp={permissions})",
            fix=f"Ask for a link with sp={_PERMISSIONS[refusal.right]}",
        )
    if refusal.code == "AuthenticationFailed":
        return ConfigError(
            f"{url}: the signature of the SAS does not match",
            fix="Copy the complete link again, in quotes; if the account key was rotated, ask for a new link",
        )
    if refusal.code == "AuthorizationFailure":
        return _firewall(refusal.place)
    return ConfigError(
        f"{url}: the SAS does not allow to {refusal.right} this ({refusal.code or refusal.status})",
        fix="Ask for a link for exactly this folder; a SAS with sr=b is for one blob, with sr=d for one directory",
    )


def _firewall(place: StorageUrl) -> IngestError:
    return ConfigError(
        f"{place.account_url} refuses this network, or what the link may do here (AuthorizationFailure)",
        fix=f"{_LET_IN}, then check the link",
    )


def _other(refusal: Refusal) -> IngestError:
    host = urlsplit(refusal.place.account_url).netloc
    what = f"{refusal.status} {refusal.code}".strip()
    return ConfigError(f"{host} answers {what} for {refusal.place.url}", fix=_LOOK_UP)


def container_refused(error: AzureError, where: str) -> IngestError:
    """Why the staging container *where* could not be written to or cleaned up; TransientError for what may pass."""
    status = getattr(error, "status_code", None)
    code = getattr(error, "error_code", None)
    if code == "ContainerNotFound":
        return ConfigError(f"there is no {where}", fix="Correct the container in STAGING_URL, or create it")
    if code == "AuthenticationFailed":
        return ConfigError(
            f"{where} refuses the SAS or key of STAGING_URL: it has expired, or is wrong",
            fix="Make a new SAS with the rights to read, write, delete and list, or let the app's identity sign in",
        )
    if status in (401, 403) or (status is None and type(error).__name__ == "ClientAuthenticationError"):
        return ConfigError(
            f"{where} refuses access ({code or type(error).__name__})",
            fix="Give the app's identity the role Storage Blob Data Contributor on it, or make a SAS that has not "
            "expired, to read, write, delete and list, and let this host through the account's firewall",
        )
    reason = str(code or status or type(error).__name__)
    if status is None or status in _RETRYABLE or code in _OVERTAKEN or status >= 500:
        return TransientError(f"{where} cannot be written to or read now ({reason})", fix=remote.LATER)
    return ConfigError(f"{where} refuses ({reason})", fix=_LOOK_UP)


class TableSignIn(NamedTuple):
    """A table, and how this process signs in to it."""

    endpoint: str
    table: str
    by: str
    """``identity``, ``SAS``, or the setting with the key."""


def table_refused(error: Exception, place: TableSignIn, *, identity: Callable[[], str]) -> IngestError:
    """Why Table Storage did not do what was wanted; without what *error* says, which may repeat a SAS."""
    from azure.core.exceptions import ClientAuthenticationError

    status, code = getattr(error, "status_code", None), service_code(error)
    host = urlsplit(place.endpoint).netloc
    if status is None and isinstance(error, ClientAuthenticationError):
        return _no_table_sign_in(place, host)
    if status is None:
        return remote.unreachable(error, host)
    if status in remote.BUSY or status >= 500 or code == "TableBeingDeleted":
        return TransientError(f"{host} is busy ({status} {code})", fix=remote.LATER)
    if status in (401, 403):
        return _table_forbidden(place, code or str(status), identity)
    return ConfigError(
        f"{place.endpoint} does not respond like Table Storage ({status} {code})".replace(" )", ")"),
        fix="Set LEDGER_URL to https://<account>.table.core.windows.net/<table>",
    )


def service_code(error: Exception) -> str:
    """The service's word for what went wrong; empty if it did not say one."""
    found = getattr(error, "error_code", None) or ""
    return str(getattr(found, "value", found))


def _no_table_sign_in(place: TableSignIn, host: str) -> IngestError:
    if place.by != "identity":
        return ConfigError(f"the account key in {place.by} is no key", fix=_TABLE_KEY)
    return ConfigError(
        f"{host} needs a sign-in, and this process has none",
        fix="Give a URL with a SAS or a connection string, give the app a managed identity, or sign in with az login",
    )


def _table_forbidden(place: TableSignIn, code: str, identity: Callable[[], str]) -> ConfigError:
    table = f"table {place.table} of {place.endpoint}"
    if code in ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"):
        fix = _TABLE_SIGN_IN.get(place.by, _TABLE_KEY)
        return ConfigError(f"{place.endpoint} does not accept our sign-in ({code})", fix=fix)
    if code == "KeyBasedAuthenticationNotPermitted":
        fix = _TABLE_ROLE.format("the app")
        return ConfigError(f"{place.endpoint} accepts no keys and no SAS made with one", fix=fix)
    if code == "AuthorizationFailure" and place.by != "SAS":
        cause = "this network" if place.by == "identity" else f"the key in {place.by}, or this network"
        return ConfigError(f"{place.endpoint} refuses {cause} ({code})", fix=_LET_IN)
    if place.by == "identity":
        who = identity()
        return ConfigError(f"{table} may not be used by {who} ({code})", fix=_TABLE_ROLE.format(who))
    return ConfigError(
        f"{table} may not be used with our {'SAS' if place.by == 'SAS' else 'key'} ({code})",
        fix="Ask for a SAS of the account with ss=t, srt=co and sp=raudc that holds for this network",
    )


_TABLE_ROLE = "Give {} the role Storage Table Data Contributor on the account; this can take ten minutes to take effect"
_TABLE_KEY = "Copy the connection string again from the access keys of the storage account"
_TABLE_SIGN_IN = {
    "identity": "Check that the identity is of the account's own tenant",
    "SAS": "Check that the SAS has not expired and is complete, or ask for a new one",
}
_LET_IN = "Ask the account's owner to allow this machine's address or network in its firewall"


_LOOK_UP = "Look it up at https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes"


_RETRYABLE = (408, 409, 429)
_OVERTAKEN = ("InvalidBlockList", "InvalidBlobOrBlock")
"""Another attempt has written the same part meanwhile, which deletes the blocks of this one."""


def utc(moment: dt.datetime) -> str:
    """*moment* for people, in UTC."""
    return f"{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _date(headers: Mapping[str, str]) -> dt.datetime | None:
    try:
        return parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, TypeError):
        return None


def _scope(place: StorageUrl) -> str:
    host, _, path = place.account_url.partition("://")[2].partition("/")
    return f"{path or host.partition('.')[0]}/{place.container}"
