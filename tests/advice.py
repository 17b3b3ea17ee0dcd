"""Advice that a test follows to the letter: it names the fix text, sees that the error gives it, and does it.

tests/test_fixes.py finds the texts that ``advised``, ``advises`` and ``follows`` name, and those that none names.
"""

from __future__ import annotations

import re

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared.errors import IngestError


class Advice:
    """What an error advised, once it was raised."""

    error: IngestError
    values: tuple[str, ...] = ()
    """What stood in the open places of the text."""


@contextmanager
def advised(template: str) -> Iterator[Advice]:
    """The block ends in an error whose fix is *template*; the test then follows it."""
    advice = Advice()
    with pytest.raises(IngestError) as caught:
        yield advice
    advice.error = caught.value
    advice.values = advises(template, advice.error.fix)


def follow(template: str, read: Callable[[Any], object], wrong: Iterable[Any], right: Iterable[Any]) -> None:
    """*read* refuses each of *wrong* with *template*, and takes each of *right*, which are written as that says."""
    for one in wrong:
        with advised(template):
            read(one)
    for one in right:
        assert read(one)


def advises(template: str, text: str) -> tuple[str, ...]:
    """What stands in the open places of *template* in *text*: a fix, or an error that ends with it."""
    pattern = "(.+?)".join(map(re.escape, template.split("{}")))
    found = re.search(rf"(?:^|\. ){pattern}\.?$", text, re.DOTALL)
    assert found, f"{text!r} does not advise {template!r}"
    return found.groups()


def follows(template: str, *values: Any, id: str | None = None, marks: Any = ()) -> Any:
    """A case of a parametrised test that takes the text first, then *values*."""
    return pytest.param(template, *values, id=id or template[:50], marks=marks)
