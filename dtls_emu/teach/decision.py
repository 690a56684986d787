"""Explain a decision: which row of the table applies to a flow of a lab, and why each row above it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dtls_emu.lab.endpoint_kinds import ENDPOINTS
from dtls_emu.policy import Basis, Condition, conditions_of, decide, flow_to, rows
from dtls_emu.teach.blocks import Facts, Heading, Table, Text, Verdict
from dtls_emu.teach.document import Document
from dtls_emu.vocabulary import EndpointKind, Outcome
from dtls_emu.vocabulary import Verdict as Decided


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.lab.profiles import Profile
    from dtls_emu.lab.topology import Address, Topology, Vm
    from dtls_emu.policy import Endpoint, Flow, Row, RuleHit, Transport


__all__ = ["BASES", "explain_decision"]

BASES: Final = {
    Basis.DOC: "documented by the vendor",
    Basis.REP: "reported by users",
    Basis.EXC: "seen in an excerpt or a translation of the vendor's text",
    Basis.INF: "inferred; not documented by the vendor",
}


def explain_decision(
    topology: Topology,
    source: Vm,
    destination: Address,
    *,
    fragment: bool = False,
    tunnel_failed: bool = False,
    tunnel_building: bool = False,
    transport: Transport | None = None,
) -> Document:
    """Every row of the table for one flow, from the top to the one that decides.

    Args:
        topology: the lab.
        source: the VM that sends.
        destination: whom it sends to.
        fragment: the packet is an IP fragment.
        tunnel_failed: a tunnel between the hosts was tried and did not come up.
        tunnel_building: it is being built, and packets do not wait for it.
        transport: protocol and ports, for security rules; without one only rules for any of them are asked.
    """
    flow = flow_to(
        topology, source, destination, fragment=fragment, tunnel_failed=tunnel_failed, transport=transport
    )
    flow = replace(flow, tunnel_building=tunnel_building)
    decision = decide(flow, topology.profile)
    document = Document(f"From {source.name} to {destination}")
    document.add(Facts(tuple(_facts(flow, topology))))
    shown, matched = [], 0
    conditions = conditions_of(flow, topology.profile)
    for number, row in enumerate(rows()):
        applies = row.applies(conditions)
        shown.append(_line(row, flow, topology.profile, applies=applies))
        if applies:
            matched = number
            break
    document.add(
        Heading("The table, from the top"),
        Table((">row", "name", "applies", "because"), tuple(shown), marked=frozenset({matched})),
        Verdict(good=decision.verdict is Decided.ENCRYPT, text=_said(decision.row)),
        Text(f"Row {decision.row.number} is {BASES[decision.row.basis]}: {decision.row.source}."),
    )
    for kind in dict.fromkeys(end.vm.kind for end in flow.ends if end.vm.kind is not EndpointKind.VM):
        about = ENDPOINTS[kind]
        document.add(Text(f"Of {about.title} that is {BASES[about.basis]}: {about.source}."))
    if decision.verdict is Decided.ENCRYPT:
        document.add(Text("The destination's card decides the same for packets that come back."))
    return document


def _said(row: Row) -> str:
    code = f", flow-log code {row.code}" if row.code else ", no flow-log code is documented for it"
    if row.verdict is Decided.ENCRYPT:
        return f"Encrypted{code}."
    if row.verdict is Decided.CLEAR:
        return f"In clear{code}."
    return f"Dropped, counted as {row.reason}{code}."


def _line(row: Row, flow: Flow, profile: Profile, *, applies: bool) -> tuple[str, str, str, str]:
    why = row.condition if applies else why_not(row, flow, profile)
    return str(row.number), row.name, "YES" if applies else "no", why


def _facts(flow: Flow, topology: Topology) -> list[tuple[str, str]]:
    found = [(f"{end.vm.name}", _about(end)) for end in flow.ends]
    if flow.destination is None:
        found.append(
            ("destination", "a public address" if flow.internet else "no endpoint with a private route")
        )
    for end in {end.network.name: end for end in flow.ends}.values():
        network = end.network
        said = f"encryption enabled, {network.enforcement}" if network.encrypted else "encryption not enabled"
        found.append((f"network {network.name}", said))
    if flow.rule is not None:
        found.append(("security rule", _about_rule(flow.rule)))
    found.append(("profile", topology.profile.name))
    return found


def _about(end: Endpoint) -> str:
    vm = end.vm
    if vm.kind is EndpointKind.VM:
        words = [f"size {vm.size}, which {'can' if vm.size_capable else 'cannot'} be encrypted"]
        words.append(f"accelerated networking {'on' if vm.accelerated_networking else 'off'}")
    else:
        words = [f"{ENDPOINTS[vm.kind].title}, which {_OUTCOMES[vm.outcome]}"]
    if not vm.running:
        words.append("stopped")
    if not vm.restarted:
        words.append("not stopped and started since encryption was enabled")
    if not vm.flow_table_ready:
        words.append("flow table not ready")
    if not vm.discovery:
        words.append("no discovery")
    words.append(
        f"on host {end.host.name}" + ("" if end.host.smartnic_present else ", whose card is absent or faulty")
    )
    return "; ".join(words)


def _about_rule(rule: RuleHit) -> str:
    whose = f"of security group {rule.acl}" if rule.acl else "of the administrator"
    way = "outbound at the sender" if rule.outbound else "inbound at the receiver"
    return f"{rule.rule} {whose}, {way}, {'denies' if rule.denies else 'allows'} it"


def why_not(row: Row, flow: Flow, profile: Profile) -> str:
    """Why a row does not apply to a flow, in a line: the first of its conditions that does not hold."""
    held = conditions_of(flow, profile)
    for condition in row.needs:
        if not condition & held:
            return _ABSENT[condition](flow)
    for condition in row.lacks:
        if condition & held:
            return _PRESENT[condition](flow)
    return "; ".join(_ABSENT[condition](flow) for condition in row.any_of)


def _routed(flow: Flow) -> str:
    if flow.destination is not None:
        return f"{flow.destination.vm.name} has a private route"
    return "the address is public"


def _all_encrypted(flow: Flow) -> str:
    names = dict.fromkeys(end.network.name for end in flow.ends)
    return f"encryption is enabled in {' and '.join(names)}"


def _encrypted(flow: Flow) -> str:
    return f"encryption is enabled in {next(end.network.name for end in flow.ends if end.network.encrypted)}"


def _other_hosts(flow: Flow) -> str:
    names = dict.fromkeys(end.host.name for end in flow.ends)
    return f"they live on {' and '.join(names)}" if len(names) > 1 else "there is one end only"


def _dropping(flow: Flow) -> str:
    return f"{next(end.network.name for end in flow.ends if end.drops_unencrypted)} has DropUnencrypted"


def _not_dropping(flow: Flow) -> str:
    names = dict.fromkeys(end.network.name for end in flow.ends if not end.drops_unencrypted)
    return f"{next(iter(names), 'no network')} has AllowUnencrypted"


def _not_in_clear(flow: Flow) -> str:
    ends = [end.network for end in flow.ends]
    if len(ends) == 2 and ends[0].name != ends[1].name and ends[0].groups & ends[1].groups:
        return "the profile takes a connected group like a peering"
    return "no connected group joins them"


def _kinds(flow: Flow) -> str:
    titles = dict.fromkeys(ENDPOINTS[end.vm.kind].title for end in flow.ends)
    return " and ".join(titles)


_OUTCOMES: Final = {
    Outcome.AS_VM: "is encrypted as a VM is",
    Outcome.CLEAR: "is never encrypted",
    Outcome.FAILS: "loses connectivity in an encrypted network",
}

_ABSENT: Final[dict[Condition, Callable[[Flow], str]]] = {
    Condition.NO_ROUTE: _routed,
    Condition.DENIED: lambda _: "no security rule denies it",
    Condition.PUBLIC: lambda _: "the destination is a private address",
    Condition.PLAIN_NETWORK: _all_encrypted,
    Condition.CLEAR_END: lambda flow: f"no end is of a kind that is never encrypted: {_kinds(flow)}",
    Condition.FAILING_END: lambda flow: f"no end is of a kind that is unsupported: {_kinds(flow)}",
    Condition.GROUP_IN_CLEAR: _not_in_clear,
    Condition.SAME_HOST: _other_hosts,
    Condition.FRAGMENT: lambda _: "the packet is whole",
    Condition.NOT_READY: lambda _: "the flow tables of both ends are ready",
    Condition.NO_DISCOVERY: lambda _: "the hosts of both ends support discovery",
    Condition.NO_CARD: lambda _: "no VM that can be encrypted is on a host without a card",
    Condition.INCAPABLE: lambda _: "both VMs can be encrypted: size, accelerated networking, started since",
    Condition.TUNNEL_FAILED: lambda _: "no tunnel has failed",
    Condition.TUNNEL_BUILDING: lambda _: "no packet goes ahead of its tunnel",
    Condition.DROPS: _not_dropping,
    Condition.FRAGMENTS_PASS: lambda _: "the profile drops fragments",
    Condition.FIRST_PACKETS_PASS: lambda _: "the profile has packets wait for their tunnel, or drops them",
    Condition.PLAIN_PEERS_DROP: lambda _: "the profile lets it pass: `plain_peer: clear`",
    Condition.SAME_HOST_DROPS: lambda _: "the profile lets it pass: `same_host: clear`",
    Condition.MISSING_CARD_DROPS: lambda _: "the profile lets it pass: `card_missing: clear`",
    Condition.INCAPABLE_IS_HARDWARE: lambda _: "the profile has `incapable_code: NX_FALLBACK`",
}
"""What is said where a condition that a row needs does not hold."""

_PRESENT: Final[dict[Condition, Callable[[Flow], str]]] = {
    Condition.ENCRYPTED_NETWORK: _encrypted,
    Condition.DROPS: _dropping,
}
"""What is said where a condition holds that a row must lack."""
