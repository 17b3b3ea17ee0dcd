"""CoolR's notifications: which are genuine, what they say, and a table of those that are not taken."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
import tempfile

from pathlib import Path

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.documents import open_documents
from shared.errors import RequestRefused
from shared.jobs.notifications import Link, Notification, Notifications
from shared.settings import Settings
from shared.web.webhooks import coolr
from tests.suites.store_suite import everything_said
from tests.web.hostile_webhooks import CLIENT, HEADER, HOST, HOSTILE, MAX_AGE, NOW, SAS, SECRET, good, link, signature


def read(body, *, hosts=(HOST,), client=CLIENT, now=NOW, max_age=MAX_AGE, ahead=86_400):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return coolr.read(
        content, now=now, max_age_seconds=max_age, ahead_seconds=ahead, hosts=hosts, client=client
    )  # fmt: skip


def outcome(call, *given, **more):
    """What a call gives, or why it is refused."""
    try:
        return call(*given, **more)
    except RequestRefused as error:
        return error


def refused(body, **more):
    error = outcome(read, body, **more)
    assert isinstance(error, RequestRefused)
    return error.status, error.reason


def received(request):
    """What a host does with a request."""
    coolr.verify(request.body, request.headers.get(HEADER), [SECRET])
    return read(request.body)


def one_file(url, name="location.parquet"):
    return {**good(), "files": [{"fileName": name, "downloadUrl": url}]}


# -- what is not taken


@pytest.mark.parametrize("request_", HOSTILE, ids=lambda one: one.id)
def test_hostile_request_is_refused(request_):
    """With its status, in one short line that holds nothing of what was sent."""
    with pytest.raises(RequestRefused) as caught:
        received(request_)

    assert request_.status == caught.value.status
    assert "\n" not in caught.value.reason
    assert len(caught.value.reason) < 250
    said = everything_said(caught.value)
    assert "canary" not in said
    assert SECRET not in said


def test_hostile_requests_are_many_and_each_has_a_name():
    """The table is not cut down by accident: of each kind of trouble there is some."""
    names = [request.id for request in HOSTILE]

    assert len(names) == len(set(names)) > 250
    assert {400, 401, 413} == {request.status for request in HOSTILE}
    for kind in ("signature", "body", "duplicate", "clientName", "time", "files", "name", "link", "replayed"):
        assert any(name.startswith(kind) for name in names)


def test_what_hostile_requests_are_made_of_is_taken():
    """So each is refused for what it is named after, and for nothing else."""
    body = json.dumps(good()).encode()

    coolr.verify(body, signature(body, SECRET), [SECRET])
    notice = read(body)

    assert ("asset.parquet", "location.parquet") == tuple(link.name for link in notice.links)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"clientName": 1}, "clientName is not a text"),
        ({"clientName": " "}, "clientName begins or ends with a blank"),
        ({"clientName": "Fabrikam"}, "clientName is not the client whose exports this app loads"),
        ({"exportType": "full"}, "exportType is not Full or Delta"),
        ({"exportDateTime": "soon"}, "exportDateTime is not an ISO 8601 time"),
        ({"exportDateTime": "20260101"}, "exportDateTime is more than 604800 seconds ago"),
        ({"exportDateTime": "20260301"}, "exportDateTime is in the future"),
        ({"files": []}, "files is not a list of 1 to 10000 objects"),
        ({"files": [1]}, "files[0] is not an object"),
        ({"files": [*good()["files"], {}]}, "files[2].fileName is missing"),
        ({"files": [*good()["files"], good()["files"][0]]}, "files[2].fileName is the same as that of files[0]"),
        ({"files": [{"fileName": "a.parquet"}]}, "files[0].downloadUrl is missing"),
        (
            {"files": [{"fileName": "a.parquet", "downloadUrl": "https://evil.test/a?sig=canary"}]},
            "files[0].downloadUrl points to evil.test, which is not in COOLR_WEBHOOK_HOSTS",
        ),
    ],
)
def test_reason_names_the_field(change, field):
    """So that whoever sends it knows what to mend."""
    status, reason = refused({**good(), **change})

    assert 400 == status
    assert reason.startswith(field)


def test_no_host_is_allowed_unless_listed():
    """An app that is not set up yet takes nothing."""
    assert 400 == refused(good(), hosts=[])[0]
    assert 400 == refused(good(), hosts=["", " "])[0]


# -- signatures


def test_signature_is_the_one_that_others_compute():
    """RFC 4231, test case 2."""
    body, right = b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"

    assert coolr.verify(body, right, ["Jefe"]) is None


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on the path")
def test_signature_is_the_one_that_openssl_computes():
    """Over the bytes as they are."""
    body = json.dumps(good(), indent=1, ensure_ascii=False).encode() + b"\r\n"
    told = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", SECRET, "-hex"], input=body, capture_output=True, check=True
    ).stdout

    assert coolr.verify(body, told.decode().split()[-1], [SECRET]) is None


def test_both_secrets_are_accepted_while_one_is_replaced():
    """In whatever order they are given."""
    body = b"{}"

    for secrets in (["new", "old"], ["old", "new"]):
        assert coolr.verify(body, signature(body, "old"), secrets) is None
        assert coolr.verify(body, signature(body, "new"), secrets) is None


@pytest.mark.parametrize("secrets", [[], [""], ["", "another"]])
def test_secret_that_is_not_set_signs_nothing(secrets):
    """Anybody could sign with nothing."""
    with pytest.raises(RequestRefused) as caught:
        coolr.verify(b"{}", signature(b"{}", ""), secrets)
    assert 401 == caught.value.status


@pytest.mark.parametrize("more", ["\n", " ", "\0", "\xe9"])
def test_signature_with_something_after_it_is_refused(more):
    """However little it is."""
    with pytest.raises(RequestRefused):
        coolr.verify(b"{}", signature(b"{}", SECRET) + more, [SECRET])


def test_signature_in_other_digits_is_refused():
    """Before it gets to a comparison that would fail over them."""
    with pytest.raises(RequestRefused):
        coolr.verify(b"{}", "\uff11" * 64, [SECRET])


@settings(deadline=None)
@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.data())
def test_right_signatures_are_accepted_and_no_others(body, secret, data):
    """By any secret, of any bytes."""
    right = signature(body, secret)
    other = data.draw(
        st.one_of(
            st.just(right), st.text(), st.text("0123456789abcdef", min_size=64, max_size=64),
            st.integers(0, 63).map(lambda at: right[:at] + ("0" if right[at] != "0" else "1") + right[at + 1 :]),
            st.binary().map(lambda more: signature(body + more, secret)),
        )
    )  # fmt: skip

    error = outcome(coolr.verify, body, other, ["another", secret])

    assert (None if other == right else 401) == getattr(error, "status", None)


# -- what is taken


def test_notice_says_what_the_notification_means():
    """In our words, the files in the order of their names."""
    told = good() | {"exportType": "Delta", "exportDateTime": "2026-02-24T12:00:00+01:00", "more": {"ignored": [1.5]}}

    notice = read(told)

    assert ("Contoso", "delta", "2026-02-24T11:00:00.000000") == (notice.client, notice.kind, notice.exported_at)
    assert [link(HOST, "asset.parquet"), link(HOST, "location.parquet")] == [one.url for one in notice.links]


def test_any_client_is_taken_where_none_is_set():
    """Whose it is, is for the feed to say then."""
    assert "Fabrikam Köln" == read({**good(), "clientName": "Fabrikam Köln"}, client=None).client


@pytest.mark.parametrize("character", ["\0", "\t", "\x7f", "\x85", "\xa0", "\u200b", "\u202e", "\ud800"])
def test_client_that_cannot_be_printed_is_refused(character):
    """It is told to people, in logs and alerts."""
    told = {**good(), "clientName": f"Con{character}toso"}

    assert (400, "clientName has characters that cannot be printed") == refused(told, client=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-24T12:00:00Z", "2026-02-24T12:00:00.000000"),
        ("2026-02-24T12:00:00", "2026-02-24T12:00:00.000000"),
        ("2026-02-24 12:00:00.5", "2026-02-24T12:00:00.500000"),
        ("2026-02-24T12:00:00.1234567Z", "2026-02-24T12:00:00.123456"),
        ("2026-02-24T12:00+05:30", "2026-02-24T06:30:00.000000"),
        ("2026-02-24T01:00:00-0800", "2026-02-24T09:00:00.000000"),
        ("2026-02-24", "2026-02-24T00:00:00.000000"),
        ("20260224120000", "2026-02-24T12:00:00.000000"),
        ("20260224", "2026-02-24T00:00:00.000000"),
    ],
)
def test_time_of_the_export_is_understood(text, expected):
    """In ISO 8601, or as folders have it; in UTC unless it says otherwise."""
    assert expected == read({**good(), "exportDateTime": text}).exported_at


@pytest.mark.parametrize(("hours", "taken"), [(-24, True), (-25, False), (23, True), (25, False)])
def test_age_of_the_export_has_limits(hours, taken):
    """As old as is set, and no more than a day ahead of our clock."""
    told = {**good(), "exportDateTime": (NOW + dt.timedelta(hours=hours)).isoformat()}

    assert taken == isinstance(outcome(read, told, max_age=86_400), Notification)


@pytest.mark.parametrize(
    "name",
    [
        "a.parquet",
        "Location.PARQUET",
        "7f3a2b10-0000-4000-8000-0123456789ab.parquet",
        "order_item.2026.parquet",
        "constant.parquet",
        "location.snappy.parquet",
        "x" * 120 + ".parquet",
    ],
)
def test_plain_names_are_taken(name):
    """Whatever comes before the ending, as long as it could be nothing but a name."""
    assert name == read(one_file(link(HOST, "a.parquet"), name)).links[0].name


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        (f"https://{HOST}/c/a.parquet", [HOST]),
        (f"https://{HOST}/c/a.parquet?{SAS}", [HOST.upper(), "other.test"]),
        (f"https://{HOST.upper()}/c/a.parquet", [HOST]),
        (f"https://{HOST}:443/c/a.parquet", [HOST]),
        (f"https://{HOST}/c/a.parquet", [f" {HOST}:443 "]),
        (f"https://{HOST}:8443/c/a.parquet", [f"{HOST}:8443"]),
        (f"https://{HOST}/c/a%20b@c(1).parquet?a='x'&b=/?", [HOST]),
        (f"https://{HOST}/c/%C3%A9.parquet", [HOST]),
        ("https://10.1.2.3/c/a.parquet", ["10.1.2.3"]),
        ("https://[fd00::1]:8443/c/a.parquet", ["[fd00::1]:8443"]),
        ("http://127.0.0.1:10000/devstoreaccount1/c/a.parquet", ["127.0.0.1:10000"]),
        ("http://localhost:10000/devstoreaccount1/c/a.parquet", ["localhost:10000"]),
        ("http://[::1]:10000/devstoreaccount1/c/a.parquet", ["[::1]:10000"]),
    ],
)
def test_links_to_listed_hosts_are_taken_as_they_are(url, hosts):
    """With another port only if that is listed; unencrypted to this machine alone."""
    assert url == read(one_file(url), hosts=hosts).links[0].url


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        (f"https://{HOST}/c/a.parquet", [f"{HOST}:8443"]),
        (f"https://{HOST}/c/a.parquet", ["blob.core.windows.net", "*.blob.core.windows.net", "*", f"https://{HOST}"]),
        (f"http://{HOST}/c/a.parquet", [HOST, f"{HOST}:80"]),
        (f"http://{HOST}:8080/c/a.parquet", [f"{HOST}:8080"]),
        ("http://10.1.2.3/c/a.parquet", ["10.1.2.3"]),
        ("http://127.0.0.1/c/a.parquet", ["127.0.0.1:10000"]),
        ("http://127.0.0.1:443/c/a.parquet", ["127.0.0.1"]),
        ("http://127.0.0.1.evil.test/c/a.parquet", ["127.0.0.1.evil.test"]),
    ],
)
def test_host_is_listed_exactly_or_not_at_all(url, hosts):
    """No patterns, no other ports, and no plain http that leaves this machine."""
    assert 400 == refused(one_file(url), hosts=hosts)[0]


def test_notice_tells_when_the_last_link_ends():
    """In UTC; those that do not say do not count."""
    ends = ["2026-03-03", "2026-03-04T01:00:00%2B01:00", "0001-01-01T00:00:00%2B23:59", "soon"]
    files = [
        {"fileName": f"{number}.parquet", "downloadUrl": f"https://{HOST}/c/{number}?se={end}&sig=x"}
        for number, end in enumerate(ends)
    ]

    notice = read({**good(), "files": files})

    assert dt.datetime(2026, 3, 4, tzinfo=dt.UTC) == notice.expires
    assert read(one_file(f"https://{HOST}/c/a.parquet")).expires is None


def test_notice_shows_no_signature():
    """However it gets into a log."""
    notice = read(good())

    assert "canary" in notice.links[0].url
    assert "canary" not in f"{notice} {notice!r} {notice.links}"


# -- identity


def test_replayed_notification_is_the_same_notice():
    """Sent again with its files in another order, its links signed anew and its time written otherwise."""
    told = good() | {"exportDateTime": "2026-02-24T12:00:00Z"}
    files = [{**file, "downloadUrl": file["downloadUrl"].replace("canary", "other")} for file in told["files"][::-1]]

    assert read(told).id == read({**told, "files": files, "exportDateTime": "20260224120000"}).id


@pytest.mark.parametrize(
    "change",
    [
        {"clientName": "Fabrikam"},
        {"exportType": "Delta"},
        {"exportDateTime": "2026-02-24T12:00:01Z"},
        {"files": good()["files"][:1]},
        {"files": [{**good()["files"][0], "fileName": "other.parquet"}, good()["files"][1]]},
    ],
)
def test_other_notification_is_another_notice(change):
    """By anything that makes it other work."""
    told = good() | {"exportDateTime": "2026-02-24T12:00:00Z"}

    assert read(told, client=None).id != read({**told, **change}, client=None).id


def test_id_is_the_same_on_every_machine():
    """It names what is kept, so it may not change with a version of this code."""
    notice = Notification(
        client="Contoso", kind="full", exported_at="2026-02-24T12:00:00.000000", links=(Link(name="a.parquet", url=""),)
    )

    assert "639c167ffb852e3a5e3126c80b75e18a" == notice.id


_NAMES = st.lists(
    st.from_regex(r"(?!con|prn|aux|nul|com|lpt)[a-z][a-z0-9_-]{0,20}\.parquet", fullmatch=True),
    min_size=1,
    max_size=6,
    unique=True,
)


@settings(deadline=None)
@given(_NAMES, st.randoms(use_true_random=False), st.text("abc%2BD=", max_size=20))
def test_id_depends_on_neither_order_nor_signatures(names, random, sig):
    """Only on whose export it is, its kind and time, and the names of its files."""
    shuffled = random.sample(names, len(names))
    first = {**good(), "files": [{"fileName": n, "downloadUrl": f"https://{HOST}/c/{n}?{SAS}"} for n in names]}
    query = sig.replace("%", "%25")
    second = {**good(), "files": [{"fileName": n, "downloadUrl": f"https://{HOST}/d/{n}?{query}"} for n in shuffled]}

    assert read(first).id == read(second).id


@settings(deadline=None)
@given(_NAMES, st.sampled_from(["Full", "Delta"]), st.datetimes(dt.datetime(2026, 2, 20), dt.datetime(2026, 2, 25)))  # noqa: DTZ001
def test_a_notification_that_is_kept_is_read_back(names, kind, moment):
    """Links and all."""
    files = [{"fileName": name, "downloadUrl": f"https://{HOST}/c/{name}?{SAS}"} for name in names]
    notification = read({**good(), "exportType": kind, "exportDateTime": moment.isoformat(), "files": files})
    with tempfile.TemporaryDirectory() as folder:
        kept = Notifications(open_documents(Settings(state_url=folder)))
        kept.keep(notification)

        assert notification == kept.read(notification.id)


# -- anything at all


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def _nearly_good(draw):
    """A good notification with one value replaced, or some of its bytes."""
    told = good()
    place = draw(st.sampled_from([told, told["files"][0], told["files"][1]]))
    place[draw(st.sampled_from(sorted(place)))] = draw(_JSON)
    body = json.dumps(told).encode()
    at, more = draw(st.integers(0, len(body))), draw(st.binary(max_size=3))
    return draw(st.sampled_from([body, body[:at] + more + body[at:], body[:at] + more + body[at + len(more) :]]))


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(), _JSON.map(lambda told: json.dumps(told).encode()), _nearly_good()))
def test_any_bytes_are_taken_or_refused(body):
    """Nothing else happens, whatever they are."""
    found = outcome(read, body, client=None)

    assert isinstance(found, Notification) or (400 == found.status and found.reason.isprintable())


_TRICKY = st.text(st.sampled_from("htps:/\\@.?#%[]0127evil-_~ \t\u3002\uff0f\u2100") | st.characters(), max_size=30)


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(_TRICKY, _TRICKY.map(lambda more: f"https://{HOST}{more}"), _TRICKY.map(lambda a: f"https://{a}{HOST}/"))
)
def test_link_that_is_taken_leads_to_the_listed_host_for_every_parser(url):
    """Whatever it looks like."""
    import requests

    from urllib3.util import parse_url

    taken = outcome(read, one_file(url))

    for one in taken.links if isinstance(taken, Notification) else ():
        prepared = str(requests.Request("GET", one.url).prepare().url)
        assert [HOST, HOST] == [parse_url(text).host for text in (one.url, prepared)]


# -- its place


def test_webhook_needs_no_heavy_library():
    """A host answers soon after it has started."""
    program = "import json, sys, shared.web.webhooks.coolr; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(
        subprocess.run(
            [sys.executable, "-c", program], cwd=Path(__file__).parents[3], capture_output=True, check=True
        ).stdout
    )

    heavy = {"requests", "azure.core", "azure.storage", "pyarrow", "duckdb", "pydantic", "sqlalchemy"}
    assert set() == heavy & set(loaded)
