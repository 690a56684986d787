"""What happens to packets while their tunnel is being built."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from dtls_emu.lab import load_lab
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.policy import flow_to, while_building
from dtls_emu.vocabulary import FirstPacket


@pytest.fixture(scope="module")
def topology():
    return compile_lab(load_lab("mixed-sizes"))


def waiting(topology, source, address, choice):
    flow = flow_to(topology, topology.vms[source], ip_address(address))
    return while_building(flow, replace(topology.profile, first_packet=choice))


@pytest.mark.parametrize("choice", FirstPacket)
def test_the_profile_chooses(topology, choice):
    """Where both networks allow unencrypted traffic."""
    assert waiting(topology, "allow-a", "10.1.0.5", choice) == choice


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (FirstPacket.QUEUE, FirstPacket.QUEUE),
        (FirstPacket.DROP, FirstPacket.DROP),
        (FirstPacket.CLEAR, FirstPacket.QUEUE),
    ],
)
@pytest.mark.parametrize("source", ["drop-a", "allow-a"])
def test_drop_unencrypted_sends_no_first_packet_in_clear(topology, source, choice, expected):
    """One end with DropUnencrypted is enough."""
    assert waiting(topology, source, "10.2.0.5", choice) == expected
