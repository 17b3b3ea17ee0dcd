"""Which package may import which, and which may read the clock: docs/architecture.md held against every module."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys

from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
MODULES = sorted((ROOT / "shared").rglob("*.py"))
WORLDLY = {"shared.app", "shared.cli.main", "shared.cli.demo_csv", "shared.__main__", "shared.rest.clock"}
"""Those that may read the clock, the environment or what is kept in the process."""
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
ENTRY_POINTS = {"shared.__main__"}
"""Scripts that only start a host."""


class Package(NamedTuple):
    """A row of the table in docs/architecture.md."""

    door: frozenset[str]
    names: Mapping[str, tuple[str, ...]]
    """Names that the row mentions in parentheses after a module of the door."""
    importers: frozenset[str]


class Import(NamedTuple):
    """One module importing another one of ours."""

    importer: str
    imported: str
    late: bool
    """Inside a function."""


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    """Dotted names of everything *tree* imports, at any depth, for type checking too."""
    return [name for names, _ in _imports(tree) for name in names]


def _imports(tree: ast.AST, late: bool = False) -> Iterator[tuple[list[str], bool]]:
    """Each import statement: the module with its names, and whether it stands inside a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (([alias.name], late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert 0 == node.level, "imports name the whole path"
            yield [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)], late
        else:
            yield from _imports(node, late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))


# -- packages and doors: the table is the rule


@cache
def table() -> dict[str, Package]:
    """The packages of the page, by their short names."""
    rows = re.findall(r"^\| `([\w.]+)` \|[^|]+\|([^|]+)\|([^|]+)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: _row(door, importers) for name, door, importers in rows}


def _row(door: str, importers: str) -> Package:
    named = {
        module: tuple(re.findall(r"\w+", names)) for module, names in re.findall(r"`([\w.]+)`(?: \(([^)]+)\))?", door)
    }
    who = ["*"] if importers.strip() == "every package" else re.findall(r"`([\w.*]+)`", importers)
    return Package(frozenset(named), named, frozenset(who))


def package_of(module: str) -> str:
    """The innermost folder *module* lies in, or the module itself where that is ``shared``."""
    short = short_name(module)
    while short not in table() and "." in short:
        short = short.rpartition(".")[0]
    return short


def short_name(module: str) -> str:
    return module.removeprefix("shared.")


@cache
def imports() -> tuple[Import, ...]:
    """Every import of one of our modules by another, each pair once for each depth."""
    paths = {name_of(path): path for path in (*MODULES, ROOT / "function_app.py")}
    found: dict[Import, None] = {}
    for module, path in paths.items():
        for names, late in _imports(parsed(path)):
            ours = [name for name in names if name in paths]
            found |= {
                Import(module, target, late): None for target in ours[1:] or ours if target not in {module, "shared"}
            }
    return tuple(found)


def may_import(importer: str, imported: str) -> bool:
    """Whether the table lets package *importer* import package *imported*."""
    allowed = table()[imported].importers
    inside = importer.startswith(f"{imported}.")
    return inside or bool(allowed & {"*", importer, f"{importer.rpartition('.')[0]}.*"})


def opens_own(one: Import) -> bool:
    """A door that, when it is called, opens a module of its own package: how a port finds its implementation."""
    return one.late and one.imported.startswith(f"{one.importer}.")


def violations() -> Iterator[str]:
    """Arrows that the table does not know, and imports past a door."""
    for one in imports():
        importer, target = package_of(one.importer), package_of(one.imported)
        if importer == target or one.importer in ENTRY_POINTS:
            continue
        if not may_import(importer, target):
            yield f"{short_name(one.importer)} imports {target}"
        elif short_name(one.imported) not in table()[target].door:
            yield f"{short_name(one.importer)} imports {short_name(one.imported)}, which is no door"


def circles(edges: Mapping[str, set[str]]) -> Iterator[str]:
    """Every group of nodes that import each other in a circle, whatever the way round."""
    reach = {node: _reachable(edges, node) for node in edges}
    seen: set[str] = set()
    for node in sorted(edges):
        group = {other for other in reach[node] if node in reach.get(other, ())}
        if group and node not in seen:
            seen |= group
            yield "circle: " + ", ".join(sorted(short_name(name) for name in group))


def _reachable(edges: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = edges.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def _edges(of=lambda name: name) -> dict[str, set[str]]:
    edges: dict[str, set[str]] = {}
    for one in imports():
        if of(one.importer) != of(one.imported) and not opens_own(one):
            edges.setdefault(of(one.importer), set()).add(of(one.imported))
    return edges


def test_table_names_every_package():
    """Each folder of shared/, each loose module, and nothing that is gone."""
    folders = {short_name(name_of(path)) for path in MODULES if path.name == "__init__.py"} - {"shared"}
    loose = {short_name(name_of(path)) for path in MODULES if path.parent.name == "shared"} - {"shared", "__main__"}

    assert {*folders, *loose, "function_app"} == set(table())


def test_table_names_doors_and_importers_that_exist():
    """A door is a module of its package, the names beside it stand in it, and who may import it is a package."""
    modules = {short_name(name_of(path)): path for path in MODULES} | {"function_app": ROOT / "function_app.py"}
    for name, package in table().items():
        assert all(door in modules and package_of(door) == name for door in package.door), name
        assert {who.removesuffix(".*") for who in package.importers - {"*"}} <= set(table()), name
        for door, names in package.names.items():
            assert [] == [word for word in names if not re.search(rf"\b{word}\b", modules[door].read_text())], door


def test_table_has_no_circle():
    """Arrows go one way, before anybody imports anything. A package may know the one it lies in."""
    graph = {
        name: {who for who in table() if who != name and may_import(who, name) and "*" not in package.importers}
        for name, package in table().items()
    }
    inside = {(name, who) for name, whos in graph.items() for who in whos if name.startswith(f"{who}.")}
    try:
        TopologicalSorter({n: {w for w in whos if (n, w) not in inside} for n, whos in graph.items()}).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_imports_follow_the_table():
    """Arrows, doors and circles are as the page says."""
    found = {*violations(), *circles(_edges()), *circles(_edges(package_of))}

    assert [] == sorted(found)


def test_nothing_private_is_imported():
    """A name that begins with an underscore is its module's own."""
    private = [
        f"{name_of(path)}: {node.module}.{alias.name}"
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("shared")
        for alias in node.names
        if alias.name.startswith("_")
    ]

    assert [] == private


# -- pictures: every node exists, every arrow is a call


class Node(NamedTuple):
    """What a box of a picture names: a module of shared (or function_app) and a function, class or method in it."""

    module: str
    name: str


def pictures() -> list[list[tuple[Node, str, Node]]]:
    """The arrows of each flowchart on the page whose boxes read ``module: name``."""
    blocks = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [_arrows(block) for block in blocks]


def _arrows(block: str) -> list[tuple[Node, str, Node]]:
    nodes = {id: Node(*label.split(": ")) for id, label in re.findall(r'(\w+)\["([^"]+)"\]', block)}
    lines = [re.sub(r'\["[^"]+"\]', "", line).split() for line in block.splitlines()[1:] if line.strip()]
    assert all(len(line) == 3 and line[1] in {"-->", "-.->"} for line in lines), "one arrow a line"
    return [(nodes[start], arrow, nodes[end]) for start, arrow, end in lines]


def module_of(node: Node) -> ast.Module:
    path = ROOT / f"{node.module}.py"
    if node.module != "function_app":
        path = ROOT / "shared" / f"{node.module.replace('.', '/')}.py"
        path = path if path.exists() else path.with_suffix("") / "__init__.py"
    return parsed(path)


def definition(node: Node) -> ast.AST | None:
    """The function, class, method or constant that *node* names."""
    found: ast.AST | None = module_of(node)
    for part in node.name.split("."):
        found = next((one for one in getattr(found, "body", ()) if part in _defined(one)), None)
    return found


def _defined(statement: ast.AST) -> set[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def mentioned(node: Node) -> set[str]:
    """Names and words that *node* uses, and what of its module it uses uses in turn."""
    module = module_of(node)
    here = {name: one for one in module.body for name in _defined(one)}
    methods = {
        method.name: method
        for one in module.body
        if isinstance(one, ast.ClassDef)
        for method in one.body
        if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    found: set[str] = set()
    waiting = [definition(node)]
    while waiting:
        tree = waiting.pop()
        new = (_words(tree) if tree else set()) - found
        found |= new
        waiting += [known[name] for known in (here, methods) for name in new if name in known]
    return found


def _words(tree: ast.AST) -> set[str]:
    names = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
    names |= {one.attr for one in ast.walk(tree) if isinstance(one, ast.Attribute)}
    return names | {one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)}


def untrue(start: Node, arrow: str, end: Node) -> str | None:
    """Why an arrow is none. Solid: a call or an import. Dotted: found by name, or the port's method in an engine."""
    last = end.name.rpartition(".")[2]
    if arrow == "-.->" and last == start.name.rpartition(".")[2]:
        return None
    known = {module for one in imports() if short_name(one.importer) == start.module for module in [one.imported]}
    reachable = {short_name(module) for module in known} | {start.module}
    if arrow == "-->" and "." not in end.name and not {end.module, package_of(end.module)} & reachable:
        return f"{start.module} does not import {end.module}"
    return None if last in mentioned(start) else f"{start.module}: {start.name} does not use {last}"


def test_page_has_the_ways_of_a_file_a_window_and_a_webhook():
    """From the function that Azure calls to the verbs, and one picture of the verbs themselves."""
    first = {picture[0][0].name for picture in pictures()}

    assert {"on_export", "sync_due", "coolr_webhook", "Runner.run_unit"} == first


def test_page_answers_where_to_look_for_every_common_change():
    """At least twelve, each with files; that they exist is held by tests/test_docs.py."""
    look = PAGE.read_text(encoding="utf-8").partition("## Where do I look for")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z][^|]+) \| (.+) \|$", look, re.MULTILINE)

    assert 12 <= len([change for change, where in rows if "`" in where])


def test_pictures_name_what_exists():
    """Every box is a function, class or method at that place."""
    nodes = {node for picture in pictures() for start, _, end in picture for node in (start, end)}

    assert [] == sorted(f"{node.module}: {node.name}" for node in nodes if definition(node) is None)


def test_arrows_of_pictures_are_calls():
    """Whoever follows a picture finds each next step in the code of the one before."""
    arrows = [arrow for picture in pictures() for arrow in picture]

    assert [] == [reason for arrow in arrows if (reason := untrue(*arrow))]


# -- siblings


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
    """``times``, ``sheet`` and ``tables`` are none; what else two of them need lies further down."""
    assert [] == siblings(name_of(path), parsed(path), "shared.sources", ("sheet", "times", "tables"))


@each(under=".warehouses.")
def test_warehouses_do_not_know_each_other(path):
    """What two of them need lies in ``merge``, ``server`` or ``embedded``."""
    assert [] == siblings(name_of(path), parsed(path), "shared.warehouses", ("merge", "server", "embedded"))


@each(but=WORLDLY)
def test_world_comes_in_as_arguments(path):
    """No clock, no environment, nothing that one call leaves in the module for the next."""
    assert [] == list(worldly(parsed(path)))


@each()
def test_no_module_knows_the_functions_sdk(path):
    """Hosts translate; what they translate to does not know them."""
    assert [] == [name for name in imported(parsed(path)) if name.startswith("azure.functions")]


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
    ("arrow", "reason"),
    [
        ((Node("pipeline.verbs", "publish"), "-->", Node("ledger", "Ledger.commit")), None),
        (
            (
                Node("warehouses", "Warehouse.merge"),
                "-.->",
                Node("warehouses.server.warehouse", "ServerWarehouse.merge"),
            ),
            None,
        ),
        (
            (Node("pipeline.verbs", "plan"), "-->", Node("warehouses", "Warehouse.merge")),
            "pipeline.verbs: plan does not use merge",
        ),
        (
            (Node("contract.conform", "Contract"), "-->", Node("web.api", "health")),
            "contract.conform does not import web.api",
        ),
    ],
)
def test_untrue_arrows_are_found(arrow, reason):
    """A call that does not exist, and one into a module that is not imported."""
    assert reason == untrue(*arrow)


def test_missing_box_is_found():
    """A function that was renamed, and a method of a class."""
    assert definition(Node("pipeline.verbs", "plan"))
    assert definition(Node("ledger", "Ledger.commit"))
    assert definition(Node("pipeline.verbs", "planned")) is None
    assert definition(Node("ledger", "Ledger.committed")) is None


@pytest.mark.parametrize(
    ("edges", "found"),
    [
        ({"a": {"b"}, "b": {"c"}}, []),
        ({"a": {"b"}, "b": {"a"}}, ["circle: a, b"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, ["circle: a, b, c"]),
        ({"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"c"}}, ["circle: a, b", "circle: c, d"]),
    ],
)
def test_circles_are_found(edges, found):
    """However long, and only those who are part of one."""
    assert found == list(circles(edges))


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("app", "pipeline", True),
        ("pipeline", "app", False),
        ("jobs", "web", False),
        ("alerts", "jobs", False),
        ("warehouses.duckdb", "warehouses", True),
        ("warehouses.duckdb", "warehouses.merge", True),
        ("warehouses.duckdb", "warehouses.postgres", False),
        ("sources.sql", "sources.exports", False),
        ("contract", "sources", False),
        ("contract", "errors", True),
    ],
)
def test_arrows_go_one_way(importer, imported, allowed):
    """What design and page agree on cannot be lost by an edit of the page alone."""
    assert allowed == may_import(importer, imported)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from shared import catalog", [(["shared", "shared.catalog"], False)]),
        ("import shared.app, shared.web", [(["shared.app"], False), (["shared.web"], False)]),
        ("if TYPE_CHECKING:\n    from shared.app import App", [(["shared.app", "shared.app.App"], False)]),
        ("def f():\n    from shared.app import App", [(["shared.app", "shared.app.App"], True)]),
        ("class C:\n    async def f():\n        import shared.app", [(["shared.app"], True)]),
    ],
)
def test_imports_are_found(code, expected):
    """At the top, for type checking, and late."""
    assert expected == list(_imports(ast.parse(code)))


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
