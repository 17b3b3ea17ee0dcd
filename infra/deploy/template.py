"""The template: shown beforehand, deployed, waited for, and what it gave."""

from __future__ import annotations

import json
import os
import re

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.deploy.azure import PASSES, Azure, AzureError, DeployError, innermost
from shared.redaction import redact

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "infra" / "main.bicep"
SAMPLE = ROOT / "infra" / "main.bicepparam"
NAME = "sluice"
_RUNNING = ("Accepted", "Running", "Created", "Creating", "Updating")
_OURS = "[?properties.outputs.functionAppName && properties.provisioningState=='Succeeded']"
_LATER = re.compile(rf"{PASSES.pattern}|AuthorizationFailed")
"""The rights of a new identity, too, take a while."""


@dataclass(frozen=True)
class Deployment:
    """The template in one resource group, with the operator's parameters."""

    azure: Azure
    group: str
    parameters: Path
    fixed: dict[str, str] = field(default_factory=dict)

    def preview(self) -> None:
        """Show what it would change."""
        self.azure.again(lambda: self.azure.show("deployment", "group", "what-if", *self._words(self._kept())))

    def deploy(self, **values: str) -> None:
        """Deploy it, and wait until Azure is done. One that runs already is waited for first."""
        self._wait_for_one_that_runs()
        words = self._words({**self._kept(), **values})
        self.azure.again(lambda: self._once(words), passes=_LATER, tries=4, pause=60)

    def outputs(self) -> dict[str, str]:
        """What the last deployment gave, whoever started it: this program, azd, or somebody by hand."""
        last = self._last()
        if last is None:
            raise DeployError(
                f"there is no deployment of the template in resource group {self.group}",
                fix="Start with the step resources",
            )
        return {name: one["value"] for name, one in last["outputs"].items()}

    def _once(self, words: list[str]) -> None:
        self.azure.read("deployment", "group", "create", "--no-wait", *words)
        state = self._ended()
        if state != "Succeeded":
            raise AzureError(self._failure() or f"the deployment is {state}")

    def _wait_for_one_that_runs(self) -> None:
        if self._state() in _RUNNING:
            self.azure.say("  a deployment runs already: waiting for it")
            self._ended()

    def _ended(self) -> str:
        """How the deployment ended. An hour and a half is more than a private network and a database take."""
        state = self.azure.until(lambda: (now := self._state()) not in _RUNNING and now, tries=540, pause=10)
        if not state:
            raise DeployError("the deployment did not end within 90 minutes", fix="See it in the portal, then go on")
        return str(state)

    def _state(self) -> str | None:
        words = ("--resource-group", self.group, "--name", NAME, "--query", "properties.provisioningState")
        state: str | None = self.azure.found("deployment", "group", "show", *words)
        return state

    def _failure(self) -> str | None:
        """Why: of the modules' failures, too, the innermost reason."""
        words = ("--resource-group", self.group, "--name", NAME, "--query", "properties.error")
        error = self.azure.read("deployment", "group", "show", *words)
        return redact(" ".join(innermost(error).split())) if error else None

    def _last(self) -> dict[str, Any] | None:
        query = f"sort_by({_OURS}, &properties.timestamp)[-1].properties.{{outputs: outputs, parameters: parameters}}"
        last: dict[str, Any] | None = self.azure.found(
            "deployment", "group", "list", "--resource-group", self.group, "--query", query
        )
        return last

    def _kept(self) -> dict[str, str]:
        """The start of a budget cannot be changed."""
        last = (self._last() or {}).get("parameters") or {}
        if not last.get("monthlyBudget", {}).get("value"):
            return {}
        return {"budgetStart": last["budgetStart"]["value"]}

    def _words(self, values: dict[str, str]) -> list[str]:
        words = ["--resource-group", self.group]
        if self.parameters.suffix == ".bicepparam":  # it names its template
            words += ["--parameters", str(self.parameters)]
        else:
            words += ["--template-file", str(TEMPLATE), "--parameters", f"@{self.parameters}"]
        given = [f"{name}={value}" for name, value in {**self.fixed, **values}.items()]
        return ["--name", NAME, *words, *(["--parameters", *given] if given else [])]


def use_operator(azure: Azure, parameters: Path) -> None:
    """Let whoever is signed in administer the database and upload exports, if only the sample of parameters is there.

    The sample reads variables of the environment, which are set here unless they are.
    """
    if parameters != SAMPLE or os.environ.get("SLUICE_SQL_ADMIN_OBJECT_ID"):
        return
    try:
        user = azure.read("ad", "signed-in-user", "show", "--query", "{id: id, name: userPrincipalName}")
    except AzureError as error:
        raise DeployError(
            f"it is not known who should administer the database: {error}",
            fix="Give parameters with sqlAdminName, sqlAdminObjectId and sqlAdminType (--parameters)",
        ) from error
    azure.say(f"{user['name']} will administer the database and may upload exports; --parameters says otherwise")
    os.environ.update(
        SLUICE_SQL_ADMIN_OBJECT_ID=user["id"], SLUICE_SQL_ADMIN_NAME=user["name"], SLUICE_SQL_ADMIN_TYPE="User",
        SLUICE_UPLOADER=user["id"],
    )  # fmt: skip


def check_parameters(parameters: Path) -> None:
    """DeployError, before anything is called, for what would fail late."""
    if not parameters.exists():
        raise DeployError(f"there is no file {parameters}", fix="Name another with --parameters")
    if parameters.suffix != ".json":
        return
    try:
        given = json.loads(parameters.read_text(encoding="utf-8"))["parameters"]
    except (ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{parameters} is no file of parameters", fix="docs/deploying.md has an example") from error
    missing = [name for name in ("sqlAdminName", "sqlAdminObjectId") if not given.get(name, {}).get("value")]
    if missing and not given.get("existingSqlServerName", {}).get("value"):
        raise DeployError(f"{parameters} lacks {' and '.join(missing)}", fix="Say who administers the SQL server")
