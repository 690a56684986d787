"""What the compiled loop cannot send, write or read: it is counted by reason, and the loop goes on."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dtls_emu.fabric.offload import SEGMENTS_AGAIN, UDP_SEGMENT
from dtls_emu.host.device.tun import DeviceDrop
from dtls_emu.machine.netns import entered
from dtls_emu.testing.rig import PORTS, difference, ping, super_packet, warmed
from dtls_emu.testing.system_calls import Kernel
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.packet import tcp_packet
from dtls_emu.wire.virtio import GSO_TCPV4, NEEDS_CHECKSUM, VNET_FIELDS


SO_NO_CHECK = 11  # asm-generic/socket.h


# ------------------------------------------------------------------------------------- sends that fail


def socket_of(rig, host, port):
    """One of a host's sockets."""
    return rig.fabrics[host]._sockets[port]


@pytest.mark.parametrize("slow_path_is_first", [False, True])
def test_a_refusal_of_segments_is_fallen_back_from_and_said_once(
    make_compiled_rig, caplog, slow_path_is_first
):
    """Whoever meets it first: a socket without checksums takes datagrams one by one only, as some devices do."""
    rig = warmed(make_compiled_rig)
    socket_of(rig, "h1", rig.own_port("h1")).setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
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


def test_a_path_that_is_smaller_for_a_while_does_not_end_segmentation(make_compiled_rig):
    """Although the kernel answers as if it could not segment, and the short last datagram goes alone.

    Of four rows of 1000 bytes and a last one of 100.
    """
    packet = tcp_packet("10.0.0.4", "10.0.0.6", 1000, 2000, bytes(4100))
    header = VNET_FIELDS.pack(NEEDS_CHECKSUM, GSO_TCPV4, 40, 1000, 20, 16)
    refused: Counter[str] = Counter()
    kernel, room = Kernel(), 65_507

    def answer(send):
        if len(send.rows[0]) <= room:
            return 0
        refused["several" if send.segment else "one"] += 1
        return errno.EINVAL if send.segment else errno.EMSGSIZE

    def send(count):
        for _ in range(count):
            rig.guests["a"].send(packet, header)
            rig.settle()
        return sum(len(packet) - 40 for packet in rig.guests["b"].received())

    kernel.on_send = answer
    rig = make_compiled_rig(backend="null", calls=kernel.calls)
    fabric = rig.fabrics["h1"]
    whole, last = 4_100, 100
    assert send(3) == 3 * whole
    room = 800
    assert send(2) == 2 * last
    room = 65_507
    sends = fabric.statistics().sends
    assert send(4) == 4 * whole
    statistics = fabric.statistics()
    assert statistics.sends - sends == 4
    assert statistics.dropped == {DropReason.LINK_MTU: 8}
    assert statistics.gso_refusals == 2
    assert fabric.offloads()["udp_gso"] == {"state": "on", "reason": ""}
    assert refused == {"several": 2, "one": 8}


def test_segments_are_tried_again_after_a_while(make_compiled_rig, caplog):
    """By the compiled loop itself, once a second; then status says that they are used."""
    rig = warmed(make_compiled_rig)
    own = socket_of(rig, "h1", rig.own_port("h1"))
    fabric = rig.fabrics["h1"]

    def send():
        before = fabric.statistics()
        rig.guests["a"].send(*super_packet(5))
        rig.settle()
        return difference(fabric.statistics(), before)["sends"]

    own.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    assert (send(), send(), fabric.statistics().gso_refusals) == (5, 5, 1)
    rig.clock.now += SEGMENTS_AGAIN
    assert (send(), send(), fabric.statistics().gso_refusals) == (5, 5, 2)
    own.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 0)
    assert send() == 5
    rig.clock.now += SEGMENTS_AGAIN
    assert (send(), send()) == (1, 1)
    assert fabric.offloads()["udp_gso"] == {"state": "on", "reason": ""}
    said = [record.message for record in caplog.records if "one by one" in record.message]
    assert len(said) == 1


def test_a_send_that_is_too_large_for_the_path_is_made_singly_and_segments_stay(make_compiled_rig):
    """With 40 bytes of IP options 64 KB do not fit an IP packet; each datagram does."""
    rig = warmed(make_compiled_rig)
    socket_of(rig, "h1", rig.own_port("h1")).setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\1" * 40)
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
    rig = warmed(make_compiled_rig)
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
    rig = warmed(make_compiled_rig)
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
    sockets = rig.agents["h1"]._fast_loop._paths["socket"]
    before = sockets[0]
    sockets[0] = fileno
    yield
    sockets[0] = before


@pytest.mark.root
@pytest.mark.parametrize("rows", [1, 5])
def test_a_datagram_that_the_path_does_not_carry_is_counted(make_rig, namespace, rows):
    """A device has become smaller. Each is tried singly; segments are not to blame."""
    name, ip = namespace
    with entered(name):
        rig = make_rig(mtu=9000)
        for _ in range(3):
            rig.guests["a"].send(*super_packet(2))
            rig.settle()
        ip("link set lo mtu 1500")
        rig.guests["a"].send(*super_packet(rows, size=1460))
        rig.settle()
    statistics = rig.fabrics["h1"].statistics()
    assert statistics.dropped == {DropReason.LINK_MTU: rows}
    assert set(statistics.errors) <= {"EMSGSIZE", "EINVAL"}
    assert rig.fabrics["h1"].offloads()["udp_gso"]["state"] == "on"
    assert len(rig.guests["b"].received()) == 3


# ----------------------------------------------------------------------------------- devices that fail


@pytest.mark.parametrize(
    ("fault", "reason", "error"),
    [("full", "FULL", "EAGAIN"), ("gone", "DOWN", "EIO"), ("closed", "REFUSED", "EBADF")],
)
def test_what_a_device_does_not_take_is_counted_by_reason(make_compiled_rig, fault, reason, error):
    """Packets, not writes: a super-packet counts as those it stands for. Whoever writes: the ping is an exception."""
    rig = warmed(make_compiled_rig)
    reading, writing = os.pipe2(os.O_NONBLOCK)
    other, terminal = os.openpty()
    os.close(other)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    number = {"full": writing, "gone": terminal, "closed": reading}[fault]
    device = rig.guests["b"].device.memory.state
    device["file"], before = number, device["file"][0]
    rig.guests["a"].send(*super_packet(5))
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    device["file"] = before
    for each in (reading, writing, terminal):
        os.close(each)
    statistics = rig.guests["b"].device.statistics()
    assert statistics.dropped == {DeviceDrop[reason]: 6}
    assert statistics.errors == {error: 2}
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert rig.guests["b"].received() == [ping("a", "b")]


# ------------------------------------------------------------------------------------------- receives


def test_an_empty_datagram_is_counted_and_nothing_else(make_compiled_rig):
    """From anybody, on any port."""
    rig = make_compiled_rig()
    rig.warm()
    before = rig.fabrics["h1"].statistics()
    address = rig.topology.hosts["h1"].underlay
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for port in (*PORTS, rig.own_port("h1")):
            stranger.sendto(b"", (address, port))
    rig.settle()
    assert difference(rig.fabrics["h1"].statistics(), before) == {"received": 3, "rejected": 3}
    assert rig.agents["h1"].card.ingress.counters.dropped == {}


@pytest.mark.root
@pytest.mark.parametrize("encrypted", [True, False])
def test_hosts_may_have_addresses_of_ipv6(make_compiled_rig, namespace, encrypted):
    """Ways lead there, senders are known by them, and strangers are strangers."""
    name, ip = namespace
    for number in (1, 2, 3, 9):
        ip(f"address add fd00:10::{number}/128 dev lo nodad")
    underlays = {f"h{number}": f"fd00:10::{number}" for number in (1, 2, 3)}
    with entered(name):
        rig = make_compiled_rig(underlays=underlays, encrypted=encrypted)
        rig.warm()
        calls = {host: rig.count_calls(host) for host in rig.agents}
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
    rig.warm()
    association = rig.tunnel("h2").active
    header = rig.agents["h2"].card.egress.flows[0].header.tobytes()
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
