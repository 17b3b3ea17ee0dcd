"""Cut a batch of T-SQL into tokens, and the tokens into statements with their IFs and blocks. Runs nothing."""

from __future__ import annotations

import re

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias


class Token(NamedTuple):
    kind: str
    """string, name (in brackets or quotes), word, number or sign."""
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def word(self) -> str:
        """Upper-case, if it is a bare word; else the text of the sign; empty for the rest."""
        return self.text.upper() if self.kind in ("word", "sign") else ""

    @property
    def value(self) -> str:
        """What a name is called, or a string says."""
        if self.kind == "string":
            return self.text[self.text.index("'") + 1 : -1].replace("''", "'")
        if self.kind == "name":
            closing = self.text[-1]
            return self.text[1:-1].replace(closing * 2, closing)
        return self.text


Tokens: TypeAlias = "tuple[Token, ...]"


@dataclass(frozen=True)
class If:
    condition: Tokens
    then: list[Node]
    otherwise: list[Node] = field(default_factory=list)


Node: TypeAlias = "Tokens | If | list[Node]"

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<string>[Nn]?'(?:[^']|'')*')
    |(?P<name>\[(?:[^\]]|\]\])*\]|"(?:[^"]|"")*")
    |(?P<word>@{0,2}[^\W\d][\w@$\#]*|\#{1,2}[\w@$\#]+)
    |(?P<number>0[xX][0-9A-Fa-f]*|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
    |(?P<sign><=|>=|<>|!=|[-+*/%]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(sql: str) -> Tokens:
    """The tokens of *sql* without blanks and comments; ``?`` becomes ``@_p0``, ``@_p1`` ..."""
    found: list[Token] = []
    parameters = 0
    for match in _TOKEN.finditer(sql):
        kind, text = str(match.lastgroup), match.group()
        if text == "?":
            kind, text = "word", f"@_p{parameters}"
            parameters += 1
        if kind != "space":
            found.append(Token(kind, text))
    return tuple(found)


def text(of: Iterable[Token]) -> str:
    """Tokens as text again; ``#name`` becomes ``[~name]``, as sqlglot takes ``#`` away even in brackets."""
    return " ".join(_safe(token) if token.kind in ("word", "name") else token.text for token in of)


def _safe(token: Token) -> str:
    name = token.value
    return f"[~{name[1:].replace(']', ']]')}]" if name.startswith("#") else token.text


def without_hints(of: Sequence[Token]) -> Tokens:
    """Table hints, WITH (TABLOCK) and the like, taken out: there is nothing here they could mean."""
    kept: list[Token] = []
    place = 0
    while place < len(of):
        words = [token.word for token in of[place : place + 3]]
        if words[:2] == ["OPTION", "("] or (words[:2] == ["WITH", "("] and words[2] in _HINTS):
            place = closing(of, place + 1) + 1
            continue
        kept.append(of[place])
        place += 1
    return tuple(kept)


_HINTS = {
    "TABLOCK", "TABLOCKX", "HOLDLOCK", "UPDLOCK", "ROWLOCK", "NOLOCK", "XLOCK", "READPAST", "SERIALIZABLE",
    "READCOMMITTEDLOCK", "READCOMMITTED", "PAGLOCK", "FORCESEEK", "FORCESCAN", "INDEX",
}  # fmt: skip


def closing(of: Sequence[Token], opening: int) -> int:
    """Place of the parenthesis that closes the one at *opening*."""
    depth = 0
    for place in range(opening, len(of)):
        depth += {"(": 1, ")": -1}.get(of[place].word, 0)
        if depth == 0:
            return place
    raise ValueError(f"no ) in {text(of)}")


def split(of: Sequence[Token], *words: str) -> list[Tokens]:
    """Pieces between *words* outside of parentheses; each but the first with its word, unless that is a comma."""
    pieces: list[list[Token]] = [[]]
    depth = 0
    for token in of:
        depth += {"(": 1, ")": -1}.get(token.word, 0)
        if depth == 0 and token.word in words:
            pieces.append([] if token.text == "," else [token])
        else:
            pieces[-1].append(token)
    return [tuple(piece) for piece in pieces]


def statements(sql: str) -> list[Node]:
    """The statements of a batch. They must be set apart by semicolons where the next one's first word could go on."""
    reader = _Reader(tokens(sql))
    found = reader.block(())
    if reader.rest():
        raise ValueError(f"cannot tell the statements apart: {sql}")
    return found


_STARTS = {
    "ALTER", "BEGIN", "BULK", "COMMIT", "CREATE", "DECLARE", "DELETE", "DROP", "EXEC", "EXECUTE", "IF", "INSERT",
    "MERGE", "PRINT", "RAISERROR", "RETURN", "ROLLBACK", "SAVE", "SELECT", "SET", "THROW", "TRUNCATE", "UPDATE", "WITH",
}  # fmt: skip
_SHORT = {"BEGIN", "COMMIT", "DECLARE", "EXEC", "EXECUTE", "PRINT", "RAISERROR", "ROLLBACK", "SET", "THROW"}
"""Statements that no word which begins a statement can go on with."""


class _Reader:
    def __init__(self, of: Tokens) -> None:
        self._tokens, self._place = of, 0

    def rest(self) -> Tokens:
        return self._tokens[self._place :]

    def block(self, ends: tuple[str, ...]) -> list[Node]:
        found: list[Node] = []
        while self._skip(";") or self.rest():
            if self._peek() in ends:
                break
            if self.rest():
                found.append(self._statement())
        return found

    def _statement(self) -> Node:
        first = self._peek()
        if first == "IF":
            return self._if()
        if first == "BEGIN" and self._peek(1) not in ("TRAN", "TRANSACTION"):
            if self._peek(1) == "TRY":
                raise NotImplementedError("TRY blocks are not imitated")
            self._place += 1
            inner = self.block(("END",))
            self._place += 1
            return inner
        return self._until(_STARTS if first in _SHORT else set())

    def _if(self) -> If:
        self._place += 1
        condition = self._until(_STARTS, first=0)
        then = [self._statement()]
        before = self._place
        self._skip(";")
        if self._peek() != "ELSE":
            self._place = before
            return If(condition, then)
        self._place += 1
        return If(condition, then, [self._statement()])

    def _until(self, ends: set[str], first: int = 1) -> Tokens:
        """Up to a semicolon, an ELSE or END that is not of a CASE, or one of *ends*; the first are passed over."""
        start, depth = self._place, 0
        self._place += first
        while self.rest():
            word = self._peek()
            closes = word in (";", "ELSE", "END") or word in ends
            if depth == 0 and closes:
                break
            depth += {"(": 1, ")": -1, "CASE": 1, "END": -1}.get(word, 0)
            self._place += 1
        return self._tokens[start : self._place]

    def _peek(self, ahead: int = 0) -> str:
        place = self._place + ahead
        return self._tokens[place].word if place < len(self._tokens) else ""

    def _skip(self, word: str) -> bool:
        while self._peek() == word:
            self._place += 1
        return False
