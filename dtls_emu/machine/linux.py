"""Numbers of Linux's interface that Python does not name: capabilities, namespaces, TUN devices."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

from dtls_emu.lab.kernel_names import MAX_DEVICE


__all__ = [
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWUSER",
    "IFF_NO_PI",
    "IFF_TUN",
    "IFF_VNET_HDR",
    "INTERFACE_REQUEST",
    "TUNSETIFF",
    "TUNSETOFFLOAD",
    "TUNSETVNETHDRSZ",
    "TUN_F_CSUM",
    "TUN_F_TSO4",
    "TUN_F_TSO6",
    "TUN_F_TSO_ECN",
    "TUN_F_USO4",
    "TUN_F_USO6",
    "TUN_PATH",
    "VNET_HEADER",
    "Capability",
]


class Capability(IntEnum):
    """Bits of a set of capabilities (linux/capability.h)."""

    CAP_SETPCAP = 8
    CAP_NET_ADMIN = 12
    CAP_NET_RAW = 13
    CAP_SYS_CHROOT = 18
    CAP_SYS_ADMIN = 21

    def is_in(self, capabilities: int) -> bool:
        """Whether a set has it."""
        return bool(capabilities >> self & 1)


# linux/sched.h
CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWNET: Final = 0x4000_0000

TUN_PATH: Final = "/dev/net/tun"
"""What is opened to make or join a TUN device."""

# linux/if_tun.h
TUNSETIFF: Final = 0x400454CA
TUNSETOFFLOAD: Final = 0x400454D0
TUNSETVNETHDRSZ: Final = 0x400454D8
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
TUN_F_CSUM: Final = 0x01
TUN_F_TSO4: Final = 0x02
TUN_F_TSO6: Final = 0x04
TUN_F_TSO_ECN: Final = 0x08
TUN_F_USO4: Final = 0x20  # since Linux 6.2
TUN_F_USO6: Final = 0x40

VNET_HEADER: Final = 10
"""Bytes of ``struct virtio_net_hdr`` (linux/virtio_net.h), which :mod:`dtls_emu.wire.virtio` reads and writes."""

INTERFACE_REQUEST: Final = Struct(f"={MAX_DEVICE + 1}sH22x")
"""``struct ifreq`` (linux/if.h): the name, which a zero byte ends, and flags."""
