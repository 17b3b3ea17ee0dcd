"""Who may know whom, and who may look at the world: the house rules of shared/, walked over every module."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "shared").rglob("*.py"))
WORLDLY = {"shared.app", "shared.cli.main", "shared.__main__"}
"""Those that may read the clock, the environment or what is kept in the process."""
PORTS = {"sources", "stores", "warehouses", "ledger"}
CLOCKS = {
    "time": {
        "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "localtime",
        "gmtime", "strftime", "ctime",
    },
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "os": {"environ", "environb", "getenv", "getenvb", "getlogin", "getcwd"},
}  # fmt: skip
"""What reads the world, by the module or class it is called on."""
HEAVY = ("duckdb", "pyarrow", "sqlalchemy")


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree):
    """Dotted names of everything *tree* imports, at any depth, for type checking too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert 0 == node.level, "imports name the whole path"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def siblings(module, tree, package, shared=()):
    """Packages and modules of *package*, but for those that are *shared*, that a module of another one imports."""
    own = module.removeprefix(f"{package}.").partition(".")[0]
    names = {
        name.removeprefix(f"{package}.").partition(".")[0] for name in imported(tree) if name.startswith(f"{package}.")
    }
    known = {name_of(path).removeprefix(f"{package}.").partition(".")[0] for path in MODULES}
    return sorted((names & known) - {own, *shared})


def worldly(tree):
    """Every place where *tree* reads a clock or the environment, or keeps what can change."""
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            aliases |= {alias.asname or alias.name: alias.name for alias in node.names}
            yield from (f"{node.module}.{a.name}" for a in node.names if a.name in CLOCKS.get(str(node.module), ()))
        elif isinstance(node, ast.Attribute):
            owner = node.value
            plain = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if node.attr in CLOCKS.get(aliases.get(plain, plain), ()):
                yield ast.unparse(node)
        elif isinstance(node, ast.Global):
            yield f"global {', '.join(node.names)}"
    yield from (f"module-level {name}" for name in kept(tree))


def kept(tree):
    """Names bound in the module itself that are neither constants, nor private, nor other names of something."""
    for node in tree.body:
        if isinstance(node, ast.AugAssign):
            yield ast.unparse(node.target)
        if isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation):
            continue
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, (ast.Name, ast.Attribute)):
            continue  # another name for what has one
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            for part in ast.walk(target):
                if isinstance(part, ast.Name) and not (part.id.isupper() or part.id.startswith("_")):
                    yield part.id


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def each(*, under="", but=()):
    paths = [path for path in MODULES if name_of(path).startswith(f"shared{under}") and name_of(path) not in but]
    return pytest.mark.parametrize("path", paths, ids=name_of)


@each()
def test_every_module_says_its_one_idea(path):
    """In one line, or in a first one that stands alone."""
    first = (ast.get_docstring(parsed(path)) or "").partition("\n")[0]

    assert first.endswith(".") or first.endswith(":")


@each(under=".sources.")
def test_sources_do_not_know_each_other(path):
    """What two of them need lies in the package, or further down."""
    assert [] == siblings(name_of(path), parsed(path), "shared.sources")


@each(under=".warehouses.")
def test_warehouses_do_not_know_each_other(path):
    """What two of them need lies in ``merge`` or ``server``."""
    assert [] == siblings(name_of(path), parsed(path), "shared.warehouses", ("merge", "server"))


@each(but=WORLDLY)
def test_world_comes_in_as_arguments(path):
    """No clock, no environment, nothing that one call leaves in the module for the next."""
    assert [] == list(worldly(parsed(path)))


@each()
def test_no_module_knows_the_functions_sdk(path):
    """Hosts translate; what they translate to does not know them."""
    assert [] == [name for name in imported(parsed(path)) if name.startswith("azure.functions")]


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent.name in PORTS], ids=name_of)
def test_implementations_do_not_know_the_app(path):
    """It picks among them, so none of them can need it."""
    assert [] == [name for name in imported(parsed(path)) if name in WORLDLY]


@pytest.mark.parametrize("module", ["shared", "shared.cli.main"])
def test_start_needs_no_heavy_library(module):
    """``sluice --help`` and a function's cold start do not pay for what they do not use."""
    if not (ROOT / (module.replace(".", "/") + ("/__init__.py" if module == "shared" else ".py"))).exists():
        pytest.skip(f"{module} is not there yet")
    program = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True).stdout
    )

    assert [] == [name for name in loaded if name in HEAVY]


# -- the rules can fail


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.time()",
        "import time as t\nx = lambda: t.perf_counter()",
        "from time import monotonic",
        "import datetime\ndatetime.datetime.now()",
        "import datetime as dt\ndef f(): return dt.datetime.utcnow()",
        "from datetime import datetime\ndatetime.now(tz)",
        "import datetime as dt\ndt.date.today()",
        "import os\nos.environ['X']",
        "import os as o\no.getenv('X')",
        "from os import environ",
        "cache = {}",
        "count: int = 0",
        "a, b = 1, 2",
        "def f():\n    global _CACHE\n    _CACHE = 1",
        "TOTAL = 0\nTOTAL += 1",
    ],
)
def test_looking_at_the_world_is_found(code):
    """However it is imported and wherever it stands."""
    assert [] != list(worldly(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "import datetime as dt\ndt.datetime.fromisoformat(text)",
        "LIMIT = 3\n_cache: dict[str, int] = {}",
        "import json\nwrite = json.dumps",
        "from typing import TypeAlias\nJson: TypeAlias = object",
        "def f():\n    x = 1\n    return x",
        "class C:\n    field: int = 0",
        "import os\nos.stat('x')",
    ],
)
def test_what_is_allowed_is_not_found(code):
    """Constants, aliases, locals, fields, and calls that read no clock."""
    assert [] == list(worldly(ast.parse(code)))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from shared.warehouses import duckdb", ["duckdb"]),
        ("def f():\n    import shared.warehouses.duckdb.engine", ["duckdb"]),
        ("from shared.warehouses.duckdb.engine import open_warehouse", ["duckdb"]),
        ("from shared.warehouses import Limits\nfrom shared.warehouses.merge.ddl import quoted", []),
    ],
)
def test_knowing_a_sibling_is_found(code, expected):
    """Also when it is imported late, or only one name of it."""
    assert expected == siblings("shared.warehouses.other.engine", ast.parse(code), "shared.warehouses", ("merge",))
