"""The line of a catalog file that a problem is about: found again in its text, as TOML's parser does not keep it."""

from __future__ import annotations

import re

from collections.abc import Iterator, Sequence

_ENTRY = re.compile(r"(feed \S+?|defaults\.\w+|defaults|system|undeclared|discover|feed_list|file)(?=: | must )")
_KEY = r"""(?:^|[\s{{,.\["'])["']?{}["']?\s*(?:=|\]|\.)"""


def with_line(problem: str, text: str) -> str:
    """*problem*, as ``read_section`` has it, and the number of its line, if it can be found.

    >>> text = '[system]\\nname = "a"\\n\\n[tables.b.api]\\npath = "/b"\\npaging = { kind = "pages" }'
    >>> with_line("feed a.b: api: paging: kind must be one of ...", text)
    'feed a.b: api: paging: kind must be one of ... (line 6)'
    """
    number = line_of(problem, text)
    return problem if number is None else f"{problem} (line {number})"


def line_of(problem: str, text: str) -> int | None:
    """The number of the line, from 1; None if nothing of the problem is found."""
    entry = _ENTRY.match(problem)
    if entry is None:
        return None
    lines = text.split("\n")
    found = _section(lines, entry[1])
    if found is None:
        return None
    start, end, names = found
    for name in [*names, *_names(problem[entry.end() :])]:
        if name.startswith("check "):
            start, end = _nth_check(lines, start, end, int(name.removeprefix("check ")))
            continue
        key = re.compile(_KEY.format(re.escape(name)))
        start = next((n for n in range(start, end) if key.search(_without_comment(lines[n]))), start)
    return start + 1


def _names(problem: str) -> Iterator[str]:
    """The keys that a problem goes through, from the outside in."""
    *outer, last = problem.split(": ")[1:] if problem.startswith(": ") else [""]
    yield from (name.removeprefix("column ").strip("'\"") for name in outer if re.fullmatch(r"[\w' ]+", name))
    word = re.match(r"'([^']+)' is unknown|(\w+) must be ", last)
    if word:
        yield word[1] or word[2]


def _section(lines: Sequence[str], entry: str) -> tuple[int, int, list[str]] | None:
    """The first line of an entry, the one after its last, and the keys under which it stands there."""
    path = ["tables", entry.partition(".")[2]] if entry.startswith("feed ") else entry.split(".")
    for depth in range(len(path), 0, -1):
        header = ".".join(path[:depth])
        starts = [
            n for n, line in enumerate(lines) if _header(line) == header or _header(line).startswith(f"{header}.")
        ]
        if starts:
            return starts[0], _end(lines, starts[-1]), path[depth:]
    return None


def _nth_check(lines: Sequence[str], start: int, end: int, number: int) -> tuple[int, int]:
    """The lines of one of a table's checks; where they are a list in one entry, those of the table from it on."""
    headers = [n for n in range(start, end) if _header(lines[n]).endswith(".checks")]
    if len(headers) < number:
        return next((n for n in range(start, end) if re.match(r"\s*checks\s*=", lines[n])), start), end
    return headers[number - 1], _end(lines, headers[number - 1])


def _end(lines: Sequence[str], start: int) -> int:
    return next((n for n in range(start + 1, len(lines)) if _header(lines[n])), len(lines))


def _header(line: str) -> str:
    found = re.match(r"\s*\[\[?([^\[\]]+)\]", line)
    return ".".join(part.strip(" \"'") for part in found[1].split(".")) if found else ""


def _without_comment(line: str) -> str:
    return line.partition(" #")[0]
