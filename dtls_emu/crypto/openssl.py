"""The `openssl` backend: OpenSSL's own DTLS record layer, one record a call. What all others must agree with.

It runs on the live connection of the handshake and shares its habits:

* It numbers records by itself, and its explicit nonce is a counter from a random start.
* Its replay window of 64 records stands before ours, and it drops in silence. What it does not open is verified with
  the keys, so that a record that comes twice, or 64 late, is judged by our window as with every other backend.

OpenSSL is only ever given packets to seal and open. It has no call to seal a handshake message or an empty record.
It would answer some records (an authentic Finished by its last flight, an unknown content type by an alert and
its own end), and has no way to tell an empty record from a forged one. All those are sealed and opened with the
traffic keys, under the next number: a record of OpenSSL's own with that number is made first, and thrown away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import OpenSSL
from OpenSSL import SSL

from dtls_emu.crypto.backend import APPLICATION_DATA, MAX_PLAINTEXT, Established, RowStatus
from dtls_emu.crypto.framing import grow_to_records, require_openable, require_sealable, shrink_to_packets
from dtls_emu.crypto.loopback import loopback_handshake
from dtls_emu.crypto.pyca import PycaOpener, PycaSealer
from dtls_emu.errors import BackendUnavailableError, LocalProtocolError
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_HEADER, RECORD_OVERHEAD, RECORD_PREFIX, TAG
from dtls_emu.wire.record import push_record_header


if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["OpenSSLBackend", "pass_over"]

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
            _Sealer(
                established.connection,
                established.next_sequence,
                PycaSealer(established.write, established.epoch),
            ),
            _Opener(established.connection, PycaOpener(established.read)),
        )


def pass_over(connection: SSL.Connection, count: int) -> None:
    """Have OpenSSL use so many record numbers for records that are never sent, because they are sealed elsewhere."""
    for _ in range(count):
        connection.send(b"\0")
        connection.bio_read(_DRAIN)


class _End:
    """One direction. OpenSSL overwrites its keys when both ends have let go of the connection."""

    def __init__(self, connection: SSL.Connection, by_keys: PycaSealer | PycaOpener) -> None:
        self._connection: SSL.Connection | None = connection
        self._closing = by_keys.close

    def close(self) -> None:
        self._connection = None
        self._closing()

    def _require_connection(self) -> SSL.Connection:
        if self._connection is None:
            raise LocalProtocolError("this end of the association is closed")
        return self._connection


class _Sealer(_End):
    def __init__(self, connection: SSL.Connection, next_sequence: int, by_keys: PycaSealer) -> None:
        super().__init__(connection, by_keys)
        self._next_sequence = next_sequence
        self._by_keys = by_keys

    def seal(self, burst: Burst, first_sequence: int, content_type: int = APPLICATION_DATA) -> None:
        connection = self._require_connection()
        require_sealable(burst, first_sequence)
        if first_sequence != self._next_sequence:
            raise LocalProtocolError(f"OpenSSL's next record is {self._next_sequence}, not {first_sequence}")
        if content_type != APPLICATION_DATA or not burst.last:
            for _ in range(burst.count):
                connection.send(b"\0")
                self._pull_record(connection, 1)
            self._by_keys.seal(burst, first_sequence, content_type)
            return
        for index, packet in enumerate(burst.rows()):
            connection.send(packet.data)
            record = self._pull_record(connection, len(packet))
            start = index * burst.stride + burst.offset - RECORD_PREFIX
            burst.buffer[start : start + len(record)] = record
        grow_to_records(burst)

    def _pull_record(self, connection: SSL.Connection, length: int) -> NDArray[np.uint8]:
        """What OpenSSL wrote, once it is sure to be the one record that was asked for."""
        record = np.frombuffer(connection.bio_read(_DRAIN), np.uint8)
        header = push_record_header(APPLICATION_DATA, 1, self._next_sequence, len(record) - RECORD_HEADER)
        if len(record) != length + RECORD_OVERHEAD or record[:RECORD_HEADER].tobytes() != header:
            raise LocalProtocolError("OpenSSL wrote something else than the record that was asked for")
        self._next_sequence += 1
        return record


class _Opener(_End):
    def __init__(self, connection: SSL.Connection, by_keys: PycaOpener) -> None:
        super().__init__(connection, by_keys)
        self._by_keys = by_keys

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
            is_data = record[0] == APPLICATION_DATA and length > 0
            if not is_data or not _open_by_openssl(connection, record, packet):
                self._by_keys.open(burst.slice(index, index + 1), status[index : index + 1])
        shrink_to_packets(burst)


def _open_by_openssl(connection: SSL.Connection, record: memoryview, packet: memoryview) -> bool:
    """One record in, its plaintext out. Whatever OpenSSL says of a hostile record ends here."""
    if record[11] << 8 | record[12] != len(record) - RECORD_HEADER:
        return False  # the memory BIO is a stream: what is left of a malformed record would spoil the next
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
