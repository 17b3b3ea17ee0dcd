"""One thing has one name, the field's: words that this project gave up, looked for in every file."""

from __future__ import annotations

import ast
import re
import subprocess

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SELF = "tests/test_words.py"

WORDS = {
    r"desks?": "job documents",
    r"papers?": "documents",
    r"in (?:its |the |two |another )?hands?": "the job that holds the lease",
    r"told of": "alerted, sent",
    r"(?:is|are|was|were|be|been|being) told(?! apart| from)": "alerted, sent, given",
    r"tell(?:s|ing)? of": "report, alert",
    r"half blind": "could not finish its checks",
    r"nobody knows why": "no error was recorded",
    r"sets? aside": "reject, quarantine",
    r"steps? aside": "quarantine",
    r"mend(?:s|ed|ing)?": "correct, repair",
    r"swe(?:eps?|pt|eping)": "clean up",
    r"brakes?|braked": "limit",
    r"house": "the package, the code",
    r"(?:kept|keeps?) in step": "in sync",
    r"twins?": "duplicate",
    r"survivors?": "winner",
    r"scrub(?:s|bed|bing)?": "redact",
    r"furniture": "nothing",
}
"""Patterns of sentences, each with what is said instead."""
NAMES = {
    "ask": "request", "asked": "request", "asks": "requests", "told": "message, result, options", "heard": "on_error",
    "noticed": "found", "passing": "retryable", "doubt": "verify_history", "by_hand": "requested_by",
    "notice": "notification", "hands": "lease", "desk": "documents", "papers": "documents", "works": "work_items",
    "offer": "export", "twins": "duplicates", "survivors": "winners", "dress": "add_view_and_indexes",
    "brake": "check_limits", "tally": "counter", "mended": "corrected", "swept": "cleaned_up", "sweep": "clean_up",
    "dog": "watchdog", "house": "app, case",
}  # fmt: skip
"""Names in code, with underscores around them or not, each with what it is called instead."""
ANSWERS = {"answer": "response, result", "answers": "responses, results"}
"""Names that only stand-ins for servers may have: what they answer is theirs to say."""
CLASSES = {
    "Desk", "Hands", "State", "Once", "Offer", "Passed", "Queue", "Notice", "Watch", "Place", "Told", "Later", "Said",
    "Filling", "Way", "Copy", "Claims", "Spelling", "Answer", "Patient", "Units",
}  # fmt: skip
"""Classes that were renamed: one of that name again would mislead whoever knew the old one."""

PARTS = {"told", "asked", "heard", "mended", "mend"}
"""Words that no name of a test has: it says what is reported, requested or corrected."""

ALLOWED = {
    "CHANGELOG.md": {"set aside"},  # what an operator used to read
    "shared/jobs/watchdog.py": {"hands", "told"},  # names of documents at rest: the first of an earlier version
}
"""Words of an earlier version that have to be named, read or removed."""


@cache
def texts() -> dict[str, str]:
    """Every file under version control that is text, by its path."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.decode().split("\0") if name and name != SELF and (ROOT / name).is_file()]
    found = {name: (ROOT / name).read_bytes() for name in names}
    return {name: content.decode() for name, content in found.items() if b"\0" not in content}


def old_words(text: str) -> Iterator[tuple[int, str]]:
    """Words of sentences that were given up, with their lines."""
    for pattern in WORDS:
        for found in re.finditer(rf"(?<![\w-]){pattern}(?![\w-])", text, re.IGNORECASE):
            yield text.count("\n", 0, found.start()) + 1, found[0].lower()


def old_names(tree: ast.AST, known: set[str]) -> Iterator[tuple[int, str]]:
    """Names of variables, arguments, attributes, functions and classes that were given up, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name.strip("_") in CLASSES:
            yield node.lineno, node.name
        for attribute in ("id", "arg", "attr", "name"):
            name = getattr(node, attribute, None)
            if isinstance(name, str) and name.strip("_").lower() in known:
                yield getattr(node, "lineno", 0), name


def old_parts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names of tests with a part that was given up, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield from ((node.lineno, node.name) for part in node.name.split("_") if part in PARTS)


def test_sentences_use_the_words_of_today():
    """Code, tests, documentation, the OpenAPI document and the templates."""
    found = [
        f"{name}:{line}: {word}"
        for name, text in texts().items()
        for line, word in old_words(text)
        if word not in ALLOWED.get(name, ())
    ]

    assert [] == found


def test_names_of_tests_use_the_words_of_today():
    found = [
        f"{name}:{line}: {test}"
        for name, text in texts().items()
        if name.startswith("tests/") and name.endswith(".py")
        for line, test in old_parts(ast.parse(text))
    ]

    assert [] == found


def test_names_are_those_of_today():
    """A request is no ``ask``, and what comes of it no ``told``."""
    found = [
        f"{name}:{line}: {word}"
        for name, text in texts().items()
        if name.endswith(".py")
        for line, word in old_names(ast.parse(text), {*NAMES, *(() if name.startswith("tests/") else ANSWERS)})
    ]

    assert [] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The run has it in hand.", ["in hand"]),
        ("What was set aside is mended.", ["mended", "set aside"]),
        ("Work that failed is told of.", ["is told", "told of"]),
        ("Settings that were set by hand; the warehouse; a sweeping view is not.", ["sweeping"]),
        ("Blob Storage is told apart by its host. Ask the sender. It offers a house-number.", []),
    ],
)
def test_old_words_are_found(text, found):
    """With boundaries, and without those that a reader takes as they are."""
    assert found == sorted(word for _, word in old_words(text))


def test_old_names_are_found():
    """As a variable, an argument, an attribute, a keyword, a function and a class."""
    code = "def _ask(told): return told.asked(notice=1)\nclass Desk: pass\nfound = house\nbasket = asking"

    assert {"Desk", "_ask", "asked", "house", "notice", "told"} == {
        name for _, name in old_names(ast.parse(code), set(NAMES))
    }
