"""Debian packages, unpacked into a folder of the cache: nothing is installed, and nobody has to be root for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from collections.abc import Iterable
from pathlib import Path
from typing import Any

SECONDS = 300


def found(pattern: str) -> list[str]:
    """Names of the packages that match; where no list of packages is there yet, it is fetched once, by root."""
    if not (shutil.which("apt-get") and shutil.which("dpkg") and shutil.which("apt-cache")):
        return []
    names = _searched(pattern)
    if not names and os.getuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False, **_captured())
        names = _searched(pattern)
    return names


def libraries(package: str) -> list[str]:
    """The libraries that *package* needs, but for those that every system has."""
    said = subprocess.run(["apt-cache", "depends", package], check=False, **_captured()).stdout
    needed = re.findall(r"^ *Depends: (lib[\w.+-]+)$", said, re.MULTILINE)
    return [name for name in needed if not re.match(r"libc6$|libgcc|libstdc\+\+", name)]


def unpacked(names: Iterable[str], folder: Path) -> bool:
    """Whether all packages are in *folder* now, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if subprocess.run(["apt-get", "download", *names], cwd=folder, check=False, **_captured()).returncode:
        return False
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder], check=False, **_captured())
        package.unlink()
    return True


def installed(package: str) -> None:
    """Install it on the system: only for machines that are thrown away, so nothing happens anywhere else."""
    if os.environ.get("CI") != "true" or not shutil.which("apt-get"):
        return
    sudo = ["sudo", "-n"] if os.getuid() and shutil.which("sudo") else []
    command = [*sudo, "apt-get", "install", "-y", "--no-install-recommends", package]
    subprocess.run(command, check=False, **_captured())


def _searched(pattern: str) -> list[str]:
    command = ["apt-cache", "search", "--names-only", pattern]
    said = subprocess.run(command, check=False, **_captured()).stdout
    return [line.partition(" - ")[0] for line in said.splitlines()]


def _captured() -> dict[str, Any]:
    return {"capture_output": True, "text": True, "timeout": SECONDS}
