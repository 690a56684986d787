"""Seal or open one record, with any sealer and opener: for alerts, empty records, a Finished, and self-tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dtls_emu.crypto.backend import RowStatus
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX, TAG


if TYPE_CHECKING:
    from dtls_emu.crypto.backend import Opener, Sealer


__all__ = ["open_record", "seal_record"]


def seal_record(sealer: Sealer, content_type: int, sequence: int, plaintext: bytes) -> bytes:
    """One record on the wire, header and all; the epoch is the sealer's.

    Raises:
        LocalProtocolError: what the sealer raises.
    """
    burst = Burst.allocate(len(plaintext), headroom=RECORD_PREFIX, tailroom=TAG)
    burst.row(0)[:] = np.frombuffer(plaintext, np.uint8)
    sealer.seal(burst, sequence, content_type)
    return burst.row(0).tobytes()


def open_record(opener: Opener, record: bytes) -> tuple[RowStatus, bytes]:
    """Verify one whole protected record of any type.

    Returns:
        The status, and the plaintext when it is OK.

    Raises:
        LocalProtocolError: the opener is closed.
    """
    if len(record) < RECORD_OVERHEAD:
        return RowStatus.BAD_DATAGRAM, b""
    burst = Burst.from_datagrams(np.frombuffer(bytearray(record), np.uint8))
    status = np.zeros(1, np.uint8)
    opener.open(burst, status)
    verdict = RowStatus(int(status[0]))
    return verdict, burst.row(0).tobytes() if verdict is RowStatus.OK else b""
