"""Every fix text of the code, read from its syntax: what follows ``fix=``, a Finding's fourth value, and its tables.

A text is a template: whatever is put in when it is used is written ``{}``.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import re

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
_CALLS_ON = ("format", "rstrip", "replace")
"""Methods of a text that leave it the same advice."""


class FixText(NamedTuple):
    """One text, and where it is written for use."""

    module: str
    template: str


class Unreadable(Exception):  # noqa: N818 - says what it is
    """A fix that the reader here cannot find the text of."""


@dataclass
class _Module:
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> _Module:
        module = cls(ast.parse(path.read_text()))
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef):
                module.functions[node.name] = node
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shared"):
                module.imported |= {alias.asname or alias.name: str(node.module) for alias in node.names}
        for statement in module.tree.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                module.constants[statement.targets[0].id] = statement.value
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
                module.constants[statement.target.id] = statement.value
        return module


@lru_cache
def every_fix(folder: Path = ROOT / "shared") -> list[FixText]:
    """All of them, each once a module, in order."""
    found: dict[FixText, None] = {}
    for path in sorted(folder.rglob("*.py")):
        module = _Module.read(path)
        for function, expression in _fixes(module):
            try:
                templates = _texts(expression, module, function)
            except Unreadable as error:
                where = f"{path.relative_to(folder)}:{expression.lineno}: {ast.unparse(expression)}"
                raise Unreadable(f"{where}: {error}") from error
            name = str(path.relative_to(folder.parent))
            found |= dict.fromkeys(FixText(name, template) for template in templates if template)
    return list(found)


def _fixes(module: _Module) -> Iterator[tuple[ast.FunctionDef | None, ast.expr]]:
    """Each expression whose value is a fix, with the function that it stands in."""
    yield from ((None, table) for name, table in module.constants.items() if name.endswith("_FIXES"))
    for function, node in _nodes(module.tree, None):
        if isinstance(node, ast.Call):
            yield from ((function, word.value) for word in node.keywords if word.arg == "fix")
            if isinstance(node.func, ast.Name) and node.func.id == "Finding" and len(node.args) > 3:
                yield function, node.args[3]
        elif isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple) and _yields_fixes(function):
            yield function, node.value.elts[1]
        elif isinstance(node, ast.FunctionDef):
            defaults = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            yield from ((node, value) for word, value in defaults if word.arg == "fix" and value is not None)


def _yields_fixes(function: ast.FunctionDef | None) -> bool:
    """Whether it yields problems, each with its fix, as its docstring then says."""
    return function is not None and "with its fix" in (ast.get_docstring(function) or "")


def _nodes(node: ast.AST, function: ast.FunctionDef | None) -> Iterator[tuple[ast.FunctionDef | None, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        yield function, child
        yield from _nodes(child, child if isinstance(child, ast.FunctionDef) else function)


def _texts(one: ast.expr, module: _Module, function: ast.FunctionDef | None) -> list[str]:
    """The templates that *one* may be; none for an error's own fix that is passed on."""
    match one:
        case ast.Constant(value=str(text)):
            found = [re.sub(r"\{\w+\}", "{}", text)]
        case ast.JoinedStr(values=parts):
            found = _joined(_part(part, module, function) for part in parts)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            found = _joined(_texts(side, module, function) for side in (left, right))
        case ast.Name(id=name):
            found = _named(name, module, function)
        case ast.Attribute(attr="fix"):
            found = []
        case ast.Attribute(value=ast.Name(id=other), attr=name) if other in module.imported:
            found = _named(name, _imported(f"{module.imported[other]}.{other}"), None)
        case ast.Call():
            found = _called(one, module, function)
        case _:
            found = [text for choice in _choices(one) for text in _texts(choice, module, function)]
    return found


def _choices(one: ast.expr) -> list[ast.expr]:
    match one:
        case ast.IfExp(body=body, orelse=otherwise):
            return [body, otherwise]
        case ast.BoolOp(values=values) | ast.Dict(values=values) | ast.Tuple(elts=values):
            return values
        case ast.Subscript(value=table):
            return [table]
    raise Unreadable(type(one).__name__)


def _called(call: ast.Call, module: _Module, function: ast.FunctionDef | None) -> list[str]:
    match call.func:
        case ast.Attribute(value=table, attr="get"):
            return [text for part in (table, *call.args[1:]) for text in _texts(part, module, function)]
        case ast.Attribute(value=ast.Name(id="self"), attr=name) | ast.Name(id=name) if name in module.functions:
            called = module.functions[name]
            returned = [node.value for node in ast.walk(called) if isinstance(node, ast.Return) and node.value]
            return [text for value in returned for text in _texts(value, module, called)]
        case ast.Name(id="redact" | "naming_setting"):
            return _texts(call.args[0], module, function)
        case ast.Attribute(value=ast.Call(func=ast.Name(id="next"))) | ast.Attribute(attr="join"):
            return []  # one or all of the fixes of several errors
        case ast.Attribute(value=text, attr=name) if name in _CALLS_ON:
            return _texts(text, module, function)
    raise Unreadable("a call")


def _named(name: str, module: _Module, function: ast.FunctionDef | None) -> list[str]:
    values = list(_assigned(name, function, module)) if function else []
    if values:
        return [text for value in values for text in _texts(value, module, function)]
    if function and name in {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}:
        if function.name in ("__init__", "_rebuild"):
            return []  # of a kind of error: whoever raises it says the text
        raise Unreadable("an argument")
    if name in module.constants:
        return _texts(module.constants[name], module, None)
    if name in module.imported:
        return _named(name, _imported(module.imported[name]), None)
    raise Unreadable("a name from elsewhere")


@lru_cache
def _imported(name: str) -> _Module:
    return _Module.read(ROOT.joinpath(*name.split(".")).with_suffix(".py"))


def _assigned(name: str, function: ast.FunctionDef, module: _Module) -> Iterator[ast.expr]:
    """What a local name is set to: by itself, or as one of the values of a table's rows."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.For):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            value = node.value if isinstance(node, ast.Assign) else node.iter
            if isinstance(target, ast.Name) and target.id == name:
                yield value
            elif isinstance(target, ast.Tuple):
                names = [part.id if isinstance(part, ast.Name) else "" for part in target.elts]
                if name in names:
                    yield from _column(value, names.index(name), module)


def _column(table: ast.expr, index: int, module: _Module) -> Iterator[ast.expr]:
    if isinstance(table, ast.Subscript):
        table = table.value
    content = module.constants.get(table.id) if isinstance(table, ast.Name) else table
    if content is None:
        raise Unreadable("a table from elsewhere")
    rows = content.values if isinstance(content, ast.Dict) else getattr(content, "elts", [])
    yield from (row.elts[index] for row in rows if isinstance(row, ast.Tuple))


def _part(part: ast.expr, module: _Module, function: ast.FunctionDef | None) -> list[str]:
    """A piece of an f-string: a name whose text is known is that text, anything else stands open."""
    if isinstance(part, ast.Constant):
        return [str(part.value)]
    if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name):
        with contextlib.suppress(Unreadable):
            return _texts(part.value, module, function) or ["{}"]
    return ["{}"]


def _joined(parts: Iterable[list[str]]) -> list[str]:
    return ["".join(chosen) for chosen in itertools.product(*parts)]
