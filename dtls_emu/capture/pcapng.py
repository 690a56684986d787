"""pcapng: captures with named interfaces, nanoseconds, comments, and the secrets that open them; written and read.

Source: "PCAP Now Generic (pcapng) Capture File Format", draft-ietf-opsawg-pcapng. Written are the blocks of its section
4.1 (Section Header), 4.2 (Interface Description), 4.3 (Enhanced Packet), 4.6 (Interface Statistics) and 4.7 (Decryption
Secrets), little-endian, in one section. A file is these blocks one after the other, so it can be written to a pipe as it comes about::

    section_header() + interface_description(Interface("vm-a")) + enhanced_packet(0, time_ns, packet)

What is read: the same blocks in either byte order and in several sections; blocks of other types are passed over.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab.pcap import LINKTYPE_RAW, SNAP_LENGTH


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


__all__ = [
    "INBOUND",
    "OUTBOUND",
    "Interface",
    "Packet",
    "Pcapng",
    "PcapngError",
    "decryption_secrets",
    "enhanced_packet",
    "interface_description",
    "interface_statistics",
    "parse_pcapng",
    "section_header",
]

INBOUND: Final = 1
OUTBOUND: Final = 2
"""Directions of a packet at its interface (4.3.1, `epb_flags`, bits 0 and 1); 0 where it is not known."""

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 0x00000001
_PACKET: Final = 0x00000006
_STATISTICS: Final = 0x00000005
_SECRETS: Final = 0x0000000A
_TLS_KEY_LOG: Final = 0x544C534B
_BYTE_ORDER: Final = 0x1A2B3C4D
_UNKNOWN_LENGTH: Final = (1 << 64) - 1

_END_OF_OPTIONS: Final = 0
_COMMENT: Final = 1
_APPLICATION: Final = 4  # shb_userappl
_NAME: Final = 2  # if_name
_DESCRIPTION: Final = 3  # if_description
_RESOLUTION: Final = 9  # if_tsresol
_FLAGS: Final = 2  # epb_flags
_SEEN: Final = 4  # isb_ifrecv
_MISSED: Final = 5  # isb_ifdrop

_NANOSECONDS: Final = 9
"""As a power of ten (4.2, `if_tsresol`)."""

_DEFAULT_RESOLUTION: Final = 6
_MAX_OPTION: Final = 0xFFFF
_LEAST_BLOCK: Final = 12
_MAX_BLOCK: Final = 64 << 20
"""Bytes of a block that is read: the longest that is written, of a packet of 64 KB, is a thousandth of it."""


class PcapngError(DtlsEmuError):
    """Bytes are no pcapng capture, or a damaged or truncated one. Says in which block, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Interface:
    """Where packets were seen.

    Fields:
        name, description: for people; Wireshark's `frame.interface_name` and `frame.interface_description`.
        link_type: what packets start with; IP packets without a link header by default.
    """

    name: str
    description: str = ""
    link_type: int = LINKTYPE_RAW


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a capture.

    Fields:
        interface: where it was seen.
        time_ns: nanoseconds since the epoch of the capture's clock.
        data: its bytes.
        comments: on it.
        direction: :data:`INBOUND`, :data:`OUTBOUND`, or 0.
    """

    interface: Interface
    time_ns: int
    data: bytes
    comments: tuple[str, ...] = ()
    direction: int = 0


@dataclass(slots=True)
class Pcapng:
    """What a capture holds.

    Fields:
        comments, application: of its section headers.
        interfaces: of all sections, in the order of the file.
        packets: likewise.
        secrets: TLS key logs, each with the number of packets before it.
        missed: packets that were not captured, as statistics of interfaces say, by the interface's name.
    """

    comments: list[str] = field(default_factory=list)
    application: str = ""
    interfaces: list[Interface] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    secrets: list[tuple[int, bytes]] = field(default_factory=list)
    missed: dict[str, int] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------------ written


def section_header(comments: Iterable[str] = (), *, application: str = "") -> bytes:
    """The block that a capture begins with.

    Args:
        comments: on the whole capture.
        application: that wrote it.
    """
    options = [(_COMMENT, _text(each)) for each in comments]
    options += [(_APPLICATION, _text(application))] if application else []
    return _block(_SECTION, struct.pack("<IHHQ", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH), options)


def interface_description(interface: Interface) -> bytes:
    """The block that an interface is described by; its packets name it by its number in the section, from 0."""
    options = [(_NAME, _text(interface.name))]
    options += [(_DESCRIPTION, _text(interface.description))] if interface.description else []
    options.append((_RESOLUTION, bytes([_NANOSECONDS])))
    return _block(_INTERFACE, struct.pack("<HHI", interface.link_type, 0, SNAP_LENGTH), options)


def enhanced_packet(
    interface: int, time_ns: int, data: bytes, comments: Iterable[str] = (), *, direction: int = 0
) -> bytes:
    """The block of one packet.

    Args:
        interface: number of its interface.
        time_ns: nanoseconds.
        data: its bytes, whole.
        comments: on it.
        direction: :data:`INBOUND`, :data:`OUTBOUND`, or 0 where it is not known.
    """
    head = struct.pack("<IIIII", interface, time_ns >> 32, time_ns & 0xFFFFFFFF, len(data), len(data))
    options = [(_FLAGS, direction.to_bytes(4, "little"))] if direction else []
    options += [(_COMMENT, _text(each)) for each in comments]
    return _block(_PACKET, head + _padded(data), options)


def interface_statistics(
    interface: int, time_ns: int, *, seen: int, missed: int, comments: Iterable[str] = ()
) -> bytes:
    """The block that says at the end of a capture how much of what an interface has carried is in it (4.6).

    Args:
        interface: its number.
        time_ns: nanoseconds.
        seen: packets that were there to be captured.
        missed: those of them that are not in the capture.
        comments: on it.
    """
    head = struct.pack("<III", interface, time_ns >> 32, time_ns & 0xFFFFFFFF)
    options = [(_COMMENT, _text(each)) for each in comments]
    options += [(_SEEN, seen.to_bytes(8, "little")), (_MISSED, missed.to_bytes(8, "little"))]
    return _block(_STATISTICS, head, options)


def decryption_secrets(key_log: bytes) -> bytes:
    """The block of secrets in the format of a TLS key log; they open what follows (4.7)."""
    return _block(_SECRETS, struct.pack("<II", _TLS_KEY_LOG, len(key_log)) + _padded(key_log), [])


def _block(kind: int, body: bytes, options: Sequence[tuple[int, bytes]]) -> bytes:
    if options:
        body += b"".join(
            struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options
        ) + struct.pack("<HH", _END_OF_OPTIONS, 0)
    length = len(body) + _LEAST_BLOCK
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _text(words: str) -> bytes:
    """UTF-8, cut where an option has no more room for it."""
    return words.encode()[:_MAX_OPTION].decode(errors="ignore").encode()


# --------------------------------------------------------------------------------------------------- read


def parse_pcapng(data: bytes) -> Pcapng:
    """What a capture holds.

    Raises:
        PcapngError: it is none, or is damaged or truncated.
    """
    if data[:4] != _SECTION.to_bytes(4):  # reads the same both ways
        raise PcapngError("is no pcapng capture: it does not begin with a section header")
    found = Pcapng()
    order, section = "<", list[tuple[Interface, int]]()
    offset, number = 0, 0
    while offset < len(data):
        number += 1
        where = f"block {number}, at byte {offset}"
        if data[offset : offset + 4] == _SECTION.to_bytes(4):
            order, section = _byte_order(data[offset + 8 : offset + 12], where), []
        kind, body = _pull_block(data, offset, order, where)
        offset += len(body) + _LEAST_BLOCK
        try:
            _take(found, section, kind, body, order)
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise PcapngError(f"{where}: damaged: {error}") from error
    return found


def _byte_order(magic: bytes, where: str) -> str:
    if len(magic) < 4:
        raise PcapngError(f"truncated: it ends inside {where}; capture again")
    for order in "<>":
        if struct.unpack(f"{order}I", magic)[0] == _BYTE_ORDER:
            return order
    raise PcapngError(f"{where}: damaged: a section header without a byte order")


def _pull_block(data: bytes, offset: int, order: str, where: str) -> tuple[int, bytes]:
    """Type and body of the block at an offset."""
    truncated = f"truncated: it ends inside {where}; capture again"
    if len(data) - offset < _LEAST_BLOCK:
        raise PcapngError(truncated)
    kind, length = struct.unpack_from(f"{order}II", data, offset)
    if length < _LEAST_BLOCK or length % 4 or length > _MAX_BLOCK:
        raise PcapngError(f"{where}: damaged: no block has {length} bytes")
    if len(data) - offset < length:
        raise PcapngError(truncated)
    if struct.unpack_from(f"{order}I", data, offset + length - 4)[0] != length:
        raise PcapngError(f"{where}: damaged: its two lengths differ")
    return kind, data[offset + 8 : offset + length - 4]


def _take(found: Pcapng, section: list[tuple[Interface, int]], kind: int, body: bytes, order: str) -> None:
    """Enter a block.

    Args:
        found: what the capture holds so far.
        section: the interfaces of this section, and nanoseconds in a unit of their time stamps.
        kind, body: of the block.
        order: of its bytes.
    """
    if kind == _SECTION:
        for code, value in _options(body[16:], order):
            if code == _COMMENT:
                found.comments.append(value.decode())
            elif code == _APPLICATION:
                found.application = value.decode()
    elif kind == _INTERFACE:
        link_type = struct.unpack_from(f"{order}H", body)[0]
        options = dict(_options(body[8:], order))
        name, description = (options.get(code, b"").decode() for code in (_NAME, _DESCRIPTION))
        interface = Interface(name, description, link_type)
        section.append((interface, _tick(options.get(_RESOLUTION, bytes([_DEFAULT_RESOLUTION]))[0])))
        found.interfaces.append(interface)
    elif kind == _PACKET:
        found.packets.append(_packet(section, body, order))
    elif kind == _STATISTICS:
        interface = section[struct.unpack_from(f"{order}I", body)[0]][0]
        missed = dict(_options(body[12:], order)).get(_MISSED, bytes(8))
        found.missed[interface.name] = struct.unpack(f"{order}Q", missed)[0]
    elif kind == _SECRETS:
        secrets_type, length = struct.unpack_from(f"{order}II", body)
        if secrets_type == _TLS_KEY_LOG:
            found.secrets.append((len(found.packets), _exactly(body, 8, length)))


def _packet(section: list[tuple[Interface, int]], body: bytes, order: str) -> Packet:
    number, high, low, captured, _ = struct.unpack_from(f"{order}IIIII", body)
    interface, tick = section[number]
    data = _exactly(body, 20, captured)
    options = list(_options(body[20 + len(_padded(data)) :], order))
    flags = next((value for code, value in options if code == _FLAGS), bytes(4))
    return Packet(
        interface,
        (high << 32 | low) * tick,
        data,
        tuple(value.decode() for code, value in options if code == _COMMENT),
        struct.unpack(f"{order}I", flags)[0] & 3,
    )


def _tick(resolution: int) -> int:
    """Nanoseconds in a unit of time stamps: those of a power of ten, down to nanoseconds."""
    if resolution > _NANOSECONDS:
        raise struct.error(f"time stamps of a resolution of {resolution}")
    return int(10 ** (_NANOSECONDS - resolution))


def _exactly(body: bytes, start: int, length: int) -> bytes:
    data = body[start : start + length]
    if len(data) < length:
        raise struct.error(f"{length} bytes in a block that has room for {len(data)}")
    return data


def _options(rest: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    while rest:
        code, length = struct.unpack_from(f"{order}HH", rest)
        if code == _END_OF_OPTIONS:
            return
        value = _exactly(rest, 4, length)
        yield code, value
        rest = rest[4 + len(_padded(value)) :]
