"""Text made fit for people: no secrets, nothing that only a machine sees, numbers as they are read aloud."""

from __future__ import annotations

import re

from shared.redaction import redact

SHOW_WARNING = {"shown": "warning"}
"""``extra`` of a log record that a person at the command line is shown as well, once."""
SHOW_WAITING = {"shown": "waiting"}
"""``extra`` of a log record that says what the work is waiting for: a person is shown it as progress."""
_LONGEST = 8_000
"""Characters looked at; so many more than any message has room for that a secret cut in two here is never shown."""
_UNSEEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f"  # control characters, but for the line feed
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing
    r"\u2028\u2029\ufeff\ud800-\udfff]"  # other line ends, a byte order mark, halves of characters
)


def plain(text: str) -> str:
    r"""*text* in lines without blanks around them, scrubbed; empty lines go.

    >>> plain("a\tb\r\n\r\n  GET https://host/c?sig=x  ")
    'a b\nGET https://host/c'
    """
    lines = _UNSEEN.sub(" ", redact(text[:_LONGEST].replace("\r", "\n"))).split("\n")
    return "\n".join(filter(None, (" ".join(line.split()) for line in lines)))


def one_line(text: str) -> str:
    """*text* as ``plain`` has it, in one line."""
    return " ".join(plain(text).split("\n"))


def counted(number: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "row"), counted(1204, "row")
    ('1 row', '1,204 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A span of time in its two largest units.

    >>> duration(2.345), duration(125), duration(7_380)
    ('2.3 s', '2 min 5 s', '2 h 3 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def utc(instant: str) -> str:
    """The text of a record's time, for people.

    >>> utc("2026-02-24T12:00:30.000000")
    '2026-02-24 12:00:30 UTC'
    """
    return f"{instant[:19].replace('T', ' ')} UTC"
