"""What the flow table holds: the slow path's decision for one flow, made ready for the fast path."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.policy import Decision
    from dtls_emu.policy.facts import Flow
    from dtls_emu.tunnel.tunnel import Tunnel
    from dtls_emu.vocabulary import DropReason


__all__ = ["EgressFlow", "IngressFlow"]


@dataclass(slots=True)
class EgressFlow:
    """A flow from a VM of this host.

    Fields:
        vm: the VM it belongs to; the same key from another VM is a spoofed source.
        facts, decision: what was decided, and from what.
        local_vm: where it goes on this host, or None.
        tunnel: to the host where it goes, or None: this host, or the internet.
        header: VXLAN and Ethernet in front of every packet, 22 bytes; None where nothing is encapsulated.
        inner_mtu: largest packet that fits the way.
        generation: of the card's policy when it was decided; an older one makes it stale.
        expires_at: when it is to be decided again, in seconds.
        last_seen: of its newest packet, in seconds.
        packets, nbytes: forwarded so far.
    """

    vm: str
    facts: Flow
    decision: Decision
    local_vm: str | None
    tunnel: Tunnel | None
    header: NDArray[np.uint8] | None
    inner_mtu: int
    generation: int
    expires_at: float = inf
    last_seen: float = 0.0
    packets: int = 0
    nbytes: int = 0


@dataclass(slots=True)
class IngressFlow:
    """A flow towards a VM of this host.

    Fields:
        vm: who gets it; meaningless when `refused` is set.
        source_host: the only host it may come from.
        refused: why none of its packets is delivered, or None.
        accepts_clear: packets that come outside the tunnel are delivered.
        generation, last_seen, packets, nbytes: as in :class:`EgressFlow`.
    """

    vm: str
    source_host: str
    refused: DropReason | None
    accepts_clear: bool
    generation: int
    last_seen: float = 0.0
    packets: int = 0
    nbytes: int = 0
