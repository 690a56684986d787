"""The fast path of a card, in: no record is opened, delivered or believed that the slow path would not."""

from __future__ import annotations

import random
import secrets
from collections import Counter

import pytest

from dtls_emu.testing.offloaded import path_of
from dtls_emu.testing.packets import A2, HOSTS, VNI, A, B, C, frame, tcp, udp
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.vocabulary import DropReason, Enforcement
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_PREFIX, TAG
from dtls_emu.wire.packet import fragments
from dtls_emu.wire.protocol import ALERT, APPLICATION_DATA
from dtls_emu.wire.vxlan import VXLAN_PORT


ADDRESSES = {"a": A, "a2": A2, "b": B, "c": C}
BACKENDS = [pytest.param("ipsec-mb", marks=pytest.mark.ipsec_mb), "null"]


@pytest.mark.parametrize("in_clear", [False, True])
def test_a_frame_that_says_it_is_from_a_neighbour_is_dropped_and_breaks_nothing(
    make_offloaded_wire, in_clear
):
    """Of two VMs on one host neither can be heard from the fabric; there is no way to offload such a flow to."""
    wire = make_offloaded_wire("null")
    wire.send("a", udp())
    forged = frame(udp(A2, A))
    association = wire.cards["h2"].tunnels["h1"].active
    for _ in range(3):
        if in_clear:
            wire.inject("h1", (HOSTS["h2"], 5), VXLAN_PORT, forged)
        else:
            record = association._seal_control(23, forged)
            wire.inject("h1", (HOSTS["h2"], association.local_port), association.remote_port, record)
    assert Counter(reason for _, reason, *_ in wire.drops) == {DropReason.FOREIGN_SOURCE: 3}
    assert "a" not in wire.delivered


def test_a_peer_speaks_only_for_its_own_vms(make_offloaded_wire):
    """Authentic, and of a flow that is offloaded, but through another host's tunnel."""
    wire = make_offloaded_wire("null")
    wire.offload(udp())
    wire.send("c", udp(C, B))
    wire.delivered.clear()
    association = wire.cards["h3"].tunnels["h2"].active
    record = association._seal_control(APPLICATION_DATA, frame(udp()))
    into = wire.cards["h2"].carried_in
    wire.inject("h2", (HOSTS["h3"], association.local_port), association.remote_port, record)
    assert wire.reasons() == {DropReason.FOREIGN_SOURCE: 1}
    assert wire.cards["h2"].carried_in == into
    assert not wire.delivered


@pytest.mark.parametrize("enforcement", Enforcement)
def test_what_comes_in_clear_is_taken_where_the_policy_takes_it(make_offloaded_wire, enforcement):
    """On a flow that is offloaded: under DropUnencrypted it goes no further, else its sender may have fallen back."""
    wire = make_offloaded_wire("null", enforcement=enforcement)
    wire.offload(udp())
    into = wire.cards["h2"].carried_in
    for sport in (VXLAN_PORT, 1):
        wire.arrive("h2", (HOSTS["h1"], sport), VXLAN_PORT, [frame(udp())] * 2)
    if enforcement is Enforcement.ALLOW_UNENCRYPTED:
        assert wire.delivered == {"b": [udp()] * 4}
        assert wire.cards["h2"].carried_in == into + 4
    else:
        assert wire.reasons() == {DropReason.CLEAR_NOT_ACCEPTED: 4}
        assert wire.cards["h2"].carried_in == into
    wire.arrive("h2", (HOSTS["h3"], VXLAN_PORT), VXLAN_PORT, [frame(udp())])
    wire.arrive("h2", ("10.255.0.99", VXLAN_PORT), VXLAN_PORT, [frame(udp())])
    assert wire.reasons()[DropReason.FOREIGN_SOURCE] == 1
    assert wire.reasons()[DropReason.UNKNOWN_PEER] == 1


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("rows", [1, 63, 64, 65, 128])
def test_a_receive_has_at_most_64_rows(make_offloaded_wire, rows, encrypted):
    """A longer one is left as it came, for the slow path to take apart."""
    wire = make_offloaded_wire("null", encrypted=encrypted)
    wire.offload(udp())
    records, port, local_port = [frame(udp())] * rows, VXLAN_PORT, VXLAN_PORT
    if encrypted:
        association = wire.cards["h1"].tunnels["h2"].active
        records = [association._seal_control(APPLICATION_DATA, each) for each in records]
        port, local_port = association.ends
    into = wire.cards["h2"].carried_in
    wire.arrive("h2", (HOSTS["h1"], port), local_port, records)
    assert wire.delivered == {"b": [udp()] * rows}
    assert wire.cards["h2"].carried_in - into == (rows if rows <= MAX_ROWS else 0)


def flip(at, bit=1):
    def change(record, _):
        changed = bytearray(record)
        changed[at % len(record)] ^= bit
        return bytes(changed)

    return change


HOSTILE = {
    "forged tag": flip(-1),
    "forged text": flip(30),
    "forged address": flip(RECORD_PREFIX + ENCAPSULATION + 15),
    "forged nonce": flip(13),
    "forged number": flip(10, 0x40),
    "number far ahead": flip(5, 0x80),
    "other epoch": flip(4, 2),
    "other version": flip(2, 2),
    "alert": flip(0, APPLICATION_DATA ^ ALERT),
    "handshake": flip(0, 1),
    "no type": flip(0, 0x80),
    "longer than it says": lambda record, _: record + b"\0",
    "shorter than it says": lambda record, _: record[:-1],
    "two in one": lambda record, other: record + other,
    "runt": lambda record, _: record[:12],
    "no room for a tag": lambda record, _: record[:11] + b"\0\x17" + record[13:36],
    "empty record": lambda record, _: record[:11] + b"\0\x18" + record[13:21] + record[-TAG:],
    "any bytes": lambda record, _: b"\x80" + record[:0:-1],
    "one byte": lambda _, __: b"\x17",
}


@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_hostile_records_have_the_fate_that_the_slow_path_gives_them(make_twins, backend, how):
    """Alone, and as a row between good ones; the good ones are delivered, once."""
    twins = make_twins(backend)
    twins.offload(udp())
    change = HOSTILE[how]
    for wire in twins:
        first, second, third, fourth = wire.capture("a", *[udp(payload=bytes([n]) * 100) for n in range(4)])
        hostile = change(second[3], first[3])
        before = wire.window("h2")
        wire.replay(second, hostile)
        if wire.engines["h1"].backend.protects and how.startswith("forged"):
            assert wire.window("h2") == before
            assert not wire.delivered
        row = hostile.ljust(len(first[3]), b"\0")[: len(first[3])]
        wire.arrive("h2", (HOSTS["h1"], first[1]), first[2][1], [first[3], row, third[3]])
        wire.replay(fourth, fourth[3])
    twins.agree()


@pytest.mark.parametrize("backend", BACKENDS)
def test_replays_and_late_records_have_the_fate_that_the_slow_path_gives_them(make_twins, backend):
    """Whether the same receive, or an earlier one, brought the first; at both edges of the window."""
    twins = make_twins(backend, replay_window=64)
    twins.offload(udp())
    for wire in twins:
        records = [wire.capture("a", udp(payload=bytes([n]) * 100))[0] for n in range(80)]
        source, port = (HOSTS["h1"], records[0][1]), records[0][2][1]
        rows = [each[3] for each in records]
        wire.arrive("h2", source, port, [rows[5], rows[5]])
        wire.arrive("h2", source, port, [rows[4], rows[5], rows[6]])
        wire.arrive("h2", source, port, [rows[70], rows[6], rows[7], rows[8]])  # its own receive makes 6 late
        wire.arrive("h2", source, port, rows[:64])
        wire.arrive("h2", source, port, rows[60:])
        assert wire.reasons()[DropReason.REPLAYED] > 5
        assert wire.reasons()[DropReason.LATE] > 5
        assert len(set(wire.delivered["b"])) == len(wire.delivered["b"]) == 76
    twins.agree()


def test_a_forgery_counts_and_in_the_end_costs_the_association(make_twins):
    """At the limit of failed authentications the key is given up, whichever path met them (RFC 9325 4.4)."""
    twins = make_twins("null", settings=TunnelSettings(forgery_limit=10))
    twins.offload(udp())
    for wire in twins:
        rows = [each[3][:-1] + b"!" for each in wire.capture("a", *[udp()] * 12)]
        association = wire.cards["h2"].tunnels["h1"].active
        for at in range(0, 12, 3):
            wire.arrive(
                "h2", (HOSTS["h1"], association.remote_port), association.local_port, rows[at : at + 3]
            )
        assert association.closed
        assert wire.cards["h2"].tunnels["h1"].active is None
        assert wire.cards["h2"].tunnels["h1"].forgeries >= 10
    assert not path_of(twins.fast.cards["h2"], "h1")["usable"]
    twins.agree()


# ------------------------------------------------------------------------------------------ any script


@pytest.mark.parametrize("options", [{}, {"enforcement": Enforcement.DROP_UNENCRYPTED}, {"encrypted": False}])
def test_any_script_has_the_outcome_of_the_slow_path(make_twins, options):
    """Without a cipher even the datagrams are the same, byte for byte. Another seed each time; a failure names it."""
    seed = secrets.token_hex(4)
    print(f"seed {seed}")
    rng = random.Random(seed)
    twins = make_twins("null", replay_window=64, **options)
    for _ in range(150):
        kind = rng.randrange(12)
        vm, other = rng.choice((("a", "b"), ("b", "a"), ("a2", "b"), ("c", "b"), ("a", "a2")))
        ends = (ADDRESSES[vm], ADDRESSES[other])
        if kind < 4:
            body = rng.randbytes(rng.choice((0, 20, 300, 1500, 1600)))
            # The slow path answers a burst that is too big once, and here it sees packets one by one.
            count = rng.choice((1, 2, 64)) if len(body) <= 1500 else 1
            twins.send(vm, *[udp(*ends, body, rng.randrange(3))] * count)
        elif kind < 6:
            rows, size = rng.choice((1, 2, 40, 64, 70)), rng.choice((1, 100, 900))
            packet = tcp(rows, size, *ends, flags=rng.choice((0x10, 0x18, 0x02)))
            twins.hand_over(vm, packet, size)
        elif kind == 6:
            twins.send(vm, rng.choice(fragments(udp(*ends, bytes(300)), size=128)))
        elif kind == 7:
            damaged = bytearray(udp(*ends))
            damaged[rng.randrange(28)] ^= 1 << rng.randrange(8)
            twins.send(vm, bytes(damaged))
        elif kind == 8:
            at, change = rng.random(), rng.choice(list(HOSTILE.values()))
            for wire in twins:
                if records := wire.data():
                    chosen = records[int(at * len(records))]
                    wire.replay(chosen, change(chosen[3], records[0][3]))
        elif kind == 9:
            source, destination = rng.choices(list(ADDRESSES.values()), k=2)
            forged = frame(udp(source, destination), rng.choice((VNI, VNI + 1)))
            host, port = rng.choice(("10.255.0.9", *HOSTS.values())), rng.choice((VXLAN_PORT, 4433))
            for wire in twins:
                wire.inject("h2", (host, 5), port, forged)
        elif kind == 10:
            twins.wait(rng.choice((0.1, 1.0, 12.0)))
        else:
            for wire in twins:
                wire.cards["h1"].revalidate()
        twins.agree()
    assert twins.fast.cards["h1"].carried_out > 0
