"""E-mail addresses: in lower case, and of valid syntax."""

from __future__ import annotations

import pyarrow as pa
import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.contract import mail
from shared.contract.clean import CleanOptions, clean
from shared.contract.codes import Code

PIECE = st.text("abzAB019._+-'!#", max_size=8) | st.sampled_from(
    ["ada", "a" * 64, "a" * 65, "xn--mnchen-3ya", "a--b", "-a"]
)
DOMAIN = st.lists(PIECE | st.sampled_from(["com", "test", "local", "c", "c0m", "museum"]), max_size=4).map(".".join)
ADDRESS = st.builds(
    lambda local, at, domain: local + at + domain, PIECE, st.sampled_from(["@", "@", "@", "", "@@"]), DOMAIN
)


def cleaned(text: str) -> str | None:
    value = clean(pa.array([text]), "email", "text", CleanOptions()).values[0].as_py()
    assert value is None or isinstance(value, str)
    return value


@given(ADDRESS)
def test_the_short_way_gives_what_the_library_gives(text):
    """The usual addresses are recognised without the library, and it accepts all of them."""
    assert (mail._normalised(text) if text else None) == cleaned(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("ada+leads@sub.example.co.uk", "ada+leads@sub.example.co.uk"),
        ("o'neil@example.com", "o'neil@example.com"),
        ("ÄDA@example.com", "äda@example.com"),
        ("ada@xn--mnchen-3ya.de", "ada@münchen.de"),
        ("ada@MÜNCHEN.de", "ada@münchen.de"),
    ],
)
def test_an_address_becomes_lower_case(text, address):
    """In every alphabet."""
    assert address == cleaned(text)


@pytest.mark.parametrize(
    "text",
    [
        "none", "ada", "ada@", "@example.com", "ada@example", "a..b@example.com", ".ada@example.com", "a@b@c.com",
        "ada@-example.com", "ada@exa mple.com", "Ada <ada@example.com>", "ada@mail.test",
        "ada@example.com, bob@example.com",
        "ada@example.com;", '"a b"@example.com', "mailto:ada@example.com", "person7(at)example.com", "ada@[127.0.0.1]",
        f"{'a' * 65}@example.com", f"ada@{'a' * 64}.com", f"ada@{'a.' * 130}com",
    ],
)  # fmt: skip
def test_what_is_no_address_is_a_fault(text):
    """So are several of them, and a name around one."""
    result = clean(pa.array([text]), "email", "text", CleanOptions())

    assert [None] == result.values.to_pylist()
    assert [(Code.NOT_AN_EMAIL, "text that is no e-mail address")] == [fault[:2] for fault in result.faults]
