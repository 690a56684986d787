"""What `import dtls_emu` offers: everything that it says, at no cost until it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dtls_emu


PACKAGE = Path(dtls_emu.__file__).parent
HEAVY = {
    "numba",
    "llvmlite",
    "numpy",
    "scipy",
    "scapy",
    "OpenSSL",
    "cryptography",
    "pydantic",
    "yaml",
    "typer",
}


def imported_by(statement):
    """Top-level packages that a statement imports in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", dtls_emu.__all__)
def test_every_public_name_is_there(name):
    """And the same object each time."""
    assert getattr(dtls_emu, name) is getattr(dtls_emu, name)
    assert name in dir(dtls_emu)


def test_what_is_not_there_is_an_attribute_error():
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'simulated'"):
        _ = dtls_emu.simulated


def test_type_checkers_are_told_of_every_name():
    """What is imported for them is what is imported on use, from the same place or from one that has it from there."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    told = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told | {"__version__"} == set(dtls_emu.__all__)
    for node in block.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            module = import_module(node.module)
            for alias in node.names:
                assert getattr(module, alias.name) is getattr(dtls_emu, alias.name)


def test_importing_it_imports_nothing_heavy():
    """Neither what computes nor what validates."""
    assert imported_by("import dtls_emu") & HEAVY == set()


def test_help_and_loading_a_lab_import_no_numba():
    """Of all that is slow to import, the slowest."""
    no_numba = {"numba", "llvmlite", "scipy", "scapy"}
    assert (
        imported_by("from dtls_emu import load_lab, compile_lab; compile_lab(load_lab('two-vms'))") & no_numba
        == set()
    )
    helped = "import sys; sys.argv = ['dtls-emu', '--help']\ntry:\n from dtls_emu.cli import main; main()\nexcept SystemExit: pass"
    assert imported_by(helped) & no_numba == set()


def test_the_package_itself_takes_only_the_version_from_the_top():
    """Its floors import each other, not the public face, behind which every floor would hide."""
    taken = {
        (str(path.relative_to(PACKAGE)), alias.name)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "dtls_emu"
        for alias in node.names
        if not (PACKAGE / alias.name).is_dir() and not (PACKAGE / f"{alias.name}.py").is_file()
    }
    assert {name for _, name in taken} <= {"__version__"}, taken
