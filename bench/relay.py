"""A bare relay between two TUN devices, the yardstick of `tunnel.py`: what Python can do at the very best.

It reads a packet, or super-packet, with its virtio header from one device and writes it to the other as it is. No
card, no cipher, no UDP, no second process. As root::

    python bench/relay.py NETNS_A DEVICE_A NETNS_B DEVICE_B

It says "ready" and runs until it is killed. The devices are made and go with it.
"""

from __future__ import annotations

import os
import select
import sys

from dtls_emu.host.device.tun import open_tun


TURNS = 8
"""Reads of one device before the other has its turn."""


def relay(a: int, b: int) -> None:
    """Carry packets both ways, for ever."""
    buffer = memoryview(bytearray(1 << 17))
    other = {a: b, b: a}
    poll = select.epoll()
    for descriptor in other:
        poll.register(descriptor, select.EPOLLIN)
    while True:
        for source, _ in poll.poll():
            target = other[source]
            for _ in range(TURNS):
                try:
                    length = os.readv(source, (buffer,))
                    os.write(target, buffer[:length])
                except OSError:
                    break


def main() -> None:
    """Open both devices and relay."""
    netns_a, device_a, netns_b, device_b = sys.argv[1:]
    near = open_tun(device_a, netns=netns_a, create=True)
    far = open_tun(device_b, netns=netns_b, create=True)
    print("ready", flush=True)
    relay(near.fileno(), far.fileno())


if __name__ == "__main__":
    main()
