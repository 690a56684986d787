"""What the kernels of a card read and write: records of NumPy, and the bundles in which kernels hand them on.

Records are mutable and live in arrays, so that Python and compiled code work on the same memory; whatever a call only
tells its caller is a named tuple of numbers. A named tuple of arrays costs nothing between kernels, and 0.1 us for each
array when Python calls one (measured; an array alone costs 0.03): so :class:`CardMemory` is what kernels hand on, and
an :data:`ADDRESSES` record, which they make it of, is what Python gives to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.inspect import KEY_WORDS
from dtls_emu.wire.memory import array_at, bytes_at, kernel, words_at


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = [
    "ADDRESSES",
    "CARD",
    "DELIVER",
    "DELIVER_ANY",
    "DROP",
    "FLOW",
    "GATEWAY",
    "LEFT",
    "LOCAL",
    "NOT_OPENED",
    "PATH",
    "SEND",
    "Admission",
    "CardMemory",
    "FlowMemory",
    "Found",
    "Opening",
    "PeerMemory",
    "Plan",
    "Records",
    "RowMemory",
    "addresses_of",
    "memory_at",
    "new_rows",
]

Records = NDArray[Any]
"""An array of records."""

FLOW: Final = np.dtype(
    [
        ("generation", np.int64),
        ("header", np.int64),
        ("packets", np.int64),
        ("nbytes", np.int64),
        ("seen", np.float64),
        ("expires", np.float64),
        ("vm", np.int64),
        ("path", np.int64),
        ("limit", np.int64),
        ("action", np.int64),
    ]
)
"""A flow, in either direction.

Fields:
    generation: of the policy when it was decided; a flow of another one is a miss. 0: not decided yet.
    header: address of the encapsulation in front of its packets, 22 bytes; of a flow from a VM.
    packets, nbytes: of inner IP packets that were sent on, or delivered.
    seen: when its newest packet was, in seconds.
    expires: when it is to be decided again, in seconds; of a flow from a VM.
    vm: number of the VM that it comes from, or goes to.
    path: number of the path that it takes; of a flow to a VM, that of the peer from which alone it may come.
    limit: largest inner packet, in bytes; of a flow from a VM.
    action: one of the constants below.
"""

# What is done with a flow's packets.
SEND: Final = 1
"""Send them to another host, sealed or in clear."""
LOCAL: Final = 2
"""Hand them to a VM of this host."""
GATEWAY: Final = 3
"""Hand them to the gateway to the internet."""
DROP: Final = 4
DELIVER: Final = 5
"""Hand them to their VM, if they came sealed."""
DELIVER_ANY: Final = 6
"""Hand them to their VM, however they came."""

PATH: Final = np.dtype(
    [
        ("usable", np.int64),
        ("sealed", np.int64),
        ("peer", np.int64),
        ("local_port", np.int64),
        ("remote_port", np.int64),
        ("sealer", np.int64),
        ("sealer_state", np.int64),
        ("opener", np.int64),
        ("opener_state", np.int64),
        ("epoch", np.int64),
        ("worn_sequence", np.int64),
        ("worn_bytes", np.int64),
        ("records", np.int64),
        ("window", np.int64),
        ("window_words", np.int64),
        ("liveness", np.int64),
        ("due", np.float64),
    ]
)
"""How packets get to another host, sealed or in clear, and from there.

Fields:
    usable: 1, or 0: its packets are left to Python.
    sealed: 1, or 0: in clear.
    peer: number of the host at the other end.
    local_port, remote_port: UDP ports.
    sealer, sealer_state, opener, opener_state: a :class:`~dtls_emu.crypto.native.NativeEnd` each; 0: none.
    epoch: of records.
    worn_sequence, worn_bytes: number of a record, and bytes sealed, that are left to Python: the key is worn.
    records: address of the association's :data:`~dtls_emu.tunnel.record_kernels.RECORDS`.
    window, window_words: address and length of its replay window.
    liveness: address of the tunnel's :data:`~dtls_emu.tunnel.liveness.LIVENESS`.
    due: when a timer of the tunnel is due that kernels have set, in seconds; infinity.
"""

CARD: Final = np.dtype(
    [
        ("generation", np.int64),
        ("tos_kept", np.int64),
        ("tos_set", np.int64),
        ("offered", np.int64),
        ("offered_bytes", np.int64),
        ("encrypted", np.int64),
        ("clear", np.int64),
        ("local", np.int64),
        ("gateway", np.int64),
        ("waiting", np.int64),
        ("answered", np.int64),
        ("icmp_limited", np.int64),
        ("received", np.int64),
        ("delivered", np.int64),
        ("delivered_bytes", np.int64),
        ("control", np.int64),
        ("due", np.float64),
    ]
)
"""What there is once on a card.

Fields:
    generation: of its policy, from 1 on.
    tos_kept, tos_set: bits of the inner type of service that go outside, and those that are there besides.
    offered to icmp_limited: as in :class:`~dtls_emu.nic.counters.EgressCounters`.
    received to control: as in :class:`~dtls_emu.nic.counters.IngressCounters`.
    due: the earliest of all paths.
"""


class FlowMemory(NamedTuple):
    """A flow table, as :class:`~dtls_emu.nic.flow_table.FlowTable` lays it out.

    Fields:
        slots: ``int32``, a power of two of them: number of a flow, or -1.
        keys: ``uint64``, :data:`~dtls_emu.wire.inspect.KEY_WORDS` for each flow.
        flows: :data:`FLOW`.
    """

    slots: NDArray[np.int32]
    keys: NDArray[np.uint64]
    flows: Records


class PeerMemory(NamedTuple):
    """From a datagram's ports and sender to its path; a sender's port does not matter in clear.

    Fields:
        slots, keys: as of a flow table; the number of a key is that of its path.
    """

    slots: NDArray[np.int32]
    keys: NDArray[np.uint64]


class RowMemory(NamedTuple):
    """What is found out about the rows of one burst, for at most 64. Nothing of it outlives the burst.

    Fields:
        keys, classes, services: of each row, as the inspection finds them.
        runs: where runs of rows begin, and where the last one ends.
        flows: number of the flow of each run, or why it is left, see :func:`~dtls_emu.nic.offload.kernels.find_flows`.
        status: a ``RowStatus`` for each row.
    """

    keys: NDArray[np.uint64]
    classes: NDArray[np.uint8]
    services: NDArray[np.uint8]
    runs: NDArray[np.int64]
    flows: NDArray[np.int64]
    status: NDArray[np.uint8]


class CardMemory(NamedTuple):
    """All of a card that kernels read and write.

    Fields:
        card: one :data:`CARD`.
        out, into: the flow tables from VMs and to VMs.
        paths: :data:`PATH`: that to peer ``i`` is ``2 * i`` sealed, and ``2 * i + 1`` in clear.
        peers: see there.
        rows: scratch.
    """

    card: Records
    out: FlowMemory
    into: FlowMemory
    paths: Records
    peers: PeerMemory
    rows: RowMemory


class Plan(NamedTuple):
    """What is to become of a burst from a VM.

    Fields:
        verdict: a :class:`~dtls_emu.nic.offload.verdicts.Out`; the rest is meant only if it is SEND.
        flow, path: their numbers.
        rows, size, last: of the datagrams.
        tos: their type of service.
        by_call: they are to be sealed, and the backend has no native sealer.
    """

    verdict: int
    flow: int
    path: int
    rows: int
    size: int
    last: int
    tos: int
    by_call: bool


class Admission(NamedTuple):
    """Whether packets of a VM go on.

    Fields:
        verdict: a :class:`~dtls_emu.nic.offload.verdicts.Out`.
        flow: number of their flow, or -1 where it is not looked for, or not known.
    """

    verdict: int
    flow: int


class Found(NamedTuple):
    """The flows of rows that have come.

    Fields:
        runs: how many runs of rows of one flow there are.
        left: how many of them cannot be delivered as they are.
    """

    runs: int
    left: int


class Opening(NamedTuple):
    """What has become of datagrams from the fabric.

    Fields:
        runs: of rows of one flow, all of them counted as delivered: rows ``runs[i]`` to ``runs[i + 1]`` go to the VM of
            ``flows[i]``. Or :data:`NOT_OPENED`, or :data:`LEFT`.
        opened: how many records verified.
    """

    runs: int
    opened: int


NOT_OPENED: Final = -2
"""Python must look at them; nothing has happened yet."""

LEFT: Final = -1
"""Python must go on with them. Records are opened; not all rows can be delivered from here, and none was."""


def new_rows() -> RowMemory:
    """Scratch for one burst."""
    return RowMemory(
        keys=np.zeros((MAX_ROWS, KEY_WORDS), np.uint64),
        classes=np.zeros(MAX_ROWS, np.uint8),
        services=np.zeros(MAX_ROWS, np.uint8),
        runs=np.zeros(MAX_ROWS + 1, np.int64),
        flows=np.zeros(MAX_ROWS, np.int64),
        status=np.zeros(MAX_ROWS, np.uint8),
    )


_ARRAYS: Final = (
    "card",
    *(f"out_{name}" for name in FlowMemory._fields),
    *(f"into_{name}" for name in FlowMemory._fields),
    "paths",
    *(f"peer_{name}" for name in PeerMemory._fields),
    *RowMemory._fields,
)

ADDRESSES: Final = np.dtype([(f"{name}{what}", np.int64) for name in _ARRAYS for what in ("", "_length")])
"""Where each array of a :class:`CardMemory` is, and how many elements or rows it has."""

_cards_at: Callable[[int, int], Records] = array_at("cards_at", CARD)
_flows_at: Callable[[int, int], Records] = array_at("flows_at", FLOW)
_paths_at: Callable[[int, int], Records] = array_at("paths_at", PATH)
_slots_at: Callable[[int, int], NDArray[np.int32]] = array_at("slots_at", np.int32)
_keys_at: Callable[[int, int], NDArray[np.uint64]] = array_at("keys_at", np.uint64, KEY_WORDS)


def addresses_of(memory: CardMemory) -> Records:
    """One :data:`ADDRESSES`: good as long as the arrays live."""
    arrays: tuple[NDArray[Any], ...] = (
        memory.card,
        *memory.out,
        *memory.into,
        memory.paths,
        *memory.peers,
        *memory.rows,
    )
    addresses = np.zeros(1, ADDRESSES)
    for name, array in zip(_ARRAYS, arrays, strict=True):
        addresses[name], addresses[f"{name}_length"] = array.ctypes.data, len(array)
    return addresses


@kernel
def memory_at(addresses: Records) -> CardMemory:
    """What :func:`addresses_of` was given."""
    at = addresses[0]
    return CardMemory(
        _cards_at(at.card, at.card_length),
        FlowMemory(
            _slots_at(at.out_slots, at.out_slots_length),
            _keys_at(at.out_keys, at.out_keys_length),
            _flows_at(at.out_flows, at.out_flows_length),
        ),
        FlowMemory(
            _slots_at(at.into_slots, at.into_slots_length),
            _keys_at(at.into_keys, at.into_keys_length),
            _flows_at(at.into_flows, at.into_flows_length),
        ),
        _paths_at(at.paths, at.paths_length),
        PeerMemory(
            _slots_at(at.peer_slots, at.peer_slots_length),
            _keys_at(at.peer_keys, at.peer_keys_length),
        ),
        RowMemory(
            _keys_at(at.keys, at.keys_length),
            bytes_at(at.classes, at.classes_length),
            bytes_at(at.services, at.services_length),
            words_at(at.runs, at.runs_length),
            words_at(at.flows, at.flows_length),
            bytes_at(at.status, at.status_length),
        ),
    )
