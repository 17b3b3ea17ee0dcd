"""Write docs/template.md, the table of the parameters of infra/main.bicep: ``make options``."""

from __future__ import annotations

import re

from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "template.md"
TEXT = """# Parameters of the template

What `infra/main.bicep` can be given, and what it then deploys; [deploying.md](deploying.md) says how. No parameter is a
secret: secrets are in the key vault, and parameters have their names. This page is generated from the template:
`make options`.

| parameter | default | what it is |
|---|---|---|
"""


def page() -> str:
    """The page as the template says it should be. ValueError if a parameter has no description."""
    return TEXT + "".join(_row(block) for block in _blocks())


def _blocks() -> list[str]:
    """Each parameter with its decorators."""
    template = (ROOT / "infra" / "main.bicep").read_text(encoding="utf-8")
    return re.findall(r"^((?:@.+\n)*param .+\n)", template, re.MULTILINE)


def _row(block: str) -> str:
    name, kind, default = re.search(r"^param (\w+) (\w+)(?: = (.+))?$", block, re.MULTILINE).groups()
    described = re.search(r"^@description\('(.+)'\)$", block, re.MULTILINE)
    if described is None:
        raise ValueError(f"parameter {name} has no description")
    shown = f"`{default}`" if default else "needed"
    return f"| {name} | {shown} | {_limits(block, kind)}{_cell(described[1])} |\n"


def _limits(block: str, kind: str) -> str:
    allowed = re.search(r"^@allowed\(\[(.+)\]\)$", block, re.MULTILINE)
    if allowed:
        return "one of " + ", ".join(f"`{one.strip(' ')}`".replace("'", "") for one in allowed[1].split(",")) + ". "
    least, most = (re.search(rf"^@{name}\((-?\d+)\)$", block, re.MULTILINE) for name in ("minValue", "maxValue"))
    if least or most:
        return f"{least[1] if least else ''} to {most[1]}. " if most else f"{least[1]} or more. "
    if kind == "string":
        shortest, longest = (
            re.search(rf"^@{name}\((\d+)\)$", block, re.MULTILINE) for name in ("minLength", "maxLength")
        )
        return f"{shortest[1]} to {longest[1]} characters. " if shortest and longest else ""
    return {"array": "a list. ", "object": "names and values. "}.get(kind, "")


def _cell(text: str) -> str:
    return re.sub(r"<([^>]+)>", r"`<\1>`", text.replace("|", "\\|"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
