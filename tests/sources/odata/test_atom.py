"""Feeds and metadata as documents: what is read of them, and what is refused."""

from __future__ import annotations

import pytest

from shared.errors import ConflictError
from shared.sources.odata import atom, metadata
from shared.sources.odata.atom import Reader
from tests.servers.marketsharp import ATOM, DATA, META

HEAD = f'<feed xmlns:d="{DATA}" xmlns:m="{META}" xmlns="{ATOM}" xml:base="https://h.test/svc/">'
URL = "https://h.test/svc/Contacts"


def entry(properties):
    return f"<entry><content><m:properties>{properties}</m:properties></content></entry>"


def rows(*entries, names=("a", "b"), nested=(), in_entry=None, before="", after="</feed>"):
    body = f"{before}{HEAD}{''.join(entries)}{after}"
    body = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    return atom.read(body, URL, Reader(names, nested, in_entry or {}, "h.test")).rows


def test_null_and_empty_are_two_things():
    assert [[None, ""], ["", "x"]] == rows(
        entry('<d:a m:null="true" /><d:b></d:b>'), entry('<d:a m:null="false"/><d:b>x</d:b>')
    )


def test_properties_may_be_absent_or_in_another_order():
    assert [["1", "2"], [None, "2"], ["1", None]] == rows(
        entry("<d:b>2</d:b><d:a>1</d:a>"), entry("<d:b>2</d:b>"), entry("<d:a>1</d:a>")
    )


def test_an_entry_that_is_a_file_has_its_properties_beside_its_content():
    properties = "<m:properties><d:a>1</d:a></m:properties>"

    assert [["1", None]] == rows(f'<entry><content type="image/png" src="x" />{properties}</entry>')


def test_entries_within_an_entry_are_no_entries_of_the_feed():
    """What $expand would bring."""
    inline = f"<link><m:inline><feed>{entry('<d:a>9</d:a>')}</feed></m:inline></link>"

    assert [["1", None]] == rows(entry("<d:a>1</d:a>").replace("<content>", f"{inline}<content>"))


def test_nested_properties_are_json_and_others_may_be_in_the_entry():
    deep = "<d:a><d:x>1</d:x><d:y m:null='true' /><d:z><m:element>p</m:element><m:element>q</m:element></d:z></d:a>"
    title = "<title>T</title>"

    assert [['{"x":"1","y":null,"z":["p","q"]}', "T"]] == rows(
        f"<entry>{title}<content><m:properties>{deep}</m:properties></content></entry>", nested=["a"],
        in_entry={"b": "title"},
    )  # fmt: skip


def test_illegal_characters_are_removed_and_nothing_else():
    """As characters and as references; what looks like one in CDATA is text."""
    text = "caf&#233; &#xE9;&#9;&#x1F;&#0;&#xD800;&#xFFFE;\x0b\x1f&amp;&lt;&#x1F600; \ufffe<![CDATA[&#0;<x>]]>"

    assert [["café é\t&<\N{GRINNING FACE} &#0;<x>", None]] == rows(entry(f"<d:a>{text}</d:a>"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "iso-8859-1"])
def test_encodings_are_understood(encoding):
    declared = f'<?xml version="1.0" encoding="{encoding}"?>' if encoding.startswith("iso") else ""
    body = f"{declared}{HEAD}{entry('<d:a>é</d:a>')}</feed>".encode(encoding)

    assert [["é"]] == atom.read(body, URL, Reader(["a"], (), {}, "h.test")).rows


BOMB = '<!DOCTYPE feed [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
BROKEN = {
    "cut off": {"after": ""},
    "cut off within an entry": {"after": "<entry><content><m:prop"},
    "an error at its end": {"after": "<m:error><m:message>timeout</m:message></m:error></feed>"},
    "an error after which it is cut off": {"after": "<m:error><m:code /><m:message>timeout</m:message></m:error>"},
    "an entity bomb": {"before": BOMB},
    "a document type behind comments": {"before": f'<?xml version="1.0"?><!-- a --> <!-- b -->\n{BOMB}'},
    "an external entity": {"before": '<!DOCTYPE feed [<!ENTITY a SYSTEM "file:///etc/passwd">]>'},
    "an entity without a document type": {"after": entry("<d:a>&nbsp;</d:a>") + "</feed>"},
    "two documents": {"after": "</feed><feed/>"},
    "a page of HTML": {"before": "<html><body>Please sign in</body></html>"},
    "too deep": {"after": "<x>" * 5_000 + "</x>" * 5_000 + "</feed>"},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_feed_is_refused(broken):
    with pytest.raises(ValueError, match="it "):
        rows(entry("<d:a>1</d:a>"), **broken)


@pytest.mark.parametrize(
    "body", [b"", b"<html/>", b"{}", b"\xff\xfe\x00", b'<?xml version="1.0" encoding="x-none"?><a/>']
)
def test_what_is_no_feed_is_refused(body):
    with pytest.raises(ValueError, match=r"."):
        atom.read(body, URL, Reader(["a"], (), {}, "h.test"))


def test_an_error_says_what_the_service_said():
    with pytest.raises(ValueError, match="it has an error: timeout"):
        rows(after="<m:error><m:message>timeout</m:message></m:error></feed>")


def test_a_property_that_nothing_is_known_of_is_a_conflict():
    with pytest.raises(ConflictError, match="new fields since the run was planned: c"):
        rows(entry("<d:a>1</d:a><d:c>2</d:c>"))


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("Contacts?$skiptoken=guid'1'&amp;$top=2", "https://h.test/svc/Contacts?$skiptoken=guid'1'&$top=2"),
        ("https://h.test/svc/Contacts?$skiptoken=a%20b", "https://h.test/svc/Contacts?$skiptoken=a%20b"),
    ],
)
def test_the_link_to_the_next_page_is_as_it_was_given(href, expected):
    body = f'{HEAD}<link rel="self" href="x" /><link rel="next" href="{href}" /></feed>'.encode()

    assert expected == atom.read(body, URL, Reader(["a"], (), {}, "h.test")).next


def test_metadata_has_keys_types_bases_and_what_is_in_the_entry():
    body = """
    <edmx:Edmx xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx"><edmx:DataServices>
    <Schema Namespace="A" xmlns="http://schemas.microsoft.com/ado/2009/11/edm" xmlns:m="urn:m">
    <EntityType Name="Base"><Key><PropertyRef Name="id" /></Key><Property Name="id" Type="Edm.Guid" /></EntityType>
    <EntityType Name="One" BaseType="A.Base">
      <Property Name="price" Type="Edm.Decimal" Precision="19" Scale="4" /><Property Name="sum" Type="Edm.Decimal" />
      <Property Name="at" Type="Edm.DateTimeOffset" /><Property Name="where" Type="A.Address" />
      <Property Name="name" Type="Edm.String" m:FC_TargetPath="SyndicationTitle" m:FC_KeepInContent="false" />
    </EntityType>
    <EntityContainer Name="C"><EntitySet Name="Ones" EntityType="A.One" /></EntityContainer>
    </Schema></edmx:DataServices></edmx:Edmx>"""

    found = metadata.read(body.encode())["Ones"]

    assert (("id",), {"name": "title"}, {"where"}) == (found.keys, found.in_entry, found.nested)
    assert {
        "id": "text", "price": "decimal(19,4)", "sum": "decimal(38,10)", "at": "timestamp", "where": "text",
        "name": "text",
    } == found.types  # fmt: skip


@pytest.mark.parametrize(("kind", "key"), [("A.One", "a"), ("B.One", "b"), ("Own.One", "b"), ("Imported.One", "b")])
def test_a_type_is_that_of_its_namespace(kind, key):
    schemas = "".join(
        f'<Schema Namespace="{space}" {more}><EntityType Name="One"><Key><PropertyRef Name="{name}" /></Key>'
        f'<Property Name="{name}" Type="Edm.Int32" /></EntityType></Schema>'
        for space, name, more in (("A", "a", ""), ("B", "b", 'Alias="Own"'))
    )
    container = f'<EntityContainer><EntitySet Name="Ones" EntityType="{kind}" /></EntityContainer>'

    assert (key,) == metadata.read(f"<Edmx>{schemas}<Schema>{container}</Schema></Edmx>".encode())["Ones"].keys


@pytest.mark.parametrize("body", [b"<feed/>", b"<edmx:Edmx", b""])
def test_what_is_no_metadata_is_refused(body):
    with pytest.raises(ValueError, match="it is no"):
        metadata.read(body)
