"""Ways to sign in: what is sent, when a token is fetched again, and where a replaced refresh token is kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import stamina

from shared.documents.local import LocalDocuments
from shared.errors import ConfigError, DataError
from shared.rest.auth import AccessToken, ApiKeyAuth, BasicAuth, BearerAuth, NoAuth, SignedAuth, TokenAuth
from shared.rest.client import Call, Client
from shared.rest.clock import Clock
from shared.rest.limits import Limiter
from shared.rest.tokens import Login, RefreshGrant
from tests.advice import advised
from tests.exports import START
from tests.servers.http import Reply, as_json, serving


@pytest.fixture(autouse=True)
def without_waits():
    stamina.set_testing(True, attempts=3)
    yield
    stamina.set_testing(False)


def signed(auth):
    headers, parameters = {}, {}
    auth.sign(headers, parameters)
    return headers, parameters


@pytest.mark.parametrize(
    ("auth", "headers", "parameters"),
    [
        (NoAuth(), {}, {}),
        (BearerAuth("hush"), {"Authorization": "Bearer hush"}, {}),
        (BasicAuth("API", "hush"), {"Authorization": "Basic QVBJOmh1c2g="}, {}),
        (ApiKeyAuth("hush"), {"X-Api-Key": "hush"}, {}),
        (ApiKeyAuth("hush", header="Authorization", prefix="Token "), {"Authorization": "Token hush"}, {}),
        (ApiKeyAuth("hush", parameter="key"), {}, {"key": "hush"}),
    ],
)
def test_what_is_sent(auth, headers, parameters):
    """No object shows its secret."""
    assert (headers, parameters) == signed(auth)
    assert "hush" not in repr(auth)


def test_marketsharp_signs_company_key_and_time():
    """By the secret as bytes; nothing stands before it."""
    secret = base64.b64encode(b"very secret").decode()
    auth = SignedAuth("4711", "the-key", secret, Clock(now=lambda: START))

    company, key, seconds, signature = signed(auth)[0]["Authorization"].split(":")

    expected = hmac.new(b"very secret", b"4711the-key1771934400", hashlib.sha256).digest()
    assert ("4711", "the-key", "1771934400") == (company, key, seconds)
    assert base64.b64encode(expected).decode() == signature


class Issuer:
    """Gives tokens, and an API that takes the latest one."""

    def __init__(self):
        self.calls, self.refresh, self.issued = [], "first", 0
        self.rotates = True
        self.fault = None

    def __call__(self, request):
        self.calls.append(request)
        if self.fault:
            return self.fault
        if request.path == "/login":
            return self.login(request)
        if request.path == "/token":
            return self.token(request)
        valid = request.headers.get("Authorization") == f"Bearer {self.access}"
        return as_json({"ok": True}) if valid else as_json({"message": "expired"}, 401)

    @property
    def access(self):
        return f"access-{self.issued}"

    def login(self, request):
        if request.json != {"username": "me", "password": "hush"}:
            return as_json({"detail": "No active account found for hush"}, 401)
        self.issued += 1
        return as_json({"access": self.access})

    def token(self, request):
        expected = {
            "grant_type": "refresh_token",
            "client_id": "id",
            "client_secret": "shh",
            "refresh_token": self.refresh,
        }
        if request.form != expected or request.query:
            return as_json({"error": "invalid_grant", "error_description": f"bad {request.form['refresh_token']}"}, 400)
        self.issued += 1
        if self.rotates:
            self.refresh = f"refresh-{self.issued}"
        return as_json({"access_token": self.access, "refresh_token": self.refresh, "expires_in": 1800})

    def paths(self):
        return [call.path for call in self.calls]


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def url(issuer):
    with serving(issuer) as found:
        yield found


def client(url, auth=None):
    return Client(base=url, setting="X_BASE_URL", limiter=Limiter([]), auth=auth or NoAuth())


def test_a_link_that_a_proxy_made_http_of_is_followed_with_https():
    """The rest of it stays as it is, and other hosts and ports are refused."""
    found = client("https://api.test/svc")

    assert "https://api.test/svc/S?$skiptoken=a%20b" == found.url("http://api.test/svc/S?$skiptoken=a%20b")
    for other in ("http://evil.test/svc", "http://api.test:8080/svc", "http://api.test@evil.test/svc"):
        with pytest.raises(DataError, match="another host"):
            found.url(other)


def login(url, **instead):
    words = {
        "client": client(url), "path": "/login", "fields": {"username": "me", "password": "hush"}, "token_at": "access",
        "settings": "X_USERNAME and X_PASSWORD",
    }  # fmt: skip
    return Login(**{**words, **instead})


def refreshing(url, tmp_path, **instead):
    words = {
        "client": client(url), "path": "/token", "client_id": "id", "client_secret": "shh", "refresh_token": "first",
        "store": LocalDocuments(tmp_path), "name": "tokens/x", "setting": "X_REFRESH_TOKEN",
    }  # fmt: skip
    return RefreshGrant(**{**words, **instead})


def test_a_token_that_ends_in_mid_run_is_fetched_again_once(issuer, url):
    """The call is made again with it. A second refusal is one."""
    api = client(url, TokenAuth(login(url)))
    assert {"ok": True} == api.json(Call(path="/data"))

    issuer.issued += 1
    assert {"ok": True} == api.json(Call(path="/data"))
    assert ["/login", "/data", "/data", "/login", "/data"] == issuer.paths()

    issuer.fault = as_json({}, 401)
    with pytest.raises(ConfigError, match="refuses"):
        api.json(Call(path="/data"))


def test_a_token_is_renewed_before_it_ends(issuer, url):
    time = [0.0]
    auth = TokenAuth(lambda: AccessToken(f"t{time[0]:g}", time[0] + 100), Clock(timer=lambda: time[0]))

    tokens = []
    for time[0] in (0.0, 39.0, 41.0):
        tokens.append(signed(auth)[0]["Authorization"])
    assert ["Bearer t0", "Bearer t0", "Bearer t41"] == tokens


def test_a_jwt_says_when_it_ends(url):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": START.timestamp() + 300}).encode()).decode().rstrip("=")
    with serving(lambda _: as_json({"access": f"e30.{claims}.x"})) as other:
        api = client(other)
        api.clock = Clock(timer=lambda: 7.0, now=lambda: START)
        assert 307.0 == login(other, client=api)().expires


def test_one_refresh_at_a_time(issuer, url, tmp_path):
    """Eight calls find that their token has ended; the token endpoint is called once."""
    auth = TokenAuth(refreshing(url, tmp_path))
    api = client(url, auth)
    api.json(Call(path="/data"))
    issuer.issued += 1
    barrier = threading.Barrier(8)

    def call(_):
        barrier.wait(30)
        return api.json(Call(path="/data"))

    with ThreadPoolExecutor(8) as pool:
        assert [{"ok": True}] * 8 == list(pool.map(call, range(8)))
    assert 2 == issuer.paths().count("/token")


def test_a_replaced_refresh_token_is_kept_for_the_next_start(issuer, url, tmp_path):
    """Until an operator sets another one."""
    assert "access-1" == refreshing(url, tmp_path)().token
    assert "access-2" == refreshing(url, tmp_path)().token

    issuer.refresh = "another"
    assert "access-3" == refreshing(url, tmp_path, refresh_token="another")().token


def test_what_another_process_replaced_meanwhile_is_used(issuer, url, tmp_path):
    """The refusal of the old one is then no failure."""
    issuer.refresh = "second"
    grant = refreshing(url, tmp_path)
    kept = json.dumps({"instead_of": hashlib.sha256(b"first").hexdigest(), "refresh_token": "second"}).encode()
    looks = [None, kept, kept]

    class Late(LocalDocuments):
        """Has nothing yet at the first look."""

        def get(self, name):
            return looks.pop(0)

    assert "access-1" == replace(grant, store=Late(tmp_path))().token
    assert ["/token", "/token"] == issuer.paths()


def test_wrong_credentials_are_corrected(issuer, url, tmp_path):
    """The error names the settings, and shows none of them."""
    with advised("Correct {}, or sign in anew") as advice:
        login(url, fields={"username": "me", "password": "hush-wrong"})()
    assert ("X_USERNAME and X_PASSWORD",) == advice.values
    assert login(url)().token

    with advised("Correct {}, or sign in anew") as advice:
        refreshing(url, tmp_path, refresh_token="old-token")()
    assert "invalid_grant: bad ***" in advice.error.problem
    assert refreshing(url, tmp_path)().token


def test_a_token_is_where_the_catalog_says(url, tmp_path):
    with advised("Correct token_at in the catalog"):
        login(url, token_at="token")()
    assert login(url)().token

    with serving(lambda _: as_json({"hello": 1})) as wrong, advised("Correct token_url in the catalog"):
        refreshing(wrong, tmp_path)()
    assert refreshing(url, tmp_path)().token


def test_an_endpoint_that_is_busy_is_called_again(url, tmp_path):
    replies = [Reply(503), as_json({"access_token": "a"})]
    with serving(lambda _: replies.pop(0)) as busy:
        assert "a" == refreshing(busy, tmp_path)().token


@pytest.mark.parametrize("found", [[1], "x", {"access": 7}])
def test_an_answer_without_a_token_is_refused(found):
    with serving(lambda _: as_json(found)) as other, pytest.raises(DataError, match="no token"):
        login(other)()
