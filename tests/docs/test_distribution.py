"""The source distribution is the whole project, documents included; the wheel is the package alone."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]

DOCUMENTS = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    ".ci/run",
    "bench/README.md",
    "containers/README.md",
    "docs/conf.py",
    "docs/check_site.py",
    "docs/examples/plain_python.py",
    "docs/generate/models.py",
    "docs/static/tables.css",
    "docs/tutorial.md",
    "docs/reference/api.md",
    "dtls_emu/lab/examples/two-vms.yaml",
    "dtls_emu/py.typed",
    "tests/docs/test_distribution.py",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Both, by the project's own builder."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    return folder


def test_the_source_distribution_has_every_document(built):
    """So that `make docs` and `make test` work from it."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert DOCUMENTS - names == set()
    assert {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")} <= names
    assert not any("__pycache__" in name or name.startswith("build/") for name in names)


def test_the_wheel_is_the_package(built):
    """And what is told about it."""
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        names = set(archive.namelist())
    assert {top for top in tops if not top.endswith(".dist-info")} == {"dtls_emu"}
    data = {path for path in (ROOT / "dtls_emu").rglob("*.yaml") if "__pycache__" not in path.parts}
    assert {str(path.relative_to(ROOT)) for path in data} <= names
