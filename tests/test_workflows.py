"""The workflows of GitHub, read as YAML: what they run, what they may do, and that one job stands for all."""

from __future__ import annotations

import json
import re

from pathlib import Path

import pytest
import yaml

from infra.deploy.__main__ import main as command
from infra.deploy.steps import STEPS
from tests.test_project import PYTHONS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(path.name for path in FOLDER.glob("*.yml"))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_by_hash(name):
    """A tag can be moved; the comment says which release the hash is."""
    used = re.findall(r"uses: (.+)", _text(name))

    assert used
    assert [] == [use for use in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)]


def test_an_action_has_one_hash_everywhere():
    """An update that was made in one place only would be overlooked."""
    used = {use for name in WORKFLOWS for use in re.findall(r"uses: (.+)", _text(name))}

    assert len(used) == len({use.partition("@")[0] for use in used})


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_may_read_and_no_more(name):
    """A job says what it needs besides; a checkout leaves no token behind; every job ends by itself."""
    workflow = _workflow(name)
    checkouts = [step for step in _steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]

    assert {"contents": "read"} == workflow["permissions"]
    assert checkouts
    assert {False} == {step["with"]["persist-credentials"] for step in checkouts}
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_expression_is_pasted_into_a_command(name):
    """Text of a pull request in one would be run; it reaches a command as a variable of the environment."""
    assert [] == [step["run"] for step in _steps(_workflow(name)) if "${{" in step.get("run", "")]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_uses_no_secret(name):
    """Azure trusts the identity of the workflow: there is nothing to leak."""
    assert "secrets." not in _text(name)


def test_every_supported_python_is_checked():
    """The same versions that the project claims."""
    check = _workflow("ci.yml")["jobs"]["check"]

    assert PYTHONS == check["strategy"]["matrix"]["python"]
    assert ".ci/run" in [step.get("run") for step in check["steps"]]


def test_one_job_stands_for_all_others():
    """A rule of the branch names it alone; it runs even if another failed or was skipped, and fails then."""
    jobs = _workflow("ci.yml")["jobs"]
    done = jobs["done"]
    (step,) = done["steps"]

    assert jobs.keys() - {"done"} == {*done["needs"]}
    assert "always()" == done["if"]
    assert "${{ join(needs.*.result, ' ') }}" == step["env"]["RESULTS"]
    assert f'test "$RESULTS" = "{" ".join(["success"] * len(done["needs"]))}"' == step["run"]


def test_templates_are_compiled_and_the_package_is_built():
    """By the compiler of Bicep, and by the target that everybody has."""
    runs = [step.get("run", "") for step in _steps(_workflow("ci.yml"))]

    assert {"az bicep lint --file infra/main.bicep", "make package"} <= {*runs}
    assert any(run.startswith("az bicep build --file infra/main.bicep") for run in runs)


def test_make_targets_of_the_workflows_exist():
    """A green laptop means a green build."""
    called = {
        name for step in _steps(_workflow("ci.yml")) for name in re.findall(r"make ([\w-]+)", step.get("run", ""))
    }
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert called <= {*targets}


def test_deployment_signs_in_as_the_workflow():
    """With a token of GitHub for one environment, and only where it is needed."""
    workflow = _workflow("deploy.yml")
    (job,) = workflow["jobs"].values()
    (login,) = [step for step in job["steps"] if step.get("uses", "").startswith("azure/login@")]

    assert {"contents": "read", "id-token": "write"} == job["permissions"]
    assert "${{ inputs.environment }}" == job["environment"]
    assert {"client-id", "tenant-id", "subscription-id"} == login["with"].keys()
    assert workflow["concurrency"]["cancel-in-progress"] is False


def test_deployment_is_shown_before_it_changes_anything():
    """Without a choice of the operator it shows only that."""
    inputs = _workflow("deploy.yml")[True]["workflow_dispatch"]["inputs"]  # YAML 1.1 reads the key "on" as true
    steps = [step for step in _steps(_workflow("deploy.yml")) if "infra.deploy" in step.get("run", "")]
    preview, deploy = steps

    assert inputs["preview"]["default"] is True
    assert "--preview" in preview["run"]
    assert "if" not in preview
    assert "${{ !inputs.preview }}" == deploy["if"]
    assert "--preview" not in deploy["run"]


def test_deployment_does_the_steps_of_the_command():
    """With options that it has; what needs the administrator of the database is left to them."""
    text = _text("deploy.yml")
    options = {option for parameter in command.commands["up"].params for option in parameter.opts}
    guide = (ROOT / "docs" / "deploying.md").read_text()

    assert set(re.findall(r" (--[a-z-]+)", text)) <= options
    assert ["database", "smoke"] == re.findall(r"--skip (\w+)", text)
    assert {"database", "smoke"} < set(STEPS)
    assert [] == [name for name in re.findall(r"vars\.(\w+)", text) if name not in guide]


def test_updates_of_dependencies_are_grouped():
    """One pull request a month for each kind, for every place that pins something."""
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    places = {
        (one["package-ecosystem"], place) for one in updates for place in one.get("directories", [one.get("directory")])
    }
    pinned = {("npm", _place(path)) for path in ROOT.glob("tests/**/package.json")}
    pinned |= {("docker", _place(path)) for path in ROOT.glob("integrations/**/Dockerfile")}
    pinned |= {
        ("pip", _place(path)) for path in [*ROOT.glob("requirements.txt"), *ROOT.glob("[bi]*/**/requirements*.txt")]
    }

    assert {"monthly"} == {one["schedule"]["interval"] for one in updates}
    assert all(group["patterns"] == ["*"] for one in updates for group in one["groups"].values())
    assert {("github-actions", "/"), *pinned} <= places


def test_dev_container_has_what_contributors_need():
    """A Python that is supported, Node for the emulators, and the setup of the Makefile."""
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    image = (ROOT / ".devcontainer" / container["build"]["dockerfile"]).read_text()

    assert "make setup" == container["postCreateCommand"]
    assert re.search(r"^FROM python:(\d+\.\d+)", image, re.MULTILINE)[1] in PYTHONS
    assert {"nodejs", "npm"} <= set(image.split())


def _place(path):
    return "/" + "/".join(path.relative_to(ROOT).parts[:-1])


def _text(name):
    return (FOLDER / name).read_text(encoding="utf-8")


def _workflow(name):
    return yaml.safe_load(_text(name))


def _steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]
