"""The fast path of a card while things change: associations, policy, timers, books, tables of flows."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dtls_emu.nic.offload.kernels import find_path, open_in
from dtls_emu.nic.offload.state import DELIVER_ANY, NOT_OPENED
from dtls_emu.nic.offload.verdicts import Out
from dtls_emu.testing.offloaded import path_of
from dtls_emu.testing.packets import A6, B6, FLOWS, HOSTS, A, B, C, as_array, frame, tcp, udp
from dtls_emu.testing.rig import rebuilt, with_link
from dtls_emu.vocabulary import DropReason, Enforcement
from dtls_emu.wire.burst import Burst, Shape
from dtls_emu.wire.protocol import APPLICATION_DATA


BACKENDS = [pytest.param("ipsec-mb", marks=pytest.mark.ipsec_mb), "null"]


# ----------------------------------------------------------------------------- associations and policy


def test_the_way_follows_the_association_that_seals(make_offloaded_wire):
    """After a rekey kernels use the new one, at both ends; the old one's records still under way are opened."""
    wire = make_offloaded_wire("null")
    wire.offload(udp())
    card = wire.cards["h1"]
    old = card.tunnels["h2"].active
    late = frame(udp(payload=b"late"))
    record = old._seal_control(APPLICATION_DATA, late)
    wire.carry_out("h1", card.rekey("h2", wire.now))
    new = card.tunnels["h2"].active
    assert new is not old
    path = path_of(card)
    assert path["local_port"] == new.local_port
    assert path["records"] == new.records.ctypes.data
    assert path["window"] == new.window.state.ctypes.data
    wire.offload(udp())
    before = old.records.tolist()
    wire.inject("h2", (HOSTS["h1"], old.local_port), old.remote_port, record)
    assert wire.delivered == {"b": [udp(payload=b"late")]}
    wire.offload(udp())
    assert old.records.tolist() == before
    wire.wait(30)
    assert old.closed
    wire.inject("h2", (HOSTS["h1"], old.local_port), old.remote_port, record)
    assert wire.reasons() == {DropReason.NO_ASSOCIATION: 1}


def test_a_server_goes_on_with_the_old_association_until_the_new_one_is_heard(make_offloaded_wire):
    """Kernels too; the switch comes with the first record."""
    wire = make_offloaded_wire("null")
    wire.offload(udp(B, A), vm="b")
    server, old = wire.cards["h1"], wire.cards["h1"].tunnels["h2"].active
    assert not old.is_client
    effects = wire.cards["h2"].rekey("h1", wire.now)
    wire.offload(udp())
    assert path_of(server)["records"] == old.records.ctypes.data
    wire.carry_out("h2", effects)
    new = server.tunnels["h2"].active
    assert new is not old
    assert path_of(server)["records"] == new.records.ctypes.data
    wire.offload(udp())


ENDS = {
    "abort": lambda wire: wire.cards["h1"].abort(),
    "goodbye": lambda wire: wire.carry_out("h2", wire.cards["h2"].close(wire.now)),
    "close": lambda wire: wire.carry_out("h1", wire.cards["h1"].close(wire.now)),
    "closed association": lambda wire: wire.cards["h1"].tunnels["h2"].active.close(),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_sealed_or_opened_once_keys_are_gone(make_offloaded_wire, backend, end):
    """Whoever ended it, and whether or not the fast path was told: both sides of the way are taken back."""
    wire = make_offloaded_wire(backend)
    wire.offload(udp())
    wire.offload(udp(B, A), vm="b")
    card, peer = wire.cards["h1"], wire.cards["h2"].tunnels["h1"].active
    record = peer._seal_control(APPLICATION_DATA, frame(udp(B, A)))
    local_port, remote_port = peer.remote_port, peer.local_port
    assert card.plans(udp())
    ENDS[end](wire)
    assert not card.plans(udp())
    state, data = card.data.memory, as_array(record)
    high, low = 0, 0xFFFF00000000 | int.from_bytes(bytes((10, 255, 0, 2)))
    state.rows.keys[0] = np.array((local_port << 16 | remote_port, high, low, 0, 0, 0), np.uint64)
    before = card.memory()
    shape = Shape(len(record), 0, len(record), 1, len(record))
    path = find_path(state.peers, state.rows.keys)
    assert (path < 0) == (end in {"close", "goodbye"})  # nobody has told the card of the others
    assert open_in(state, path, data, shape, 0, wire.now).runs == NOT_OPENED
    assert card.memory() == before
    assert data.tobytes() == record


@pytest.mark.parametrize("change", ["revalidate", "update", "smaller link"])
def test_a_change_has_every_flow_decided_anew(make_offloaded_wire, change):
    """At both ends; what was offloaded is so again once it has been decided, under the new rules."""
    wire = make_offloaded_wire("null")
    wire.offload(udp(), udp(payload=bytes(1400)))
    topology = with_link(wire.topology, mtu=1000) if change == "smaller link" else wire.topology
    for card in wire.cards.values():
        card.revalidate() if change == "revalidate" else card.update(topology)
    for card, vm, packet in ((wire.cards["h1"], "a", udp()), (wire.cards["h2"], "b", udp(B, A))):
        assert not card.plans(packet, vm)
    into = wire.cards["h2"].carried_in
    wire.send("a", udp())
    assert wire.cards["h2"].carried_in == into
    wire.offload(udp())
    assert wire.cards["h1"].plans(udp(payload=bytes(1400))) == (change != "smaller link")
    assert wire.cards["h1"].plans(udp(payload=bytes(1000 - 87 - 28)))


def test_a_policy_that_turns_against_a_flow_takes_it_back(make_offloaded_wire):
    """Out: its packets are dropped. In: what a peer that does not know yet still sends is not delivered."""
    wire = make_offloaded_wire("null", enforcement=Enforcement.DROP_UNENCRYPTED)
    wire.offload(udp())
    vms = [replace(vm, flow_table_ready=vm.name != "b") for vm in wire.topology.vms.values()]
    wire.cards["h2"].update(rebuilt(wire.topology, vms=vms))
    for _ in range(3):
        wire.send("a", udp())
    wire.cards["h1"].update(rebuilt(wire.topology, vms=vms))
    for _ in range(3):
        wire.send("a", udp())
    assert not wire.delivered
    assert wire.cards["h1"].egress.counters.dropped.total() == 3
    assert wire.cards["h2"].ingress.counters.dropped.total() == 3


def test_a_peer_that_fell_silent_takes_the_way_back_until_it_is_heard_again(make_offloaded_wire):
    """Presumed dead, it may have lost its keys: a packet on the fast path would be lost without anybody noticing."""
    wire = make_offloaded_wire("null")
    wire.offload(udp())
    card = wire.cards["h1"]
    wire.cut = True
    assert card.plans(udp())
    wire.send("a", udp())
    wire.wait(wire.now + 16)
    assert not card.plans(udp())
    wire.cut = False
    wire.wait(wire.now + 40)
    wire.send("a", udp())
    wire.offload(udp())


# ------------------------------------------------------------------------------------ timers and books


@pytest.mark.parametrize("backend", BACKENDS)
def test_timers_are_those_of_the_slow_path(make_twins, backend):
    """When a keepalive is due, and when a peer is presumed dead: after each packet, and each pause."""
    twins = make_twins(backend)
    twins.offload(udp())
    twins.offload(udp(B, A), vm="b")
    for pause in (0.0, 0.1, 5.0, 0.0, 9.9, 0.3, 10.1, 4.0, 30.0, 0.0):
        for vm, packet in (("a", udp()), ("b", udp(B, A))):
            twins.send(vm, packet)
            twins.agree()
            twins.wait(pause)
            twins.agree()
    assert twins.fast.cards["h1"].carried_out > 10


@pytest.mark.parametrize("encrypted", [True, False])
def test_counters_are_those_of_the_card_to_the_packet(make_twins, encrypted):
    """Of the card, and of each flow: packets, bytes, and when it was last seen; whoever has counted them."""
    twins = make_twins("null", encrypted=encrypted)
    twins.offload(*FLOWS)
    for n in range(5):
        twins.wait(1.5)
        twins.send("a", *[udp(payload=bytes([n]) * 100)] * (10 * n + 1))
        twins.hand_over("a", tcp(10, 500), 500)
        twins.agree()
    for wire in twins:
        out = {each.key: each for each in wire.cards["h1"].egress.flows}
        into = {each.key: each for each in wire.cards["h2"].ingress.flows}
        assert out.keys() == into.keys()
        for key, each in out.items():
            assert (each.packets, each.nbytes) == (into[key].packets, into[key].nbytes)
        assert sum(each.packets for each in into.values()) == wire.cards["h2"].ingress.counters.delivered
        assert sum(each.nbytes for each in into.values()) == wire.cards["h2"].ingress.counters.delivered_bytes


# ------------------------------------------------------------------------------------- tables of flows


def assert_records_are_right(card):
    """What kernels know of each flow is what the slow path has decided for it; addresses lead to what is alive."""
    known, generation = 0, card.data.memory.card["generation"][0]
    for flows in (card.egress.flows, card.ingress.flows):
        for number in range(len(flows)):
            flow, record = flows[number], flows.records[number]
            if record["generation"] != generation:
                continue
            known += 1
            assert record["action"] == flow.action
            assert card.vms[record["vm"]] == flow.vm
            if flows is card.egress.flows:
                assert card.data.paths.peer(record["path"]) is flow.peer
                assert record["header"] == flow.header.ctypes.data
                assert record["limit"] == flow.inner_mtu
            else:
                assert card.data.paths.peer(2 * record["path"]).name == flow.source_host
                assert (record["action"] == DELIVER_ANY) == flow.accepts_clear
    memory = card.data.memory
    assert memory.out.flows is card.egress.flows.records
    assert memory.into.flows is card.ingress.flows.records
    return known


def test_tables_grow_under_offloaded_flows(make_offloaded_wire):
    """Twice; each flow's packets have its own header afterwards, from memory that nobody else has got meanwhile."""
    wire = make_offloaded_wire("null")
    wire.offload(udp(), udp(A, C))
    flows = [(A, B), (A, C), (A6, B6)]
    card = wire.cards["h1"]
    slots = len(card.egress.flows.slots)
    for sport in range(600):
        for source, destination in flows:
            for _ in range(2):
                wire.send("a", udp(source, destination, b"x", sport))
    assert len(card.egress.flows.slots) >= 2 * slots
    gc.collect()
    _garbage = [np.full(22, 0xEE, np.uint8) for _ in range(2000)]
    before = card.carried_out
    wire.delivered.clear()
    for sport in range(600):
        for source, destination in flows:
            wire.send("a", udp(source, destination, b"y", sport))
    assert card.carried_out == before + 1800
    assert {vm: len(packets) for vm, packets in wire.delivered.items()} == {"b": 1200, "c": 600}
    assert assert_records_are_right(card) >= 1800
    assert assert_records_are_right(wire.cards["h2"]) >= 1200


def test_a_sweep_lets_idle_flows_go_and_keeps_those_that_only_kernels_have_seen(make_offloaded_wire):
    """They have been busy all the time, although no slow path knew."""
    wire = make_offloaded_wire("null", flow_table=40)
    card = wire.cards["h1"]
    busy = [udp(sport=sport) for sport in range(10)]
    wire.offload(*busy)
    for sport in range(100, 130):
        wire.send("a", udp(sport=sport))
    assert len(card.egress.flows) == 40
    for _ in range(30):
        wire.now += 10
        wire.send("a", *busy[:1])
        for packet in busy:
            assert card.plans(packet)
            wire.send("a", packet)
    wire.send("a", udp(sport=999))
    assert len(card.egress.flows) == 11
    assert all(card.plans(packet) for packet in busy)
    gc.collect()
    _garbage = [np.full(22, 0xEE, np.uint8) for _ in range(200)]
    wire.delivered.clear()
    for packet in busy:
        wire.send("a", packet)
    assert wire.delivered == {"b": busy}
    assert assert_records_are_right(card) >= 10


def test_a_flow_that_is_decided_anew_has_the_header_of_its_new_decision(make_offloaded_wire):
    """The old one's memory is free, and may be anybody's."""
    wire = make_offloaded_wire("null")
    wire.offload(udp())
    card = wire.cards["h1"]
    flows = card.egress.flows
    card.revalidate()
    assert card.plan(udp()).verdict == Out.MISS
    wire.carry_out("h1", card.card.from_guest("a", Burst.from_packets([udp()]), wire.now))
    gc.collect()
    _garbage = [np.full(22, 0xEE, np.uint8) for _ in range(200)]
    wire.offload(udp())
    assert flows.records["header"][0] == flows[0].header.ctypes.data
    assert assert_records_are_right(card) == 1


def test_what_leaves_a_table_is_told_with_its_exact_counts(make_offloaded_wire):
    """Decided anew, swept, or let go of with the rest: every packet is in exactly one account, whoever counted it."""
    wire = make_offloaded_wire("null", flow_table=3)
    card = wire.cards["h1"]
    ended: list[Any] = []
    card.egress.flows.on_end = ended.append
    for sport, packets in ((1, 4), (2, 7), (3, 1)):
        wire.now = float(sport)
        for _ in range(packets):
            wire.send("a", udp(sport=sport))
    before = {each.key.source_port: each for each in card.egress.flows}
    assert {port: each.packets for port, each in before.items()} == {1: 4, 2: 7, 3: 1}
    ended.clear()
    card.revalidate()
    wire.now = 10.0
    wire.send("a", udp(sport=1))
    (first,) = ended
    assert (first.key.source_port, first.packets, first.nbytes) == (1, 4, 4 * len(udp()))
    assert (first.started, first.last_seen) == (before[1].started, 1.0)
    assert first.flow.decision == card.egress.flows[0].decision
    wire.now = 251.0
    wire.send("a", udp(sport=4))
    assert [(each.key.source_port, each.packets, each.last_seen) for each in ended[1:]] == [
        (1, 1, 10.0),
        (2, 7, 2.0),
        (3, 1, 3.0),
    ]
    card.egress.flows.clear()
    assert [(each.key.source_port, each.packets) for each in ended[4:]] == [(4, 1)]
    assert sum(each.packets for each in ended) == card.egress.counters.encrypted
    wire.send("a", udp(sport=4))


def test_a_flow_that_finds_no_place_is_delivered_and_told_of(make_offloaded_wire):
    """On the way in a full table costs the decision again, not the packets; and their counts are handed on."""
    wire = make_offloaded_wire("null", flow_table=2)
    receiver = wire.cards["h2"]
    ended: list[Any] = []
    receiver.ingress.flows.on_end = ended.append
    for vm, address, sport in (("a", A, 1), ("c", C, 1), ("a", A, 2), ("c", C, 2), ("a", A, 2)):
        wire.send(vm, udp(address, B, sport=sport))
    assert len(wire.delivered["b"]) == 5
    assert len(receiver.ingress.flows) == 2
    held = list(receiver.ingress.flows)
    counts = [(str(each.key.source), each.key.source_port, each.packets) for each in ended]
    assert counts[-2:] == [(A, 2, 1), (C, 2, 1)]
    receiver.ingress.flows.clear()
    assert sum(each.packets for each in ended) == receiver.ingress.counters.delivered == 5
    assert len(held) == 2
