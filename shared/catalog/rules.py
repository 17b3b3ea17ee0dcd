"""How a section of a catalog file is read: a rule for each key, and what is wrong in words.

By hand, in tables of rules: pydantic took as many lines, and 0.15 s of every start.
"""

from __future__ import annotations

import math

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from shared.errors import ConfigError


class Rule(NamedTuple):
    """The rule of one key."""

    allowed: str
    """What a value must be; an error repeats it."""
    read: Callable[[Any], Any]
    """The value as the catalog keeps it. ValueError or ConfigError if it is not allowed."""
    required: bool = False


def read_section(entry: str, section: Any, rules: Mapping[str, Rule], problems: list[str]) -> dict[str, Any]:
    """The values of a section whose name in errors is *entry*; what is wrong is added to *problems* and left out."""
    if not isinstance(section, dict):
        problems.append(f"{entry} must be a table, not {section!r}")
        return {}
    unknown = [name for name in section if name not in rules]
    known = ", ".join(sorted(rules))
    problems += [f"{entry}: {name!r} is unknown; known are {known}" for name in unknown]
    found: dict[str, Any] = {}
    for name, rule in rules.items():
        if name in section or rule.required:
            try:
                found[name] = rule.read(section.get(name))
            except _Nested as error:
                problems += [f"{entry}: {problem}" for problem in error.problems]
            except (ValueError, ConfigError):
                problems.append(f"{entry}: {name} must be {rule.allowed}, not {section.get(name)!r}")
    return found


class _Nested(Exception):  # noqa: N818 - carries problems of a section within a section
    """What is wrong within the value of a key."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_nested(entry: str, section: Any, rules: Mapping[str, Rule]) -> dict[str, Any]:
    problems: list[str] = []
    found = read_section(entry, section, rules, problems)
    if problems:
        raise _Nested(problems)
    return found


def require(condition: object) -> None:
    if not condition:
        raise ValueError


def text(value: Any) -> str:
    require(isinstance(value, str) and value)
    return str(value)


def section_value(value: Any) -> dict[str, Any]:
    require(isinstance(value, dict))
    return dict(value)


def whole(value: Any) -> int:
    """A whole number from 0 on."""
    require(isinstance(value, int) and not isinstance(value, bool) and value >= 0)
    return int(value)


def number(value: Any) -> float:
    require(isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))
    return float(value)


def text_list(value: Any) -> tuple[str, ...]:
    require(isinstance(value, list))
    return tuple(map(text, value))


def flag(value: Any) -> bool:
    require(isinstance(value, bool))
    return bool(value)


def one_of(*allowed: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        require(value in allowed)
        return value

    return read
