"""The card's pipeline, both ways, over a wire that the test watches."""

from datetime import UTC, datetime

import numpy as np
import pytest

from dtls_emu.assembly.cards import choose_engine, issue_credentials, make_card
from dtls_emu.errors import LocalProtocolError
from dtls_emu.nic.effects import Transmit
from dtls_emu.testing.packets import A2, SECRET, A, B, C, udp
from dtls_emu.testing.wire import make_topology
from dtls_emu.tunnel.ports import DYNAMIC_PORTS, PortAllocator
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason, Enforcement, FirstPacket
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.packet import fragments, tcp_packet, udp_packet


def on_the_fabric(wire):
    return b"".join(datagram for *_, datagram in wire.datagrams)


def test_packets_of_an_encrypted_flow_arrive_and_are_never_in_clear_on_the_fabric(make_wire):
    """The first waits for the handshake, the rest follow in order; no payload byte is readable."""
    wire = make_wire()
    packets = [udp(identification=n) for n in range(5)]
    wire.send("a", *packets)
    wire.send("a", *packets)
    assert wire.delivered == {"b": packets * 2}
    assert SECRET[:16] not in on_the_fabric(wire)
    assert wire.cards["h1"].egress.counters.encrypted == 10
    assert not wire.drops


def test_both_ip_versions_and_both_directions_share_one_tunnel(make_wire):
    """A pair of hosts needs one tunnel, whatever its VMs speak."""
    wire = make_wire()
    there, back = udp_packet("fd00::4", "fd00::6", 1, 2, SECRET), tcp_packet(B, A, 3, 4, SECRET)
    wire.send("a", there)
    wire.send("b", back)
    assert wire.delivered == {"b": [there], "a": [back]}
    assert wire.cards["h1"].tunnels["h2"].handshakes == 1
    assert wire.cards["h2"].tunnels["h1"].handshakes == 1


def test_a_card_begins_its_own_ports_where_it_is_told_to():
    """And goes round: a host on a real fabric begins somewhere that nobody can guess (RFC 6056)."""
    topology = make_topology()
    credentials = issue_credentials(topology, datetime.now(UTC))["h1"]
    card = make_card(
        topology,
        "h1",
        credentials,
        {"test": credentials.ca_certificate},
        engine=choose_engine("null"),
        wall_start=datetime.now(UTC),
        first_port=50_000,
    )
    (hello,) = card.from_guest("a", Burst.from_packets([udp()]), 0.0)
    assert isinstance(hello, Transmit)
    assert hello.source_port == 50_000
    allocator = PortAllocator(65_535)
    assert [allocator.take() for _ in range(2)] == [65_535, DYNAMIC_PORTS.start]


def test_vms_on_one_host_need_no_tunnel(make_wire):
    """NX_LOCAL_DST: delivered on the card, nothing on the fabric, also under DropUnencrypted."""
    wire = make_wire(enforcement=Enforcement.DROP_UNENCRYPTED)
    wire.send("a", udp(destination=A2))
    assert wire.delivered == {"a2": [udp(destination=A2)]}
    assert wire.datagrams == []


def test_a_network_without_encryption_uses_vxlan_in_clear(make_wire):
    """Port 4789, and the payload is there for everyone to read."""
    wire = make_wire(encrypted=False)
    wire.send("a", udp())
    assert wire.delivered == {"b": [udp()]}
    assert [(port, destination) for _, port, destination, _ in wire.datagrams] == [
        (4789, ("10.255.0.2", 4789))
    ]
    assert SECRET in on_the_fabric(wire)


def test_fragments_on_an_encrypted_flow_are_dropped_and_whole_packets_pass(make_wire):
    """Also in the middle of a burst of whole packets of the same size."""
    wire = make_wire()
    whole = udp()
    pieces = [bytes(piece) for piece in fragments(udp(payload=bytes(3000), df=False))]
    size = len(whole)
    cut = bytearray(whole)
    cut[6] = 0x20  # MF
    wire.send("a", whole, bytes(cut), whole, bytes(cut), bytes(cut))
    for piece in pieces:
        wire.send("a", piece)
    assert wire.delivered == {"b": [whole, whole]}
    assert wire.cards["h1"].egress.counters.dropped == {DropReason.FRAGMENT: 3 + len(pieces)}
    assert size == len(cut)


def test_fragments_between_unencrypted_networks_pass(make_wire):
    """Only an encrypted flow refuses them."""
    wire = make_wire(encrypted=False)
    pieces = [bytes(piece) for piece in fragments(udp(payload=bytes(3000), df=False))]
    for piece in pieces:
        wire.send("a", piece)
    assert wire.delivered == {"b": pieces}


def test_a_packet_that_does_not_fit_is_answered_with_the_mtu_that_does(make_wire):
    """ICMP type 3 code 4 with the inner MTU: 1650 less 20, 8, 37, 8 and 14."""
    wire = make_wire()
    wire.send("a", udp(payload=bytes(1563 - 28)))
    wire.send("a", udp(payload=bytes(1564 - 28)))
    assert [len(packet) for packet in wire.delivered["b"]] == [1563]
    (answer,) = wire.delivered["a"]
    assert (answer[9], answer[20], answer[21]) == (1, 3, 4)
    assert int.from_bytes(answer[26:28], "big") == 1563
    assert wire.cards["h1"].egress.counters.dropped == {DropReason.TOO_BIG: 1}


def test_without_df_or_with_the_knob_off_a_packet_that_does_not_fit_is_only_dropped(make_wire):
    """It is dropped instead of fragmented either way. Nobody may be told without DF: that has a reason of its own."""
    for options, df, reason in (
        ({}, False, DropReason.TOO_BIG_NO_DF),
        ({"icmp_too_big": False}, True, DropReason.TOO_BIG),
        ({"icmp_too_big": False}, False, DropReason.TOO_BIG_NO_DF),
    ):
        wire = make_wire(**options)
        wire.send("a", udp(payload=bytes(2000), df=df))
        assert wire.delivered == {}
        assert wire.cards["h1"].egress.counters.dropped == {reason: 1}


def test_df_is_looked_at_packet_by_packet(make_wire):
    """A flow may set it on some packets only; the answer is about one that has it, and the last row fits."""
    wire = make_wire()
    plain, forbids = udp(payload=bytes(2000), df=False), udp(payload=bytes(2000), identification=7)
    wire.send("a", plain, forbids, plain, forbids, forbids, udp(payload=b"small"))
    assert wire.delivered["b"] == [udp(payload=b"small")]
    (answer,) = wire.delivered["a"]
    assert answer[28 : 28 + 20] == forbids[:20]
    assert wire.cards["h1"].egress.counters.dropped == {DropReason.TOO_BIG: 3, DropReason.TOO_BIG_NO_DF: 2}


@pytest.mark.parametrize("version", [4, 6])
def test_icmp_errors_to_a_guest_are_limited_and_counted(make_wire, version):
    """RFC 4443 2.4 f, and for IPv4 as well: ten at once and ten a second, however many packets deserve one."""
    wire = make_wire()
    ends = (A, B) if version == 4 else ("fd00::4", "fd00::6")
    seconds = 3
    for number in range(seconds * 1000):
        wire.now = number / 1000
        wire.send("a", udp(*ends, payload=bytes(2000)))
    told = wire.cards["h1"].egress.counters
    assert told.answered == len(wire.delivered["a"])
    assert 10 + 10 * (seconds - 1) <= told.answered <= 10 + 10 * seconds
    assert told.answered + told.icmp_limited == seconds * 1000
    assert told.as_dict()["icmp_limited"] == told.icmp_limited
    assert told.dropped == {DropReason.TOO_BIG: seconds * 1000}


def test_a_guest_that_uses_up_its_icmp_errors_takes_them_from_nobody_else(make_wire):
    """Neither from another guest, nor from itself in the other IP version."""
    wire = make_wire()
    for _ in range(50):
        wire.send("a", udp(payload=bytes(2000)))
    wire.delivered.clear()
    wire.send("a2", udp(A2, payload=bytes(2000)))
    wire.send("a", udp("fd00::4", "fd00::6", payload=bytes(2000)))
    assert {vm: len(packets) for vm, packets in wire.delivered.items()} == {"a": 1, "a2": 1}


def test_only_the_short_last_row_of_a_burst_may_fit(make_wire):
    """Rows are judged by their own size."""
    wire = make_wire()
    big, small = udp(payload=bytes(2000)), udp(payload=b"small")
    wire.send("a", big, big, small)
    assert wire.delivered["b"] == [small]
    assert wire.cards["h1"].egress.counters.dropped == {DropReason.TOO_BIG: 2}


def test_a_vm_cannot_send_from_an_address_that_is_not_its_own(make_wire):
    """Neither on a new flow nor on one that its owner has installed."""
    wire = make_wire()
    wire.send("a2", udp(source="10.0.0.99"))
    wire.send("a", udp())
    wire.send("a2", udp())
    assert wire.delivered == {"b": [udp()]}
    assert wire.cards["h1"].egress.counters.dropped == {DropReason.SPOOFED_SOURCE: 2}


def test_public_addresses_leave_in_clear_and_unknown_private_ones_are_dropped(make_wire):
    """Public traffic is neither encrypted nor dropped in either mode."""
    wire = make_wire(enforcement=Enforcement.DROP_UNENCRYPTED)
    wire.send("a", udp(destination="8.8.8.8"))
    wire.send("a", udp(destination="10.77.0.1"))
    assert wire.left == [udp(destination="8.8.8.8")]
    assert wire.cards["h1"].egress.counters.dropped == {DropReason.NO_ROUTE: 1}


def test_one_burst_may_hold_several_flows(make_wire):
    """Runs of rows go their own ways, in order."""
    wire = make_wire()
    first, second, third = udp(), udp(destination=A2), udp(destination=C)
    wire.send("a", first, first, second, third, first)
    assert wire.delivered == {"b": [first, first, first], "a2": [second], "c": [third]}


def test_malformed_packets_are_counted(make_wire):
    """Truncated and lying headers go nowhere."""
    wire = make_wire()
    wire.send("a", udp()[:-1])
    wire.send("a", b"\x45")
    wire.send("a", b"\x00" * 40)
    assert wire.cards["h1"].egress.counters.dropped == {DropReason.MALFORMED: 3}


@pytest.mark.parametrize(
    ("enforcement", "delivered", "reason"),
    [
        (Enforcement.ALLOW_UNENCRYPTED, True, None),
        (Enforcement.DROP_UNENCRYPTED, False, DropReason.NOT_ACCEPTED),
    ],
)
def test_a_vm_that_cannot_encrypt_talks_in_clear_or_not_at_all(make_wire, enforcement, delivered, reason):
    """NX_FALLBACK under AllowUnencrypted, NX_NOT_ACCEPTED under DropUnencrypted."""
    wire = make_wire(enforcement=enforcement, vms={"b": {"size_capable": False}})
    wire.send("a", udp())
    assert wire.delivered == ({"b": [udp()]} if delivered else {})
    assert wire.cards["h1"].egress.counters.dropped == ({} if reason is None else {reason: 1})
    assert bool(wire.datagrams) is delivered


def test_clear_packets_injected_into_an_encrypted_flow_are_refused_under_drop(make_wire):
    """What was captured in clear elsewhere, sent from a real host's address to the VXLAN port."""
    capture = make_wire(encrypted=False)
    capture.send("a", udp())
    (_, _, _, datagram), *_ = capture.datagrams
    wire = make_wire(enforcement=Enforcement.DROP_UNENCRYPTED)
    wire.inject("h2", ("10.255.0.1", 4789), 4789, datagram)
    assert wire.delivered == {}
    assert wire.cards["h2"].ingress.counters.dropped == {DropReason.CLEAR_NOT_ACCEPTED: 1}


def test_a_host_cannot_speak_for_the_vms_of_another(make_wire):
    """The inner source must live behind the host whose tunnel, or address, the packet came through."""
    wire = make_wire(encrypted=False)
    wire.send("a", udp())
    datagram = wire.datagrams[0][3]
    wire.inject("h2", ("10.255.0.3", 4789), 4789, datagram)
    wire.inject("h2", ("10.255.0.99", 4789), 4789, datagram)
    assert wire.delivered == {"b": [udp()]}
    assert wire.cards["h2"].ingress.counters.dropped == {
        DropReason.FOREIGN_SOURCE: 1,
        DropReason.UNKNOWN_PEER: 1,
    }


def test_replayed_and_forged_records_are_refused(make_wire):
    """A captured record is delivered once; with a bit flipped, never."""
    wire = make_wire()
    wire.send("a", udp())
    host, port, (address, remote), record = wire.datagrams[-1]
    source = ("10.255.0.1", port)
    assert (host, address) == ("h1", "10.255.0.2")
    wire.inject("h2", source, remote, record)
    forged = bytearray(record)
    forged[10] ^= 0x80  # another sequence number
    forged[-1] ^= 1
    wire.inject("h2", source, remote, bytes(forged))
    assert wire.delivered == {"b": [udp()]}
    assert wire.cards["h2"].ingress.counters.dropped == {DropReason.REPLAYED: 1, DropReason.AUTH_FAILED: 1}


@pytest.mark.parametrize(
    ("choice", "delivered", "in_clear", "reason"),
    [
        (FirstPacket.QUEUE, True, False, None),
        (FirstPacket.DROP, False, False, DropReason.FIRST_PACKET),
        (FirstPacket.CLEAR, True, True, None),
    ],
)
def test_the_first_packet_waits_is_dropped_or_goes_in_clear(make_wire, choice, delivered, in_clear, reason):
    """The profile's choice; later packets are encrypted in every case."""
    wire = make_wire(first_packet=choice)
    wire.send("a", udp())
    assert wire.delivered == ({"b": [udp()]} if delivered else {})
    assert (SECRET in on_the_fabric(wire)) is in_clear
    assert wire.cards["h1"].egress.counters.dropped == ({} if reason is None else {reason: 1})
    wire.datagrams.clear()
    wire.send("a", udp(payload=SECRET * 2))
    assert wire.delivered["b"][-1] == udp(payload=SECRET * 2)
    assert SECRET not in on_the_fabric(wire)


def test_the_waiting_room_is_bounded(make_wire):
    """Packets beyond it are counted; those in it leave in order."""
    wire = make_wire(waiting_packets=3)
    wire.cut = True
    packets = [udp(identification=n) for n in range(5)]
    wire.send("a", *packets)
    assert wire.cards["h1"].egress.counters.dropped == {DropReason.QUEUE_FULL: 2}
    wire.cut = False
    wire.wait(until=1.5)
    assert wire.delivered == {"b": packets[:3]}


@pytest.mark.parametrize(
    ("enforcement", "delivered"),
    [(Enforcement.ALLOW_UNENCRYPTED, True), (Enforcement.DROP_UNENCRYPTED, False)],
)
def test_a_failed_tunnel_falls_back_or_drops_and_is_tried_again(make_wire, enforcement, delivered):
    """Row 14 and 15; when the peer is back the flow is encrypted without anybody asking."""
    wire = make_wire(enforcement=enforcement)
    wire.cut = True
    wire.send("a", udp())
    wire.wait(until=20)
    assert wire.cards["h1"].tunnels["h2"].failure
    wire.cut = False
    wire.datagrams.clear()
    wire.send("a", udp())
    # The attempt that this packet started is over by now: on this wire a handshake takes no time.
    wire.now += 2
    wire.send("a", udp(payload=SECRET * 2))
    assert wire.delivered["b"][-1] == udp(payload=SECRET * 2)
    assert (SECRET in on_the_fabric(wire)) is delivered
    assert wire.cards["h1"].tunnels["h2"].handshakes == 1


@pytest.mark.parametrize(
    ("enforcement", "moment"),
    [
        (Enforcement.ALLOW_UNENCRYPTED, 100),  # what was known of the peer is old
        (Enforcement.DROP_UNENCRYPTED, 100),
        (
            Enforcement.DROP_UNENCRYPTED,
            20,
        ),  # and where there is no clear to fall back to, waiting loses nothing
    ],
)
def test_the_first_packet_after_an_outage_waits_for_the_attempt_that_it_begins(
    make_wire, enforcement, moment
):
    """It is neither dropped nor in clear for a failure of before: the peer may be back, and is."""
    wire = make_wire(enforcement=enforcement)
    wire.cut = True
    wire.send("a", udp())
    wire.wait(until=moment)
    tunnel = wire.cards["h1"].tunnels["h2"]
    assert tunnel.failure
    assert tunnel.state is TunnelState.BACKING_OFF
    wire.cut = False
    wire.datagrams.clear()
    wire.drops.clear()
    wire.delivered.clear()
    wire.send("a", udp())
    assert wire.delivered == {"b": [udp()]}
    assert SECRET not in on_the_fabric(wire)
    assert wire.drops == []
    assert (tunnel.handshakes, tunnel.failure) == (1, "")


def test_closing_overwrites_the_keys_and_tells_the_peer(make_wire):
    """close_notify ends the peer's association too; its next packet starts a new handshake."""
    wire = make_wire()
    wire.send("a", udp())
    old = wire.cards["h1"].tunnels["h2"].active
    wire.carry_out("h1", wire.cards["h1"].close(wire.now))
    assert old.closed
    assert [end._cipher for end in (old.sealer, old.opener)] == [None, None]
    assert wire.cards["h2"].tunnels["h1"].active is None


def test_the_caller_is_told_of_its_own_mistakes(make_wire):
    """An unknown VM, or a burst that no kernel takes."""
    card = make_wire().cards["h1"]
    with pytest.raises(LocalProtocolError, match="no VM of host h1"):
        card.from_guest("b", Burst.from_packets([udp()]), 0.0)
    with pytest.raises(LocalProtocolError, match="at most 64 rows: 65"):
        card.from_guest("a", Burst.from_packets([udp()] * 65), 0.0)


def test_marks_follow_packets_across_the_fabric(make_wire):
    """A drop on the far card names the burst it belongs to."""
    wire = make_wire()
    wire.send("a", udp(), mark=7)
    key_change = bytearray(wire.datagrams[-1][3])
    key_change[-1] ^= 1
    wire.send("a", udp(payload=bytes(4000)), mark=8)
    assert ("h1", DropReason.TOO_BIG, 1, 8) in wire.drops


def super_packet(payload, gso_size, packets):
    packet = tcp_packet(A, B, 40_000, 5201, payload, sequence=1000)
    buffer = np.frombuffer(bytearray(10) + packet, np.uint8)
    burst = Burst.super_packet(buffer, offset=10, length=len(packet), gso_size=gso_size, packets=packets)
    return packet, burst


def test_a_super_packet_is_cut_into_the_packets_it_stands_for(make_wire):
    """The receiver gets segments of the size that was asked for; the books count packets."""
    wire = make_wire()
    packet, burst = super_packet(bytes(range(256)) * 40, 1400, 8)
    wire.hand_over("a", burst)
    assert [len(segment) for segment in wire.delivered["b"]] == [1440] * 7 + [40 + 10_240 - 7 * 1400]
    assert b"".join(segment[40:] for segment in wire.delivered["b"]) == packet[40:]
    assert wire.cards["h1"].egress.counters.offered == 8
    assert wire.cards["h1"].egress.counters.encrypted == 8


def test_packets_are_joined_again_for_a_device_that_takes_super_packets(make_wire):
    """What was cut on one card is whole again behind the other, with room for a virtio header."""
    wire = make_wire()
    wire.cards["h2"].merges_for.add("b")
    packet, burst = super_packet(bytes(range(256)) * 40, 1400, 8)
    wire.hand_over("a", burst)
    (joined,) = wire.delivered["b"]
    # A super-packet's TCP checksum is the pseudo header's sum only (virtio's NEEDS_CSUM).
    assert joined[:36] + joined[38:] == packet[:36] + packet[38:]
    assert wire.cards["h2"].ingress.counters.delivered == 8


def test_a_super_packet_goes_uncut_to_a_vm_on_the_same_host(make_wire):
    """Cutting is for the wire."""
    wire = make_wire()
    packet = tcp_packet(A, A2, 1, 2, bytes(5000))
    buffer = np.frombuffer(bytearray(packet), np.uint8)
    burst = Burst.super_packet(buffer, offset=0, length=len(packet), gso_size=1400, packets=4)
    wire.hand_over("a", burst)
    assert wire.delivered == {"a2": [packet]}
    assert wire.cards["h1"].egress.counters.local == 4


def test_a_super_packet_whose_segments_do_not_fit_is_answered(make_wire):
    """The segments are too big, not the super-packet."""
    wire = make_wire()
    wire.hand_over("a", super_packet(bytes(9000), 1600, 6)[1])
    assert wire.cards["h1"].egress.counters.dropped == {DropReason.TOO_BIG: 6}
    assert wire.delivered["a"][0][20:22] == b"\x03\x04"


def test_more_segments_than_a_burst_holds_leave_as_several(make_wire):
    """A small segment size gives more than 64 rows."""
    wire = make_wire()
    packet, burst = super_packet(bytes(range(250)) * 200, 500, 100)
    wire.hand_over("a", burst)
    assert len(wire.delivered["b"]) == 100
    assert b"".join(segment[40:] for segment in wire.delivered["b"]) == packet[40:]


def test_a_running_card_takes_a_changed_lab_and_keeps_its_tunnels(make_wire):
    """Policy and MTU change under live flows; the next packet is decided anew, without a handshake."""
    wire = make_wire()
    wire.send("a", udp())
    for card in wire.cards.values():
        card.update(
            make_topology(vms={"b": {"size_capable": False}}, enforcement=Enforcement.DROP_UNENCRYPTED)
        )
    wire.send("a", udp())
    assert wire.cards["h1"].egress.counters.dropped == {DropReason.NOT_ACCEPTED: 1}
    for card in wire.cards.values():
        card.update(make_topology(mtu=200))
    wire.send("a", udp())
    assert wire.cards["h1"].egress.counters.dropped[DropReason.TOO_BIG] == 1
    assert wire.cards["h1"].tunnels["h2"].handshakes == 1


def test_a_lab_without_encryption_is_the_same_lab_in_clear(make_wire):
    """The baseline."""
    wire = make_wire()
    for card in wire.cards.values():
        card.update(card.topology.without_encryption())
    wire.send("a", udp())
    assert wire.delivered == {"b": [udp()]}
    assert SECRET in on_the_fabric(wire)


def test_a_super_packet_of_more_packets_than_a_key_has_records_goes_out_under_several(make_wire):
    """Cut and sealed in order, the rest waiting for the next keys."""
    wire = make_wire(rekey_records=40)
    wire.send("a", udp())
    wire.cards["h2"].merges_for.discard("b")
    packet, burst = super_packet(bytes(range(250)) * 200, 500, 100)
    wire.hand_over("a", burst)
    wire.wait(until=wire.now + 5)
    segments = wire.delivered["b"][1:]
    assert b"".join(segment[40:] for segment in segments) == packet[40:]
    assert wire.cards["h1"].tunnels["h2"].handshakes > 2
