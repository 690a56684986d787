"""The bench of the conformance suite: associations and handshakes in memory, guarded bursts, calls by address."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pytest
from OpenSSL import SSL

from dtls_emu.crypto.backend import (
    MAX_PLAINTEXT,
    Backend,
    Established,
    Opener,
    RowStatus,
    Sealer,
    TrafficKeys,
)
from dtls_emu.crypto.loopback import LoopbackEnd, loopback_handshake
from dtls_emu.crypto.native import native_end
from dtls_emu.testing.reference import open_by_reference, seal_by_reference
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX, TAG
from dtls_emu.wire.protocol import HANDSHAKE


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


__all__ = [
    "GUARD",
    "MARKER",
    "Association",
    "Pair",
    "assert_guards",
    "associate",
    "carry",
    "copied",
    "guarded",
    "handshake",
    "known",
    "native_open",
    "native_seal",
    "open_burst",
    "payload",
    "peer_records",
    "records",
    "repeat_final_flight",
    "sealed",
]

MARKER: Final = b"plaintext that must not be left "

GUARD: Final = 0xA5
"""Fills the room around a record; a backend that writes there writes into other packets."""


class Pair(NamedTuple):
    """Who seals, and who opens it."""

    sealing: Backend
    opening: Backend


class Association(NamedTuple):
    """One direction of an association between two backends."""

    sealer: Sealer
    opener: Opener
    next_sequence: int


def payload(size: int) -> bytes:
    """A packet whose every byte differs from its neighbours."""
    return bytes((7 * index + 3) & 0xFF for index in range(size))


def known(key: bytes = bytes(range(32)), salt: bytes = b"salt", epoch: int = 1) -> Established:
    """An association whose two directions have the same, given keys."""
    write, read = (TrafficKeys(bytearray(key), bytearray(salt)) for _ in range(2))
    return Established(write, read, epoch=epoch)


def handshake(*, is_client: bool) -> tuple[LoopbackEnd, LoopbackEnd]:
    """Shake hands; this end first, then the peer."""
    client, server = loopback_handshake()
    return (client, server) if is_client else (server, client)


def associate(sealing: Backend, opening: Backend) -> Association:
    """Shake hands, and attach one backend to the client and one to the server."""
    client, server = loopback_handshake()
    source = client.established(with_connection=sealing.needs_connection)
    sealer, _ = sealing.attach(source)
    _, opener = opening.attach(server.established(with_connection=opening.needs_connection))
    return Association(sealer, opener, source.next_sequence)


def guarded(packets: Sequence[bytes]) -> Burst:
    """A burst with 9 bytes more in front and 5 more behind than a record needs, all of them guards."""
    burst = Burst.allocate(
        len(packets[0]), len(packets), len(packets[-1]), headroom=RECORD_PREFIX + 9, tailroom=TAG + 5
    )
    burst.buffer[:] = GUARD
    for row, packet in zip(burst.rows(), packets, strict=True):
        row[:] = np.frombuffer(packet, np.uint8)
    return burst


def assert_guards(burst: Burst) -> None:
    """Nothing was written outside the rows' own records, opened or sealed."""
    opened = burst.offset - 9  # 0 for records, 21 for packets
    for index in range(burst.count):
        start = index * burst.stride
        row = burst.buffer[start : start + burst.stride]
        end = burst.offset + len(burst.row(index)) + (TAG if opened else 0)
        assert (row[:9] == GUARD).all()
        assert (row[end:] == GUARD).all()


def records(datagrams: Sequence[bytes]) -> Burst:
    """A burst of records as it is received: rows touch."""
    return Burst.from_packets(datagrams)


def open_burst(opener: Opener, burst: Burst, judged: Iterable[RowStatus] = ()) -> list[int]:
    """Open, and return the statuses."""
    status = np.zeros(burst.count, np.uint8)
    for row, value in enumerate(judged):
        status[row] = value
    opener.open(burst, status)
    return [int(value) for value in status]


def native_seal(sealer: Sealer, burst: Burst, epoch: int, first_sequence: int) -> None:
    """Seal by address, as compiled code does."""
    end = native_end(sealer)
    assert end is not None
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 6)(end.function)
    rows = burst.buffer.ctypes.data + burst.offset - RECORD_PREFIX
    function(end.state, rows, burst.stride, burst.size, burst.count, burst.last, epoch, first_sequence)
    burst.offset -= RECORD_PREFIX
    burst.size += RECORD_OVERHEAD
    burst.last += RECORD_OVERHEAD


def native_open(opener: Opener, burst: Burst, judged: Iterable[RowStatus] = ()) -> list[int]:
    """Likewise open, and return the statuses."""
    end = native_end(opener)
    assert end is not None
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 4, ctypes.c_void_p)(
        end.function
    )
    status = np.zeros(burst.count, np.uint8)
    for row, value in enumerate(judged):
        status[row] = value
    rows = burst.buffer.ctypes.data + burst.offset
    function(end.state, rows, burst.stride, burst.size, burst.count, burst.last, status.ctypes.data)
    burst.offset += RECORD_PREFIX
    burst.size = max(burst.size - RECORD_OVERHEAD, 0)
    burst.last = max(burst.last - RECORD_OVERHEAD, 0)
    return [int(value) for value in status]


def copied(burst: Burst) -> Burst:
    """The same burst in memory of its own."""
    copy = burst.slice(0, burst.count)
    copy.buffer = burst.buffer.copy()
    return copy


def sealed(association: Association, packets: Sequence[bytes], sequence: int) -> list[bytes]:
    """Seal, and return the records."""
    burst = guarded(packets)
    association.sealer.seal(burst, sequence)
    return [row.tobytes() for row in burst.rows()]


def carry(association: Association, packets: Sequence[bytes], sequence: int) -> list[bytes]:
    """Seal and open, with the guards checked after either."""
    burst = guarded(packets)
    association.sealer.seal(burst, sequence)
    assert_guards(burst)
    assert open_burst(association.opener, burst) == [RowStatus.OK] * len(packets)
    assert_guards(burst)
    return [row.tobytes() for row in burst.rows()]


def peer_records(peer: LoopbackEnd, packets: Iterable[bytes]) -> list[bytes]:
    """What OpenSSL makes of the packets."""
    made = []
    for packet in packets:
        peer.connection.send(packet)
        made.append(peer.connection.bio_read(MAX_PLAINTEXT + RECORD_OVERHEAD))
    return made


def repeat_final_flight(client: LoopbackEnd, server: LoopbackEnd) -> None:
    """Make the server believe that its Finished was lost: the client's comes again, as a record of its own."""
    keys = client.established().write
    finished = open_by_reference(keys, client.protected[0])
    assert finished is not None
    server.connection.bio_write(seal_by_reference(keys, finished, 1, content_type=HANDSHAKE))
    with pytest.raises(SSL.WantReadError):  # no data for us, but an answer for the client
        server.connection.recv(1)
    client.connection.bio_write(server.read_output())
    with pytest.raises(SSL.WantReadError):
        client.connection.recv(1)
