"""Our own Finished, and the record numbers of epoch 1 until the handshake is over.

OpenSSL seals it once. To send it again it must be sealed anew under a new number, so OpenSSL's record is opened and
its plaintext kept.

Two issuers of nonces share one key: OpenSSL for its Finished, and with the `openssl` backend for data too; we
for everything else. OpenSSL counts up from a random 64-bit start, ours are ``epoch || sequence``. A handshake
after which the two could meet is repeated (:func:`may_meet`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtls_emu.crypto.pyca import PycaOpener, PycaSealer
from dtls_emu.crypto.single import open_record, seal_record
from dtls_emu.errors import RemoteProtocolError
from dtls_emu.wire.overhead import EXPLICIT_NONCE
from dtls_emu.wire.protocol import HANDSHAKE_HEADER, RowStatus


if TYPE_CHECKING:
    from dtls_emu.crypto.backend import TrafficKeys
    from dtls_emu.wire.record import RecordView


__all__ = ["Finished", "OwnFinished", "may_meet"]

_EPOCH = 1


@dataclass(slots=True)
class Finished:
    """The last flight of the side that sent it, kept for 2 MSL after the handshake (RFC 6347 4.2.4).

    Fields:
        message: our own Finished in clear, 24 bytes.
        next_plain_sequence: first unused record number of epoch 0, for the ChangeCipherSpec before it.
    """

    message: bytes
    next_plain_sequence: int


def may_meet(nonce: bytes, number_end: int) -> bool:
    """Whether OpenSSL, counting up from an explicit nonce of its own, and we can use one nonce both.

    Ours are epoch 1 with the record numbers below `number_end`
    (:attr:`~dtls_emu.tunnel.settings.TunnelSettings.number_end`); OpenSSL seals no more records than that either.
    With the default limit of a key that ends one handshake of 2^37, each side looking at its own Finished; refusing
    all of epoch 1 would end one of 2^15.
    """
    return abs(int.from_bytes(nonce, "big") - (_EPOCH << 48)) < number_end


class OwnFinished:
    """The protected side of one handshake.

    Args:
        number_end: first record number under which nothing is sealed.
        keep_connection: OpenSSL goes on sealing when the handshake is over, behind its own records.

    Fields:
        message: our Finished in clear, as far as OpenSSL has written it.
        next_sequence: the next record number of epoch 1; 0 while nothing has been sealed.
        openssl_sequence: likewise, but that of OpenSSL's next record.
    """

    def __init__(self, number_end: int, *, keep_connection: bool) -> None:
        self.message = b""
        self.next_sequence = 0
        self.openssl_sequence = 0
        self._number_end = number_end
        self._keep_connection = keep_connection

    @property
    def is_whole(self) -> bool:
        """Whether all of OpenSSL's Finished was written; what it writes after that is its own repetition."""
        message = self.message
        return bool(message) and len(message) == HANDSHAKE_HEADER + int.from_bytes(message[1:4], "big")

    def count(self, sequence: int) -> bool:
        """OpenSSL has written a record of epoch 1 under this number. Whether that is to be sent.

        What OpenSSL repeats is not, so it spends a number only where OpenSSL goes on from there.
        """
        self.openssl_sequence = sequence + 1
        is_repeated = self.is_whole
        if self._keep_connection or not is_repeated:
            self.next_sequence = max(self.next_sequence, self.openssl_sequence)
        return not is_repeated

    def keep(self, record: RecordView, keys: TrafficKeys) -> None:
        """Open OpenSSL's Finished, so that we can seal it again, and prove its nonce disjoint from ours.

        It comes in fragments where the rest of the flight leaves too little room for it in a datagram.

        Raises:
            RemoteProtocolError: this handshake cannot go on; the next one can.
        """
        if may_meet(bytes(record.fragment[:EXPLICIT_NONCE]), self._number_end):
            raise RemoteProtocolError("OpenSSL's nonces would meet ours; handshake again")
        opener = PycaOpener(keys)
        verdict, part = open_record(opener, bytes(record.record))
        opener.close()
        if verdict is not RowStatus.OK:
            raise RemoteProtocolError("our key block does not open our own Finished")
        body = self.message[HANDSHAKE_HEADER:] + part[HANDSHAKE_HEADER:]
        # Type, length and message_seq are those of every fragment; then offset and length of this one.
        self.message = part[:6] + bytes(3) + len(body).to_bytes(3, "big") + body

    def seal(self, keys: TrafficKeys, content_type: int, message: bytes) -> bytes:
        """A record of ours under the next number, with explicit nonce ``epoch || sequence`` (RFC 9325 7.2.1)."""
        sequence = self.next_sequence
        self.next_sequence += 1
        sealer = PycaSealer(keys, _EPOCH)
        record = seal_record(sealer, content_type, sequence, message)
        sealer.close()
        return record
