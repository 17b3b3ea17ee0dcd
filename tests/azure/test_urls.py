"""Which hosts are this machine or Microsoft's, and which only look like it."""

from __future__ import annotations

import pytest

from shared.azure.urls import is_blob_url, is_loopback, parse_table_url, parse_url
from shared.errors import ConfigError

NOT_HERE = (
    "127.acme.com", "127.0.0.1.acme.com", "localhost.acme.com", "host.docker.internal.acme.com", "128.0.0.1",
    "10.0.0.5", "[2001:db8::1]", "[::ffff:10.0.0.5]",
)  # fmt: skip
HERE = ("127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "[::1]", "azurite", "host.docker.internal")


@pytest.mark.parametrize("host", NOT_HERE)
def test_a_host_that_is_not_this_machine_is_no_emulator(host):
    """The key that everybody knows the emulator by would be sent there, and all data unencrypted."""
    with pytest.raises(ConfigError, match="LEDGER_URL names no account of Table Storage"):
        parse_table_url(f"http://{host}/devstoreaccount1/ledger")
    assert not is_blob_url(f"http://{host}/devstoreaccount1/exports")
    with pytest.raises(ConfigError, match="is no URL of Blob Storage"):
        parse_url(f"http://{host}:10000/devstoreaccount1/exports")


@pytest.mark.parametrize("host", HERE)
@pytest.mark.parametrize("port", ["", ":10002"])
def test_the_emulator_keeps_its_address_as_it_was_written(host, port):
    """The brackets of IPv6 too, without which a port could not be told from the address."""
    table = parse_table_url(f"http://{host}{port}/devstoreaccount1/other")
    blob = parse_url(f"http://{host}{port}/devstoreaccount1/exports/a")

    address = f"http://{host.lower()}{port}/devstoreaccount1"
    assert (address, "other", True) == (table.endpoint, table.table, table.emulated)
    assert (address, "exports", "a") == (blob.account_url, blob.container, blob.path)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.255.0.3", True), ("localhost", True), ("::1", True), ("127.acme.com", False),
     ("::", False), ("10.0.0.1", False), ("acme", False), ("", False)],
)  # fmt: skip
def test_loopback_is_found_by_address_not_by_how_a_name_begins(host, expected):
    """A name may begin with 127 as well."""
    assert expected is is_loopback(host)
