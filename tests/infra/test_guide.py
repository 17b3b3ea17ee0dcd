"""docs/deploying.md gives parameters, outputs, settings and commands that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

from dataclasses import fields
from pathlib import Path

import pytest

from infra.deploy.__main__ import main as command
from infra.deploy.steps import STEPS
from shared.settings import Settings, SystemSettings
from tests.infra.template import GUIDE, ROOT, code, main


def test_two_commands_deploy():
    """Those of the README are those of the guide, and the second is the command, with options that it has."""
    (block,) = [text for text in code("sh") if "az login" in text]
    signing, deploying = block.strip().splitlines()
    words = re.fullmatch(r'make deploy ARGS="(.+)"', deploying)[1].split()
    recipe = re.search(r"^deploy:.*\n\t@(.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]

    assert "az login" == signing
    assert block in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "$(BIN)/python -m infra.deploy up $(ARGS)" == recipe
    context = command.commands["up"].make_context("up", words)
    assert ("rg-sluice", "westeurope") == (context.params["group"], context.params["location"])


def test_guide_has_every_step_and_option():
    """In their order, and no other."""
    steps = re.findall(r"^\| ([a-z]+) \| ", GUIDE.partition("| step |")[2].partition("| option |")[0], re.MULTILINE)
    options = {option for parameter in command.commands["up"].params for option in parameter.opts}
    named = set(re.findall(r"`(--[a-z-]+)", GUIDE.partition("| option |")[2].partition("\n\n")[0]))

    assert list(STEPS) == steps
    assert options == named | {"--group", "--location"}
    assert re.search(r"python -m infra\.deploy package --python [\d.]+", GUIDE)
    assert {"up", "down", "package", "sign-in"} == set(command.commands)


def test_guide_gives_parameters_that_exist():
    """In the file, and in the text."""
    (given,) = (json.loads(text)["parameters"] for text in code("json"))
    known = set(re.findall(r"^param (\w+)", main(), re.MULTILINE))
    beside = set(re.findall(r"`((?:existing|sql|private|allowed|always|task|python|extra|secret)[A-Z]\w+)`", GUIDE))

    assert {"sqlAdminName", "sqlAdminObjectId"} <= given.keys() <= known
    assert beside <= known
    assert {"existingSqlServerName", "privateNetwork"} <= beside


def test_guide_reads_outputs_that_exist():
    """An output that does not exist is read as nothing."""
    read = set(re.findall(r"[(`]output (\w+)", GUIDE))

    assert read
    assert read <= set(re.findall(r"^output (\w+)", main(), re.MULTILINE))


def test_guide_names_settings_that_exist():
    """Of the app, of CoolR, or of the host; and variables of the workflow that deploys."""
    known = {field.name.upper() for field in fields(Settings)}
    known |= {f"COOLR_{field.name.upper()}" for field in fields(SystemSettings)}
    known |= {*re.findall(r"'(SLUICE_\w+)'", (ROOT / "infra/main.bicepparam").read_text())}
    known |= {*re.findall(r"\bvars\.(\w+)", (ROOT / ".github/workflows/deploy.yml").read_text())}

    assert set(re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", GUIDE)) <= known


def test_commands_of_the_guide_are_shell():
    """They can be pasted; nothing is run here. The script of CI is looked at, too, if ShellCheck is installed."""
    script = "#!/usr/bin/env bash\n" + "\n".join(code("bash") + code("sh"))
    bash = _checked(["bash", "-n"], script)

    assert ("", 0) == (bash.stderr, bash.returncode)
    found = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if found is None:
        pytest.skip("shellcheck is not installed: the commands are only parsed")
    for text in (script, (ROOT / ".ci" / "run").read_text(encoding="utf-8")):
        assert "" == _checked([found, "-"], text).stdout


def _checked(words, text):
    return subprocess.run(words, input=text, capture_output=True, text=True, check=False)
