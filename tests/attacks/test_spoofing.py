"""Datagrams from addresses that are not their sender's, and lies about the path."""

from ipaddress import ip_address

import pytest

from dtls_emu.simulation.guests.guest import Guest
from dtls_emu.simulation.guests.tcp import Payload, TcpFlow, TcpSender
from dtls_emu.vocabulary import DropReason, Enforcement
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.icmp import packet_too_big
from dtls_emu.wire.packet import udp_packet


H1, H3 = "10.255.0.1", "10.255.0.3"
ELSEWHERE = ["10.255.0.99", "0.0.0.0", "255.255.255.255", "127.0.0.1", "fd00::1", "", "no address"]


@pytest.mark.parametrize("address", ELSEWHERE)
def test_what_comes_from_no_host_of_the_lab_is_dropped_unread(make_cards, address):
    """Records, hellos and frames in clear alike; nobody is answered."""
    target = make_cards().up()
    _, local, records = target.records(3)
    hello = target.datagrams[0][3]
    sent = len(target.datagrams)
    for port, datagrams in ((local, [*records, hello]), (4789, [hello])):
        for datagram in datagrams:
            target.inject("h2", (address, 50_000), port, datagram)
    assert target.drops_at("h2") == {DropReason.UNKNOWN_PEER: 5}
    assert len(target.datagrams) == sent
    target.talk()


def test_records_from_another_host_of_the_lab_are_not_believed(make_cards):
    """The tunnel is found by the source address, and in that of h3 nothing has these keys."""
    target = make_cards().up()
    (_, port), local, records = target.records(3)
    for record in records:
        target.inject("h2", (H3, port), local, record)
    assert target.drops_at("h2") == {DropReason.NO_ASSOCIATION: 3}
    for record in records:
        target.inject("h2", (H1, port), local, record)
    assert target.delivered["b"] == target.sent


@pytest.mark.parametrize("ports", [(1, 0), (0, 1), (-1, 0), (7, 7)])
def test_records_on_other_ports_are_not_believed(make_cards, ports):
    """An association is its pair of ports; the peer's address does not move with a record (RFC 9146 6)."""
    target = make_cards().up()
    (_, remote), local, records = target.records(3)
    before = target.cards["h2"].tunnels["h1"].active.ends
    for record in records:
        target.inject("h2", (H1, remote + ports[0]), local + ports[1], record)
    assert target.drops_at("h2") == {DropReason.NO_ASSOCIATION: 3}
    assert target.cards["h2"].tunnels["h1"].active.ends == before
    target.talk()


def test_what_was_sealed_by_one_host_does_not_speak_for_the_vms_of_another(make_cards):
    """h3 has a tunnel to h2 and keys of its own, and sends an inner packet with a's address."""
    target = make_cards().up()
    target.sent.append(spoofed := udp_packet("10.0.0.7", "10.0.0.6", 1, 2, b"from c"))
    target.send("c", spoofed)
    forged = udp_packet("10.0.0.4", "10.0.0.6", 1, 2, b"not from a")
    # The card of h3 would refuse it from its VM: here it is a host that has been broken into.
    card = target.cards["h3"]
    vms = card._view.vms
    vms["c"] = (target.topology.vms["a"], vms["c"][1])
    card.datapath.numbers["a"] = card.datapath.numbers["c"]
    target.send("c", forged)
    assert target.delivered["b"] == target.sent
    assert target.drops_at("h2") == {DropReason.FOREIGN_SOURCE: 1}


def test_a_frame_in_clear_does_not_pass_for_one_of_an_encrypted_flow(make_cards):
    """Under DropUnencrypted, from the right host's address to the VXLAN port. (The other mode has fallback.)"""
    capture = make_cards(encrypted=False)
    capture.talk(1)
    (frame,) = [datagram for *_, datagram in capture.datagrams]
    capture.datagrams.clear()  # it was meant to be in clear
    target = make_cards(enforcement=Enforcement.DROP_UNENCRYPTED)
    target.inject("h2", (H1, 4789), 4789, frame)
    assert target.delivered == {}
    assert target.drops_at("h2") == {DropReason.CLEAR_NOT_ACCEPTED: 1}


def test_no_report_about_the_path_reaches_a_card(make_cards):
    """Its path MTU is the lab's: there is no way in for an ICMP error, not even as a datagram."""
    target = make_cards().up()
    path = target.cards["h1"].tunnels["h2"].path_mtu
    outer = udp_packet(H1, "10.255.0.2", 49_152, 4433, bytes(100))
    for lie in (0, 68, 576, 1280):
        report = packet_too_big(outer, lie)
        assert report is not None
        for port in (4433, 4789, 49_152):
            target.inject("h1", ("10.255.0.2", 4433), port, report)
            target.inject("h1", ("10.255.0.2", 4433), port, report[20:])
    assert target.cards["h1"].tunnels["h2"].path_mtu == path == 1650
    assert target.cards["h1"].ingress.counters.dropped.total() == 24
    target.talk(5)


def test_lies_about_the_path_of_a_transfer_do_not_slow_it_down():
    """A guest believes an ICMP error about a segment that is under way (RFC 5927 4.1) and no impossible MTU."""
    flow = TcpFlow(ip_address("10.0.0.4"), ip_address("10.0.0.6"), 40_000, 5201)
    guest, far = Guest([flow.source], 1500), Guest([flow.destination], 1500)
    far.listening.add(flow.destination_port)
    sender = guest.senders[flow] = TcpSender(flow, Payload("attack"), 1_000_000, mss=1460)
    under_way = carry(guest, far, sender.open(0.0))[0].row(0).tobytes()
    assert len(under_way) == 1500
    other_port = bytearray(under_way)
    other_port[20] ^= 1
    elsewhere = bytearray(under_way)
    elsewhere[24] ^= 0x80  # a sequence number far away
    for quoted in (bytes(other_port), bytes(elsewhere)):
        tell(guest, packet_too_big(quoted, 600))
    for impossible in (0, 1, 40, 67):
        tell(guest, packet_too_big(under_way, impossible))
    cut = bytearray(packet_too_big(under_way, 600) or b"")
    cut[30] ^= 1  # checksum
    tell(guest, bytes(cut))
    assert sender.mss == 1460
    tell(guest, packet_too_big(under_way, 1400))
    assert sender.mss == 1360, "and the truth is believed"


def carry(guest, far, bursts):
    """Let a connection come up; returns the first segments of data, which stay under way."""
    (opening,) = bursts
    (answer,) = far.receive(opening, 0.0)
    _, *segments = guest.receive(answer, 0.001)
    return segments


def tell(guest, report):
    guest.receive(Burst.from_packets([report]), 0.002)
