"""Throw damaged packets at every kernel with bounds checks on: ``python fuzz_kernels.py SEED ROUNDS``.

Run by test_fuzz.py with ``NUMBA_BOUNDSCHECK=1`` and a cache of its own. Every array has exactly the size that
the kernel's contract asks for, so one byte read or written outside raises. Ends with status 1 and the seed
of the failing round.
"""

import random
import sys
from itertools import pairwise

import numpy as np
from numba.core import config

from dtls_emu.wire.burst import Burst
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.ecn_kernels import mark_rows
from dtls_emu.wire.headers import super_packet_layout
from dtls_emu.wire.inspect import Inspection, PacketClass, inspect_frames, inspect_packets
from dtls_emu.wire.memory import copy_bytes, kernel, load_u32_be
from dtls_emu.wire.merge import GROUP_WORDS, merge, merge_rows
from dtls_emu.wire.overhead import ENCAPSULATION
from dtls_emu.wire.packet import fragments, icmp_echo, tcp_packet, udp_packet
from dtls_emu.wire.record import check_records, commit_records, push_record_header
from dtls_emu.wire.replay import ReplayWindow
from dtls_emu.wire.segment import segment, segment_packet
from dtls_emu.wire.vxlan import encapsulate_rows, encapsulation_header


A4, B4, A6, B6 = "10.0.0.4", "10.0.1.5", "fd00::4", "fd00::5"
STAMP = b"\x01\x01\x08\x0a" + bytes(8)
EXTENSIONS = (0, 43, 44, 50, 51, 59, 60, 135, 139, 140, 6, 17, 255)


@kernel
def read_past(array, offset):
    return load_u32_be(array, offset)


@kernel
def copy_past(array, n):
    copy_bytes(array, 0, array, 1, n)


def main(seed, rounds):
    if not getattr(config, "BOUNDSCHECK", False):
        sys.exit("NUMBA_BOUNDSCHECK is not set: nothing would be checked")
    prove_that_checks_are_on()
    for number in range(rounds):
        run = ROUNDS[number % len(ROUNDS)]
        try:
            run(random.Random(f"{seed}-{number}"))
        except Exception:
            print(f"failed: {run.__name__} with seed {seed}-{number}", file=sys.stderr)
            raise
    print(f"seed {seed}: {rounds} rounds")


def prove_that_checks_are_on():
    """An intrinsic that leaves its array by one byte must raise, or this program proves nothing."""
    array = np.zeros(8, np.uint8)
    read_past(array, 4)
    copy_past(array, 7)
    for bad in (lambda: read_past(array, 5), lambda: read_past(array, -1), lambda: copy_past(array, 8)):
        try:
            bad()
        except IndexError:
            continue
        sys.exit("a read outside an array went unnoticed")


def seeds(rng):
    """Whole packets and fragments of both IP versions, TCP, UDP and ICMP, with options and extensions."""
    body = rng.randbytes(rng.choice([0, 1, 8, 64, 199]))
    udp = udp_packet(A4, B4, 1, 2, body, identification=rng.randrange(65536))
    udp6 = udp_packet(A6, B6, 1, 2, body)
    chain = bytes([rng.choice(EXTENSIONS), rng.randrange(4)]) + bytes(6)
    chained = bytearray(udp6[:40] + chain * rng.randrange(1, 4) + udp6[40:])
    chained[6] = rng.choice(EXTENSIONS)
    chained[4:6] = (len(chained) - 40).to_bytes(2)
    routed = bytearray(tcp_packet(A6, B6, 1, 2, body))
    routed[4:6] = (len(routed) - 16).to_bytes(2)
    routed[6] = 43
    routed[40:40] = bytes((6, 2, 0, 1)) + bytes(20)
    options = rng.choice(
        [b"\x83\x07\x04" + bytes(5), b"\x01\x01\x89\x03", b"\x44\x04\x05\x00", rng.randbytes(8)]
    )
    with_options = bytearray(tcp_packet(A4, B4, 1, 2, body))
    with_options[0] += len(options) // 4
    with_options[2:4] = (len(with_options) + len(options)).to_bytes(2)
    with_options[20:20] = options
    return [
        udp,
        udp6,
        bytes(chained),
        bytes(routed),
        bytes(with_options),
        tcp_packet(A4, B4, 1, 2, body, options=STAMP, flags=rng.randrange(256)),
        tcp_packet(A6, B6, 1, 2, body, flags=rng.choice([0x10, 0x18, 0x90])),
        icmp_echo(A4, B4, 1, 2, body),
        *fragments(udp, size=64),
        *fragments(udp6, size=64),
    ]


def damage(rng, data):
    """A few bytes changed, mostly in the headers, and perhaps cut or continued, with or without saying so."""
    data = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        if data:
            at = rng.randrange(min(len(data), rng.choice([8, 60, 400])))
            data[at] = rng.choice([0, 0xFF, rng.randrange(256), data[at] ^ 1 << rng.randrange(8)])
    if rng.random() < 0.3:
        del data[rng.randrange(min(len(data), rng.choice([72, 400])) + 1) :]
    data += rng.randbytes(rng.choice([0, 0, 0, 1, 7]))
    if rng.random() < 0.5:  # past the check of the packet's length, to those of what is inside
        if len(data) >= 20 and data[0] >> 4 == 4:
            data[2:4] = len(data).to_bytes(2)
        elif len(data) >= 40:
            data[4:6] = (len(data) - 40).to_bytes(2)
    return bytes(data)


def burst_of(rng, packets):
    """Rows of one size but the last, cut or filled up, with random room around them and none behind."""
    size = max(map(len, packets)) or 1
    last = rng.choice([size, size, rng.randrange(1, size + 1)])
    headroom, tailroom = rng.choice([(0, 0), (21, 16), (1, 3)])
    burst = Burst.allocate(size, len(packets), last, headroom=headroom, tailroom=tailroom)
    burst.buffer[:] = 0xFF
    for index, packet in enumerate(packets):
        row = burst.row(index)
        row[:] = np.frombuffer(packet.ljust(len(row), b"\xff")[: len(row)], np.uint8)
    end = (burst.count - 1) * burst.stride + burst.offset + burst.last
    burst.buffer = burst.buffer[:end].copy()
    return burst


def inspection(rng):
    # Mostly one row: with more, a cut one is filled up to the size of the others and lies about its length.
    packets = [damage(rng, rng.choice(seeds(rng))) for _ in range(rng.choice([1, 1, 1, 2, 8]))]
    header = encapsulation_header(rng.randrange(2**24), bytes(6), bytes(6), rng.choice([4, 6])).tobytes()
    for rows, received in ((packets, False), ([damage(rng, header) + packet for packet in packets], True)):
        burst = burst_of(rng, rows)
        count = burst.count
        seen = Inspection.of(count)
        classes, runs = seen.classes, seen.runs
        if received:
            status = np.array([rng.choice([0, 0, 0, 1]) for _ in range(count)], np.uint8)
            found = inspect_frames(burst.buffer, burst.shape, status, seen)
        else:
            found = inspect_packets(burst.buffer, burst.shape, 7, seen)
        edges = runs[: found + 1].tolist()
        if edges != sorted(set(edges)) or edges[0] != 0 or edges[-1] != count:
            raise AssertionError(f"runs {edges} of {count} rows")
        for start, stop in pairwise(edges):
            if classes[start] not in {PacketClass.MALFORMED, PacketClass.NONE}:
                offset = burst.offset + ENCAPSULATION * received
                mark_rows(
                    burst.buffer, burst.stride, start * burst.stride + offset, stop - start, rng.randrange(4)
                )


def records(rng):
    rows = []
    for _ in range(rng.randrange(1, 9)):
        length = rng.choice([0, 3, 24, 24, 100])
        sequence = rng.choice([rng.randrange(200), rng.randrange(2**48), 2**48 - 1])
        header = push_record_header(rng.choice([23, 23, 22]), rng.choice([1, 1, 0]), sequence, length)
        rows.append(damage(rng, header + rng.randbytes(length)))
    burst = burst_of(rng, rows)
    if burst.offset:  # datagrams come without headroom
        burst = Burst.from_datagrams(burst.buffer, burst.stride)
    window = ReplayWindow(rng.choice([64, 128, 1024]))
    for _ in range(2):
        status = np.zeros(burst.count, np.uint8)
        numbers = burst.stride, burst.count
        check_records(burst.buffer, *numbers, burst.size, burst.last, 1, window.state, status)
        commit_records(burst.buffer, *numbers, window.state, status)


def encapsulation(rng):
    burst = burst_of(rng, [rng.randbytes(rng.randrange(1, 100)) for _ in range(rng.randrange(1, 9))])
    size = 22 + burst.size
    stride = 21 + size + 16
    destination = np.zeros((burst.count - 1) * stride + 21 + 22 + burst.last, np.uint8)
    encapsulate_rows(burst.buffer, burst.shape, destination, stride, 21, np.zeros(22, np.uint8))


def segmentation(rng):
    packet = np.frombuffer(bytearray(damage(rng, rng.choice(seeds(rng)))), np.uint8)
    mss = rng.choice([-1, 0, 1, 7, 64, 200, 70_000])
    stride = rng.choice([0, 20, 60, 100, 300])
    destination = np.zeros(rng.choice([0, stride, stride * 3, stride * 10]), np.uint8)
    header = np.zeros(rng.choice([0, 22]), np.uint8)
    length = rng.choice([len(packet), rng.randrange(-1, 300)])
    segment_packet(packet, length, mss, destination, stride, rng.choice([-1, 0, 21]), header)
    places = rng.choice([20, 24, 28, 40, 48, 64]), rng.choice([6, 16])
    layout = super_packet_layout(packet, 0, len(packet), rng.random() < 0.9, *places)
    if layout != 0:
        segment_packet(packet, len(packet), mss, destination, stride, 0, header, layout)
    for cut in segment(packet, mss, headroom=1):
        for row in cut.rows():
            internet_checksum(row.tobytes())


def merging(rng):
    source, destination = rng.choice([(A4, B4), (A6, B6)])
    size = rng.choice([1, 8, 50])
    rows = []
    for index in range(rng.randrange(1, 9)):
        body = rng.randbytes(size)
        kind = rng.choice([0, 0, 0, 1])
        whole = (
            udp_packet(source, destination, 1, 2, body, identification=index)
            if kind
            else tcp_packet(
                source, destination, 1, 2, body, sequence=index * size, identification=index, flags=0x10
            )
        )
        rows.append(damage(rng, whole) if rng.random() < 0.2 else whole)
    burst = burst_of(rng, rows)
    headroom = rng.choice([0, 10])
    room = np.zeros(burst.nbytes + burst.count * headroom, np.uint8)
    groups = np.zeros((burst.count, GROUP_WORDS), np.int64)
    shape = burst.buffer, burst.stride, burst.offset, burst.size, burst.count, burst.last
    found = merge_rows(*shape, room, headroom, groups)
    if groups[:found, 1].sum() != burst.count:
        raise AssertionError("a row was lost")
    merge(burst)


ROUNDS = [inspection, records, encapsulation, segmentation, merging]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
