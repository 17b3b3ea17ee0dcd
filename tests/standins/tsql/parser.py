"""Parse T-SQL with Microsoft's own parser (ScriptDom), on any machine that can run .NET from a wheel.

The grammar is that of SQL Server 2019 (TSql150Parser). It knows no IS DISTINCT FROM (write EXISTS (... INTERSECT ...),
as SQLAlchemy does), no FORMAT = 'PARQUET', and takes CODEPAGE = 65001 but not CODEPAGE = '65001'. Of rights on things
it knows no DATABASE SCOPED CREDENTIAL::, which is documented: it gets to see CERTIFICATE:: instead.

The parser runs in one child process that speaks JSON lines: .NET takes over signal handlers and has threads and a
collector of its own, which nobody wants in a process that kills and measures others. It is started at the first
question and ends with this process. What it found is kept in .cache/tsql, a file a text, for as long as this module and
the packages stay what they are. See requirements-tsql.txt for what has to be installed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[3]
PACKAGES = ("dotnetcore2", "mssqlcli", "pythonnet")


class Problem(NamedTuple):
    line: int
    column: int
    message: str


@functools.cache
def unavailable() -> str | None:
    """Why nothing can be parsed here; None if it can."""
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        return f"T-SQL cannot be parsed: {', '.join(missing)} not installed (see requirements-tsql.txt)"
    if _found().exists():
        return None  # it ran here, and starting it takes a while
    try:
        _child()
        _found().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"T-SQL cannot be parsed: {error}"
    return None


def problems(sql: str) -> list[Problem]:
    """What is wrong with one batch of T-SQL; nothing if it parses. ``?`` stands for a parameter, as in ODBC."""
    return list(_problems(sql))


def selected(sql: str) -> list[tuple[str, str]]:
    """The literals that a batch of one SELECT asks for, and what it calls them, quotes and brackets taken away."""
    return [(value, name) for value, name in _answer({"selected": sql})]


@functools.lru_cache(maxsize=10_000)
def _problems(sql: str) -> tuple[Problem, ...]:
    known = sql.replace("ON DATABASE SCOPED CREDENTIAL::", "ON CERTIFICATE::")
    return tuple(Problem(*problem) for problem in _answer(with_variables(known)))


def _answer(question: Any) -> list[list[Any]]:
    """As an earlier process found it, or found now and written down: under a name of its own until it is whole."""
    text = json.dumps(question)
    file = _found() / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    with contextlib.suppress(FileNotFoundError):
        kept: list[list[Any]] = json.loads(file.read_text())
        return kept
    answer = _query(question)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    partial.write_text(json.dumps(answer))
    partial.replace(file)
    return answer


@functools.cache
def _found() -> Path:
    """The folder for what these packages and this module find."""
    parts = [Path(__file__).read_text(), *map(version, ("dotnetcore2", "mssql-cli", "pythonnet"))]
    return ROOT / ".cache" / "tsql" / hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _query(question: Any) -> list[list[Any]]:
    with _LOCK:
        child = _child()
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(question) + "\n")
        child.stdin.flush()
        answer = child.stdout.readline()
    if not answer:
        raise RuntimeError(f"the T-SQL parser ended with {child.wait(10)} over: {question}")
    found: list[list[Any]] = json.loads(answer)
    return found


def batches_ok(*texts: str) -> bool:
    """Whether each text parses as one batch. Nothing is split at GO: the app sends none."""
    return not any(problems(text) for text in texts)


def with_variables(sql: str) -> str:
    """*sql* with a variable of the same length for each ``?`` outside of strings, names and comments.

    >>> with_variables("SELECT ? AS [a?], '?' -- ?")
    "SELECT @ AS [a?], '?' -- ?"
    """
    result, place = [], 0
    while place < len(sql):
        end = _past(sql, place)
        piece = sql[place:end]
        result.append("@" if piece == "?" else piece)
        place = end
    return "".join(result)


_QUOTES = {"'": "'", '"': '"', "[": "]"}


def _past(sql: str, place: int) -> int:
    """Where the string, name, comment or single character at *place* ends."""
    if sql.startswith("--", place):
        end = sql.find("\n", place)
        return len(sql) if end < 0 else end
    if sql.startswith("/*", place):
        end = sql.find("*/", place + 2)
        return len(sql) if end < 0 else end + 2
    closing = _QUOTES.get(sql[place])
    if closing is None:
        return place + 1
    end = sql.find(closing, place + 1)
    while end >= 0 and sql.startswith(closing, end + 1):
        end = sql.find(closing, end + 2)
    return len(sql) if end < 0 else end + 1


_LOCK = threading.RLock()


@functools.cache
def _child() -> subprocess.Popen[str]:
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8",
        )  # fmt: skip
        assert child.stdout is not None
        if child.stdout.readline() != "ready\n":
            _end(child)
            errors.seek(0)
            reported = errors.read().strip().splitlines() or ["no reason given"]
            raise OSError(f"the .NET runtime does not start ({reported[-1]})")
    atexit.register(_end, child)
    return child


def _end(child: subprocess.Popen[str]) -> None:
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None
        pipe.close()
    child.wait(30)


# -- what runs in the child


def _serve() -> None:
    script_dom = _script_dom()
    from System.IO import StringReader  # type: ignore[import-not-found]

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        question = json.loads(line)
        parser = script_dom.TSql150Parser(True)  # identifiers may be in double quotes
        sql = question if isinstance(question, str) else question["selected"]
        parsed, errors = parser.Parse(StringReader(sql), None)
        found = [(error.Line, error.Column, error.Message) for error in errors] or _calls_without_exec(parsed)
        if not isinstance(question, str):
            found = [] if found else _selected(parsed)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


def _selected(parsed: Any) -> list[Any]:
    """Of the only statement there is; nothing where there are more."""
    if [len(list(batch.Statements)) for batch in parsed.Batches] != [1]:
        return []
    elements = parsed.Batches[0].Statements[0].QueryExpression.SelectElements
    return [(str(element.Expression.Value), str(element.ColumnName.Value)) for element in elements]


def _calls_without_exec(parsed: Any) -> list[tuple[int, int, str]]:
    """A batch may begin with a procedure's name and no EXEC: so may any misspelt statement, which nobody means."""
    return [
        (first.StartLine, first.StartColumn, f"{parsed.ScriptTokenStream[first.FirstTokenIndex].Text} is no statement.")
        for batch in parsed.Batches
        for first in list(batch.Statements)[:1]
        if first.GetType().Name == "ExecuteStatement"
        and parsed.ScriptTokenStream[first.FirstTokenIndex].Text.upper() not in ("EXEC", "EXECUTE")
    ]


def _script_dom() -> Any:
    os.environ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1"  # no ICU needed
    from clr_loader import get_coreclr
    from pythonnet import set_runtime

    framework = {"name": "Microsoft.NETCore.App", "version": "3.1.0"}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "runtimeconfig.json"
        config.write_text(json.dumps({"runtimeOptions": {"tfm": "netcoreapp3.1", "framework": framework}}))
        home = _folder_of("dotnetcore2") / "bin"
        set_runtime(get_coreclr(runtime_config=str(config), dotnet_root=str(home)))
        import clr

        library = _folder_of("mssqlcli") / "mssqltoolsservice" / "bin" / "Microsoft.SqlServer.TransactSql.ScriptDom.dll"
        clr.AddReference(str(library))
    from Microsoft.SqlServer.TransactSql import ScriptDom  # type: ignore[import-not-found]

    return ScriptDom


def _folder_of(package: str) -> Path:
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


if __name__ == "__main__":
    _serve()
