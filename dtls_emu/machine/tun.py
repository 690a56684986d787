"""A TUN device, tried: an interface is made, and gone again when this returns. Numbers are those of ``linux/if_tun.h``."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["TUN", "TunUnavailableError", "try_tun", "tun_interface", "tun_offloads"]

TUN: Final = Path("/dev/net/tun")

_TUNSETIFF: Final = 0x400454CA
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNSETVNETHDRSZ: Final = 0x400454D8
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_TUN_F_CSUM_TSO: Final = 0x01 | 0x02 | 0x04  # checksums, TSO4, TSO6
_TUN_F_USO: Final = 0x20 | 0x40  # USO4, USO6
_VIRTIO_NET_HDR: Final = 10  # bytes of struct virtio_net_hdr


class TunUnavailableError(Exception):
    """No TUN device can be had. The message is the system's.

    Fields:
        number: of the error (errno(3)).
        is_open: the device could be opened, and no interface made.
    """

    def __init__(self, error: OSError, *, is_open: bool) -> None:
        super().__init__(error.strerror)
        self.number = error.errno or 0
        self.is_open = is_open


@contextmanager
def tun_interface() -> Iterator[int]:
    """The file number of a TUN device with an interface, which goes with it.

    Raises:
        TunUnavailableError: it cannot be had.
    """
    try:
        file = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise TunUnavailableError(error, is_open=False) from error
    try:
        request = struct.pack("16sH22x", b"dtlsprobe%d", _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR)
        try:
            fcntl.ioctl(file, _TUNSETIFF, request)
        except OSError as error:
            raise TunUnavailableError(error, is_open=True) from error
        yield file
    finally:
        os.close(file)


def try_tun() -> None:
    """Make an interface, and let it go.

    Raises:
        TunUnavailableError: it cannot be had.
    """
    with tun_interface():
        pass


def tun_offloads(file: int) -> tuple[str, bool]:
    """What the kernel takes of a TUN device's offloads.

    Args:
        file: number of a device with an interface.

    Returns:
        In words, and whether that is all of them.

    Raises:
        OSError: not even checksums and TSO.
    """
    fcntl.ioctl(file, _TUNSETVNETHDRSZ, struct.pack("i", _VIRTIO_NET_HDR))
    fcntl.ioctl(file, _TUNSETOFFLOAD, _TUN_F_CSUM_TSO)
    try:
        fcntl.ioctl(file, _TUNSETOFFLOAD, _TUN_F_CSUM_TSO | _TUN_F_USO)
    except OSError:
        return "vnet header, checksums, TSO; no USO (Linux 6.2 has it)", False
    return "vnet header, checksums, TSO, USO", True
