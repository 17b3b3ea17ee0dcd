"""What a catalog file may say of an API, under ``api``: one table of rules for each kind of source that has it."""

from __future__ import annotations

import re

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from shared.catalog.rules import (
    Rule,
    number,
    one_of,
    read_nested,
    read_section,
    require,
    section_value,
    text,
    text_list,
    whole,
)
from shared.rest.auth import WAYS
from shared.rest.instants import FORMATS
from shared.settings import API_SETTINGS

PAGINGS = ("none", "page", "offset", "cursor", "next")
HUBSPOT_VERSIONS = ("v3", "2026-03", "2026-09")
_PARAMETERS = "a table of names with texts"


def _name(value: Any) -> str:
    """The name of a setting, without its system: in lower case, as fields of ``SystemSettings`` are."""
    name = text(value).lower()
    require(name in API_SETTINGS)
    return name


def _texts(value: Any) -> dict[str, str]:
    return {
        name: text(one) if isinstance(one, str) else str(_scalar(one)) for name, one in section_value(value).items()
    }


def _places(value: Any) -> dict[str, Any]:
    return {name: text_list(one) if isinstance(one, list) else text(one) for name, one in section_value(value).items()}


def _scalar(value: Any) -> Any:
    require(isinstance(value, bool | int | float))
    return str(value).lower() if isinstance(value, bool) else value


def _above_zero(value: Any) -> int:
    require(isinstance(value, int) and not isinstance(value, bool) and value > 0)
    return int(value)


def _positive(value: Any) -> float:
    require(number(value) > 0)
    return number(value)


def _base_url(value: Any) -> str:
    require(re.match(r"https?://[^\s/?#]+", text(value)))
    return text(value)


def _prefix(value: Any) -> str:
    require(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text(value)))
    return text(value)


def _auths(value: Any) -> list[dict[str, Any]]:
    found = value if isinstance(value, list) else [value]
    require(found)
    return [_auth(one) for one in found]


def _auth(value: Any) -> dict[str, Any]:
    kind = section_value(value).get("kind")
    return read_nested(
        "auth", value, {**_AUTH, **dict.fromkeys(WAYS.get(str(kind), {}), _SETTING), **_AUTH_OF.get(str(kind), {})}
    )


def _rates(value: Any) -> list[dict[str, Any]]:
    found = value if isinstance(value, list) else [value]
    return [read_nested("rate", one, _RATE) for one in found]


def _paging(value: Any) -> dict[str, Any]:
    kind = section_value(value).get("kind")
    needs = {"page": ("parameter",), "offset": ("parameter",), "cursor": ("parameter", "next")}.get(str(kind), ())
    rules = {name: rule._replace(required=rule.required or name in needs) for name, rule in _PAGING.items()}
    return read_nested("paging", value, rules)


def _span(value: Any) -> dict[str, Any]:
    return read_nested("since", value, _SINCE)


def _child(value: Any) -> dict[str, Any]:
    return read_nested("child", value, _CHILD)


_SETTING = Rule(f"one of {', '.join(API_SETTINGS)}: the setting is named <SYSTEM>_<NAME>", _name)
_AUTH = {"kind": Rule(f"one of {', '.join(WAYS)}", one_of(*WAYS), required=True)}
_AUTH_OF: Mapping[str, Mapping[str, Rule]] = {
    "basic": {"user": Rule("a text: the user, where it is no secret", text)},
    "api_key": {
        "header": Rule("the name of a header", text),
        "parameter": Rule("the name of a parameter", text),
        "prefix": Rule("a text that stands before the key", text),
    },
    "jwt": {
        "path": Rule("the path that gives a token, below the base URL", text, required=True),
        "token_at": Rule("where in the answer the token is, such as access", text, required=True),
    },
    "oauth2": {"token_url": Rule("the URL or path that gives tokens", text, required=True)},
}
_RATE = {
    "requests": Rule("a number of requests above 0", _positive, required=True),
    "seconds": Rule("a number of seconds above 0", _positive, required=True),
}
_PAGING = {
    "kind": Rule(f"one of {', '.join(PAGINGS)}", one_of(*PAGINGS), required=True),
    "parameter": Rule("the name of the parameter with the page, offset or token", text),
    "first": Rule("the number of the first page, 0 or 1 mostly", whole),
    "size_parameter": Rule("the name of the parameter with the records on a page", text),
    "size": Rule("a whole number above 0", _above_zero),
    "next": Rule("where in a page the token or URL of the next one is, such as paging.next.after", text),
    "total": Rule("where in a page the number of all records is, such as meta.total", text),
}
_FORMS = f"one of {', '.join(FORMATS)}"


def _pattern(value: Any) -> str:
    require(value in FORMATS or "%" in text(value))
    return text(value)


_SINCE = {
    "parameter": Rule("the name of a parameter", text, required=True),
    "format": Rule(f"{_FORMS}, or a pattern such as %Y-%m-%d", _pattern),
}
_CHILD = {
    "at": Rule("where in a record the list is whose elements are rows", text, required=True),
    "parent": Rule("a table of columns with where in the record they are, such as { order_id = 'id' }", _texts),
}

COMMON: Mapping[str, Rule] = {
    "base_url": Rule("a URL that begins with https://", _base_url),
    "settings": Rule("what the names of its settings begin with, such as GENIUS", _prefix),
    "auth": Rule("a table with kind, or a list of them", _auths),
    "rate": Rule("a table of requests and seconds, or a list of them", _rates),
}
"""Of every kind of API."""
_LAG = Rule("a whole number of seconds", whole)
RULES: Mapping[str, Mapping[str, Rule]] = {
    "hubspot": {
        **COMMON,
        "lag_seconds": _LAG,
        "object": Rule("an object type, such as contacts, 0-421 or 2-123", text, required=True),
        "version": Rule(f"one of {', '.join(HUBSPOT_VERSIONS)}", one_of(*HUBSPOT_VERSIONS)),
        "properties": Rule("a list of properties; without it, all of them", text_list),
        "associated": Rule("an object type: the table has the associations with it", text),
    },
    "odata": {
        **COMMON,
        "set": Rule("the name of an entity set, such as Contacts", text, required=True),
        "size": Rule("a whole number above 0", _above_zero),
    },
    "rest": {
        **COMMON,
        "lag_seconds": _LAG,
        "workers": Rule("a whole number above 0", _above_zero),
        "path": Rule("the path of the list, below the base URL", text, required=True),
        "method": Rule("'GET' or 'POST'", one_of("GET", "POST")),
        "headers": Rule(_PARAMETERS, _texts),
        "parameters": Rule(_PARAMETERS, _texts),
        "body": Rule("a table that is sent as JSON", section_value),
        "parameters_in": Rule("'query' or 'body'", one_of("query", "body")),
        "records": Rule("where in a page the list of records is, such as data.items; '' if the page is it", str),
        "paging": Rule("a table with kind", _paging),
        "since": Rule("a table of parameter and format", _span),
        "cursor_format": Rule(_FORMS, one_of(*FORMATS)),
        "retention_days": Rule("a whole number above 0", _above_zero),
        "columns": Rule("'found' or 'declared'", one_of("found", "declared")),
        "nested": Rule(
            "a table of columns with where in a record they are, such as { city = 'address.city' }", _places
        ),
        "without": Rule("a list of fields", text_list),
        "child": Rule("a table of at and parent", _child),
    },
}
"""By kind of source."""


def read(entry: str, source: str, section: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """What a table of *source* says of its API, its defaults included; problems are added to *problems*."""
    return read_section(f"{entry}: api", dict(section), RULES[source], problems)


def problems_together(entry: str, source: str, options: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the options of a table, if it is one of an API, or has what only those have."""
    if source not in RULES:
        if options.get("api"):
            yield f"{entry}: source {source!r} takes no api"
        return
    api = options.get("api", {})
    if source == "rest" and api.get("since") and not options.get("cursor"):
        yield f"{entry}: api: since needs a cursor"
    if source == "rest" and api.get("retention_days"):
        if not options.get("cursor"):
            yield f"{entry}: api: retention_days needs a cursor: what is forgotten would count as deleted"
        if options.get("reconcile"):
            yield f"{entry}: api: retention_days takes no reconcile: what is forgotten would count as deleted"
    if source == "rest" and api.get("columns") == "declared":
        missing = [
            name for name in (*options.get("keys", ()), options.get("cursor")) if name and name not in options["types"]
        ]
        yield from (f"{entry}: api: columns = 'declared' needs a type of {name!r} under types" for name in missing)


def with_cursor_type(options: Mapping[str, Any], api: Mapping[str, Any]) -> dict[str, Any]:
    """The column types of a table, with that of its cursor as the form of its values says, unless one is declared."""
    cursor, declared = options.get("cursor"), dict(options.get("types", {}))
    form = api.get("cursor_format", "iso")
    if cursor and not _has(declared, cursor) and form in ("iso", "date"):
        declared[cursor] = FORMATS[form]
    return declared


def _has(names: Collection[str], name: str) -> bool:
    return name.casefold() in {one.casefold() for one in names}
