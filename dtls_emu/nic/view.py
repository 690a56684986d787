"""The lab as one card sees it: the one place of a card that knows which lab holds, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.wire.overhead import path_overhead


if TYPE_CHECKING:
    from dtls_emu.lab.topology import Topology, Vm
    from dtls_emu.nic.offload.state import Records


__all__ = ["CardView"]


class CardView:
    """The lab, the host, and the generation of decisions.

    Fields:
        topology: the lab as it stands.
        host: name of the card's.
        vms: VMs of the host by name, each with the VNI of its network.

    Args:
        topology, host: see there.
        card: the card's :data:`~dtls_emu.nic.offload.state.CARD`.
    """

    def __init__(self, topology: Topology, host: str, card: Records) -> None:
        self.host = host
        self.vms: dict[str, tuple[Vm, int]] = {}
        self._card = card
        self._path_limits: dict[str, int] = {}  # what real paths carry, by peer, where that is known
        self.take(topology)

    def take(self, topology: Topology) -> None:
        """Go on under this lab; every flow is decided again."""
        self.topology = topology
        self.vms = {vm.name: (vm, topology.networks[vm.network].vni) for vm in topology.vms_on(self.host)}
        self._card["tos_kept"], self._card["tos_set"] = topology.profile.outer_tos
        self.revalidate()

    @property
    def generation(self) -> int:
        """Of the decisions that hold, from 1 on. AccelNet calls it a generation ID (Firestone et al., NSDI 2018)."""
        return int(self._card["generation"][0])

    def revalidate(self) -> None:
        """Policy, links or tunnels have changed: every flow is decided again at its next packet."""
        self._card["generation"] += 1

    def limit_path(self, peer: str, mtu: int | None) -> None:
        """Keep to what the real path to a host carries, too; None when only the lab's link counts."""
        if mtu is None:
            self._path_limits.pop(peer, None)
        else:
            self._path_limits[peer] = mtu

    def path_mtu(self, peer: str) -> int:
        """Largest outer IP packet on the way to a host, in bytes: of the lab's link and the real path together."""
        link = self.topology.link(self.host, peer).mtu
        return min(link, self._path_limits.get(peer, link))

    def inner_mtu(self, peer: str, *, encrypted: bool) -> int:
        """Largest inner packet on the way to a host: what its path carries, and what a record holds."""
        version = 6 if ":" in self.topology.hosts[peer].underlay else 4
        overhead = path_overhead(encrypted=encrypted, underlay_version=version)
        return overhead.inner_mtu(self.path_mtu(peer))
