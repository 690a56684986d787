"""Wires for the card's tests."""

import pytest

from dtls_emu.testing.wire import Wire, make_topology


@pytest.fixture
def make_wire():
    """Make cards on a wire, and check their books at the end of the test."""
    wires = []

    def make(**options):
        wires.append(Wire(make_topology(**options)))
        return wires[-1]

    yield make
    for wire in wires:
        wire.assert_balanced()
