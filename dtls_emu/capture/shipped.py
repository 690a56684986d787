"""The captures whose packets the shipped labs send, made with scapy: real packets, the same bytes every time.

``python -m dtls_emu.capture.shipped`` writes them beside the labs. Every field that scapy would choose by itself
is given, time stamps included, so that a capture changes only when this file does.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.capture.pcap import encode_pcap
from dtls_emu.lab.pcap import LINKTYPE_ETHERNET


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["make_captures"]

CLIENT_4, SERVER_4 = "198.51.100.10", "198.51.100.20"  # RFC 5737
CLIENT_6, SERVER_6 = "2001:db8::10", "2001:db8::20"  # RFC 3849
CLIENT_MAC, SERVER_MAC = "02:00:00:00:00:10", "02:00:00:00:00:20"

START: Final = 1_700_000_000.0
STEP: Final = 0.001
"""Seconds from one packet to the next."""

MSS: Final = {4: 1460, 6: 1440}
TIMESTAMP_OPTION: Final = 12
PAGE: Final = b"".join(b"line %04d of a page that fills several segments\n" % number for number in range(120))


def make_captures() -> dict[str, bytes]:
    """Every capture by file name: pcap with Ethernet frames.

    ``http`` is a whole TCP connection (options in the handshake, full segments, orderly end), ``dns`` two
    questions and answers, ``icmp`` three echoes and a port unreachable, ``ipv6`` echoes, the same questions and a
    TCP connection over IPv6.
    """
    return {
        "http.pcap": _capture(_http(4)),
        "dns.pcap": _capture(_dns(4)),
        "icmp.pcap": _capture(_icmp()),
        "ipv6.pcap": _capture(_ipv6()),
    }


@cache
def _scapy() -> Any:
    """Scapy takes longer to import than a lab to validate, so only on use."""
    return import_module("scapy.all")


def _capture(packets: Iterator[Any]) -> bytes:
    return encode_pcap(
        ((START + index * STEP, bytes(packet)) for index, packet in enumerate(packets)), LINKTYPE_ETHERNET
    )


def _network(version: int, *, reply: bool, number: int) -> Any:
    """Ethernet and IP headers; ``number`` is the IPv4 identification of a packet of this direction."""
    scapy = _scapy()
    macs = (SERVER_MAC, CLIENT_MAC) if reply else (CLIENT_MAC, SERVER_MAC)
    ethernet = scapy.Ether(src=macs[0], dst=macs[1])
    if version == 4:
        source, destination = (SERVER_4, CLIENT_4) if reply else (CLIENT_4, SERVER_4)
        return ethernet / scapy.IP(src=source, dst=destination, id=number, flags="DF", ttl=64)
    source, destination = (SERVER_6, CLIENT_6) if reply else (CLIENT_6, SERVER_6)
    return ethernet / scapy.IPv6(src=source, dst=destination, hlim=64, fl=0x12345)


def _http(version: int) -> Iterator[Any]:
    """A connection from SYN to the last ACK, with a page of several full segments."""
    scapy = _scapy()
    host = f"[{SERVER_6}]" if version == 6 else SERVER_4
    request = b"GET /page HTTP/1.1\r\nHost: %s\r\nAccept: text/plain\r\n\r\n" % host.encode()
    response = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (
        len(PAGE),
        PAGE,
    )
    segment_size = MSS[version] - TIMESTAMP_OPTION
    segments = [response[at : at + segment_size] for at in range(0, len(response), segment_size)]
    sequence = {False: 0x1000_0000, True: 0x2000_0000}
    numbers = {False: 0x0100, True: 0x0200}

    def packet(flags: str, payload: bytes = b"", *, reply: bool = False) -> Any:
        clock = 1000 + numbers[False] + numbers[True]
        options: list[tuple[str, Any]] = [("NOP", None), ("NOP", None), ("Timestamp", (clock, clock - 1))]
        if "S" in flags:
            options = [
                ("MSS", MSS[version]),
                ("SAckOK", b""),
                ("Timestamp", (clock, 0)),
                ("NOP", None),
                ("WScale", 7),
            ]
        header = scapy.TCP(
            sport=80 if reply else 49_152,
            dport=49_152 if reply else 80,
            seq=sequence[reply],
            ack=sequence[not reply] if "A" in flags else 0,
            flags=flags,
            window=64_240 if "S" in flags else 502,
            options=options,
        )
        whole = _network(version, reply=reply, number=numbers[reply]) / header
        numbers[reply] += 1
        sequence[reply] += len(payload) + ("S" in flags) + ("F" in flags)
        return whole / scapy.Raw(payload) if payload else whole

    yield packet("S")
    yield packet("SA", reply=True)
    yield packet("A")
    yield packet("PA", request)
    yield packet("A", reply=True)
    for segment in segments[:-1]:
        yield packet("A", segment, reply=True)
    yield packet("PA", segments[-1], reply=True)
    yield packet("A")
    yield packet("FA")
    yield packet("FA", reply=True)
    yield packet("A")


def _dns(version: int) -> Iterator[Any]:
    """Two questions, A and AAAA, and their answers."""
    scapy = _scapy()
    for number, (kind, data) in enumerate((("A", SERVER_4), ("AAAA", SERVER_6))):
        question = scapy.DNSQR(qname="www.example.com", qtype=kind)
        answer = scapy.DNSRR(rrname="www.example.com", type=kind, ttl=300, rdata=data)
        port, identity = 50_000 + number, 0x4242 + number
        yield (
            _network(version, reply=False, number=0x0300 + number)
            / scapy.UDP(sport=port, dport=53)
            / scapy.DNS(id=identity, rd=1, qd=[question])
        )
        yield (
            _network(version, reply=True, number=0x0400 + number)
            / scapy.UDP(sport=53, dport=port)
            / scapy.DNS(id=identity, qr=1, rd=1, ra=1, qd=[question], an=[answer])
        )


def _icmp() -> Iterator[Any]:
    """Three echoes and their replies; then a UDP packet to a closed port, and the error that quotes it."""
    scapy = _scapy()
    payload = scapy.Raw(bytes(range(56)))
    for number in range(3):
        echo = {"id": 0x0777, "seq": number + 1}
        yield _network(4, reply=False, number=0x0500 + number) / scapy.ICMP(type=8, **echo) / payload
        yield _network(4, reply=True, number=0x0600 + number) / scapy.ICMP(type=0, **echo) / payload
    probe = (
        _network(4, reply=False, number=0x0503)
        / scapy.UDP(sport=33_333, dport=33_434)
        / scapy.Raw(b"closed?")
    )
    yield probe
    quoted = scapy.Raw(bytes(probe[scapy.IP])[:28])  # RFC 792: the IP header and 8 bytes
    yield _network(4, reply=True, number=0x0603) / scapy.ICMP(type=3, code=3) / quoted


def _ipv6() -> Iterator[Any]:
    """Two echoes and replies, the questions of ``_dns``, and the connection of ``_http``."""
    scapy = _scapy()
    for number in range(2):
        echo = {"id": 0x0888, "seq": number + 1, "data": bytes(range(56))}
        yield _network(6, reply=False, number=0) / scapy.ICMPv6EchoRequest(**echo)
        yield _network(6, reply=True, number=0) / scapy.ICMPv6EchoReply(**echo)
    yield from _dns(6)
    yield from _http(6)


if __name__ == "__main__":
    for name, data in make_captures().items():
        Path(__file__).with_name("examples").joinpath(name).write_bytes(data)
