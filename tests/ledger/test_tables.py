"""The ledger in Table Storage, against Azurite: limits, races, lost answers, refusals, and where LEDGER_URL points."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import random
import socket
import threading
import traceback
import uuid

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.data.tables import (
    AccountSasPermissions,
    ResourceTypes,
    TableClient,
    generate_account_sas,
)

from shared.azure import identity, urls
from shared.errors import ConfigError, ConflictError, DataError, IngestError, TransientError
from shared.ledger import open_ledger
from shared.ledger.tables import account, rows
from shared.ledger.tables.table_ledger import TablesLedger
from shared.model import Record, Watermark
from shared.pipeline.folder import LoadOptions
from tests.exports import export_path, load_exports, open_test_app, write_parquet
from tests.servers import free_port
from tests.suites.ledger_suite import FEED, JANUARY, MARCH, LedgerSuite, done, failed

PATIENCE = 60.0
"""Seconds to go on for while others are in the way."""
HASTE = 0.0
"""No second attempt."""
MARK = Watermark("10", "bigint")


@pytest.fixture
def table():
    """A name that nobody has."""
    return f"t{uuid.uuid4().hex}"


@pytest.fixture
def url(azurite, table):
    return f"{azurite.table_url}/{table}"


@pytest.fixture
def ledger(url):
    return open_ledger(url, lock_timeout=PATIENCE)


class TestTablesLedger(LedgerSuite):
    """What every ledger does."""

    @pytest.fixture
    def second(self, url):
        return open_ledger(url, lock_timeout=PATIENCE)


def many(count: int, run: str = "r1") -> list[Record]:
    return [done(f"w{n:05}", run) for n in range(count)]


def held(ledger, records, feed=FEED):
    """Everything the ledger says of *records* and of their feed, in a form that can be compared."""
    mark = ledger.watermark(feed)
    return (mark.value, mark.type), ledger.known(feed, [record.work for record in records])


# -- limits


def test_a_thousand_works_and_the_watermark_go_in_one_commit(ledger):
    """Ten times as many as a transaction takes; each is counted once, the watermark moves once."""
    records = many(1000)
    ledger.commit(FEED, records, MARK)
    before = ledger.watermark(FEED)
    ledger.commit(FEED, records, MARK)

    expected = {record.work: replace(record, times=1) for record in records}
    assert (before, (("10", "bigint"), expected)) == (ledger.watermark(FEED), held(ledger, records))


def test_commit_with_an_old_etag_leaves_nothing_of_a_thousand_works(ledger):
    """Both or neither holds for any number of works."""
    ledger.commit(FEED, [done("first", "r0")], MARK)

    with pytest.raises(ConflictError, match="advanced by another run"):
        ledger.commit(FEED, many(1000), Watermark("20", "bigint"))
    assert (("10", "bigint"), {}) == held(ledger, many(1000))


@pytest.mark.parametrize("count", [98, 99, 100, 101, 198, 199])
def test_every_number_of_works_around_the_limit_is_recorded(ledger, count):
    """A transaction has a hundred rows, and the watermark or the journal is one of them."""
    ledger.commit(FEED, many(count), MARK)

    assert (("10", "bigint"), count) == (held(ledger, many(count))[0], len(held(ledger, many(count))[1]))


@pytest.mark.parametrize("character", ["x", "é", "鍵", "🔑"])
def test_long_names_come_back_whole(ledger, character):
    """Longer than one property may be, in any script; an id that is a character longer is another one."""
    long = character * 40_000
    record = Record(work=long, name=long, run="r1", status="done", times=0, exported_at=JANUARY)
    ledger.commit(FEED, [record], Watermark(long, "text"))

    assert ((long, "text"), {long: replace(record, times=1)}) == held(ledger, [record])
    assert {} == ledger.known(FEED, [long + character])


def test_works_with_long_names_take_several_transactions(ledger):
    """Few enough by number, but more than four megabytes."""
    records = [replace(done(f"w{n}"), name="鍵" * 30_000) for n in range(60)]
    ledger.commit(FEED, records, MARK)

    assert {record.work: replace(record, times=1) for record in records} == held(ledger, records)[1]


@pytest.mark.parametrize(
    "records",
    [
        [done("x" * 600_000)],
        [done(f"{n}{random.Random(n).randbytes(400).hex()}") for n in range(3000)],
    ],
    ids=["one id", "all ids"],
)
def test_what_cannot_be_kept_is_refused_before_anything_is(ledger, records):
    """A megabyte of one name, or of all of them however packed: nobody cuts an id."""
    with pytest.raises(DataError, match="than the ledger can") as caught:
        ledger.commit(FEED, records, MARK)
    assert is_one_line(caught.value)
    assert ((None, None), {}) == held(ledger, records[:1])


def test_works_are_found_in_a_partition_with_many_others(ledger):
    """Some pages are looked through, and what lies beyond them is read one by one."""
    others = many(1500, "r0")
    ledger.commit(FEED, others)
    asked = [record.work for record in others[::10]]

    assert asked == list(ledger.known(FEED, [*asked, "never seen"]))


def test_more_works_than_a_page_are_forgotten(ledger):
    """The service answers a thousand rows at a time; rows not asked for stay as they are."""
    ledger.commit(FEED, many(1050))
    ledger.commit(FEED, [failed("late", exported_at=MARCH)], MARK)

    told = ledger.forget(FEED, JANUARY)

    statuses = {record.status for record in ledger.known(FEED, [record.work for record in many(1050)]).values()}
    assert (1051, {"forgotten"}) == (len(told), statuses)
    assert "failed" == ledger.known(FEED, ["late"])["late"].status


def test_keys_hold_no_character_that_the_service_refuses():
    """And no two feeds share one, however alike their names begin."""
    names = ["a/b", "a\\b", "a#b", "a?b", "a~2Fb", "a\tb", "a\x00b", "a%2Fb", "é", "É", "x" * 2000, "x" * 2001]
    keys = [rows.partition(name) for name in names]

    assert len(names) == len(set(keys))
    assert all(key.isascii() and not set(key) & set("/\\#?%'\t\x00") and len(key) < 512 for key in keys)


# -- races


def together(*acts: Callable[[], None]) -> None:
    """All at once; raises what one of them raises."""
    start = threading.Barrier(len(acts))

    def act(one: Callable[[], None]) -> None:
        start.wait()
        one()

    with ThreadPoolExecutor(len(acts)) as threads:
        list(threads.map(act, acts))


@pytest.mark.parametrize("count", [1, 110])
def test_runs_that_record_the_same_works_at_once_are_all_counted(url, count):
    """Three runs without a watermark: none loses another's count, be it one transaction or a journal."""
    together(*(lambda run=run: opened(url).commit(FEED, many(count, run)) for run in "abc"))

    assert {3} == {record.times for record in opened(url).known(FEED, [r.work for r in many(count)]).values()}


@pytest.mark.parametrize("count", [1, 110])
def test_a_run_that_is_recorded_by_several_hosts_at_once_is_counted_once(url, count):
    """The host thought the first one dead; all of them succeed."""
    together(*(lambda: opened(url).commit(FEED, many(count), MARK) for _ in range(3)))

    assert {1} == {record.times for record in opened(url).known(FEED, [r.work for r in many(count)]).values()}
    assert "10" == opened(url).watermark(FEED).value


def opened(url: str, patience: float = PATIENCE) -> TablesLedger:
    return TablesLedger(url, patience)


def test_commit_that_is_overtaken_after_it_looked_counts_on(url, wire):
    """Another run records the same work between the look and the transaction."""
    wire.before("$batch", lambda: opened(url).commit(FEED, [done(run="other")]))
    opened(wire.url(url)).commit(FEED, [done(run="mine")])

    assert ("mine", 2) == (opened(url).known(FEED, ["w1"])["w1"].run, opened(url).known(FEED, ["w1"])["w1"].times)


def test_commit_whose_watermark_is_moved_after_it_looked_gives_up(url, wire):
    """Another run moves it between the look and the transaction."""
    wire.before("$batch", lambda: opened(url).commit(FEED, [done("w2", "other")], Watermark("7", "bigint")))

    with pytest.raises(ConflictError, match="advanced by another run"):
        opened(wire.url(url)).commit(FEED, [done()], MARK)
    assert (("7", "bigint"), {}) == held(opened(url), [done()])


def test_forgetting_and_recording_at_once_lose_nothing(url, wire):
    """A run records a work again between the look and the mark: it is the new record that is forgotten."""
    opened(url).commit(FEED, [done()])
    wire.before("$batch", lambda: opened(url).commit(FEED, [done(run="r2")]))

    told = opened(wire.url(url)).forget(FEED, JANUARY)

    assert [replace(done(run="r2"), status="forgotten", times=2)] == told


def test_commit_whose_answer_is_lost_is_known_after_another_run_took_the_same_works(url, wire):
    """The repetition finds the other run's record, and counts nothing twice."""
    wire.lose(0, after=True, only="$batch", then=lambda: opened(url).commit(FEED, [done(run="other")]))
    opened(wire.url(url)).commit(FEED, [done(run="mine")])

    assert ("other", 2) == (opened(url).known(FEED, ["w1"])["w1"].run, opened(url).known(FEED, ["w1"])["w1"].times)


# -- lost calls


@pytest.mark.parametrize("after", [False, True], ids=["request lost", "answer lost"])
@pytest.mark.parametrize("count", [2, pytest.param(110, marks=pytest.mark.slow)])
def test_losing_any_request_of_a_commit_changes_nothing(azurite, wire, count, after):
    """Each in turn, table creation included; the commit goes on by itself, and the end is that of a calm one."""
    calm = opened(f"{azurite.table_url}/t{uuid.uuid4().hex}")
    calm.commit(FEED, many(count), MARK)
    expected, number = held(calm, many(count)), 0

    while True:
        url = f"{azurite.table_url}/t{uuid.uuid4().hex}"
        wire.lose(number, after=after)
        opened(wire.url(url)).commit(FEED, many(count), MARK)
        assert expected == held(opened(url), many(count))
        if not wire.lost:
            break
        number += 1
    assert number >= 5  # table, journal, watermark, works, transaction


@pytest.mark.parametrize("after", [False, True], ids=["request lost", "answer lost"])
def test_host_that_dies_anywhere_in_a_commit_leaves_all_or_nothing(azurite, wire, after):
    """Watermark and works agree for whoever looks next, between two transactions too; the retry completes it."""
    number, seen = 0, set()
    while True:
        url = f"{azurite.table_url}/t{uuid.uuid4().hex}"
        wire.lose(number, after=after, only="$batch")
        with contextlib.suppress(TransientError):
            opened(wire.url(url), HASTE).commit(FEED, many(150), MARK)
        mark, known = held(opened(url), many(150))
        seen.add((mark[0], len(known)))
        opened(url).commit(FEED, many(150), MARK)
        assert {1} == {record.times for record in held(opened(url), many(150))[1].values()}
        if not wire.lost:
            break
        number += 1

    assert seen <= {(None, 0), ("10", 150)}
    assert 3 == number  # one for watermark and journal, two that settle it


def test_journal_of_the_dead_is_settled_by_another_run_first(azurite, wire, url):
    """A run that takes the same works again, before anybody has looked, counts on from there."""
    wire.lose(2, only="$batch")
    with pytest.raises(TransientError):
        opened(wire.url(url), HASTE).commit(FEED, many(150), MARK)
    opened(url).commit(FEED, many(150, "r2"))

    assert {("r2", 2)} == {(r.run, r.times) for r in held(opened(url), many(150))[1].values()}


@pytest.mark.parametrize("call", ["forget", "rewind", "known", "watermark"])
def test_lost_answers_of_other_calls_are_made_good(url, wire, call):
    """They are simply asked again."""
    opened(url).commit(FEED, [done()], MARK)
    through = opened(wire.url(url))
    calls = {
        "forget": lambda: through.forget(FEED, JANUARY),
        "rewind": lambda: through.rewind(FEED, Watermark("3", "bigint")),
        "known": lambda: through.known(FEED, ["w1"]),
        "watermark": lambda: through.watermark(FEED).value,
    }
    expected = {"forget": [replace(done(), status="forgotten", times=1)], "known": {"w1": replace(done(), times=1)}}

    for number in range(4):
        wire.lose(number, after=True)
        told = calls[call]()
        assert expected.get(call, "10" if call == "watermark" else None) == told
    assert "3" == opened(url).watermark(FEED).value or call != "rewind"


# -- refusals, in words


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_service_is_asked_again_for_a_bounded_time(url, wire, status):
    """Once is made good; a service that stays busy is told of, with its host."""
    wire.answer(status, "ServerBusy", times=2)
    opened(wire.url(url)).commit(FEED, [done()], MARK)
    wire.answer(status, "ServerBusy", times=None)

    with pytest.raises(TransientError, match=rf"127\.0\.0\.1:\d+ is busy \({status} ServerBusy\)") as caught:
        opened(wire.url(url), 0.3).watermark(FEED)
    assert is_one_line(caught.value)
    assert "10" == opened(url).watermark(FEED).value


@pytest.mark.parametrize(
    ("status", "code", "by", "expected"),
    [
        (403, "AuthorizationPermissionMismatch", "identity", "may not be used by Ada .*Storage Table Data Contributor"),
        (403, "AuthenticationFailed", "identity", "does not accept our sign-in .*own tenant"),
        (403, "AuthenticationFailed", "SAS", "does not accept our sign-in .*has not expired"),
        (403, "AuthenticationFailed", "LEDGER_URL", "does not accept our sign-in .*access keys"),
        (403, "AuthorizationFailure", "identity", "refuses this network .*firewall"),
        (403, "AuthorizationPermissionMismatch", "SAS", "may not be used with our SAS .*sp=raudc"),
        (403, "KeyBasedAuthenticationNotPermitted", "LEDGER_URL", "accepts no keys.*Storage Table Data Contributor"),
        (404, "", "identity", r"does not respond like Table Storage \(404\).*Check LEDGER_URL"),
        (400, "InvalidInput", "identity", r"does not respond like Table Storage \(400 InvalidInput\)"),
    ],
)
def test_refusals_say_what_to_do(monkeypatch, status, code, by, expected):
    """By what the process signs in with."""
    monkeypatch.setattr(identity, "identity_name", lambda: "Ada")
    client = TableClient.from_connection_string("UseDevelopmentStorage=true", "ledger")
    error = HttpResponseError("no")
    error.status_code, error.error_code = status, code

    with pytest.raises(ConfigError, match=expected) as caught:
        raise account.Access(client, by).explained(error)
    assert is_one_line(caught.value)


def test_table_that_may_not_be_created_is_told(azurite, table):
    """The SAS may do all with a table, but there is none."""
    sas = a_sas(azurite, read=True, add=True, update=True, delete=True)

    with pytest.raises(ConfigError, match=f"table {table} of .* may not be used with our SAS"):
        opened(f"{azurite.table_url}/{table}?{sas}").commit(FEED, [done()])


def test_wrong_key_is_told(azurite, table):
    """Of the right form, of another account."""
    wrong = azurite.connection_string.replace(azurite.key, "A" * 86 + "==")

    with pytest.raises(ConfigError, match="refuses the key in LEDGER_URL") as caught:
        opened(wrong).watermark(FEED)
    assert is_one_line(caught.value)


def test_key_that_is_none_is_told(azurite):
    """Cut off when it was copied."""
    with pytest.raises(ConfigError, match="the account key in LEDGER_URL is no key"):
        opened(azurite.connection_string.replace(azurite.key, azurite.key[:9])).watermark(FEED)


def test_server_that_is_down_is_transient():
    """It may come up again."""
    with pytest.raises(TransientError, match="refuses connections"):
        opened(f"http://127.0.0.1:{free_port()}/devstoreaccount1", HASTE).watermark(FEED)


def test_host_that_does_not_exist_is_a_matter_of_configuration(monkeypatch):
    """The account's name is misspelt; nobody waits for it to appear."""

    def nowhere(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    with pytest.raises(ConfigError, match=r"there is no host acme\.table\.core\.windows\.net"):
        opened("https://acme.table.core.windows.net?sv=1&sig=hush").watermark(FEED)


def test_place_that_is_no_table_storage_is_told(azurite):
    """The blob endpoint answers too, but not as it should."""
    with pytest.raises(ConfigError, match="does not respond like Table Storage"):
        opened(azurite.blob_url).watermark(FEED)


def test_secrets_are_in_no_error(azurite, wire, caplog):
    """Neither key nor signature, not even in what lies behind the error, nor in the logs, whatever fails."""
    sas = a_sas(azurite, read=True)
    secrets = [azurite.key, sas.partition("sig=")[2], "hush"]
    urls = [
        f"{azurite.table_url}/nobody?{sas}",
        f"{wire.url(azurite.table_url)}/{'x' * 9}?{sas}",
        f"http://127.0.0.1:{free_port()}/devstoreaccount1?{sas}",
        f"https://user:hush@acme.example/ledger?{sas}",
        f"https://acme.table.core.windows.net/a/b/hush?{sas}",
        f"https://acme.table.core.windows.net:hush/?{sas}",
        "https://acme.table.core.windows.net/ledger?sv=1&hush=1",
        azurite.connection_string.replace("AccountName", "hush"),
        azurite.connection_string.replace(azurite.key, azurite.key[:-4]),
        "DefaultEndpointsProtocol=http;AccountKey=hush;x://y",
        f"tables{azurite.key}://hush",
    ]
    wire.lose(0, after=True)
    for url in urls:
        with pytest.raises(IngestError) as caught:
            open_ledger(url, lock_timeout=HASTE).commit(FEED, [done()])
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
        assert [] == [secret for secret in secrets if secret in told], url


def test_what_the_client_says_is_passed_on_without_secrets(url, monkeypatch):
    """Some of its errors repeat the whole URL."""
    ledger, secret = opened(url, HASTE), uuid.uuid4().hex

    def fail(*_: object) -> None:
        raise ServiceRequestError(f"GET {url}?sv=1&sig={secret} failed")

    monkeypatch.setattr(ledger._access.client, "get_entity", fail)
    with pytest.raises(TransientError) as caught:
        ledger.watermark(FEED)
    told = "".join(traceback.format_exception(caught.value))
    assert (f"GET {url} failed" in told, secret in told) == (True, False)


# -- where LEDGER_URL points


@pytest.mark.parametrize(
    ("url", "endpoint", "table"),
    [
        ("https://acme.table.core.windows.net", "https://acme.table.core.windows.net", "ledger"),
        ("https://acme.table.core.windows.net/", "https://acme.table.core.windows.net", "ledger"),
        ("https://ACME.table.core.windows.net/Other", "https://acme.table.core.windows.net", "Other"),
        ("https://acme.table.core.chinacloudapi.cn/x1y", "https://acme.table.core.chinacloudapi.cn", "x1y"),
        ("http://127.0.0.1:10002/devstoreaccount1", "http://127.0.0.1:10002/devstoreaccount1", "ledger"),
        ("http://127.0.0.1:10002/devstoreaccount1/other", "http://127.0.0.1:10002/devstoreaccount1", "other"),
        ("http://azurite:10002/devstoreaccount1/", "http://azurite:10002/devstoreaccount1", "ledger"),
    ],
)
def test_url_names_an_account_and_maybe_a_table(url, endpoint, table):
    """The table is ``ledger`` unless it is named; the emulator has its account in the path."""
    assert (endpoint, table, None) == urls.parse_table_url(url)[:3]
    assert (endpoint, table, "sv=1&sig=x") == urls.parse_table_url(f"{url}?sv=1&sig=x")[:3]


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.blob.core.windows.net/ledger",
        "https://example.com/ledger",
        "https://acme.table.core.windows.net.example.com/ledger",
        "http://acme.table.core.windows.net/ledger",
        "http://127.0.0.1:10002",
        "https://",
        "https://acme.table.core.windows.net/a/b",
        "https://acme.table.core.windows.net/no-such-name",
        "https://acme.table.core.windows.net/tables",
        "https://acme.table.core.windows.net/ledger?sv=2021&se=2030",
        "https://[acme",
    ],
)
def test_url_of_something_else_is_refused_at_once(url):
    """A token is sent to nobody but Microsoft, and nothing goes unencrypted."""
    with pytest.raises(ConfigError, match="LEDGER_URL") as caught:
        open_ledger(url, lock_timeout=1)
    assert is_one_line(caught.value)


def test_every_way_to_sign_in_leads_to_the_same_table(azurite, url):
    """A SAS, the account's connection string beside the URL, and the key that the emulator is known by."""
    sas = a_sas(azurite, read=True, add=True, update=True, delete=True, create=True)
    other = "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=aGVsbG8=;EndpointSuffix=core.windows.net"
    ways = [
        open_ledger(url, lock_timeout=1),
        open_ledger(f"{url}?{sas}", lock_timeout=1),
        open_ledger(url, lock_timeout=1, storage_connection_string=azurite.connection_string),
        open_ledger(url, lock_timeout=1, storage_connection_string=other),
    ]
    ways[0].commit(FEED, [done()], MARK)

    assert [held(ways[0], [done()])] * 4 == [held(way, [done()]) for way in ways]
    assert ["LEDGER_URL", "SAS", "STORAGE_CONNECTION_STRING", "LEDGER_URL"] == [way._access.by for way in ways]


def test_connection_string_has_the_table_ledger(azurite):
    """It has no place for another name."""
    ledger = open_ledger(azurite.connection_string, lock_timeout=1)
    feed = uuid.uuid4().hex
    ledger.commit(feed, [done()], MARK)

    assert held(ledger, [done()], feed) == held(opened(f"{azurite.table_url}/ledger"), [done()], feed)


def test_connection_string_of_the_emulator_needs_no_more():
    """As the Functions host takes it, too."""
    assert "http://127.0.0.1:10002/devstoreaccount1" == opened("UseDevelopmentStorage=true")._access.endpoint


def test_account_without_proof_is_signed_in_to_by_identity(monkeypatch):
    """What is deployed has no key anywhere."""
    monkeypatch.setattr(identity, "credential", lambda: AzureNamedKeyCredential("acme", "aGVsbG8="))

    assert "identity" == opened("https://acme.table.core.windows.net")._access.by


def test_unreadable_connection_string_is_told():
    """With the setting it stands in."""
    with pytest.raises(ConfigError, match="the connection string in STORAGE_CONNECTION_STRING cannot be read"):
        TablesLedger("https://acme.table.core.windows.net", HASTE, "hush").watermark(FEED)


# -- as a whole


def test_export_is_loaded_once(azurite, table, tmp_path):
    """The second load finds it in the ledger and passes it over; the table is made on the way."""
    rows_of = [{"LocationId": n, "ModifiedOn": dt.datetime(2026, 2, 1), "IsDeleted": False} for n in range(3)]  # noqa: DTZ001
    write_parquet(export_path(tmp_path / "exports", "full", "20260224000000", "location"), rows_of)

    def load():
        app = open_test_app(tmp_path, LEDGER_URL=f"{azurite.table_url}/{table}")
        return list(load_exports(app, str(tmp_path / "exports"), LoadOptions()))

    (first,), (second,) = load(), load()

    assert ("done", 3) == (first.run.status, first.run.inserted)
    assert (None, "already loaded (--again repeats it)") == (second.run, second.skipped)


def is_one_line(error: IngestError) -> bool:
    return "\n" not in str(error)


def a_sas(azurite, **may: bool) -> str:
    return generate_account_sas(
        AzureNamedKeyCredential(azurite.account, azurite.key),
        resource_types=ResourceTypes(object=True, container=True),
        permission=AccountSasPermissions(**may),
        expiry=dt.datetime(2100, 1, 1, tzinfo=dt.UTC),
    )


# -- a wire that breaks


class Wire(ThreadingHTTPServer):
    """Hands requests on to a server, and answers back, but for those it loses or answers itself."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.lock = threading.Lock()
        self.lose(None)

    def url(self, url: str) -> str:
        """The same place, by way of this wire."""
        return url.replace(self.target, f"127.0.0.1:{self.server_address[1]}")

    def lose(
        self, number: int | None, *, after: bool = False, only: str = "", then: Callable[[], None] | None = None
    ) -> None:
        """The request of this number, from now on, or its answer (and do *then*); only those to *only* count."""
        self.then = then
        self.number, self.after_effect, self.only, self.count, self.lost = number, after, only, 0, False
        self.acts: list[tuple[str, Callable[[], None]]] = []
        self.answers: tuple[int, bytes, int | None] | None = None

    def before(self, part: str, act: Callable[[], None]) -> None:
        """Do *act* once, before a request with *part* in its path goes on."""
        self.acts.append((part, act))

    def answer(self, status: int, code: str, times: int | None) -> None:
        """Answer the next requests so: as many as *times*, or all."""
        self.answers = status, f'{{"odata.error": {{"code": "{code}", "message": {{"value": "no"}}}}}}'.encode(), times

    def fate(self, path: str) -> str | None:
        """What becomes of this request."""
        with self.lock:
            acts = [act for part, act in self.acts if part in path]
            self.acts = [one for one in self.acts if one[0] not in path]
            if self.answers is not None and self.answers[2] != 0:
                status, body, times = self.answers
                self.answers = status, body, None if times is None else times - 1
                return "answered"
            chosen = self.only in path and self.number == self.count
            self.count += self.only in path
            self.lost |= chosen
        for act in acts:
            act()
        return ("answer lost" if self.after_effect else "request lost") if chosen else None

    def handle_error(self, *_: object) -> None:
        """A client that went away is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Wire

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fate = self.server.fate(self.path)
        if fate == "answered" and self.server.answers:
            self._back(self.server.answers[0], {"Content-Type": "application/json"}, self.server.answers[1])
        elif fate == "request lost":
            self.close_connection = True
        else:
            status, headers, content = self._on(body)
            if fate == "answer lost":
                self.close_connection = True
                if self.server.then:
                    self.server.then()
            else:
                self._back(status, headers, content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_MERGE = _any  # noqa: N815 - names of the library

    def _on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        with contextlib.closing(http.client.HTTPConnection(self.server.target)) as on:
            on.request(self.command, self.path, body, dict(self.headers.items()))
            answer = on.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def _back(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def wire(azurite) -> Iterator[Wire]:
    with Wire(azurite.table_url) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
