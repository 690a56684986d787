"""What the compiled loop reads and writes, and what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dtls_emu.fabric.syscalls import ADDRESS


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dtls_emu.nic.offload.state import CardMemory


__all__ = [
    "ATTENTION",
    "BROKEN_DEVICE",
    "DATAGRAMS",
    "DEVICE",
    "DONE",
    "FABRIC",
    "FILE",
    "GUEST",
    "GUEST_PACKET",
    "INTERRUPTED",
    "LOOP",
    "MAX_EVENTS",
    "NOTHING",
    "OPENED",
    "OTHER",
    "TIMERS",
    "LoopState",
]

# What the loop returns.
DONE: Final = 0  # one pass
NOTHING: Final = 1  # one pass, and nothing was readable
TIMERS: Final = 2
ATTENTION: Final = 3  # a file that is not the loop's own is readable, or the sender has something to tell
GUEST_PACKET: Final = 4  # an exception: a guest's packet
DATAGRAMS: Final = 5  # an exception: datagrams, as they came
OPENED: Final = 6  # an exception: datagrams that have been opened
BROKEN_DEVICE: Final = 7  # a device gives an error
INTERRUPTED: Final = 8  # by a signal

# Kinds of files.
OTHER: Final = 0
DEVICE: Final = 1
FABRIC: Final = 2

MAX_EVENTS: Final = 64

FILE: Final = np.dtype(
    [
        ("kind", np.int64),
        ("guest", np.int64),  # number of the VM, of a device
    ]
)

GUEST: Final = np.dtype(
    [
        ("device", ADDRESS),  # of its DEVICE
        ("vni", np.int64),
    ]
)

LOOP: Final = np.dtype(
    [
        ("epoll", np.int64),  # file number of the epoll that has the loop's files
        # Events of this pass, and the next of them.
        ("ready", np.int64),
        ("next", np.int64),
        ("ring", np.int64),  # address of the ring for who observes the card; 0: nobody does
        ("seen_other", np.int64),  # a file that is not the loop's own was readable
        # Of an exception: number of the VM; of opened datagrams the path, and how many of them verified.
        ("guest", np.int64),
        ("path", np.int64),
        ("opened", np.int64),
    ]
)


class LoopState(NamedTuple):
    """All that the loop reads and writes.

    Fields:
        card: what the card's own kernels work on.
        loop: one :data:`LOOP`.
        files: a :data:`FILE` by file number.
        guests: a :data:`GUEST` by the number of the VM.
        sender, receiver, ports: of the fabric, as :mod:`dtls_emu.fabric.udp_send` and
            :mod:`dtls_emu.fabric.udp_receive` have them.
        paths: where each path of the card leads, by its number.
        arrived, wire, joined: memory for what comes in, goes out, and is joined for a guest.
        groups: scratch of the merge.
        events: scratch of epoll.
        time, poll: scratch of sleeping: one ``timespec``, one ``pollfd``.
    """

    card: CardMemory
    loop: NDArray[np.void]
    files: NDArray[np.void]
    guests: NDArray[np.void]
    sender: NDArray[np.void]
    receiver: NDArray[np.void]
    ports: NDArray[np.int32]
    paths: NDArray[np.void]
    arrived: NDArray[np.uint8]
    wire: NDArray[np.uint8]
    joined: NDArray[np.uint8]
    groups: NDArray[np.int64]
    events: NDArray[np.void]
    time: NDArray[np.void]
    poll: NDArray[np.void]
