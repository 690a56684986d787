"""Captures are read and written; a file that is none is refused with what to do."""

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.capture.pcap import encode_pcap
from dtls_emu.lab import pcap
from dtls_emu.lab.pcap import LINKTYPE_ETHERNET, parse_pcap, read_pcap


def ipv4(payload=b"", length=None):
    total = 20 + len(payload) if length is None else length
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, 17, 0, b"\1\2\3\4", b"\5\6\7\x08") + payload


def ipv6(payload=b""):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), 17, 64, bytes(16), bytes(16)) + payload


def ethernet(kind, payload, tags=()):
    return (
        bytes(12) + b"".join(struct.pack("!HH", tag, 7) for tag in tags) + struct.pack("!H", kind) + payload
    )


@given(st.lists(st.tuples(st.integers(0, 2**31), st.binary(max_size=40)), max_size=6))
def test_reads_what_it_wrote(packets):
    """In time order, with times from the first packet on and frames numbered as in the file."""
    frames = [(microseconds / 1e6, ipv4(payload)) for microseconds, payload in packets]
    parsed = parse_pcap(encode_pcap(frames))
    start = min((time for time, _ in frames), default=0)
    order = sorted(range(len(frames)), key=lambda index: frames[index][0])
    assert [packet.number for packet in parsed] == [index + 1 for index in order]
    assert [packet.data for packet in parsed] == [frames[index][1] for index in order]
    assert [packet.time for packet in parsed] == pytest.approx(
        [frames[index][0] - start for index in order], abs=1e-6
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "fraction"), [(0xA1B2C3D4, 500_000), (0xA1B23C4D, 500_000_000)])
@pytest.mark.parametrize("link_type", [101, 12, 14, 0x1000_0000 | 101])
def test_reads_either_byte_order_and_resolution(order, magic, fraction, link_type):
    """Microseconds and nanoseconds; the link type's upper bits say other things."""
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65_535, link_type)
    for seconds, part in ((10, 0), (11, fraction)):
        data += struct.pack(f"{order}IIII", seconds, part, 20, 20) + ipv4()
    assert [packet.time for packet in parse_pcap(data)] == [0.0, 1.5]


def test_takes_the_ip_packet_out_of_a_frame():
    """Without the padding of short frames and behind VLAN tags; frames of other protocols are left out."""
    frames = [
        ethernet(0x0800, ipv4(b"hello") + bytes(21)),
        ethernet(0x0806, bytes(28)),
        ethernet(0x86DD, ipv6(b"hello"), tags=[0x88A8, 0x8100]),
        ethernet(0x8100, b""),
        bytes(5),
        ethernet(0x0800, b""),
    ]
    parsed = parse_pcap(encode_pcap(((0, frame) for frame in frames), LINKTYPE_ETHERNET))
    assert [(packet.number, packet.data) for packet in parsed] == [(1, ipv4(b"hello")), (3, ipv6(b"hello"))]


@pytest.mark.parametrize(
    "packet", [b"\x45", ipv4(b"hello", length=0), ipv4(b"hello", length=19), ipv4(b"", length=99)]
)
def test_a_packet_that_lies_about_its_length_is_kept_whole(packet):
    """What to make of it is for the card to say."""
    assert [each.data for each in parse_pcap(encode_pcap([(0, packet)]))] == [packet]


WHOLE = encode_pcap([(0, ipv4(b"hello"))])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no pcap file; write one with tcpdump -w, or Wireshark's Save As"),
        (WHOLE[:23], "is no pcap file; write one with tcpdump -w, or Wireshark's Save As"),
        (bytes.fromhex("0a0d0d0a") + bytes(40), "is pcapng; convert it: editcap -F pcap IN OUT"),
        (encode_pcap([], 113), "has link type 113; capture Ethernet (1) or raw IP (101)"),
        (WHOLE[:30], "ends inside frame 1; capture again"),
        (WHOLE[:-1], "ends inside frame 1; capture again"),
        (
            WHOLE[:24] + struct.pack("<IIII", 0, 0, 20, 1500) + ipv4(),
            "holds only 20 of 1500 bytes of frame 1; capture with -s 0",
        ),
        (
            WHOLE + struct.pack("<IIII", 0, 0, 1 << 30, 1 << 30) + ipv4(),
            "says that frame 2 has 1073741824 bytes, and no frame has more than 262144; it is damaged, so capture again",
        ),
        (
            WHOLE[:24] + struct.pack("<IIII", 0, 0, 20, 1 << 30) + ipv4(),
            "says that frame 1 has 1073741824 bytes, and no frame has more than 262144; it is damaged, so capture again",
        ),
    ],
)
def test_what_is_no_whole_capture_is_refused(data, message):
    """With what to do about it."""
    with pytest.raises(ValueError) as caught:
        parse_pcap(data)
    assert str(caught.value) == message


def test_a_capture_has_so_many_frames_and_no_more(monkeypatch):
    """Each is an object until the lab has run; also those that carry no IP count."""
    monkeypatch.setattr(pcap, "MAX_FRAMES", 3)
    frames = [(0.0, ethernet(0x0806, bytes(28)))] * 3
    assert parse_pcap(encode_pcap(frames, LINKTYPE_ETHERNET)) == []
    with pytest.raises(ValueError, match="has more than 3 frames; cut it: editcap -r IN OUT 1-3"):
        parse_pcap(encode_pcap([*frames, *frames], LINKTYPE_ETHERNET))


def test_a_file_that_is_no_regular_one_of_a_sensible_size_is_not_read(tmp_path):
    """Nor waited for."""
    path = tmp_path / "capture.pcap"
    path.write_bytes(WHOLE)
    assert [packet.data for packet in read_pcap(path)] == [ipv4(b"hello")]
    os.truncate(path, pcap.MAX_CAPTURE + 1)
    with pytest.raises(OSError, match="is larger than 64 MiB"):
        read_pcap(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="is a FIFO, not a regular file"):
        read_pcap(path)


@given(
    st.binary(max_size=120),
    st.sampled_from([b"", WHOLE[:24], WHOLE[:40], encode_pcap([], LINKTYPE_ETHERNET)]),
)
def test_any_bytes_are_read_or_refused(data, start):
    """Nothing but ValueError is raised, and no packet is empty."""
    try:
        packets = parse_pcap(start + data)
    except ValueError:
        packets = []
    assert all(packet.data and packet.time >= 0 for packet in packets)
