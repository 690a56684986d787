"""The package's own backends pass the suite that it ships."""

from __future__ import annotations

from dtls_emu.testing import conformance
from dtls_emu.testing.conformance import (
    TestContract,
    TestForgeries,
    TestNative,
    TestPeers,
    TestVectors,
    pytest_generate_tests,
)


__all__ = ["TestContract", "TestForgeries", "TestNative", "TestPeers", "TestVectors", "pytest_generate_tests"]


def test_the_whole_suite_is_pulled_in():
    """A class that is added to the suite runs here too."""
    assert __all__ == conformance.__all__
