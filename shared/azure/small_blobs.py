"""Write a small blob in one call, without the SDK's pipeline, which takes several times as long as all the rest.

docs/decisions/0047 says what it costs and what would make this module unnecessary.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote

from shared import remote

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import ContainerClient
    from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout

MOST_BYTES = 4 << 20
"""Larger ones are written by the SDK: a slow line may need longer for them than one write may take."""
_CONNECTIONS = 32
"""Kept open: as many as the worker has threads."""
_SCOPE = "https://storage.azure.com/.default"
_EXISTS = ("BlobAlreadyExists", "ConditionNotMet")
_NO_TOKEN = 401
"""Of a token: the SDK follows the challenge in this answer, such as the account's tenant."""


class SmallBlobs:
    """The blobs of a container, for who writes them whole.

    It takes URL and sign-in of an SDK's client, raises what the client's ``upload_blob`` raises (but urllib3's
    HTTPError where there is no answer), and repeats nothing. Several threads may use it.
    """

    def __init__(self, client: ContainerClient) -> None:
        self._client = client
        self._base, _, self._query = client.url.partition("?")

    def write(self, name: str, content: bytes, *, overwrite: bool) -> None:
        """Write *content* as the blob *name*, not percent-encoded; ResourceExistsError if one is there that must not
        be replaced."""
        if len(content) > MOST_BYTES:
            return self._write_by_sdk(name, content, overwrite=overwrite)
        headers = self._signed(quote(name, safe="~/"), content, overwrite=overwrite)
        pool, base = self._connections
        target = f"{base}/{quote(name, safe='~/')}{self._query and '?'}{self._query}"
        response = pool.urlopen(
            "PUT", target, body=content, headers=headers, retries=False, redirect=False, timeout=_timeout(),
            assert_same_host=False,  # of a proxy, the URL has another host
        )  # fmt: skip
        if response.status == _NO_TOKEN and headers.get("Authorization", "").startswith("Bearer"):
            return self._write_by_sdk(name, content, overwrite=overwrite)
        if response.status >= 300:
            raise _error(response, overwrite=overwrite)
        return None

    def _write_by_sdk(self, name: str, content: bytes, *, overwrite: bool) -> None:
        self._client.upload_blob(name, content, overwrite=overwrite, **remote.single_attempt())

    def _signed(self, name: str, content: bytes, *, overwrite: bool) -> Mapping[str, str]:
        from azure.core.pipeline import PipelineContext, PipelineRequest
        from azure.core.pipeline.transport import HttpRequest

        headers = {
            "Content-Length": str(len(content)), "Content-Type": "application/octet-stream",
            "x-ms-blob-type": "BlockBlob", "x-ms-date": formatdate(usegmt=True),
            "x-ms-version": self._client.api_version, **({} if overwrite else {"If-None-Match": "*"}),
        }  # fmt: skip
        request = HttpRequest("PUT", f"{self._base}/{name}", headers)
        if self._sign_in is not None:
            self._sign_in.on_request(PipelineRequest(request, PipelineContext(None)))
        return dict(request.headers)

    @cached_property
    def _sign_in(self) -> Any:
        """The SDK's policy that signs a request with the account's key, or adds a token, which it keeps while it is
        valid; None for a SAS, which is in the query."""
        from azure.core.pipeline.policies import BearerTokenCredentialPolicy

        own: Any = self._client.credential
        return BearerTokenCredentialPolicy(own, _SCOPE) if hasattr(own, "get_token") else own

    @cached_property
    def _connections(self) -> tuple[HTTPConnectionPool, str]:
        """Kept connections, and what the URL of the container is in their requests.

        Proxies and trusted authorities are found by requests, as they are for the SDK.
        """
        import requests

        settings = requests.Session().merge_environment_settings(self._base, {}, None, None, None)
        request = requests.Request("PUT", self._base).prepare()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS)
        pool = adapter.get_connection_with_tls_context(request, settings["verify"], proxies=settings["proxies"])
        adapter.cert_verify(pool, self._base, settings["verify"], None)  # type: ignore[no-untyped-call]
        return cast("HTTPConnectionPool", pool), adapter.request_url(request, settings["proxies"])


def _timeout() -> Timeout:
    from urllib3 import Timeout

    return Timeout(connect=remote.CONNECT_SECONDS, read=remote.READ_SECONDS)


class _Response(NamedTuple):
    """What of a response the SDK's errors keep, by its names."""

    status_code: int
    reason: str | None
    headers: Mapping[str, str]


def _error(response: BaseHTTPResponse, *, overwrite: bool) -> HttpResponseError:
    """What the SDK raises for the same answer; but a conflict of another kind does not mean that the blob exists."""
    from azure.core import exceptions

    code = response.headers.get("x-ms-error-code", "")
    kind = {404: exceptions.ResourceNotFoundError, 401: exceptions.ClientAuthenticationError}.get(response.status)
    if not overwrite and code in _EXISTS:
        kind = exceptions.ResourceExistsError
    kept: Any = _Response(response.status, response.reason, response.headers)
    error = (kind or exceptions.HttpResponseError)(f"the answer is {response.status} {code}")
    error.response, error.status_code, error.reason = kept, response.status, response.reason
    error.error_code = code  # type: ignore[attr-defined]  # where Storage's SDK has it
    return error
