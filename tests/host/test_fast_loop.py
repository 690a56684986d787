"""The compiled loop of a host: what it leaves to Python, what it counts, and that nobody can tell it apart."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from pathlib import Path
from random import Random

import numpy as np
import pytest

from dtls_emu.fabric.offload import UDP_SEGMENT
from dtls_emu.host import fast_loop_kernels as kernels
from dtls_emu.host.netns import entered
from dtls_emu.host.tun import DeviceDrop
from dtls_emu.lab.vocabulary import DropReason
from dtls_emu.nic.effects import Transmit
from dtls_emu.nic.egress import VXLAN_PORT
from dtls_emu.testing.rig import ADDRESSES, PORTS, ping, with_link
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.headers import MAX_PACKET, TCP, UDP
from dtls_emu.wire.overhead import ENCAPSULATION
from dtls_emu.wire.packet import fragments, tcp_packet, udp_packet
from dtls_emu.wire.virtio import NEEDS_CHECKSUM, VNET_FIELDS


SO_NO_CHECK = 11  # asm-generic/socket.h


def warm(rig, *ways):
    """Have flows of pings offloaded, at both ends."""
    for source, destination in ways or (("a", "b"), ("b", "a")):
        for _ in range(3):
            rig.guests[source].send(ping(source, destination))
            rig.settle()
        assert len(rig.guests[destination].received()) == 3


def own_port(rig, host):
    """The port of a host's own association."""
    (port,) = set(rig.fabrics[host].ports) - set(PORTS)
    return port


def throw(rig, datagrams, source_port=4433, port=4433):
    """Host h2 sends something to h1 that no card of it has asked for."""
    address = rig.topology.hosts["h1"].underlay
    rig.fabrics["h2"].transmit(Transmit(Burst.from_packets(datagrams), source_port, (address, port)))


# ---------------------------------------------------------------------------------------- hostile guests


@pytest.mark.parametrize("field", [6, 14, 18, 22], ids=["fragment", "source", "destination", "port"])
def test_a_checksum_that_is_written_over_a_header_is_looked_at_after_it_is_written(make_rig, field):
    """A guest says where the sum goes: it must not turn a packet that passed into one that would not have."""
    rig = make_rig()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert len(rig.guests["b"].received()) == 2
    wanted = {6: 0x2000, 14: 0x0005, 18: 0x0007, 22: 0x0009}[field]  # fragment, of a2, for c, to another port
    packet = bytearray(ping("a", "b"))
    for filler in range(1 << 16):
        packet[30:32] = filler.to_bytes(2)
        if internet_checksum(packet) == wanted:
            break
    rig.guests["a"].send(bytes(packet), VNET_FIELDS.pack(NEEDS_CHECKSUM, 0, 0, 0, 0, field))
    rig.settle()
    counters = rig.agents["h1"].card.egress.counters
    if field == 22:
        (arrived,) = rig.guests["b"].received()
        assert arrived[22:24] == wanted.to_bytes(2)
        assert len(rig.agents["h1"].card.egress.flows) == 2
        return
    assert rig.guests["b"].received() == []
    expected = {6: DropReason.FRAGMENT, 14: DropReason.SPOOFED_SOURCE, 18: None}[field]
    assert counters.dropped == ({} if expected is None else {expected: 1})
    assert counters.waiting == (expected is None)  # for the tunnel to the other destination's host


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
    while rig.agents["h2"].turn(wait=False):
        pass
    for _ in range(2):
        rig.agents["h1"].turn(wait=False)
    assert rig.guests["a"].received() == [ping("b", "a")]
    assert rig.agents["h1"].card.ingress.counters.dropped.total() < 100
    rig.settle()


def test_an_exception_amid_a_pass_starves_no_other_file(make_compiled_rig):
    """Every device and the fabric have had their turn before the pass is over, whoever brought exceptions."""
    rig = make_compiled_rig()
    warm(rig, ("a", "b"), ("a2", "b"), ("b", "a"))
    for number in range(300):
        rig.guests["a"].send(fragments(ping("a", "b", number, size=100), size=64)[number % 3])
    for source, destination in (("a2", "b"), ("b", "a")):
        rig.guests[source].send(ping(source, destination))
    while rig.agents["h2"].turn(wait=False):
        pass
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
    warm(rig)
    agent, fabric, port = rig.agents["h1"], rig.fabrics["h1"], own_port(rig, "h1")
    number = fabric.ports[port]
    receive = agent.card.from_fabric

    def close_another(*arguments):
        fabric.close_port(port)
        if is_used_again:
            fabric.open_port(50_000)
            assert fabric.ports[50_000] == number
        return receive(*arguments)

    throw(rig, [b"junk"])  # comes first, and is an exception
    rig.guests["b"].send(ping("b", "a"))
    while rig.agents["h2"].turn(wait=False):
        pass
    agent.card.from_fabric = close_another
    agent.turn(wait=False)
    agent.card.from_fabric = receive
    loop = agent._fast_loop._numbers
    assert loop[kernels.NEXT_PORT] < loop[kernels.READY_PORTS]
    rig.settle()
    assert rig.guests["a"].received() == []
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
    assert codes == [kernels.ATTENTION]
    assert loop.take_attention()
    assert not loop.take_attention()
    rig.settle()


@pytest.mark.parametrize("who", ["the caller", "compiled code"])
def test_a_loop_that_sleeps_wakes_for_a_timer(make_compiled_rig, who):
    """Whoever set it."""
    rig = make_compiled_rig(time=time.monotonic)
    warm(rig)
    loop = rig.agents["h1"]._fast_loop
    due = time.monotonic() + 0.002
    if who == "compiled code":
        loop._fast_path.state.due[0] = due
    code = loop.run(time.monotonic(), due if who == "the caller" else inf, forever=True)
    assert code == kernels.TIMERS
    assert time.monotonic() >= due


def test_stop_from_another_thread_wakes_a_compiled_loop(make_compiled_rig):
    """Asleep or about to be; with an association up, whose timers are seconds away."""
    rig = make_compiled_rig(time=time.monotonic)
    warm(rig)
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
    watchdog = threading.Timer(10, lambda: (was_rung_in_vain.set(), agent.stop()))
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


def counted_calls(rig, host):
    """Names of the card's methods that packets of guests and the fabric go through, as they are called."""
    calls = Counter()
    card = rig.agents[host].card

    def count(name, method, *arguments):
        calls[name] += 1
        return method(*arguments)

    for name in ("from_guest", "from_fabric", "from_opened"):
        setattr(card, name, partial(count, name, getattr(card, name)))
    return calls


def test_packets_of_an_offloaded_flow_do_not_come_by_python(make_compiled_rig):
    """Neither out nor in; nor do they after a pause, or when others are exceptions."""
    rig = make_compiled_rig()
    warm(rig)
    calls = {host: counted_calls(rig, host) for host in rig.agents}
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
    warm(rig)
    agent = rig.agents["h1"]
    calls = counted_calls(rig, "h1")
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
    warm(rig)
    rig.kill("h2")
    rig.start("h2")
    for number in range(3):
        rig.guests["a"].send(ping("a", "b", number))
        rig.settle()
        rig.pass_time(1, step=0.5)
    rig.guests["b"].received()
    warm(rig)
    calls = counted_calls(rig, "h1")
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert rig.guests["b"].received() == [ping("a", "b")]
    assert calls == {}
    loop = rig.agents["h1"]._fast_loop
    (way,) = [way for way in range(loop._fast_path.ways // 2) if loop._fast_path.local_port(way)]
    assert loop._ways[way, kernels.SOCKET] == rig.fabrics["h1"].ports[rig.tunnel("h1").active.local_port]


def test_a_port_that_is_missing_is_the_slow_paths_to_open(make_compiled_rig):
    """Then the way leads somewhere again."""
    rig = make_compiled_rig()
    warm(rig)
    calls, port = counted_calls(rig, "h1"), own_port(rig, "h1")
    rig.fabrics["h1"].close_port(port)
    for number in range(3):
        rig.guests["a"].send(ping("a", "b", number))
        rig.settle()
    assert rig.guests["b"].received() == [ping("a", "b", number) for number in range(3)]
    assert calls == {"from_guest": 1}
    assert own_port(rig, "h1") == port


# -------------------------------------------------------------------------------- what leaves together


def test_packets_of_a_turn_leave_together_at_most_64_at_once(make_compiled_rig):
    """As any kernel takes them; and a receive of as many is no exception."""
    rig = make_compiled_rig()
    warm(rig)
    before = rig.fabrics["h1"].statistics()
    calls = counted_calls(rig, "h2")
    for number in range(120):
        rig.guests["a"].send(ping("a", "b", number))
    rig.settle()
    joined = b"".join(packet[28:] for packet in rig.guests["b"].received())
    assert joined == b"".join(ping("a", "b", number)[28:] for number in range(120))
    assert difference(rig.fabrics["h1"].statistics(), before) == {"offered": 120, "sent": 120, "sends": 2}
    assert calls == {}


def test_what_is_too_much_for_one_send_goes_in_two(make_compiled_rig):
    """A super-packet whose rows have 65,536 bytes on the wire, headers included: no error is met on the way."""
    rig = offloaded(make_compiled_rig)
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
    rig = offloaded(make_compiled_rig, encrypted=encrypted)
    warm(rig)
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
    warm(rig)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as third:
        third.bind((rig.topology.hosts["h3"].underlay, VXLAN_PORT))
        third.setblocking(False)
        to_c = udp_packet(ADDRESSES["a"], "10.0.0.7", 1000, 2000, bytes(20))
        for _ in range(3):
            rig.guests["a"].send(to_c)
            rig.settle()
        calls = counted_calls(rig, "h1")
        for number in range(10):
            rig.guests["a"].send(ping("a", "b", number))
            rig.guests["a"].send(to_c)
        rig.settle()
        assert calls == {}
        assert rig.guests["b"].received() == [ping("a", "b", number) for number in range(10)]
        assert [third.recv(2000)[ENCAPSULATION:] for _ in range(13)] == [to_c] * 13


# ------------------------------------------------------------------------------------- sends that fail


@pytest.fixture
def namespace():
    """A network namespace of its own, with a loopback device."""
    name = f"loop-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    ip(name, "link set lo up")
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


def ip(namespace, words):
    """A command of iproute2 in a namespace."""
    subprocess.run(["ip", "-netns", namespace, *words.split()], check=True)


def super_packet(rows, source="a", destination="b", size=1000):
    """TCP payload for so many packets, behind the header that asks for cutting."""
    payload = np.arange(rows * size // 2, dtype=np.uint16).tobytes()
    packet = tcp_packet(ADDRESSES[source], ADDRESSES[destination], 1000, 2000, payload)
    return packet, VNET_FIELDS.pack(NEEDS_CHECKSUM, 1, 40, size, 20, 16)


def offloaded(make_compiled_rig, **options):
    """A rig with a super-packet's flow offloaded from a to b."""
    rig = make_compiled_rig(**options)
    for _ in range(3):
        rig.guests["a"].send(*super_packet(2))
        rig.settle()
    assert len(rig.guests["b"].received()) == 3
    return rig


def socket_of(rig, host, port):
    """One of a host's sockets."""
    return rig.fabrics[host]._ports[port].sock


def difference(after, before):
    """What has been counted since."""
    return {
        name: getattr(after, name) - getattr(before, name)
        for name in ("offered", "sent", "sends", "received", "delivered", "rejected", "gso_refusals")
        if getattr(after, name) != getattr(before, name)
    }


@pytest.mark.parametrize("slow_path_is_first", [False, True])
def test_a_refusal_of_segments_is_fallen_back_from_and_said_once(
    make_compiled_rig, caplog, slow_path_is_first
):
    """Whoever meets it first: a socket without checksums takes datagrams one by one only, as some devices do."""
    rig = offloaded(make_compiled_rig)
    socket_of(rig, "h1", own_port(rig, "h1")).setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    before = rig.fabrics["h1"].statistics()
    if slow_path_is_first:
        rig.agents["h1"].card.revalidate()
    for _ in range(3):
        rig.guests["a"].send(*super_packet(5))
        rig.settle()
    assert b"".join(packet[40:] for packet in rig.guests["b"].received()) == super_packet(5)[0][40:] * 3
    after = rig.fabrics["h1"].statistics()
    assert after.dropped == {}
    counted = difference(after, before)
    assert (counted["offered"], counted["sent"], counted["sends"]) == (15, 15, 15)
    assert after.errors == {"EINVAL": counted["gso_refusals"]}
    assert rig.fabrics["h1"].offloads()["udp_gso"]["state"] == "off"
    said = [record.message for record in caplog.records if "one by one" in record.message]
    assert len(said) == 1


def test_a_send_that_is_too_large_for_the_path_is_made_singly_and_segments_stay(make_compiled_rig):
    """With 40 bytes of IP options 64 KB do not fit an IP packet; each datagram does."""
    rig = offloaded(make_compiled_rig)
    socket_of(rig, "h1", own_port(rig, "h1")).setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\1" * 40)
    before = rig.fabrics["h1"].statistics()
    rig.guests["a"].send(*super_packet(58))  # of 1,099 bytes on the wire: 63,742; then 65,473
    rig.guests["a"].send(*super_packet(58, size=1030))
    rig.settle()
    assert [len(packet) - 40 for packet in rig.guests["b"].received()] == [58 * 1000, *[1030] * 58]
    after = rig.fabrics["h1"].statistics()
    assert difference(after, before) | {"sends": 0} == {"offered": 116, "sent": 116, "sends": 0}
    assert after.sends - before.sends == 1 + 58
    assert after.errors == {"EMSGSIZE": 1}
    assert rig.fabrics["h1"].offloads()["udp_gso"]["state"] == "on"


def test_what_a_full_socket_does_not_take_is_counted(make_compiled_rig):
    """Nothing waits, nothing raises, and the next packet goes. The way leads into a full stream meanwhile."""
    rig = offloaded(make_compiled_rig)
    with full_stream() as full, leading_to(rig, full.fileno()):
        rig.guests["a"].send(*super_packet(5))
        rig.settle()
    statistics = rig.fabrics["h1"].statistics()
    assert statistics.dropped == {DropReason.SOCKET_BUFFER: 5}
    assert statistics.errors == {"EAGAIN": 1}
    rig.guests["a"].send(*super_packet(5))
    rig.settle()
    assert len(rig.guests["b"].received()) == 1


def test_a_socket_that_cannot_send_is_no_link(make_compiled_rig):
    """Whatever the error: it is counted by its name, each datagram as a drop."""
    rig = offloaded(make_compiled_rig)
    with Path(os.devnull).open("rb") as null, leading_to(rig, null.fileno()):
        rig.guests["a"].send(*super_packet(5))
        rig.settle()
    statistics = rig.fabrics["h1"].statistics()
    assert statistics.dropped == {DropReason.NO_LINK: 5}
    assert statistics.errors == {"ENOTSOCK": 1}


@contextmanager
def full_stream():
    """A TCP socket that takes nothing more. It does not look at addresses that a send names."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as near:
        near.connect(server.getsockname())
        near.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                near.send(bytes(1 << 20))
        yield near


@contextmanager
def leading_to(rig, fileno):
    """Host h1's sealed way to h2 has another socket."""
    ways = rig.agents["h1"]._fast_loop._ways
    before = ways[0, kernels.SOCKET]
    ways[0, kernels.SOCKET] = fileno
    yield
    ways[0, kernels.SOCKET] = before


@pytest.mark.root
@pytest.mark.parametrize("rows", [1, 5])
def test_a_datagram_that_the_link_does_not_carry_is_counted(make_rig, namespace, rows):
    """The lab says 9,000 bytes, the device has 1,500. Each is tried singly; segments are not to blame."""
    ip(namespace, "link set lo mtu 1500")
    with entered(namespace):
        rig = make_rig(mtu=9000)
        for _ in range(3):
            rig.guests["a"].send(*super_packet(2))
            rig.settle()
        for _ in range(2):
            rig.guests["a"].send(*super_packet(rows, size=1460))
            rig.settle()
    statistics = rig.fabrics["h1"].statistics()
    assert statistics.dropped == {DropReason.LINK_MTU: 2 * rows}
    assert set(statistics.errors) <= {"EMSGSIZE", "EINVAL"}
    assert rig.fabrics["h1"].offloads()["udp_gso"]["state"] == "on"
    assert len(rig.guests["b"].received()) == 3


# ----------------------------------------------------------------------------------- devices that fail


@pytest.mark.parametrize(
    ("fault", "reason", "error"),
    [("full", "FULL", "EAGAIN"), ("gone", "DOWN", "EIO"), ("closed", "REFUSED", "EBADF")],
)
def test_what_a_device_does_not_take_is_counted_by_reason(make_compiled_rig, fault, reason, error):
    """Packets, not writes: a super-packet counts as those it stands for."""
    rig = offloaded(make_compiled_rig)
    reading, writing = os.pipe2(os.O_NONBLOCK)
    other, terminal = os.openpty()
    os.close(other)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    number = {"full": writing, "gone": terminal, "closed": reading}[fault]
    words = rig.agents["h2"]._fast_loop._device_words
    words[0, kernels.FILE], before = number, words[0, kernels.FILE]
    rig.guests["a"].send(*super_packet(5))
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    words[0, kernels.FILE] = before
    for each in (reading, writing, terminal):
        os.close(each)
    statistics = rig.guests["b"].device.statistics()
    assert statistics.dropped == {DeviceDrop[reason]: 5}
    assert statistics.errors == {error: 1}
    assert rig.guests["b"].received() == [ping("a", "b")]  # an exception, which Python writes


# ------------------------------------------------------------------------------------------- receives


def test_an_empty_datagram_is_counted_and_nothing_else(make_compiled_rig):
    """From anybody, on any port."""
    rig = make_compiled_rig()
    warm(rig)
    before = rig.fabrics["h1"].statistics()
    address = rig.topology.hosts["h1"].underlay
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for port in (*PORTS, own_port(rig, "h1")):
            stranger.sendto(b"", (address, port))
    rig.settle()
    assert difference(rig.fabrics["h1"].statistics(), before) == {"received": 3, "rejected": 3}
    assert rig.agents["h1"].card.ingress.counters.dropped == {}


@pytest.mark.root
@pytest.mark.parametrize("encrypted", [True, False])
def test_hosts_may_have_addresses_of_ipv6(make_compiled_rig, namespace, encrypted):
    """Ways lead there, senders are known by them, and strangers are strangers."""
    for number in (1, 2, 3, 9):
        ip(namespace, f"address add fd00:10::{number}/128 dev lo nodad")
    underlays = {f"h{number}": f"fd00:10::{number}" for number in (1, 2, 3)}
    with entered(namespace):
        rig = make_compiled_rig(underlays=underlays, encrypted=encrypted)
        warm(rig)
        calls = {host: counted_calls(rig, host) for host in rig.agents}
        for source, destination in (("a", "b"), ("b", "a")):
            rig.guests[source].send(ping(source, destination))
            rig.settle()
            assert rig.guests[destination].received() == [ping(source, destination)]
        assert calls == {"h1": {}, "h2": {}}
        for number, port in ((3, 4789), (9, 4433), (9, 4789)):
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as stranger:
                stranger.bind((f"fd00:10::{number}", 0))
                stranger.sendto(b"\x17" * 50, (underlays["h1"], port))
        rig.settle()
    expected = {DropReason.MALFORMED: 1, DropReason.UNKNOWN_PEER: 2}
    assert rig.agents["h1"].card.ingress.counters.dropped == expected


@pytest.mark.parametrize("rows", [64, 65, 100, 128])
def test_a_receive_of_more_rows_than_a_burst_is_taken_apart(make_compiled_rig, rows):
    """A newer kernel sends, and merges, up to 128 at once. None is lost, none comes twice."""
    rig = make_compiled_rig()
    warm(rig)
    association = rig.tunnel("h2").active
    header = rig.agents["h2"].card.egress.flows._entries[0].header.tobytes()
    packets = [ping("b", "a", number, size=100) for number in range(rows)]
    records = b"".join(association._seal_control(23, header + packet) for packet in packets)
    control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", len(records) // rows))]
    name = rig.topology.hosts["h1"].underlay, association.remote_port
    try:
        socket_of(rig, "h2", association.local_port).sendmsg([records], control, 0, name)
    except OSError as error:
        assert rows > 64
        pytest.skip(f"this kernel sends no {rows} segments: {error}")
    rig.settle()
    joined = b"".join(packet[28:] for packet in rig.guests["a"].received())
    assert joined == b"".join(packet[28:] for packet in packets)
    assert rig.agents["h1"].card.ingress.counters.dropped == {}
