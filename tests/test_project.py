"""The files around the code agree with each other and with the tools that read them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib

from dataclasses import fields
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

import pytest

from packaging.requirements import Requirement

from shared.settings import Settings, SystemSettings
from tests.standins.worker.rules import ncrontab_problem

ROOT = Path(__file__).parents[1]
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


def test_nothing_that_clashes_with_the_worker_is_deployed():
    """The worker has its own grpc and protobuf, and the host sends logs: a second exporter would send them twice."""
    wanted, seen = set(_pinned("requirements.txt", f"3.{sys.version_info.minor}")), set()
    while wanted - seen:
        name = (wanted - seen).pop()
        seen.add(name)
        needed = map(Requirement, metadata.requires(name) or [])
        wanted |= {one.name for one in needed if not one.marker or one.marker.evaluate({"extra": ""})}

    assert "azure-functions-durable" in seen
    assert set() == seen & {
        "grpcio", "protobuf", "azure-functions-worker", "azure-functions-runtime", "azure-monitor-opentelemetry"
    }  # fmt: skip


def test_every_limit_of_the_host_is_the_thread_count():
    """What was fetched but finds no thread waits while its lease runs, and no other instance can take it."""
    durable = _json("host.json")["extensions"]["durableTask"]
    limits = {name: durable[f"maxConcurrent{name}Functions"] for name in ("Activity", "Orchestrator")}

    (deployed,) = re.findall(r"^param threads int = (\d+)$", (ROOT / "infra/main.bicep").read_text(), re.MULTILINE)
    threads = int(_sample()["PYTHON_THREADPOOL_THREAD_COUNT"])
    assert {threads} == {*limits.values(), int(deployed)}


def test_host_knows_every_setting_of_durable():
    """One that it does not know changes nothing, without an error."""
    durable = _json("host.json")["extensions"]["durableTask"]
    known = {"hubName", "maxConcurrentActivityFunctions", "maxConcurrentOrchestratorFunctions", "storageProvider"}

    assert known == durable.keys()
    assert {"type", "partitionCount", "maxQueuePollingInterval"} == durable["storageProvider"].keys()


def test_queues_are_polled_often_enough():
    """A job that starts on an idle app waits for this long."""
    assert "00:00:10" == _json("host.json")["extensions"]["durableTask"]["storageProvider"]["maxQueuePollingInterval"]


def test_activity_ends_before_its_job_counts_as_stuck():
    """One that hangs would run beside the next attempt. Half an hour, the host's default, is short for a merge."""
    hours, minutes, seconds = map(int, _json("host.json")["functionTimeout"].split(":"))

    assert 1800 < hours * 3600 + minutes * 60 + seconds < Settings.from_env({}).stuck_after


def test_bundle_of_extensions_is_one_the_plan_takes():
    """Flex Consumption wants version 4."""
    bundle = {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"}

    assert bundle == _json("host.json")["extensionBundle"]


def test_every_call_and_error_is_logged():
    """Sampling leaves them alone, and what the functions say is not below the level."""
    logging = _json("host.json")["logging"]

    assert "Request;Exception;Trace" == logging["applicationInsights"]["samplingSettings"]["excludedTypes"]
    assert "Information" == logging["logLevel"]["Function"]


def test_event_of_a_blob_is_tried_a_few_times_at_most():
    """Then the watchdog finds it in the poison queue."""
    assert {"maxDegreeOfParallelism": 8, "poisonBlobThreshold": 5} == _json("host.json")["extensions"]["blobs"]


def test_settings_that_bindings_read_have_a_sample():
    """host.json and the triggers read nothing that the sample leaves out."""
    assert _bindings() <= _sample().keys()


def test_every_schedule_of_the_sample_has_six_fields():
    """Seconds first, and no more than once a minute; the host leaves out a timer whose schedule it cannot read."""
    schedules = {name: value for name, value in _sample().items() if name.endswith("_SCHEDULE")}

    assert {name for name in _bindings() if name.endswith("_SCHEDULE")} == schedules.keys()
    assert {} == {name: ncrontab_problem(text) for name, text in schedules.items() if ncrontab_problem(text)}


def test_every_setting_of_the_sample_is_read():
    """By the app, for a system of the catalog, by a binding or by the host."""
    systems = [path.stem.upper() for path in (ROOT / "shared" / "catalog" / "systems").glob("*.toml")]
    known = {field.name.upper() for field in fields(Settings)}
    known |= {f"{system}_{field.name.upper()}" for system in systems for field in fields(SystemSettings)}
    connections = set(re.findall(r'connection="(\w+)"', (ROOT / "function_app.py").read_text()))
    host = {"AzureWebJobsStorage", "FUNCTIONS_WORKER_RUNTIME", "PYTHON_THREADPOOL_THREAD_COUNT"}

    assert host | connections <= _sample().keys()
    assert set() == _sample().keys() - known - connections - host - _bindings()


def test_sample_holds_no_secret():
    """It is committed, and copied."""
    secret = {field.name.upper() for field in fields(Settings) if not field.repr and "read" in field.metadata}
    places = {"WAREHOUSE_URL", "LEDGER_URL", "STATE_URL"}
    system = {f"COOLR_{field.name.upper()}" for field in fields(SystemSettings) if not field.repr}

    assert {} == {name: text for name, text in _sample().items() if text and name in (secret | system) - places}


def test_package_is_the_app_and_nothing_else():
    """.funcignore leaves out what git knows of the rest, and nothing of what runs."""
    packed = _packed()
    data = {path for path in packed if path.startswith("shared/") and not path.endswith(".py")}

    assert {"function_app.py", "host.json", "requirements.txt", "shared"} == {path.partition("/")[0] for path in packed}
    assert [] == sorted(path for path in _names() - packed if path.startswith("shared/"))
    assert {"shared/catalog/systems/coolr.toml", "shared/web/openapi.json"} <= data
    assert [] == [
        path
        for path in data
        if not re.fullmatch(
            r"shared/(web/openapi\.json|web/pages/(icon\.svg|style\.css|upload\.js|templates/\w+\.html)|catalog/systems/\w+\.toml)",
            path,
        )
    ]


def test_what_git_ignores_is_not_deployed_either():
    """Caches, data and secrets of whoever deploys; but for what a build on their machine installs."""
    ignored = {line.rstrip("/") for line in _patterns(".gitignore")} - {".python_packages"}
    patterns = _patterns(".funcignore")

    assert [] == sorted(name for name in ignored if not any(fnmatchcase(name, pattern) for pattern in patterns))
    assert not any(fnmatchcase(".python_packages", pattern) for pattern in patterns)


def test_help_lists_every_target():
    """A target that is not listed is not found."""
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    shown = subprocess.run(["make", "help"], cwd=ROOT, env=env, capture_output=True, text=True, check=True)

    assert targets == [line.split()[0] for line in shown.stdout.splitlines()]


def test_indexing_imports_little():
    """A cold start pays for the SDK and the names of the jobs; the app itself comes with its first call."""
    heavy = {"duckdb", "paramiko", "psycopg", "pyarrow", "pymysql", "pyodbc", "sqlalchemy"}
    modules = _printed("import function_app; print(json.dumps(list(sys.modules)))")

    assert [] == sorted(heavy.intersection(modules))
    ours = {name for name in modules if name.partition(".")[0] == "shared"}
    nouns = {"shared.model", "shared.declared", "shared.traffic"}
    assert {"shared", "shared.errors", "shared.jobs", "shared.jobs.orchestrations", "shared.settings", *nouns} == ours


def test_no_file_names_a_folder_of_somebodys_machine():
    """What is committed works anywhere."""
    machine = re.compile(rb"(?<![\w.:/>})-])/(?:work|root|home|Users)/[\w.-]+")
    found = {str(path.relative_to(ROOT)): machine.findall(path.read_bytes()) for path in _files()}

    assert {} == {name: hits for name, hits in found.items() if hits}


def test_every_class_of_tests_stands_where_it_is_collected():
    """A suite that inherits all its tests is missed by nobody if its file is never looked into."""
    others = [path for path in (ROOT / "tests").rglob("*.py") if not path.name.startswith("test_")]

    assert [] == [str(path) for path in others if re.search(r"^class Test", path.read_text("utf-8"), re.MULTILINE)]


@pytest.fixture(params=PYTHONS)
def python(request):
    return request.param


def _printed(code):
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


def _sample():
    return _json("local.settings.sample.json")["Values"]


def _bindings():
    """The settings that host.json and the triggers name."""
    texts = [(ROOT / name).read_text() for name in ("host.json", "function_app.py")]
    return set(re.findall(r"%(\w+)%", "".join(texts)))


def _patterns(name):
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _packed():
    """What of the files that git knows is deployed."""
    out = set()
    for of in ("--cached", "--others"):
        out |= _git("ls-files", "-z", "--ignored", of, "--exclude-from=.funcignore")
    return _names() - out


def _files():
    return [ROOT / name for name in _names()]


def _names():
    """Files that are, or are about to be, under version control."""
    names = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return {name for name in names if (ROOT / name).is_file()}


def _git(*words):
    listed = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return {name for name in listed.stdout.split("\0") if name}
