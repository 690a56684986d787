"""NIST's vectors are of an extra, and whoever lacks it is told which."""

import sys

import pytest

from dtls_emu.testing.nist import load_vectors


def test_without_the_vectors_it_says_what_to_install(monkeypatch):
    """One line, and no traceback into the package of somebody else."""
    monkeypatch.setitem(sys.modules, "cryptography_vectors", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'dtls-emu\[conformance\]'"):
        load_vectors("gcmEncryptExtIV256.rsp")
