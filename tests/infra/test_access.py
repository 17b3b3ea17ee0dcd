"""Who may do what: each role with its reason and its scope, compared with the calls that the code makes."""

from __future__ import annotations

import ast
import re

from azure.data.tables import TableClient
from azure.storage.blob import BlobClient, ContainerClient
from azure.storage.queue import QueueClient

from tests.infra.template import ROOT, bicep, block, deployed, everything, main, module

ROLES = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
}
"""Built-in roles by their names in Azure; ids are the same in every tenant."""
CALLS = {
    "Storage Blob Data Owner": {
        "commit_block_list", "create_container", "delete_blob", "download_blob", "get_blob_properties",
        "list_blob_names", "list_blobs", "stage_block", "upload_blob", "walk_blobs",
    },
    "Storage Queue Data Contributor": {"delete_message", "receive_messages"},
    "Storage Table Data Contributor": {
        "create_entity", "create_table", "get_entity", "query_entities", "submit_transaction",
    },
}  # fmt: skip
"""What the app calls in its account, by the role that allows it. A call that is new here may need another role."""
CLIENTS = {
    "Storage Blob Data Owner": (ContainerClient, BlobClient),
    "Storage Queue Data Contributor": (QueueClient,),
    "Storage Table Data Contributor": (TableClient,),
}
NO_CALL = re.compile(r"_|close$|exists$|from_|get_\w+_client$|api_version$")
"""Methods of clients that call nothing, or what files and SQL have, too."""
ASSIGNED = {
    "telemetry.insightsAccess": ({"Monitoring Metrics Publisher"}, "insights"),
    "storage.storageAccess": (set(CALLS), "storage"),
    "storage.sqlReadsStaging": ({"Storage Blob Data Reader"}, "stagingContainer"),
    "storage.uploadersWriteExports": ({"Storage Blob Data Contributor"}, "exportsContainer"),
    "vault.vaultAccess": ({"Key Vault Secrets User"}, "vault"),
    "secrets.secretAccess": ({"Key Vault Secrets User"}, "secrets[place]"),
    "events.topicWritesDeadLetters": ({"Storage Blob Data Contributor"}, "deadLettersContainer"),
}
"""The roles of each assignment, and where they count: nothing wider."""


def test_every_assignment_is_known_with_its_scope():
    """Whoever adds one says here what for; a wider scope is seen."""
    found = {}
    for path, text in bicep().items():
        for symbol in re.findall(r"^resource (\w+) 'Microsoft\.Authorization/roleAssignments@", text, re.MULTILINE):
            body = block(text, f"resource {symbol} ")
            scope = re.search(r"^ +scope: (.+)$", body, re.MULTILINE)[1]
            found[f"{path.removeprefix('modules/').removesuffix('.bicep')}.{symbol}"] = scope

    assert {name: scope for name, (_, scope) in ASSIGNED.items()} == found


def test_every_assignment_says_its_reason():
    """In Azure, too: the description of the assignment names the role as Azure does, and says what needs it."""
    for name, (roles, _) in ASSIGNED.items():
        file, _, symbol = name.partition(".")
        body = block(module(file), f"resource {symbol} ")
        said = re.findall(r"description: '([^']+): ([^']+)\.'", body)
        if "description: one.reason" in body:
            said = re.findall(r"reason: '([^']+): ([^']+)\.'", module(file))

        assert roles == {role for role, _ in said}, name
        assert all(len(reason.split()) > 4 for _, reason in said)


def test_ids_are_those_of_the_roles():
    """A wrong one fails late, or lets in too far."""
    granted = set(re.findall(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", everything()))
    camel = {"".join(name.split()).lower().removeprefix("storage"): id for name, id in ROLES.items()}
    named = re.findall(r"(\w+)(?: =|:) '([0-9a-f-]{36})'", everything())

    assert granted == set(ROLES.values())
    assert [] == [name for name, id in named if camel.get(name.lower(), camel.get(f"monitoring{name.lower()}")) != id]
    listed = re.findall(r"^  (\w+): '[0-9a-f-]{36}'$", module("storage"), re.MULTILINE)
    assert [] == [name for name in listed if f"roles.{name}" not in module("storage")]


def test_roles_in_the_account_are_those_that_calls_need():
    """Each call of a client of the account has its role, and each role has calls."""
    called = _called()

    for role, clients in CLIENTS.items():
        methods = {name for client in clients for name in dir(client) if callable(getattr(client, name))}
        methods -= {name for name in methods if NO_CALL.match(name)}
        assert CALLS[role] == called & methods, role


def test_each_other_role_has_what_needs_it():
    """Event Grid's dead letters, telemetry by identity, references to secrets, BULK INSERT without an error file."""
    loads = (ROOT / "shared/warehouses/azure_sql/tsql.py").read_text(encoding="utf-8")

    assert "deadLetterWithResourceIdentity" in module("events")
    assert "Authorization=AAD" in deployed()["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"]
    assert "@Microsoft.KeyVault(" in main()
    assert "BULK INSERT" in loads
    assert "ERRORFILE" not in loads  # it would be written, and need more than reading


def _called():
    """Names of methods that modules which know Azure's clients call."""
    names = set()
    for path in [*(ROOT / "shared").rglob("*.py"), ROOT / "function_app.py"]:
        text = path.read_text(encoding="utf-8")
        if re.search(r"azure\.(storage|data)|shared\.azure\b|QueueClient|_poison_queue", text):
            names |= {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}
    return names
