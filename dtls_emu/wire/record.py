"""DTLS 1.2 records and handshake headers (RFC 6347 4.1, 4.2.2): kernels for bursts, parsers for the slow path.

::

    type 1 | version 2 | epoch 2 | sequence 6 | length 2 | fragment

A burst on its way in goes through here twice: :func:`check_records` before the opener,
:func:`commit_records` after it.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.wire.memory import kernel, load_u8, load_u16_be, load_u48_be
from dtls_emu.wire.overhead import RECORD_HEADER, RECORD_OVERHEAD
from dtls_emu.wire.protocol import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    DTLS_1_0,
    DTLS_1_2,
    HANDSHAKE,
    HANDSHAKE_HEADER,
    HEARTBEAT,
    MAX_CIPHERTEXT,
    MAX_PLAINTEXT,
    MAX_SEQUENCE,
    RowStatus,
)
from dtls_emu.wire.replay import check, update


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = [
    "ALERT",
    "APPLICATION_DATA",
    "CHANGE_CIPHER_SPEC",
    "DTLS_1_0",
    "DTLS_1_2",
    "HANDSHAKE",
    "HANDSHAKE_HEADER",
    "HEARTBEAT",
    "MAX_CIPHERTEXT",
    "MAX_PLAINTEXT",
    "MAX_SEQUENCE",
    "HandshakeHeader",
    "RecordHeader",
    "RecordView",
    "RowStatus",
    "check_records",
    "commit_records",
    "pull_handshake_header",
    "pull_handshake_messages_untrusted",
    "pull_records_untrusted",
    "push_record_header",
]

_RECORD: Final = Struct(">BHHHIH")  # the sequence number as 16 and 32 bits
_HANDSHAKE: Final = Struct(">BBHHBHBH")  # each 24-bit field as 8 and 16 bits

_OK: Final = int(RowStatus.OK)
_BAD_DATAGRAM: Final = int(RowStatus.BAD_DATAGRAM)
_BAD_VERSION: Final = int(RowStatus.BAD_VERSION)
_OVERSIZE: Final = int(RowStatus.OVERSIZE)
_WRONG_EPOCH: Final = int(RowStatus.WRONG_EPOCH)
_CONTROL: Final = int(RowStatus.CONTROL)


class RecordHeader(NamedTuple):
    """The 13 bytes in front of a record (RFC 6347 4.1).

    Fields:
        content_type: 0x14 to 0x17, or whatever else stood there.
        version: 0xFEFD for DTLS 1.2.
        epoch: 0 before the first ChangeCipherSpec.
        sequence: 48 bits.
        length: bytes that follow the header.
    """

    content_type: int
    version: int
    epoch: int
    sequence: int
    length: int


class RecordView(NamedTuple):
    """One record of a datagram, as a view of it.

    Fields:
        header: its header.
        record: header and fragment.
        trailing: bytes behind it that are no whole record; 0 unless it is the datagram's last.
    """

    header: RecordHeader
    record: memoryview
    trailing: int

    @property
    def fragment(self) -> memoryview:
        """What follows the header: plaintext in epoch 0, else nonce, ciphertext and tag."""
        return self.record[RECORD_HEADER:]


class HandshakeHeader(NamedTuple):
    """The header of a handshake message or of one fragment of it (RFC 6347 4.2.2).

    Fields:
        message_type: 1 ClientHello, 2 ServerHello, 20 Finished, ...
        length: bytes of the whole message.
        message_seq: its number within the handshake.
        fragment_offset, fragment_length: which part of it this is, in bytes.
    """

    message_type: int
    length: int
    message_seq: int
    fragment_offset: int
    fragment_length: int


def pull_records_untrusted(datagram: bytes | bytearray | memoryview) -> list[RecordView]:
    """Split a datagram into records (RFC 6347 4.1.1: several may share one, none spans two).

    Stops at the first record whose length field lies; what follows is the last record's ``trailing``.
    No record at all gives an empty list. Versions and types are not judged here.
    """
    view = memoryview(datagram)
    records: list[RecordView] = []
    start, end = 0, len(view)
    while end - start >= RECORD_HEADER:
        content_type, version, epoch, high, low, length = _RECORD.unpack_from(view, start)
        stop = start + RECORD_HEADER + length
        if stop > end:
            break
        header = RecordHeader(content_type, version, epoch, high << 32 | low, length)
        records.append(RecordView(header, view[start:stop], 0))
        start = stop
    if records and start < end:
        records[-1] = records[-1]._replace(trailing=end - start)
    return records


def push_record_header(
    content_type: int, epoch: int, sequence: int, length: int, version: int = DTLS_1_2
) -> bytes:
    """The 13 bytes of a record header (RFC 6347 4.1)."""
    return _RECORD.pack(content_type, version, epoch, sequence >> 32, sequence & 0xFFFFFFFF, length)


def pull_handshake_header(fragment: bytes | bytearray | memoryview) -> HandshakeHeader | None:
    """The header of the handshake message at the start of a plaintext fragment.

    None when it is too short, or when the fragment it announces does not fit the message or the bytes there.
    """
    if len(fragment) < HANDSHAKE_HEADER:
        return None
    message_type, length_high, length, message_seq, offset_high, offset, part_high, part = (
        _HANDSHAKE.unpack_from(fragment)
    )
    length |= length_high << 16
    offset |= offset_high << 16
    part |= part_high << 16
    if offset + part > length or HANDSHAKE_HEADER + part > len(fragment):
        return None
    return HandshakeHeader(message_type, length, message_seq, offset, part)


def pull_handshake_messages_untrusted(
    fragment: bytes | bytearray | memoryview,
) -> list[tuple[HandshakeHeader, memoryview]]:
    """The handshake messages or fragments of messages in a record's plaintext, each with its header and as a view.

    Empty when one of them is malformed.
    """
    rest = memoryview(fragment)
    messages: list[tuple[HandshakeHeader, memoryview]] = []
    while rest:
        header = pull_handshake_header(rest)
        if header is None:
            return []
        end = HANDSHAKE_HEADER + header.fragment_length
        messages.append((header, rest[:end]))
        rest = rest[end:]
    return messages


@kernel
def check_records(
    buffer: NDArray[np.uint8],
    stride: int,
    count: int,
    size: int,
    last: int,
    epoch: int,
    window_state: NDArray[np.int64],
    status: NDArray[np.uint8],
) -> int:
    """Judge each row, a datagram at offset 0 of it, before anything is opened; the window is not moved.

    ``epoch`` is the one whose keys are in force, ``window_state`` a ``ReplayWindow.state``. Fills ``status``
    with a :class:`RowStatus` for each row.

    Returns:
        How many rows are OK: one whole record of application data of this epoch, not empty, not seen before.
    """
    accepted = 0
    for row in range(count):
        length = last if row == count - 1 else size
        verdict = _check_record(buffer, row * stride, length, epoch, window_state)
        status[row] = verdict
        if verdict == _OK:
            accepted += 1
    return accepted


@kernel
def commit_records(
    buffer: NDArray[np.uint8],
    stride: int,
    count: int,
    window_state: NDArray[np.int64],
    status: NDArray[np.uint8],
) -> int:
    """Move the window for each row that is still OK after opening (its header is still in place).

    A number that came twice in one burst passes the check twice: the second becomes REPLAYED here. So
    does one become LATE that a later number of its own burst has left behind.

    Returns:
        How many rows are OK.
    """
    accepted = 0
    for row in range(count):
        if status[row] == _OK:
            verdict = update(window_state, load_u48_be(buffer, row * stride + 5))
            status[row] = verdict
            if verdict == _OK:
                accepted += 1
    return accepted


@kernel
def _check_record(
    buffer: NDArray[np.uint8], start: int, length: int, epoch: int, window_state: NDArray[np.int64]
) -> int:
    if length < RECORD_HEADER:
        return _BAD_DATAGRAM
    content_type = load_u8(buffer, start)
    if content_type < CHANGE_CIPHER_SPEC or content_type > HEARTBEAT:
        return _BAD_DATAGRAM
    if load_u16_be(buffer, start + 1) != DTLS_1_2:
        return _BAD_VERSION
    announced = load_u16_be(buffer, start + 11)
    if announced > length - RECORD_HEADER:
        return _BAD_DATAGRAM
    if announced > MAX_CIPHERTEXT:
        return _OVERSIZE
    if announced < length - RECORD_HEADER:
        return _CONTROL
    if load_u16_be(buffer, start + 3) != epoch:
        return _WRONG_EPOCH
    if content_type != APPLICATION_DATA:
        return _CONTROL
    if length < RECORD_OVERHEAD:
        return _BAD_DATAGRAM
    if length == RECORD_OVERHEAD:
        return _CONTROL  # empty: for the tunnel, there is nothing to deliver
    return check(window_state, load_u48_be(buffer, start + 5))
