"""DTLS records: splitting datagrams, judging bursts, moving the window only after opening."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_HEADER, RECORD_OVERHEAD
from dtls_emu.wire.protocol import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    DTLS_1_0,
    DTLS_1_2,
    HANDSHAKE,
    HEARTBEAT,
    MAX_CIPHERTEXT,
    MAX_SEQUENCE,
    RowStatus,
)
from dtls_emu.wire.record import (
    HandshakeHeader,
    RecordHeader,
    check_records,
    commit_records,
    pull_handshake_header,
    pull_records_untrusted,
    push_record_header,
)
from dtls_emu.wire.replay import ReplayWindow


def record(sequence=5, *, epoch=1, content_type=APPLICATION_DATA, length=100, version=DTLS_1_2):
    return push_record_header(content_type, epoch, sequence, length, version) + bytes(length)


def judge(datagrams, window=None, epoch=1):
    """Statuses of datagrams of any sizes, one burst each, and how many were said to be OK."""
    window = window or ReplayWindow()
    statuses = []
    for datagram in datagrams:
        array = np.frombuffer(bytearray(datagram) or bytearray(1), np.uint8)
        status = np.full(1, 99, np.uint8)
        length = len(datagram)
        accepted = check_records(array, length, 1, length, length, epoch, window.state, status)
        assert accepted == (status[0] == RowStatus.OK)
        statuses.append(RowStatus(int(status[0])))
    return statuses


def test_header_is_golden():
    """RFC 6347 4.1, byte for byte, with the largest sequence number."""
    header = push_record_header(APPLICATION_DATA, 1, MAX_SEQUENCE - 1, 0x1234)
    assert header == bytes.fromhex("17 fefd 0001 fffffffffffe 1234")


def test_two_records_and_garbage_are_told_apart():
    """Several records may share a datagram (RFC 6347 4.1.1); what follows a lying length is counted."""
    first = record(7, epoch=0, content_type=HANDSHAKE, length=3, version=DTLS_1_0)
    second = record(8, epoch=1, length=40)
    datagram = first + second + b"\x17\xfe\xfd garbage that ends too soon"
    views = pull_records_untrusted(datagram)
    assert [view.header for view in views] == [
        RecordHeader(HANDSHAKE, DTLS_1_0, 0, 7, 3),
        RecordHeader(APPLICATION_DATA, DTLS_1_2, 1, 8, 40),
    ]
    assert [bytes(view.record) for view in views] == [first, second]
    assert [bytes(view.fragment) for view in views] == [bytes(3), bytes(40)]
    assert [view.trailing for view in views] == [0, len(datagram) - len(first) - len(second)]


@given(
    data=st.binary(max_size=100)
    | st.lists(st.binary(max_size=30), max_size=4).map(
        lambda parts: b"".join(push_record_header(HANDSHAKE, 0, 1, len(part)) + part for part in parts)
    )
)
def test_any_datagram_is_split_without_loss(data):
    """The parser never raises, and records and trailing bytes are the datagram."""
    views = pull_records_untrusted(data)
    whole = b"".join(bytes(view.record) for view in views)
    assert data.startswith(whole)
    if views:
        assert len(whole) + views[-1].trailing == len(data)
        assert all(view.header.length == len(view.fragment) for view in views)
        assert all(view.trailing == 0 for view in views[:-1])


def test_handshake_header_is_read():
    """RFC 6347 4.2.2: 24-bit length, 16-bit number, 24-bit offset and length of the fragment."""
    fragment = bytes.fromhex("0b 012345 0006 010000 000003") + b"abc"
    assert pull_handshake_header(fragment) == HandshakeHeader(11, 0x012345, 6, 0x010000, 3)


@pytest.mark.parametrize(
    "fragment",
    [
        bytes.fromhex("0b 000003 0006 000000 0000"),
        bytes.fromhex("0b 000003 0006 000000 000003") + b"ab",
        bytes.fromhex("0b 000003 0006 000001 000003") + b"abc",
        b"",
    ],
    ids=["short", "announces more than there is", "reaches past the message", "empty"],
)
def test_lying_handshake_headers_are_refused(fragment):
    """None instead of a header that would have somebody read past the end."""
    assert pull_handshake_header(fragment) is None


@given(data=st.binary(max_size=40))
def test_any_handshake_fragment_is_read_or_refused(data):
    """The parser never raises; what it accepts is inside message and fragment."""
    header = pull_handshake_header(data)
    if header is not None:
        assert header.fragment_offset + header.fragment_length <= header.length
        assert header.fragment_length <= len(data) - 12


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (record(), RowStatus.OK),
        (record(length=RECORD_OVERHEAD - RECORD_HEADER), RowStatus.CONTROL),
        (record(length=RECORD_OVERHEAD - RECORD_HEADER + 1), RowStatus.OK),
        (record(length=RECORD_OVERHEAD - RECORD_HEADER - 1), RowStatus.BAD_DATAGRAM),
        (record(length=MAX_CIPHERTEXT), RowStatus.OK),
        (record(length=MAX_CIPHERTEXT + 1), RowStatus.OVERSIZE),
        (record(sequence=MAX_SEQUENCE), RowStatus.OK),
        (b"", RowStatus.BAD_DATAGRAM),
        (record()[:12], RowStatus.BAD_DATAGRAM),
        (record()[:-1], RowStatus.BAD_DATAGRAM),
        (record() + b"x", RowStatus.CONTROL),
        (record(epoch=0, content_type=HANDSHAKE) + record(), RowStatus.CONTROL),
        (record(content_type=ALERT), RowStatus.CONTROL),
        (record(content_type=HANDSHAKE), RowStatus.CONTROL),
        (record(content_type=CHANGE_CIPHER_SPEC, length=1), RowStatus.CONTROL),
        (record(content_type=HEARTBEAT), RowStatus.CONTROL),
        (record(content_type=CHANGE_CIPHER_SPEC - 1), RowStatus.BAD_DATAGRAM),
        (record(content_type=HEARTBEAT + 1), RowStatus.BAD_DATAGRAM),
        (record(version=DTLS_1_0), RowStatus.BAD_VERSION),
        (record(version=0x0303), RowStatus.BAD_VERSION),
        (record(epoch=0), RowStatus.WRONG_EPOCH),
        (record(epoch=2), RowStatus.WRONG_EPOCH),
        (record(epoch=0, content_type=HANDSHAKE), RowStatus.WRONG_EPOCH),
    ],
)
def test_each_datagram_gets_its_status(datagram, expected):
    """One row of every kind, hostile ones first of all."""
    assert judge([datagram]) == [expected]


def test_check_does_not_move_the_window_and_commit_does():
    """A record that was checked but did not verify may come again; one that verified may not."""
    window = ReplayWindow()
    datagrams = [record(sequence) for sequence in (3, 4, 5)]
    burst = Burst.from_packets(datagrams)
    status = np.zeros(3, np.uint8)
    shape = burst.stride, burst.count, burst.size, burst.last
    for _ in range(2):
        assert check_records(burst.buffer, *shape, 1, window.state, status) == 3
    assert window.highest == -1

    status[1] = RowStatus.AUTH_FAILED
    assert commit_records(burst.buffer, burst.stride, 3, window.state, status) == 2
    assert window.highest == 5
    assert check_records(burst.buffer, *shape, 1, window.state, status) == 1
    assert status.tolist() == [RowStatus.REPLAYED, RowStatus.OK, RowStatus.REPLAYED]


def test_a_number_twice_in_one_burst_is_delivered_once():
    """Both pass the check, since neither has been opened yet; the second is caught on commit."""
    window = ReplayWindow()
    burst = Burst.from_packets([record(9), record(9), record(10)])
    status = np.zeros(3, np.uint8)
    shape = burst.stride, burst.count, burst.size, burst.last
    assert check_records(burst.buffer, *shape, 1, window.state, status) == 3
    assert commit_records(burst.buffer, burst.stride, 3, window.state, status) == 2
    assert status.tolist() == [RowStatus.OK, RowStatus.REPLAYED, RowStatus.OK]


def test_a_number_left_behind_by_its_own_burst_is_late():
    """The window moves row by row: what a later number has left behind is not taken any more."""
    window = ReplayWindow(64)
    burst = Burst.from_packets([record(100_000), record(1)])
    status = np.zeros(2, np.uint8)
    assert check_records(burst.buffer, burst.stride, 2, burst.size, burst.last, 1, window.state, status) == 2
    assert commit_records(burst.buffer, burst.stride, 2, window.state, status) == 1
    assert status.tolist() == [RowStatus.OK, RowStatus.LATE]


@settings(deadline=None)
@given(
    data=st.binary(max_size=60),
    mutate=st.lists(st.tuples(st.integers(0, 49), st.integers(0, 255)), max_size=3),
)
def test_an_ok_row_is_one_whole_protected_record(data, mutate):
    """Whatever the bytes, OK means what an opener relies on."""
    mutated = bytearray(record(length=37))
    for position, value in mutate:
        mutated[position] = value
    for datagram in (data, bytes(mutated)):
        [status] = judge([datagram])
        if status is RowStatus.OK:
            [view] = pull_records_untrusted(datagram)
            assert view.trailing == 0
            assert view.header[:3] == (APPLICATION_DATA, DTLS_1_2, 1)
            assert len(datagram) >= RECORD_OVERHEAD
