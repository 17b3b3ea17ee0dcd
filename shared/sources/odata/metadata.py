"""What a service says of its entity sets in its $metadata: their properties, with types, and their keys. Pure."""

from __future__ import annotations

import logging

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from shared.rest import xml
from shared.rest.xml import Element

_log = logging.getLogger("sluice")

_TYPES = {
    "Edm.Boolean": "boolean", "Edm.Byte": "smallint", "Edm.SByte": "smallint", "Edm.Int16": "smallint",
    "Edm.Int32": "integer", "Edm.Int64": "bigint", "Edm.Single": "real", "Edm.Double": "double",
    "Edm.DateTime": "timestamp", "Edm.DateTimeOffset": "timestamp",
}  # fmt: skip
"""Column types by those of properties; all others are text."""
_DECIMAL, _MOST_DIGITS = "decimal(38,10)", 38
"""Of a decimal whose digits the service does not tell: what .NET's and SQL Server's money have fits in."""
_IN_ENTRY = {"SyndicationTitle": "title", "SyndicationSummary": "summary"}
"""Properties that a feed may have in elements of Atom instead of among the others."""


class EntitySet(NamedTuple):
    """One set of a service, which is one list of it."""

    name: str
    keys: tuple[str, ...]
    types: Mapping[str, str]
    """Column types by property, in the order of the service."""
    edm: Mapping[str, str]
    """Its own types."""
    in_entry: Mapping[str, str]
    """The elements of an entry that properties are in, by property."""

    @property
    def nested(self) -> frozenset[str]:
        """Properties with properties of their own."""
        return frozenset(name for name, kind in self.edm.items() if not kind.startswith("Edm."))


def read(body: bytes) -> dict[str, EntitySet]:
    """The sets of a service by name. ValueError if *body* is no $metadata."""
    root = xml.read(body, ("none",), lambda elements: [*elements][-1])
    if xml.local(root.tag) != "Edmx":
        raise ValueError(f"it is no Edmx but {xml.local(root.tag)}")
    types = {}
    for schema in _below(root, "Schema"):
        for one in _below(schema, "EntityType"):
            types[one.get("Name", "")] = one
            for space in (schema.get("Namespace"), schema.get("Alias")):
                types[f"{space}.{one.get('Name')}"] = one
    found = (
        (one.get("Name", ""), _known(str(one.get("EntityType")), types))
        for container in _below(root, "EntityContainer")
        for one in _below(container, "EntitySet")
    )
    return {name: _entity_set(name, kind, types) for name, kind in found if kind in types}


def _entity_set(name: str, kind: str, types: Mapping[str, Element]) -> EntitySet:
    chain = _with_bases(kind, types)
    keys = [
        one.get("Name") for element in chain for key in _below(element, "Key") for one in _below(key, "PropertyRef")
    ]
    properties = [one for element in chain for one in _below(element, "Property")]
    in_entry: dict[str, str] = {}
    for one in properties:
        kept, target = (_annotation(one, which) for which in ("FC_KeepInContent", "FC_TargetPath"))
        if kept == "false" and target in _IN_ENTRY:
            in_entry[one.get("Name")] = _IN_ENTRY[target]
        elif kept == "false":
            _log.warning("property %s of %s is not read: it is in %s of its entries", one.get("Name"), name, target)
    edm = {one.get("Name"): str(one.get("Type")) for one in properties}
    return EntitySet(name, tuple(keys), {one.get("Name"): _column(one) for one in properties}, edm, in_entry)


def _with_bases(kind: str, types: Mapping[str, Element]) -> list[Element]:
    """The element of a type, after those of the types that it is based on."""
    chain: list[Element] = []
    while kind in types and types[kind] not in chain:
        chain.insert(0, types[kind])
        kind = _known(str(types[kind].get("BaseType")), types)
    return chain


def _known(kind: str, types: Mapping[str, Element]) -> str:
    """A type by its whole name, as several namespaces may have one of its name; else by that without namespace."""
    return kind if kind in types else kind.rpartition(".")[2]


def _column(one: Element) -> str:
    kind = str(one.get("Type"))
    if kind != "Edm.Decimal":
        return _TYPES.get(kind, "text")
    precision, scale = one.get("Precision", ""), one.get("Scale", "")
    if not (precision.isdigit() and scale.isdigit() and int(scale) <= int(precision) <= _MOST_DIGITS):
        return _DECIMAL
    return f"decimal({int(precision)},{int(scale)})"


def _annotation(one: Element, name: str) -> str | None:
    return next((str(value) for key, value in one.attrib.items() if xml.local(key) == name), None)


def _below(element: Element, name: str) -> Iterator[Element]:
    return (one for one in element.iter() if isinstance(one.tag, str) and xml.local(one.tag) == name)
