"""What a card needs of the lab's floor comes without YAML, pydantic and everything heavy."""

import subprocess
import sys

import pytest


HEAVY = {"numba", "llvmlite", "numpy", "scipy", "scapy", "OpenSSL", "cryptography"}


def imported_by(statement):
    """Top-level packages that a statement imports in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "module", ["dtls_emu.lab", "dtls_emu.lab.topology", "dtls_emu.vocabulary", "dtls_emu.policy"]
)
def test_the_floors_above_import_neither_yaml_nor_pydantic(module):
    """They see the compiled lab only."""
    assert imported_by(f"import {module}") & (HEAVY | {"pydantic", "yaml"}) == set()


def test_loading_a_lab_imports_nothing_heavy():
    """Captures included: reading them needs no scapy."""
    imported = imported_by("from dtls_emu.lab import compile_lab, load_lab\ncompile_lab(load_lab('two-vms'))")
    assert imported & HEAVY == set()
    assert {"pydantic", "yaml"} <= imported
