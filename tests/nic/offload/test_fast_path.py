"""The fast path of a card, out: what kernels take, what they leave, and that they seal what the slow path would."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from dtls_emu.nic.offload.kernels import count_offered, plan_out, seal_out
from dtls_emu.nic.offload.verdicts import Out
from dtls_emu.testing.packets import (
    A2,
    A6,
    B6,
    FLOWS,
    HOSTS,
    VNI,
    A,
    B,
    C,
    as_array,
    frame,
    route_ends,
    source_routed,
    tcp,
    udp,
)
from dtls_emu.testing.waiting import rounds
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.vocabulary import DropReason, Enforcement, FirstPacket
from dtls_emu.wire.burst import MAX_ROWS, Burst, Shape
from dtls_emu.wire.headers import super_packet_layout
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_PREFIX, TAG
from dtls_emu.wire.packet import fragments
from dtls_emu.wire.protocol import APPLICATION_DATA, MAX_PLAINTEXT, MAX_SEQUENCE
from dtls_emu.wire.segment import segment
from dtls_emu.wire.vxlan import VXLAN_PORT


INNER_MTU = 1650 - 87
BACKENDS = [pytest.param("ipsec-mb", marks=pytest.mark.ipsec_mb), "null"]


# ------------------------------------------------------------------------------------------- from a VM


@pytest.mark.parametrize("backend", BACKENDS)
def test_packets_of_offloaded_flows_are_taken_out_and_in(make_offloaded_wire, backend):
    """Of each IP version and protocol; they arrive as they were sent, sealed, and the books say so."""
    wire = make_offloaded_wire(backend)
    wire.offload(*FLOWS)
    wire.offload(udp(B, A), vm="b")
    sender, receiver = wire.cards["h1"], wire.cards["h2"]
    out, into = sender.carried_out, receiver.carried_in
    assert all(sender.plans(packet) for packet in FLOWS)
    wire.send("a", *[udp(payload=bytes([n]) * 100) for n in range(MAX_ROWS)])
    for packet in FLOWS:
        wire.send("a", packet)
    assert wire.delivered == {"b": [*[udp(payload=bytes([n]) * 100) for n in range(MAX_ROWS)], *FLOWS]}
    assert sender.carried_out - out == receiver.carried_in - into == MAX_ROWS + len(FLOWS)
    assert sender.egress.counters.encrypted == receiver.ingress.counters.delivered
    assert not wire.drops


LEFT = {
    "fragment": [*fragments(udp(payload=bytes(500))), *fragments(udp(A6, B6, bytes(500)))],
    "truncated": [udp()[:-1], udp(A6, B6)[:-1], udp()[:27], udp()[:19], udp(A6, B6)[:39], udp()[:1]],
    "continued": [udp() + b"x", udp(A6, B6) + b"x"],
    "lying": [
        b"\x44" + udp()[1:],
        b"\x46" + udp()[1:],
        b"\x55" + udp()[1:],
        udp()[:24] + b"\0\7" + udp()[26:],
        tcp()[:32] + b"\x40" + tcp()[33:],
        tcp()[:32] + b"\xf0" + tcp(rows=0)[33:],
    ],
    "not known": [udp(sport=1), udp(A, C), udp(A2, B), udp(A, "203.0.113.7"), b"\0" * 40],
    "too big": [udp(payload=bytes(INNER_MTU - 28 + 1)), udp(A6, B6, bytes(INNER_MTU - 48 + 1))],
}


@pytest.mark.parametrize("why", LEFT)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_plainly_a_packet_of_an_offloaded_flow_is_left(make_offloaded_wire, backend, why):
    """And nothing at all is changed by looking at it."""
    wire = make_offloaded_wire(backend)
    wire.offload(*FLOWS)
    assert not any(wire.cards["h1"].plans(packet) for packet in LEFT[why])


ROUTES = [(A, B, "10.0.0.99"), (A6, B6, "fd00::99")]


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("route", ROUTES, ids=["IPv4", "IPv6"])
def test_source_routed_super_packets_are_cut_as_their_nic_says(
    make_twins, route: tuple[str, str, str], encrypted
):
    """A source route or a routing header: segments that fit arrive, with a checksum that is right at the route's end."""
    twins = make_twins("null", encrypted=encrypted)
    packet, places = source_routed(*route, rows=5)
    for _ in range(3):
        twins.hand_over("a", packet, 1000, places)
    twins.agree()
    assert twins.fast.cards["h1"].carried_out >= 5
    arrived = [route_ends(each) for each in twins.fast.delivered["b"]]
    assert all(is_right for _, is_right in arrived)
    assert b"".join(payload for payload, _ in arrived) == tcp(rows=15)[40 : 40 + 5000] * 3
    assert not twins.fast.drops


@pytest.mark.parametrize("route", ROUTES, ids=["IPv4", "IPv6"])
def test_a_super_packet_that_cannot_be_cut_is_malformed(make_twins, route: tuple[str, str, str]):
    """Its segments may fit or not: nobody can tell, so there is no MTU to answer with."""
    twins = make_twins("null")
    packet, _ = source_routed(*route, rows=5)
    twins.hand_over("a", packet, 1000)
    twins.hand_over("a", udp(payload=bytes(2000)) + b"surplus", 1000)
    twins.agree()
    assert twins.fast.reasons() == {DropReason.MALFORMED: 2}
    assert twins.fast.delivered == {}
    assert twins.fast.cards["h1"].egress.counters.answered == 0


PADDED = [*FLOWS, udp()[:24] + (len(udp()) - 30).to_bytes(2) + udp()[26:]]


@pytest.mark.parametrize("encrypted", [True, False])
def test_padding_is_cut_off_and_what_is_padded_is_not_joined(make_twins, encrypted):
    """From a VM, and from another host: with a flow offloaded or not, alone and between others, in order."""
    twins = make_twins("null", encrypted=encrypted)
    twins.offload(*FLOWS)
    for packet in PADDED:
        twins.send("a", packet + b"padding")
        twins.send("a", *[packet] * 3, packet[:-9] + bytes(9), packet)
    rows = [tcp(identification=n, sequence=n) for n in range(6)]
    longer = rows.copy()
    for n in (1, 2, 4):
        body = tcp(size=990, identification=n, sequence=n)
        rows[n], longer[n] = body, body + b"0123456789"
    for wire in twins:
        wire.cards["h2"].merges_for.add("b")
        wire.delivered.clear()
    twins.send("a", *longer)
    twins.agree()
    assert twins.fast.delivered == {"b": rows}
    assert not twins.fast.drops


@pytest.mark.parametrize("encrypted", [True, False])
def test_frames_with_padding_arrive_without(make_twins, encrypted):
    """As a VTEP that carries short Ethernet frames sends them (RFC 7348 does not have them cut)."""
    twins = make_twins("null", encrypted=encrypted)
    twins.offload(udp())
    sizes = (1, 5, 5, 5, 9, 2)
    for wire in twins:
        rows = [frame(udp(payload=bytes([n]) * n)).ljust(60, b"\0") for n in sizes]
        port = local_port = VXLAN_PORT
        if encrypted:
            association = wire.cards["h1"].tunnels["h2"].active
            rows = [association._seal_control(APPLICATION_DATA, each) for each in rows]
            port, local_port = association.ends
        wire.cards["h2"].merges_for.add("b")
        wire.arrive("h2", (HOSTS["h1"], port), local_port, rows)
    twins.agree()
    assert twins.fast.delivered == {"b": [udp(payload=bytes([n]) * n) for n in sizes]}


def test_a_padded_super_packet_is_not_cut(make_twins):
    """Its payload could end anywhere."""
    twins = make_twins("null")
    twins.offload(udp(), tcp())
    twins.hand_over("a", tcp(rows=3) + b"padding", 1000)
    twins.agree()
    assert twins.fast.reasons() == {DropReason.MALFORMED: 1}


def test_a_packet_from_the_internet_arrives_without_its_padding(make_wire):
    """At the gateway, too."""
    wire = make_wire()
    packet = udp("8.8.8.8", A)
    (effect,) = wire.cards["h1"].from_gateway("prod", packet + b"padding", 0.0)
    assert effect.burst.row(0).tobytes() == packet


def test_a_source_routed_super_packet_waits_for_its_tunnel_and_comes_whole_to_a_neighbour(make_wire):
    """What its NIC said of it is kept with it."""
    wire = make_wire()
    for hop, vm in ((B, "b"), (A2, "a2")):
        packet, (_, start, field) = source_routed(A, hop, "10.0.0.99", rows=3)
        layout = super_packet_layout(as_array(packet), 0, len(packet), True, start, field)
        whole = as_array(packet)
        wire.hand_over(
            "a",
            Burst.super_packet(whole, offset=0, length=len(packet), gso_size=1000, packets=3, layout=layout),
        )
        if vm == "b":
            assert [route_ends(each)[1] for each in wire.delivered[vm]] == [True] * 3
        else:
            assert wire.delivered[vm] == [packet]


def test_a_packet_that_just_fits_is_taken(make_offloaded_wire):
    """The limit is that of the way, to the byte."""
    wire = make_offloaded_wire("null")
    wire.offload(*FLOWS)
    assert wire.cards["h1"].plans(udp(payload=bytes(INNER_MTU - 28)))
    assert wire.cards["h1"].plans(udp(A6, B6, bytes(INNER_MTU - 48)))
    assert wire.cards["h1"].plans(tcp(40, INNER_MTU - 40), gso_size=INNER_MTU - 40)
    assert not wire.cards["h1"].plans(tcp(40, INNER_MTU - 40), gso_size=INNER_MTU - 39)


def test_a_flow_is_taken_from_its_own_vm_and_network_only(make_offloaded_wire):
    """Another VM that sends the same bytes is a spoofed source, on the slow path too."""
    wire = make_offloaded_wire("null")
    wire.offload(*FLOWS)
    assert not wire.cards["h1"].plans(udp(), vm="a2")
    assert not wire.cards["h1"].plans(udp(), vni=VNI + 1)
    wire.send("a2", udp())
    assert wire.reasons() == {DropReason.SPOOFED_SOURCE: 1}
    assert "b" not in wire.delivered


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65])
def test_a_super_packet_has_at_most_64_rows(make_offloaded_wire, rows):
    """As a send has; a longer one is cut by the slow path. Its last row may be short, or its only one."""
    wire = make_offloaded_wire("null")
    wire.offload(*FLOWS)
    for packet in (tcp(rows, 100), tcp(rows, 100)[:-1], udp(payload=bytes(rows * 100 - 99))):
        data = bytearray(packet)
        data[2:4] = len(data).to_bytes(2)
        if packet[9] == 17:
            data[24:26] = (len(data) - 20).to_bytes(2)
        plan = wire.cards["h1"].plan(bytes(data), gso_size=100)
        expected = (Out.SEND, rows) if rows <= MAX_ROWS else (Out.TOO_MANY_ROWS, 0)
        assert (plan.verdict, plan.rows) == expected


def planned_and_taken(card, packet, gso_size):
    """Whether a packet is planned, the rows of the plan, and whether they are sealed."""
    data, memory = as_array(packet), card.data.memory
    shape = Shape(len(data), 0, len(data), 1, len(data))
    plan = plan_out(memory, 0, VNI, data, shape, gso_size, 0, 0.0)
    wire_bytes = np.zeros(plan.rows * plan.size, np.uint8)
    planned = plan.verdict == Out.SEND
    taken = planned and seal_out(memory, plan, data, shape, gso_size, 0, wire_bytes, 0, 0.0)
    if taken:
        count_offered(memory, plan.rows, len(data))
    return planned, plan.rows, taken


@pytest.mark.parametrize("gso_size", [1, 7, 1000, 65_535])
def test_a_super_packet_of_a_protocol_that_is_not_cut_is_left(make_offloaded_wire, gso_size):
    """Whatever size it asks for."""
    wire = make_offloaded_wire("null")
    wire.offload(*FLOWS)
    assert not wire.cards["h1"].plans(FLOWS[4], gso_size=gso_size)


@pytest.mark.parametrize(("gso_size", "planned", "rows"), [(1, False, 0), (7, True, 29), (199, True, 2)])
def test_a_super_packet_with_flags_of_one_packet_is_not_cut(make_offloaded_wire, gso_size, planned, rows):
    """A SYN; no number is spent on it, and nothing at all is changed."""
    wire = make_offloaded_wire("null")
    wire.offload(*FLOWS)
    card = wire.cards["h1"]
    before = card.memory()
    assert planned_and_taken(card, tcp(2, 100, flags=0x02), gso_size) == (planned, rows, False)
    assert card.memory() == before


@pytest.mark.parametrize("gso_size", [200, 1000, 65_535])
def test_a_super_packet_of_one_row_is_that_packet(make_offloaded_wire, gso_size):
    """Whatever its flags; it takes one number."""
    wire = make_offloaded_wire("null")
    wire.offload(*FLOWS)
    card = wire.cards["h1"]
    first = card.tunnels["h2"].active.next_sequence
    assert planned_and_taken(card, tcp(2, 100, flags=0x02), gso_size) == (True, 1, True)
    assert card.tunnels["h2"].active.next_sequence == first + 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_packet_that_no_record_can_hold_is_too_big_on_either_path(make_offloaded_wire, backend):
    """On a link that would carry it: 2^14 bytes of plaintext is the most (RFC 5246 6.2.1)."""
    wire = make_offloaded_wire(backend, mtu=65_535)
    most = MAX_PLAINTEXT - ENCAPSULATION - 28
    wire.send("a", udp(payload=bytes(most + 1)))
    for _ in range(3):
        wire.send("a", udp(payload=bytes(most)))
    wire.send("a", udp(payload=bytes(most + 1)))
    assert wire.delivered == {"a": wire.delivered["a"], "b": [udp(payload=bytes(most))] * 3}
    assert wire.drops == [("h1", DropReason.TOO_BIG, 1, 0)] * 2
    assert wire.cards["h1"].carried_out == 2


def never(wire, vm, packet):
    """A flow is sent a few times and stays the slow path's."""
    for _ in range(5):
        wire.send(vm, packet)
    card = wire.cards[wire.topology.vms[vm].host]
    assert not card.plans(packet, vm)
    assert card.carried_out == 0


def test_flows_that_are_not_sent_to_another_host_are_never_offloaded(make_offloaded_wire):
    """To a VM of the same host, to the internet, to nobody."""
    wire = make_offloaded_wire("null")
    for packet in (udp(A, A2), udp(A, "203.0.113.7"), udp(A, "10.0.0.99")):
        never(wire, "a", packet)
    assert len(wire.delivered["a2"]) == len(wire.left) == 5


def test_flows_that_are_dropped_are_never_offloaded(make_offloaded_wire):
    """By policy: each packet is counted by its reason."""
    wire = make_offloaded_wire("null", vms={"b": {"flow_table_ready": False}})
    never(wire, "a", udp())
    assert wire.reasons().total() == 5


@pytest.mark.parametrize("enforcement", Enforcement)
def test_a_flow_that_fell_back_for_want_of_a_tunnel_is_decided_again(make_offloaded_wire, enforcement):
    """After a second: to clear, or to nothing. Until then kernels carry what goes in clear. With a tunnel it is sealed."""
    wire = make_offloaded_wire("null", enforcement=enforcement)
    falls_back = enforcement is Enforcement.ALLOW_UNENCRYPTED
    wire.cut = True
    wire.send("a", udp())
    wire.wait(15.5)  # the attempt has failed, and its pause is not over
    card = wire.cards["h1"]
    assert card.tunnels["h2"].failure
    for _ in range(5):
        wire.send("a", udp())
    assert card.plan(udp(), now=wire.now).verdict == (Out.SEND if falls_back else Out.DROP)
    assert card.plan(udp(), now=wire.now + 1.0).verdict == Out.MISS
    assert card.egress.counters.clear == (6 if falls_back else 0)
    assert card.carried_out == (5 if falls_back else 0)
    wire.cut = False
    wire.wait(40)
    wire.send("a", udp())
    wire.wait(60)
    wire.offload(udp())
    assert card.egress.counters.encrypted > 0


def test_packets_that_go_in_clear_while_their_tunnel_is_built_are_the_slow_paths(make_offloaded_wire):
    """The flow is to be encrypted: it has no way until there is an association."""
    wire = make_offloaded_wire("null", first_packet=FirstPacket.CLEAR)
    wire.cut = True
    for _ in range(5):
        wire.send("a", udp())
    assert wire.cards["h1"].carried_out == 0
    assert wire.cards["h1"].egress.counters.clear == 5


# -------------------------------------------------------------------------------------- what is sealed


def reference(association, header, rows, first):
    """What the slow path seals under these numbers."""
    burst = Burst.from_packets([header + row for row in rows], headroom=RECORD_PREFIX, tailroom=TAG)
    association.sealer.seal(burst, first)
    return [row.tobytes() for row in burst.rows()]


SIZES = (28, 29, 64, 100, 1000, INNER_MTU)
SUPER_PACKETS = [
    (tcp(2, 1000), 1000),
    (tcp(64, 100), 100),
    (tcp(40, INNER_MTU - 40), INNER_MTU - 40),
    (tcp(3, 1000, source=A6, destination=B6, flags=0x19), 999),
    (udp(payload=bytes(range(256)) * 4), 100),
    (tcp(rows=0), 1000),
]


@pytest.mark.parametrize("at", [0, 1, 4096])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_sealed_is_what_the_slow_path_seals_under_the_same_numbers(make_offloaded_wire, backend, at):
    """Byte for byte: packets of all sizes, super-packets; wherever in the memory they are put."""
    wire = make_offloaded_wire(backend)
    wire.offload(*FLOWS)
    card = wire.cards["h1"]
    association = card.tunnels["h2"].active
    header = card.egress.flows[0].header.tobytes()
    cases = [
        (udp(payload=bytes(range(200))[: size - 28] if size < 228 else bytes(size - 28)), 0) for size in SIZES
    ]
    for packet, gso_size in (*cases, *((packet, 0) for packet in FLOWS), *SUPER_PACKETS):
        own_header = header[:-2] + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00")
        data = as_array(bytes(3) + packet)
        first, state = association.next_sequence, card.data.memory
        shape = Shape(len(data), 3, len(packet), 1, len(packet))
        plan = plan_out(state, 0, VNI, data, shape, gso_size, 0, wire.now)
        assert plan.verdict == Out.SEND
        rows, size, last = plan.rows, plan.size, plan.last
        memory = np.full(at + rows * size + 5, 0xA5, np.uint8)
        assert seal_out(state, plan, data, shape, gso_size, 0, memory, at, wire.now)
        count_offered(state, rows, len(packet))
        parts = segment(data[3:], gso_size) if gso_size else [Burst.from_packets([packet])]
        packets = [row.tobytes() for part in parts for row in part.rows()]
        expected = reference(association, own_header, packets, first)
        total = (rows - 1) * size + last
        assert memory[at : at + total].tobytes() == b"".join(expected)
        assert [len(expected[0]), len(expected[-1])] == [size, last]
        assert (memory[:at] == 0xA5).all()
        assert (memory[at + rows * size :] == 0xA5).all()
        assert association.next_sequence == first + rows
        assert data.tobytes() == bytes(3) + packet


@pytest.mark.parametrize("backend", BACKENDS)
def test_record_numbers_go_on_whichever_path_seals(make_offloaded_wire, backend):
    """The paths take turns at random, in both directions: no number is used twice, none is left out."""
    seed = 20261201
    print(f"seed {seed}")
    rng = random.Random(seed)
    wire = make_offloaded_wire(backend)
    wire.offload(*FLOWS)
    wire.offload(udp(B, A), vm="b")
    numbers = {
        host: [wire.cards[host].tunnels[peer].active.next_sequence]
        for host, peer in (("h1", "h2"), ("h2", "h1"))
    }
    seen: dict[str, list[int]] = {host: [] for host in numbers}
    for _ in range(200):
        host = rng.choice(("h1", "h2"))
        card, (vm, packet) = wire.cards[host], ("a", udp()) if host == "h1" else ("b", udp(B, A))
        kind = rng.randrange(5)
        if kind == 0:
            card.revalidate()
        elif kind == 1:  # straight to the slow path
            wire.carry_out(
                host, card.card.from_guest(vm, Burst.from_packets([packet] * rng.randrange(1, 64)), wire.now)
            )
        elif kind == 2:  # a record of the tunnel's own
            tunnel = card.tunnels["h2" if host == "h1" else "h1"]
            tunnel._succession.send_empty(tunnel.active)
            effects: list[Any] = []
            card.tunnels.after(tunnel, tunnel._journal.take(), effects, wire.now)
            wire.carry_out(host, effects)
        else:
            wire.hand_over(vm, Burst.from_packets([packet] * rng.randrange(1, 64)))
    for host, _, _, datagram in wire.datagrams:
        assert datagram[3:5] == b"\0\1"
        seen[host].append(int.from_bytes(datagram[5:11], "big"))
    for host, (first,) in numbers.items():
        assert seen[host] == list(range(first, first + len(seen[host])))
    assert min(len(each) for each in seen.values()) > 100
    assert min(card.carried_out for name, card in wire.cards.items() if name != "h3") > 100


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_a_worn_key_is_the_slow_paths_from_its_first_worn_number_on(make_offloaded_wire, rows):
    """Kernels never seal a number at which a new key is to be begun, so none past the limit either."""
    wire = make_offloaded_wire("null", settings=TunnelSettings(rekey_records=8000))
    wire.offload(*FLOWS)
    card = wire.cards["h1"]
    old = card.tunnels["h2"].active
    assert old.worn_from == 7000
    packet, gso_size = tcp(rows, 100), 100
    old.next_sequence = old.worn_from - rows
    assert not card.plans(packet, gso_size=gso_size)
    old.next_sequence = old.worn_from - rows - 1
    assert card.plans(packet, gso_size=gso_size)
    burst = Burst.super_packet(
        as_array(packet), offset=0, length=len(packet), gso_size=gso_size, packets=rows
    )
    wire.hand_over("a", burst)
    assert (old.next_sequence, old.worn) == (old.worn_from - 1, False)
    wire.hand_over("a", burst)
    assert old.worn
    assert card.tunnels["h2"].active is not old
    assert not card.plans(udp())
    wire.offload(udp())
    assert old.next_sequence <= old.worn_from - 1 + rows + 1  # and one goodbye
    assert wire.cards["h1"].egress.counters.encrypted == wire.cards["h2"].ingress.counters.delivered


def test_bytes_wear_a_key_too(make_offloaded_wire):
    """A limit of bytes is kept in the same way."""
    wire = make_offloaded_wire("null", settings=TunnelSettings(rekey_bytes=20_000))
    wire.offload(udp(payload=bytes(1000)))
    card = wire.cards["h1"]
    old, before = card.tunnels["h2"].active, card.carried_out
    for _ in rounds(1000, "the key is worn out"):
        if card.tunnels["h2"].active is not old:
            break
        assert old.records["sealed_bytes"][0] < 20_000
        wire.send("a", udp(payload=bytes(1000)))
    assert card.carried_out - before > 10
    assert old.records["sealed_bytes"][0] >= 20_000
    wire.offload(udp(payload=bytes(1000)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_of_48_bits_are_sealed_and_opened(make_offloaded_wire, backend):
    """Up to the eighth part of all numbers that is kept for making the next key."""
    wire = make_offloaded_wire(backend, settings=TunnelSettings(rekey_records=1 << 60))
    wire.offload(udp())
    association = wire.cards["h1"].tunnels["h2"].active
    association.next_sequence = association.worn_from - 65
    for _ in range(MAX_ROWS):
        wire.send("a", udp())
    assert len(wire.delivered["b"]) == MAX_ROWS
    assert wire.cards["h1"].carried_out == MAX_ROWS + 2
    last = int.from_bytes(wire.datagrams[-1][3][5:11], "big")
    assert last == association.worn_from - 2 == (MAX_SEQUENCE + 1) // 8 * 7 - 2
