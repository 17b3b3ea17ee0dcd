"""A T-SQL query in DuckDB's words, worked out once for all queries that differ in ids and values alone.

Most statements of a test come again and again, with another run's id in their names, and other values of parameters
and of what they ask the server. Those are the holes of a template, filled each time.
"""

from __future__ import annotations

import re

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tests.standins.tsql import rewrite
from tests.standins.tsql.rewrite import HOLE, World

_ID = re.compile(r"(?=\d*[a-f])[0-9a-f]{16}")
"""Of a run: 16 hexadecimal digits. What has no letter may be a number, and is left alone."""
_HOLE = re.compile(HOLE.format(r"(\d+)"))


@dataclass(frozen=True)
class Question:
    """What a query asks of its world: a variable, or a function with its arguments, which may be holes."""

    name: str
    given: tuple[object, ...] | None

    def answer(self, world: World, earlier: Sequence[str]) -> str | None:
        if self.given is None:
            return world.variables[self.name]
        return world.function(self.name, [_argument(one, earlier) for one in self.given])


@dataclass(frozen=True)
class Template:
    text: str
    questions: tuple[Question, ...]
    """One a hole, in the order of their numbers."""
    unknown: tuple[Question, ...]
    """Functions that the server does not have, which are left as they are."""

    def filled(self, world: World) -> str | None:
        """For *world*; None if that has not the same functions as the one it was made in."""
        answers: list[str] = []
        for question in self.questions:
            answer = question.answer(world, answers)
            if answer is None:
                return None
            answers.append(answer)
        if any(question.answer(world, answers) is not None for question in self.unknown):
            return None
        return _filled(self.text, answers)


class _Inquiry:
    """Answers a query with holes, and notes what was asked."""

    def __init__(self, world: World) -> None:
        self.questions: list[Question] = []
        self.unknown: list[Question] = []
        self.answers: list[str] = []
        self.by_view = False
        self._world = world
        self.world = replace(world, variables=_Holes(self), function=self._function, view=self._view)

    def variable(self, name: str) -> str:
        return self._hole(Question(name, None), self._world.variables[name])

    def _function(self, name: str, given: Sequence[object]) -> str | None:
        question = Question(name, tuple(given))
        answer = question.answer(self._world, self.answers)
        if answer is None:
            self.unknown.append(question)
            return None
        return self._hole(question, answer)

    def _view(self, name: str) -> str | None:
        found = self._world.view(name)
        self.by_view = self.by_view or found is not None
        return found

    def _hole(self, question: Question, answer: str) -> str:
        self.questions.append(question)
        self.answers.append(answer)
        return HOLE.format(len(self.answers) - 1)


class _Holes(dict[str, str]):
    def __init__(self, inquiry: _Inquiry) -> None:
        self._inquiry = inquiry

    def __missing__(self, name: str) -> str:
        return self._inquiry.variable(name)


_KNOWN: dict[str, Template] = {}


def duckdb(sql: str, world: World) -> str:
    """The query *sql* for DuckDB, see `rewrite`."""
    ids = [] if "OBJECT_ID" in sql else _ID.findall(sql)  # a name that is looked up must be the real one
    masks = {id: f"feed{n:012}" for n, id in enumerate(dict.fromkeys(ids))}
    masked = _ID.sub(lambda found: masks.get(found[0], found[0]), sql)
    known = _KNOWN.get(masked)
    text = _made(masked, world) if known is None else known.filled(world)
    if text is None:
        return rewrite.rewritten(sql, world)
    for id, mask in masks.items():
        text = text.replace(mask, id)
    return text


def _made(masked: str, world: World) -> str:
    """The text for *world*; its template is known from now on, unless a view has put rows of the server into it."""
    inquiry = _Inquiry(world)
    text = rewrite.rewritten(masked, inquiry.world)
    if not inquiry.by_view:
        _KNOWN[masked] = Template(text, tuple(inquiry.questions), tuple(inquiry.unknown))
    return _filled(text, inquiry.answers)


def _filled(text: str, answers: Iterable[str]) -> str:
    texts = list(answers)
    return _HOLE.sub(lambda found: texts[int(found[1])], text)


def _argument(given: object, answers: Sequence[str]) -> object:
    """What a function is given; of a hole what fills it, if that is a constant."""
    found = _HOLE.fullmatch(given) if isinstance(given, str) else None
    return given if found is None else rewrite.constant_text(answers[int(found[1])])
