"""The fast path of a card, as its surroundings see it: which flows and ways are offloaded to compiled code.

As in the cloud's own cards (Firestone et al., NSDI 2018) the first packet of a flow is an exception: the slow path
decides, and the flow is offloaded. From then on :mod:`dtls_emu.nic.offload.kernels` carries its packets, and nothing
in Python runs for them, until something about it changes: policy, links, the tunnel's association. Then its
packets are exceptions again.

Everything that both paths change (record numbers, replay windows, timers) is one piece of memory that both work
on, so they may take turns at any time. What only counts is entered in the card's books by :meth:`FastPath.settle`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.crypto.native import native_end
from dtls_emu.nic.egress import VXLAN_PORT
from dtls_emu.nic.flow_table import (
    FACT_GENERATION,
    FACT_HEADER,
    FACT_LIMIT,
    FACT_VM,
    FACT_WAY,
    place_key,
)
from dtls_emu.nic.offload.kernels import (
    DELIVERED,
    DELIVERED_BYTES,
    ENCRYPTED,
    GENERATION,
    IN_CLEAR,
    KEYED_ROWS,
    NUMBERS,
    OFFERED,
    OFFERED_BYTES,
    PEER,
    RECEIVED,
    TOS_KEPT,
    TOS_SET,
    WAY_BYTES,
    WAY_EPOCH,
    WAY_LENGTH,
    WAY_LOCAL_PORT,
    WAY_OPEN,
    WAY_OPEN_STATE,
    WAY_REMOTE_PORT,
    WAY_SEAL,
    WAY_SEAL_STATE,
    WAY_SEALED,
    WAY_SEQUENCE,
    WAY_STATE,
    WAY_TIMES,
    WAY_WINDOW,
    WAY_WINDOW_WORDS,
    WAY_WORDS,
    FastState,
)
from dtls_emu.vocabulary import Verdict
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.inspect import KEY_WORDS, PacketClass, address_words


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from dtls_emu.nic.egress import Egress
    from dtls_emu.nic.ingress import Ingress
    from dtls_emu.tunnel.association import Association
    from dtls_emu.tunnel.tunnel import Tunnel


__all__ = ["FastPath"]

_NEVER: Final = 1 << 62
_WHOLE: Final = int(PacketClass.WHOLE)


class FastPath:
    """What of one card is offloaded.

    Fields:
        ways: how many; the way to peer ``i`` is ``i`` when sealed, and ``i + ways // 2`` in clear.
        peers: name of the host at the other end of each way.
        addresses: underlay address of the other end, and its UDP port (0: not yet), of each way.
        on_way: called with the number of a way that has changed: its ports, or whether it is usable.

    Args:
        egress, ingress: the card's two ways through.
        tunnels: by name of the peer host.
        vms: names of the VMs of this host; their numbers are their places.
    """

    def __init__(
        self,
        egress: Egress,
        ingress: Ingress,
        tunnels: Mapping[str, Tunnel],
        vms: Sequence[str],
    ) -> None:
        self._egress = egress
        self._ingress = ingress
        self._vms = {vm: number for number, vm in enumerate(vms)}
        self._peers = {peer: number for number, peer in enumerate(tunnels)}
        self._associations: list[Association | None] = [None] * len(tunnels)  # keeps alive what ways point to
        self.ways = 2 * len(tunnels)
        self.peers = [*tunnels, *tunnels]
        self.addresses = [(tunnel.peer.address, 0) for tunnel in tunnels.values()] * 2
        self.on_way: Callable[[int], None] = lambda _way: None
        self._table: NDArray[np.int64] = np.zeros((max(self.ways, 1), WAY_LENGTH), np.int64)
        self._numbers: NDArray[np.int64] = np.zeros(NUMBERS, np.int64)
        self._due = np.full(1, inf)
        words = [address_words(tunnel.peer.address) for tunnel in tunnels.values()]
        self._words: NDArray[np.uint64] = np.array(words, np.uint64).reshape(-1, 2)
        self._keys: NDArray[np.uint64] = np.zeros((MAX_ROWS, KEY_WORDS), np.uint64)
        self._classes: NDArray[np.uint8] = np.zeros(MAX_ROWS, np.uint8)
        self._state: FastState | None = None
        for number, tunnel in enumerate(tunnels.values()):
            clear = number + len(tunnels)
            self._table[[number, clear], PEER] = number
            self._table[clear, [WAY_STATE, WAY_LOCAL_PORT]] = 1, VXLAN_PORT
            self.addresses[clear] = (tunnel.peer.address, VXLAN_PORT)
            self.refresh(tunnel)

    @property
    def state(self) -> FastState:
        """What the kernels take, as it is now; another after anything has changed but their own counting."""
        out, into = self._egress.flows, self._ingress.flows
        numbers, egress = self._numbers, self._egress
        numbers[GENERATION] = egress.generation + 1  # 0: never offloaded
        numbers[TOS_KEPT], numbers[TOS_SET] = egress.tos_kept, egress.tos_set
        state = self._state
        if state is None or state.out_keys is not out.keys or state.in_keys is not into.keys:
            slots, keys, ways = self._peer_table()
            self._state = state = FastState(
                out.slots,
                out.keys,
                out.facts,
                into.slots,
                into.keys,
                into.facts,
                self._table,
                slots,
                keys,
                ways,
                self._numbers,
                self._due,
                self._keys,
                self._classes,
                np.zeros(MAX_ROWS + 1, np.int64),
                np.zeros(MAX_ROWS, np.uint8),
                np.zeros(MAX_ROWS, np.int64),
                np.zeros(MAX_ROWS, np.uint8),
            )
        return state

    def refresh(self, tunnel: Tunnel) -> None:
        """A tunnel has changed: offload the association that seals, or take the way back."""
        number = self._peers[tunnel.peer.name]
        association = tunnel.steady
        if association is self._associations[number]:
            return
        about = self._table[number]
        about[WAY_STATE] = 0
        self._associations[number] = None
        self._state = None
        if association is not None:
            sealer, opener = native_end(association.sealer), native_end(association.opener)
            if sealer is not None and opener is not None:
                about[[WAY_SEALED, WAY_EPOCH]] = 1, association.epoch
                about[[WAY_LOCAL_PORT, WAY_REMOTE_PORT]] = association.ends
                about[[WAY_SEAL, WAY_SEAL_STATE]] = sealer
                about[[WAY_OPEN, WAY_OPEN_STATE]] = opener
                about[WAY_SEQUENCE] = association.worn_from
                about[WAY_BYTES] = min(association.worn_bytes, _NEVER)
                about[WAY_WORDS] = association.words.ctypes.data
                about[WAY_WINDOW] = association.window.state.ctypes.data
                about[WAY_WINDOW_WORDS] = len(association.window.state)
                about[WAY_TIMES] = tunnel.times.ctypes.data
                about[WAY_STATE] = 1
                self._associations[number] = association
                self.addresses[number] = (tunnel.peer.address, association.remote_port)
        self.on_way(number)

    def local_port(self, way: int) -> int:
        """UDP port of this host that a way leaves from; 0 while it is not usable."""
        return int(self._table[way, WAY_LOCAL_PORT]) if self._table[way, WAY_STATE] else 0

    def offload_out(self) -> None:
        """Offload the flow of the packet that was planned last, if the slow path has decided that it may be."""
        if self._classes[0] != _WHOLE:
            return
        flows = self._egress.flows
        located = flows.locate(self._keys, 0)
        if located is None:
            return
        index, flow = located
        encrypted = flow.decision.verdict is Verdict.ENCRYPT
        if (
            flow.generation != self._egress.generation
            or flow.expires_at < inf
            or flow.tunnel is None
            or flow.header is None
            or not (encrypted or flow.decision.verdict is Verdict.CLEAR)
        ):
            return
        peer = self._peers[flow.tunnel.peer.name]
        facts = flows.facts[index]
        facts[FACT_VM] = self._vms[flow.vm]
        facts[FACT_WAY] = peer if encrypted else peer + len(self._peers)
        facts[FACT_LIMIT] = flow.inner_mtu
        facts[FACT_HEADER] = flow.header.ctypes.data
        facts[FACT_GENERATION] = flow.generation + 1

    def offload_in(self) -> None:
        """Likewise the flows of the burst that was opened last, if it came as far as being looked at."""
        flows = self._ingress.flows
        for row in range(int(self._numbers[KEYED_ROWS])):
            located = flows.locate(self._keys, row) if self._classes[row] == _WHOLE else None
            if located is None:
                continue
            index, flow = located
            peer = self._peers.get(flow.source_host)
            if flow.generation != self._ingress.generation or flow.refused is not None or peer is None:
                continue  # a flow between VMs of this host has no peer: whoever sends it over the fabric forges it
            facts = flows.facts[index]
            facts[FACT_VM] = self._vms[flow.vm]
            facts[FACT_WAY] = peer
            facts[FACT_LIMIT] = flow.accepts_clear
            facts[FACT_GENERATION] = flow.generation + 1

    def settle(self) -> float:
        """Enter in the card's books what was carried. Returns when a timer is due that was set, or infinity."""
        numbers = self._numbers.tolist()
        if numbers[OFFERED]:
            out = self._egress.counters
            out.offered += numbers[OFFERED]
            out.offered_bytes += numbers[OFFERED_BYTES]
            out.encrypted += numbers[ENCRYPTED]
            out.clear += numbers[IN_CLEAR]
        if numbers[RECEIVED]:
            into = self._ingress.counters
            into.received += numbers[RECEIVED]
            into.delivered += numbers[DELIVERED]
            into.delivered_bytes += numbers[DELIVERED_BYTES]
        self._numbers[OFFERED : DELIVERED_BYTES + 1] = 0
        due, self._due[0] = float(self._due[0]), inf
        return due

    def _peer_table(self) -> tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.int64]]:
        """From a datagram's ports and sender to its way; a sender's port does not matter in clear."""
        usable = np.flatnonzero(self._table[:, WAY_STATE])
        about = self._table[usable]
        keys = np.zeros((len(usable), KEY_WORDS), np.uint64)
        keys[:, 0] = about[:, WAY_LOCAL_PORT] << 16 | about[:, WAY_REMOTE_PORT]
        keys[:, 1:3] = self._words[about[:, PEER]]
        slots = np.full(2 << max(len(usable), 1).bit_length(), -1, np.int32)
        for row in range(len(keys)):
            place_key(slots, keys, row)
        return slots, keys, usable
