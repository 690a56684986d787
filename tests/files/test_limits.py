"""Limits of files are said as people say them."""

from __future__ import annotations

import pytest

from dtls_emu.files.limits import in_bytes


@pytest.mark.parametrize(
    ("count", "text"), [(100, "100 bytes"), (1 << 16, "64 KiB"), (3 << 20, "3 MiB"), (1025, "1025 bytes")]
)
def test_limits_are_written_for_people(count, text):
    """In the largest unit that leaves no rest."""
    assert in_bytes(count) == text
