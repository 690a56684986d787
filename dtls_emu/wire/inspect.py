"""What the card reads of a packet before anything is decided: fragment or not, and the key of its flow.

1. The fragment test, before anything else. IPv4: MF or an offset (RFC 791). IPv6: a fragment header
   anywhere in the chain (RFC 8200 4.5), atomic fragments too. A packet that says it is a fragment is one,
   whatever else is wrong with it.
2. Truncated and lying headers: a packet that says it is longer than it is, is malformed. One with bytes behind its
   end (padding of a short Ethernet frame, say) is padded; who takes it further cuts it to what :func:`stated_length`
   says. A UDP datagram may end before its packet does: what is behind it is its surplus (RFC 9868).
3. The key: virtual network and 5-tuple, in six 64-bit words.
4. Runs: where in a burst the class, the key or the type of service changes. A burst of one flow is mostly one run.

::

    word 0   VNI 24 | protocol 8 | source port 16 | destination port 16
    word 1-2 source address, IPv4 as ::ffff:a.b.c.d
    word 3-4 destination address
    word 5   bits 8-15 IP version, bit 0 fragment (then ports are 0)
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dtls_emu.wire.burst import Shape
from dtls_emu.wire.ecn_kernels import type_of_service
from dtls_emu.wire.headers import (
    AUTHENTICATION,
    EXTENSION_HEADERS,
    FRAGMENT_HEADER,
    MF_OR_OFFSET,
    TCP,
    TCP_HEADER,
    UDP,
)
from dtls_emu.wire.memory import kernel, load_u8, load_u16_be, load_u32_be, load_u64_be
from dtls_emu.wire.overhead import ENCAPSULATION, IPV4_HEADER, IPV6_HEADER, UDP_HEADER, VXLAN_HEADER
from dtls_emu.wire.vxlan import ETHERTYPE_IPV4, ETHERTYPE_IPV6, VNI_FLAG


if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


__all__ = [
    "KEY_WORDS",
    "MAPPED",
    "FlowKey",
    "Inspection",
    "PacketClass",
    "address_words",
    "inspect_frames",
    "inspect_packets",
    "key_of",
    "pack_key",
    "stated_length",
    "unpack_key",
]

KEY_WORDS: Final = 6


class PacketClass(IntEnum):
    """What the inspection says of a row."""

    WHOLE = 0
    FRAGMENT = 1
    MALFORMED = 2  # truncated or lying headers; its key is zero
    PADDED = 3  # whole, with bytes behind its end
    NONE = 255  # not looked at: it was dropped before; its key is zero


class Inspection(NamedTuple):
    """What is found out about each row of a burst.

    Fields:
        keys: at least as many rows of :data:`KEY_WORDS` as the burst has.
        classes: at least as many, a :class:`PacketClass` each.
        services: likewise, the type of service or traffic class of each row that has a key, else 0.
        runs: one more.
    """

    keys: NDArray[np.uint64]
    classes: NDArray[np.uint8]
    services: NDArray[np.uint8]
    runs: NDArray[np.int64]

    @classmethod
    def of(cls, rows: int) -> Inspection:
        """Room for so many rows."""
        return cls(
            np.zeros((rows, KEY_WORDS), np.uint64),
            np.zeros(rows, np.uint8),
            np.zeros(rows, np.uint8),
            np.zeros(rows + 1, np.int64),
        )


class FlowKey(NamedTuple):
    """A key in words that people read.

    Fields:
        vni: of the virtual network.
        protocol: of the transport header; for a fragment, what the fragmentable part begins with.
        source, destination: inner addresses.
        source_port, destination_port: of TCP and UDP, else 0.
        is_fragment: the flow's fragments have a key of their own.
        version: 4 or 6.
    """

    vni: int
    protocol: int
    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    source_port: int
    destination_port: int
    is_fragment: bool
    version: int


_WHOLE: Final = int(PacketClass.WHOLE)
_FRAGMENT: Final = int(PacketClass.FRAGMENT)
_MALFORMED: Final = int(PacketClass.MALFORMED)
_PADDED: Final = int(PacketClass.PADDED)
_NONE: Final = int(PacketClass.NONE)

_FRAGMENT_FLAG: Final = 1
MAPPED: Final = 0xFFFF00000000
"""``::ffff:0:0``, under which IPv4 addresses stand in keys (RFC 4291 2.5.5.2)."""


def key_of(packet: bytes | bytearray | memoryview, vni: int) -> tuple[PacketClass, tuple[int, ...]]:
    """Class and key words of one packet: the kernel on a single row, for the slow path and tests."""
    row = np.array(memoryview(packet), np.uint8, ndmin=1)
    seen = Inspection.of(1)
    inspect_packets(row, Shape(len(row), 0, len(row), 1, len(row)), vni, seen)
    return PacketClass(int(seen.classes[0])), tuple(int(word) for word in seen.keys[0])


def stated_length(packet: NDArray[np.uint8]) -> int:
    """The length that a packet says it has: of one that is WHOLE or PADDED."""
    if packet[0] >> 4 == 4:
        return int(packet[2]) << 8 | int(packet[3])
    return IPV6_HEADER + (int(packet[4]) << 8 | int(packet[5]))


def unpack_key(words: Sequence[int] | NDArray[np.uint64]) -> FlowKey:
    """Key words in words that people read."""
    word, source_high, source_low, destination_high, destination_low, flags = (int(word) for word in words)
    version = flags >> 8 & 0xFF
    return FlowKey(
        vni=word >> 40,
        protocol=word >> 32 & 0xFF,
        source=_address(source_high, source_low, version),
        destination=_address(destination_high, destination_low, version),
        source_port=word >> 16 & 0xFFFF,
        destination_port=word & 0xFFFF,
        is_fragment=bool(flags & _FRAGMENT_FLAG),
        version=version,
    )


def pack_key(key: FlowKey) -> NDArray[np.uint64]:
    """The words of a key, as one row: what :func:`unpack_key` takes apart."""
    ports = key.source_port << 16 | key.destination_port
    return np.array(
        [
            [
                key.vni << 40 | key.protocol << 32 | ports,
                *address_words(str(key.source)),
                *address_words(str(key.destination)),
                key.version << 8 | (_FRAGMENT_FLAG if key.is_fragment else 0),
            ]
        ],
        np.uint64,
    )


def address_words(address: str) -> tuple[int, int]:
    """An address as two words of a key."""
    parsed = ip_address(address)
    number = int(parsed) | (MAPPED if parsed.version == 4 else 0)
    return number >> 64, number & (1 << 64) - 1


@kernel
def inspect_packets(buffer: NDArray[np.uint8], shape: Shape, vni: int, seen: Inspection) -> int:
    """Inspect a burst of inner IP packets of the virtual network ``vni``, and fill ``seen``.

    Returns how many runs there are: run ``i`` is the rows ``runs[i]`` to ``runs[i + 1]``, all of one class, key and type
    of service.
    """
    stride, offset, size, count, last = shape
    keys, classes, services, runs = seen
    for row in range(count):
        length = last if row == count - 1 else size
        start = row * stride + offset
        found = _inspect(buffer, start, length, vni, keys, row)
        classes[row] = found
        services[row] = 0 if found == _MALFORMED else type_of_service(buffer, start)
    return _split_runs(keys, classes, services, count, runs)


@kernel
def inspect_frames(
    buffer: NDArray[np.uint8], shape: Shape, status: NDArray[np.uint8], seen: Inspection
) -> int:
    """Inspect a burst of received rows, VXLAN and Ethernet in front of the IP packet.

    Rows whose ``status`` is not ``RowStatus.OK`` are not looked at: class NONE. A row without a valid VNI,
    or whose ethertype is not that of the packet's IP version, is MALFORMED. The rest is
    :func:`inspect_packets`, with the VNI of each row.
    """
    stride, offset, size, count, last = shape
    keys, classes, services, runs = seen
    for row in range(count):
        length = last if row == count - 1 else size
        start = row * stride + offset
        services[row] = 0
        if status[row] != 0:
            classes[row] = _NONE
            _clear(keys, row)
        elif not _is_encapsulation(buffer, start, length):
            classes[row] = _MALFORMED
            _clear(keys, row)
        else:
            vni = load_u32_be(buffer, start + 4) >> 8
            start += ENCAPSULATION
            found = _inspect(buffer, start, length - ENCAPSULATION, vni, keys, row)
            classes[row] = found
            if found != _MALFORMED:
                services[row] = type_of_service(buffer, start)
    return _split_runs(keys, classes, services, count, runs)


@kernel
def _is_encapsulation(buffer: NDArray[np.uint8], start: int, length: int) -> bool:
    if length <= ENCAPSULATION or not load_u8(buffer, start) & VNI_FLAG:
        return False
    ethertype = load_u16_be(buffer, start + VXLAN_HEADER + 12)
    version = load_u8(buffer, start + ENCAPSULATION) >> 4
    expected = ETHERTYPE_IPV4 if version == 4 else ETHERTYPE_IPV6 if version == 6 else 0
    return ethertype == expected != 0


@kernel
def _inspect(
    buffer: NDArray[np.uint8], start: int, length: int, vni: int, keys: NDArray[np.uint64], row: int
) -> int:
    if length >= IPV4_HEADER:
        version = load_u8(buffer, start) >> 4
        if version == 4:
            return _inspect_ipv4(buffer, start, length, vni, keys, row)
        if version == 6 and length >= IPV6_HEADER:
            return _inspect_ipv6(buffer, start, length, vni, keys, row)
    _clear(keys, row)
    return _MALFORMED


@kernel
def _inspect_ipv4(
    buffer: NDArray[np.uint8], start: int, length: int, vni: int, keys: NDArray[np.uint64], row: int
) -> int:
    protocol = load_u8(buffer, start + 9)
    ports = 0
    flags = 4 << 8
    verdict = _WHOLE
    if load_u16_be(buffer, start + 6) & MF_OR_OFFSET:
        flags |= _FRAGMENT_FLAG
        verdict = _FRAGMENT
    else:
        header = (load_u8(buffer, start) & 0x0F) << 2
        total = load_u16_be(buffer, start + 2)
        ports = -1
        if IPV4_HEADER <= header <= total <= length:
            ports = _ports(buffer, start + header, total - header, protocol)
        if ports < 0:
            _clear(keys, row)
            return _MALFORMED
        if total < length:
            verdict = _PADDED
    keys[row, 0] = (vni << 40) | (protocol << 32) | ports
    keys[row, 1] = 0
    keys[row, 2] = MAPPED | load_u32_be(buffer, start + 12)
    keys[row, 3] = 0
    keys[row, 4] = MAPPED | load_u32_be(buffer, start + 16)
    keys[row, 5] = flags
    return verdict


@kernel
def _inspect_ipv6(
    buffer: NDArray[np.uint8], start: int, length: int, vni: int, keys: NDArray[np.uint64], row: int
) -> int:
    protocol = load_u8(buffer, start + 6)
    header = IPV6_HEADER
    # Each header is at least 8 bytes, so a chain ends with its packet at the latest.
    while _is_extension(protocol):
        if header + 8 > length:
            _clear(keys, row)
            return _MALFORMED
        units = load_u8(buffer, start + header + 1)
        size = (units + 2) << 2 if protocol == AUTHENTICATION else (units + 1) << 3
        protocol = load_u8(buffer, start + header)
        header += size
    ports = 0
    flags = 6 << 8
    verdict = _WHOLE
    if protocol == FRAGMENT_HEADER:
        flags |= _FRAGMENT_FLAG
        verdict = _FRAGMENT
        if header + 8 <= length:
            protocol = load_u8(buffer, start + header)
    else:
        # A jumbogram's payload length is 0 (RFC 2675), so its headers end behind it.
        total = load_u16_be(buffer, start + 4) + IPV6_HEADER
        ports = -1
        if header <= total <= length:
            ports = _ports(buffer, start + header, total - header, protocol)
        if ports < 0:
            _clear(keys, row)
            return _MALFORMED
        if total < length:
            verdict = _PADDED
    keys[row, 0] = (vni << 40) | (protocol << 32) | ports
    keys[row, 1] = load_u64_be(buffer, start + 8)
    keys[row, 2] = load_u64_be(buffer, start + 16)
    keys[row, 3] = load_u64_be(buffer, start + 24)
    keys[row, 4] = load_u64_be(buffer, start + 32)
    keys[row, 5] = flags
    return verdict


@kernel
def _is_extension(protocol: int) -> bool:
    return protocol in EXTENSION_HEADERS


@kernel
def _ports(buffer: NDArray[np.uint8], start: int, length: int, protocol: int) -> int:
    """Both ports as one 32-bit word, 0 where the protocol has none, -1 where the header lies."""
    if protocol == TCP:
        if length < TCP_HEADER:
            return -1
        header = load_u8(buffer, start + 12) >> 4 << 2
        if header < TCP_HEADER or header > length:
            return -1
        return load_u32_be(buffer, start)
    if protocol == UDP:
        if length < UDP_HEADER or not UDP_HEADER <= load_u16_be(buffer, start + 4) <= length:
            return -1
        return load_u32_be(buffer, start)
    return 0


@kernel
def _split_runs(
    keys: NDArray[np.uint64],
    classes: NDArray[np.uint8],
    services: NDArray[np.uint8],
    count: int,
    runs: NDArray[np.int64],
) -> int:
    # A pass of its own: reading a key in wide words right after it was written in narrow ones stalls
    # the processor for longer than the whole inspection takes.
    found = 0
    for row in range(count):
        difference = np.uint64(row == 0)
        if row > 0:
            difference |= np.uint64(classes[row] ^ classes[row - 1] | services[row] ^ services[row - 1])
            for word in range(KEY_WORDS):
                difference |= keys[row, word] ^ keys[row - 1, word]
        if difference:
            runs[found] = row
            found += 1
    runs[found] = count
    return found


@kernel
def _clear(keys: NDArray[np.uint64], row: int) -> None:
    for word in range(KEY_WORDS):
        keys[row, word] = 0


def _address(high: int, low: int, version: int) -> IPv4Address | IPv6Address:
    return ip_address(low & 0xFFFFFFFF) if version == 4 else IPv6Address(high << 64 | low)
