"""A mirror: both directions, nothing of the VM's own run changed, and what the vendor refuses."""

from __future__ import annotations

import pytest

from dtls_emu.events import fan_out
from dtls_emu.lab import compile_lab
from dtls_emu.lab.loader import parse_lab
from dtls_emu.nic.mirror import GATEWAY_MAC, Mirror, MirrorRefusedError
from dtls_emu.simulation.simulation import simulate
from dtls_emu.wire.tap import TAP_OVERHEAD


LAB = """
virtual_networks:
  open: {address_prefixes: [10.0.0.0/24, "fd00::/64"], vni: 1, peerings: [tools]}
  tools: {address_prefixes: [10.1.0.0/24], vni: 2}
  far: {address_prefixes: [10.2.0.0/24], vni: 3}
  secret: {address_prefixes: [10.3.0.0/24], vni: 4, encryption: {enabled: true}}
hosts:
  h1: {underlay: 192.0.2.1}
  h2: {underlay: 192.0.2.2}
vms:
  web: {host: h1, virtual_network: open, address: 10.0.0.4, address_v6: "fd00::4"}
  api: {host: h2, virtual_network: open, address: 10.0.0.5, address_v6: "fd00::5"}
  old: {host: h2, virtual_network: open, address: 10.0.0.6, accelerated_networking: false}
  new: {host: h2, virtual_network: open, address: 10.0.0.7, size: Standard_D4s_v6}
  collector: {host: h2, virtual_network: tools, address: 10.1.0.4}
  stranger: {host: h2, virtual_network: far, address: 10.2.0.4}
  hidden: {host: h2, virtual_network: secret, address: 10.3.0.4}
traffic:
  - {name: ping, kind: ping, from: web, to: api, count: 3}
  - {name: ping-v6, kind: ping, ip_version: 6, from: web, to: api, count: 2}
  - {name: world, kind: udp, from: web, to: 203.0.113.7, count: 1}
  - {name: other, kind: ping, from: api, to: old, count: 3}
"""


@pytest.fixture
def lab(tmp_path):
    """Its networks are open, peered, far and encrypted."""
    return parse_lab(LAB, tmp_path / "lab.yaml")


def mirror(lab, source="web", collector="collector", emit=lambda _time, _packet: None):
    topology = compile_lab(lab)
    return Mirror(topology, topology.vms[source], topology.vms[collector], emit)


def test_both_directions_are_mirrored_and_the_run_is_the_same(lab):
    """Nothing of it counts against the VM, and IPv6 is left out, as by the vendor."""
    copies = []
    tap = mirror(lab, emit=lambda time, packet: copies.append((time, packet)))
    observed = simulate(lab, observer=fan_out([tap]))
    assert observed.cards == simulate(lab).cards
    topology = compile_lab(lab)
    web, api = topology.vms["web"], topology.vms["api"]
    frames = [packet[TAP_OVERHEAD:] for _, packet in copies]
    ends = [(frame[6:12], frame[:6]) for frame in frames]
    assert ends.count((web.mac, api.mac)) == ends.count((api.mac, web.mac)) == 3
    assert ends.count((web.mac, GATEWAY_MAC)) == 1
    assert (tap.mirrored, tap.left_out, len(frames)) == (7, 4, 7)
    assert all(packet[26:30] == web.addresses[0].packed for _, packet in copies)
    assert [time for time, _ in copies] == sorted(time for time, _ in copies)


@pytest.mark.parametrize(
    ("source", "collector", "said"),
    [
        ("hidden", "collector", "whose encryption is enabled"),
        ("web", "stranger", "neither the network of web nor"),
        ("web", "web", "cannot collect what it sends itself"),
        ("new", "collector", "sizes of version 6"),
        ("old", "collector", "not on fastpath"),
    ],
)
def test_what_the_vendor_refuses_is_refused(lab, source, collector, said):
    """In one line, with what to do."""
    with pytest.raises(MirrorRefusedError, match=said):
        mirror(lab, source, collector)
