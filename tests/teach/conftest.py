"""A run that the tests look at: what was on its fabric, and the secrets of its handshakes."""

from __future__ import annotations

import pytest

from dtls_emu.capture.traces import WireCapture
from dtls_emu.lab import load_lab
from dtls_emu.lab.pcap import parse_pcap
from dtls_emu.simulation import simulate


@pytest.fixture(scope="session")
def captured():
    """Every packet that was on the fabric in a run of `two-vms`, outer headers included."""
    capture = WireCapture()
    simulate(load_lab("two-vms"), observer=capture)
    packets = [each.data for each in parse_pcap(capture.encode())]
    return [packet for packet in packets if packet[12:15] == packet[16:19] == b"\xc0\x00\x02"]
