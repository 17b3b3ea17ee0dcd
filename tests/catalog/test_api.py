"""What a catalog file may say of an API: a wrong entry is refused with the number of its line."""

from __future__ import annotations

import pytest

from shared import catalog
from shared.errors import ConfigError

HEAD = """[system]
name = "acme"
source = "rest"

[tables.people]
keys = ["id"]
cursor = "updated_at"

[tables.people.api]
path = "/people"
"""
WRONG = {
    "unknown option": ("pages = 1", "api: 'pages' is unknown", 11),
    "unknown kind of pages": ('paging = { kind = "pages" }', "paging: kind must be one of none, page, offset", 11),
    "pages without parameter": ('records = "x"\npaging = { kind = "page" }', "paging: parameter must be", 12),
    "unknown sign-in": ('auth = { kind = "magic" }', "auth: kind must be one of none, bearer, basic", 11),
    "unknown setting": ('auth = { kind = "bearer", token = "TOKENS" }', "auth: token must be one of base_url", 11),
    "sign-in lacks": ('auth = { kind = "jwt", path = "/t" }', "auth: token_at must be", 11),
    "no rate": ("rate = { requests = 0, seconds = 1 }", "rate: requests must be a number", 11),
    "no format": ('since = { parameter = "s", format = "isoo" }', "since: format must be", 11),
    "no form": ('cursor_format = "unix"', "cursor_format must be one of iso", 11),
    "no URL": ('base_url = "api.test"', "base_url must be a URL", 11),
    "no method": ('method = "PUT"', "method must be 'GET' or 'POST'", 11),
    "no child": ("child = { parent = { a = 'b' } }", "child: at must be", 11),
    "forgotten without cursor": (
        "[tables.x]\nkeys = ['id']\napi = { path = '/x', retention_days = 9 }",
        "x: api: retention_days needs a cursor",
        13,
    ),
    "forgotten and compared": (
        "[tables.x]\nkeys = ['id']\ncursor = 'at'\nreconcile = '1 1 * * *'\napi = { path = '/x', retention_days = 9 }",
        "x: api: retention_days takes no reconcile",
        15,
    ),
    "unknown to OData": (
        "[tables.x]\nsource = 'odata'\nkeys = ['id']\napi = { set = 'X', workers = 2 }",
        "api: 'workers' is unknown",
        14,
    ),
    "unknown to OData, too": (
        "[tables.x]\nsource = 'odata'\nkeys = ['id']\napi = { set = 'X', lag_seconds = 2 }",
        "api: 'lag_seconds' is unknown",
        14,
    ),
    "unknown to HubSpot": (
        "[tables.x]\nsource = 'hubspot'\nkeys = ['id']\napi = { object = 'contacts', workers = 2 }",
        "api: 'workers' is unknown",
        14,
    ),
    "section of its own": ("[tables.people.api.paging]\nkind = 7", "paging: kind must be", 12),
}


def read(tmp_path, text):
    (tmp_path / "acme.toml").write_text(text)
    return catalog.read(tmp_path)["acme"]


@pytest.mark.parametrize(("content", "reason", "line"), WRONG.values(), ids=WRONG)
def test_a_wrong_entry_is_refused_with_its_line(tmp_path, content, reason, line):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, HEAD + content)

    assert reason in refused.value.problem
    assert f"(line {line})" in refused.value.problem


def test_each_table_has_its_own_line(tmp_path):
    """Also as inline tables, and in defaults."""
    text = """[system]
name = "acme"
source = "rest"

[defaults.api]
rate = { requests = 1 }

[tables]
a = { keys = ["id"], api = { path = "/a", records = 3, method = "GET" } }
b = { keys = ["id"], api = { path = "/b", method = "get" } }  # method = "GET"
c = { keys = ["id"], since = 1 }
"""
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text)

    assert "feed acme.b: api: method must be 'GET' or 'POST', not 'get' (line 10)" in refused.value.problem
    assert "feed acme.c: 'since' is unknown" in refused.value.problem
    assert "(line 11)" in refused.value.problem


def test_a_path_is_required(tmp_path):
    with pytest.raises(ConfigError, match=r"feed acme\.people: api: path must be the path of the list"):
        read(tmp_path, HEAD.replace('path = "/people"', ""))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('cursor = "updated_at"', "cursor = false\napi.since = { parameter = 's' }"), "since needs a cursor"),
        (('path = "/people"', 'path = "/people"\ncolumns = "declared"'), "needs a type of 'id' under types"),
        (('source = "rest"', 'source = "sql"'), "source 'sql' takes no api"),
    ],
)
def test_options_that_do_not_hold_together_are_refused(tmp_path, change, reason):
    text = HEAD.replace(*change)
    if "api.since" in text:
        text = text.replace('[tables.people.api]\npath = "/people"\n', "api.path = '/people'\n")
    with pytest.raises(ConfigError, match=reason):
        read(tmp_path, text)


def test_defaults_of_the_api_hold_for_every_table(tmp_path):
    """A table's own go before them, one by one."""
    system = read(tmp_path, HEAD + 'records = "own"\n[defaults.api]\nrecords = "all"\nmethod = "POST"\n')
    (feed,) = system.feeds()

    assert {"path": "/people", "records": "own", "method": "POST"} == dict(feed.api)
    assert {"updated_at": "timestamp"} == dict(feed.types)
