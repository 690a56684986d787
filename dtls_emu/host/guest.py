"""The network stack of a VM, in this process: small, and only what a lab's traffic needs.

It answers echo requests, counts UDP, learns path MTUs from ICMP, and is either end of a bulk transfer
(:mod:`dtls_emu.host.tcp`). Fragments are not reassembled, closed ports are silent. Sans-I/O: bursts and the time
go in, bursts come out; `next_timeout` says when `handle_timeout` wants to be called.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.host.accounts import reverse_of
from dtls_emu.host.tcp import TcpFlow, TcpReceiver, TcpSender
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.headers import ICMP, ICMPV6, TCP, TCP_SYN, UDP, UDP_FIELDS
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


__all__ = ["Guest", "QuotedFlow", "quote"]


class QuotedFlow(NamedTuple):
    """Whose packet an ICMP error quotes, as the guest knows its flows.

    Fields:
        destination: where the packet was going.
        protocol: of its transport header.
        source_port: of UDP and TCP; the identifier of an echo.
        destination_port: of UDP and TCP, else 0.
    """

    destination: Address
    protocol: int
    source_port: int
    destination_port: int


class Guest:
    """One VM's stack.

    Fields:
        datagrams: UDP datagrams that arrived, by destination port.
        damaged: packets with a wrong checksum, by mark. A real stack discards them without a word.
        path_mtus: learnt from ICMP, by flow, in bytes.
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
        self.path_mtus: dict[QuotedFlow, int] = {}
        self.listening: set[int] = set()
        self.senders: dict[TcpFlow, TcpSender] = {}
        self.receivers: dict[TcpFlow, TcpReceiver] = {}
        self._addresses = None if addresses is None else frozenset(addresses)
        self._mtu = mtu
        self._echoes: dict[int, OnReply] = {}

    def await_replies(self, identifier: int, on_reply: OnReply) -> None:
        """Have echo replies with this identifier reported."""
        self._echoes[identifier] = on_reply

    def receive(self, burst: Burst, now: float) -> list[Burst]:
        """Take packets that the card delivered; returns the answers. The burst is not kept."""
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
                answers += self._receive_icmp(data, packet, burst.mark, now)
        for flow, group in segments.items():
            answers += self._receive_tcp(flow, group, burst.mark, now)
        return answers

    def next_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called, in seconds, or None."""
        moments = (sender.timeout_at for sender in self.senders.values())
        return min((moment for moment in moments if moment is not None), default=None)

    def handle_timeout(self, now: float) -> list[Burst]:
        """Let time pass: retransmit, or give up."""
        return [burst for sender in self.senders.values() for burst in sender.handle_timeout(now)]

    def _is_mine(self, packet: Packet) -> bool:
        return self._addresses is None or packet.destination in self._addresses

    def _receive_udp(self, packet: Packet) -> None:
        datagram = pull_udp_untrusted(packet)
        if datagram is not None:
            self.datagrams[datagram.destination_port] += 1

    def _receive_icmp(self, data: bytes, packet: Packet, mark: int, now: float) -> list[Burst]:
        too_big = pull_packet_too_big_untrusted(packet)
        if too_big is not None:
            return self._learn(too_big, now)
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

    def _learn(self, too_big: PacketTooBig, now: float) -> list[Burst]:
        """Remember the path MTU (RFC 1191, RFC 8201), and let a transfer that it is about go on with it."""
        flow = quote(too_big.quoted)
        if flow is None or too_big.mtu == 0:
            return []
        self.path_mtus[flow] = min(too_big.mtu, self.path_mtus.get(flow, self._mtu))
        if flow.protocol == TCP:
            for sender in self.senders.values():
                own = sender.flow
                ports = own.source_port, own.destination_port
                if (flow.destination, flow.source_port, flow.destination_port) == (own.destination, *ports):
                    return sender.path_mtu_is(too_big.mtu, _quoted_sequence(too_big.quoted), now)
        return []

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


def quote(packet_untrusted: bytes | memoryview) -> QuotedFlow | None:
    """The flow of a packet, of which an ICMP error holds only the beginning; None when that is too short."""
    start = _transport_of(packet_untrusted)
    if start is None or len(packet_untrusted) < start[1] + _QUOTED:
        return None
    protocol, at = start
    version6 = packet_untrusted[0] >> 4 == 6
    destination: Address = (
        IPv6Address(bytes(packet_untrusted[24:40]))
        if version6
        else IPv4Address(bytes(packet_untrusted[16:20]))
    )
    if protocol in _ICMP:
        return QuotedFlow(destination, protocol, int.from_bytes(packet_untrusted[at + 4 : at + 6]), 0)
    if protocol not in {TCP, UDP}:
        return QuotedFlow(destination, protocol, 0, 0)
    source_port, destination_port, _, _ = UDP_FIELDS.unpack_from(packet_untrusted, at)  # TCP's come first too
    return QuotedFlow(destination, protocol, source_port, destination_port)


_ICMP: Final = frozenset({ICMP, ICMPV6})

_QUOTED: Final = 8
"""Bytes behind the IP header that every ICMP error quotes (RFC 792)."""


def _transport_of(packet_untrusted: bytes | memoryview) -> tuple[int, int] | None:
    """Protocol, and where its header begins. Extension headers do not occur in what a guest sends."""
    if len(packet_untrusted) >= IPV6_HEADER and packet_untrusted[0] >> 4 == 6:
        return packet_untrusted[6], IPV6_HEADER
    if len(packet_untrusted) >= IPV4_HEADER and packet_untrusted[0] >> 4 == 4:
        return packet_untrusted[9], (packet_untrusted[0] & 0x0F) << 2
    return None


def _quoted_sequence(packet_untrusted: memoryview) -> int:
    start = _transport_of(packet_untrusted)
    assert start is not None  # its flow was read before
    return int.from_bytes(packet_untrusted[start[1] + 4 : start[1] + 8])


def _is_damaged(data: bytes, packet: Packet) -> bool:
    """Whether a checksum is wrong, that of IPv4's header or of the transport's."""
    if packet.version == 4 and internet_checksum(data[: len(data) - len(packet.transport)]):
        return True
    if packet.protocol == UDP and packet.version == 4 and not any(packet.transport[6:8]):
        return False  # none was made (RFC 768)
    return packet.protocol in _CHECKED and not is_intact(packet)


_CHECKED: Final = _ICMP | {TCP, UDP}


def _collect(packet: Packet, segments: dict[TcpFlow, list[TcpSegment]]) -> None:
    """Add a segment to those of its connection, as this end sees it."""
    each = pull_tcp_untrusted(packet)
    if each is not None:
        flow = TcpFlow(packet.destination, packet.source, each.destination_port, each.source_port)
        segments.setdefault(flow, []).append(each)
