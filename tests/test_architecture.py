"""The floors of the package: an import goes down, never up, also one that only type checkers see; no circles.

One test a rule, which names every place that breaks it. What is said of files is read from their text; nothing of the
package runs.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import dtls_emu


PACKAGE = Path(dtls_emu.__file__).parent
TESTS = Path(__file__).parent

FLOORS = (
    {"__main__", "__init__"},
    {"cli"},
    {"teach", "measure", "whatif", "audit"},
    {"testing"},
    {"deploy"},
    {"host"},
    {"simulation"},
    {"machine"},
    {"assembly"},
    {"fabric"},
    {"capture", "flow_logs"},
    {"nic"},
    {"tunnel"},
    {"crypto"},
    {"wire"},
    {"policy"},
    {"lab"},
    {"errors", "events", "files", "overhead", "paths", "progress", "vocabulary"},
)
"""From the top; those of one floor do not import each other, but for the ground's."""

HEIGHT = {name: len(FLOORS) - number for number, floor in enumerate(FLOORS) for name in floor}
GROUND = 1

MAX_LINES = 600
MAX_WORDS_OF_A_JOB = 80

TESTS_OF_NO_FOLDER = {
    "attacks": "what an attacker sends, against cards and tunnels as a whole",
    "bench": "the benchmarks outside the package",
    "docs": "the pages: what they show is what happens",
    "containers": "the image and the exported files, started",
    "fuzz": "harnesses, and random labs",
    "interop": "other implementations of DTLS at the other end",
}
"""Folders of tests that mirror none of the package, and what they are about."""

HOMES = {
    0x400454CA: "dtls_emu.machine.linux",  # TUNSETIFF
    0x400454D0: "dtls_emu.machine.linux",  # TUNSETOFFLOAD
    0x400454D8: "dtls_emu.machine.linux",  # TUNSETVNETHDRSZ
    0x1000_0000: "dtls_emu.machine.linux",  # CLONE_NEWUSER
    0x4000_0000: "dtls_emu.machine.linux",  # CLONE_NEWNET
    "/dev/net/tun": "dtls_emu.machine.linux",
    107: "dtls_emu.paths",  # bytes of a socket's path
    ".sock": "dtls_emu.paths",
    "/run/dtls-emu": "dtls_emu.paths",
    1280: "dtls_emu.overhead",  # the minimum MTU of IPv6
    65_507: "dtls_emu.overhead",  # the largest UDP payload; written as a difference
    4433: "dtls_emu.tunnel.settings",  # DTLS
    4789: "dtls_emu.wire.vxlan",  # VXLAN
    "host.json": "dtls_emu.host.config",
    "host.pem": "dtls_emu.host.credentials",
    "host.key": "dtls_emu.host.credentials",
}
"""Constants that several places need, and the module that everybody else has them from."""

OTHER_MEANINGS = {
    ("dtls_emu.capture.shipped", 0x1000_0000): "a sequence number of TCP",
    ("dtls_emu.capture.shipped", 1280): "an identification of IPv4, 0x0500",
}

SOURCES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {module: ast.parse(path.read_text()) for module, path in SOURCES.items()}


def floor_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(module: str) -> set[str]:
    """Every module of the package that a module imports, wherever in its file."""
    found: set[str] = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in SOURCES}
        elif isinstance(node, ast.ImportFrom) and node.module in SOURCES:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {each for each in inside if each in SOURCES}
            if not inside <= set(SOURCES):
                found.add(node.module)
    return found - {module}


IMPORTS = {module: imports_of(module) for module in SOURCES}


def constants_of(module: str) -> list[str | int]:
    """Numbers and texts of a module's code; what documents it is left out, and so are parts of formatted text."""
    documentation = {
        id(node.value)
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        node.value
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str | int)
        and id(node) not in documentation
    ]


def test_every_folder_stands_on_a_floor():
    """A new one is put into the list above first, and its job is said."""
    assert {floor_of(module) for module in SOURCES} - set(HEIGHT) == set()


def test_no_import_is_relative():
    """So that a file says where it is, and the rules below see it."""
    assert [
        module
        for module, tree in TREES.items()
        if any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))
    ] == []


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
    """Nor does a package by what is in it: a part imports the parts that it needs, not the whole."""
    graph = {module: imports - {"dtls_emu"} for module, imports in IMPORTS.items()}
    assert [module for module in graph if module in reachable(graph, module)] == []


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    """Every module that one leads to; itself only if there is a path back."""
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


def slots_of(tree: ast.Module) -> list[ast.AST]:
    """The names of fields in ``__slots__``: a class's own."""
    return [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__"
        for name in ast.walk(node.value)
    ]


def test_fakes_and_suites_use_what_is_public():
    """So that the product can change inside, and so that a plug-in's tests may do the same.

    Python's own names of named tuples are public whatever their underscore.
    """
    own = {"self", "cls"}
    public = {"_asdict", "_fields", "_make", "_replace"}
    reaching = [
        f"{module}:{node.lineno}: {ast.unparse(node)}"
        for module, tree in TREES.items()
        if floor_of(module) == "testing"
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Attribute)
            and re.match(r"_[^_]", node.attr)
            and node.attr not in public
            and not (isinstance(node.value, ast.Name) and node.value.id in own)
        )
        or (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"_[a-z]\w*", node.value)
            and node not in slots_of(tree)
        )
    ]
    assert reaching == []


def test_nothing_names_a_higher_floor():
    """Not in a string that code uses, either. A docstring may say who calls."""
    named = [
        f"{module} names {name}"
        for module in SOURCES
        for text in constants_of(module)
        if isinstance(text, str)
        for name in re.findall(r"\bdtls_emu[./]([a-z_]+)", text)
        if name in HEIGHT and HEIGHT[name] > HEIGHT[floor_of(module)]
    ]
    assert named == []


def test_what_several_places_need_has_one_home():
    """A number or name of the outside world is written once, and imported from there."""
    written = [
        f"{module} has {value!r} of {HOMES[value]}"
        for module in SOURCES
        for value in constants_of(module)
        if value in HOMES and module != HOMES[value] and (module, value) not in OTHER_MEANINGS
    ]
    assert written == []


def test_a_file_has_one_job():
    """What is longer than this has two."""
    lines = {module: len(path.read_text().splitlines()) for module, path in SOURCES.items()}
    assert {module: count for module, count in lines.items() if count > MAX_LINES} == {}


def test_a_module_says_its_job():
    """At its top; a folder in a few words, in its ``__init__``."""
    said = {module: ast.get_docstring(tree) or "" for module, tree in TREES.items()}
    assert [module for module, text in said.items() if not text] == []
    folders = [path.parent for path in SOURCES.values()]
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
    wordy = [
        module
        for module, path in SOURCES.items()
        if path.name == "__init__.py"
        and path.parent != PACKAGE
        and len(said[module].split()) > MAX_WORDS_OF_A_JOB
    ]
    assert wordy == []


def test_tests_mirror_the_package():
    """A folder of tests is about the folder of the same name, and each folder has one."""
    tested = {
        str(path.parent.relative_to(TESTS)) for path in TESTS.rglob("test_*.py") if path.parent != TESTS
    }
    there = {str(path.parent.relative_to(PACKAGE)) for path in SOURCES.values()} - {"."}
    assert {
        folder for folder in tested - there if folder.partition("/")[0] not in TESTS_OF_NO_FOLDER
    } == set()
    assert there - tested == set()
    assert [folder for folder in TESTS_OF_NO_FOLDER if folder in there or folder not in tested] == []


def test_a_test_says_what_it_proves():
    """In its docstring."""
    silent = [
        f"{path.relative_to(TESTS)}::{node.name}"
        for path in sorted(TESTS.rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []
