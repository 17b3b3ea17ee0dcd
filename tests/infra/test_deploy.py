"""The deployment: its order, what it repeats, what it says, how it goes on; a stand-in plays Azure."""

from __future__ import annotations

import json
import os
import re
import stat
import sys

import pytest
import requests

from click.testing import CliRunner

from infra.deploy import __main__ as command
from infra.deploy import azure, package
from infra.deploy.azure import Azure, reason
from infra.deploy.steps import STEPS
from shared.web.pages.sign_in import OPERATOR, READER
from tests.infra.standin import KEY, Commands, Fails, last

DONE = {"state": "done", "summary": {"inserted": 1, "updated": 0}, "units": []}
DENIED = Fails("ERROR: (AuthorizationFailed) The client does not have authorization to perform action")
BUSY = Fails('ERROR: {"code": "DeploymentActive", "message": "another one is running"}')
CLOSED = Fails(
    "Error: cannot set up: Client with IP address '203.0.113.7' is not allowed to access the server. Let it in."
)


class App:
    """The app, once it is deployed: its responses to each kind of request, the last for ever."""

    def __init__(self):
        self.health = [{"status": "ok", "checks": []}]
        self.jobs = [DONE]
        self.seen = []

    def get(self, url, headers):
        assert {"x-functions-key": KEY} == headers
        self.seen.append(url)
        results = self.health if "/health" in url else self.jobs
        reply = results.pop(0) if len(results) > 1 else results[0]
        if reply is None:
            raise requests.ConnectionError("no route")
        response = requests.Response()
        response.status_code, response._content = 200, json.dumps(reply).encode()
        return response


@pytest.fixture
def world(monkeypatch, tmp_path):
    """Azure, the app, what was waited, and the command over them."""
    commands, app, waits = Commands(), App(), []
    monkeypatch.setattr(azure, "run", commands.run)
    monkeypatch.setattr(azure, "_az", lambda: "az")
    monkeypatch.setattr(command, "_wait", waits.append)
    monkeypatch.setattr(command, "_get", app.get)
    monkeypatch.setattr(command, "_BUILD", tmp_path)
    monkeypatch.setattr(package, "CODE", ("host.json",))
    monkeypatch.setattr(package.shutil, "copytree", lambda *_, **__: None)
    for name in [name for name in os.environ if name.startswith(("SLUICE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    for name in ("SLUICE_SQL_ADMIN_OBJECT_ID", "SLUICE_SQL_ADMIN_NAME", "SLUICE_SQL_ADMIN_TYPE", "SLUICE_UPLOADER"):
        monkeypatch.setenv(name, "")  # so that what the command sets is taken back
    return World(commands, app, waits)


class World:
    def __init__(self, commands, app, waits):
        self.commands, self.app, self.waits = commands, app, waits

    def up(self, *words, reply=""):
        return CliRunner().invoke(command.main, ["up", "--group", "rg", *words], input=reply)

    def down(self, *words, reply=""):
        return CliRunner().invoke(command.main, ["down", "--group", "rg", *words], input=reply)


def test_steps_are_done_in_their_order(world):
    """What would change is shown first; then resources, code, database, events, and a file to test with."""
    result = world.up("--yes")

    order = [
        "account show", "group exists", "ad signed-in-user show", "deployment group what-if", "deployment group create",
        "-m pip install", "functionapp deployment source config-zip", "functionapp function list",
        "-m shared sql setup", "resource show", "functionapp keys list", "deployment group create",
        "storage blob upload", "storage blob show", "storage blob delete",
    ]  # fmt: skip
    assert 0 == result.exit_code, result.output
    places, start = [], 0
    for one in order:
        start = next(n for n in range(start, len(world.commands.calls)) if world.commands.calls[n].startswith(one)) + 1
        places.append(start)
    assert sorted(places) == places
    assert ["resources", "code", "database", "events", "smoke"] == re.findall(
        r"^(\w+) \.\.\.$", result.output, re.MULTILINE
    )
    first, second = world.commands.made("deployment group create")
    assert "eventSubscription" not in first
    assert "eventSubscription=true" in second
    assert [] == world.waits
    assert "MB unpacked" in result.output


def test_nothing_is_changed_until_the_operator_agrees(world):
    """The preview is shown, and a no ends it."""
    result = world.up(reply="n\n")

    assert 1 == result.exit_code
    assert "Resource changes: 30 to create." in result.output
    assert [] == [
        line for line in world.commands.calls if re.search(r"\b(create|delete|register|upload|config-zip)\b", line)
    ]


def test_preview_alone_changes_nothing(world):
    """For a workflow that shows what a merge would do."""
    result = world.up("--preview")

    assert 0 == result.exit_code
    assert world.commands.calls[-1].startswith("deployment group what-if")


def test_group_is_made_where_it_is_missing(world):
    """Only with a region, and only after a yes."""
    world.commands.play("group exists", False)

    assert "Say where to make it: --location REGION" in world.up("--yes").output
    assert 0 == world.up("--yes", "--location", "westeurope").exit_code
    assert ["group create --name rg --location westeurope --output json"] == world.commands.made("group create")


def test_slow_deployment_is_waited_for(world):
    """Azure says each ten seconds that it is running."""
    world.commands.play("deployment group show", None, "Accepted", "Running", "Running", "Succeeded")

    assert 0 == world.up("--yes", "--skip", "events", "--skip", "smoke").exit_code
    assert [10, 10, 10] == world.waits


def test_deployment_that_runs_already_is_joined(world):
    """It was started by an earlier attempt that was cut off; the next is not refused."""
    world.commands.play("deployment group show", "Running", "Running", "Succeeded")
    result = world.up("--yes", "--skip", "events", "--skip", "smoke")

    assert 0 == result.exit_code
    assert "a deployment runs already" in result.output


def test_slow_app_is_waited_for(world):
    """Its functions, its key, its health and its job all come late."""
    world.commands.play("functionapp function list", Fails("ERROR: (NotFound) no app"), [], ["func-x/on_export"])
    world.commands.play("functionapp keys list", None, None, KEY)
    world.app.health = [None, {"status": "failed", "checks": []}, {"status": "ok", "checks": []}]
    world.app.health[1]["checks"] = [{"check": "warehouse", "status": "failed", "message": "paused", "fix": "Wait"}]
    world.app.jobs = [None, {"error": "no such job"}, {"state": "running", "summary": None, "units": []}, DONE]

    assert 0 == world.up("--yes", "--from", "code").exit_code
    assert [15, 15, 15, 15, 15, 15, 10, 10, 10] == world.waits


@pytest.mark.parametrize("step", list(STEPS))
def test_it_begins_with_the_step_that_is_named(world, step):
    """Steps before it are not done again."""
    result = world.up("--yes", "--from", step)

    assert 0 == result.exit_code, result.output
    steps = list(STEPS)
    assert steps[steps.index(step) :] == re.findall(r"^(\w+) \.\.\.$", result.output, re.MULTILINE)
    assert bool(world.commands.made("deployment group what-if")) == (step == "resources")


QUOTA = {"code": "DeploymentFailed", "details": [{"code": "Quota", "message": "no cores"}]}
FAILURES = [
    ("account show", [Fails("ERROR: Please run 'az login' to setup account.")], None, "Sign in with: az login"),
    ("ad signed-in-user show", [Fails("ERROR: not a user")], None, "Give parameters with sqlAdminName"),
    ("deployment group create", [DENIED], "resources", "AuthorizationFailed"),
    ("deployment group show", [None, "Failed", QUOTA], "resources", "Quota: no cores"),
    ("deployment group show", ["Running"], "resources", "did not end within 90 minutes"),
    ("-m pip --version", ["pip 25.0 from /x (python 3.9)"], "code", "Install Python 3.13"),
    ("-m pip install", [Fails("ERROR: No distribution found for x==1\nERROR: more")], "code", "found for x==1"),
    ("functionapp deployment source config-zip", [Fails("ERROR: BlobUploadFailed: 403")], "code", "BlobUploadFailed"),
    ("functionapp function list", [[]], "code", "has found no function on_export"),
    ("-m shared sql setup", [Fails("Error: Login failed for user. Check it.")], "database", "Login failed"),
    ("-m shared sql setup", [CLOSED], "database", "is not allowed to access"),
    ("functionapp keys list", [None], "events", "the host has not loaded the blob trigger"),
    ("deployment group create", [None, Fails("ERROR: Webhook handshake failed")], "events", "handshake failed"),
    ("deployment group list", [None], "code", "Start with the step resources"),
    ("storage blob upload", [Fails("ERROR: denied")], "smoke", "Give your object id in the parameter uploaders"),
]


@pytest.mark.parametrize(("which", "results", "step", "said"), FAILURES)
def test_failure_is_one_line_and_says_how_to_go_on(world, which, results, step, said):
    """No traceback; the command to go on with."""
    world.commands.play(which, *results)
    result = world.up("--yes", *(["--from", step] if which == "deployment group list" else []))

    assert 1 == result.exit_code
    assert said in result.output
    assert isinstance(result.exception, SystemExit)
    error = result.output[result.output.index("Error: ") :]
    assert (2 if step else 1) == len(error.splitlines())
    if step:
        assert f"Go on with: python -m infra.deploy up --group rg --from {step}" in error


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([{"state": "pending", "summary": None, "units": []}], "has not loaded the file in ten minutes"),
        ([{"state": "failed", "summary": {}, "units": [{"error": "no rights"}]}], "no rights"),
        ([{"state": "terminated", "summary": None, "units": []}], "was not loaded: terminated"),
        ([DONE | {"summary": {"inserted": 0, "updated": 0}}], "was not loaded: done"),
    ],
)
def test_file_that_is_not_loaded_fails_the_deployment(world, jobs, said):
    """And it is removed: reconcile would load it later."""
    world.app.jobs = jobs
    result = world.up("--yes", "--from", "smoke")

    assert 1 == result.exit_code
    assert said in result.output
    assert 1 == len(world.commands.made("storage blob delete"))


def test_sick_app_is_reported_with_what_it_names(world):
    """The findings of its own checks."""
    world.app.health = [
        {"status": "failed", "checks": [{"check": "ledger", "status": "failed", "message": "403", "fix": "Grant it"}]}
    ]

    assert "ledger: 403 (Grant it)" in world.up("--yes", "--from", "smoke").output


@pytest.mark.parametrize(
    ("which", "failure", "tries"),
    [
        ("deployment group create", BUSY, 2),
        ("deployment group create", DENIED, 2),
        ("functionapp deployment source config-zip", Fails("ERROR: status code: 502"), 2),
    ],
)
def test_what_may_pass_is_tried_again(world, which, failure, tries):
    """New roles, a deployment of somebody else, a gateway."""
    world.commands.play(which, failure, None)

    assert 0 == world.up("--yes", "--skip", "events", "--skip", "smoke").exit_code
    assert tries == len(world.commands.made(which))
    assert 1 == len(world.waits)


def test_what_cannot_pass_is_not_tried_again(world):
    """A wrong parameter stays wrong."""
    world.commands.play("deployment group create", Fails('ERROR: {"code": "InvalidTemplate", "message": "no"}'))

    assert 1 == world.up("--yes").exit_code
    assert 1 == len(world.commands.made("deployment group create"))


def test_handshake_is_tried_ten_times(world):
    """A cold app responds too late."""
    failure = Fails("ERROR: Webhook validation handshake failed for the endpoint")
    world.commands.play("deployment group create", *[failure] * 9, None)

    assert 0 == world.up("--yes", "--from", "events", "--skip", "smoke").exit_code
    assert [30] * 9 == world.waits


def test_subscription_that_exists_is_left_alone(world):
    """Unless the operator asks for it: its key was changed."""
    world.commands.play("resource show", "Succeeded")

    assert 0 == world.up("--yes").exit_code
    assert 1 == len(world.commands.made("deployment group create"))
    assert 0 == world.up("--yes", "--from", "events").exit_code
    assert 2 == len(world.commands.made("deployment group create"))


def test_this_machine_is_let_through_the_firewall_for_a_while(world):
    """The server names the address; the rule is removed even if the setup fails."""
    world.commands.play("-m shared sql setup", CLOSED, CLOSED, None)

    assert 0 == world.up("--yes", "--from", "database", "--skip", "smoke").exit_code
    create, delete = world.commands.made("sql server firewall-rule")
    assert "create --resource-group rg-sql --server sql-x --name sluice-deploy --start-ip-address 203.0.113.7" in create
    assert "delete" in delete
    assert [30] == world.waits


def test_budget_keeps_the_start_that_it_has(world):
    """Azure refuses another one; without a budget there is none to keep."""
    world.commands.play("deployment group list", last(monthlyBudget=300, budgetStart="2026-03-01"))
    world.up("--yes", "--skip", "events", "--skip", "smoke")
    (with_budget,) = world.commands.made("deployment group create")
    world.commands.play("deployment group list", last(monthlyBudget=0, budgetStart="2026-03-01"))
    world.up("--yes", "--skip", "events", "--skip", "smoke")
    without = world.commands.made("deployment group create")[-1]

    assert "budgetStart=2026-03-01" in with_budget
    assert "budgetStart" not in without


def test_vault_that_was_deleted_with_the_group_is_restored(world):
    """Nobody can destroy it for 90 days, so that its name is taken."""
    world.commands.play("keyvault list-deleted", ["kvx"])

    assert 0 == world.up("--yes", "--skip", "events", "--skip", "smoke").exit_code
    assert ["keyvault recover --name kvx --resource-group rg --output json"] == world.commands.made("keyvault recover")


def test_no_secret_is_on_a_command_line_or_the_screen(world):
    """Others on the machine can read both."""
    result = world.up("--yes")

    assert 0 == result.exit_code
    assert KEY not in result.output
    assert [] == [line for line in world.commands.calls if KEY in line]
    assert any("x-functions-key" not in url and KEY not in url for url in world.app.seen)


def test_parameters_are_read_before_anything_is_called(world, tmp_path):
    """A file that lacks who administers the database would fail late."""
    file = tmp_path / "p.json"
    file.write_text('{"parameters": {"sqlAdminName": {"value": "x"}}}')
    result = world.up("--yes", "--parameters", str(file))

    assert "lacks sqlAdminObjectId. Say who administers the SQL server." in result.output
    assert [] == world.commands.calls
    file.write_text('{"parameters": {"existingSqlServerName": {"value": "x"}}}')
    assert 0 == world.up("--yes", "--parameters", str(file)).exit_code
    assert (
        f"--template-file {package.ROOT / 'infra/main.bicep'} --parameters @{file}"
        in world.commands.made("deployment group create")[0]
    )


def test_group_is_deleted_once_its_name_is_typed(world):
    """What is in it is listed first."""
    world.commands.play("group exists", True, True, True, False)
    wrong = world.down(reply="rg-other\n")
    right = world.down(reply="rg\n")

    assert "nothing is deleted" in wrong.output
    assert "Microsoft.Web/sites func-x" in right.output
    assert 0 == right.exit_code
    assert 1 == len(world.commands.made("group delete"))
    assert [10] == world.waits
    assert "there is no resource group rg" in world.down().output


def test_registration_of_the_status_page_is_made_once(world):
    """With the roles that the page knows, and closed to those who have none; again, it is brought up to date."""
    first = CliRunner().invoke(command.main, ["sign-in", "--group", "rg"])
    world.commands.play("ad app list", "22222222-2222-2222-2222-222222222222")
    world.commands.play("ad sp show", "33333333-3333-3333-3333-333333333333")
    second = CliRunner().invoke(command.main, ["sign-in", "--group", "rg"])

    assert "statusClientId = 22222222-2222-2222-2222-222222222222" in first.output
    assert first.output == second.output
    (made,), (updated,) = world.commands.made("ad app create"), world.commands.made("ad app update")
    roles = [json.loads(re.search(r"--app-roles (\[.+\])", line)[1]) for line in (made, updated)]
    assert roles[0] == roles[1]
    assert {READER, OPERATOR} == {role["value"] for role in roles[0]}
    assert "--web-redirect-uris https://func-x.azurewebsites.net/.auth/login/aad/callback" in made
    assert 1 == len(world.commands.made("ad sp create"))
    assert world.commands.calls[-1].endswith("--set appRoleAssignmentRequired=true --output json")


def test_reason_is_the_innermost():
    """Azure wraps errors into each other, as JSON and as text in it."""
    inner = json.dumps({"error": {"code": "SkuNotAvailable", "message": "no zone"}})
    text = json.dumps(
        {"code": "DeploymentFailed", "message": "see details", "details": [{"code": "Conflict", "message": inner}]}
    )

    assert "SkuNotAvailable: no zone" == reason(f"WARNING: x\nERROR: {text}\n")
    assert "Please run 'az login'" == reason("ERROR: Please run 'az login'\n")
    assert "it said nothing" == reason("")
    link = json.dumps({"code": "Url", "message": "https://x.test/blobs?functionName=a&code=canary is wrong"})
    assert "Url: https://x.test/blobs is wrong" == reason(f"ERROR: {link}")
    assert "canary" not in reason("ERROR: https://x.test/runtime/webhooks/blobs?functionName=a&code=canary failed")


def test_command_is_found_on_the_path(monkeypatch, tmp_path):
    """As a program of its own, with JSON on its output; without one, how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(command.main, ["down", "--group", "rg"])
    assert "Install it: https://aka.ms/installazurecli" in result.output

    script = tmp_path / "az"
    script.write_text(f"#!{sys.executable} -SE\nimport sys, json\nprint(json.dumps(sys.argv[1:]))\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    said = []
    assert ["group", "exists", "--output", "json"] == Azure(said.append, said.append).read("group", "exists")
    script.write_text("#!/bin/sh\necho Deployment was successful.\n")
    assert "Deployment was successful." == Azure(said.append, said.append).read("functionapp")
