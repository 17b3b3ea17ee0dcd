"""The templates as text and as parts of it, for the tests: there is no compiler of Bicep in Python."""

from __future__ import annotations

import json
import re

from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
TEMPLATES = sorted(path.relative_to(INFRA).as_posix() for path in INFRA.rglob("*.bicep"))
SAMPLE = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
APP = (ROOT / "function_app.py").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")


def bicep():
    """The text of each template by its path."""
    return {name: (INFRA / name).read_text(encoding="utf-8") for name in TEMPLATES}


def main():
    return bicep()["main.bicep"]


def module(name):
    return bicep()[f"modules/{name}.bicep"]


def everything():
    return "".join(bicep().values())


def deployed():
    """What each deployed setting is set to, as an expression: a parameter by its name, a text in quotes."""
    bodies = re.findall(r"^var \w+Settings = \{\n(.*?)^\}", main(), re.MULTILINE | re.DOTALL)
    found = [re.findall(r"^  (\w+): (.+?)(?: //.*)?$", body, re.MULTILINE) for body in bodies]

    assert len(found) == 2
    return dict(chain.from_iterable(found))


def containers():
    """The names of the containers that are made."""
    return re.findall(r"^  '([\w-]+)'", block(module("storage"), "var containerNames = ["), re.MULTILINE)


def kept():
    """After how many days the content of a container is deleted."""
    found = re.findall(r"^  '?([\w-]+)'?: (\d+)", block(module("account"), "var daysKept = {"), re.MULTILINE)
    return {name: int(days) for name, days in found}


def resource(text, symbol):
    """The body of a resource."""
    return block(text, f"resource {symbol} ")


def block(text, start):
    """From the line in which *start* stands to the first that closes it."""
    rest = text[text.index(start) :]
    indent = re.search(r"^ *", text[text.rfind("\n", 0, text.index(start)) + 1 :])[0]
    return rest[: re.search(rf"\n{indent}[]}}](?:\n|\Z)", rest).start()]


def lines(text):
    return {line.partition(" //")[0].strip() for line in text.splitlines()}


def words(text, name):
    """The texts of a list."""
    return re.findall(r"'([^']+)'", re.search(rf"\b{name}: \[([^]]*)\]", text)[1])


def arguments(name):
    """What the module of that symbol is given."""
    called = block(main(), f"module {name} ")
    return dict(re.findall(r"^    (\w+): (.+)$", block(called, "params: {"), re.MULTILINE))


def modules():
    """The path of each module by its symbol."""
    return dict(re.findall(r"^module (\w+) '([\w/.]+)'", main(), re.MULTILINE))


def code(language):
    """The blocks of code in the guide."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
