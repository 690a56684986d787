"""What the functions for compiled code do: the same as `seal` and `open`, to the byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dtls_emu.crypto.backend import MAX_PLAINTEXT, MAX_SEQUENCE, RowStatus
from dtls_emu.crypto.native import native_end
from dtls_emu.testing.conformance_bench import (
    MARKER,
    assert_guards,
    associate,
    copied,
    guarded,
    known,
    native_open,
    native_seal,
    open_burst,
    payload,
)
from dtls_emu.wire.burst import MAX_ROWS


if TYPE_CHECKING:
    from dtls_emu.crypto.backend import Backend


__all__ = ["TestNative"]


class TestNative:
    """The functions for compiled code (:mod:`dtls_emu.crypto.native`) do what `seal` and `open` do, to the byte."""

    @pytest.mark.parametrize("size", [1, 15, 16, 17, 64, 1399, 1400, 8900, MAX_PLAINTEXT])
    def test_seals_as_seal_does(self, native: Backend, size: int) -> None:
        """Bursts of 1 to 64 rows, the last one short or not, with room around the rows left as it is."""
        sealer, _ = native.attach(known(epoch=7))
        for count in (1, 2, 3, 63, MAX_ROWS):
            for last in {1, (size + 1) // 2, size}:
                packets = [payload(size)] * (count - 1) + [payload(last)]
                expected, burst = guarded(packets), guarded(packets)
                sealer.seal(expected, 0x0102030405FE)
                native_seal(sealer, burst, 7, 0x0102030405FE)
                assert burst.buffer.tobytes() == expected.buffer.tobytes()

    @pytest.mark.parametrize("first", [0, 1, 0xFFFFFF - 3, 0xFFFFFFFF - 3, MAX_SEQUENCE - 7])
    @pytest.mark.parametrize("epoch", [1, 0xFFFF])
    def test_seals_under_the_number_and_epoch_that_it_is_told(
        self, native: Backend, first: int, epoch: int
    ) -> None:
        """Whatever was sealed before: there is no count of its own."""
        sealer, _ = native.attach(known(epoch=epoch))
        packets = [payload(100)] * 8
        expected = guarded(packets)
        sealer.seal(expected, first)
        for _ in range(2):
            burst = guarded(packets)
            native_seal(sealer, burst, epoch, first)
            assert burst.buffer.tobytes() == expected.buffer.tobytes()

    def test_opens_as_open_does(self, native: Backend) -> None:
        """Good rows, forged rows and rows that the record layer has judged, in bursts of 1 to 64."""
        association = associate(native, native)
        sequence = association.next_sequence
        for count in range(1, MAX_ROWS + 1):
            expected = guarded([payload(300)] * (count - 1) + [payload(1 + 4 * count)])
            association.sealer.seal(expected, sequence)
            sequence += count
            for row in range(0, count, 3):
                expected.row(row)[-1] ^= 0x80
            judged = [RowStatus.REPLAYED if row % 5 == 1 else RowStatus.OK for row in range(count)]
            burst = copied(expected)
            status = native_open(association.opener, burst, judged)
            assert status == open_burst(association.opener, expected, judged)
            assert burst.buffer.tobytes() == expected.buffer.tobytes()

    def test_leaves_no_plaintext_of_a_forgery(self, native: Backend) -> None:
        """Row by row: the good ones beside it are opened."""
        association = associate(native, native)
        packets = [MARKER * 4] * 9 + [MARKER]
        burst = guarded(packets)
        association.sealer.seal(burst, association.next_sequence)
        bad = {0, 4, 9}
        for row in bad:
            burst.row(row)[-1] ^= 1
        status = native_open(association.opener, burst)
        assert {row for row, known in enumerate(status) if known == RowStatus.AUTH_FAILED} == bad
        assert [row.tobytes() for row in burst.rows()] == [
            bytes(len(packet)) if row in bad else packet for row, packet in enumerate(packets)
        ]
        assert_guards(burst)

    def test_takes_turns_with_seal_and_open(self, native: Backend) -> None:
        """One direction has one key, whoever calls: each opens what the other has sealed."""
        association = associate(native, native)
        packets = [payload(200)] * 3 + [payload(50)]
        for turn in range(4):
            burst = guarded(packets)
            first = association.next_sequence + turn * len(packets)
            if turn % 2:
                native_seal(association.sealer, burst, 1, first)
            else:
                association.sealer.seal(burst, first)
            if turn in {1, 2}:
                assert open_burst(association.opener, burst) == [RowStatus.OK] * 4
            else:
                assert native_open(association.opener, burst) == [RowStatus.OK] * 4
            assert [row.tobytes() for row in burst.rows()] == packets

    def test_does_no_harm_after_close(self, native: Backend) -> None:
        """A call that comes too late leaves nothing that could be sent, and opens nothing."""
        association = associate(native, native)
        late, record = guarded([MARKER * 3] * 3), guarded([MARKER * 3] * 3)
        association.sealer.seal(record, association.next_sequence)
        sealed = record.buffer.tobytes()
        ends = association.sealer, association.opener
        addresses = [native_end(end) for end in ends]
        for end in ends:
            end.close()
            end.close()
        assert [native_end(end) for end in ends] == addresses
        native_seal(association.sealer, late, 1, association.next_sequence + 3)
        assert MARKER not in late.buffer.tobytes()
        assert RowStatus.OK not in native_open(association.opener, record)
        if native.protects:
            assert record.buffer.tobytes() == sealed or MARKER not in record.buffer.tobytes()
