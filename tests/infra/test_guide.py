"""docs/deploying.md gives parameters, outputs, settings and commands that exist."""

from __future__ import annotations

import json
import re
import subprocess

from dataclasses import fields

from shared.settings import Settings, SystemSettings
from tests.infra.template import GUIDE, ROOT, code, main


def test_guide_deploys_twice():
    """Resources, code, events; the last in a loop, for the key comes late."""
    first, code, second = (
        GUIDE.index(words) for words in ("\ndeploy\n", "func azure", "deploy eventSubscription=true")
    )

    assert first < code < second
    assert "systemKeys.blobs_extension" in GUIDE


def test_guide_gives_parameters_that_exist():
    """In the file, and beside it."""
    (given,) = (json.loads(text)["parameters"] for text in code("json"))
    beside = re.findall(r"`?\bdeploy (\w+)=", GUIDE)
    wanted = set(re.findall(r"^param (\w+) \w+$", main(), re.MULTILINE))

    assert {"eventSubscription", "taskHubName"} == set(beside)
    assert set(beside) | given.keys() <= set(re.findall(r"^param (\w+)", main(), re.MULTILINE))
    assert wanted <= given.keys()


def test_guide_reads_outputs_that_exist():
    """An output that does not exist is read as nothing."""
    read = set(re.findall(r"[(`]output (\w+)", GUIDE))

    assert read
    assert read <= set(re.findall(r"^output (\w+)", main(), re.MULTILINE))


def test_guide_names_settings_that_exist():
    """Of the app, of CoolR, or of the host; and variables of the workflow that deploys."""
    known = {field.name.upper() for field in fields(Settings)}
    known |= {f"COOLR_{field.name.upper()}" for field in fields(SystemSettings)}
    known |= {*re.findall(r"\bvars\.(\w+)", (ROOT / ".github/workflows/deploy.yml").read_text())}

    assert set(re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", GUIDE)) <= known


def test_commands_of_the_guide_are_shell():
    """They can be pasted; nothing is run here."""
    script = "\n".join(code("bash"))
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)

    assert ("", 0) == (checked.stderr, checked.returncode)
