"""pcapng: what is written is what is read, by us, by scapy and by Wireshark's tools; and what is cut short is said."""

from __future__ import annotations

import io
import struct
import subprocess
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.capture.pcapng import (
    INBOUND,
    OUTBOUND,
    Interface,
    Packet,
    PcapngError,
    decryption_secrets,
    enhanced_packet,
    interface_description,
    parse_pcapng,
    section_header,
)
from dtls_emu.wire.packet import udp_packet


SOME = Interface("host-1:host-2", "fabric, at host-1's end"), Interface("vm-a")
PACKET = udp_packet("192.0.2.1", "192.0.2.2", 1, 2, b"payload")
WORDS = st.text(max_size=40)
PACKETS = st.builds(
    Packet,
    st.sampled_from(SOME),
    st.integers(0, (1 << 63) - 1),
    st.binary(max_size=200),
    st.lists(WORDS, max_size=3).map(tuple),
    st.sampled_from([0, INBOUND, OUTBOUND]),
)


def write(packets, comments=(), application=""):
    blocks = [section_header(comments, application=application), *map(interface_description, SOME)]
    for each in packets:
        number = SOME.index(each.interface)
        blocks.append(
            enhanced_packet(number, each.time_ns, each.data, each.comments, direction=each.direction)
        )
    return b"".join(blocks)


@given(st.lists(PACKETS, max_size=8), st.lists(WORDS, max_size=2), WORDS)
def test_what_is_written_is_read(packets, comments, application):
    """Every byte, nanosecond, comment and name."""
    found = parse_pcapng(write(packets, comments, application))
    assert (found.packets, found.comments, found.application) == (packets, comments, application)
    assert found.interfaces == list(SOME)


@given(st.lists(PACKETS, max_size=3), st.data())
def test_a_truncated_capture_is_said_with_its_block(packets, data):
    """Wherever it is cut, unless between two blocks: then what is left is a capture."""
    whole = write(packets)
    ends, at = {0}, 0
    while at < len(whole):
        at += struct.unpack_from("<I", whole, at + 4)[0]
        ends.add(at)
    cut = data.draw(st.integers(4, len(whole)))
    if cut in ends:
        assert parse_pcapng(whole[:cut]).packets == packets[: len(parse_pcapng(whole[:cut]).packets)]
    else:
        with pytest.raises(
            PcapngError, match=r"truncated: it ends inside block \d+, at byte \d+; capture again"
        ):
            parse_pcapng(whole[:cut])


@given(st.binary(max_size=300), st.integers(0, 300))
def test_damage_is_an_error_or_another_capture(junk, at):
    """Never an exception of another kind -> raises nothing."""
    whole = bytearray(write([Packet(SOME[0], 1, PACKET, ("remark",))]) + decryption_secrets(b"secret"))
    whole[at : at + len(junk)] = junk
    with suppress(PcapngError):
        parse_pcapng(bytes(whole))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no pcapng"),
        (b"\xd4\xc3\xb2\xa1" + bytes(20), "no pcapng"),
        (section_header()[:8] + b"\0\0\0\0" + section_header()[12:], "without a byte order"),
        (section_header()[:-4] + bytes(4), "its two lengths differ"),
        (section_header() + struct.pack("<III", 9, 13, 13), "no block has 13 bytes"),
        (section_header() + enhanced_packet(0, 0, b""), "damaged"),
    ],
)
def test_what_is_wrong_is_said(data, said):
    """In one line."""
    with pytest.raises(PcapngError, match=said):
        parse_pcapng(data)


def test_the_other_byte_order_and_microseconds_are_read():
    """As a big-endian machine writes them, without options."""
    section = struct.pack(">IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    interface = struct.pack(">IIHHII", 1, 20, 101, 0, 0, 20)
    other = struct.pack(">III", 0xBAD, 12, 12)
    packet = struct.pack(">IIIIIII4sI", 6, 36, 0, 0, 7, 3, 3, b"abc\0", 36)
    (found,) = parse_pcapng(section + interface + other + packet).packets
    assert (found.time_ns, found.data, found.interface.link_type) == (7000, b"abc", 101)


def test_secrets_stand_where_they_were_put():
    """Behind the packets before them."""
    data = write([Packet(SOME[1], 5, PACKET)]) + decryption_secrets(b"a log") + decryption_secrets(b"more")
    assert parse_pcapng(data).secrets == [(1, b"a log"), (1, b"more")]


def test_a_comment_longer_than_an_option_is_cut():
    """Between two characters."""
    (found,) = parse_pcapng(write([Packet(SOME[0], 0, b"", ("ä" * 40_000,))])).packets
    assert found.comments == ("ä" * 32_767,)


@given(st.lists(PACKETS, max_size=5))
def test_scapy_reads_the_same(packets):
    """Bytes, nanoseconds and interface names, by a reader that shares no code with us."""
    from scapy.utils import RawPcapNgReader

    content: Any = io.BytesIO(write(packets, ["on all of it"]) + decryption_secrets(b"a log"))
    reader: Any = RawPcapNgReader(content)
    found = list(reader)
    assert [data for data, _ in found] == [each.data for each in packets]
    for (_, metadata), each in zip(found, packets, strict=True):
        assert metadata.tsresol == 10**9
        assert metadata.tshigh << 32 | metadata.tslow == each.time_ns
        assert metadata.ifname == each.interface.name.encode()
        assert (
            metadata.direction == {0: None, INBOUND: 1, OUTBOUND: 2}[each.direction] or not metadata.direction
        )


@pytest.mark.tshark
def test_tshark_reads_the_same(tmp_path):
    """Bytes, nanoseconds, names and comments."""
    path = tmp_path / "some.pcapng"
    packets = [
        Packet(SOME[at % 2], 1_000_000_007 * at, PACKET + bytes(at), (f"remark {at}",), 1 + at % 2)
        for at in range(5)
    ]
    path.write_bytes(write(packets, ["on all of it"], "a test") + decryption_secrets(b"# nothing\n"))
    fields = ["frame.time_epoch", "frame.len", "frame.interface_name", "frame.comment"]
    command = ["tshark", "-r", str(path), "-T", "fields", *(word for each in fields for word in ("-e", each))]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split("\t") for line in lines] == [
        [f"{each.time_ns / 1e9:.9f}", str(len(each.data)), each.interface.name, each.comments[0]]
        for each in packets
    ]
    about = subprocess.run(["capinfos", str(path)], capture_output=True, text=True, check=True).stdout
    assert "on all of it" in about
    assert "a test" in about
    assert SOME[0].description in about
