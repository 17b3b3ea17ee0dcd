"""Measure how fast feeds of Atom become columns, and print it.

    python -m bench atom                           5,000 contacts of 42 properties a page, as MarketSharp has them

It is one thread, and CPU seconds are counted, as others may be at work on the machine. bench/RESULTS_CRM.md is written
by hand from what this prints.
"""

from __future__ import annotations

import argparse
import time

from collections.abc import Callable

from lxml import etree

from shared.rest import xml
from shared.sources.odata import atom
from shared.sources.odata.metadata import EntitySet
from shared.sources.odata.source import _batch

ATOM = "http://www.w3.org/2005/Atom"
META = "http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"
DATA = "http://schemas.microsoft.com/ado/2007/08/dataservices"
KINDS = ("Guid", "String", "String", "DateTime", "Boolean", "Int32", "DateTime")
URL = "https://api.test/Contacts"


def main(given: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--properties", type=int, nargs="+", default=[20, 42])
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args(given)
    for properties in options.properties:
        _measure(options.rows, properties, options.runs)


def _measure(rows: int, properties: int, runs: int) -> None:
    kinds = {f"property{n}": f"Edm.{KINDS[n % len(KINDS)]}" for n in range(properties)}
    of = EntitySet("Contacts", ("property0",), dict.fromkeys(kinds, "text"), kinds, {})
    body = feed(rows, kinds)
    reader = atom.Reader(list(kinds), (), {}, "api.test")
    found = atom.read(body, URL, reader).rows
    steps: dict[str, Callable[[], object]] = {
        "the parser alone (lxml, a tree)": lambda: etree.fromstring(body, etree.XMLParser(resolve_entities=False)),
        "illegal characters, where there are any": lambda: xml.without_illegal(body),
        "entries as rows": lambda: atom.read(body, URL, reader),
        "rows as columns": lambda: _batch(found, of, list(kinds)),
    }
    print(f"{rows:,} entries of {properties} properties, {len(body) / rows:,.0f} bytes each")
    for name, step in steps.items():
        seconds = min(_seconds(step) for _ in range(runs))
        print(
            f"  {name}: {1e6 * seconds / rows:.1f} microseconds an entry, {rows / seconds:,.0f} entries/s", flush=True
        )


def _seconds(step: Callable[[], object]) -> float:
    since = time.process_time()
    step()
    return time.process_time() - since


def feed(rows: int, kinds: dict[str, str]) -> bytes:
    """A page as WCF Data Services writes it."""
    entries = "".join(_entry(number, kinds) for number in range(rows))
    return (
        f'<?xml version="1.0" encoding="utf-8" standalone="yes"?><feed xml:base="https://api.test/" xmlns:d="{DATA}" '
        f'xmlns:m="{META}" xmlns="{ATOM}"><title type="text">Contacts</title><id>{URL}</id>{entries}</feed>'
    ).encode()


def _entry(number: int, kinds: dict[str, str]) -> str:
    properties = "".join(_property(name, kind, place, number) for place, (name, kind) in enumerate(kinds.items()))
    return (
        f"<entry><id>{URL}(guid'{number:032x}')</id><title type=\"text\"></title>"
        "<updated>2026-02-24T12:00:00Z</updated>"
        f'<author><name /></author><link rel="edit" title="Contact" href="Contacts(guid\'{number:032x}\')" />'
        f'<link rel="{DATA}/related/Jobs" type="application/atom+xml;type=feed" title="Jobs" href="Jobs" />'
        f'<category term="M.Contact" scheme="{DATA}/scheme" /><content type="application/xml"><m:properties>'
        f"{properties}</m:properties></content></entry>"
    )


def _property(name: str, kind: str, place: int, number: int) -> str:
    given = "" if kind == "Edm.String" else f' m:type="{kind}"'
    if place % 7 in (2, 6):
        return f'<d:{name}{given} m:null="true" />'
    text = {
        "Edm.Guid": f"0f8fad5b-d9cb-469f-a165-{number:012x}", "Edm.DateTime": "2026-02-24T12:00:00.123",
        "Edm.Boolean": "true", "Edm.Int32": str(number),
    }.get(kind, f"a text of &amp; {number}, Crème")  # fmt: skip
    return f"<d:{name}{given}>{text}</d:{name}>"
