"""The memory of one card that its kernels work on, and everybody who lays it out: flow tables, paths, VMs' numbers."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from dtls_emu.nic.flow_table import VM_FULL, FlowTable
from dtls_emu.nic.flows import IngressFlow
from dtls_emu.nic.offload.paths import Paths, path_to
from dtls_emu.nic.offload.state import CARD, CardMemory, Records, addresses_of, new_rows
from dtls_emu.vocabulary import DropReason, Verdict


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.lab.topology import Host
    from dtls_emu.nic.flows import EgressFlow


__all__ = ["Datapath"]


class Datapath:
    """What kernels and Python share.

    Fields:
        card: one :data:`~dtls_emu.nic.offload.state.CARD`.
        rows: scratch of the burst at hand.
        out, into: flow tables from VMs and to VMs.
        paths: to other hosts.
        vms, numbers: names of the VMs of this host; their numbers are their places.

    Args:
        vms: see there.
        hosts: how many other hosts there are.
        flows: most flows of each direction.
    """

    def __init__(self, vms: Sequence[str], hosts: int, flows: int, flows_each: int | None = None) -> None:
        self.card: Records = np.zeros(1, CARD)
        self.card["due"] = inf
        self.rows = new_rows()
        self._memory: CardMemory | None = None
        self._addresses: Records | None = None
        self.paths = Paths(hosts, self._moved)
        self.out: FlowTable[EgressFlow] = FlowTable(flows, flows_each, on_move=self._moved)
        self.into: FlowTable[IngressFlow] = FlowTable(flows, flows_each, on_move=self._moved)
        self.vms: tuple[str, ...] = tuple(vms)
        self.numbers = {vm: number for number, vm in enumerate(vms)}

    def number_vms(self, vms: Sequence[str]) -> None:
        """Give these VMs the first numbers, in this order; flows that are there must be decided again."""
        self.vms = (*vms, *(vm for vm in self.vms if vm not in vms))
        self.numbers = {vm: number for number, vm in enumerate(self.vms)}

    @property
    def memory(self) -> CardMemory:
        """What kernels take, as it is now; another after tables have grown or paths have changed."""
        if self._memory is None:
            paths = self.paths
            self._memory = CardMemory(
                self.card, self.out.memory, self.into.memory, paths.table, paths.memory(), self.rows
            )
        return self._memory

    @property
    def addresses(self) -> Records:
        """The same, for :mod:`dtls_emu.nic.offload.entries`."""
        if self._addresses is None:
            self._addresses = addresses_of(self.memory)
        return self._addresses

    def install_out(self, flow: EgressFlow, generation: int, now: float, missed: int) -> int:
        """Enter a decision for the flow whose key is in the first of `rows`, of which so many packets were a miss.

        Returns:
            its number, or what :meth:`~dtls_emu.nic.flow_table.FlowTable.insert` gives instead.
        """
        path = 0
        if flow.peer is not None:
            path = path_to(self.paths.number(flow.peer), sealed=flow.decision.verdict is Verdict.ENCRYPT)
        header = 0 if flow.header is None else flow.header.ctypes.data
        return self.out.insert(
            self.rows.keys,
            0,
            flow,
            (
                generation,
                header,
                0,
                0,
                now,
                flow.expires_at,
                self.numbers[flow.vm],
                path,
                flow.inner_mtu,
                flow.action,
            ),
            now,
            missed,
        )

    def install_in(
        self, row: int, flow: IngressFlow, source: Host | None, generation: int, now: float, missed: int
    ) -> int:
        """Likewise a decision for the flow of any of the rows, which comes from a host; it always gets a number."""
        peer = -1 if source is None else self.paths.number(source)
        vm = self.numbers.get(flow.vm, -1)
        record = (generation, 0, 0, 0, now, inf, vm, peer, 0, flow.action)
        number = self.into.insert(self.rows.keys, row, flow, record, now, missed)
        if number == VM_FULL:
            flow = IngressFlow("", "", DropReason.FLOW_LIMIT, accepts_clear=False)
            record = (generation, 0, 0, 0, now, inf, -1, peer, 0, flow.action)
        return number if number >= 0 else self.into.park(self.rows.keys, row, flow, record, now)

    def _moved(self) -> None:
        self._memory = self._addresses = None
