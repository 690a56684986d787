"""What the slow path has decided for one flow; :mod:`dtls_emu.nic.flow_table` keeps it, and counts."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from dtls_emu.nic.offload.state import DELIVER, DELIVER_ANY, DROP, GATEWAY, LOCAL, SEND
from dtls_emu.vocabulary import Verdict


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.lab.topology import Host
    from dtls_emu.policy import Decision
    from dtls_emu.policy.facts import Flow
    from dtls_emu.vocabulary import DropReason


__all__ = ["EgressFlow", "IngressFlow"]


@dataclass(frozen=True, slots=True)
class EgressFlow:
    """A flow from a VM of this host.

    Fields:
        vm: the VM it belongs to; the same key from another VM is a spoofed source.
        facts, decision: what was decided, and from what.
        local_vm: where it goes on this host, or None.
        peer: the host where it goes, or None: this host, or the internet.
        header: VXLAN and Ethernet in front of every packet, 22 bytes; None where nothing is encapsulated.
        inner_mtu: largest packet that fits the path.
        expires_at: when it is to be decided again, in seconds.
    """

    vm: str
    facts: Flow
    decision: Decision
    local_vm: str | None
    peer: Host | None
    header: NDArray[np.uint8] | None
    inner_mtu: int
    expires_at: float = inf

    @property
    def action(self) -> int:
        """What is done with its packets, for a :data:`~dtls_emu.nic.offload.state.FLOW`."""
        if self.decision.verdict is Verdict.DROP:
            return DROP
        if self.peer is not None:
            return SEND
        return GATEWAY if self.local_vm is None else LOCAL


@dataclass(frozen=True, slots=True)
class IngressFlow:
    """A flow towards a VM of this host.

    Fields:
        vm: who gets it; "" when `refused` is set.
        source_host: the only host it may come from.
        refused: why none of its packets is delivered, or None.
        accepts_clear: packets that come outside the tunnel are delivered.
        decision: what was decided; None when it did not come as far as that.
        fallback: what holds for packets that come outside the tunnel; likewise.
    """

    vm: str
    source_host: str
    refused: DropReason | None
    accepts_clear: bool
    decision: Decision | None = None
    fallback: Decision | None = None

    @property
    def action(self) -> int:
        """What is done with its packets, for a :data:`~dtls_emu.nic.offload.state.FLOW`."""
        if self.refused is not None:
            return DROP
        return DELIVER_ANY if self.accepts_clear else DELIVER
