"""Headers that an operator mapped, written into a catalog file as aliases. Its comments and order stay."""

from __future__ import annotations

import shutil
import tempfile

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.catalog import PACKAGED, System, read
from shared.contract.mapping import accepted_headers, normalized
from shared.declared import Layout
from shared.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A catalog file with further aliases."""

    file: Path
    text: str
    """All of it, as it is to be written."""
    lines: tuple[str, ...]
    """Those that differ from the file's."""
    section: str
    """Where in the file they stand."""

    @property
    def is_own(self) -> bool:
        """Whether the file belongs to the operator. The next version of Sluice replaces those that come with it."""
        return self.file.parent != PACKAGED

    def save(self) -> None:
        """Replace the file as a whole, or leave it as it is. ConfigError if it cannot be written."""
        target = self.file.resolve()  # not the link, if it is one
        new = target.with_name(f"{target.name}.new")
        try:
            new.write_bytes(self.text.encode())
            shutil.copymode(target, new)
            new.replace(target)
        except OSError as error:
            raise ConfigError(
                f"{self.file} cannot be written: {error}",
                fix=f"Make it writable, or write under [{self.section}]: {' '.join(self.lines)}",
            ) from error


def with_aliases(system: System, table: str, headers: Mapping[str, str]) -> Edit | None:
    """The file of *system* in which *headers* mean the columns of *table* beside them. None: they do so already.

    ConfigError for a header that means another column there, or if the file has changed too much since it was read.
    """
    layout = system.tables[table]["layout"]
    new = list(_new(layout, headers))
    if not new:
        return None
    with system.file.open(encoding="utf-8", newline="") as file:  # line ends as they are
        old = file.read()
    text = _edited(old, system, table, new)
    _check(text, system, table, new)
    before = set(old.splitlines())
    lines = tuple(line for line in text.splitlines() if line not in before)
    return Edit(file=system.file, text=text, lines=lines, section=f"tables.{table}.columns")


def _new(layout: Layout, headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The headers that mean no column yet, each with the one it is to mean."""
    for header, column in headers.items():
        owner = _owner(layout, header)
        if owner is None:
            yield header, column
        elif owner != column:
            raise ConfigError(
                f"header {header!r} means column {owner!r} in the catalog, so it cannot be saved for {column!r}",
                fix=f"Leave out --save-map, or take the header away from {owner!r} in the catalog",
            )


def _owner(layout: Layout, header: str) -> str | None:
    wanted = normalized(header)
    owners = (one.name for one in layout.columns if wanted in map(normalized, accepted_headers(one)))
    return next(owners, None)


def _edited(old: str, system: System, table: str, new: list[tuple[str, str]]) -> str:
    import tomlkit
    import tomlkit.exceptions

    try:
        document: Any = tomlkit.parse(old)
        columns = document["tables"][table]["columns"]
        for header, column in new:
            options = columns[column]
            options["aliases"] = aliases = options.get("aliases", tomlkit.array())
            aliases.append(header)
    except (tomlkit.exceptions.TOMLKitError, KeyError, TypeError, AttributeError) as error:
        raise _changed(system) from error
    written = tomlkit.dumps(document).replace("\r\n", "\n")  # the library ends new lines by LF
    return written.replace("\n", "\r\n") if "\r\n" in old else written


def _check(text: str, system: System, table: str, new: list[tuple[str, str]]) -> None:
    """What is to be written is read as the catalog will read it."""
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        (Path(folder) / system.file.name).write_bytes(text.encode())
        layout = read(Path(folder))[system.name].tables[table]["layout"]
    if any(_owner(layout, header) != column for header, column in new):
        raise _changed(system)


def _changed(system: System) -> ConfigError:
    return ConfigError(f"{system.file.name} is not as it was when it was read", fix="Run the command again")
