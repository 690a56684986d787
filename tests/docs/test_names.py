"""What the documents name is there: files, make targets, commands, markers, knobs, floors."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main

import dtls_emu
from dtls_emu.assembly import lab_document
from dtls_emu.cli.app import app
from dtls_emu.lab.schema import Overrides
from generate.source import documented_fields, field_docstrings


ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dtls_emu"
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
FOLDERS = {"bench", "containers", "docs", "dtls_emu", "tests"}
by_document = pytest.mark.parametrize(
    "text", [path.read_text() for path in DOCUMENTS], ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS]
)


def in_code(text):
    """What stands in backticks, and the lines of blocks."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (?! )(.*)$", text, re.MULTILINE)
    return [
        *re.findall(r"`([^`\n]+)`", text),
        *indented,
        *(line for block in blocks for line in block.splitlines()),
    ]


@by_document
def test_every_file_that_is_named_is_there(text):
    """Paths from the root of the repository, in backticks or in a command."""
    named = {
        word.rstrip("/.,:;)")
        for code in in_code(text)
        for word in re.findall(r"(?<![\w/.-])(?:[\w.-]+/)[\w./-]*", code)
        if word.split("/")[0] in FOLDERS
    }
    assert [name for name in named if not (ROOT / name).exists()] == []


@by_document
def test_every_make_target_that_is_named_is_there(text):
    """In the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for code in in_code(text) for name in re.findall(r"^make ([a-z-]+)", code)}
    assert named - targets == set()


@by_document
def test_every_command_and_option_that_is_named_is_there(text):
    """`dtls-emu COMMAND --option ...`, wherever it stands in code."""
    group = typer.main.get_command(app)
    wrong = []
    for code in in_code(text):
        for words in re.findall(r"dtls-emu ((?:[a-z]+ ?)(?:[^`|;&\n]*))", code):
            command, name = group, ""
            rest = words.split()
            while rest and hasattr(command, "commands") and rest[0] in command.commands:
                name = rest.pop(0)
                command = command.commands[name]
            if command is group:
                wrong.append(words)
                continue
            own = {each for parameter in command.params for each in getattr(parameter, "opts", [])} | {
                "--help",
                "-h",
            }
            before = rest[: rest.index("--")] if "--" in rest else rest
            wrong += [f"{name} {word}" for word in before if word.startswith("--") and word not in own]
    assert wrong == []


def test_the_markers_that_contributing_names_are_those_of_pytest():
    """No more and no less."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"][
        "markers"
    ]
    (sentence,) = re.findall(r"is a marker:(.*?)\. Where", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence)) == {each.partition(":")[0] for each in declared}


def floors():
    """Those that `tests/test_architecture.py` goes by, but for what is not there yet."""
    where = ROOT / "tests" / "test_architecture.py"
    (assigned,) = [
        node.value
        for node in ast.parse(where.read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS"
    ]
    here = {path.stem for path in PACKAGE.iterdir()}
    kept = [floor & here for floor in ast.literal_eval(assigned)]
    return [floor for floor in kept if floor and "cli" not in floor and "__init__" not in floor]


def test_the_floors_of_the_architecture_are_those_that_are_tested():
    """In their order, each folder with a job."""
    section = ARCHITECTURE.split("## Floors")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.+) \|$", section, re.MULTILINE)
    named = [set(re.findall(r"`(\w+)`", folders)) for folders, _ in rows]
    assert named == [{"cli"}, *floors()]


def test_the_package_says_the_same_floors():
    """In its docstring, from the top."""
    section = dtls_emu.__doc__.split("The floors, top to bottom")[1].split("\n\n")[0]
    assert re.findall(r"``(\w+)``", section) == ["cli", *re.findall(r"`(\w+)`", _floors_of_the_page())]


def _floors_of_the_page():
    section = ARCHITECTURE.split("## Floors")[1].split("\n## ")[0]
    return " ".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)[1:])


def test_there_are_as_many_invariants_in_the_promises():
    """SECURITY names tests for each of them, by the same numbers."""
    stated = re.findall(r"^(\d)\. ", ARCHITECTURE.split("## Invariants")[1].split("\n## ")[0], re.MULTILINE)
    promised = re.findall(r"^\| (\d) \|", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    assert stated == promised == [str(number) for number in range(1, 9)]


def environment_variables():
    """Those that the package reads, wherever it does."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Call | ast.Subscript) else ""
            found |= set(re.findall(r"^(?:os\.)?(?:environ(?:\.\w+\(|\[)|getenv\()'(\w+)'", text))
    return found


def test_every_environment_variable_that_is_read_is_on_the_page_of_knobs():
    """And no other."""
    section = (ROOT / "docs" / "reference" / "knobs.md").read_text().split("## Environment variables")[1]
    rows = re.findall(r"^\| (`.*?) \|", section.split("\n## ")[0], re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == environment_variables()


def test_what_can_be_set_while_a_lab_is_up_is_what_is_not_refused():
    """Of networks and VMs: the page of knobs names every key that a running host does not call fixed."""
    from dtls_emu.lab.schema import Vm
    from dtls_emu.lab.topology import Vm as CompiledVm

    section = (
        (ROOT / "docs" / "reference" / "knobs.md")
        .read_text()
        .split("## While a lab is up")[1]
        .split("\n## ")[0]
    )
    (row,) = re.findall(r"^\| a VM \| (.*) \|$", section, re.MULTILINE)
    fixed = {"address", "address_v6", "host", "mac", "mtu", "virtual_network"}
    assert set(re.findall(r"`(\w+)`", row)) == set(Vm.model_fields) - fixed
    compiled = {field.name for field in fields(CompiledVm)} - {"name", *lab_document._VM_FIELDS}
    assert compiled == {
        "kind",
        "outcome",
        "running",
        "size",
        "size_capable",
        "accelerated_networking",
        "restarted",
        "flow_table_ready",
        "discovery",
    }


def test_every_knob_has_a_description():
    """Where the page takes it from: docstrings behind fields, and sections of docstrings."""
    from dtls_emu.lab.profiles import Profile
    from dtls_emu.tunnel.settings import TunnelSettings

    assert set(field_docstrings(TunnelSettings)) == {field.name for field in fields(TunnelSettings)}
    assert set(documented_fields(inspect.getdoc(Profile) or "")) >= set(Overrides.model_fields)


def test_the_picture_of_the_path_is_one():
    """README and the architecture show the same."""
    (picture,) = re.findall(r"^```text\n(SmartNIC.*?)^```", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    assert f"```\n{picture}```" in (ROOT / "README.md").read_text()


def test_importlib_is_enough_to_load_what_builds_the_site():
    """Without Sphinx: the parts that are made from the code need the package alone."""
    assert importlib.util.find_spec("generate.models")
