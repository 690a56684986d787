"""The floors of the package: an import goes down, never up, also one that only type checkers see; no circles."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import dtls_emu


PACKAGE = Path(dtls_emu.__file__).parent

FLOORS = (
    {"__main__", "__init__"},
    {"cli"},
    {"teach", "measure", "whatif"},
    {"testing"},
    {"deploy"},
    {"host"},
    {"simulation"},
    {"machine"},
    {"assembly"},
    {"fabric"},
    {"capture"},
    {"nic"},
    {"tunnel"},
    {"crypto"},
    {"wire"},
    {"policy"},
    {"lab"},
    {"errors", "events", "files", "overhead", "paths", "vocabulary"},
)
"""From the top; those of one floor do not import each other, but for the ground's."""

HEIGHT = {name: len(FLOORS) - number for number, floor in enumerate(FLOORS) for name in floor}
GROUND = 1

MAX_LINES = 600
MAX_WORDS_OF_A_JOB = 80

SOURCES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def floor_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(module: str) -> set[str]:
    """Every module of the package that a module imports, wherever in its file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(SOURCES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in SOURCES}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "") in SOURCES:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {each for each in inside if each in SOURCES}
            if not inside <= set(SOURCES):
                found.add(node.module or "")
    return found - {module}


IMPORTS = {module: imports_of(module) for module in SOURCES}


def test_every_folder_stands_on_a_floor():
    """A new one is put into DESIGN's list first, with its job."""
    assert {floor_of(module) for module in SOURCES} - set(HEIGHT) == set()


def test_an_import_goes_down():
    """Also under TYPE_CHECKING, and inside a function."""
    rising = [
        f"{module} imports {imported}"
        for module, imports in IMPORTS.items()
        for imported in imports
        if floor_of(module) != floor_of(imported)
        and HEIGHT[floor_of(imported)] >= HEIGHT[floor_of(module)]
        and (HEIGHT[floor_of(module)] > GROUND or HEIGHT[floor_of(imported)] > GROUND)
        and imported != "dtls_emu"  # the version
    ]
    assert rising == []


def test_no_module_imports_itself_by_a_detour():
    """A package's ``__init__`` may name what is in it, and what is in it may import the package's other parts."""
    graph = {
        module: {each for each in imports if SOURCES[each].name != "__init__.py"}
        for module, imports in IMPORTS.items()
        if SOURCES[module].name != "__init__.py"
    }
    assert [module for module in graph if module in reachable(graph, module)] == []


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """Every module that one leads to; itself only if there is a way back."""
    found: set[str] = set()
    wanted = [start]
    while wanted:
        new = graph[wanted.pop()] - found
        found |= new
        wanted += new
    return found


def test_the_product_needs_no_tests():
    """Fakes and suites are for tests, ours and others'."""
    users = [
        module
        for module, imports in IMPORTS.items()
        if floor_of(module) != "testing" and any(floor_of(each) == "testing" for each in imports)
    ]
    assert users == []


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_nothing_names_a_higher_floor(module):
    """Not in a string that code uses, either. A docstring may say who calls."""
    tree = ast.parse(SOURCES[module].read_text())
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    names = [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        for name in re.findall(r"\bdtls_emu[./]([a-z_]+)", node.value)
        if name in HEIGHT
    ]
    assert [name for name in names if HEIGHT[name] > HEIGHT[floor_of(module)]] == []


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_a_file_has_one_job(module):
    """What is longer than this has two."""
    assert len(SOURCES[module].read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", [path for path in SOURCES.values() if path.name == "__init__.py"], ids=str)
def test_a_folder_says_its_job(path):
    """In a few lines, at the top of its ``__init__``."""
    said = ast.get_docstring(ast.parse(path.read_text()))
    assert said
    if path.parent != PACKAGE:
        assert len(said.split()) <= MAX_WORDS_OF_A_JOB
