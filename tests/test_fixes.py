"""Whatever a `fix` proposes has a test that follows it, or stands here with the reason why not."""

from __future__ import annotations

import ast
import textwrap

from collections import Counter

from tests.fix_texts import ROOT, every_fix

ELSEWHERE: dict[str, str] = {
    **dict.fromkeys((
        "Check user, password or identity; an Entra identity has to be a user of the database "
        "(sluice sql setup)",
        "Let this address through the server's firewall",
        "Let this subnet through the server's virtual network rules",
        "Check the database's name, and that the user exists in it",
        "Free some space, or raise the maximum size of the database",
        "Grant ADMINISTER DATABASE BULK OPERATIONS (sluice sql setup)",
        "Check STAGING_URL against the data source's location: they must be the same container",
        "Let the server read the staging container: role Storage Blob Data Reader for its identity,"
        " or a SAS",
        "Export fewer columns: a row of this table does not fit into a page",
        "Give the key columns types that an index takes, under types in the catalog",
        "Use shorter or fewer key columns",
        "Rename one of the two columns at the source",
        "Correct the location of the external data source (sluice sql setup)",
        "Create the data source again with TYPE = BLOB_STORAGE (sluice sql setup)",
        "Grant REFERENCES on the credential (sluice sql setup)",
        "Run sluice sql setup: the data source or its credential is missing, or may not be used",
        "Give the app's user its rights (sluice sql setup)",
        "Run sluice sql setup as an administrator of the database",
        "Scale the database up, or export in smaller files, and load again",
        "Look up error {} at https://learn.microsoft.com/sql/relational-databases/errors-events/",
        "Use the name the certificate has; for a test server, add TrustServerCertificate=yes",
        "Grant the app's user the right to execute sp_getapplock",
    ), "needs an Azure SQL database, or a SQL Server with its data sources"),
    **dict.fromkeys((
        "Give {} the role Storage Blob Data {} on {}; this can take ten minutes to take effect",
        "Give {} the role Storage Table Data Contributor on the account; this can take ten minutes "
        "to take effect",
        "Ask the account's owner to allow this machine's address or network in its firewall",
        "Ask for a user delegation SAS, or give the app's identity the role Storage Blob Data Reader",
        "Check that the identity is of the account's own tenant",
        "Check the key in STORAGE_CONNECTION_STRING, or that the identity is of the account's own tenant",
        "Look it up at https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes",
    ), "needs roles, firewalls and account settings of Azure Storage, which Azurite lacks"),
    **dict.fromkeys((
        "Check account, user, warehouse and role in WAREHOUSE_URL, the sign-in, and the network policy of the account",
        "Grant the role what docs/snowflake.md lists",
        "Add ?warehouse=NAME to WAREHOUSE_URL",
        "Load again; if it lasts, look at the status page of Snowflake",
    ), "needs an account of Snowflake"),
    **dict.fromkeys((
        ". Check POWERBI_DATASET, and give {} the role Contributor in the workspace.",
        ". Give {} the role Contributor in the workspace.",
        ". Have a Fabric administrator allow service principals to use Fabric APIs (admin portal, "
        "tenant settings, developer settings), for a group that {} is in.",
    ), "needs a Power BI workspace"),
    **dict.fromkeys((
        "Install ODBC Driver 18 (package msodbcsql18), or what its wheel needs: libltdl7, libkrb5-3",
        "Install it (package msodbcsql18), or: pip install mssql-python-odbc",
        "Install unixODBC (Debian, Ubuntu: apt install unixodbc)",
        "Install another version of ODBC Driver 18, and report it",
    ), "changes what is installed on the machine"),
    **dict.fromkeys((
        "Free some disk space on the server, then load again",
    ), "needs the disk of a database server to be full"),
}  # fmt: skip
"""Texts that cannot be followed here, with the reason."""
_FOLLOWERS = ("advised", "advises", "follows")


def followed() -> set[str]:
    """Every text that a test names as one that it follows."""
    return {
        node.args[0].value
        for path in sorted([*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "tests" / "suites").glob("*.py")])
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FOLLOWERS
        if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    }


def test_every_fix_is_followed_by_a_test_or_says_why_not():
    """Follow a new text with `advised`, `advises` or `follows` of tests/advice.py."""
    fixes = {fix.template for fix in every_fix()}

    assert set() == fixes - followed() - ELSEWHERE.keys()


def test_no_entry_outlives_its_fix():
    """A text that is gone, or that a test follows, is no exception; nor does a test follow what is gone."""
    fixes = {fix.template for fix in every_fix()}

    assert set() == (followed() | ELSEWHERE.keys()) - fixes
    assert set() == followed() & ELSEWHERE.keys()


def test_no_fix_sends_to_the_doctor():
    """Which shows the fixes itself."""
    assert not [fix for fix in every_fix() if "sluice doctor" in fix.template]


def test_a_fix_is_found_however_it_is_written(tmp_path):
    """By itself, put together, out of a table, from a function, or as a Finding's fourth value."""
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "some.py").write_text(
        textwrap.dedent("""
            _LATER = "Wait"
            _TABLE = (("a", ConfigError, "From a table"),)
            _FIXES = {1: "By number"}

            def _by(n):
                return f"Do {n}" if n else _LATER

            def check(n):
                for start, kind, fix in _TABLE:
                    raise kind("x", fix=fix)
                yield Finding("a", "failed", "b", "Found")
                raise ConfigError("x", fix=f"{_LATER}, then go" + (" on" if n else ""))
                raise ConfigError("x", fix=_by(n))
                raise ConfigError("x", fix=_FIXES.get(n) or "Else")
                raise ConfigError("x", fix=error.fix)
        """)
    )

    found = Counter(fix.template for fix in every_fix(folder))
    assert set(found) == {
        "Wait", "From a table", "By number", "Do {}", "Found", "Wait, then go", "Wait, then go on", "Else",
    }  # fmt: skip
