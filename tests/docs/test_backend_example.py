"""The example backend of the site passes the suite that the package ships, installed as its page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def installed(tmp_path):
    """The module, and the entry point that the page's pyproject declares."""
    (project,) = re.findall(
        r"^```toml\n(.*?)^```", (DOCS / "howto" / "backend.md").read_text(), re.MULTILINE | re.DOTALL
    )
    declared = tomllib.loads(project)["project"]
    (tmp_path / "plain_python.py").write_text((DOCS / "examples" / "plain_python.py").read_text())
    metadata = tmp_path / f"plain_python-{declared['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {declared['name']}\nVersion: {declared['version']}\n"
    )
    (group,) = declared["entry-points"]
    lines = [f"{name} = {value}" for name, value in declared["entry-points"][group].items()]
    (metadata / "entry_points.txt").write_text(f"[{group}]\n" + "\n".join(lines) + "\n")
    return tmp_path


def test_it_passes_the_conformance_suite(installed):
    """With the command of the page; and the commands know it, too."""
    (command,) = re.findall(r"^\$ pytest (.*)$", (DOCS / "howto" / "backend.md").read_text(), re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *command.split()],
        cwd=installed,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 50
    assert "skipped" not in done.stdout
