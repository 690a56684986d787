"""The folder of compiled kernels follows the sources they are made of."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import dtls_emu.wire.kernel_cache as module
from dtls_emu.wire.kernel_cache import SOURCES, kernel_cache, kernels_are_compiled


def test_a_changed_source_means_another_folder(monkeypatch, tmp_path):
    """Whichever file it is: a kernel may inline another's."""
    package = tmp_path / "dtls_emu"
    shutil.copytree(
        Path(module.__file__).parent.parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(module, "__file__", str(package / "wire" / "kernel_cache.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = {kernel_cache()}
    assert folders == {kernel_cache()}
    for changed in (
        "wire/memory.py",
        "crypto/framing.py",
        "nic/flow_table.py",
        "tunnel/liveness.py",
        "host/tun.py",
    ):
        (package / changed).write_text((package / changed).read_text() + "\n")
        assert kernel_cache() not in folders, changed
        folders.add(kernel_cache())
    assert {folder.parent for folder in folders} == {tmp_path / "cache" / "dtls-emu" / "kernels"}


def test_every_source_of_a_kernel_counts():
    """Modules with kernels or intrinsics, and those that they import from: a constant is compiled in."""
    package = Path(module.__file__).parent.parent
    counted = {path for pattern in SOURCES for path in package.glob(pattern)}
    found = set()
    for source in package.rglob("*.py"):
        text = source.read_text()
        if "@kernel" not in text and "intrinsic(" not in text and "ExternalFunction(" not in text:
            continue
        found.add(source)
        for node in ast.parse(text).body:  # what only type checkers import is further inside
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dtls_emu."):
                imported = package.joinpath(*node.module.split(".")[1:])
                found.add(imported.with_suffix(".py") if imported.with_suffix(".py").is_file() else imported)
    without_kernels = {package / "errors.py", package / "lab" / "vocabulary.py"}
    assert found - counted - without_kernels == set()
    assert len(found) > 20


def test_whether_kernels_are_compiled_is_known_before_they_are_needed(monkeypatch, tmp_path):
    """A first start says that it takes longer; the loop's index file is what tells."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not kernels_are_compiled()
    subprocess.run([sys.executable, "-c", LOAD_LOOP], check=True, timeout=600)
    assert kernels_are_compiled()


LOAD_LOOP = """
from dtls_emu.host.cards import choose_engine
from dtls_emu.host.warming import warm_up
assert warm_up(choose_engine("null"))
"""
