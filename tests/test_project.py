"""The files around the code agree with each other and with the tools that read them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib

from dataclasses import fields
from pathlib import Path

import pytest

from packaging.requirements import Requirement

from shared.settings import Settings

ROOT = Path(__file__).parent.parent
PYTHONS = ["3.11", "3.12", "3.13"]


def test_runtime_pins_and_ranges_name_the_same_packages(python):
    """requirements.txt has one pin for each dependency of the project, and no other."""
    assert _declared(python).keys() == _pinned("requirements.txt", python).keys()


def test_runtime_pins_lie_within_the_ranges(python):
    """What is deployed is what the project says it works with."""
    assert [] == _outside(_pinned("requirements.txt", python), _declared(python))


def test_dev_pins_and_ranges_name_the_same_packages(python):
    """requirements-dev.txt has one pin for each dependency of the dev group, and no other."""
    assert _declared(python, group="dev").keys() == _pinned("requirements-dev.txt", python).keys()


def test_dev_pins_lie_within_the_ranges(python):
    """Contributors install what the dev group says."""
    assert [] == _outside(_pinned("requirements-dev.txt", python), _declared(python, group="dev"))


def test_dev_requirements_contain_the_runtime_ones():
    """One file is enough to work on the project."""
    assert "-r requirements.txt" in (ROOT / "requirements-dev.txt").read_text().splitlines()


def test_every_supported_python_is_tried():
    """The pins are checked for the versions that the project claims."""
    claimed = Requirement(f"python{_project()['requires-python']}").specifier

    assert PYTHONS == [f"3.{minor}" for minor in range(30) if claimed.contains(f"3.{minor}")]


def test_thread_count_is_the_hosts_activity_limit():
    """An activity that was fetched but finds no thread waits while its lease runs."""
    limit = _json("host.json")["extensions"]["durableTask"]["maxConcurrentActivityFunctions"]

    assert str(limit) == _json("local.settings.sample.json")["Values"]["PYTHON_THREADPOOL_THREAD_COUNT"]
    assert f"param threads int = {limit}\n" in _bicep()


def test_settings_that_the_host_reads_have_a_sample():
    """host.json asks for nothing that the sample leaves out."""
    wanted = set(re.findall(r"%(\w+)%", (ROOT / "host.json").read_text()))

    assert wanted <= _json("local.settings.sample.json")["Values"].keys()


def test_settings_of_the_sample_are_deployed():
    """What runs on a laptop finds its settings in Azure too; the host's own are made of identities there."""
    sample = _json("local.settings.sample.json")["Values"].keys()

    defaults = {field.name.upper() for field in fields(Settings)} - {"WAREHOUSE_URL", "LEDGER_URL"}
    local = {"AzureWebJobsStorage", "FUNCTIONS_WORKER_RUNTIME", "COOLR_TIMEZONE"}
    assert sample - local - defaults <= _deployed_settings()


def test_settings_that_flex_consumption_refuses_are_not_deployed():
    """Runtime, version, build and scale stand in functionAppConfig on this plan."""
    refused = re.compile(
        r"FUNCTIONS_EXTENSION_VERSION|FUNCTIONS_WORKER_\w+|FUNCTIONS_MAX_HTTP_CONCURRENCY|ENABLE_ORYX_BUILD"
        r"|SCM_DO_BUILD_DURING_DEPLOYMENT|WEBSITE_\w+"
    )

    assert [] == refused.findall(_bicep())


def test_every_parameter_of_the_deployment_is_described():
    """An operator learns from the template what to give."""
    lines = _bicep().splitlines()
    params = [n for n, line in enumerate(lines) if line.startswith("param ")]

    assert [] == [lines[n] for n in params if not _decorated(lines, n)]


def test_help_lists_every_target():
    """A target nobody can find is not there."""
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    shown = subprocess.run(["make", "help"], cwd=ROOT, env=env, capture_output=True, text=True, check=True)

    assert targets == [line.split()[0] for line in shown.stdout.splitlines()]


def test_functions_are_indexed(functions):
    """The SDK finds the functions, each under one name (a second one would end the indexing)."""
    assert "health" in functions


def test_health_asks_for_a_key(functions):
    """How the app is doing is nobody else's business."""
    trigger = next(binding for binding in functions["health"] if binding["type"] == "httpTrigger")

    assert ("health", "FUNCTION", ["GET"]) == (trigger["route"], trigger["authLevel"], trigger["methods"])


def test_indexing_imports_nothing_heavy():
    """A cold start pays for the SDK alone."""
    heavy = "{'duckdb', 'pyarrow', 'pyodbc', 'shared', 'sqlalchemy'}"

    assert [] == _told(f"import function_app; print(json.dumps(sorted({heavy} & set(sys.modules))))")


def test_no_file_names_a_folder_of_somebodys_machine():
    """What is committed works anywhere."""
    machine = re.compile(rb"(?<![\w.:/>})-])/(?:work|root|home|Users)/[\w.-]+")
    found = {str(path.relative_to(ROOT)): machine.findall(path.read_bytes()) for path in _files()}

    assert {} == {name: hits for name, hits in found.items() if hits}


@pytest.fixture(params=PYTHONS)
def python(request):
    return request.param


@pytest.fixture(scope="module")
def functions():
    """Each function's bindings by its name, as the host gets them: an app is indexed once per process."""
    show = "{f.get_function_name(): [json.loads(b) for b in f.get_raw_bindings()] for f in found}"
    return _told(f"from function_app import app; found = app.get_functions(); print(json.dumps({show}))")


def _told(code):
    """What the code prints as JSON in an interpreter of its own."""
    command = [sys.executable, "-c", f"import json, sys; {code}"]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)


def _project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _declared(python, group=None):
    project = _project()
    return _by_name(project["optional-dependencies"][group] if group else project["dependencies"], python)


def _pinned(name, python):
    lines = (ROOT / name).read_text().splitlines()
    return _by_name([line for line in lines if line and not line.startswith(("#", "-r "))], python)


def _by_name(lines, python):
    """The requirements that hold on this Python, by name; a second one for a name is a mistake."""
    here = {"python_version": python}
    wanted = [r for r in map(Requirement, lines) if not r.marker or r.marker.evaluate(here)]
    names = [r.name for r in wanted]

    assert sorted(set(names)) == sorted(names)
    return dict(zip(names, wanted, strict=True))


def _outside(pins, ranges):
    return [str(pin) for name, pin in pins.items() if not ranges[name].specifier.contains(_exactly(pin))]


def _exactly(pin):
    (only,) = pin.specifier

    assert "==" == only.operator
    return only.version


def _json(name):
    return json.loads((ROOT / name).read_text())


def _bicep():
    return (ROOT / "infra" / "main.bicep").read_text()


def _deployed_settings():
    return set(re.findall(r"name: '(\w+)'", _bicep()))


def _decorated(lines, at):
    """Whether the decorators right above line `at` hold a description."""
    above = at - 1
    while lines[above].startswith("@"):
        if lines[above].startswith("@description("):
            return True
        above -= 1
    return False


def _files():
    """Files that are, or are about to be, under version control."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in set(listed.stdout.split("\0")) if name]
    return [path for path in paths if path.is_file()]
