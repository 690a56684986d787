"""The network stack of a VM, in this process: small, and only what a lab's traffic needs.

It answers echo requests, counts UDP, learns path MTUs from ICMP, and is either end of a bulk transfer
(:mod:`dtls_emu.simulation.guests.tcp`). Fragments are not reassembled, closed ports are silent. Sans-I/O: bursts and the time
go in, bursts come out; `next_timeout` says when `handle_timeout` wants to be called.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from math import inf
from struct import Struct
from typing import TYPE_CHECKING, Final

from dtls_emu.simulation.accounts import NOBODY, reverse_of
from dtls_emu.simulation.guests.tcp import TcpFlow, TcpReceiver, TcpSender
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.headers import ICMP, ICMPV6, TCP, TCP_SYN, UDP
from dtls_emu.wire.icmp import PacketTooBig, pull_packet_too_big_untrusted
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER
from dtls_emu.wire.packet import echo_reply
from dtls_emu.wire.parse import (
    is_intact,
    parse_packet_untrusted,
    pull_echo_untrusted,
    pull_tcp_untrusted,
    pull_udp_untrusted,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dtls_emu.wire.parse import Packet, TcpSegment

    Address = IPv4Address | IPv6Address

    OnReply = Callable[[int, float], object]
    """``on_reply(sequence, now)``."""


__all__ = ["Guest"]


class Guest:
    """One VM's stack.

    Fields:
        datagrams: UDP datagrams that arrived, by destination port.
        damaged: packets with a wrong checksum, by mark. A real stack discards them without a word.
        path_mtus: learnt from ICMP, in bytes, by the mark of the packets that it was about.
        listening: TCP ports on which connections are taken.
        senders: transfers that it sends; whoever opens one puts it here first.
        receivers: transfers that it takes.
    """

    def __init__(self, addresses: Iterable[Address] | None, mtu: int) -> None:
        """
        Args:
            addresses: its own; None takes every packet, whoever it is for.
            mtu: of its NIC, in bytes.
        """
        self.datagrams: Counter[int] = Counter()
        self.damaged: Counter[int] = Counter()
        self.path_mtus: dict[int, int] = {}
        self.listening: set[int] = set()
        self.senders: dict[TcpFlow, TcpSender] = {}
        self.receivers: dict[TcpFlow, TcpReceiver] = {}
        self._addresses = None if addresses is None else frozenset(addresses)
        self._mtu = mtu
        self._echoes: dict[int, OnReply] = {}

    def await_replies(self, identifier: int, on_reply: OnReply) -> None:
        """Have echo replies with this identifier reported."""
        self._echoes[identifier] = on_reply

    def receive(self, burst: Burst, now: float, *, about: int = NOBODY) -> list[Burst]:
        """Take packets that the card delivered; returns the answers. The burst is not kept.

        Args:
            burst: the packets.
            now: seconds.
            about: for an ICMP error from the card, the mark of the packets that it answers.
        """
        answers: list[Burst] = []
        segments: dict[TcpFlow, list[TcpSegment]] = {}
        for row in burst.rows():
            data = row.tobytes()
            packet = parse_packet_untrusted(data)
            if packet is None or not self._is_mine(packet):
                continue
            if _is_damaged(data, packet):
                self.damaged[burst.mark] += 1
            elif packet.protocol == TCP:
                _collect(packet, segments)
            elif packet.protocol == UDP:
                self._receive_udp(packet)
            elif packet.protocol in _ICMP:
                answers += self._receive_icmp(data, packet, burst.mark, about, now)
        for flow, group in segments.items():
            answers += self._receive_tcp(flow, group, burst.mark, now)
        return answers

    def next_timeout(self) -> float:
        """When `handle_timeout` wants to be called, in seconds; infinity when it does not."""
        return min((sender.timeout_at for sender in self.senders.values()), default=inf)

    def handle_timeout(self, now: float) -> list[Burst]:
        """Let time pass: retransmit, or give up."""
        return [burst for sender in self.senders.values() for burst in sender.handle_timeout(now)]

    def _is_mine(self, packet: Packet) -> bool:
        return self._addresses is None or packet.destination in self._addresses

    def _receive_udp(self, packet: Packet) -> None:
        datagram = pull_udp_untrusted(packet)
        if datagram is not None:
            self.datagrams[datagram.destination_port] += 1

    def _receive_icmp(self, data: bytes, packet: Packet, mark: int, about: int, now: float) -> list[Burst]:
        too_big = pull_packet_too_big_untrusted(packet)
        if too_big is not None:
            return self._learn(too_big, about, now)
        echo = pull_echo_untrusted(packet)
        if echo is None:
            return []
        if not echo.is_reply:
            reply = echo_reply(data)
            return [] if reply is None else [Burst.from_packets([reply], mark=reverse_of(mark))]
        on_reply = self._echoes.get(echo.identifier)
        if on_reply is not None:
            on_reply(echo.sequence, now)
        return []

    def _learn(self, too_big: PacketTooBig, about: int, now: float) -> list[Burst]:
        """Remember the path MTU (RFC 1191, RFC 8201), and let a transfer that it is about go on with it."""
        if too_big.mtu:
            self.path_mtus[about] = min(too_big.mtu, self.path_mtus.get(about, self._mtu))
        quoted = _pull_quoted_segment_untrusted(too_big.quoted)
        sender = None if quoted is None else self.senders.get(quoted[0])
        return [] if quoted is None or sender is None else sender.path_mtu_is(too_big.mtu, quoted[1], now)

    def _receive_tcp(self, flow: TcpFlow, segments: list[TcpSegment], mark: int, now: float) -> list[Burst]:
        sender = self.senders.get(flow)
        if sender is not None:
            return [burst for each in segments for burst in sender.receive(each, now)]
        receiver = self.receivers.get(flow)
        if receiver is None:
            if flow.source_port not in self.listening or not segments[0].flags & TCP_SYN:
                return []
            receiver = TcpReceiver(flow, mss=self._mtu - flow.headers, mark=reverse_of(mark))
            self.receivers[flow] = receiver
        return receiver.receive(segments)


_ICMP: Final = frozenset({ICMP, ICMPV6})
_CHECKED: Final = _ICMP | {TCP, UDP}


def _pull_quoted_segment_untrusted(quoted: memoryview) -> tuple[TcpFlow, int] | None:
    """Connection and sequence number of the segment whose beginning an ICMP error quotes, or None.

    The quote goes on for at least 8 bytes behind the IP header (RFC 792), and is cut off somewhere.
    """
    version = quoted[0] >> 4 if quoted else 0
    at = (quoted[0] & 0x0F) << 2 if version == 4 else IPV6_HEADER
    if version not in {4, 6} or len(quoted) < max(at, IPV4_HEADER) + _PORTS_AND_SEQUENCE.size:
        return None
    source: Address
    destination: Address
    if version == 4:
        protocol = quoted[9]
        source, destination = IPv4Address(bytes(quoted[12:16])), IPv4Address(bytes(quoted[16:20]))
    else:
        protocol = quoted[6]
        source, destination = IPv6Address(bytes(quoted[8:24])), IPv6Address(bytes(quoted[24:40]))
    if protocol != TCP:
        return None
    source_port, destination_port, sequence = _PORTS_AND_SEQUENCE.unpack_from(quoted, at)
    return TcpFlow(source, destination, source_port, destination_port), sequence


_PORTS_AND_SEQUENCE: Final = Struct(">HHI")


def _is_damaged(data: bytes, packet: Packet) -> bool:
    """Whether a checksum is wrong, that of IPv4's header or of the transport's."""
    if packet.version == 4 and internet_checksum(data[: len(data) - len(packet.transport)]):
        return True
    if packet.protocol == UDP and packet.version == 4 and not any(packet.transport[6:8]):
        return False  # none was made (RFC 768)
    return packet.protocol in _CHECKED and not is_intact(packet)


def _collect(packet: Packet, segments: dict[TcpFlow, list[TcpSegment]]) -> None:
    """Add a segment to those of its connection, as this end sees it."""
    each = pull_tcp_untrusted(packet)
    if each is not None:
        flow = TcpFlow(packet.destination, packet.source, each.destination_port, each.source_port)
        segments.setdefault(flow, []).append(each)
