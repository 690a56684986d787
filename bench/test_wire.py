"""What the wire floor costs, in nanoseconds a packet (``extra_info``): ``pytest bench/test_wire.py --benchmark-enable``.

Bursts are as large as one send takes. Calls go through the Python face that the card uses, so a figure
includes one call from Python for each burst.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dtls_emu.vocabulary import FragmentShape
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.checksum import sum_bytes
from dtls_emu.wire.inspect import Inspection, inspect_frames, inspect_packets
from dtls_emu.wire.merge import merge
from dtls_emu.wire.packet import fragments, tcp_packet, udp_packet
from dtls_emu.wire.record import check_records, commit_records, push_record_header
from dtls_emu.wire.replay import ReplayWindow
from dtls_emu.wire.segment import segment
from dtls_emu.wire.vxlan import encapsulate, encapsulation_header


ENDS = {4: ("10.0.0.4", "10.0.1.5"), 6: ("fd00::4", "fd00::5")}
MSS = 1348
"""Payload of a row at an inner MTU of 1400 with TCP timestamps over IPv4."""

STAMP = b"\x01\x01\x08\x0a" + bytes(8)
SUPER_PAYLOAD = 48 * MSS
"""Payload of a super-packet of 64 KB."""


@pytest.fixture
def per_packet(benchmark):
    """Run a function under the benchmark and note what it costs for each of ``rows``."""

    def run(rows, function, *args, **kwargs):
        result = benchmark(function, *args, **kwargs)
        if benchmark.stats:  # not with --benchmark-disable
            benchmark.extra_info["ns_per_packet"] = round(benchmark.stats.stats.median / rows * 1e9, 1)
            benchmark.extra_info["packets"] = rows
        return result

    return run


def burst_of(packet, **room):
    return Burst.from_packets([packet] * MAX_ROWS, **room)


def super_packet(version, udp=False):
    body = np.random.default_rng(1).integers(0, 256, SUPER_PAYLOAD, dtype=np.uint8).tobytes()
    build = udp_packet if udp else tcp_packet
    options: dict[str, Any] = {} if udp else {"options": STAMP}
    return np.frombuffer(bytearray(build(*ENDS[version], 1, 2, body, **options)), np.uint8)


PACKETS = {
    "udp4-64": udp_packet(*ENDS[4], 1, 2, bytes(36)),
    "udp4-1400": udp_packet(*ENDS[4], 1, 2, bytes(1372)),
    "udp6-1400": udp_packet(*ENDS[6], 1, 2, bytes(1352)),
    "fragment4": fragments(udp_packet(*ENDS[4], 1, 2, bytes(1372)), [FragmentShape.V4_FIRST], size=1396)[0],
    "fragment6": fragments(udp_packet(*ENDS[6], 1, 2, bytes(1372)), [FragmentShape.V6_HOP_BY_HOP], size=1400)[
        0
    ],
}


@pytest.mark.parametrize("name", PACKETS)
def test_inspect(per_packet, name):
    """Fragment test, malformed test and flow key. Bar: under 100 ns a packet."""
    burst = burst_of(PACKETS[name])
    seen = Inspection.of(burst.count)
    assert per_packet(burst.count, inspect_packets, burst.buffer, burst.shape, 7, seen) == 1


def test_inspect_many_flows(per_packet):
    """Every row another flow: as many runs as rows."""
    burst = Burst.from_packets([udp_packet(*ENDS[4], row, 2, bytes(1372)) for row in range(MAX_ROWS)])
    seen = Inspection.of(burst.count)
    assert per_packet(burst.count, inspect_packets, burst.buffer, burst.shape, 7, seen) == MAX_ROWS


def test_inspect_received(per_packet):
    """The same behind VXLAN and Ethernet."""
    header = encapsulation_header(7, bytes(6), bytes(6), 4).tobytes()
    burst = burst_of(header + PACKETS["udp4-1400"], headroom=21, tailroom=16)
    status = np.zeros(burst.count, np.uint8)
    seen = Inspection.of(burst.count)
    assert per_packet(burst.count, inspect_frames, burst.buffer, burst.shape, status, seen) == 1


@pytest.mark.parametrize("size", [64, 1400, 8900])
def test_encapsulate(per_packet, size):
    """The one copy on the way out."""
    burst = burst_of(udp_packet(*ENDS[4], 1, 2, bytes(size - 28)))
    header = encapsulation_header(7, bytes(6), bytes(6), 4)
    arena = np.zeros(burst.count * (size + 59), np.uint8)
    wire = per_packet(burst.count, encapsulate, burst, header, arena, headroom=21, tailroom=16)
    assert wire.count == burst.count


def test_replay_check(per_packet):
    """Record header and replay window of each row, before it is opened."""
    rows = [push_record_header(23, 1, number, 1459) + bytes(1459) for number in range(MAX_ROWS)]
    burst = Burst.from_packets(rows)
    window, status = ReplayWindow(), np.zeros(burst.count, np.uint8)
    shape = burst.buffer, burst.stride, burst.count, burst.size, burst.last
    assert per_packet(burst.count, check_records, *shape, 1, window.state, status) == burst.count


def test_replay_commit(per_packet):
    """Moving the window, after it is opened."""
    rows = [push_record_header(23, 1, number, 1459) + bytes(1459) for number in range(MAX_ROWS)]
    burst = Burst.from_packets(rows)
    window, status = ReplayWindow(), np.zeros(burst.count, np.uint8)

    def commit():
        window.state[0] = 0
        window.state[3:] = 0
        status[:] = 0
        return commit_records(burst.buffer, burst.stride, burst.count, window.state, status)

    assert per_packet(burst.count, commit) == burst.count


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_segment(per_packet, version, udp):
    """A 64 KB super-packet into rows of the wire, with all checksums. Bar: 4 to 8 µs."""
    packet = super_packet(version, udp)
    header = encapsulation_header(7, bytes(6), bytes(6), version)
    arena = np.zeros(100_000, np.uint8)
    [burst] = per_packet(48, segment, packet, MSS, header=header, headroom=21, tailroom=16, buffer=arena)
    assert burst.count == 48


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_merge(per_packet, version, udp):
    """48 received rows into one super-packet, all checksums verified. Bar: about 4 µs."""
    [burst] = segment(super_packet(version, udp), MSS, headroom=43, tailroom=16)
    arena = np.zeros(100_000, np.uint8)
    [group] = per_packet(48, merge, burst, arena, headroom=10)
    assert group.row_count == 48


@pytest.mark.parametrize("length", [1400, 65536])
def test_checksum(per_packet, length):
    """The sum alone."""
    data = np.random.default_rng(1).integers(0, 256, length, dtype=np.uint8)
    assert per_packet(1, sum_bytes, data, 0, length) > 0
