"""Compiled kernels are loaded when they are whole, and compiled when not, whatever is on the disk."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from dtls_emu.wire.kernel_cache import KERNEL_SUFFIX


USE = """
import logging
from dtls_emu.wire.kernel_files import CACHE, compile_kernel
from dtls_emu.wire.checksum import checksum
from dtls_emu.crypto.registry import load
import numpy as np
load("null")
print(checksum(np.arange(8, dtype=np.uint8), 0, 8), len(checksum.stats.cache_hits), len(checksum.stats.cache_misses))
"""
"""A kernel and the callbacks of a backend; says what the kernel gives, and whether it came from the disk."""


@pytest.fixture
def use(tmp_path):
    """Use a kernel in a process of its own; what it prints, as words."""

    def run(*prefix, **environment):
        done = subprocess.run(
            [*prefix, sys.executable, "-c", USE],
            env=os.environ
            | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
            | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split(), done.stderr

    return run


def kernels(tmp_path):
    return sorted((tmp_path / "cache").rglob(f"*{KERNEL_SUFFIX}"))


def test_what_one_process_compiles_the_next_one_loads(use, tmp_path):
    """Every file of it: nothing is written again."""
    compiled, _ = use()
    assert compiled[1:] == ["0", "1"]
    before = {path: path.stat().st_mtime_ns for path in kernels(tmp_path)}
    loaded, said = use()
    assert (loaded, said) == ([compiled[0], "1", "0"], "")
    assert {path: path.stat().st_mtime_ns for path in kernels(tmp_path)} == before


def truncate(path):
    path.write_bytes(path.read_bytes()[:100])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    """One bit of the machine code, which no unpickling would notice."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def garbage(path):
    path.write_bytes(b"no pickle" * 100)


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [truncate, empty, flip, garbage, folder])
def test_a_damaged_file_is_compiled_anew_and_said_once(use, tmp_path, damage):
    """The result is the same, and what can be mended is mended."""
    compiled, _ = use()
    for path in kernels(tmp_path):
        damage(path)
    again, said = use()
    assert again == compiled
    assert len(said.splitlines()) == (2 if damage is folder else 1)
    assert "is compiled anew" in said
    if damage is not folder:
        assert use() == ([compiled[0], "1", "0"], "")


def test_two_processes_at_once_do_not_disturb_each_other(use):
    """Both compile, both save, both are right."""
    with ThreadPoolExecutor() as pool:
        results = [each.result() for each in [pool.submit(use) for _ in range(2)]]
    assert len({result[0][0] for result in results}) == 1
    assert all(said == "" for _, said in results)


def test_a_place_that_cannot_be_used_is_said_once(use, tmp_path):
    """With what is used instead, which the next process finds again."""
    (tmp_path / "cache").touch()
    compiled, said = use()
    (line,) = said.splitlines()
    assert "compiled kernels cannot be kept in their usual place (NUMBA_CACHE_DIR: " in line
    assert f"they are in {tmp_path}/dtls-emu-kernels-" in line
    assert use()[0] == [compiled[0], "1", "0"]


@pytest.mark.root
def test_a_full_disk_ends_nothing(use, tmp_path):
    """Room for the trial, none for the kernels."""
    (tmp_path / "cache").mkdir()
    mount = f'mount -t tmpfs -o size=76k tmpfs {tmp_path / "cache"} && exec "$@"'
    _, said = use("unshare", "--mount", "sh", "-c", mount, "sh")
    assert said.count("No space left on device; they are compiled anew at every start") == 1
    assert len(said.splitlines()) == 1
