"""The labs that come with the package are right, and show what they say."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from dtls_emu.capture.rewriting import rewrite
from dtls_emu.lab import compile_lab, load_lab, shipped_labs
from dtls_emu.lab.pcap import parse_pcap
from dtls_emu.policy import Transport, decide, flow_to, rows
from dtls_emu.testing.present import present
from dtls_emu.vocabulary import Enforcement, FragmentShape


LABS = {name: load_lab(name) for name in shipped_labs()}


def transport_of(item):
    """What security rules look at; of a capture, which has packets of many flows, nothing."""
    if item.kind == "ping":
        return Transport(1)
    if item.kind in {"udp", "bulk"}:
        return Transport({"udp": 17, "bulk": 6}[item.kind], item.source_port, item.destination_port)
    return None


def decisions(lab):
    """What the policy decides for each traffic item, where it is one decision."""
    topology = compile_lab(lab)
    for item in lab.traffic:
        source, destination = topology.vms[item.source], item.destination
        versions: set[int | None] = (
            {int(shape[1]) for shape in item.shapes} if item.kind == "fragments" else {None}
        )
        for version in versions:
            address = destination
            if isinstance(destination, str):
                wanted: Any = version or getattr(item, "ip_version", 4)
                address = topology.vms[destination].address(wanted)
            flow = flow_to(
                topology,
                source,
                address,
                fragment=item.kind == "fragments",
                transport=transport_of(item),
            )
            yield item, decide(flow, topology.profile)


def test_the_labs_that_the_documentation_names_are_there():
    """By name."""
    assert set(LABS) >= {"two-vms", "mixed-sizes", "jumbo-fragments", "lossy"}


@pytest.mark.parametrize("name", LABS)
def test_every_lab_says_what_it_shows_and_what_must_come_of_it(name):
    """A description, and an expectation for every item."""
    lab = LABS[name]
    assert lab.description
    assert [item.name for item in lab.traffic if item.expect is None] == []


@pytest.mark.parametrize("name", LABS)
def test_expected_verdicts_are_those_of_the_decision_table(name):
    """Verdict and flow-log code, item by item."""
    for item, decision in decisions(LABS[name]):
        assert item.expect.verdict in {None, decision.verdict}, item.name
        assert item.expect.encryption in {None, decision.code}, item.name
        if decision.reason is not None:
            assert set(item.expect.dropped) == {decision.reason}, item.name


@pytest.mark.parametrize("name", [name for name in LABS if name != "lossy"])
def test_expected_counts_are_those_of_the_packets(name):
    """On a fabric without loss, what is delivered and dropped adds up to what is sent."""
    topology = compile_lab(LABS[name])
    for item in LABS[name].traffic:
        expect = present(item.expect)
        if item.kind == "bulk" or expect.delivered is None:
            continue
        if item.kind == "pcap":
            offered = len(
                rewrite(
                    parse_pcap(item.file.read_bytes()),
                    topology.vms[item.source],
                    topology.vms[present(item.destination)],
                )
            )
        else:
            offered = item.count * (len(item.shapes) if item.kind == "fragments" else 1)
        delivered = offered if expect.delivered.everything else expect.delivered.low
        dropped = sum(amount.low for amount in (expect.dropped or {}).values())
        assert delivered + dropped == offered, item.name


def test_the_labs_show_every_row_that_depends_on_nothing_but_the_lab_as_it_is():
    """A tunnel that fails or is not waited for, and fragments tolerated as in another year, are no lab's subject."""
    shown = {decision.row.name for lab in LABS.values() for _, decision in decisions(lab)}
    assert {row.name for row in rows()} - shown == {
        "plain peer refused",
        "same host refused",
        "connected group in clear",
        "fragment tolerated",
        "no card refused",
        "incapable VM, by hardware",
        "tunnel failed",
        "tunnel being built",
    }


def test_mixed_sizes_has_both_enforcement_modes():
    """And a VM that cannot encrypt in each."""
    lab = LABS["mixed-sizes"]
    modes = {
        network.encryption.enforcement
        for network in lab.virtual_networks.values()
        if network.encryption.enabled
    }
    assert modes == set(Enforcement)
    topology = compile_lab(lab)
    incapable = {vm.network for vm in topology.vms.values() if not vm.size_capable}
    assert incapable >= {"allow", "drop"}


def test_jumbo_fragments_has_every_shape():
    """On an encrypted flow."""
    lab = LABS["jumbo-fragments"]
    fragments = [item for item in lab.traffic if item.kind == "fragments"]
    dropped = [item for item in fragments if present(item.expect).verdict == "drop"]
    assert {shape for item in dropped for shape in item.shapes} == set(FragmentShape)


def test_captures_are_sent_over_both_ip_versions():
    """With the addresses of the VMs that send them."""
    topology = compile_lab(LABS["two-vms"])
    for item in LABS["two-vms"].traffic:
        if item.kind == "pcap":
            vms = topology.vms[item.source], topology.vms[present(item.destination)]
            allowed = {address.packed for vm in vms for address in vm.addresses}
            for packet in rewrite(parse_pcap(item.file.read_bytes()), *vms):
                start, size, kind = (12, 4, IPv4Address) if packet.data[0] >> 4 == 4 else (8, 16, IPv6Address)
                ends = [packet.data[start : start + size], packet.data[start + size : start + 2 * size]]
                assert set(ends) <= allowed, [kind(end) for end in ends]
