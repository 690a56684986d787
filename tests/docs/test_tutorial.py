"""The tutorial and the how-to pages: what they tell a reader to type is typed here, and prints what they show."""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
from consoles import compare, play, steps


ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
INSTALLED = ("pyproject.toml", "README.md", "LICENSE")
WITHOUT_A_NETWORK = {
    # Everything that the package needs is where these tests run; a real pip finds it, and asks no index.
    "PYTHONPATH": sysconfig.get_path("purelib"),
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # sic: pip reads it as `--no-build-isolation`
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


@pytest.fixture
def checkout(tmp_path):
    """What an installation needs of the repository."""
    for name in INSTALLED:
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "dtls_emu", tmp_path / "dtls_emu", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.ipsec_mb
def test_the_tutorial_from_nothing_to_a_changed_lab(checkout):
    """Every command, in one shell, in a fresh environment; every output as it is shown."""
    wanted = steps((DOCS / "tutorial.md").read_text())
    # Another place of the package is another set of kernels, which is to go with it.
    played = play(wanted, checkout, WITHOUT_A_NETWORK | {"NUMBA_CACHE_DIR": str(checkout / "kernels")})
    compare(played)
    assert len(played) == len([step for step in wanted if not step.file]) > 10
    assert (checkout / ".venv" / "bin" / "dtls-emu").exists()


@pytest.mark.tshark
def test_reading_the_wire(tmp_path):
    """The capture is there, and with the keys a record opens to VXLAN."""
    played = play(steps((DOCS / "howto" / "wireshark.md").read_text()), tmp_path)
    compare(played)
    (_, seen, _), (_, opened, _) = played[2:]
    assert "Client Hello" in seen
    assert "Decrypted DTLS" in opened
    assert re.search(r"Decrypted DTLS \(\d+ bytes\):\n0000  08 00 00 00 00 13 89 00", opened)  # VNI 5001


def test_was_it_encrypted(tmp_path):
    """Logs are made, judged, measured against a lab and filtered, as it is shown."""
    wanted = steps((DOCS / "howto" / "was-it-encrypted.md").read_text())
    played = play(wanted, tmp_path)
    compare(played)
    assert len(played) == len(wanted) == 7


def test_watch_a_change(tmp_path):
    """A monitor, a mirror, and one that is refused."""
    wanted = steps((DOCS / "howto" / "watch-a-change.md").read_text())
    played = play(wanted, tmp_path)
    compare(played)
    assert len(played) == len(wanted) == 3
    assert (tmp_path / "probes.svg").exists()


@pytest.mark.root
def test_real_hosts(tmp_path):
    """Up, look, change, restart, down, as root already."""
    sudo = tmp_path / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    text = (DOCS / "howto" / "real-hosts.md").read_text()
    run = f"docs-{os.getpid()}"
    wanted = steps(_renamed(text, run))
    try:
        played = play(
            wanted,
            tmp_path,
            {"PATH": f"{sudo.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        compare(played)
    finally:
        play(steps(f"```console\n$ dtls-emu down {run} || true\n```\n"), tmp_path)
    assert len(played) == len(wanted)
    assert ", 0% packet loss" in played[2][1]


def _renamed(text: str, run: str) -> str:
    """The same with a name of the run that no other on this machine has."""
    text = re.sub(r"(dtls-emu up two-vms)", rf"\1 --name {run}", text)
    text = re.sub(r"dtls-emu (exec|set|restart) ", rf"dtls-emu \1 --run {run} ", text)
    text = text.replace("dtls-emu status\n", f"dtls-emu status --run {run}\n")
    return text.replace("dtls-emu down two-vms", f"dtls-emu down {run}")


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    """Each block by itself, as in a fresh notebook -> raises nothing."""
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(page), "exec"), {})
