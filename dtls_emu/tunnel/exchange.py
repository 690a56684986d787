"""What a tunnel gives and takes: bursts it has opened, datagrams of its own, and its words for what it drops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.hello import CLIENT_HELLO
from dtls_emu.wire.record import HANDSHAKE, RowStatus, pull_handshake_header


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.wire.record import RecordView


__all__ = ["DROPPED", "Opened", "Outgoing", "is_client_hello"]

Opened = tuple[Burst, "NDArray[np.uint8]"]
"""A burst after opening and the status of each row; rows that are OK hold plaintext."""

DROPPED: Final = {
    RowStatus.AUTH_FAILED: DropReason.AUTH_FAILED,
    RowStatus.REPLAYED: DropReason.REPLAYED,
    RowStatus.LATE: DropReason.LATE,
    RowStatus.BAD_DATAGRAM: DropReason.BAD_DATAGRAM,
    RowStatus.BAD_VERSION: DropReason.BAD_VERSION,
    RowStatus.OVERSIZE: DropReason.OVERSIZE_RECORD,
    RowStatus.WRONG_EPOCH: DropReason.WRONG_EPOCH,
}


@dataclass(slots=True)
class Outgoing:
    """A datagram of a tunnel's own (handshake, alert, keepalive) to send to its peer."""

    local_port: int
    remote_port: int
    datagram: bytes


def is_client_hello(record: RecordView) -> bool:
    """Whether a record in clear begins with a ClientHello."""
    if record.header.content_type != HANDSHAKE or record.header.epoch:
        return False
    header = pull_handshake_header(record.fragment)
    return header is not None and header.message_type == CLIENT_HELLO
