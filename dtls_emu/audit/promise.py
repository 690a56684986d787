"""What a template promises of the traffic between two addresses, and whether a finding keeps to it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from dtls_emu.audit.statuses import Kind
from dtls_emu.flow_logs.tally import is_public
from dtls_emu.policy import decide, flow_to
from dtls_emu.vocabulary import Verdict


if TYPE_CHECKING:
    from dtls_emu.audit.finding import Finding
    from dtls_emu.lab.topology import Topology, Vm
    from dtls_emu.policy import Decision


__all__ = ["Promise"]

_WORSE: Final = {
    Verdict.ENCRYPT: {Kind.CLEAR, Kind.DROPPED, Kind.LOCAL},
    Verdict.CLEAR: {Kind.DROPPED},
    Verdict.DROP: {Kind.CLEAR},
}
"""What is worse than what was promised."""


class Promise:
    """What a lab says of the network whose logs are read.

    Fields:
        source: the file.
    """

    def __init__(self, topology: Topology, source: str) -> None:
        self.source = source
        self._topology = topology
        self._vms: dict[str, list[Vm]] = {}
        for vm in topology.vms.values():
            for address in vm.addresses:
                self._vms.setdefault(str(address), []).append(vm)

    def judge(self, finding: Finding) -> None:
        """Say in a finding what was promised, and give its ends the names that the template has for them."""
        decision, source, destination = self._decide(finding.source, finding.destination)
        if decision is not None:
            finding.promised = f"{decision.verdict}, row {decision.row.number} {decision.row.name}"
            finding.is_unexpected = finding.kind in _WORSE[decision.verdict]
        elif finding.kind is not Kind.PUBLIC:
            finding.promised = "an end is not in the template"
        if source is not None:
            finding.source = f"{source.name} ({finding.source})"
        if destination is not None:
            finding.destination = f"{destination.name} ({finding.destination})"

    def _decide(self, source: str, destination: str) -> tuple[Decision | None, Vm | None, Vm | None]:
        """The decision for what the source sends; two networks may have the same addresses: then there is none."""
        senders, receivers = self._vms.get(source, []), self._vms.get(destination, [])
        topology = self._topology
        if len(senders) == 1:
            vm = senders[0]
            located = topology.locate(vm.network, ip_address(destination))
            if located is None and not is_public(destination):
                return None, vm, None
            decision = decide(flow_to(topology, vm, ip_address(destination)), topology.profile)
            return decision, vm, located
        if len(receivers) == 1 and not senders:
            vm = receivers[0]  # from an address of nobody's in the template, such as a public one
            decision = decide(flow_to(topology, vm, ip_address(source)), topology.profile)
            return (decision, None, vm) if decision.verdict is Verdict.CLEAR else (None, None, vm)
        return None, None, None
