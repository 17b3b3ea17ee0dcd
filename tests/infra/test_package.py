"""The package of the app: what is in it, that it is the same each time, and that the host finds its functions in it."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest
import yaml

from infra.deploy import azure, package
from tests.infra.standin import Commands
from tests.infra.template import ROOT

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def built(monkeypatch, tmp_path):
    """A package whose libraries are one file that a pretend pip writes."""
    commands = Commands()
    commands.play("-m pip --version", f"pip 25.0 from /x (python {PYTHON})")

    def run(words, **options):
        if "--target" in words:
            folder = tmp_path / "app" / package.LIBRARIES / "__pycache__"
            folder.mkdir(parents=True)
            (folder.parent / "library.py").write_text("")
            (folder / "library.pyc").write_text("")
        return commands.run(words, **options)

    monkeypatch.setattr(azure, "run", run)
    return lambda **options: (package.build(PYTHON, tmp_path, **options), commands)


def test_package_has_the_code_and_its_libraries_and_no_more(built):
    """Neither tests nor templates, nor settings of this machine, nor compiled files."""
    made, commands = built()
    names = zipfile.ZipFile(made.path).namelist()

    assert {"function_app.py", "host.json", "requirements.txt", f"{package.LIBRARIES}/library.py"} <= set(names)
    assert {"shared/catalog/systems/coolr.toml", "shared/web/openapi.json"} <= set(names)
    assert {"function_app.py", "host.json", "requirements.txt", "shared", ".python_packages"} == {
        name.partition("/")[0] for name in names
    }
    assert [] == [name for name in names if "__pycache__" in name]
    (install,) = commands.made("-m pip install")
    assert (
        f"--only-binary=:all: --implementation cp --python-version {PYTHON} --platform manylinux_2_28_x86_64" in install
    )


def test_package_of_the_same_code_is_the_same(built, monkeypatch):
    """Byte by byte, whenever it is built."""
    first, _ = built(libraries=False)
    content = first.path.read_bytes()
    second, _ = built(libraries=False)

    assert content == second.path.read_bytes()
    assert f"{first.size / 1e6:.0f} MB, {first.unpacked / 1e6:.0f} MB unpacked" in str(first)


def test_package_without_libraries_is_built_by_azure(built):
    """From requirements.txt."""
    made, commands = built(libraries=False)

    assert [] == commands.made("-m pip install")
    assert "requirements.txt" in zipfile.ZipFile(made.path).namelist()


@pytest.mark.slow
def test_host_finds_all_functions_in_the_package(tmp_path):
    """Built with the real libraries and unpacked elsewhere, it is imported with nothing but its content."""
    made = package.build(PYTHON, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    zipfile.ZipFile(made.path).extractall(elsewhere)
    program = f"""
import sys, time
sys.path[:0] = {[str(elsewhere), str(elsewhere / package.LIBRARIES)]}
since = time.process_time()
import function_app
print(time.process_time() - since, *[one.get_function_name() for one in function_app.app.get_functions()])
files = [getattr(one, "__file__", None) or "" for one in sys.modules.values()]
print(*[name for name in files if "site-packages" in name and "elsewhere" not in name], file=sys.stderr, end="")
"""
    runs = [
        subprocess.run([sys.executable, "-SIc", program], capture_output=True, text=True, check=False) for _ in "ab"
    ]

    assert [("", 0)] * 2 == [(one.stderr, one.returncode) for one in runs]
    seconds, *names = runs[1].stdout.split()  # the first compiles the sources
    assert {"on_export", "watchdog", "sync_due"} <= set(names)
    assert float(seconds) < 3  # of the processor, on a busy machine; an idle one takes one
    assert made.size < 500e6


def test_project_of_azd_does_the_steps_of_the_command():
    """With options that exist; azd itself deploys the template."""
    project = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    hook = project["hooks"]["postdeploy"]["run"]

    assert {"provider": "bicep", "path": "infra", "module": "main"} == project["infra"]
    assert (ROOT / "infra" / "main.bicepparam").exists()
    assert ".venv/bin/python -m infra.deploy up --yes --from code" == hook
    assert "services" not in project
