"""Rekeys and silent peers, over everything a host consists of: in a simulation, and by both loops of real ones."""

from __future__ import annotations

import pytest

from dtls_emu.fabric.simulated import SimulatedFabric
from dtls_emu.lab import compile_lab, load_lab
from dtls_emu.lab.loader import parse_lab
from dtls_emu.simulation import simulate
from dtls_emu.simulation.cloud import Cloud
from dtls_emu.testing.rig import ping, with_link
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason, Enforcement
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_OVERHEAD
from dtls_emu.wire.packet import udp_packet
from dtls_emu.wire.protocol import APPLICATION_DATA, CHANGE_CIPHER_SPEC


FIRST = "name: f, kind: udp, from: {0}, to: {1}, count: 1"
STREAM = "name: s, kind: udp, from: {0}, to: {1}, count: 6000, interval: 1ms, start: 100ms"


def is_last_flight(datagram):
    return datagram[0] == CHANGE_CIPHER_SPEC


def is_empty(datagram):
    return datagram[0] == APPLICATION_DATA and len(datagram) == RECORD_OVERHEAD


def losing(kind, number):
    """Say of the first so many datagrams of a kind that they are lost."""
    left = number

    def loses(datagram):
        nonlocal left
        left -= kind(datagram)
        return kind(datagram) and left >= 0

    return loses


# ---------------------------------------------------------------------------------------- in a simulation


@pytest.mark.parametrize("lost", [2, 1000])
@pytest.mark.parametrize("sender", ["client", "server"])
def test_a_rekey_loses_no_packet_of_a_simulated_stream(make_lab, monkeypatch, sender, lost):
    """Whoever sends it, and however often the server's last flight is lost; there are 1,000 packets a second."""
    loses = losing(is_last_flight, lost)
    original = SimulatedFabric.transmit
    taken = 0

    def transmit(fabric, host, effect):
        nonlocal taken
        datagram = effect.burst.wire[: effect.burst.last].tobytes()
        # The first handshake is whole.
        if fabric._clock.now > 0.5 and effect.burst.count == 1 and loses(datagram):
            taken += 1
        else:
            original(fabric, host, effect)

    monkeypatch.setattr(SimulatedFabric, "transmit", transmit)
    # Who sends the first packet of all builds the tunnel.
    first = ("a", "b") if sender == "client" else ("b", "a")
    items = FIRST.format(*first), STREAM.format("a", "b")
    outcome = simulate(make_lab(*items, link="delay: 1ms", overrides="rekey_seconds: 2s"))
    _, item = outcome.items
    assert (item.offered, item.delivered, dict(item.dropped)) == (6000, 6000, {})
    assert taken >= 2
    assert min(tunnel.handshakes for tunnel in outcome.tunnels) == (1 if lost == 1000 else 2)


WORN = """
overrides: {rekey_records: 32}
virtual_networks: {n: {address_prefixes: [10.0.0.0/24], vni: 1,
                       encryption: {enabled: true, enforcement: DropUnencrypted}}}
hosts: {a: {underlay: 192.0.2.1}, b: {underlay: 192.0.2.2}}
vms: {x: {host: a, virtual_network: n, address: 10.0.0.4}, y: {host: b, virtual_network: n, address: 10.0.0.5}}
link_defaults: {loss: 60%, delay: 5ms}
traffic: [{name: s, kind: udp, from: x, to: y, count: 200}]
"""


@pytest.mark.parametrize("seed", [4, 19, 25, 31, 35, 46, 48, 54])
def test_packets_behind_a_worn_key_come_to_an_end_on_a_bad_network(tmp_path, seed):
    """60 % loss and a new key every 32 records: what is not delivered has a reason, and the run ends."""
    lab = parse_lab(WORN, tmp_path / "worn.yaml")
    (item,) = simulate(lab, seed=seed).items
    assert item.offered == 200 == item.delivered + sum(item.dropped.values())
    assert item.dropped[DropReason.TUNNEL_DOWN] > 0


def test_packets_of_a_network_that_was_away_do_not_wait_for_the_next_one():
    """`up rekey`, `set loss=100%`, 400 packets, 42 s, `set loss=0`: none waits; and the next ones pass."""
    topology = compile_lab(load_lab("rekey"))
    cloud = Cloud(topology)
    sender, receiver = list(topology.vms.values())[:2]
    card = cloud.cards[sender.host]
    packet = udp_packet(str(sender.addresses[0]), str(receiver.addresses[0]), 1, 2, b"data")

    def send(count):
        for _ in range(count):
            cloud.send(sender.name, [Burst.from_packets([packet])])
            cloud.clock.run_until(cloud.clock.now + 0.001)

    def lose(loss):
        for ends in ((sender.host, receiver.host), (receiver.host, sender.host)):
            link = topology.link(*ends)
            cloud.fabric.reconfigure(type(link)(**{**fields(link), "loss": loss}))

    send(10)
    lose(1.0)
    send(400)
    assert card.egress.counters.waiting > 200
    cloud.clock.run_until(cloud.clock.now + 42)
    assert card.egress.counters.waiting == 0
    assert card.egress.counters.dropped[DropReason.TUNNEL_DOWN] > 200
    lose(0.0)
    cloud.clock.run_until(cloud.clock.now + 45)
    before = cloud.cards[receiver.host].ingress.counters.delivered
    send(1)  # finds that there is no tunnel, has one built, and waits for it
    cloud.clock.run_until(cloud.clock.now + 5)
    send(1)
    cloud.clock.run_until(cloud.clock.now + 5)
    assert cloud.cards[receiver.host].ingress.counters.delivered == before + 2
    cloud.check()
    cloud.close()


def fields(link):
    return {name: getattr(link, name) for name in link.__dataclass_fields__}


# -------------------------------------------------------------------------------- by the loops of real hosts


def assert_stream(rig, seconds, *ways, step=0.05):
    """Packets at an even rate; all of them arrive."""
    sent = dict.fromkeys(ways, 0)
    arrived = dict.fromkeys(ways, 0)
    for _ in range(round(seconds / step)):
        for source, destination in ways:
            rig.guests[source].send(ping(source, destination, sent[source, destination]))
            sent[source, destination] += 1
        rig.settle()
        for source, destination in ways:
            arrived[source, destination] += len(rig.guests[destination].received())
        rig.clock.now += step
    assert arrived == sent


BOTH_WAYS = (("a", "b"), ("b", "a"))


@pytest.mark.parametrize("ways", [BOTH_WAYS, BOTH_WAYS[:1], BOTH_WAYS[1:]], ids=["both", "client", "server"])
@pytest.mark.parametrize("kind", [is_last_flight, is_empty])
@pytest.mark.parametrize("lost", [2, 3, 1000])
def test_a_rekey_loses_no_packet_of_a_stream(make_rig, ways, kind, lost):
    """By either loop: the flows are offloaded, the server's last flight or the client's confirmation is lost."""
    rig = make_rig()
    rig.warm()
    assert rig.tunnel("h1").active.is_client
    for fabric in rig.fabrics.values():
        fabric.loses = losing(kind, lost)
    rig.agents["h1"].rekey("h2")
    assert_stream(rig, 12, *ways)
    assert rig.fabrics["h1"].lost or rig.fabrics["h2"].lost
    for fabric in rig.fabrics.values():
        fabric.loses = None
    if kind is is_last_flight and lost == 1000:
        rig.pass_time(5, step=0.05)
        assert rig.tunnel("h1").state is TunnelState.UP
        rig.agents["h1"].rekey("h2")
    assert_stream(rig, 25, *ways)
    for host in ("h1", "h2"):
        assert list(rig.tunnel(host).associations) == [rig.tunnel(host).active]
    assert rig.tunnel("h1").handshakes >= 2


def test_packets_are_an_answer_to_a_client_whose_flows_are_offloaded(make_compiled_rig):
    """Though every record without data is lost: the first packet under new keys is not left to compiled code."""
    rig = make_compiled_rig()
    rig.warm()
    for fabric in rig.fabrics.values():
        fabric.loses = is_empty
    old = [rig.tunnel(host).active for host in ("h1", "h2")]
    rig.agents["h1"].rekey("h2")
    rig.settle()
    assert rig.tunnel("h2").active is old[1]
    rig.warm()
    assert [rig.tunnel(host).active.confirmed for host in ("h1", "h2")] == [True, True]
    calls = [rig.count_calls(host) for host in ("h1", "h2")]
    assert_stream(rig, 0.5, *BOTH_WAYS)
    assert calls == [{}, {}]
    rig.pass_time(11, step=0.05)
    assert [each.closed for each in old] == [True, True]


@pytest.mark.parametrize("seconds", [20, 31, 45, 47, 100])
@pytest.mark.parametrize("frozen", ["h1", "h2"])
@pytest.mark.parametrize("two_way", [True, False], ids=["answered", "one way"])
def test_a_frozen_host_is_back_a_second_after_it_goes_on(make_rig, seconds, frozen, two_way):
    """SIGSTOP and SIGCONT of one card, while a VM of the other host goes on sending."""
    rig = make_rig(enforcement=Enforcement.DROP_UNENCRYPTED)
    rig.warm()
    source, destination = ("b", "a") if frozen == "h1" else ("a", "b")

    def talk(duration):
        arrived = 0
        for _ in range(round(duration / 0.1)):
            rig.guests[source].send(ping(source, destination))
            rig.settle()
            packets = rig.guests[destination].received()
            arrived += len(packets)
            if packets and two_way:
                rig.guests[destination].send(ping(destination, source))
                rig.settle()
            rig.guests[source].received()
            rig.clock.now += 0.1
        return arrived

    talk(2)
    rig.freeze(frozen)
    talk(seconds)
    rig.thaw(frozen)
    talk(1)
    assert talk(5) == 50
    for host in ("h1", "h2"):
        assert (rig.tunnel(host).state, rig.tunnel(host).failure) == (TunnelState.UP, "")


def test_packets_behind_a_worn_key_come_to_an_end_when_the_network_is_away(make_rig):
    """`set loss=100%` on a running host, 400 packets, 42 s, `set loss=0`: none waits, and the next passes."""
    rig = make_rig(rekey_records=175, enforcement=Enforcement.DROP_UNENCRYPTED)
    rig.warm()
    topology = rig.topology
    counters = rig.agents["h1"].card.egress.counters
    for agent in rig.agents.values():
        agent.reconfigure(with_link(topology, loss=1.0))
    for number in range(400):
        rig.guests["a"].send(ping("a", "b", number))
        rig.settle()
    assert counters.waiting > 200
    rig.pass_time(42, step=0.05)
    assert counters.waiting == 0
    assert counters.dropped[DropReason.TUNNEL_DOWN] > 200
    for agent in rig.agents.values():
        agent.reconfigure(topology)
    rig.pass_time(45, step=0.05)
    rig.guests["b"].received()
    rig.guests["a"].send(ping("a", "b", 1))  # finds that there is no tunnel, has one built, and waits for it
    rig.pass_time(2, step=0.05)
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert rig.guests["b"].received() == [ping("a", "b", 1), ping("a", "b")]
