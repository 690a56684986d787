"""Whatever the bytes are: every field is where it says, none is missed, and those of whole packets are scapy's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.teach.dissect import dissect_datagram, dissect_packet, dissect_record
from dtls_emu.teach.dissect.handshake import proves
from dtls_emu.teach.dissect.names import HANDSHAKE_TYPES


def check_places(data, layers):
    """Fields are in order and inside; they overlap nowhere."""
    at = 0
    for layer in layers:
        assert layer.fields or "cut short" in layer.name, layer
        for field in layer.fields:
            assert at <= field.start < field.stop <= len(data), (layer.name, field)
            at = field.stop


def field(layers, layer, name):
    (found,) = [each for one in layers if one.name == layer for each in one.fields if each.name == name]
    return found


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_apart(data):
    """Truncated and malformed input is shown as far as it makes sense, and nothing raises."""
    for dissect in (dissect_packet, dissect_record, dissect_datagram):
        layers = dissect(data)
        check_places(data, layers)
        assert bool(layers) == bool(data)


@given(st.data())
def test_damaged_datagrams_of_a_run_are_taken_apart(captured, data):
    """A changed byte, or a missing end, of what was on the fabric."""
    packet = bytearray(data.draw(st.sampled_from(captured)))
    at = data.draw(st.integers(0, len(packet) - 1))
    packet[at] = data.draw(st.integers(0, 255))
    cut = bytes(packet[: data.draw(st.integers(1, len(packet)))])
    check_places(cut, dissect_datagram(cut))


def test_no_byte_of_a_run_is_unexplained(captured):
    """Each datagram's fields cover all of it."""
    for packet in captured:
        layers = dissect_datagram(packet)
        check_places(packet, layers)
        assert sum(each.stop - each.start for layer in layers for each in layer.fields) == len(packet)
        assert not any("cut short" in layer.name or layer.name.startswith("no ") for layer in layers)


def test_every_message_of_a_handshake_is_found(captured):
    """In the order of their flights, and each says what it proves."""
    names = [
        layer.name
        for packet in captured
        for layer in dissect_datagram(packet)
        if layer.source and layer.name in {*HANDSHAKE_TYPES.values(), "ChangeCipherSpec"}
    ]
    assert names[:5] == ["ClientHello", "HelloVerifyRequest", "ClientHello", "ServerHello", "Certificate"]
    assert {"ServerKeyExchange", "CertificateRequest", "ClientKeyExchange", "CertificateVerify"} <= set(names)
    assert all(proves(number) for number, name in HANDSHAKE_TYPES.items() if name in names)


def test_addresses_and_ports_are_those_that_scapy_reads(captured):
    """An independent reader of the same packets."""
    from scapy.layers.inet import IP, UDP

    for packet in captured:
        read, layers = IP(packet), dissect_datagram(packet)
        assert field(layers, "IPv4", "source").value == read.src
        assert field(layers, "IPv4", "destination").value == read.dst
        assert field(layers, "IPv4", "total length").value == str(read.len)
        assert field(layers, "UDP", "source port").value == str(read[UDP].sport)
        assert field(layers, "UDP", "length").value == str(read[UDP].len)


def test_tcp_icmp_and_extension_headers_are_those_that_scapy_writes():
    """Packets that scapy makes, of each kind that a lab can carry."""
    from scapy.layers.inet import ICMP, IP, TCP
    from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
    from scapy.packet import Raw

    tcp = bytes(
        IP(src="10.0.0.4", dst="10.0.0.5")
        / TCP(sport=5, dport=80, seq=7, flags="PA", options=[("MSS", 1400)])
        / b"hi"
    )
    layers = dissect_packet(tcp)
    assert [layer.name for layer in layers] == ["IPv4", "TCP", "payload"]
    assert field(layers, "TCP", "sequence number").value == "7"
    assert field(layers, "TCP", "flags").value == "PSH ACK"
    assert field(layers, "TCP", "options").value == "4 bytes"
    echo = bytes(IP(dst="10.0.0.5") / ICMP(type=8, id=3, seq=9))
    assert field(dissect_packet(echo), "ICMP", "sequence number").value == "9"
    too_big = bytes(IP(dst="10.0.0.5") / ICMP(type=3, code=4, nexthopmtu=1400))
    assert field(dissect_packet(too_big), "ICMP", "next-hop MTU").value == "1400"
    chain = (
        IPv6(dst="fd00::5")
        / IPv6ExtHdrHopByHop()
        / IPv6ExtHdrFragment(offset=8, m=1, id=1, nh=17)
        / Raw(b"x" * 8)
    )
    layers = dissect_packet(bytes(chain))
    assert [layer.name for layer in layers] == [
        "IPv6",
        "IPv6 hop-by-hop options",
        "IPv6 fragment header",
        "payload",
    ]
    assert field(layers, "IPv6 fragment header", "fragment offset, M").value == "64, more follow"
    six = bytes(IPv6(dst="fd00::5") / ICMPv6EchoRequest(id=1, seq=2))
    assert field(dissect_packet(six), "ICMPv6", "type").value == "128 echo request"
