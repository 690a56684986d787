"""The loop of a host: packets in both directions, bounded turns, impaired links, restarts, goodbyes.

Real UDP sockets on loopback addresses of this process, devices that are pairs of sockets, and a clock that
only moves when a test says so.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack, contextmanager, suppress

import numpy as np
import pytest

from dtls_emu.host.device.tun import DeviceDrop
from dtls_emu.host.device.tun_io import READ_COST
from dtls_emu.testing.present import present
from dtls_emu.testing.rig import ADDRESSES, ping, with_link
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason, FirstPacket, Keying
from dtls_emu.wire.packet import tcp_packet, udp_packet
from dtls_emu.wire.parse import parse_packet_untrusted
from dtls_emu.wire.virtio import VNET_FIELDS


def test_a_packet_of_a_vm_arrives_at_the_other_through_a_handshake(make_rig):
    """Device, card, sockets, card, device; and back."""
    rig = make_rig()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert rig.guests["b"].received() == [ping("a", "b")]
    rig.guests["b"].send(ping("b", "a"))
    rig.settle()
    assert rig.guests["a"].received() == [ping("b", "a")]
    assert rig.agents["h1"].card.egress.counters.encrypted == 1
    assert rig.agents["h1"].card.egress.counters.clear == 0


def test_without_encryption_it_is_the_same_way(make_rig):
    """The baseline of a comparison."""
    rig = make_rig(encrypted=False)
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert rig.guests["b"].received() == [ping("a", "b")]
    assert rig.agents["h1"].card.egress.counters.clear == 1


def test_what_left_in_clear_is_counted_so_before_and_after_the_tunnel_is_up(make_rig):
    """The first packet does not wait; all later ones of its flow are sealed, in either loop."""
    rig = make_rig(first_packet=FirstPacket.CLEAR)
    for number in range(20):
        rig.guests["a"].send(ping("a", "b", number))
        rig.settle()
    assert sorted(rig.guests["b"].received()) == sorted(ping("a", "b", number) for number in range(20))
    card = rig.agents["h1"].card
    assert (card.egress.counters.clear, card.egress.counters.encrypted) == (1, 19)
    assert rig.agents["h2"].card.ingress.counters.delivered == 20


def test_vms_of_one_host_reach_each_other_without_the_fabric(make_rig):
    """From device to device."""
    rig = make_rig()
    rig.guests["a"].send(ping("a", "a2"))
    rig.settle()
    assert rig.guests["a2"].received() == [ping("a", "a2")]
    assert rig.fabrics["h1"].statistics().offered == 0


def test_a_super_packet_arrives_as_one(make_rig):
    """Cut and joined on the way; one write to the device that takes it."""
    rig = make_rig()
    payload = np.arange(5000, dtype=np.uint16).tobytes()
    packet = tcp_packet(ADDRESSES["a"], ADDRESSES["b"], 1000, 2000, payload)
    rig.guests["a"].send(packet, VNET_FIELDS.pack(1, 1, 40, 1000, 20, 16))
    rig.settle()
    (arrived,) = rig.guests["b"].received()
    assert arrived[40:] == payload
    assert rig.guests["b"].device.statistics().writes == 1
    assert rig.agents["h1"].card.egress.counters.encrypted == 10


def test_packets_for_the_internet_are_counted_and_go_no_further(make_rig):
    """There is no gateway behind real guests."""
    rig = make_rig()
    rig.guests["a"].send(udp_packet(ADDRESSES["a"], "203.0.113.7", 1, 2, b"hello?"))
    rig.settle()
    assert rig.agents["h1"].edge.left == 1


def test_one_vm_does_not_starve_another(make_rig):
    """Whatever one has queued, the other's packet goes out in the same turn."""
    rig = make_rig()
    flood = 3 * (1 << 19) // READ_COST
    for number in range(flood):
        rig.guests["a"].send(ping("a", "a2", number))
    rig.guests["a2"].send(ping("a2", "a"))
    rig.agents["h1"].turn(wait=False)
    assert rig.guests["a"].received() == [ping("a2", "a")]
    passed = rig.guests["a"].device.statistics().reads
    assert 0 < passed < flood
    rig.settle()


def test_a_full_device_is_a_counted_drop(make_rig):
    """The guest does not read; nothing raises, and the loop goes on."""
    rig = make_rig(encrypted=False)
    with suppress(BlockingIOError):
        while True:
            os.write(rig.guests["b"].device.fileno(), bytes(9000))
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert rig.guests["b"].device.statistics().dropped == {DeviceDrop.FULL: 1}
    rig.guests["b"].received()
    rig.guests["a"].send(ping("a", "b", 1))
    rig.settle()
    assert rig.guests["b"].received() == [ping("a", "b", 1)]


def test_an_idle_loop_sleeps_until_the_next_timer(make_rig):
    """Without tunnels there is none; with one it is the tunnel's own."""
    rig = make_rig()
    agent = rig.agents["h1"]
    assert agent._next_timeout() == float("inf")
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert agent._next_timeout() == agent.card.next_timeout() > rig.clock.now


def test_stop_wakes_a_loop_that_sleeps(make_rig):
    """From another thread, as from a signal handler."""
    rig = make_rig()
    thread = threading.Thread(target=rig.agents["h1"].run)
    thread.start()
    rig.agents["h1"].stop()
    thread.join(10)
    assert not thread.is_alive()


def test_something_else_lives_on_the_loop(make_rig):
    """It is served when it is readable, and when its time has come."""

    class Service:
        def __init__(self):
            self.near, self.far = socket.socketpair()
            self.served = []

        def fileno(self):
            return self.near.fileno()

        def next_timeout(self):
            return 105.0

        def serve(self, now):
            self.near.setblocking(False)
            with suppress(BlockingIOError):
                self.near.recv(10)
            self.served.append(now)

    rig = make_rig()
    service = Service()
    with service.near, service.far:
        rig.agents["h1"].attach(service)
        rig.settle()
        assert service.served == []
        service.far.send(b"x")
        rig.settle()
        assert service.served == [100.0]
        assert rig.agents["h1"]._next_timeout() == 105.0
        rig.clock.now = 105.0
        rig.agents["h1"].turn(wait=False)
        assert service.served == [100.0, 105.0]


# ------------------------------------------------------------------------------------ impaired links


def test_a_link_without_impairments_costs_nothing(make_rig):
    """Its datagrams go straight to the sockets; the default delay is taken for that of two real stacks."""
    rig = make_rig()
    assert rig.agents["h1"].links.peers == frozenset()
    assert dict(rig.agents["h1"].links.statistics()) == {}


def test_a_delay_is_kept(make_rig):
    """Not before its time, and with the books open meanwhile."""
    rig = make_rig(link={"delay": 0.020}, encrypted=False)
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    rig.pass_time(0.0195)
    assert rig.guests["b"].received() == []
    assert rig.agents["h1"].links.statistics()["h2"].in_flight == 1
    rig.pass_time(0.001)
    assert rig.guests["b"].received() == [ping("a", "b")]
    assert rig.agents["h1"].links.statistics()["h2"].delivered == 1


def test_a_delay_is_waited_for_to_less_than_a_millisecond(make_rig):
    """The kernel's wait alone would round up."""
    rig = make_rig(link={"delay": 0.0003}, encrypted=False)
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert rig.agents["h1"]._next_timeout() == pytest.approx(100.0003, abs=1e-6)


def test_loss_is_counted_on_the_link(make_rig):
    """And the two ends' own books stay right."""
    rig = make_rig(link={"loss": 1.0}, encrypted=False)
    for number in range(10):
        rig.guests["a"].send(ping("a", "b", number))
    rig.settle()
    assert rig.guests["b"].received() == []
    books = rig.agents["h1"].links.statistics()["h2"]
    assert (books.offered, books.dropped) == (10, {DropReason.LOST: 10})
    assert books.balanced


def test_what_a_link_lost_is_counted_when_it_loses_no_more(make_rig):
    """No counter goes down because the lab was changed."""
    rig = make_rig(link={"loss": 1.0}, encrypted=False)
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    rig.agents["h1"].reconfigure(with_link(rig.topology, loss=0.0))
    assert rig.agents["h1"].links.peers == frozenset()
    assert rig.agents["h1"].links.statistics()["h2"].dropped == {DropReason.LOST: 1}


def test_duplicates_and_reordering_are_what_the_lab_says(make_rig):
    """Each packet twice; with reordering the second overtakes the first."""
    rig = make_rig(link={"duplicate": 1.0}, encrypted=False)
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    rig.pass_time(0.001)
    assert rig.guests["b"].device.statistics().written == 2
    rig.guests["b"].received()
    rig.agents["h1"].reconfigure(with_link(rig.topology, duplicate=0.0, reorder=1.0))
    for number in range(2):
        rig.guests["a"].send(ping("a", "b", number))
        rig.settle()
    rig.pass_time(0.02)
    assert rig.guests["b"].received() == [ping("a", "b", 1), ping("a", "b", 0)]


def test_a_flipped_bit_arrives_and_is_found_by_the_record(make_rig):
    """The kernel's checksum is over what is sent, so only the tag can tell."""
    rig = make_rig()
    if not rig.engine.backend.protects:
        pytest.skip("compiled, but without a cipher: libIPSec_MB cannot be used here")
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    rig.agents["h1"].reconfigure(with_link(rig.topology, corrupt=1.0))
    for number in range(20):
        rig.guests["a"].send(ping("a", "b", number))
        rig.settle()
    rig.pass_time(0.001)
    dropped = rig.agents["h2"].card.ingress.counters.dropped
    assert dropped.total() == 20
    assert dropped[DropReason.AUTH_FAILED] > 0
    assert rig.guests["b"].received() == [ping("a", "b")]


def test_impairments_come_and_go_live(make_rig):
    """What is under way stays as it is."""
    rig = make_rig(encrypted=False)
    agent = rig.agents["h1"]
    agent.reconfigure(with_link(rig.topology, delay=0.05))
    assert agent.links.peers == {rig.topology.hosts[name].underlay for name in ("h2", "h3")}
    rig.guests["a"].send(ping("a", "b", 1))
    rig.settle()
    agent.reconfigure(rig.topology)
    assert agent.links.peers == frozenset()
    rig.guests["a"].send(ping("a", "b", 2))
    rig.settle()
    rig.pass_time(0.06)
    assert rig.guests["b"].received() == [ping("a", "b", 2), ping("a", "b", 1)]


def test_a_handshake_gets_through_a_lossy_link(make_rig):
    """Its timers run on the same loop."""
    rig = make_rig(link={"loss": 0.4})
    rig.guests["a"].send(ping("a", "b"))
    for _ in range(60):
        rig.pass_time(0.5, step=0.1)
        if rig.tunnel("h1").active is not None and rig.tunnel("h2").active is not None:
            break
    assert rig.tunnel("h1").active is not None
    assert rig.tunnel("h2").active is not None


# ------------------------------------------------------------------------------- changes, ends, starts


def test_a_lowered_mtu_is_answered_to_the_guest(make_rig):
    """So that path MTU discovery works on a live connection; the tunnel stays up."""
    rig = make_rig()
    rig.guests["a"].send(ping("a", "b", size=1400))
    rig.settle()
    assert len(rig.guests["b"].received()) == 1
    handshakes = rig.tunnel("h1").handshakes
    rig.agents["h1"].reconfigure(with_link(rig.topology, mtu=1000))
    rig.guests["a"].send(ping("a", "b", size=1400))
    rig.settle()
    (answer,) = rig.guests["a"].received()
    assert (answer[20], answer[21]) == (3, 4)  # ICMP: fragmentation needed and DF set
    assert int.from_bytes(answer[26:28], "big") == 1000 - 87
    rig.guests["a"].send(ping("a", "b", size=800))
    rig.settle()
    assert len(rig.guests["b"].received()) == 1
    assert rig.tunnel("h1").handshakes == handshakes


def test_a_rekey_opens_one_more_port_and_loses_nothing(make_rig):
    """The new association has its own; the old one's is closed after its time."""
    opened = []
    rig = make_rig()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    agent = rig.agents["h1"]

    def open_port(port):
        opened.append(port)
        return rig.fabrics["h1"].open_port(port)

    agent.edge._open_port = open_port
    agent.rekey("h2")
    rig.settle()
    rig.guests["a"].send(ping("a", "b", 1))
    rig.settle()
    assert rig.guests["b"].received() == [ping("a", "b"), ping("a", "b", 1)]
    assert len(opened) == 1
    assert rig.tunnel("h1").handshakes == 2
    before = len(rig.fabrics["h1"].ports)
    rig.pass_time(30, step=1)
    assert len(rig.fabrics["h1"].ports) == before - 1
    assert set(rig.fabrics["h1"].ports) == agent.edge.ports


@contextmanager
def taken(rig, host, count=3):
    """Another program has the ports that a host would take next."""
    first = rig.tunnel(host)._renewal._ports._allocator._next
    with ExitStack() as programs:
        for port in range(first, first + count):
            program = programs.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            program.bind((rig.topology.hosts[host].underlay, port))
        yield first + count


def test_ports_that_other_programs_have_cost_no_time(make_rig):
    """Neither a first handshake nor a rekey waits: the next port is taken at the same moment."""
    rig = make_rig()
    with taken(rig, "h1") as expected:
        rig.guests["a"].send(ping("a", "b"))
        rig.settle()
        assert rig.guests["b"].received() == [ping("a", "b")]
        assert rig.own_port("h1") == expected == rig.tunnel("h1").active.local_port
    with taken(rig, "h1") as expected:
        rig.agents["h1"].rekey("h2")
        rig.settle()
        assert rig.tunnel("h1").handshakes == rig.tunnel("h2").handshakes == 2
        assert rig.tunnel("h1").active.local_port == expected
        rig.guests["a"].send(ping("a", "b", 1))
        rig.settle()
        assert rig.guests["b"].received() == [ping("a", "b", 1)]
    assert set(rig.fabrics["h1"].statistics().errors) == {"EADDRINUSE"}
    assert rig.tunnel("h1").failure == ""


def test_a_program_with_all_ports_is_a_reason_that_is_said(make_rig, monkeypatch):
    """And the host tries others a second later."""
    monkeypatch.setattr("dtls_emu.tunnel.renewal.PORT_TRIES", 3)
    rig = make_rig()
    with taken(rig, "h1"):
        rig.guests["a"].send(ping("a", "b"))
        rig.settle()
        assert rig.tunnel("h1").failure == "none of 3 UDP ports can be opened"
        rig.clock.now = rig.tunnel("h1").retry_at
        rig.guests["a"].send(ping("a", "b", 1))
        rig.settle()
    assert rig.tunnel("h1").state is TunnelState.UP


def test_keys_are_asked_for_on_a_port_that_is_open(make_rig):
    """A broker's answer comes later, and another program may take the port meanwhile: so it is taken before."""
    rig = make_rig(keying=Keying.BROKER)
    with taken(rig, "h1") as expected:
        rig.guests["a"].send(ping("a", "b"))
        rig.settle()
    (request,) = rig.agents["h1"].take_key_requests()
    assert (request.peer, request.port) == ("h2", expected)
    assert request.port in rig.fabrics["h1"].ports


def test_a_closed_host_says_goodbye_and_has_no_keys_left(make_rig):
    """Its peer knows at once."""
    rig = make_rig(link={"delay": 0.5})
    rig.guests["a"].send(ping("a", "b"))
    rig.pass_time(4, step=0.05)
    assert rig.tunnel("h2").state is TunnelState.UP
    agent = rig.agents.pop("h1")
    tunnel = agent.card.tunnels["h2"]
    agent.close()
    rig.fabrics["h1"].close()
    rig.settle()
    assert rig.tunnel("h2").state is TunnelState.IDLE
    assert tunnel.active is None
    assert list(tunnel.associations) == []


def test_a_host_that_was_killed_and_comes_back_is_spoken_to_again(make_rig):
    """Although its own VM never sends: its peer has keys that it knows nothing of, and would send for ever."""
    rig = make_rig()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert len(rig.guests["b"].received()) == 1
    rig.kill("h2")
    rig.start("h2")
    for number in range(3):
        rig.guests["a"].send(ping("a", "b", number))
        rig.settle()
        rig.pass_time(1, step=0.5)
    assert rig.tunnel("h2").state is TunnelState.UP
    assert rig.guests["b"].received()[-1] == ping("a", "b", 2)


def test_a_stranger_makes_nobody_greet(make_rig):
    """Only records that a peer may have sealed do."""
    rig = make_rig()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        record = bytes.fromhex("17fefd0001000000000001") + (40).to_bytes(2, "big") + bytes(40)
        stranger.sendto(record, (rig.topology.hosts["h1"].underlay, 4433))
        rig.settle()
    assert rig.tunnel("h1").state is TunnelState.IDLE
    assert rig.agents["h1"].card.ingress.counters.dropped == {DropReason.UNKNOWN_PEER: 1}


def test_a_device_that_went_away_is_trouble_and_not_a_busy_loop(make_rig):
    """The other VM's goes on."""
    rig = make_rig(broken=("a",))
    agent = rig.agents["h1"]
    assert agent.trouble == ""
    rig.settle()  # would never end if the device were still watched
    assert agent.trouble == "tun0 of a: Input/output error"
    rig.guests["a2"].send(ping("a2", "b"))
    rig.settle()
    assert rig.guests["b"].received() == [ping("a2", "b")]


def test_a_late_datagram_of_a_closed_port_is_counted_and_opens_nothing(make_rig):
    """A goodbye that an impaired link kept too long."""
    rig = make_rig(link={"delay": 0.5})
    rig.guests["a"].send(ping("a", "b"))
    rig.pass_time(4, step=0.05)
    agent = rig.agents["h1"]
    agent.rekey("h2")
    rig.pass_time(15, step=0.05)
    assert set(rig.fabrics["h1"].ports) == agent.edge.ports
    assert agent.edge.late == 1


def test_what_arrives_is_what_was_sent_for_many_flows_and_sizes(make_rig):
    """A storm in both directions: nothing is lost, doubled or changed while buffers have room."""
    seed = 20261120
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    rig = make_rig()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    rig.guests["b"].received()
    sent: dict[str, list[tuple[int, bytes]]] = {"a": [], "b": []}
    arrived: dict[str, list[bytes]] = {"a": [], "b": []}
    for _ in range(100):
        for source, destination in (("a", "b"), ("b", "a")):
            for _ in range(int(random.integers(0, 8))):
                port = int(random.integers(1, 5))
                payload = random.bytes(int(random.choice([1, 30, 30, 30, 700])))
                packet = udp_packet(ADDRESSES[source], ADDRESSES[destination], port, 9, payload)
                rig.guests[source].send(packet)
                sent[destination].append((port, payload))
        rig.settle()
        for name in arrived:
            arrived[name] += rig.guests[name].received()
    for name, packets in arrived.items():
        for port in range(1, 5):
            parsed = [present(parse_packet_untrusted(packet)) for packet in packets]
            found = b"".join(
                packet[28:]
                for packet, each in zip(packets, parsed, strict=True)
                if int.from_bytes(packet[20:22], "big") == port and each.protocol == 17
            )
            assert found == b"".join(payload for own, payload in sent[name] if own == port)
