"""Orchestrators never retry inside task_all or task_any: on durable 1.x the results then reach the wrong tasks.

Azure/azure-functions-durable-python#603, fixed in 2.x only; tests/durable_host shows what happens. Children that are
awaited together call one activity at a time, and try again by a loop of their own.
"""

from __future__ import annotations

import ast

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "function_app.py", *sorted((ROOT / "shared").rglob("*.py"))]
RETRIED = {"call_activity_with_retry", "call_sub_orchestrator_with_retry"}
TOGETHER = {"task_all", "task_any"}


def named(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of everything that *tree* refers to, be it called, kept for later or asked for by ``getattr``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def retried(tree: ast.AST) -> list[str]:
    """Every use of a retried call in *tree*."""
    return [f"line {line}: {name}" for line, name in sorted(set(named(tree))) if name in RETRIED]


def mixed(tree: ast.AST) -> list[str]:
    """Every use of a retried call in a function that also waits for several tasks together, wherever it does so.

    Stricter than the defect, which needs the one inside the other: no way through a variable has to be followed.
    """
    functions = (
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    )
    found = {use for each in functions if TOGETHER & {name for _, name in named(each)} for use in retried(each)}
    return sorted(found)


def offences(rule: Callable[[ast.AST], list[str]]) -> dict[str, list[str]]:
    """What *rule* finds, by source file."""
    found = {str(path.relative_to(ROOT)): rule(ast.parse(path.read_text())) for path in SOURCES}
    return {path: uses for path, uses in found.items() if uses}


def test_no_function_retries_beside_tasks_that_are_awaited_together():
    """The host counts the tasks of such a function differently than the SDK."""
    assert {} == offences(mixed)


def test_nothing_is_retried_by_the_host():
    """A helper's retried call could be awaited together with others by its caller: so there are none at all."""
    assert {} == offences(retried)


@pytest.mark.parametrize(
    "code",
    [
        "def main(c):\n yield c.task_all([c.call_activity_with_retry('a', r)])",
        "def main(c):\n yield c.task_any([c.call_activity('a'), c.call_sub_orchestrator_with_retry('a', r)])",
        "def main(c):\n yield c.task_all([c.call_activity_with_retry('a', r, n) for n in range(3)])",
        "def main(c):\n yield c.task_all(c.call_activity_with_retry('a', r, n) for n in range(3))",
        "def main(c):\n call = c.call_activity_with_retry('a', r)\n yield c.task_all([call])",
        "def main(c):\n a = []\n for n in x:\n  a.append(c.call_activity_with_retry('a', r))\n yield c.task_all(a)",
        "def main(c):\n a = {}\n a[1] = c.call_activity_with_retry('a', r)\n yield c.task_any(list(a.values()))",
        "def main(c):\n retry = c.call_activity_with_retry\n yield c.task_all([retry('a', r)])",
        "def main(c):\n yield c.task_all([getattr(c, 'call_activity_with_retry')('a', r)])",
        "def main(c):\n def one(n):\n  return c.call_activity_with_retry('a', r, n)\n yield c.task_all([one(1)])",
        "def main(c):\n both = c.task_all\n yield both([c.call_activity_with_retry('a', r)])",
        "async def main(c):\n await c.task_all([c.call_activity_with_retry('a', r)])",
        "main = lambda c: c.task_all([c.call_activity_with_retry('a', r)])",
        "class App:\n def main(self, c):\n  if x:\n   yield c.task_all([c.call_activity_with_retry('a', r)])",
        "def main(c):\n yield c.call_activity_with_retry('a', r)\n yield c.task_all([c.call_activity('b')])",
    ],
)  # fmt: skip
def test_retries_beside_tasks_awaited_together_are_found(code):
    """Inside the call, by way of a variable, a list, a comprehension, an alias or a function, or only next to it."""
    assert [] != mixed(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "def main(c):\n yield c.task_all([c.call_sub_orchestrator('a', n) for n in range(3)])",
        "def main(c):\n yield c.call_activity_with_retry('a', r)",
        "def main(c):\n yield c.task_all([])\ndef child(c):\n yield c.call_activity_with_retry('a', r)",
        "def main(c):\n '''Never call_activity_with_retry inside task_all.'''\n yield c.task_all([])",
        "def main(c):\n # call_activity_with_retry\n yield c.task_any([c.create_timer(t)])",
    ],
)  # fmt: skip
def test_what_cannot_be_mixed_up_is_let_through(code):
    """Children awaited together, one retried call at a time, and what is only said."""
    assert [] == mixed(ast.parse(code))


def test_retried_calls_are_found_anywhere():
    """Outside of functions, too; each is named with its line."""
    code = "call = c.call_sub_orchestrator_with_retry\ndef f(c):\n return c.call_activity_with_retry('a', r)"

    assert ["line 1: call_sub_orchestrator_with_retry", "line 3: call_activity_with_retry"] == retried(ast.parse(code))


def test_sources_are_looked_at():
    """A folder that moved would leave the rule without anything to check."""
    assert ROOT / "function_app.py" in SOURCES
    assert len(SOURCES) > 20
