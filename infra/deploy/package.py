"""Build the package of the function app: code, and what it needs for the Linux and the Python of the app."""

from __future__ import annotations

import re
import shutil
import sys
import zipfile

from pathlib import Path
from typing import NamedTuple

from infra.deploy import azure
from infra.deploy.azure import DeployError

ROOT = Path(__file__).parents[2]
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_5_x86_64",
             "manylinux1_x86_64", "linux_x86_64")  # fmt: skip
"""Wheels that run there: a Debian 12 with glibc 2.36, on x86-64."""
CODE = ("function_app.py", "host.json", "requirements.txt")
LIBRARIES = ".python_packages/lib/site-packages"
_WHEN = (1980, 1, 1, 0, 0, 0)
"""The time of every file: the same code makes the same package."""


class Package(NamedTuple):
    """A package: its zip file, its size in bytes, and that of its content."""

    path: Path
    size: int
    unpacked: int

    def __str__(self) -> str:
        return f"{self.path}: {self.size / 1e6:.0f} MB, {self.unpacked / 1e6:.0f} MB unpacked"


def build(python: str, out: Path, *, libraries: bool = True) -> Package:
    """The package for Python *python*, such as ``3.13``. Without *libraries* Azure installs them."""
    folder = out / "app"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in CODE:
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "shared", folder / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    if libraries:
        _install(python, folder / LIBRARIES)
    return _zip(folder, out / "app.zip")


def _install(python: str, target: Path) -> None:
    """pip reads conditions such as ``python_version < "3.13"`` for the Python that runs it: it has to be that one."""
    interpreter = _interpreter(python)
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    done = azure.run([
        interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
        "--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms,
        "--target", str(target), "--requirement", str(ROOT / "requirements.txt"),
    ])  # fmt: skip
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip said nothing"]
        raise DeployError(f"the libraries cannot be installed: {said[0]}", fix="Correct requirements.txt, or try again")
    for folder in target.rglob("__pycache__"):
        shutil.rmtree(folder)


def _interpreter(python: str) -> str:
    """A Python of that version with pip."""
    for name in (sys.executable, f"python{python}"):
        try:
            found = azure.run([name, "-m", "pip", "--version"])
        except FileNotFoundError:
            continue
        if re.search(rf"\(python {re.escape(python)}\)", found.stdout):
            return name
    raise DeployError(
        f"the app runs on Python {python}, and there is none here that could build its package",
        fix=f"Install Python {python}, give pythonVersion as the parameter of the version here, or use --remote-build",
    )


def _zip(folder: Path, path: Path) -> Package:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _WHEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if file.stat().st_mode & 0o100 else 0o644) << 16
            archive.writestr(entry, file.read_bytes())
    return Package(path, path.stat().st_size, sum(file.stat().st_size for file in files))
