"""A stand-in for the commands that a deployment calls: it records them, and plays back what a test gives it."""

from __future__ import annotations

import json
import subprocess

KEY = "canary-key"
OUTPUTS = {
    "functionAppName": "func-x", "identityName": "id-x", "sqlServerHost": "sql-x.database.windows.net",
    "sqlServerName": "sql-x", "sqlServerGroup": "rg-sql", "sqlDatabaseName": "sluice", "storageName": "stx",
    "exportsUrl": "https://stx.blob.core.windows.net/exports", "stagingUrl": "https://stx.blob.core.windows.net/staging",
    "apiUrl": "https://func-x.azurewebsites.net/api", "pythonVersion": "3.13",
    "eventTopicId": "/subscriptions/s/resourceGroups/rg/providers/Microsoft.EventGrid/systemTopics/evgt-x",
}  # fmt: skip
"""What the template gives."""


class Fails:
    """A command that ends with an error."""

    def __init__(self, text):
        self.text = text


class Commands:
    """Answers by the beginning of a command without its program: one after the other, then the last again."""

    def __init__(self):
        self.calls = []
        self.results = {
            "account show": [{"name": "Production", "user": "ada@example.com"}],
            "group exists": [True],
            "group create": [{}],
            "ad signed-in-user show": [{"id": "11111111-1111-1111-1111-111111111111", "name": "ada@example.com"}],
            "provider show": ["Registered"],
            "provider register": [None],
            "keyvault list-deleted": [[]],
            "keyvault recover": [{}],
            "deployment group what-if": ["Resource changes: 30 to create."],
            "deployment group list": [last()],
            "deployment group create": [None],
            "deployment group show": ["Succeeded"],
            "functionapp deployment source config-zip": [{}],
            "functionapp function list": [["func-x/on_export", "func-x/watchdog"]],
            "functionapp config appsettings list": ["Contoso"],
            "functionapp keys list": [KEY],
            "resource show": [None],
            "sql server firewall-rule": [{}],
            "storage blob upload": [{}],
            "storage blob show": ['"0x8D"'],
            "storage blob delete": [{}],
            "resource list": [[["Microsoft.Web/sites", "func-x"]]],
            "group delete": [None],
            "ad app list": [None],
            "ad app create": ["22222222-2222-2222-2222-222222222222"],
            "ad app update": [None],
            "ad sp": [None],
            "-m shared sql setup": [None],
            "-m pip --version": ["pip 25.0 from /x (python 3.13)"],
            "-m pip install": [None],
        }

    def play(self, command, *results):
        self.results[command] = list(results)

    def run(self, words, **options):
        line = " ".join(words[1:])
        self.calls.append(line)
        command = max((one for one in self.results if line.startswith(one)), key=len)
        results = self.results[command]
        reply = results.pop(0) if len(results) > 1 else results[0]
        if isinstance(reply, Fails):
            return subprocess.CompletedProcess(words, 1, "", reply.text)
        text = json.dumps(reply) if "--output" in words else str(reply)
        return subprocess.CompletedProcess(words, 0, "" if reply is None else text, "")

    def made(self, command):
        """The calls of a command."""
        return [line for line in self.calls if line.startswith(command)]


def last(**parameters):
    """The last deployment, as Azure lists it."""
    values = {name: {"value": value} for name, value in parameters.items()}
    return {
        "outputs": {name: {"type": "String", "value": value} for name, value in OUTPUTS.items()},
        "parameters": values,
    }
