"""What is on the fabric: outer IP and UDP, then a DTLS record, or VXLAN in clear with the VM's packet in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.overhead import ENCAPSULATION
from dtls_emu.teach.dissect.packet import ip_layers
from dtls_emu.teach.dissect.reader import Reader, TruncatedError
from dtls_emu.teach.dissect.record import record_layers
from dtls_emu.wire.protocol import APPLICATION_DATA, is_handshake


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.teach.blocks import Layer


__all__ = ["dissect_datagram", "dissect_encapsulation", "dissect_payload"]

_ETHERTYPES: Final = {0x0800: "IPv4", 0x86DD: "IPv6"}


def dissect_datagram(data: bytes) -> tuple[Layer, ...]:
    """The layers of a packet of the fabric, outer IP header first."""
    outer = Reader(data)
    layers = list(ip_layers(outer))
    if layers and layers[-1].name == "payload" and len(layers) > 1 and layers[-2].name == "UDP":
        inside = Reader(data, layers[-1].start, layers[-1].stop)
        layers[-1:] = _payload_layers(inside)
    return tuple(layers)


def dissect_payload(data: bytes) -> tuple[Layer, ...]:
    """The layers of the payload of a UDP datagram of the fabric."""
    return tuple(_payload_layers(Reader(data)))


def dissect_encapsulation(data: bytes) -> tuple[Layer, ...]:
    """The layers of VXLAN and what it carries: the plaintext of a record."""
    return tuple(_encapsulation(Reader(data)))


def _payload_layers(reader: Reader) -> Iterator[Layer]:
    """The payload of a UDP datagram of the fabric: its first byte tells records from VXLAN."""
    first = reader.data[reader.at] if reader.left else 0
    if first == APPLICATION_DATA or is_handshake(first):
        yield from record_layers(reader)
    else:
        yield from _encapsulation(reader)


def _encapsulation(reader: Reader) -> Iterator[Layer]:
    try:
        reader.number("flags", 1, "0x08: the VNI is valid", digits=True)
        reader.octets("reserved", 3)
        reader.number("VNI", 3, "the number of the virtual network")
        reader.octets("reserved", 1)
        yield reader.layer("VXLAN", "RFC 7348 5")
        for name in ("destination MAC", "source MAC"):
            reader.add(name, 6, reader.data[reader.at : reader.at + 6].hex(":"))
        reader.number("ethertype", 2, names=_ETHERTYPES, digits=True)
        yield reader.layer("inner Ethernet", "IEEE 802.3")
    except TruncatedError:
        reader.rest("bytes", f"VXLAN and Ethernet have {ENCAPSULATION} bytes")
        yield reader.layer("no VXLAN", "RFC 7348 5")
        return
    yield from ip_layers(reader)
