"""The `openssl` backend: OpenSSL's own DTLS record layer, one record a call. What all others must agree with.

It runs on the live connection of the handshake and shares its habits:

* It numbers records by itself, and its explicit nonce is a counter from a random start.
* It seals application data and close_notify, nothing else, and no empty packet.
* Its replay window of 64 records stands before ours: what it drops there counts as ``AUTH_FAILED``.

OpenSSL is only ever given application data to open. It would answer some other records (an authentic
Finished by its last flight, an unknown content type by an alert and its own end), and has no way to tell an
empty record from a forged one. Those are opened with the traffic keys, and OpenSSL never sees them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import OpenSSL
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL

from dtls_emu.crypto.backend import APPLICATION_DATA, MAX_PLAINTEXT, Established, RowStatus, TrafficKeys
from dtls_emu.crypto.framing import grow_to_records, require_openable, require_sealable, shrink_to_packets
from dtls_emu.crypto.loopback import loopback_handshake
from dtls_emu.errors import BackendUnavailableError, LocalProtocolError
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import EXPLICIT_NONCE, RECORD_HEADER, RECORD_OVERHEAD, RECORD_PREFIX, TAG
from dtls_emu.wire.protocol import ALERT


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["OpenSSLBackend"]

_CLOSE_NOTIFY: Final = b"\x01\x00"  # warning, close_notify; RFC 5246 7.2
_DRAIN: Final = 65_536


class OpenSSLBackend:
    """See the module."""

    name: ClassVar[str] = "openssl"
    summary: ClassVar[str] = "OpenSSL's own record layer, one record a call"
    protects: ClassVar[bool] = True
    needs_connection: ClassVar[bool] = True

    def __init__(self) -> None:
        _prove(self)

    @property
    def detail(self) -> str:
        """Versions of pyOpenSSL and of the OpenSSL under it."""
        return f"pyOpenSSL {OpenSSL.__version__}, {SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()}"

    def attach(self, established: Established) -> tuple[_Sealer, _Opener]:
        """Make the two ends of an association, which share the connection.

        Raises:
            LocalProtocolError: there is no connection.
        """
        if established.connection is None:
            raise LocalProtocolError("the openssl backend needs the connection of the handshake")
        return (
            _Sealer(established.connection, established.next_sequence),
            _Opener(established.connection, established.read),
        )


class _End:
    """One direction. OpenSSL overwrites the keys when both ends have let go of the connection."""

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection: SSL.Connection | None = connection

    def close(self) -> None:
        self._connection = None

    def _require_connection(self) -> SSL.Connection:
        if self._connection is None:
            raise LocalProtocolError("this end of the association is closed")
        return self._connection


class _Sealer(_End):
    def __init__(self, connection: SSL.Connection, next_sequence: int) -> None:
        super().__init__(connection)
        self._next_sequence = next_sequence

    def seal(self, burst: Burst, first_sequence: int, content_type: int = APPLICATION_DATA) -> None:
        connection = self._require_connection()
        require_sealable(burst, first_sequence)
        if first_sequence != self._next_sequence:
            raise LocalProtocolError(f"OpenSSL's next record is {self._next_sequence}, not {first_sequence}")
        closing = content_type == ALERT and burst.count == 1 and burst.row(0).tobytes() == _CLOSE_NOTIFY
        if not closing and (content_type != APPLICATION_DATA or not burst.last):
            raise LocalProtocolError("OpenSSL seals application data and close_notify, and nothing empty")
        for index, packet in enumerate(burst.rows()):
            if closing:
                connection.shutdown()
            else:
                connection.send(packet.data)
            record = self._pull_record(connection, len(packet), content_type)
            start = index * burst.stride + burst.offset - RECORD_PREFIX
            burst.buffer[start : start + len(record)] = record
        grow_to_records(burst)

    def _pull_record(self, connection: SSL.Connection, length: int, content_type: int) -> NDArray[np.uint8]:
        """What OpenSSL wrote, once it is sure to be the one record that was asked for."""
        record = np.frombuffer(connection.bio_read(_DRAIN), np.uint8)
        header = bytes([content_type, 0xFE, 0xFD, 0x00, 0x01, *self._next_sequence.to_bytes(6, "big")])
        if len(record) != length + RECORD_OVERHEAD or record[: len(header)].tobytes() != header:
            raise LocalProtocolError("OpenSSL wrote something else than the record that was asked for")
        self._next_sequence += 1
        return record


class _Opener(_End):
    def __init__(self, connection: SSL.Connection, keys: TrafficKeys) -> None:
        super().__init__(connection)
        self._cipher: AESGCM | None = AESGCM(keys.key)
        self._salt = bytearray(keys.salt)

    def close(self) -> None:
        super().close()
        self._cipher = None
        self._salt[:] = bytes(len(self._salt))

    def open(self, burst: Burst, status: NDArray[np.uint8]) -> None:
        connection = self._require_connection()
        require_openable(burst, status)
        view = burst.buffer.data
        for index in range(burst.count):
            if status[index] != RowStatus.OK:
                continue
            size = burst.last if index == burst.count - 1 else burst.size
            length = size - RECORD_OVERHEAD
            if length < 0 or length > MAX_PLAINTEXT:
                status[index] = RowStatus.BAD_DATAGRAM if length < 0 else RowStatus.OVERSIZE
                continue
            start = index * burst.stride + burst.offset
            record = view[start : start + size]
            packet = record[RECORD_PREFIX : RECORD_PREFIX + length]
            if record[0] == APPLICATION_DATA and length:
                authentic = _open_by_openssl(connection, record, packet)
            else:
                authentic = self._open_by_keys(record, packet)
            if not authentic:
                status[index] = RowStatus.AUTH_FAILED
                packet[:] = bytes(length)
        shrink_to_packets(burst)

    def _open_by_keys(self, record: memoryview, packet: memoryview) -> bool:
        assert self._cipher is not None  # open() has looked
        header = record[:RECORD_PREFIX].tobytes()
        length = (int.from_bytes(header[11:13], "big") - EXPLICIT_NONCE - TAG) & 0xFFFF
        additional = header[3:11] + header[:3] + length.to_bytes(2, "big")
        try:
            packet[:] = self._cipher.decrypt(
                self._salt + header[RECORD_HEADER:], record[RECORD_PREFIX:], additional
            )
        except InvalidTag:
            return False
        return True


def _open_by_openssl(connection: SSL.Connection, record: memoryview, packet: memoryview) -> bool:
    """One record in, its plaintext out. Whatever OpenSSL says of a hostile record ends here."""
    if record[11] << 8 | record[12] != len(record) - RECORD_HEADER:
        return False  # the memory BIO is a stream: what is left of a lying record would spoil the next
    try:
        connection.bio_write(record)
        return connection.recv_into(packet, len(packet)) == len(packet)
    except SSL.WantReadError:
        return False
    except SSL.Error:
        _discard_output(connection)
        return False


def _discard_output(connection: SSL.Connection) -> None:
    """Throw away an alert that OpenSSL wants to answer with: bad records are not answered (RFC 6347 4.1.2.7)."""
    try:
        connection.bio_read(_DRAIN)
    except SSL.Error:
        return


def _prove(backend: OpenSSLBackend) -> None:
    """Shake hands in memory and carry a burst each way; no known answers, for OpenSSL's nonces are random.

    Raises:
        BackendUnavailableError: says what failed.
    """
    client, server = (end.established(with_connection=True) for end in loopback_handshake())
    packets = [bytes([index]) * 1400 for index in range(3)] + [b"short"]
    for source, destination in ((client, server), (server, client)):
        sealer, _ = backend.attach(source)
        _, opener = backend.attach(destination)
        burst = Burst.from_packets(packets, headroom=RECORD_PREFIX, tailroom=TAG)
        status = np.zeros(burst.count, np.uint8)
        sealer.seal(burst, source.next_sequence)
        burst.row(1)[-1] ^= 1
        opener.open(burst, status)
        expected = [packets[0], bytes(1400), packets[2], packets[3]]
        if (
            status.tolist() != [0, RowStatus.AUTH_FAILED, 0, 0]
            or [row.tobytes() for row in burst.rows()] != expected
        ):
            raise BackendUnavailableError(
                "self-test failed: OpenSSL does not open what it sealed, and only that"
            )
