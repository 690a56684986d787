"""Headers, nonces and additional data of whole bursts, against RFC 6347 written out with `struct`."""

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.crypto.backend import MAX_PLAINTEXT, MAX_SEQUENCE, RowStatus
from dtls_emu.crypto.framing import (
    CELL,
    CELLS_SIZE,
    fill_salt,
    frame_rows,
    grow_to_records,
    read_frame,
    read_frames,
    require_openable,
    require_sealable,
    shrink_to_packets,
)
from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.burst import MAX_ROWS, Burst


SALT = bytearray(b"salt")
_CELL = struct.Struct("4s8s4x13s3x")


def cells():
    table = np.zeros(CELLS_SIZE, np.uint8)
    fill_salt(table, SALT)
    return table


def cell(table, row):
    return _CELL.unpack(table[row * CELL : (row + 1) * CELL].tobytes())


def header(content_type, epoch, sequence, length):
    return struct.pack(">BHHIHH", content_type, 0xFEFD, epoch, sequence >> 16, sequence & 0xFFFF, length)


@settings(deadline=None)  # the first call compiles
@given(
    size=st.integers(0, 300),
    count=st.integers(1, MAX_ROWS),
    short_by=st.integers(0, 300),
    epoch=st.integers(0, 0xFFFF),
    first=st.one_of(st.integers(0, MAX_SEQUENCE - MAX_ROWS), st.just(MAX_SEQUENCE - MAX_ROWS + 1)),
    content_type=st.integers(0, 255),
    room=st.integers(0, 9),
)
def test_rows_are_framed_as_the_rfc_says(size, count, short_by, epoch, first, content_type, room):
    """Every field of every row and of its cell; the packets, and the room around, keep their bytes."""
    burst = Burst.allocate(size, count, max(size - short_by, 0), headroom=21 + room, tailroom=16 + room)
    burst.last = max(size - short_by, 0)
    burst.buffer[:] = 0xA5
    table = cells()
    start = burst.offset - 21
    last = burst.last
    frame_rows(burst.buffer, start, burst.stride, size, count, last, epoch, first, content_type, table)
    for row in range(count):
        length = last if row == count - 1 else size
        numbers = struct.pack(">Q", (epoch << 48) | (first + row))
        framed = burst.buffer[row * burst.stride : (row + 1) * burst.stride].tobytes()
        prefix = header(content_type, epoch, first + row, length + 24) + numbers
        assert framed == b"\xa5" * room + prefix + b"\xa5" * (size + 16 + room)
        additional = numbers + struct.pack(">BHH", content_type, 0xFEFD, length)
        assert cell(table, row) == (bytes(SALT), numbers, additional)


@settings(deadline=None)
@given(prefixes=st.lists(st.binary(min_size=21, max_size=21), min_size=1, max_size=MAX_ROWS))
def test_frames_are_read_from_the_wire_bit_by_bit(prefixes):
    """Any header: nothing is taken for granted, so that the tag covers all of it."""
    burst = Burst.from_packets([prefix + bytes(16) for prefix in prefixes])
    table, status = cells(), np.zeros(len(prefixes), np.uint8)
    read_frames(burst.buffer, 0, burst.stride, 37, burst.count, 37, status, table)
    assert not status.any()
    for row, prefix in enumerate(prefixes):
        assert (bytes(SALT), *read_frame(burst.row(row).data)) == cell(table, row)
        length = (int.from_bytes(prefix[11:13], "big") - 24) & 0xFFFF
        additional = prefix[3:11] + prefix[:3] + length.to_bytes(2, "big")
        assert cell(table, row) == (bytes(SALT), prefix[13:21], additional)


def test_rows_that_are_no_records_lose_their_ok():
    """Runts and giants, which would lead a cipher out of its buffer; a judged row keeps its judgement."""
    for size, expected in (
        (36, RowStatus.BAD_DATAGRAM),
        (0, RowStatus.BAD_DATAGRAM),
        (37, RowStatus.OK),
        (37 + MAX_PLAINTEXT, RowStatus.OK),
        (38 + MAX_PLAINTEXT, RowStatus.OVERSIZE),
    ):
        status = np.array([0, RowStatus.LATE, 0], np.uint8)
        buffer = np.zeros(2 * size + 36, np.uint8)
        read_frames(buffer, 0, size, size, 3, min(size, 36), status, cells())
        assert status.tolist() == [expected, RowStatus.LATE, RowStatus.BAD_DATAGRAM]


def test_shapes_go_there_and_back():
    """Records are 37 bytes larger and begin 21 bytes earlier; runts never get a negative size."""
    burst = Burst.allocate(100, 3, 10, headroom=21, tailroom=16)
    grow_to_records(burst)
    assert (burst.offset, burst.size, burst.last) == (0, 137, 47)
    shrink_to_packets(burst)
    assert (burst.offset, burst.size, burst.last) == (21, 100, 10)
    runts = Burst.from_packets([b"x" * 20, b"x" * 5])
    shrink_to_packets(runts)
    assert (runts.size, runts.last) == (0, 0)


def burst_with(**changes):
    burst = Burst.allocate(100, 3, 50, headroom=21, tailroom=16)
    for name, value in changes.items():
        setattr(burst, name, value)
    return burst


@pytest.mark.parametrize(
    ("changes", "first_sequence"),
    [
        ({"offset": 20}, 1),
        ({"stride": 136}, 1),
        ({"size": 101}, 1),
        ({"last": 101}, 1),
        ({"last": -1}, 1),
        ({"count": 0}, 1),
        ({"count": MAX_ROWS + 1}, 1),
        ({"count": 4}, 1),
        ({"buffer": np.zeros(2 * 137 + 21 + 50 + 15, np.uint8)}, 1),
        ({"buffer": np.frombuffer(bytes(3 * 137), np.uint8)}, 1),
        ({}, -1),
        ({}, MAX_SEQUENCE - 1),
        ({}, 2**64),
    ],
)
def test_what_cannot_be_sealed_is_refused(changes, first_sequence):
    """Each of these would have a kernel write outside its rows, or use a number twice."""
    require_sealable(burst_with(), 1)
    with pytest.raises(LocalProtocolError):
        require_sealable(burst_with(**changes), first_sequence)


def test_the_last_row_needs_no_more_room_than_its_own_tag():
    """A wire buffer may end right behind the last record."""
    needed = 2 * 137 + 21 + 50 + 16
    require_sealable(burst_with(buffer=np.zeros(needed, np.uint8)), MAX_SEQUENCE - 2)
    with pytest.raises(LocalProtocolError):
        require_sealable(burst_with(buffer=np.zeros(needed - 1, np.uint8)), MAX_SEQUENCE - 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": -1},
        {"offset": 38},
        {"stride": 120},
        {"last": 101},
        {"last": -1},
        {"count": 0},
        {"count": MAX_ROWS + 1},
        {"buffer": np.zeros(2 * 137 + 21 + 49, np.uint8)},
        {"buffer": np.frombuffer(bytes(3 * 137), np.uint8)},
    ],
)
def test_what_cannot_be_opened_is_refused(changes):
    """A burst whose rows do not lie in its buffer is a caller's mistake, not a bad datagram."""
    require_openable(burst_with(), np.zeros(3, np.uint8))
    with pytest.raises(LocalProtocolError):
        require_openable(burst_with(**changes), np.zeros(MAX_ROWS + 1, np.uint8))


def test_every_row_needs_a_status():
    """Two statuses for three rows."""
    with pytest.raises(LocalProtocolError, match="2 statuses"):
        require_openable(burst_with(), np.zeros(2, np.uint8))


FUZZ = """
import random
import numpy as np
from dtls_emu.crypto.danger_null import DangerNullBackend
from dtls_emu.crypto.self_test import known_association
from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.burst import Burst

draw = random.Random(20261120)
sealer, opener = DangerNullBackend().attach(known_association())
accepted = 0
for _ in range(20_000):
    count, size, offset = draw.randrange(-1, 66), draw.randrange(60), draw.randrange(-2, 40)
    stride = max(0, size + offset + draw.randrange(-20, 40))
    length = max(0, count * stride - draw.randrange(60))
    burst = Burst(
        np.frombuffer(draw.randbytes(length), np.uint8).copy(),
        stride=stride,
        offset=offset,
        size=size,
        count=count,
        last=size - draw.randrange(-3, 60),
    )
    try:
        if draw.random() < 0.5:
            opener.open(burst, np.zeros(max(0, count - draw.randrange(-9, 2)), np.uint8))
        else:
            sealer.seal(burst, draw.randrange(2**48 + 2**46))
        accepted += 1
    except LocalProtocolError:
        pass
print(accepted)
"""


def test_no_kernel_leaves_its_arrays(tmp_path):
    """20,000 random shapes with Numba's bounds checks on (seed 20261120): each is refused or stays inside."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", FUZZ], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 1000
