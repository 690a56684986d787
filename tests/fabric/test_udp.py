"""Sockets on loopback: what is sent arrives, and what is not is counted by reason and never raises."""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtls_emu.fabric.offload import (
    MAX_SEND_BYTES,
    SOL_UDP,
    UDP_GRO,
    UDP_SEGMENT,
    FabricUnavailableError,
)
from dtls_emu.fabric.udp import UdpFabric
from dtls_emu.fabric.udp_send import SENDER, may_segment, note_refusal
from dtls_emu.machine.netns import entered
from dtls_emu.nic.effects import Transmit
from dtls_emu.testing.system_calls import Arrival, Kernel
from dtls_emu.testing.waiting import rounds
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.memory import kernel as compiled


LOOPBACK = "127.0.0.1"


def packets(count, size=100):
    return [index.to_bytes(4, "big") + bytes(size - 4) for index in range(count)]


def transmit(fabric, rows, to, port=None):
    source = fabric.open_port(0) if port is None else port
    fabric.transmit(Transmit(Burst.from_packets(rows), source, to))
    return source


class Inbox(list[Any]):
    """Keeps what is handed in: (rows, source, local port, now); and the type of service of each row."""

    def __init__(self):
        super().__init__()
        self.services = []

    def __call__(self, burst, source, port, now):
        assert burst.count <= 64
        self.services += [burst.tos] * burst.count
        self.append(([row.tobytes() for row in burst.rows()], source, port, now))
        burst.buffer[:] = 0xFF

    @property
    def rows(self):
        return [row for rows, *_ in self for row in rows]

    def fill(self, fabric, count):
        """Receive until `count` datagrams are here; fails when nothing more comes for a second."""
        while len(self.rows) < count:
            assert fabric.wait(1.0), f"{len(self.rows)} of {count} datagrams arrived"
            fabric.receive(self, 7.0)
        return self.rows


def receiving(*answers):
    """A kernel whose receives bring `answers`: an arrival, or an error number."""
    kernel, script = Kernel(), list(answers)
    kernel.on_receive = lambda came: script.pop(0) if came and script else None
    return kernel


@pytest.mark.parametrize("gro", ["off", pytest.param("on", marks=pytest.mark.udp_offload)])
@pytest.mark.parametrize("gso", ["off", pytest.param("on", marks=pytest.mark.udp_offload)])
@pytest.mark.parametrize(
    "shape", [(1, 100, 100), (45, 1400, 1400), (45, 1400, 3), (64, 64, 64), (120, 1092, 1092), (200, 1000, 7)]
)
def test_what_is_sent_arrives(gso, gro, shape):
    """Every row, in order, with sender and port, whichever way the kernel helps; the counters balance."""
    count, size, last = shape
    rows = [*packets(count - 1, size), packets(1, size)[0][:last]]
    inbox = Inbox()
    with UdpFabric(LOOPBACK, gso=gso) as sender, UdpFabric(LOOPBACK, gro=gro) as receiver:
        port = receiver.open_port(0)
        source = transmit(sender, rows, (LOOPBACK, port))
        assert inbox.fill(receiver, count) == rows
        assert {(sent_by, local, now) for _, sent_by, local, now in inbox} == {
            ((LOOPBACK, source), port, 7.0)
        }
        sent, received = sender.statistics(), receiver.statistics()
    assert (sent.offered, sent.sent, sent.dropped, sent.balanced) == (count, count, {}, True)
    assert (received.received, received.delivered, received.balanced) == (count, count, True)
    assert sent.sends == (count if gso == "off" else -(-count // min(64, MAX_SEND_BYTES // size)))
    assert received.reads == count if gro == "off" else received.reads <= sent.sends


def test_ipv6_works_the_same():
    """Sources are address and port, without scope."""
    inbox = Inbox()
    with UdpFabric("::1") as sender, UdpFabric("::1") as receiver:
        source = transmit(sender, packets(3), ("::1", receiver.open_port(0)))
        assert inbox.fill(receiver, 3) == packets(3)
        assert inbox[0][1] == ("::1", source)


@pytest.mark.udp_offload
def test_more_merged_datagrams_than_a_burst_holds_are_handed_in_as_several():
    """A peer's kernel may send 128 at once, which arrive in one read."""
    inbox = Inbox()
    with UdpFabric(LOOPBACK, gro="on") as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        port = receiver.open_port(0)
        rows = packets(100)
        try:
            peer.sendmsg(
                [b"".join(rows)], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", 100))], 0, (LOOPBACK, port)
            )
        except OSError as error:
            pytest.skip(f"this kernel does not send 100 segments: {error}")
        assert inbox.fill(receiver, 100) == rows
        assert [len(rows) for rows, *_ in inbox] == [64, 36]
        assert receiver.statistics().reads == 1


class Route(Kernel):
    """What a route does with sends, for a time.

    Fields:
        refuses: error of a send of several datagrams that it cannot segment, 0 when it can.
        room: most bytes of a datagram.
        is_old: the kernel says EINVAL where others say that a message is too long, of segments.
        asked: sends of several datagrams.
    """

    def __init__(self):
        super().__init__()
        self.refuses = 0
        self.room = 65_507
        self.is_old = False
        self.asked = 0
        self.on_send = self.answer

    def answer(self, send):
        if send.segment:
            self.asked += 1
            if self.refuses:
                return self.refuses
            if send.segment > self.room:
                return errno.EINVAL if self.is_old else errno.EMSGSIZE
        return errno.EMSGSIZE if len(send.rows[0]) > self.room else 0


class Clock:
    """Seconds that pass when they are told to."""

    now = 50.0

    def __call__(self):
        return self.now


@pytest.fixture
def route():
    return Route()


@pytest.fixture
def pair(route):
    """A fabric on that route and a clock, one that receives, and a function that sends rows to it."""
    clock = Clock()
    with (
        UdpFabric(LOOPBACK, calls=route.calls, clock=clock) as sender,
        UdpFabric(LOOPBACK) as receiver,
    ):
        sender.sender.state["resume_at"] = 0  # also where this kernel has no UDP_SEGMENT
        to = LOOPBACK, receiver.open_port(0)
        source = sender.open_port(0)

        def send(rows):
            inbox = Inbox()
            transmit(sender, rows, to, port=source)
            fitting = [row for row in rows if len(row) <= route.room]
            assert inbox.fill(receiver, len(fitting)) == fitting

        yield sender, send, clock


needs_segments = pytest.mark.udp_offload


@needs_segments
@pytest.mark.parametrize("error", [errno.EINVAL, errno.EIO])
def test_refused_segments_are_sent_singly_for_a_while_and_then_tried_again(error, route, pair, caplog):
    """Nothing is lost; the kernel is asked once a second; it is said once, and status says what is so."""
    sender, send, clock = pair
    route.refuses = error
    send(packets(200))
    send(packets(3))
    assert route.asked == 1
    off = f"refused at run time: {os.strerror(error)}; tried again every 1 s"
    assert sender.offloads()["udp_gso"] == {"state": "off", "reason": off}
    clock.now += 0.99
    send(packets(3))
    assert route.asked == 1
    clock.now += 0.02
    send(packets(3))
    send(packets(3))
    assert route.asked == 2
    route.refuses = 0
    clock.now += 1.01
    send(packets(3))
    send(packets(3))
    assert route.asked == 4
    assert sender.offloads()["udp_gso"] == {"state": "on", "reason": ""}
    statistics = sender.statistics()
    assert (statistics.sent, statistics.sends, statistics.dropped, statistics.gso_refusals) == (
        218,
        212 + 2,
        {},
        2,
    )
    assert statistics.errors == {errno.errorcode[error]: 2}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    route.refuses = error
    send(packets(3))
    assert sender.offloads()["udp_gso"]["state"] == "off"
    assert len(caplog.records) == 1


@needs_segments
@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("count", [2, 3, 40])
def test_a_path_that_is_smaller_for_a_while_does_not_end_segmentation(is_old, count, route, pair, caplog):
    """Although older kernels answer it as if they could not segment, and the short last datagram goes alone."""
    sender, send, _ = pair
    rows = [*packets(count - 1, 1000), bytes(100)]
    route.is_old, route.room = is_old, 800
    for _ in range(3):
        send(rows)
    assert sender.statistics().dropped == {DropReason.LINK_MTU: 3 * (count - 1)}
    route.room = 65_507
    send(rows)
    assert route.asked == 4
    assert sender.offloads()["udp_gso"]["state"] == "on"
    assert sender.statistics().gso_refusals == (3 if is_old else 0)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "full", "full_sent", "blamed"),
    [
        (errno.EINVAL, 5, 5, True),
        (errno.EIO, 2, 2, True),
        (errno.EINVAL, 5, 4, False),
        (errno.EINVAL, 5, 0, False),
        (errno.EINVAL, 1, 1, False),
        (errno.EMSGSIZE, 5, 5, False),
        (errno.ENOBUFS, 5, 5, False),
    ],
)
def test_segmentation_is_to_blame_only_when_every_full_datagram_goes_alone(error, full, full_sent, blamed):
    """One rule, whoever sends."""
    sender = np.zeros(1, SENDER)
    assert may(sender, 0.0)
    assert note(sender, error, full, full_sent, 7.0) is blamed
    assert sender[["resume_at", "refused_by"]].item() == ((8.0, error) if blamed else (0.0, 0))
    assert [may(sender, moment) for moment in (7.5, 8.0)] == [not blamed, True]


@compiled
def may(senders, now):
    return may_segment(senders[0], now)


@compiled
def note(senders, error, full, full_sent, now):
    return note_refusal(senders[0], error, full, full_sent, now)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errno.EINVAL, DropReason.NO_LINK),
        (errno.EMSGSIZE, DropReason.LINK_MTU),
        (errno.EAGAIN, DropReason.SOCKET_BUFFER),
        (errno.ENOBUFS, DropReason.SOCKET_BUFFER),
        (errno.ECONNREFUSED, DropReason.NO_LINK),
        (errno.ENETUNREACH, DropReason.NO_LINK),
        (errno.EPERM, DropReason.NO_LINK),
    ],
)
@pytest.mark.parametrize("count", [1, 5])
def test_what_the_kernel_does_not_take_is_counted_by_reason(error, reason, count):
    """Nothing raises, and segmentation stays on: it was not to blame."""
    kernel = Kernel()
    kernel.on_send = lambda _send: error
    with UdpFabric(LOOPBACK, calls=kernel.calls) as fabric:
        fabric.sender.state["resume_at"] = 0
        transmit(fabric, packets(count), (LOOPBACK, 9))
        statistics = fabric.statistics()
        assert fabric.offloads()["udp_gso"]["state"] == "on"
        assert fabric.sender.state["resume_at"] == 0
    assert (statistics.offered, statistics.sent, statistics.dropped) == (count, 0, {reason: count})
    assert statistics.balanced


@needs_segments
def test_where_a_datagram_was_too_large_for_the_path_is_told_once(route, pair):
    """Whoever drives the sockets asks the kernel then what the path carries."""
    sender, send, _ = pair
    assert not sender.has_too_long
    route.room = 500
    for rows in (packets(1, 501), packets(5, 501)):
        send(rows)
        assert sender.has_too_long
        assert sender.take_too_long() == {LOOPBACK}
    send(packets(5, 500))
    assert sender.take_too_long() == set()


@pytest.mark.parametrize("address", [LOOPBACK, "::1"])
def test_the_mtu_of_a_path_is_that_of_the_device_it_leads_over(address):
    """As the kernel knows it. No port of the fabric's own is needed."""
    with UdpFabric(address) as fabric:
        device = int(Path("/sys/class/net/lo/mtu").read_text())
        assert fabric.path_mtus([address])[address] == (
            min(device, 65_535) if address == LOOPBACK else device
        )
        assert fabric.ports == {}


def test_where_there_is_no_way_there_is_no_mtu():
    """Nobody may send to everybody; no error is raised."""
    with UdpFabric(LOOPBACK) as fabric:
        assert fabric.path_mtus(["255.255.255.255"]) == {"255.255.255.255": None}


@pytest.mark.parametrize(
    ("address", "level", "option"), [(LOOPBACK, socket.IPPROTO_IP, 10), ("::1", socket.IPPROTO_IPV6, 23)]
)
def test_every_port_forbids_fragments(address, level, option):
    """Outer DF is set, so a datagram that does not fit is refused and counted."""
    with UdpFabric(address) as fabric:
        port = fabric.open_port(0)
        assert fabric._sockets[port].getsockopt(level, option) == 2


def test_rows_too_large_for_the_path_do_not_take_the_last_one_with_them():
    """Real kernel: 65,507 bytes is the most that UDP over IPv4 carries."""
    inbox = Inbox()
    with UdpFabric(LOOPBACK) as sender, UdpFabric(LOOPBACK) as receiver:
        transmit(sender, [bytes(65_508), bytes(65_508), b"fits"], (LOOPBACK, receiver.open_port(0)))
        assert inbox.fill(receiver, 1) == [b"fits"]
        assert sender.statistics().dropped == {DropReason.LINK_MTU: 2}


def test_a_local_port_that_is_taken_is_counted_and_not_raised_while_sending():
    """Opening it explicitly does raise, with address and port in the message."""
    with UdpFabric(LOOPBACK) as first, UdpFabric(LOOPBACK) as second:
        port = first.open_port(0)
        transmit(second, packets(3), (LOOPBACK, 9), port=port)
        assert second.statistics().dropped == {DropReason.NO_LINK: 3}
        assert second.statistics().errors == {"EADDRINUSE": 1}
        with pytest.raises(FabricUnavailableError, match=f"cannot bind {LOOPBACK} port {port}"):
            second.open_port(port)


def test_an_address_of_another_machine_is_refused_at_once():
    """192.0.2.0/24 is for documentation (RFC 5737)."""
    with pytest.raises(FabricUnavailableError, match=r"cannot bind 192\.0\.2\.1"):
        UdpFabric("192.0.2.1")


def test_ports_open_on_first_use_and_close():
    """A closed port's number can be bound by others; closing again does nothing."""
    with UdpFabric(LOOPBACK) as fabric:
        port = fabric.open_port(0)
        assert fabric.open_port(port) == port
        assert list(fabric.ports) == [port]
        fabric.close_port(port)
        fabric.close_port(port)
        assert not fabric.ports
        assert not fabric.port_of_file.any()
        transmit(fabric, packets(1), (LOOPBACK, 9), port=port)
        assert list(fabric.ports) == [port]


def test_one_file_number_tells_of_every_port():
    """Also of a port that is opened after select has begun to watch it; level-triggered."""
    with UdpFabric(LOOPBACK) as fabric:
        assert select.select([fabric], [], [], 0)[0] == []
        assert not fabric.wait(0)
        port = fabric.open_port(0)
        transmit(fabric, packets(1), (LOOPBACK, port))
        assert select.select([fabric], [], [], 1.0)[0] == [fabric]
        assert fabric.receive(Inbox(), 0.0) == 1
        assert select.select([fabric], [], [], 0)[0] == []


@pytest.mark.parametrize("gro", ["off", "auto"])
def test_a_call_reads_each_port_a_bounded_number_of_times(gro):
    """A busy port does not starve another, and what remains is there at the next call."""
    inbox = Inbox()
    with UdpFabric(LOOPBACK, gso="off") as sender, UdpFabric(LOOPBACK, gro=gro) as receiver:
        busy, quiet = receiver.open_port(0), receiver.open_port(0)
        for row in packets(20):
            transmit(sender, [row], (LOOPBACK, busy))
        transmit(sender, packets(1), (LOOPBACK, quiet))
        assert receiver.receive(inbox, 0.0, limit=5) == 6
        assert [port for _, _, port, _ in inbox].count(quiet) == 1
        inbox.fill(receiver, 21)
        assert receiver.receive(inbox, 0.0) == 0


@pytest.mark.parametrize("gro", ["off", "auto"])
def test_the_receiver_may_close_the_port_that_it_is_called_for(gro):
    """As a card does when a close_notify arrives; no error is counted."""
    with UdpFabric(LOOPBACK, gso="off") as sender, UdpFabric(LOOPBACK, gro=gro) as receiver:
        port = receiver.open_port(0)
        transmit(sender, packets(2), (LOOPBACK, port))
        assert receiver.receive(lambda *_: receiver.close_port(port), 0.0) == 1
        assert (receiver.statistics().errors, receiver.ports) == ({}, {})


def test_an_empty_datagram_is_rejected_and_the_next_is_not():
    """UDP allows it, a burst does not."""
    inbox = Inbox()
    with UdpFabric(LOOPBACK) as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        port = receiver.open_port(0)
        peer.sendto(b"", (LOOPBACK, port))
        peer.sendto(b"next", (LOOPBACK, port))
        assert inbox.fill(receiver, 1) == [b"next"]
        statistics = receiver.statistics()
    assert (statistics.received, statistics.delivered, statistics.rejected, statistics.balanced) == (
        2,
        1,
        1,
        True,
    )


@pytest.mark.parametrize(
    ("segment", "expected"),
    [(-1, 1), (0, 1), (1, 1000), (7, 143), (999, 2), (1000, 1), (1001, 1), (2**31 - 1, 1)],
)
def test_hostile_merge_lengths_never_raise_nor_lose_a_byte(segment, expected):
    """Negative, zero, tiny, just short, exact, too long: rows of at most 64 a burst, all bytes once."""
    data = bytes(index % 251 for index in range(1000))
    control = ((SOL_UDP, UDP_GRO, segment.to_bytes(4, sys.byteorder, signed=True)),)
    kernel = receiving(Arrival(data, control))
    inbox = Inbox()
    with UdpFabric(LOOPBACK, calls=kernel.calls) as fabric:
        port = fabric.open_port(0)
        transmit(fabric, packets(1), (LOOPBACK, port))
        inbox.fill(fabric, expected)
        assert fabric.statistics().received == expected
    assert b"".join(inbox.rows) == data


@pytest.mark.parametrize("flags", [socket.MSG_TRUNC, socket.MSG_CTRUNC])
def test_what_was_cut_off_is_rejected(flags):
    """Without its control message nobody knows where one datagram ends and the next begins."""
    kernel = receiving(Arrival(b"data", flags=int(flags)))
    with UdpFabric(LOOPBACK, calls=kernel.calls) as fabric:
        transmit(fabric, packets(1), (LOOPBACK, fabric.open_port(0)))
        assert fabric.wait(1.0)
        fabric.receive(lambda *_: pytest.fail("handed in"), 0.0)
        assert (fabric.statistics().rejected, fabric.statistics().balanced) == (1, True)


def test_an_error_of_an_earlier_send_is_counted_while_receiving():
    """The next datagram still comes."""
    inbox = Inbox()
    kernel = receiving(errno.ECONNREFUSED, Arrival(b"data"))
    with UdpFabric(LOOPBACK, calls=kernel.calls) as fabric:
        port = fabric.open_port(0)
        for row in packets(2):
            transmit(fabric, [row], (LOOPBACK, port))
        assert inbox.fill(fabric, 1) == [b"data"]
        assert fabric.statistics().errors == {"ECONNREFUSED": 1}


def test_receives_that_the_kernel_dropped_are_counted():
    """More than the buffer holds: sent but neither here nor waiting, also after the port has closed."""
    inbox = Inbox()
    with UdpFabric(LOOPBACK, gso="off") as sender, UdpFabric(LOOPBACK, gro="off", buffer_bytes=1) as receiver:
        port = receiver.open_port(0)
        transmit(sender, packets(50, 1000), (LOOPBACK, port))
        while receiver.wait(0):
            receiver.receive(inbox, 0.0)
        lost = receiver.statistics().kernel_drops
        assert (len(inbox.rows) + lost, lost > 0) == (50, True)
        receiver.close_port(port)
        assert receiver.statistics().kernel_drops == lost


@pytest.mark.parametrize("gso", ["auto", "off"])
def test_what_arrived_at_a_port_that_is_closed_is_counted_as_unread(gso):
    """The kernel would throw it away without a word; merged datagrams count each."""
    with UdpFabric(LOOPBACK, gso=gso) as sender, UdpFabric(LOOPBACK) as receiver:
        port, other = receiver.open_port(0), receiver.open_port(0)
        transmit(sender, packets(50, 100), (LOOPBACK, port))
        transmit(sender, packets(3), (LOOPBACK, other))
        assert receiver.wait(1.0)
        receiver.close_port(port)
        statistics = receiver.statistics()
        assert (statistics.unread, statistics.received, statistics.balanced) == (50, 50, True)
        receiver.close()
        statistics = receiver.statistics()
        assert (statistics.unread, statistics.received, statistics.balanced) == (53, 53, True)


def test_a_flood_does_not_keep_a_port_from_closing():
    """Reading what is unread ends, however much there still is."""
    kernel = Kernel()
    kernel.on_receive = lambda _came: Arrival(b"data")
    with UdpFabric(LOOPBACK, calls=kernel.calls) as fabric:
        fabric.close_port(fabric.open_port(0))
        statistics = fabric.statistics()
    assert statistics.unread == statistics.received > 0


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_closing_leaves_no_file_behind():
    """Every socket and the epoll; closing again does nothing."""
    before = open_files()
    fabric = UdpFabric(LOOPBACK)
    fabric.open_port(0)
    fabric.close()
    fabric.close()
    assert open_files() == before


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
def test_a_path_is_as_small_as_a_router_behind_it_says(version):
    """Its ICMP is heard by the kernel although no socket is connected: the next datagram is refused, and asked about."""
    near, router, far = (f"path-{os.getpid()}-{name}" for name in ("near", "router", "far"))
    form = "192.0.2.{}" if version == 4 else "2001:db8::{}"
    ours, gateway, beyond, theirs = map(form.format, (1, 2, 65, 66))
    length = "26" if version == 4 else "122"
    commands = [
        *(f"ip netns add {name}" for name in (near, router, far)),
        f"ip -n {near} link add one type veth peer name one netns {router}",
        f"ip -n {router} link add two mtu 1300 type veth peer name two mtu 1300 netns {far}",
        *(
            f"ip -n {name} addr add {address}/{length} dev {device} {'nodad' if version == 6 else ''}"
            for name, address, device in (
                (near, ours, "one"),
                (router, gateway, "one"),
                (router, beyond, "two"),
                (far, theirs, "two"),
            )
        ),
        *(f"ip -n {name} link set {device} up" for name, device in ((near, "one"), (router, "one"))),
        *(f"ip -n {name} link set {device} up" for name, device in ((router, "two"), (far, "two"))),
        f"ip -n {near} route add {theirs} via {gateway}",
        f"ip netns exec {router} sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
    ]
    try:
        for command in commands:
            subprocess.run(command.split(), check=True)
        with entered(near):
            fabric = UdpFabric(ours)
        with fabric, entered(near):
            assert fabric.path_mtus([theirs]) == {theirs: 1500}
            family, protocol, error = {
                4: (socket.AF_INET, socket.IPPROTO_ICMP, (20, 3)),
                6: (socket.AF_INET6, socket.IPPROTO_ICMPV6, (0, 2)),
            }[version]
            with socket.socket(family, socket.SOCK_RAW, protocol) as errors:
                errors.settimeout(10)
                transmit(fabric, packets(1, 1400), (theirs, 9))
                for _ in rounds(1000, "the router's message, among others of the protocol"):
                    if errors.recv(2000)[error[0]] == error[1]:
                        break
            for _ in range(10_000):  # what a raw socket hears first, the kernel heeds a moment later
                if fabric.has_too_long:
                    break
                transmit(fabric, packets(1, 1400), (theirs, 9))
            assert fabric.take_too_long() == {theirs}
            assert fabric.path_mtus([theirs]) == {theirs: 1300}
    finally:
        for name in (near, router, far):
            subprocess.run(["ip", "netns", "del", name], check=False)


SERVICES = [0, 2, 3, 1, 0xB8, 0xBA, 0xFF]


@pytest.mark.parametrize(
    "options", [{}, {"gso": "off"}, {"gro": "off"}, {"gso": "off", "gro": "off"}], ids=str
)
@pytest.mark.parametrize("address", [LOOPBACK, "::1"])
@pytest.mark.parametrize("count", [1, 5, 64])
def test_a_type_of_service_is_sent_and_told(address, options, count):
    """All eight bits of it, for single datagrams and for segments; 0 is not left over from the one before."""
    with UdpFabric(address, **options) as near, UdpFabric(address, **options) as far:
        assert near.offloads()["ecn"] == {"state": "on", "reason": ""}
        port, inbox, own = far.open_port(0), Inbox(), near.open_port(0)
        for number, tos in enumerate(SERVICES, 1):
            burst = Burst.from_packets(packets(count))
            burst.tos = tos
            near.transmit(Transmit(burst, own, (address, port)))
            inbox.fill(far, number * count)
        assert inbox.services == [tos for tos in SERVICES for _ in range(count)]
        assert inbox.rows == packets(count) * len(SERVICES)
        assert near.statistics().errors == {}


@pytest.mark.udp_offload
def test_a_type_of_service_is_kept_where_segments_are_refused():
    """Datagrams that go singly then have it, too."""
    kernel = Kernel()
    kernel.on_send = lambda send: errno.EIO if send.segment else 0
    with UdpFabric(LOOPBACK, calls=kernel.calls) as near, UdpFabric(LOOPBACK) as far:
        port, inbox = far.open_port(0), Inbox()
        burst = Burst.from_packets(packets(5))
        burst.tos = 0xBB
        near.transmit(Transmit(burst, near.open_port(0), (LOOPBACK, port)))
        inbox.fill(far, 5)
        assert inbox.services == [0xBB] * 5
        assert near.statistics().gso_refusals == 1
