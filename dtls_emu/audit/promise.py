"""What a template promises of the traffic between two addresses, and whether a finding keeps to it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from dtls_emu.audit.statuses import Kind
from dtls_emu.flow_logs.tally import is_public
from dtls_emu.policy import decide, flow_to
from dtls_emu.vocabulary import Verdict


if TYPE_CHECKING:
    from collections.abc import Collection

    from dtls_emu.audit.finding import Finding
    from dtls_emu.lab.topology import Topology, Vm
    from dtls_emu.policy import Decision, Flow


__all__ = ["Promise"]

_WORSE: Final = {
    Verdict.ENCRYPT: {Kind.CLEAR, Kind.DROPPED},
    Verdict.CLEAR: {Kind.DROPPED},
    Verdict.DROP: {Kind.CLEAR},
}
"""What is worse than what was promised. That two VMs share a host is the cloud's to choose, and no breach of a promise."""


class Promise:
    """What a lab says of the network whose logs are read.

    Fields:
        source: the file.
    """

    def __init__(self, topology: Topology, source: str, known: Collection[str] | None = None) -> None:
        """
        Args:
            topology: the lab.
            source: where it is from.
            known: addresses that are known to be those of the network; None: all of the lab's.
        """
        self.source = source
        self._topology = topology
        self._known = known
        self._vms: dict[str, list[Vm]] = {}
        for vm in topology.vms.values():
            for address in vm.addresses:
                if known is not None and str(address) not in known:
                    continue
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
            is_known = self._known is None or destination in self._known
            located = topology.locate(vm.network, ip_address(destination)) if is_known else None
            if located is None and not is_public(destination):
                return None, vm, None
            flow = _on_two_hosts(flow_to(topology, vm, ip_address(destination)))
            return decide(flow, topology.profile), vm, located
        if len(receivers) == 1 and not senders:
            vm = receivers[0]  # from an address of nobody's in the template, such as a public one
            decision = decide(flow_to(topology, vm, ip_address(source)), topology.profile)
            return (decision, None, vm) if decision.verdict is Verdict.CLEAR else (None, None, vm)
        return None, None, None


def _on_two_hosts(flow: Flow) -> Flow:
    """The same where the ends share no host: which do is the cloud's to choose, and a lab's hosts say nothing of it."""
    if flow.destination is None or flow.destination.host.name != flow.source.host.name:
        return flow
    other = replace(flow.destination, host=replace(flow.destination.host, name=""))
    return replace(flow, destination=other)
