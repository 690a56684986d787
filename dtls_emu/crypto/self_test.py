"""What a backend proves each time it is constructed: known records out, the same packets back, no forgery in.

The records are fixed by the protocol and by the inputs below, so one digest stands for all of them; the
tests compute it a second time with an independent AES-GCM. The full proof is the conformance suite.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.crypto.backend import MAX_PLAINTEXT, MAX_SEQUENCE, Established, RowStatus, TrafficKeys
from dtls_emu.errors import BackendUnavailableError
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.overhead import RECORD_PREFIX, TAG


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.crypto.backend import Backend, Opener, Sealer


__all__ = ["AES_256_GCM_DIGEST", "known_association", "known_bursts", "prove", "try_out"]

AES_256_GCM_DIGEST: Final = "ba7d5d8289dac0fa98d826b8ffcd96aae61dcffae882a9c8c48b71ae4f5cfabd"
"""SHA-256 over the records that AES-256-GCM makes of :func:`known_bursts` under :func:`known_association`."""

_SHAPES: Final = (
    # size, count, last: every way through a cipher's code that depends on length
    (0, 1, 0),
    (1, 1, 1),
    (16, 3, 15),
    (65, 4, 17),
    (256, MAX_ROWS, 255),
    (1400, 45, 1399),
    (8900, 2, 777),
    (MAX_PLAINTEXT, 1, MAX_PLAINTEXT),
)


def known_association() -> Established:
    """The keys of the self-test. Both directions are the same, so one end opens what it sealed."""
    write, read = (TrafficKeys(bytearray(range(32)), bytearray(range(0xA0, 0xA4))) for _ in range(2))
    return Established(write, read, epoch=0x1234)


def known_bursts() -> list[tuple[Burst, int]]:
    """The packets of the self-test, each burst with its first sequence number; the last ends at 2^48 - 1."""
    bursts = []
    for index, (size, count, last) in enumerate(_SHAPES):
        burst = Burst.allocate(size, count, last, headroom=RECORD_PREFIX, tailroom=TAG)
        burst.buffer[:] = (np.arange(len(burst.buffer)) * 7 + index) & 0xFF
        at_end = index == len(_SHAPES) - 1
        bursts.append((burst, MAX_SEQUENCE - count + 1 if at_end else 0xFFFFFF - 20 + 1000 * index))
    return bursts


def prove(attach: Callable[[Established], tuple[Sealer, Opener]], digest: str) -> None:
    """Seal, compare with the digest, open again, and refuse a forged tag.

    Raises:
        BackendUnavailableError: says which of them failed.
    """
    sealer, opener = attach(known_association())
    records = hashlib.sha256()
    for burst, first_sequence in known_bursts():
        packets = [row.tobytes() for row in burst.rows()]
        sealer.seal(burst, first_sequence)
        for record in burst.rows():
            records.update(record.data)
        forged = burst.count - 1
        burst.row(forged)[-1] ^= 1
        status = np.zeros(burst.count, np.uint8)
        opener.open(burst, status)
        if status[forged] != RowStatus.AUTH_FAILED or burst.row(forged).any():
            raise BackendUnavailableError("self-test failed: a forged record was opened")
        opened = [row.tobytes() for row in burst.rows()]
        if status[:forged].any() or opened[:forged] != packets[:forged]:
            raise BackendUnavailableError(
                "self-test failed: a record did not open to the packet that was sealed"
            )
    if records.hexdigest() != digest:
        raise BackendUnavailableError("self-test failed: the records are not the known ones")
    sealer.close()
    opener.close()


def try_out(backend: Backend) -> tuple[bool | None, str]:
    """Whether a plug-in, which may have no self-test of its own, passes this one; and why not.

    None for one that needs a connection or protects nothing: the conformance suite is for those.
    """
    if backend.needs_connection or not backend.protects:
        return None, ""
    try:
        prove(backend.attach, AES_256_GCM_DIGEST)
    except (Exception, SystemExit) as error:  # somebody else's code may fail in any way
        said = (
            str(error) if isinstance(error, BackendUnavailableError) else f"{type(error).__name__}: {error}"
        )
        return False, said
    return True, ""
