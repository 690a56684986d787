"""What a backend opens: nothing that is forged, and whatever OpenSSL and other stacks seal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dtls_emu.crypto.backend import APPLICATION_DATA, MAX_PLAINTEXT, RowStatus
from dtls_emu.crypto.loopback import loopback_handshake
from dtls_emu.testing.conformance_bench import (
    MARKER,
    assert_guards,
    associate,
    carry,
    guarded,
    handshake,
    open_burst,
    payload,
    peer_records,
    records,
    repeat_final_flight,
    sealed,
)
from dtls_emu.testing.reference import seal_by_reference
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.overhead import RECORD_HEADER, RECORD_OVERHEAD, RECORD_PREFIX


if TYPE_CHECKING:
    from dtls_emu.crypto.backend import Backend
    from dtls_emu.testing.conformance_bench import Pair


__all__ = ["TestForgeries", "TestPeers"]


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
        nonces = bytes(8), b"\xff" * 8, bytes.fromhex("c0ffee0123456789")
        for number, nonce in enumerate(nonces, peer.established().next_sequence):
            burst = records([seal_by_reference(keys, b"hello", number, nonce=nonce)])
            assert open_burst(opener, burst) == [RowStatus.OK]
            assert burst.row(0).tobytes() == b"hello"

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
