"""What the kernel drops in a namespace is found there, by its cause, and from then on."""

from __future__ import annotations

import socket

import pytest

from dtls_emu.host.device.kernel_drops import KernelDrops
from dtls_emu.host.device.tun import open_tun
from dtls_emu.machine.netns import entered


pytestmark = pytest.mark.root


def throw(count, address, port, *, size=1000):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(bytes(size), (address, port))


def test_what_a_socket_has_no_room_for_is_counted_where_it_is(namespace):
    """Of a program that does not read; and nothing in this namespace, nor from before."""
    name, _ = namespace
    with entered(name), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as slow:
        slow.bind(("127.0.0.1", 9000))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        throw(100, "127.0.0.1", 9000)
        drops = KernelDrops(name)
        assert drops.unknown == ""
        assert not any(drops.of_sockets().values())
        throw(100, "127.0.0.1", 9000)
        throw(7, "127.0.0.1", 9001)
    found = {reason: count for reason, count in drops.of_sockets().items() if count}
    assert found == {"udp_receive_buffer": 100, "udp_nobody_listens": 7}
    drops.close()
    drops.close()


def test_what_the_queue_of_a_device_has_no_room_for_is_counted(namespace):
    """A guest sends faster than its host reads: its card never sees the packets."""
    name, ip = namespace
    drops = KernelDrops(name)
    device = open_tun("nic0", netns=name, create=True)
    try:
        ip("link set nic0 txqueuelen 10")
        ip("address add 10.0.0.4/24 dev nic0")
        ip("link set nic0 up")
        before = drops.of_interface("nic0")["queue_out"]
        with entered(name):
            throw(64, "10.0.0.5", 9)
        lost = drops.of_interface("nic0")["queue_out"] - before
        assert 40 <= lost <= 64
        assert drops.of_interfaces(but=["nic0"])["queue_out"] == 0
        assert drops.of_interfaces(but=[])["queue_out"] == lost + before
    finally:
        device.close()
        drops.close()
    assert drops.of_interface("nic0") == {}


def test_a_kernel_that_shows_nothing_is_named(monkeypatch):
    """A host runs without its counters, and says why there are none."""
    monkeypatch.setattr("dtls_emu.host.device.kernel_drops._FOLDER", "/nowhere")
    drops = KernelDrops(None)
    assert drops.unknown == "/nowhere: No such file or directory"
    assert not any(drops.of_sockets().values())
