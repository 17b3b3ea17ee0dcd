"""HubSpot's events: HubSpot's own signed examples, what is refused, and what events mean."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import RequestRefused
from shared.web.webhooks import hubspot
from shared.web.webhooks.hubspot import Request, called, read, verify

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URL = "https://www.example.com/webhook_uri"
STAMP = 1693657560000
NOW = dt.datetime.fromtimestamp(STAMP / 1000, dt.UTC)
KNOWN_V3 = "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="
KNOWN_V2 = "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"
KNOWN_V1 = "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"
QUOTED = b"{'example_field':'example_value'}"
CREATION = (
    b'[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,'
    b'"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM",'
    b'"changeFlag":"NEW","appId":54321}]'
)


def v3(*, url=URL, body=QUOTED, signature=KNOWN_V3, stamp=str(STAMP), method="POST"):
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": stamp}
    return Request(method, url, {name: value for name, value in headers.items() if value is not None}, body)


def old(version, method, body, signature, named=None):
    headers = {"x-hubspot-signature": signature, "x-hubspot-signature-version": named or version}
    return Request(method, URL, headers, body)


def signed(url, body=b"[]"):
    text = f"POST{url}".encode() + body + str(STAMP).encode()
    return base64.b64encode(hmac.new(SECRET.encode(), text, hashlib.sha256).digest()).decode()


def refusal(call, *given, **more):
    with pytest.raises(RequestRefused) as refused:
        call(*given, **more)
    return refused.value.status, refused.value.reason


def event(**fields):
    return {**json.loads(CREATION)[0], **fields}


def events(*found):
    return read(json.dumps(found).encode())


# -- signatures


@pytest.mark.parametrize(
    ("version", "request_"),
    [
        ("v3", v3()),
        ("v2", old("v2", "GET", b"", KNOWN_V2)),
        ("v1", old("v1", "POST", CREATION, KNOWN_V1)),
    ],
)
def test_hubspots_own_examples(version, request_):
    verify(request_, [SECRET], version=version, now=NOW)
    verify(request_, ["new", SECRET], version=version, now=NOW)
    assert 401 == refusal(verify, request_, ["new"], version=version, now=NOW)[0]
    assert 401 == refusal(verify, request_, [], version=version, now=NOW)[0]
    assert 401 == refusal(verify, request_, [""], version=version, now=NOW)[0]
    changed = request_._replace(body=request_.body + b" ")
    assert 401 == refusal(verify, changed, [SECRET], version=version, now=NOW)[0]


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_a_signature_of_another_version_is_refused(version):
    known = {"v1": old("v1", "POST", CREATION, KNOWN_V1), "v2": old("v2", "GET", b"", KNOWN_V2), "v3": v3()}
    for other in known.keys() - {version}:
        assert 401 == refusal(verify, known[other], [SECRET], version=version, now=NOW)[0]


def test_a_signature_that_is_named_another_version_is_refused():
    wrong = old("v1", "POST", CREATION, KNOWN_V1, named="v2")
    assert "is not v1" in refusal(verify, wrong, [SECRET], version="v1", now=NOW)[1]


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_five_minutes_either_way_are_within_the_window(seconds):
    verify(v3(), [SECRET], version="v3", now=NOW + dt.timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-300.001, 300.001, 86_400, -86_400])
def test_more_than_five_minutes_either_way_are_refused(seconds):
    late = NOW + dt.timedelta(seconds=seconds)
    assert "300 seconds" in refusal(verify, v3(), [SECRET], version="v3", now=late)[1]


@pytest.mark.parametrize(
    "request_",
    [
        v3(signature=None),
        v3(signature=""),
        v3(signature="é" * 44),
        v3(signature="\udc80"),
        v3(signature=KNOWN_V3.lower()),
        v3(signature=KNOWN_V3 + " "),
        v3(stamp=None),
        v3(stamp=""),
        v3(stamp="now"),
        v3(stamp=f"-{STAMP}"),
        v3(stamp=f"{STAMP}.0"),
        v3(stamp="9" * 400),
        v3(stamp="١٦٩٣٦٥٧٥٦٠٠٠٠"),
        v3(stamp=str(STAMP + 1)),
        v3(method="PUT"),
        v3(url=URL.replace("https", "http")),
        v3(url=URL + "?a=b"),
        v3(url=URL + "?\udc80"),
    ],
)
def test_what_hubspot_did_not_sign_is_refused(request_):
    assert 401 == refusal(verify, request_, [SECRET], version="v3", now=NOW)[0]


def test_the_escapes_that_hubspot_decodes_are_decoded_once():
    escaped = f"{URL}?to=%3A%2F%3F%40%21%24%27%28%29%2A%2C%3B%3a&kept=%20%26%253A%25"
    signature = signed(f"{URL}?to=:/?@!$'()*,;:&kept=%20%26%253A%25")
    verify(v3(url=escaped, body=b"[]", signature=signature), [SECRET], version="v3", now=NOW)


@pytest.mark.parametrize(
    ("url", "base", "right"),
    [
        ("http://10.0.0.4/api/webhooks/hubspot", None, "http://10.0.0.4/api/webhooks/hubspot"),
        ("http://10.0.0.4/api/webhooks/hubspot", "https://a.example/", "https://a.example/api/webhooks/hubspot"),
        ("http://a/api/w?code=%3D&b", "https://a.example/crm", "https://a.example/crm/api/w?code=%3D&b"),
    ],
)
def test_what_hubspot_called_behind_a_proxy(url, base, right):
    assert right == called(url, base)


# -- bodies


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"null", b"[]", b"[1]", b"[null]", b"[[]]", b"\xff", b"\xef\xbb\xbf[]", b"[" * 100_000,
        b"[NaN]", b"[" + b"9" * 5000 + b"]", b"[{}]",
        json.dumps([json.loads(CREATION)[0]] * 101).encode(),
    ],
)  # fmt: skip
def test_bodies_that_are_no_events_are_refused(body):
    assert 400 == refusal(read, body)[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"subscriptionType": None}, {"subscriptionType": 5},
        {"objectId": None}, {"objectId": -1}, {"objectId": True}, {"objectId": 1.5}, {"objectId": "x"},
        {"objectId": 1 << 63}, {"portalId": None}, {"occurredAt": None},
        {"subscriptionType": "contact.merge"}, {"subscriptionType": "contact.merge", "mergedObjectIds": [1]},
        {"subscriptionType": "contact.merge", "primaryObjectId": 1, "mergedObjectIds": ["x"]},
        {"subscriptionType": "contact.associationChange", "fromObjectId": 1},
        {"subscriptionType": "object.creation"}, {"objectTypeId": 1}, {"objectTypeId": "../owners"},
    ],
)  # fmt: skip
def test_events_that_cannot_be_understood_are_refused_without_their_values(fields):
    status, reason = refusal(events, event(), event(**fields, propertyValue="jane@example.com"))
    assert (400, True) == (status, reason.startswith("event 1: "))
    assert "jane" not in reason


@pytest.mark.parametrize("kind", ["contact", "a/b.c", "contact.propertyChange.v2", "", "x" * 1_000])
def test_a_type_of_a_form_to_come_costs_no_other_event(kind):
    found = events(event(eventId=1), event(eventId=2, subscriptionType=kind))
    assert ["none", ()] == [found[1].action, found[1].ids]
    assert "none" != found[0].action


def test_a_body_that_is_too_large_is_refused_before_it_is_hashed_or_parsed():
    large = b" " * (hubspot.MOST_BYTES + 1)
    assert 413 == refusal(read, large)[0]
    assert 413 == refusal(verify, v3(body=large), [SECRET], version="v3", now=NOW)[0]


def test_a_hundred_events_are_read():
    assert 100 == len(events(*(event(eventId=number) for number in range(100))))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5,
).map(lambda found: json.dumps([event(objectId=found, subscriptionType="deal.deletion")]).encode()))  # fmt: skip
def test_any_body_is_read_or_refused(body):
    try:
        found = read(body)
    except RequestRefused as error:
        status = error.status
    else:
        assert all(isinstance(id, int) for one in found for id in one.ids)
        status = 400
    assert 400 == status


# -- what events mean


@pytest.mark.parametrize(
    ("fields", "meaning"),
    [
        ({}, ("0-1", "read", (123,))),
        ({"subscriptionType": "company.propertyChange"}, ("0-2", "read", (123,))),
        ({"subscriptionType": "deal.restore", "objectId": "123"}, ("0-3", "read", (123,))),
        ({"subscriptionType": "object.deletion", "objectTypeId": "0-421"}, ("0-421", "delete", (123,))),
        ({"subscriptionType": "object.creation", "objectTypeId": "2-77"}, ("2-77", "read", (123,))),
        ({"subscriptionType": "contact.privacyDeletion"}, ("0-1", "erase", (123,))),
        (
            {"subscriptionType": "contact.merge", "primaryObjectId": 5, "mergedObjectIds": [5, 6]},
            ("0-1", "merge", (5, 6)),
        ),
        (
            {"subscriptionType": "contact.merge", "primaryObjectId": 5, "mergedObjectIds": [6], "newObjectId": 7},
            ("0-1", "merge", (7, 5, 6)),
        ),
        (
            {"subscriptionType": "contact.associationChange", "fromObjectId": 8, "toObjectId": 9},
            ("0-1", "associate", (8, 9)),
        ),
        ({"subscriptionType": "ticket.creation"}, ("0-5", "read", (123,))),
        ({"subscriptionType": "contact.teleported", "objectId": None}, ("0-1", "none", ())),
        ({"subscriptionType": "object.teleported"}, ("object", "none", ())),
    ],
)  # fmt: skip
def test_what_an_event_means(fields, meaning):
    [found] = events(event(**fields))
    assert meaning == (found.object_type, found.action, found.ids)


def test_another_attempt_is_the_same_event():
    [first] = events(event(), event(attemptNumber=1), event(attemptNumber=10, changeFlag="other"))
    assert [first] == events(event(attemptNumber=3))


@pytest.mark.parametrize(
    "fields",
    [
        {"portalId": 2}, {"subscriptionId": 2}, {"eventId": 2}, {"objectId": 2}, {"occurredAt": 2},
        {"propertyName": "email"}, {"subscriptionType": "contact.deletion"}, {"objectTypeId": "0-2"},
    ],
)  # fmt: skip
def test_an_event_id_alone_does_not_make_events_the_same(fields):
    assert 2 == len(events(event(), event(**fields)))
