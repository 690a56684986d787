"""A TUN device, tried: an interface is made, and gone again when this returns."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.machine.linux import (
    IFF_NO_PI,
    IFF_TUN,
    IFF_VNET_HDR,
    INTERFACE_REQUEST,
    TUN_F_CSUM,
    TUN_F_TSO4,
    TUN_F_TSO6,
    TUN_F_USO4,
    TUN_F_USO6,
    TUN_PATH,
    TUNSETIFF,
    TUNSETOFFLOAD,
    TUNSETVNETHDRSZ,
    VNET_HEADER,
)


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["TUN", "TunUnavailableError", "try_tun", "tun_interface", "tun_offloads"]

TUN: Final = Path(TUN_PATH)

_TUN_F_CSUM_TSO: Final = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
_TUN_F_USO: Final = TUN_F_USO4 | TUN_F_USO6


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
        request = INTERFACE_REQUEST.pack(b"dtlsprobe%d", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)
        try:
            fcntl.ioctl(file, TUNSETIFF, request)
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
    fcntl.ioctl(file, TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER))
    fcntl.ioctl(file, TUNSETOFFLOAD, _TUN_F_CSUM_TSO)
    try:
        fcntl.ioctl(file, TUNSETOFFLOAD, _TUN_F_CSUM_TSO | _TUN_F_USO)
    except OSError:
        return "vnet header, checksums, TSO; no USO (Linux 6.2 has it)", False
    return "vnet header, checksums, TSO, USO", True
