"""What a backend makes of packets: records of the RFC, of every size, with the bytes that NIST has published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dtls_emu.crypto.backend import MAX_PLAINTEXT, MAX_SEQUENCE, RowStatus
from dtls_emu.errors import LocalProtocolError
from dtls_emu.testing.conformance_bench import (
    Association,
    assert_guards,
    associate,
    carry,
    guarded,
    known,
    open_burst,
    payload,
    records,
)
from dtls_emu.testing.nist import DECRYPT_FILE, ENCRYPT_FILE, load_vectors
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.overhead import RECORD_HEADER, RECORD_OVERHEAD, RECORD_PREFIX, TAG
from dtls_emu.wire.protocol import ALERT, HANDSHAKE


if TYPE_CHECKING:
    from dtls_emu.crypto.backend import Backend
    from dtls_emu.testing.conformance_bench import Pair


__all__ = ["TestContract", "TestVectors"]


class TestContract:
    """What every backend does, `null` too."""

    def test_works_on_this_machine(self, named: tuple[str, Backend | str]) -> None:
        """An installed backend can be constructed, which runs its self-test, and says what it is."""
        name, backend = named
        if isinstance(backend, str):
            pytest.skip(f"{name} is not available: {backend}")
        assert backend.name == name
        assert backend.summary
        assert backend.detail

    def test_seals_into_the_record_of_the_rfc(self, backend: Backend) -> None:
        """Header, sizes and place of every row are those of RFC 6347 4.1, with room around them untouched."""
        association = associate(backend, backend)
        packets = [bytes([row]) * 100 for row in range(3)] + [b"short"]
        burst = guarded(packets)
        association.sealer.seal(burst, association.next_sequence)
        assert (burst.offset, burst.size, burst.last, burst.count) == (9, 137, 42, 4)
        for row, (record, packet) in enumerate(zip(burst.rows(), packets, strict=True)):
            sequence = (association.next_sequence + row).to_bytes(6, "big")
            length = (len(packet) + 24).to_bytes(2, "big")
            header = b"\x17\xfe\xfd\x00\x01" + sequence + length
            assert record[:RECORD_HEADER].tobytes() == header
        assert_guards(burst)

    def test_numbers_its_nonces_by_epoch_and_sequence(self, free: Backend) -> None:
        """The explicit nonce is epoch and sequence number (RFC 9325 7.2.1), so none is used twice."""
        sealer, _ = free.attach(known(epoch=7))
        burst = guarded([b"x"] * 3)
        sealer.seal(burst, 0x0102030405FE)
        nonces = [record[RECORD_HEADER:RECORD_PREFIX].tobytes().hex() for record in burst.rows()]
        assert nonces == ["00070102030405fe", "00070102030405ff", "0007010203040600"]

    def test_each_opens_what_the_other_sealed(self, pair: Pair) -> None:
        """Bursts of 1 to 64 rows with a short last row come out as they went in."""
        association = associate(*pair)
        sequence = association.next_sequence
        for count in range(1, MAX_ROWS + 1):
            packets = [bytes([row]) * 200 for row in range(count - 1)] + [b"l" * (1 + 3 * count)]
            assert carry(association, packets, sequence) == packets
            sequence += count

    @pytest.mark.parametrize("size", [1, 15, 16, 17, 64, 1399, 1400, 8900, MAX_PLAINTEXT - 1, MAX_PLAINTEXT])
    def test_carries_every_size_of_packet(self, pair: Pair, size: int) -> None:
        """From one byte to the most that a record holds, 2^14."""
        association = associate(*pair)
        packets = [payload(size), payload(size)[::-1]]
        assert carry(association, packets, association.next_sequence) == packets

    def test_carries_an_empty_packet(self, pair: Pair) -> None:
        """A record without plaintext is allowed (RFC 5246 6.2.1): 37 bytes, authenticated."""
        association = associate(*pair)
        burst = guarded([b""])
        association.sealer.seal(burst, association.next_sequence)
        assert burst.nbytes == RECORD_OVERHEAD
        assert open_burst(association.opener, burst) == [RowStatus.OK]
        assert (burst.size, burst.last) == (0, 0)

    def test_counts_to_the_last_sequence_number(self, free_pair: Pair) -> None:
        """2^48 - 1 is sealed and opened; one more is refused before a byte is written (RFC 6347 4.1)."""
        association = associate(*free_pair)
        packets = [payload(50)] * MAX_ROWS
        for first in (0xFFFFFF - 3, 0xFFFFFFFF - 3, MAX_SEQUENCE - MAX_ROWS + 1):
            assert carry(association, packets, first) == packets
        burst = guarded(packets)
        before = burst.buffer.tobytes()
        with pytest.raises(LocalProtocolError):
            association.sealer.seal(burst, MAX_SEQUENCE - MAX_ROWS + 2)
        assert (burst.buffer.tobytes(), burst.offset) == (before, 30)

    @pytest.mark.parametrize("content_type", [ALERT, HANDSHAKE, 0x63])
    def test_carries_other_content_types(self, pair: Pair, content_type: int) -> None:
        """Alerts and a Finished are sealed like data, and opened; what they mean is not a backend's matter."""
        association = associate(*pair)
        burst = guarded([b"\x01\x00"] * 2)
        association.sealer.seal(burst, association.next_sequence, content_type)
        assert burst.row(0)[0] == content_type
        assert open_burst(association.opener, burst) == [RowStatus.OK] * 2
        assert [row.tobytes() for row in burst.rows()] == [b"\x01\x00"] * 2
        packets = [payload(100)] * 3
        assert carry(association, packets, association.next_sequence + 2) == packets

    def test_leaves_rows_alone_that_are_not_ok(self, backend: Backend) -> None:
        """A row that the record layer has judged keeps its bytes and its status."""
        association = associate(backend, backend)
        burst = guarded([payload(80)] * 4)
        association.sealer.seal(burst, association.next_sequence)
        sealed = [row.tobytes() for row in burst.rows()]
        judged = [RowStatus.OK, RowStatus.REPLAYED, RowStatus.LATE, RowStatus.OK]
        assert open_burst(association.opener, burst, judged) == judged
        packets = [row.tobytes() for row in burst.rows()]
        kept = [record[RECORD_PREFIX:-TAG] for record in sealed]
        assert packets == [payload(80), kept[1], kept[2], payload(80)]

    @pytest.mark.parametrize(
        ("size", "headroom", "tailroom", "sequence"),
        [
            (10, RECORD_PREFIX - 1, TAG, 1),
            (10, RECORD_PREFIX, TAG - 1, 1),
            (10, RECORD_PREFIX, TAG, -1),
            (MAX_PLAINTEXT + 1, RECORD_PREFIX, TAG, 1),
        ],
        ids=["no headroom", "no tailroom", "negative sequence", "too large"],
    )
    def test_refuses_what_cannot_become_a_record(
        self, backend: Backend, size: int, headroom: int, tailroom: int, sequence: int
    ) -> None:
        """A caller's mistake raises and changes nothing."""
        association = associate(backend, backend)
        burst = Burst.from_packets([payload(size)] * 2, headroom=headroom, tailroom=tailroom)
        before = burst.buffer.tobytes()
        with pytest.raises(LocalProtocolError):
            association.sealer.seal(burst, sequence * association.next_sequence)
        assert (burst.buffer.tobytes(), burst.offset, burst.size) == (before, headroom, size)

    def test_is_of_no_use_after_close(self, backend: Backend) -> None:
        """Closed ends raise; closing twice does not."""
        association = associate(backend, backend)
        burst = guarded([payload(10)])
        for end in (association.sealer, association.opener):
            end.close()
            end.close()
        with pytest.raises(LocalProtocolError):
            association.sealer.seal(burst, association.next_sequence)
        with pytest.raises(LocalProtocolError):
            association.opener.open(burst, np.zeros(1, np.uint8))

    def test_keeps_its_own_copy_of_the_keys(self, free: Backend) -> None:
        """The keys that were handed over may be wiped at once."""
        established = known()
        sealer, opener = free.attach(established)
        established.wipe()
        assert carry(Association(sealer, opener, 1), [payload(99)], 1) == [payload(99)]


class TestVectors:
    """NIST CAVP vectors for AES-256-GCM, each as the record that has its key, nonce and text."""

    def test_seals_as_nist_says(self, keyed: Backend) -> None:
        """Ciphertext and tag of all 375 vectors of gcmEncryptExtIV256 with a 96-bit IV and a 128-bit tag."""
        wrong = []
        vectors = load_vectors(ENCRYPT_FILE)
        for vector in vectors:
            sealer, _ = keyed.attach(known(vector.key, vector.salt, vector.epoch))
            burst = guarded([vector.plaintext or b""])
            sealer.seal(burst, vector.sequence)
            if burst.row(0).tobytes() != vector.record:
                wrong.append(vector.label)
        assert (len(vectors), wrong) == (375, [])

    def test_opens_as_nist_says(self, keyed: Backend) -> None:
        """Plaintext, or refusal, of all 375 such vectors of gcmDecrypt256; 191 of them must not verify."""
        wrong = []
        vectors = load_vectors(DECRYPT_FILE)
        for vector in vectors:
            _, opener = keyed.attach(known(vector.key, vector.salt, vector.epoch))
            burst = records([vector.record])
            verified = open_burst(opener, burst) == [RowStatus.OK]
            expected = vector.plaintext if vector.plaintext is not None else bytes(len(vector.ciphertext))
            if verified != (vector.plaintext is not None) or burst.row(0).tobytes() != expected:
                wrong.append(vector.label)
        refused = sum(vector.plaintext is None for vector in vectors)
        assert (len(vectors), refused, wrong) == (375, 191, [])
