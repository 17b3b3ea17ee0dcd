"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import contextlib
import getpass

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from shared.pipeline.folder import LoadOptions

T = TypeVar("T", bound=Callable[..., Any])

_JSON = "shared.cli.options.json"

_CHOICE = (
    click.option(
        "--type", "kind", type=click.Choice(["full", "delta"]), help="What the folder is, if its path does not say."
    ),
    click.option("--tables", default="", metavar="A,B", help="Load only these tables."),
    click.option("--client", metavar="C", help="The client whose exports to load."),
    click.option("--system", metavar="S", help="The system of the catalog that they belong to."),
)


def as_json(command: T) -> T:
    """Add ``--json``."""
    return click.option(
        "--json", "as_json", is_flag=True, is_eager=True, callback=_note_json, help="Print JSON for machines."
    )(command)


def wants_json(context: click.Context) -> bool:
    """Whether a command has been given ``--json``."""
    return bool(context.meta.get(_JSON))


def _note_json(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    context.meta[_JSON] = value
    return value


def user() -> str:
    """Who runs the command, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have no user of that number
        return "an unknown user"


def destination(command: T) -> T:
    """Add ``--destination``."""
    return click.option(
        "--destination", type=str.lower, metavar="NAME", help="Only this one of the destinations of a feed."
    )(command)


def choice_of_exports(command: T) -> T:
    """Add the options that choose exports of a folder."""
    for option in reversed(_CHOICE):
        command = option(command)
    return command


def of_a_load(command: T) -> T:
    """Add what every command that loads files takes: their time, whether to repeat, and limits."""
    command = limits(command)
    for option in reversed(_LOAD):
        command = option(command)
    return command


def limits(command: T) -> T:
    """Add the options that allow more rejects and deletions than the feed does."""
    for option in reversed(_LIMITS):
        command = option(command)
    return command


def load_options(tables: str, **options: Any) -> LoadOptions:
    """The options of a load; *tables* as written, with commas."""
    from shared.pipeline.folder import LoadOptions

    return LoadOptions(tables=tuple(t.strip().lower() for t in tables.split(",") if t.strip()), **options)


def time(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """A time in ISO 8601, or in the 8 or 14 digits of an export folder, as text of records. Without zone it is UTC."""
    from shared.pipeline.folder import parse_time

    if value is None:
        return None
    with contextlib.suppress(ValueError):
        return parse_time(value)
    raise click.BadParameter(f"{value!r} is not a time; write 2026-02-24T12:00:00 or 20260224120000 (UTC)")


def share(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    """A share from 0 to 1."""
    if value is not None and not 0 <= value <= 1:
        raise click.BadParameter("write a share from 0 to 1")
    return value


_LOAD = (
    click.option("--exported-at", callback=time, metavar="T", help="When it was exported; overrides its path."),
    click.option("--again", is_flag=True, help="Also load what is loaded already."),
)
_LIMITS = (
    click.option(
        "--max-reject-share", type=float, callback=share, metavar="SHARE",
        help="Share of the rows that may be rejected; above it nothing is loaded.",
    ),
    click.option(
        "--max-delete-share", type=float, callback=share, metavar="SHARE",
        help="Share of the active rows that a full may delete.",
    ),
)  # fmt: skip
