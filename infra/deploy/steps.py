"""The steps of a deployment, in their order. Each may be repeated, and finds out from Azure what there is."""

from __future__ import annotations

import os
import re
import sys
import tempfile

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import requests

from infra.deploy import azure, package
from infra.deploy.azure import PASSES, Azure, AzureError, DeployError
from infra.deploy.template import Deployment
from shared import catalog
from shared.jobs.triggers import job_for_file
from shared.redaction import redact

PROVIDERS = ("Microsoft.App", "Microsoft.EventGrid")
"""What a subscription has to know, and does not register by itself: the network of Flex Consumption, and events."""
TRIGGER = "on_export"
"""The function that events lead to."""
RULE = "sluice-deploy"
"""The firewall rule that lets this machine in while the database is set up."""
_CODE = re.compile(rf"{PASSES.pattern}|BlobUploadFailed|AuthorizationPermissionMismatch|Forbidden|status code: 5\d\d")
_HANDSHAKE = re.compile(rf"{PASSES.pattern}|(?i:handshake|validation request|unable to verify)|404|NotFound")


@dataclass(frozen=True)
class Deployer:
    """What the steps share: Azure, the template, and what was asked for on the command line."""

    azure: Azure
    template: Deployment
    get: Callable[[str, Mapping[str, str]], requests.Response]
    now: Callable[[], datetime]
    build: Path
    location: str | None = None
    client: str | None = None
    remote_build: bool = False
    renew: bool = False
    """Whether to subscribe to events again although there is a subscription: its key was changed."""

    @property
    def group(self) -> str:
        return self.template.group

    # -- before the steps

    def prepare(self, confirm: Callable[[str], None]) -> None:
        """See that somebody is signed in and that the group is there; a vault that was deleted with it is restored."""
        try:
            account = self.azure.read("account", "show", "--query", "{name: name, user: user.name}")
        except AzureError as error:
            raise DeployError(f"nobody is signed in: {error}", fix="Sign in with: az login") from error
        self.azure.say(f"subscription {account['name']}, signed in as {account['user']}")
        if not self.azure.read("group", "exists", "--name", self.group):
            if self.location is None:
                raise DeployError(
                    f"there is no resource group {self.group}", fix="Say where to make it: --location REGION"
                )
            confirm(f"Make the resource group {self.group} in {self.location}?")
            self.azure.read("group", "create", "--name", self.group, "--location", self.location)

    # -- the steps

    def resources(self) -> None:
        """Everything but the subscription to events, which needs code that runs."""
        for provider in PROVIDERS:
            words = ("--namespace", provider, "--query", "registrationState")
            if self.azure.read("provider", "show", *words) != "Registered":
                self.azure.read("provider", "register", "--namespace", provider, "--wait")
        for vault in self._deleted_vaults():
            self.azure.say(f"  restoring the key vault {vault}, which was deleted with the group")
            self.azure.read("keyvault", "recover", "--name", vault, "--resource-group", self.group)
        self.template.deploy()

    def code(self) -> None:
        """The package, built for the Python of the app, and functions that the host has found in it."""
        outputs = self.template.outputs()
        built = package.build(outputs["pythonVersion"], self.build, libraries=not self.remote_build)
        self.azure.say(f"  {built}")
        app = ("--resource-group", self.group, "--name", outputs["functionAppName"])
        words = ("--src", str(built.path), "--build-remote", str(self.remote_build).lower(), "--timeout", "900")
        self.azure.again(
            lambda: self.azure.read("functionapp", "deployment", "source", "config-zip", *app, *words), passes=_CODE
        )
        names = ("functionapp", "function", "list", *app, "--query", "[].name")
        if not self.azure.until(lambda: self._has_trigger(self.azure.found(*names)), tries=40, pause=15):
            raise DeployError(
                f"the host has found no function {TRIGGER} in the package",
                fix="Read in the log of the app why its code cannot be imported (docs/operations.md)",
            )

    def database(self) -> None:
        """Schemas, the access to staging, the user of the app. This machine is let through the firewall meanwhile."""
        outputs = self.template.outputs()
        said = self._set_up(outputs)
        if said is None:
            return
        address = re.search(r"IP address '([\d.]+)' is not allowed", said)
        if address is None:
            raise DeployError(f"the database is not set up: {said}", fix="Then go on with --from database")
        self.azure.say(f"  letting {address[1]} through the firewall until the database is set up")
        server = ("--resource-group", outputs["sqlServerGroup"], "--server", outputs["sqlServerName"], "--name", RULE)
        ends = ("--start-ip-address", address[1], "--end-ip-address", address[1])
        self.azure.read("sql", "server", "firewall-rule", "create", *server, *ends)
        try:
            said = self.azure.until(lambda: self._set_up(outputs) is None or None, tries=10, pause=30)
        finally:
            self.azure.read("sql", "server", "firewall-rule", "delete", *server)
        if said is None:
            raise DeployError(
                f"the database is not set up: {self._set_up(outputs)}", fix="Then go on with --from database"
            )

    def events(self) -> None:
        """The subscription to events of arrived files, once the key of the app's endpoint exists."""
        outputs = self.template.outputs()
        there = ("--ids", f"{outputs['eventTopicId']}/eventSubscriptions/exports", "--api-version", "2025-02-15")
        state = self.azure.found("resource", "show", *there, "--query", "properties.provisioningState")
        if state == "Succeeded" and not self.renew:
            self.azure.say("  there is a subscription; --from events makes it again")
            return
        app = ("--resource-group", self.group, "--name", outputs["functionAppName"])
        keys = ("functionapp", "keys", "list", *app, "--query", "systemKeys.blobs_extension")
        if not self.azure.until(lambda: self.azure.found(*keys), tries=40, pause=15):
            raise DeployError(
                "the key of the endpoint for events does not appear: the host has not loaded the blob trigger",
                fix="Read in the log of the app why it does not start, then go on with --from code",
            )
        self.azure.again(lambda: self.template.deploy(eventSubscription="true"), passes=_HANDSHAKE, tries=10, pause=30)

    def smoke(self) -> None:
        """Upload an export of one row, and wait until the app has loaded it."""
        outputs = self.template.outputs()
        app = ("--resource-group", self.group, "--name", outputs["functionAppName"])
        headers = {
            "x-functions-key": self.azure.read("functionapp", "keys", "list", *app, "--query", "functionKeys.default")
        }
        self._check_health(outputs["apiUrl"], headers)
        client = self.client or self._client(app) or "Smoke"
        path = f"Delta/{client}/{self.now():%Y%m%d%H%M%S}/smoke.parquet"
        blob = (
            "--auth-mode",
            "login",
            "--account-name",
            outputs["storageName"],
            "--container-name",
            "exports",
            "--name",
            path,
        )
        self._upload(blob)
        try:
            etag = self.azure.read("storage", "blob", "show", *blob, "--query", "properties.etag").strip('"')
            start = job_for_file(catalog.read(catalog.PACKAGED), f"{outputs['exportsUrl']}/{path}", etag)
            name = start.job if start else path
            job = self.azure.until(lambda: self._ended(outputs["apiUrl"], name, headers), tries=60, pause=10)
        finally:
            self.azure.read("storage", "blob", "delete", *blob)
        self._judge(job, name)

    # -- parts of steps

    def _deleted_vaults(self) -> list[str]:
        """Vaults of the group that were deleted and cannot be made again for 90 days."""
        query = f"[?contains(properties.vaultId, '/resourceGroups/{self.group}/')].name"
        found: list[str] = (
            self.azure.read("keyvault", "list-deleted", "--resource-type", "vault", "--query", query) or []
        )
        return found

    @staticmethod
    def _has_trigger(names: list[str] | None) -> bool:
        return any(name.endswith(f"/{TRIGGER}") for name in names or [])

    @staticmethod
    def _set_up(outputs: Mapping[str, str]) -> str | None:
        """Set the database up; what went wrong, in one line."""
        env = os.environ | {
            "WAREHOUSE_URL": f"mssql://{outputs['sqlServerHost']}/{outputs['sqlDatabaseName']}",
            "STAGING_URL": outputs["stagingUrl"],
        }
        words = [sys.executable, "-m", "shared", "sql", "setup", "--user", outputs["identityName"], "--apply"]
        done = azure.run(words, env=env, cwd=package.ROOT)
        if not done.returncode:
            return None
        return redact(([line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"])[-1])

    def _check_health(self, api: str, headers: Mapping[str, str]) -> None:
        """Wait until the app says that it reaches everything it needs: a paused database takes a minute."""
        said: list[str] = []

        def is_healthy() -> bool:
            response = self._response(f"{api}/health?deep=true", headers)
            said[:] = _failures(response) if response and "status" in response else ["it does not answer"]
            return not said

        if not self.azure.until(is_healthy, tries=20, pause=15):
            raise DeployError(
                f"the app is not healthy: {'; '.join(said)}", fix="Correct what it names, then go on with --from smoke"
            )

    def _response(self, url: str, headers: Mapping[str, str]) -> dict[str, Any] | None:
        """The app's response, from JSON; None while it starts."""
        try:
            response: dict[str, Any] = self.get(url, headers).json()
        except (requests.RequestException, ValueError):
            return None
        return response

    def _client(self, app: tuple[str, ...]) -> str | None:
        """Whose exports the app loads: of those with another client it would load none."""
        query = "[?name=='COOLR_CLIENT'].value | [0]"
        found: str | None = self.azure.read("functionapp", "config", "appsettings", "list", *app, "--query", query)
        return found

    def _upload(self, blob: tuple[str, ...]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "smoke.parquet"
            row = {"SmokeId": [1], "ModifiedOn": [self.now().replace(tzinfo=None)], "IsDeleted": [False]}
            pq.write_table(pa.table(row), file)
            try:
                self.azure.read("storage", "blob", "upload", *blob, "--file", str(file))
            except AzureError as error:
                raise DeployError(
                    f"the export cannot be uploaded: {error}",
                    fix="Give your object id in the parameter uploaders, then go on with --from resources",
                ) from error

    def _ended(self, api: str, job: str, headers: Mapping[str, str]) -> dict[str, Any] | None:
        response = self._response(f"{api}/jobs/{job}", headers)
        return response if response and response.get("state", "pending") not in ("pending", "running") else None

    def _judge(self, job: dict[str, Any] | None, name: str) -> None:
        if job is None:
            raise DeployError(
                f"the app has not loaded the file in ten minutes: no job {name} has ended",
                fix="See in the metrics of the system topic whether its event was sent, then go on with --from events",
            )
        summary = job["summary"] or {}
        if job["state"] != "done" or not summary.get("inserted", 0) + summary.get("updated", 0):
            errors = [str(unit["error"]) for unit in job["units"] if unit.get("error")]
            raise DeployError(
                f"the row of the file was not loaded: {'; '.join(errors) or job['state']}",
                fix="Correct what it names, then go on with --from smoke",
            )
        self.azure.say("  the row of the file is in coolr.smoke; you can drop that table and its view")


def _failures(health: Mapping[str, Any]) -> list[str]:
    """What the app cannot reach, with what to do about it."""
    failed = [one for one in health.get("checks", []) if one["status"] == "failed"]
    return [f"{one['check']}: {one['message']} ({one['fix']})" for one in failed]


STEPS: dict[str, Callable[[Deployer], None]] = {
    "resources": Deployer.resources,
    "code": Deployer.code,
    "database": Deployer.database,
    "events": Deployer.events,
    "smoke": Deployer.smoke,
}
"""In the order in which they are done."""


def take_down(azure: Azure, group: str) -> None:
    """Delete the resource group with all that is in it, and wait until it is gone."""
    azure.read("group", "delete", "--name", group, "--yes", "--no-wait")
    if not azure.until(lambda: not azure.read("group", "exists", "--name", group), tries=360, pause=10):
        raise DeployError(f"resource group {group} is still there after an hour", fix="See in the portal what keeps it")
