"""The conformance suite for cipher backends. It is the contract of :mod:`dtls_emu.crypto.backend`, executable.

::

    pytest --dtls-emu-backend my-card --pyargs dtls_emu.testing.conformance

proves the named backend, alone and against every other that works on this machine; without the option, all
that are installed. Needs pytest, and PyPI `cryptography-vectors` for the NIST vectors. Tests are handed what a
backend claims to be (does it protect, does it need the connection, has it functions for compiled code); what it
does not claim is not asked.

Keys come from a real handshake in memory, but for the vectors. Payloads are fixed, so a failure repeats.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dtls_emu.crypto.backend import (
    APPLICATION_DATA,
    MAX_PLAINTEXT,
    MAX_SEQUENCE,
    Backend,
    RowStatus,
)
from dtls_emu.crypto.loopback import loopback_handshake
from dtls_emu.crypto.native import has_native_ends, native_end
from dtls_emu.crypto.registry import available
from dtls_emu.errors import LocalProtocolError
from dtls_emu.testing.conformance_bench import (
    Association,
    assert_guards,
    associate,
    carry,
    copied,
    guarded,
    handshake,
    known,
    native_open,
    native_seal,
    open_burst,
    payload,
    peer_records,
    records,
    repeat_final_flight,
    sealed,
)
from dtls_emu.testing.nist import DECRYPT_FILE, ENCRYPT_FILE, load_vectors
from dtls_emu.testing.pytest_plugin import BACKEND_OPTION, NO_BACKEND
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.overhead import RECORD_HEADER, RECORD_OVERHEAD, RECORD_PREFIX, TAG
from dtls_emu.wire.protocol import ALERT, HANDSHAKE


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["TestContract", "TestForgeries", "TestNative", "TestPeers", "TestVectors", "pytest_generate_tests"]

MARKER: Final = b"plaintext that must not be left "


class Pair(NamedTuple):
    """Who seals, and who opens it."""

    sealing: Backend
    opening: Backend


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Hand each test the backends that it is about, by the name of its argument."""
    chosen: list[str] = metafunc.config.getoption(BACKEND_OPTION, [])
    here = {name: found for name, found in _found() if not isinstance(found, str)}
    for name in chosen:
        if name not in here:
            raise pytest.UsageError(dict(_found()).get(name, f"no backend is called {name!r}"))
    mine = [backend for name, backend in here.items() if not chosen or name in chosen]
    protecting = [backend for backend in mine if backend.protects]
    pairs = [
        Pair(sealing, opening)
        for sealing in here.values()
        for opening in here.values()
        if (sealing in mine or opening in mine) and sealing.protects == opening.protects
    ]
    _parametrize(metafunc, "named", [pair for pair in _found() if not chosen or pair[0] in chosen])
    _parametrize(metafunc, "backend", mine)
    _parametrize(metafunc, "protecting", protecting)
    _parametrize(metafunc, "free", [backend for backend in mine if not backend.needs_connection])
    _parametrize(metafunc, "keyed", [backend for backend in protecting if not backend.needs_connection])
    _parametrize(metafunc, "native", [backend for backend in mine if has_native_ends(backend)])
    _parametrize(metafunc, "pair", pairs)
    _parametrize(metafunc, "protecting_pair", [pair for pair in pairs if pair.opening.protects])
    _parametrize(metafunc, "free_pair", [pair for pair in pairs if not pair.sealing.needs_connection])


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


class TestForgeries:
    """What is not authentic is refused, and nothing of it is left."""

    def test_refuses_every_single_bit_flip(self, protecting_pair: Pair) -> None:
        """Each bit of header, nonce, ciphertext and tag counts; the forged packet is overwritten with zeros."""
        association = associate(*protecting_pair)
        sequence = association.next_sequence
        packet = MARKER + b"0123456789abcdef"[:13]
        bits = 8 * (len(packet) + RECORD_OVERHEAD)
        opened: list[int] = []
        for first in range(0, bits, MAX_ROWS):
            flipped = range(first, min(first + MAX_ROWS, bits))
            burst = guarded([packet] * len(flipped))
            association.sealer.seal(burst, sequence)
            sequence += len(flipped)
            for row, bit in enumerate(flipped):
                burst.row(row)[bit // 8] ^= 1 << bit % 8
            status = open_burst(association.opener, burst)
            opened += [bit for bit, known in zip(flipped, status, strict=True) if known == RowStatus.OK]
            assert [row.any() for row in burst.rows()] == [False] * len(flipped)
            assert MARKER not in burst.buffer.tobytes()
            assert_guards(burst)
        assert opened == []
        assert carry(association, [packet], sequence) == [packet]

    def test_refuses_records_made_of_parts(self, protecting: Backend) -> None:
        """The header of one record does not open with the body of another, nor a record under other keys."""
        association, other = associate(protecting, protecting), associate(protecting, protecting)
        first = sealed(association, [payload(60), payload(60)[::-1]], association.next_sequence)
        foreign = sealed(other, [payload(60)], other.next_sequence)
        mixed = [
            first[0][:RECORD_HEADER] + first[1][RECORD_HEADER:],
            first[1][:RECORD_PREFIX] + first[0][RECORD_PREFIX:],
            foreign[0],
            bytes([APPLICATION_DATA, 0xFE, 0xFD]) + bytes(len(first[0]) - 3),
        ]
        burst = records(mixed)
        assert open_burst(association.opener, burst) == [RowStatus.AUTH_FAILED] * len(mixed)
        assert not any(row.any() for row in burst.rows())

    def test_opens_the_good_rows_beside_bad_ones(self, backend: Backend) -> None:
        """Rows of a burst are judged one by one, the short last one too."""
        association = associate(backend, backend)
        packets = [payload(300)] * 9 + [payload(77)]
        burst = guarded(packets)
        association.sealer.seal(burst, association.next_sequence)
        bad = {0, 4, 9}
        for row in bad:
            burst.row(row)[-1] ^= 0x80
        status = open_burst(association.opener, burst)
        assert {row for row, known in enumerate(status) if known == RowStatus.AUTH_FAILED} == bad
        assert [row.tobytes() for row in burst.rows()] == [
            bytes(len(packet)) if row in bad else packet for row, packet in enumerate(packets)
        ]
        assert_guards(burst)


class TestPeers:
    """A backend against OpenSSL itself, after a real handshake."""

    @pytest.mark.parametrize("is_client", [True, False], ids=["as client", "as server"])
    def test_openssl_opens_what_it_sealed(self, protecting: Backend, is_client: bool) -> None:
        """From the first number after OpenSSL's own Finished, in either role."""
        mine, peer = handshake(is_client=is_client)
        established = mine.established(with_connection=protecting.needs_connection)
        sealer, _ = protecting.attach(established)
        burst = guarded([payload(1200), payload(1200)[::-1], b"short"])
        sealer.seal(burst, established.next_sequence)
        received = []
        for record in burst.rows():
            peer.connection.bio_write(record.tobytes())
            received.append(peer.connection.recv(MAX_PLAINTEXT))
        assert received == [payload(1200), payload(1200)[::-1], b"short"]

    @pytest.mark.parametrize("is_client", [True, False], ids=["as client", "as server"])
    def test_opens_what_openssl_sealed(self, protecting: Backend, is_client: bool) -> None:
        """OpenSSL's explicit nonce is a counter from a random start: it must be read from the wire."""
        mine, peer = handshake(is_client=is_client)
        _, opener = protecting.attach(mine.established(with_connection=protecting.needs_connection))
        packets = [payload(1200), payload(1200)[::-1], b"short"]
        burst = records(peer_records(peer, packets))
        assert open_burst(opener, burst) == [RowStatus.OK] * 3
        assert [row.tobytes() for row in burst.rows()] == packets

    def test_opens_any_explicit_nonce(self, protecting: Backend) -> None:
        """Other stacks draw it at random for each record (RFC 5288 3 leaves the choice to the sender)."""
        mine, peer = handshake(is_client=True)
        _, opener = protecting.attach(mine.established(with_connection=protecting.needs_connection))
        keys = peer.established().write
        numbers = (1).to_bytes(2, "big") + peer.established().next_sequence.to_bytes(6, "big")
        for nonce in (bytes(8), b"\xff" * 8, bytes.fromhex("c0ffee0123456789")):
            additional = numbers + b"\x17\xfe\xfd" + (5).to_bytes(2, "big")
            body = AESGCM(bytes(keys.key)).encrypt(bytes(keys.salt) + nonce, b"hello", additional)
            header = b"\x17\xfe\xfd" + numbers + (5 + 24).to_bytes(2, "big")
            burst = records([header + nonce + body])
            assert open_burst(opener, burst) == [RowStatus.OK]
            assert burst.row(0).tobytes() == b"hello"
            numbers = (int.from_bytes(numbers, "big") + 1).to_bytes(8, "big")

    def test_goes_on_after_a_finished_that_was_sent_twice(self, keyed: Backend) -> None:
        """OpenSSL's second Finished took number 1, so the first record is 2; OpenSSL would drop another 1."""
        client, server = loopback_handshake()
        repeat_final_flight(client, server)
        established = server.established()
        assert established.next_sequence == 2
        sealer, _ = keyed.attach(established)
        burst = guarded([payload(100)])
        sealer.seal(burst, established.next_sequence)
        client.connection.bio_write(burst.row(0).tobytes())
        assert client.connection.recv(MAX_PLAINTEXT) == payload(100)


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


@cache
def _found() -> list[tuple[str, Backend | str]]:
    return available()


def _parametrize(metafunc: pytest.Metafunc, argument: str, values: Sequence[object]) -> None:
    if argument not in metafunc.fixturenames:
        return
    values = values or [NO_BACKEND]
    metafunc.parametrize(argument, values, ids=[_label(value) for value in values])


def _label(value: object) -> str:
    if isinstance(value, Pair):
        return f"{value.sealing.name} to {value.opening.name}"
    if isinstance(value, tuple):
        return str(value[0])
    return str(getattr(value, "name", "none"))
