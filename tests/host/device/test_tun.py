"""A TUN device: super-packets and bursts in both directions, and the kernel's own opinion of our headers."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.fabric.syscalls import LIBC
from dtls_emu.host.device.addressing import configure_device, limit_super_packets, super_packet_limit
from dtls_emu.host.device.tun import DeviceDrop, TunDevice, TunError, open_tun
from dtls_emu.host.device.tun_io import READ_COST
from dtls_emu.machine import linux
from dtls_emu.machine.netns import NamespaceError, entered
from dtls_emu.testing.present import present
from dtls_emu.testing.system_calls import Kernel
from dtls_emu.testing.waiting import eventually
from dtls_emu.testing.wire import make_topology
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.checksum import fold, pseudo_header_sum
from dtls_emu.wire.merge import merge
from dtls_emu.wire.packet import tcp_packet, udp_packet
from dtls_emu.wire.parse import parse_packet_untrusted
from dtls_emu.wire.segment import segment
from dtls_emu.wire.virtio import NO_OFFLOAD, VNET_FIELDS


NAMES = ("tun_vnet_header", "tun_checksum", "tun_tso", "tun_tso_ecn", "tun_uso")
ENDS = {4: ("10.0.0.4", "10.0.0.5"), 6: ("fd00::4", "fd00::5")}
TCP_CSUM, UDP_CSUM = 16, 6
CWR = 0x80


class Guest:
    """The other side of a device that is a pair of sockets: what one end writes the other reads, whole."""

    def __init__(self, off=(), calls=LIBC):
        offloads: Any = {name: {"state": "off" if name in off else "on", "reason": ""} for name in NAMES}
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        near.setblocking(False)
        self.far.setblocking(False)
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.device = TunDevice(near.detach(), "tun0", offloads, calls=calls)
        self.received = []

    def send(self, packet, header=NO_OFFLOAD):
        self.far.send(header + bytes(packet))

    def turn(self, **options):
        self.device.receive(self.take, **options)
        return self.received

    def take(self, burst):
        rows = [row.tobytes() for row in burst.rows()]
        self.received.append((rows, burst.gso_size, burst.packets))

    def written(self):
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self.far.recv(1 << 17))
        return found

    def close(self):
        self.device.close()
        self.far.close()


@pytest.fixture
def make_guest():
    """Make a device and its guest; the device's statistics are checked at the end."""
    guests = []

    def make(**options):
        guests.append(Guest(**options))
        return guests[-1]

    yield make
    for guest in guests:
        assert guest.device.statistics().balanced
        guest.close()


def begun(packet, transport, field):
    """A packet as a kernel hands it over: its checksum field holds the sum of the pseudo header only."""
    data = np.frombuffer(packet, np.uint8).copy()
    length = len(data) - transport
    protocol = 17 if field == UDP_CSUM else 6
    data[transport + field : transport + field + 2] = 0
    partial = fold(pseudo_header_sum(data, 0, protocol, length))
    data[transport + field : transport + field + 2] = partial >> 8, partial & 0xFF
    return data.tobytes()


def build(kind, version, payload, **options):
    """A packet, and where its transport header and checksum field are."""
    make, field = (tcp_packet, TCP_CSUM) if kind == "tcp" else (udp_packet, UDP_CSUM)
    packet = make(*ENDS[version], 1000, 2000, payload, **options)
    return packet, 20 if version == 4 else 40, field


def gso_header(kind, version, gso_size, transport, field, ecn=0):
    number = 5 if kind == "udp" else 1 if version == 4 else 4
    return VNET_FIELDS.pack(1, number | ecn, 0, gso_size, transport, field)


# ------------------------------------------------------------------------------------- from the guest


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_super_packet_is_handed_over_as_one_row_that_says_how_it_is_cut(make_guest, kind, version):
    """And stands for as many packets as its payload fills."""
    guest = make_guest()
    packet, transport, field = build(kind, version, bytes(10_001))
    guest.send(packet, gso_header(kind, version, 1000, transport, field))
    assert guest.turn() == [([packet], 1000, 11)]
    assert guest.device.statistics().received == 11


def test_a_super_packet_that_cannot_be_cut_counts_as_one(make_guest):
    """The card drops it as malformed; what it would have been nobody can say."""
    guest = make_guest()
    guest.send(b"\x45" + bytes(99), VNET_FIELDS.pack(1, 1, 0, 10, 20, 16))
    assert guest.turn()[0][2] == 1


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("size", [0, 1, 7, 1000])
def test_a_begun_checksum_is_finished(make_guest, kind, version, size):
    """On the wire it must be right."""
    guest = make_guest()
    packet, transport, field = build(kind, version, random.Random(size).randbytes(size))
    header = VNET_FIELDS.pack(1, 0, 0, 0, transport, field)
    guest.send(begun(packet, transport, field), header)
    assert guest.turn() == [([packet], 0, 1)]


def test_a_udp_checksum_that_comes_out_as_zero_is_sent_as_its_other_form(make_guest):
    """0 would mean that there is none (RFC 768)."""
    guest = make_guest()
    for word in range(1 << 16):
        packet, transport, field = build("udp", 4, word.to_bytes(2, "big"))
        if packet[transport + field :][:2] == b"\xff\xff":
            break
    guest.send(begun(packet, transport, field), VNET_FIELDS.pack(1, 0, 0, 0, transport, field))
    assert guest.turn() == [([packet], 0, 1)]


@pytest.mark.parametrize(("start", "offset"), [(20, 5000), (60_000, 16), (65_535, 65_535)])
def test_a_header_that_points_outside_of_its_packet_changes_nothing(make_guest, start, offset):
    """No kernel writes such a one; nothing is touched outside of the packet."""
    guest = make_guest()
    packet, _, _ = build("udp", 4, b"1234")
    guest.send(packet, VNET_FIELDS.pack(1, 0, 0, 0, start, offset))
    assert guest.turn() == [([packet], 0, 1)]


def test_packets_of_one_size_that_are_there_become_one_burst(make_guest):
    """With a shorter one as the last, as the shape has it; a longer one begins the next."""
    guest = make_guest()
    sizes = [100, 100, 60, 100, 100, 200]
    packets = [build("udp", 4, bytes([index]) * size)[0] for index, size in enumerate(sizes)]
    for packet in packets:
        guest.send(packet)
    assert [rows for rows, _, _ in guest.turn()] == [packets[:3], packets[3:5], packets[5:]]


def test_a_lone_packet_waits_for_nobody(make_guest):
    """It is handed over in the call that reads it."""
    guest = make_guest()
    packet, _, _ = build("udp", 4, b"ping")
    guest.send(packet)
    assert guest.turn() == [([packet], 0, 1)]


@given(data=st.data())
def test_whatever_is_read_is_handed_over_whole_and_in_order(data):
    """In bursts of the right shape, whatever sizes come and wherever super-packets are in between."""
    sizes = data.draw(st.lists(st.sampled_from([1, 1, 1, 2, 50, 51, 3000]), max_size=80))
    supers = data.draw(st.sets(st.integers(0, 80)))
    guest = Guest()
    sent = []
    for index, size in enumerate(sizes):
        packet, transport, field = build("udp", 4, bytes([index % 256]) * size)
        is_super = index in supers and size > 1
        guest.send(packet, gso_header("udp", 4, 1 + size // 2, transport, field) if is_super else NO_OFFLOAD)
        sent.append(packet)
        if index % 30 == 29:  # the pair of sockets holds only so many
            guest.turn()
    guest.turn()
    assert [row for rows, _, _ in guest.received for row in rows] == sent
    assert all(len(rows) <= MAX_ROWS for rows, _, _ in guest.received)
    guest.close()


def test_a_turn_ends_after_so_many_bytes_and_the_rest_is_there_at_the_next(make_guest):
    """One VM must not starve another."""
    guest = make_guest()
    packets = [build("udp", 4, bytes([index]) * 3000)[0] for index in range(4)]
    for packet in packets:
        guest.send(packet)
    guest.turn(limit=2 * READ_COST)
    assert [row for rows, _, _ in guest.received for row in rows] == packets[:2]
    guest.turn()
    assert [row for rows, _, _ in guest.received for row in rows] == packets


def test_without_the_virtio_header_packets_are_read_as_they_are(make_guest):
    """What a kernel without it hands over is complete."""
    guest = make_guest(off=NAMES)
    packet, _, _ = build("udp", 4, b"plain")
    guest.send(packet, header=b"")
    assert guest.turn() == [([packet], 0, 1)]
    assert not guest.device.merges


def test_a_device_that_went_away_is_said_and_never_raises(make_guest):
    """Nothing comes from it any more, so nobody should go on asking."""
    guest = make_guest()
    os.close(guest.device.fileno())
    guest.turn()
    assert guest.device.gone == "Bad file descriptor"
    assert guest.device.statistics().errors == {"EBADF": 1}
    guest.device._descriptor = -1


# --------------------------------------------------------------------------------------- to the guest


def test_every_row_is_one_write_behind_an_empty_header(make_guest):
    """A short last row included."""
    guest = make_guest()
    packets = [b"a" * 50, b"b" * 50, b"c" * 20]
    guest.device.write(Burst.from_packets(packets, headroom=30, tailroom=4))
    assert guest.written() == [NO_OFFLOAD + packet for packet in packets]
    assert guest.device.statistics().written == 3


def joined(kind, version, rows, **options):
    """A super-packet as the card joins it, and the packets that it is made of."""
    packets = []
    for index in range(rows):
        more = {"sequence": 500 * index, **options} if kind == "tcp" else {}
        packets.append(build(kind, version, bytes([index]) * 500, identification=index, **more)[0])
    group = merge(Burst.from_packets(packets), headroom=10)[0]
    assert group.packet is not None
    memory = present(group.packet.base)
    burst = Burst.super_packet(
        memory, offset=group.position, length=len(group.packet), gso_size=group.gso_size, packets=rows
    )
    return burst, group, packets


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_super_packet_is_one_write_whose_header_says_how_it_is_cut(make_guest, kind, version):
    """Kind, lengths and where the checksum goes."""
    guest = make_guest()
    burst, group, _ = joined(kind, version, 5)
    guest.device.write(burst)
    (written,) = guest.written()
    number = 5 if kind == "udp" else 1 if version == 4 else 4
    field = UDP_CSUM if kind == "udp" else TCP_CSUM
    expected = (1, number, group.payload, 500, group.transport, field)
    assert VNET_FIELDS.unpack(written[:10]) == expected
    assert written[10:] == group.packet.tobytes()
    assert (guest.device.statistics().written, guest.device.statistics().writes) == (5, 1)


def test_a_super_packet_that_begins_with_cwr_says_so(make_guest):
    """Else the kernel would repeat the flag in every packet that it cuts (RFC 3168 6.1.2)."""
    guest = make_guest()
    packet, transport, field = build("tcp", 4, bytes(2000), flags=0x10 | CWR)
    data = np.frombuffer(begun(packet, transport, field), np.uint8)
    guest.device.write(Burst.super_packet(data, offset=0, length=len(data), gso_size=500, packets=4))
    assert guest.written()[0][1] == 1 | 0x80


@pytest.mark.parametrize(
    ("kind", "off", "header"), [("udp", ("tun_uso",), 10), ("udp", NAMES, 0), ("tcp", NAMES, 0)]
)
def test_what_the_device_cannot_cut_is_cut_before(make_guest, kind, off, header):
    """Every packet comes out complete, with the checksum it had before it was joined."""
    guest = make_guest(off=off)
    burst, _, packets = joined(kind, 4, 5)
    guest.device.write(burst)
    assert guest.written() == [bytes(header) + packet for packet in packets]
    assert guest.device.statistics().written == 5


def test_a_super_packet_with_a_lying_header_is_refused_and_counted(make_guest):
    """As many packets as it was said to be."""
    guest = make_guest()
    data = np.zeros(100, np.uint8)
    guest.device.write(Burst.super_packet(data, offset=0, length=100, gso_size=10, packets=8))
    assert guest.written() == []
    assert guest.device.statistics().dropped == {DeviceDrop.REFUSED: 8}


def test_a_full_device_is_a_counted_drop(make_guest):
    """And nothing raises, however long it stays full."""
    guest = make_guest()
    burst = Burst.from_packets([bytes(30_000)] * 200)
    guest.device.write(burst)
    statistics = guest.device.statistics()
    assert statistics.written == len(guest.written()) > 0
    assert statistics.dropped == {DeviceDrop.FULL: 200 - statistics.written}
    assert statistics.errors == {"EAGAIN": 200 - statistics.written}


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOBUFS, DeviceDrop.FULL),
        (errno.ENOMEM, DeviceDrop.FULL),
        (errno.EIO, DeviceDrop.DOWN),
        (errno.EBADFD, DeviceDrop.DOWN),
        (errno.EINVAL, DeviceDrop.REFUSED),
        (errno.EFAULT, DeviceDrop.REFUSED),
    ],
)
def test_every_failed_write_is_a_drop_with_a_reason(make_guest, number, reason):
    """EIO is how Linux says that the interface is down."""
    kernel = Kernel()
    kernel.on_write = lambda: number
    guest = make_guest(calls=kernel.calls)
    guest.device.write(Burst.from_packets([b"a", b"b"]))
    assert guest.device.statistics().dropped == {reason: 2}
    assert guest.device.statistics().errors == {errno.errorcode[number]: 2}


# -------------------------------------------------------------------------------------- a real kernel


@pytest.fixture
def namespace():
    """A network namespace with a name of its own, removed with all that is in it."""
    name = f"dtls-emu-test-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture
def guest_nic(namespace):
    """A device in the namespace, with the addresses of VM a of the test lab."""
    device = open_tun("tun0", netns=namespace, create=True)
    topology = make_topology(vms={"a": {"mtu": 1400}})
    configure_device("tun0", namespace, topology.vms["a"], topology, metric=1)
    await_addresses(namespace)
    yield device
    device.close()


def await_addresses(namespace):
    """Linux puts an IPv6 address into force in the background, also one that is on no probation (addrconf_dad_work)."""

    def are_in_force():
        with entered(namespace):
            lines = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
        ours = [line.split() for line in lines if line.startswith("fd00")]
        return ours and not any(int(flags, 16) & TENTATIVE for *_, flags, _ in ours)

    eventually(are_in_force, "the addresses are in force")


def inside(namespace, family, options=()):
    """A UDP socket of a program of the VM."""
    with entered(namespace):
        sock = socket.socket(family, socket.SOCK_DGRAM)
    for level, name, value in options:
        sock.setsockopt(level, name, value)
    return sock


def read_all(device):
    bursts = []
    device.receive(
        lambda burst: bursts.append((burst.gso_size, burst.packets, [row.tobytes() for row in burst.rows()]))
    )
    return bursts


TENTATIVE = 0x40  # IFA_F_TENTATIVE, linux/if_addr.h

FAMILIES = {4: (socket.AF_INET, "10.0.0.6", "10.0.0.4"), 6: (socket.AF_INET6, "fd00::6", "fd00::4")}


@pytest.mark.root
def test_every_offload_is_on_or_says_why(guest_nic):
    """On this kernel; only USO may be missing, before Linux 6.2."""
    offloads = guest_nic.offloads()
    assert tuple(offloads) == NAMES
    assert [name for name, each in offloads.items() if each["state"] == "off" and not each["reason"]] == []
    assert all(offloads[name]["state"] == "on" for name in NAMES[:3])


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
def test_a_datagram_of_a_program_comes_with_a_right_checksum(guest_nic, namespace, version):
    """The kernel leaves it to the device, which finishes it."""
    family, peer, own = FAMILIES[version]
    with inside(namespace, family) as sock:
        sock.sendto(b"from a program", (peer, 4000))
        port = sock.getsockname()[1]
        bursts = [
            each for each in read_all(guest_nic) if present(parse_packet_untrusted(each[2][0])).protocol == 17
        ]
    (packet,) = bursts[0][2]
    expected = udp_packet(own, peer, port, 4000, b"from a program")
    transport = 20 if version == 4 else 40
    assert packet[transport:] == expected[transport:]


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
def test_segments_of_a_program_come_as_one_super_packet_that_we_cut_as_the_kernel_would(
    guest_nic, namespace, version
):
    """UDP_SEGMENT of a guest goes through the device whole, where the kernel has USO."""
    if guest_nic.offloads()["tun_uso"]["state"] == "off":
        pytest.skip(guest_nic.offloads()["tun_uso"]["reason"])
    family, peer, _ = FAMILIES[version]
    payload = random.Random(7).randbytes(5 * 1000 + 77)
    with inside(namespace, family, [(17, 103, 1000)]) as sock:  # SOL_UDP, UDP_SEGMENT
        sock.sendto(payload, (peer, 4000))
    (found,) = [each for each in read_all(guest_nic) if each[0]]
    gso_size, packets, (packet,) = found
    assert (gso_size, packets) == (1000, 6)
    cut = [
        row.tobytes() for part in segment(np.frombuffer(packet, np.uint8), gso_size) for row in part.rows()
    ]
    assert b"".join(each[-1000:] if len(each) > 1000 else each[-77:] for each in cut) == payload


@pytest.mark.root
def test_segments_with_a_source_route_are_cut_as_the_kernel_would(guest_nic, namespace):
    """IP_OPTIONS of a program: what the checksum covers is then the kernel's to say, and it does."""
    if guest_nic.offloads()["tun_uso"]["state"] == "off":
        pytest.skip(guest_nic.offloads()["tun_uso"]["reason"])
    payload = random.Random(7).randbytes(5 * 1000 + 77)
    route = b"\x83\x07\x04" + socket.inet_aton("10.0.0.9") + b"\0"
    cut: list[int] = []
    single: list[bytes] = []

    def collect(burst):
        parts = segment(burst.row(0), burst.gso_size, layout=burst.layout) if burst.gso_size else [burst]
        cut.append(burst.gso_size)
        single.extend(row.tobytes() for part in parts for row in part.rows())

    with inside(namespace, socket.AF_INET, [(socket.IPPROTO_IP, socket.IP_OPTIONS, route)]) as sock:
        for start in range(0, len(payload), 1000):
            sock.sendto(payload[start : start + 1000], ("10.0.0.6", 4000))
        guest_nic.receive(collect)
        assert not any(cut)
        expected = [packet[28:] for packet in single if packet[9] == 17]
        single.clear()
        sock.setsockopt(17, 103, 1000)  # SOL_UDP, UDP_SEGMENT
        sock.sendto(payload, ("10.0.0.6", 4000))
        guest_nic.receive(collect)
    assert cut[-1] == 1000
    assert [packet[28:] for packet in single] == expected


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
def test_the_kernel_cuts_what_we_join_into_what_it_was(guest_nic, namespace, version):
    """A program gets every datagram: header, lengths and begun checksum are right."""
    family, peer, own = FAMILIES[version]
    payloads = [bytes([index]) * 500 for index in range(9)] + [b"last"]
    with inside(namespace, family) as sock:
        sock.bind((own, 4000))
        sock.settimeout(5)
        packets = [
            udp_packet(peer, own, 5, 4000, payload, identification=index)
            for index, payload in enumerate(payloads)
        ]
        group = merge(Burst.from_packets(packets))[0]
        packet = present(group.packet)
        burst = Burst.super_packet(packet, offset=0, length=len(packet), gso_size=500, packets=10)
        guest_nic.write(burst)
        assert [sock.recv(2000) for _ in payloads] == payloads
    assert guest_nic.statistics().written == 10


@pytest.mark.root
def test_what_is_written_to_a_device_that_is_down_is_counted(guest_nic, namespace):
    """Linux answers EIO."""
    subprocess.run(["ip", "-n", namespace, "link", "set", "tun0", "down"], check=True)
    guest_nic.write(Burst.from_packets([udp_packet("10.0.0.6", "10.0.0.4", 1, 2, b"lost")]))
    assert guest_nic.statistics().dropped == {DeviceDrop.DOWN: 1}


@pytest.mark.root
def test_a_device_that_is_deleted_is_gone(guest_nic, namespace):
    """And says so at the next read."""
    subprocess.run(["ip", "-n", namespace, "link", "del", "tun0"], check=True)
    assert read_all(guest_nic) == []
    assert guest_nic.gone == "File descriptor in bad state"


@pytest.mark.root
def test_a_device_that_is_there_is_opened_and_outlives_us(namespace):
    """What `up` has made is not ours to remove."""
    subprocess.run(["ip", "-n", namespace, "tuntap", "add", "tun5", "mode", "tun"], check=True)
    open_tun("tun5", netns=namespace).close()
    again = open_tun("tun5", netns=namespace)
    with pytest.raises(TunError, match=r"tun5 in .*: Device or resource busy; another process has it open"):
        open_tun("tun5", netns=namespace)
    again.close()


@pytest.mark.root
def test_what_cannot_be_opened_says_why(namespace):
    """A missing one is not made by mistake, one that is there is not taken for new."""
    with pytest.raises(TunError, match=r"tun9 in .*: no such interface"):
        open_tun("tun9", netns=namespace)
    with pytest.raises(TunError, match=r"lo in .*: is there already"):
        open_tun("lo", netns=namespace, create=True)
    with pytest.raises(NamespaceError, match="/run/netns/nowhere-at-all: No such file or directory"):
        open_tun("tun0", netns="nowhere-at-all")


@pytest.mark.root
def test_the_thread_comes_home_whatever_happens_inside(namespace):
    """It would make everything else in the wrong namespace."""
    home = Path("/proc/thread-self/ns/net").stat().st_ino
    with entered(namespace):
        assert Path("/proc/thread-self/ns/net").stat().st_ino == Path(f"/run/netns/{namespace}").stat().st_ino
    with pytest.raises(ZeroDivisionError), entered(namespace):
        raise ZeroDivisionError
    assert Path("/proc/thread-self/ns/net").stat().st_ino == home


@pytest.mark.root
def test_a_kernel_without_the_virtio_header_is_done_without(namespace, monkeypatch):
    """The reason is kept, and packets go one by one."""
    real = fcntl.ioctl

    def refuse(descriptor, request, argument):
        if request == linux.TUNSETVNETHDRSZ:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(descriptor, request, argument)

    monkeypatch.setattr("dtls_emu.host.device.tun.fcntl.ioctl", refuse)
    device = open_tun("tun0", netns=namespace, create=True)
    assert device.offloads()["tun_vnet_header"]["reason"].startswith("refused: Invalid argument (Linux ")
    assert device.offloads()["tun_tso"] == {"state": "off", "reason": "needs the virtio header"}
    assert not device.merges
    device.close()


@pytest.mark.root
def test_a_kernel_without_uso_keeps_the_rest(namespace, monkeypatch):
    """Linux before 6.2."""
    real = fcntl.ioctl

    def refuse(descriptor, request, argument):
        if request == linux.TUNSETOFFLOAD and argument & 0x60:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(descriptor, request, argument)

    monkeypatch.setattr("dtls_emu.host.device.tun.fcntl.ioctl", refuse)
    device = open_tun("tun0", netns=namespace, create=True)
    states = {name: each["state"] for name, each in device.offloads().items()}
    assert states == dict.fromkeys(NAMES, "on") | {"tun_uso": "off"}
    device.close()


@pytest.mark.root
@pytest.mark.usefixtures("guest_nic")
def test_super_packets_are_limited_to_what_one_send_takes(namespace):
    """The kernel takes the figure for the device that has the name."""
    limit = super_packet_limit(1400)
    assert limit == 44 * 1328 + 320
    assert limit_super_packets("tun0", namespace, limit) == ""
    shown = subprocess.run(
        ["ip", "-n", namespace, "-d", "link", "show", "tun0"], check=True, capture_output=True, text=True
    )
    assert f"gso_max_size {limit}" in shown.stdout
    assert "no interface tun7" in limit_super_packets("tun7", namespace, limit)
