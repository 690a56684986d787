"""The compiled loop of a host: what it leaves to Python, what it counts, and that nobody can tell it apart."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from math import inf
from random import Random

import numpy as np
import pytest

from dtls_emu.fabric.udp_receive import READS_PER_PORT
from dtls_emu.host.loop import state
from dtls_emu.nic.effects import Transmit
from dtls_emu.testing.rig import ADDRESSES, difference, ping, super_packet, warmed, with_link
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.headers import MAX_PACKET, TCP, UDP
from dtls_emu.wire.overhead import ENCAPSULATION
from dtls_emu.wire.packet import fragments, tcp_packet, udp_packet
from dtls_emu.wire.virtio import NEEDS_CHECKSUM, VNET_FIELDS
from dtls_emu.wire.vxlan import VXLAN_PORT


def throw(rig, datagrams, source_port=4433, port=4433):
    """Host h2 sends something to h1 that no card of it has asked for."""
    address = rig.topology.hosts["h1"].underlay
    rig.fabrics["h2"].transmit(Transmit(Burst.from_packets(datagrams), source_port, (address, port)))


# ---------------------------------------------------------------------------------------- hostile guests


@pytest.fixture
def written_over(make_rig):
    """A rig whose VM a has had the checksum of a packet to b written over a field of it, so that it holds a number."""

    def make(field, wanted):
        rig = make_rig()
        rig.guests["a"].send(ping("a", "b"))
        rig.settle()
        rig.guests["a"].send(ping("a", "b"))
        rig.settle()
        assert len(rig.guests["b"].received()) == 2
        packet = bytearray(ping("a", "b"))
        fillers = (filler.to_bytes(2) for filler in range(1 << 16))
        packet[30:32] = next(
            filler for filler in fillers if internet_checksum(packet[:30] + filler + packet[32:]) == wanted
        )
        rig.guests["a"].send(bytes(packet), VNET_FIELDS.pack(NEEDS_CHECKSUM, 0, 0, 0, 0, field))
        rig.settle()
        return rig

    return make


@pytest.mark.parametrize(
    ("field", "value", "dropped", "waiting"),
    [
        pytest.param(6, 0x2000, {DropReason.FRAGMENT: 1}, 0, id="fragment"),
        pytest.param(14, 0x0005, {DropReason.SPOOFED_SOURCE: 1}, 0, id="source"),
        pytest.param(18, 0x0007, {}, 1, id="destination"),  # c: for the tunnel to the other host
    ],
)
def test_a_checksum_that_is_written_over_a_header_is_looked_at_after_it_is_written(
    written_over, field, value, dropped, waiting
):
    """A guest says where the sum goes: it must not turn a packet that passed into one that would not have."""
    rig = written_over(field, value)
    assert rig.guests["b"].received() == []
    counters = rig.agents["h1"].card.egress.counters
    assert (counters.dropped, counters.waiting) == (dropped, waiting)


def test_a_checksum_that_is_written_over_a_port_makes_another_flow(written_over):
    """Which is decided by itself."""
    rig = written_over(22, 0x0009)
    (arrived,) = rig.guests["b"].received()
    assert arrived[22:24] == b"\0\x09"
    assert len(rig.agents["h1"].card.egress.flows) == 2


def test_a_begun_checksum_is_finished_once(make_rig):
    """Whichever path takes the packet: the first of a flow, and the next."""
    rig = make_rig()
    packet = bytearray(ping("a", "b"))
    whole = bytes(packet)
    packet[26:28] = (~internet_checksum(whole[12:20] + bytes((0, 17)) + whole[24:26]) & 0xFFFF).to_bytes(2)
    for _ in range(4):
        rig.guests["a"].send(bytes(packet), VNET_FIELDS.pack(NEEDS_CHECKSUM, 0, 0, 0, 20, 6))
        rig.settle()
    assert rig.guests["b"].received() == [whole] * 4


def test_the_longest_super_packet_of_ipv6_is_not_cut_off(make_rig):
    """Its length field counts from behind the header: 40 bytes more than IPv4 can have."""
    rig = make_rig()
    payload = np.arange((MAX_PACKET - 20) // 2 + 1, dtype=np.uint16).tobytes()[: MAX_PACKET - 20]
    packet = tcp_packet("fd00::4", "fd00::6", 1000, 2000, payload)
    for _ in range(3):
        rig.guests["a"].send(packet, VNET_FIELDS.pack(NEEDS_CHECKSUM, 4, 60, 1400, 40, 16))
        rig.settle()
    assert rig.agents["h1"].card.egress.counters.dropped == {}
    assert b"".join(part[60:] for part in rig.guests["b"].received()) == payload * 3


# -------------------------------------------------------------------------------------------- fairness


def test_a_flood_of_one_port_does_not_starve_another(make_rig):
    """Although each of its datagrams is an exception: after two turns the other port has had one."""
    rig = make_rig()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    rig.guests["b"].received()
    for _ in range(100):
        throw(rig, [b"\x17" + bytes(50)])
    rig.guests["b"].send(ping("b", "a"))
    rig.settle("h2")
    for _ in range(2):
        rig.agents["h1"].turn(wait=False)
    assert rig.guests["a"].received() == [ping("b", "a")]
    assert rig.agents["h1"].card.ingress.counters.dropped.total() < 100
    rig.settle()


def test_what_has_arrived_is_read_before_its_port_closes(make_rig):
    """Each datagram is an exception, and the association that they came for is let go at this moment."""
    rig = make_rig()
    rig.warm()
    port = rig.own_port("h1")
    rig.agents["h1"].rekey("h2")
    rig.settle()
    for _ in range(READS_PER_PORT):
        throw(rig, [b"\x17" + bytes(50)], port=port)
    rig.clock.now += TunnelSettings().drain
    rig.agents["h1"].turn(wait=False)
    assert port not in rig.fabrics["h1"].ports
    assert rig.agents["h1"].card.ingress.counters.dropped == {DropReason.BAD_VERSION: READS_PER_PORT}
    assert rig.fabrics["h1"].statistics().unread == 0


def test_an_exception_amid_a_pass_starves_no_other_file(make_compiled_rig):
    """Every device and the fabric have had their turn before the pass is over, whoever brought exceptions."""
    rig = make_compiled_rig()
    rig.warm(("a", "b"), ("a2", "b"), ("b", "a"))
    for number in range(300):
        rig.guests["a"].send(fragments(ping("a", "b", number, size=100), size=64)[number % 3])
    for source, destination in (("a2", "b"), ("b", "a")):
        rig.guests[source].send(ping(source, destination))
    rig.settle("h2")
    throw(rig, [b"junk"])
    rig.agents["h1"].turn(wait=False)
    assert 0 < rig.agents["h1"].card.egress.counters.dropped[DropReason.FRAGMENT] < 300
    rig.agents["h2"].turn(wait=False)
    assert rig.guests["b"].received() == [ping("a2", "b")]
    rig.agents["h1"].turn(wait=False)
    assert rig.guests["a"].received() == [ping("b", "a")]
    rig.settle()


@pytest.mark.parametrize("is_used_again", [False, True])
def test_a_port_may_close_while_its_event_is_pending(make_compiled_rig, is_used_again):
    """Its number may be another port's by then; nothing is read twice, and nothing raises."""
    rig = make_compiled_rig()
    rig.warm()
    agent, fabric, port = rig.agents["h1"], rig.fabrics["h1"], rig.own_port("h1")
    number = fabric.ports[port]
    turn, receive = fabric.receiver.state["turn"][0], agent.card.from_fabric

    def close_another(*arguments):
        assert turn["next"] < turn["ready"]
        agent.card.from_fabric = receive
        fabric.close_port(port)
        if is_used_again:
            fabric.open_port(50_000)
            assert fabric.ports[50_000] == number
        return receive(*arguments)

    throw(rig, [b"junk"])  # comes first, and is an exception
    rig.guests["b"].send(ping("b", "a"))
    rig.settle("h2")
    agent.card.from_fabric = close_another
    rig.settle()
    assert agent.card.from_fabric == receive
    assert rig.guests["a"].received() == []
    assert fabric.statistics().unread == 1
    assert fabric.statistics().errors == {}
    assert sum(agent.card.ingress.counters.dropped.values()) == 1


# ---------------------------------------------------------------------------------------- sleep and wake


def test_an_idle_loop_returns_only_when_something_is_there(make_compiled_rig):
    """Not before it is rung; a file of somebody else, readable or not, does not make it spin."""
    rig = make_compiled_rig(time=time.monotonic)
    loop = rig.agents["h1"]._fast_loop
    codes = []
    thread = threading.Thread(target=lambda: codes.append(loop.run(time.monotonic(), inf, forever=True)))
    thread.start()
    os.write(rig.agents["h1"].alarm, b"\0")
    thread.join(10)
    assert codes == [state.ATTENTION]
    assert loop.take_attention()
    assert not loop.take_attention()
    rig.settle()


@pytest.mark.parametrize("who", ["the caller", "compiled code"])
def test_a_loop_that_sleeps_wakes_for_a_timer(make_compiled_rig, who):
    """Whoever set it."""
    rig = make_compiled_rig(time=time.monotonic)
    rig.warm()
    loop = rig.agents["h1"]._fast_loop
    due = time.monotonic() + 0.002
    if who == "compiled code":
        loop._datapath.card["due"] = due
    code = loop.run(time.monotonic(), due if who == "the caller" else inf, forever=True)
    assert code == state.TIMERS
    assert time.monotonic() >= due


def test_stop_from_another_thread_wakes_a_compiled_loop(make_compiled_rig):
    """Asleep or about to be; with an association up, whose timers are seconds away."""
    rig = make_compiled_rig(time=time.monotonic)
    rig.warm()
    agent = rig.agents["h1"]
    thread = threading.Thread(target=agent.run)
    thread.start()
    agent.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_signal_wakes_a_compiled_loop(make_compiled_rig):
    """Python's handler runs although compiled code has not looked at Python since it fell asleep."""
    rig = make_compiled_rig(time=time.monotonic)
    agent = rig.agents["h1"]
    was_rung_in_vain = threading.Event()

    def give_up():
        was_rung_in_vain.set()
        agent.stop()

    watchdog = threading.Timer(10, give_up)
    before = signal.signal(signal.SIGUSR1, lambda *_: agent.stop())
    wakeup = signal.set_wakeup_fd(agent.alarm)
    try:
        watchdog.start()
        threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1)).start()
        agent.run()
    finally:
        watchdog.cancel()
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGUSR1, before)
    assert not was_rung_in_vain.is_set()


# ------------------------------------------------------------------------------------- what Python takes


def test_packets_of_an_offloaded_flow_do_not_come_by_python(make_compiled_rig):
    """Neither out nor in; nor do they after a pause, or when others are exceptions."""
    rig = make_compiled_rig()
    rig.warm()
    calls = {host: rig.count_calls(host) for host in rig.agents}
    for number in range(10):
        rig.guests["a"].send(ping("a", "b", number))
        rig.guests["b"].send(ping("b", "a", number))
        rig.settle()
    assert calls == {"h1": {}, "h2": {}}
    assert rig.guests["b"].received() == [ping("a", "b", number) for number in range(10)]
    assert rig.guests["a"].received() == [ping("b", "a", number) for number in range(10)]


@pytest.mark.parametrize("encrypted", [True, False])
def test_an_impaired_link_takes_the_way_back_and_returns_it(make_compiled_rig, encrypted):
    """What is sent over it is Python's meanwhile, and is late by its delay; then compiled code's again."""
    rig = make_compiled_rig(encrypted=encrypted)
    rig.warm()
    agent = rig.agents["h1"]
    calls = rig.count_calls("h1")
    agent.reconfigure(with_link(rig.topology, delay=0.05))
    rig.guests["a"].send(ping("a", "b", 1))
    rig.settle()
    rig.guests["a"].send(ping("a", "b", 2))
    rig.settle()
    assert rig.guests["b"].received() == []
    assert (calls["from_guest"], agent.links.statistics()["h2"].in_flight) == (2, 2)
    agent.reconfigure(rig.topology)
    for number in (3, 4, 5):
        rig.guests["a"].send(ping("a", "b", number))
        rig.settle()
    assert calls["from_guest"] == 3  # the first after a change is decided anew
    assert rig.guests["b"].received() == [ping("a", "b", number) for number in (3, 4, 5)]
    rig.pass_time(0.06)
    assert rig.guests["b"].received() == [ping("a", "b", 1), ping("a", "b", 2)]


def test_a_killed_peer_that_comes_back_gets_a_way_of_its_own(make_compiled_rig):
    """The old one is not used for a packet more once the new association stands."""
    rig = make_compiled_rig()
    rig.warm()
    rig.kill("h2")
    rig.start("h2")
    for number in range(3):
        rig.guests["a"].send(ping("a", "b", number))
        rig.settle()
        rig.pass_time(1, step=0.5)
    rig.guests["b"].received()
    rig.warm()
    calls = rig.count_calls("h1")
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert rig.guests["b"].received() == [ping("a", "b")]
    assert calls == {}
    loop = rig.agents["h1"]._fast_loop
    (way,) = [way for way in range(0, loop._card_paths.count, 2) if loop._card_paths.local_port(way)]
    assert loop._paths["socket"][way] == rig.fabrics["h1"].ports[rig.tunnel("h1").active.local_port]


def test_a_port_that_is_missing_is_the_slow_paths_to_open(make_compiled_rig):
    """Then the way leads somewhere again."""
    rig = make_compiled_rig()
    rig.warm()
    calls, port = rig.count_calls("h1"), rig.own_port("h1")
    rig.fabrics["h1"].close_port(port)
    for number in range(3):
        rig.guests["a"].send(ping("a", "b", number))
        rig.settle()
    assert rig.guests["b"].received() == [ping("a", "b", number) for number in range(3)]
    assert calls == {"from_guest": 1}
    assert rig.own_port("h1") == port


# -------------------------------------------------------------------------------- what leaves together


def test_packets_of_a_turn_leave_together_at_most_64_at_once(make_compiled_rig):
    """As any kernel takes them; and a receive of as many is no exception."""
    rig = make_compiled_rig()
    rig.warm()
    before = rig.fabrics["h1"].statistics()
    calls = rig.count_calls("h2")
    for number in range(120):
        rig.guests["a"].send(ping("a", "b", number))
    rig.settle()
    joined = b"".join(packet[28:] for packet in rig.guests["b"].received())
    assert joined == b"".join(ping("a", "b", number)[28:] for number in range(120))
    assert difference(rig.fabrics["h1"].statistics(), before) == {"offered": 120, "sent": 120, "sends": 2}
    assert calls == {}


def test_what_is_too_much_for_one_send_goes_in_two(make_compiled_rig):
    """A super-packet whose rows have 65,536 bytes on the wire, headers included: no error is met on the way."""
    rig = warmed(make_compiled_rig)
    for size in (65_507 // 64 - 99, 65_507 // 64 - 98):
        rig.guests["a"].send(*super_packet(64, size=size))
        rig.settle()
        joined = b"".join(packet[40:] for packet in rig.guests["b"].received())
        assert joined == super_packet(64, size=size)[0][40:]
    assert rig.fabrics["h1"].statistics().errors == {}


@pytest.mark.parametrize("encrypted", [True, False])
def test_what_leaves_together_arrives_apart(make_compiled_rig, encrypted):
    """Packets and super-packets of all sizes in one turn: rows of one send have one size, but the last."""
    seed = secrets.token_hex(4)
    print(f"seed {seed}")
    rng = Random(seed)
    rig = warmed(make_compiled_rig, encrypted=encrypted)
    rig.warm()
    for _ in range(20):
        sent, supers = [], b""
        for number in range(rng.randrange(1, 30)):
            if rng.random() < 0.3:
                packet, header = super_packet(
                    rng.choice((1, 2, 5, 60)), size=rng.choice((20, 100, 500, 1000))
                )
                rig.guests["a"].send(packet, header)
                supers += packet[40:]
            else:
                sent.append(ping("a", "b", number, size=rng.choice((20, 20, 32, 112, 512, 1012, 1200))))
                rig.guests["a"].send(sent[-1])
        rig.settle()
        received = rig.guests["b"].received()
        assert b"".join(packet[40:] for packet in received if packet[9] == TCP) == supers
        pings = b"".join(packet[28:] for packet in received if packet[9] == UDP)
        assert pings == b"".join(packet[28:] for packet in sent)


def test_what_leaves_together_has_one_destination(make_compiled_rig):
    """Packets of one size by turns to two hosts: nobody gets what is another's."""
    rig = make_compiled_rig(encrypted=False)
    rig.warm()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as third:
        third.bind((rig.topology.hosts["h3"].underlay, VXLAN_PORT))
        third.setblocking(False)
        to_c = udp_packet(ADDRESSES["a"], "10.0.0.7", 1000, 2000, bytes(20))
        for _ in range(3):
            rig.guests["a"].send(to_c)
            rig.settle()
        calls = rig.count_calls("h1")
        for number in range(10):
            rig.guests["a"].send(ping("a", "b", number))
            rig.guests["a"].send(to_c)
        rig.settle()
        assert calls == {}
        assert rig.guests["b"].received() == [ping("a", "b", number) for number in range(10)]
        assert [third.recv(2000)[ENCAPSULATION:] for _ in range(13)] == [to_c] * 13
