"""One association: the keys of one handshake, its record numbers and its replay window.

Out: number the rows, seal them. In: check headers and the replay window, open, and only then move the
window (RFC 6347 4.1.2.6); the two are separate so that a forgery never moves it.

What changes with every burst is in `records`, memory that the card's kernels work on too
(:mod:`dtls_emu.tunnel.record_kernels`).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from dtls_emu.crypto.framing import grow_to_records, shrink_to_packets
from dtls_emu.crypto.native import native_end
from dtls_emu.crypto.single import open_record, seal_record
from dtls_emu.errors import LocalProtocolError
from dtls_emu.tunnel.record_kernels import RECORDS, UNFIT, open_burst, seal_burst
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_OVERHEAD
from dtls_emu.wire.record import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    RowStatus,
    check_records,
    commit_records,
    push_record_header,
)
from dtls_emu.wire.replay import ReplayWindow


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dtls_emu.crypto.backend import Backend, Established
    from dtls_emu.tunnel.finished import Finished
    from dtls_emu.tunnel.settings import TunnelSettings
    from dtls_emu.wire.burst import Burst


__all__ = ["Association"]

CLOSE_NOTIFY = b"\x01\x00"
"""Warning level, description 0 (RFC 5246 7.2.1)."""


class Association:
    """Keys in force between two hosts, on one pair of UDP ports.

    Fields:
        ends: the pair; local_port, remote_port: each.
        is_client: which side of the handshake this end was.
        established_at: seconds.
        worn: a fresh association should be begun: this one nears a limit of its key.
        failed_authentications: records whose tag did not verify.
        sealer, opener: the backend's.
        epoch: of every record.
        window: of the records that came.
        worn_from, worn_bytes: number of a record, and bytes sealed, at which it is worn.
        records: one :data:`~dtls_emu.tunnel.record_kernels.RECORDS`.
        confirmed: the tunnel has noticed that the peer seals with these keys.
        answered: number of the next record when the peer last said that it is there; -1 before that.
    """

    def __init__(
        self,
        established: Established,
        backend: Backend,
        finished: Finished | None,
        settings: TunnelSettings,
        *,
        is_client: bool,
        ends: tuple[int, int],
        now: float,
    ) -> None:
        self.epoch = established.epoch
        next_sequence = established.next_sequence
        try:
            self.sealer, self.opener = backend.attach(established)
        finally:
            established.wipe()  # a backend has copied what it needs
        self._native_sealer, self._native_opener = native_end(self.sealer), native_end(self.opener)
        self._finished = finished
        self.window = ReplayWindow(settings.replay_window)
        self.records: NDArray[Any] = np.zeros(1, RECORDS)
        # Memoryviews give plain numbers, three times as fast as NumPy.
        views: dict[str, memoryview[int]] = {name: self.records[name].data for name in RECORDS.names or ()}
        self._next_sequence = views["next_sequence"]
        self._sealed = views["sealed_records"], views["sealed_bytes"]
        self._opened = views["opened_records"], views["opened_bytes"]
        self._closed = views["closed"]
        # A record's number counts those before it, so a limit of records is a limit of numbers.
        self._end = settings.data_end
        self._control_end = settings.number_end
        # The client begins the next association first, so that not both ends begin at once.
        self.worn_from = self._end - max(self._end // (8 if is_client else 16), 1)
        self.worn_bytes = settings.rekey_bytes or inf
        self.worn = False
        self.is_client = is_client
        self.ends = ends
        self.local_port, self.remote_port = ends
        self.established_at = now
        self.next_sequence = next_sequence
        self.failed_authentications = 0
        self.confirmed = False
        self.answered = -1

    @property
    def next_sequence(self) -> int:
        """Number of the next record sealed."""
        return self._next_sequence[0]

    @next_sequence.setter
    def next_sequence(self, number: int) -> None:
        self._next_sequence[0] = number

    @property
    def closed(self) -> bool:
        """Whether the keys are gone."""
        return self._closed[0] != 0

    def room(self) -> int:
        """How many more packets may be sealed: up to the key's limit, and never past number 2^48 - 1."""
        return 0 if self._closed[0] else max(self._end - self._next_sequence[0], 0)

    def seal(self, burst: Burst) -> None:
        """Seal every row in place under the next record numbers.

        Raises:
            LocalProtocolError: closed, or past the last record number; or what the sealer raises.
        """
        native = self._native_sealer
        # Compiled code writes to an address; it would not notice that the memory may not be changed.
        if (
            native is not None
            and burst.buffer.flags.writeable
            and seal_burst(
                self.records,
                self._end,
                native,
                burst.buffer,
                burst.shape,
                self.epoch,
            )
        ):
            grow_to_records(burst)
        else:
            self._seal_by_call(burst)
        if self.next_sequence >= self.worn_from or self._sealed[1][0] >= self.worn_bytes:
            self.worn = True

    def open(self, burst: Burst) -> tuple[NDArray[np.uint8], int]:
        """Open every row that is one authentic, fresh application record, in place.

        Returns:
            ``RowStatus`` of each row, and how many are OK. Rows of status CONTROL are untouched.
        """
        native = self._native_opener
        status = np.empty(burst.count, np.uint8)
        found = UNFIT
        if native is not None and burst.buffer.flags.writeable:
            found = open_burst(
                self.records,
                self.window.state,
                native,
                burst.buffer,
                burst.shape,
                self.epoch,
                status,
                False,
            )
        if found == UNFIT:
            return status, self._open_by_call(burst, status)
        candidates, opened = found >> 8, found & 0xFF
        if candidates:
            shrink_to_packets(burst)
            if opened != candidates:
                self.count_failures(status)
        return status, opened

    def count_failures(self, status: NDArray[np.uint8]) -> None:
        """Count the records that did not verify."""
        self.failed_authentications += int(np.count_nonzero(status == RowStatus.AUTH_FAILED))

    def _seal_by_call(self, burst: Burst) -> None:
        """With a backend that is called from Python; or to say what is wrong."""
        first = self.next_sequence
        if self.closed or burst.count > self._end - first:
            raise LocalProtocolError(
                "no record numbers left" if not self.closed else "the association is closed"
            )
        # Taken before the sealer runs: a number whose record half-failed must not be used again.
        self.next_sequence = first + burst.count
        self._sealed[0][0] += burst.count
        self._sealed[1][0] += burst.nbytes
        self.sealer.seal(burst, first)

    def _open_by_call(self, burst: Burst, status: NDArray[np.uint8]) -> int:
        """Check and open with a backend that is called from Python. How many rows are OK."""
        buffer, stride, count = burst.buffer, burst.stride, burst.count
        window = self.window.state
        candidates = check_records(buffer, stride, count, burst.size, burst.last, self.epoch, window, status)
        if not candidates:
            return 0
        self.opener.open(burst, status)
        opened = commit_records(buffer, stride, count, window, status)
        if opened != candidates:
            self.count_failures(status)
        self._opened[0][0] += opened
        self._opened[1][0] += burst.nbytes if opened == count else opened * burst.size
        return opened

    def open_control(self, record: bytes) -> tuple[RowStatus, bytes]:
        """Verify one whole protected record of any type and return its plaintext.

        Returns:
            The status, and the plaintext when it is OK.
        """
        if len(record) < RECORD_OVERHEAD:
            return RowStatus.BAD_DATAGRAM, b""
        sequence = int.from_bytes(record[5:11], "big")
        fresh = self.window.check(sequence)
        if fresh is not RowStatus.OK:
            return fresh, b""
        verdict, plaintext = open_record(self.opener, record)
        if verdict is RowStatus.OK:
            self.window.update(sequence)
        else:
            self.failed_authentications += 1
        return verdict, plaintext

    def final_flight(self) -> bytes:
        """Our last flight again: ChangeCipherSpec in clear, and our Finished sealed under a new number.

        The peer repeats its flight when it did not get ours (RFC 6347 4.2.4). Empty for a broker's keys, where
        there was no flight.
        """
        if self._finished is None:
            return b""
        sealed = self._seal_control(HANDSHAKE, self._finished.message)
        if not sealed:
            return b""
        plain = self._finished.next_plain_sequence
        self._finished.next_plain_sequence += 1
        return push_record_header(CHANGE_CIPHER_SPEC, 0, plain, 1) + b"\x01" + sealed

    def empty_record(self) -> bytes:
        """A record without data: we are here, and hold these keys (RFC 5246 6.2.1 allows it)."""
        return self._seal_control(APPLICATION_DATA, b"")

    def close_notify(self) -> bytes:
        """The last record for the peer (RFC 5246 7.2.1)."""
        return self._seal_control(ALERT, CLOSE_NOTIFY)

    def close(self) -> None:
        """Overwrite the keys. Idempotent."""
        self._closed[0] = 1
        self.sealer.close()
        self.opener.close()

    def _seal_control(self, content_type: int, payload: bytes) -> bytes:
        """One record of our own; nothing when the keys are gone or no number is left."""
        sequence = self.next_sequence
        if self.closed or sequence >= self._control_end:
            return b""
        self.next_sequence += 1
        return seal_record(self.sealer, content_type, sequence, payload)
