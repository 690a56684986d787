"""The captures whose packets the labs send are made the same way every time."""

import pytest

from dtls_emu.capture.shipped import make_captures
from dtls_emu.lab.loader import EXAMPLES
from dtls_emu.lab.pcap import parse_pcap


def test_the_shipped_captures_are_those_that_the_code_makes():
    """Byte for byte; run `python -m dtls_emu.capture.shipped` after a change."""
    made = make_captures()
    assert sorted(made) == sorted(path.name for path in EXAMPLES.glob("*.pcap"))
    for name, data in made.items():
        assert (EXAMPLES / name).read_bytes() == data, name


@pytest.mark.parametrize(
    ("name", "protocols"),
    [
        ("http.pcap", {(4, 6)}),
        ("dns.pcap", {(4, 17)}),
        ("icmp.pcap", {(4, 1), (4, 17)}),
        ("ipv6.pcap", {(6, 6), (6, 17), (6, 58)}),
    ],
)
def test_they_hold_what_they_are_called_after(name, protocols):
    """IP versions and protocols."""
    packets = [packet.data for packet in parse_pcap(make_captures()[name])]
    assert {(data[0] >> 4, data[9] if data[0] >> 4 == 4 else data[6]) for data in packets} == protocols


def test_the_connection_is_whole():
    """SYN with options, full segments, FIN from both sides."""
    packets = [packet.data for packet in parse_pcap(make_captures()["http.pcap"])]
    flags = [data[33] for data in packets]
    assert (flags[0], flags[1]) == (0x02, 0x12)
    assert sum(bool(flag & 0x01) for flag in flags) == 2
    assert packets[0][32] >> 4 == 10  # 20 bytes of options
    assert max(map(len, packets)) == 1500
