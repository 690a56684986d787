"""The folder of compiled kernels follows the sources they are made of."""

import shutil
from pathlib import Path

import dtls_emu.wire.kernel_cache as module
from dtls_emu.wire.kernel_cache import kernel_cache


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
    for changed in ("wire/memory.py", "crypto/framing.py", "nic/flow_table.py"):
        (package / changed).write_text((package / changed).read_text() + "\n")
        assert kernel_cache() not in folders, changed
        folders.add(kernel_cache())
    assert {folder.parent for folder in folders} == {tmp_path / "cache" / "dtls-emu" / "kernels"}
