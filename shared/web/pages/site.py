"""The pages by their paths: who may see or do what is checked here, once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from shared.errors import RequestRefused
from shared.jobs.run_log import DocumentedRuns
from shared.pipeline.status import RunLog
from shared.settings import Settings
from shared.text import one_line
from shared.web.pages import actions, uploads, views
from shared.web.pages.forms import Form, read_form
from shared.web.pages.render import FILES, ROOT, Page, file, json_page, page, redirect
from shared.web.pages.sign_in import OPERATOR, READER, FormTokens, Principal, principal_of
from shared.web.responses import error_response

if TYPE_CHECKING:
    from shared.app import App


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for a page."""

    method: str
    path: str
    """Below ``/api/status``."""
    query: Mapping[str, str]
    principal: Principal | None
    body: bytes = b""
    fetched_from: str = ""
    """The header Sec-Fetch-Site: how the page that sent it is related to ours."""

    content_type: str = ""
    wants_json: bool = False
    """Whether the script of a page sent it, and errors are for it to read."""


def request_of(
    settings: Settings, method: str, route: Mapping[str, str], query: Mapping[str, str], headers: Mapping[str, str],
    body: bytes,
) -> Request:  # fmt: skip
    """A request as Azure's host has it, from whom App Service authentication says."""
    return request_by(
        method, route.get("path") or "", query, {name.lower(): value for name, value in headers.items()}, body,
        principal_of(headers, settings),
    )  # fmt: skip


def request_by(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes,
    principal: Principal | None,
) -> Request:  # fmt: skip
    """A request of somebody; the names of *headers* are in lower case."""
    return Request(
        method=method, path=path, query=query, principal=principal, body=body,
        fetched_from=headers.get("sec-fetch-site", ""), content_type=headers.get("content-type", ""),
        wants_json=headers.get("accept", "") == "application/json",
    )  # fmt: skip


class _Route(NamedTuple):
    role: str
    respond: Callable[[views.Visit], Page]
    here: bool = False
    """Whether it may be done where no jobs run."""


_ROUTES: Mapping[tuple[str, str], _Route] = {
    ("GET", ""): _Route(READER, views.show_overview),
    ("GET", "feed"): _Route(READER, views.show_feed),
    ("GET", "run"): _Route(READER, views.show_run),
    ("GET", "jobs"): _Route(READER, views.show_jobs),
    ("GET", "job"): _Route(READER, views.show_job),
    ("GET", "alerts"): _Route(READER, views.show_alerts),
    ("GET", "settings"): _Route(READER, views.show_settings),
    ("GET", "rejects.csv"): _Route(READER, actions.download_rejects),
    ("POST", "feed"): _Route(OPERATOR, actions.act_on_feed),
    ("POST", "job"): _Route(OPERATOR, actions.retry_job),
    ("GET", "upload"): _Route(READER, uploads.show_upload),
    ("POST", "upload"): _Route(OPERATOR, uploads.act_on_upload, here=True),
    ("POST", "rejects"): _Route(OPERATOR, uploads.load_rejects, here=True),
}
ROUTES = tuple((method, path, route.role) for (method, path), route in _ROUTES.items())
"""Every route, with the role that it needs. Beside them are the files that pages load, for everybody."""


def respond(app: App, request: Request, log: RunLog | None = None, *, can_act: bool = True) -> Page:
    """The page, or one that says what is wrong. *log* are the runs to show, by default those of jobs.

    Without *can_act*, where no jobs run, only files can be loaded, which is done at once.
    """
    try:
        return _respond(app, request, log or DocumentedRuns(app.documents, app.now), can_act)
    except Exception as error:  # noqa: BLE001 - every error has a page
        return failed(request, error)


def failed(request: Request, error: Exception) -> Page:
    """The page that says what is wrong."""
    response = error_response(error)
    if request.wants_json:
        return json_page(response.body)._replace(status=response.status)
    return page("message.html", response.status, principal=request.principal, text=response.body["error"])


def _respond(app: App, request: Request, log: RunLog, can_act: bool) -> Page:
    path = request.path.strip("/")
    if request.method == "GET" and path in FILES:
        return file(path)
    route = _ROUTES.get((request.method, path))
    if route is None:
        raise RequestRefused(404, "there is no such page")
    principal = request.principal
    if principal is None:
        return _sign_in(app, request)
    if not principal.may(route.role):
        raise RequestRefused(
            403, f"this needs the role {route.role}, which {one_line(principal.name)[:100]} does not have"
        )
    if route.role == OPERATOR and not (can_act or route.here):
        raise RequestRefused(403, "no jobs run on this machine: use the commands that the page of the feed names")
    tokens = FormTokens(app.documents, app.now())
    form = read_form(request.body, request.content_type) if request.method == "POST" else Form({})
    if request.method == "POST":
        _check_form(request, tokens, principal, form.fields.get("token", ""))
    is_operator = principal.may(OPERATOR)
    return route.respond(views.Visit(
        app=app, log=log, query=request.query, form=form.fields, file=form.file, principal=principal,
        is_operator=is_operator, jobs_run_here=can_act, token=tokens.of(principal) if is_operator else "",
    ))  # fmt: skip


def _check_form(request: Request, tokens: FormTokens, principal: Principal, token: str) -> None:
    if request.fetched_from not in ("", "same-origin", "none") or not tokens.accepts(principal, token):
        raise RequestRefused(403, "the form is not one of this app, or too old: open the page again")


def _sign_in(app: App, request: Request) -> Page:
    if app.settings.status_sign_in == "entra" and request.method == "GET":
        return redirect(f"/.auth/login/aad?post_login_redirect_uri={quote(ROOT)}")
    text = "nobody is signed in; set up the sign-in as docs/status-page.md says, or run `sluice status` on your machine"
    raise RequestRefused(401 if app.settings.status_sign_in == "entra" else 403, text)
