"""Explain a decision: which row of the table applies to a flow of a lab, and why each row above it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dtls_emu.policy import Basis, decide, flow_to, rows
from dtls_emu.teach.blocks import Facts, Heading, Table, Text, Verdict
from dtls_emu.teach.document import Document
from dtls_emu.vocabulary import Verdict as Decided


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.lab.profiles import Profile
    from dtls_emu.lab.topology import Address, Topology, Vm
    from dtls_emu.policy import Endpoint, Flow, Row


__all__ = ["BASES", "explain_decision"]

BASES: Final = {
    Basis.DOC: "documented by the vendor",
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
) -> Document:
    """Every row of the table for one flow, from the top to the one that decides.

    Args:
        topology: the lab.
        source: the VM that sends.
        destination: whom it sends to.
        fragment: the packet is an IP fragment.
        tunnel_failed: a tunnel between the hosts was tried and did not come up.
        tunnel_building: it is being built, and packets do not wait for it.
    """
    flow = flow_to(topology, source, destination, fragment=fragment, tunnel_failed=tunnel_failed)
    flow = replace(flow, tunnel_building=tunnel_building)
    decision = decide(flow, topology.profile)
    document = Document(f"From {source.name} to {destination}")
    document.add(Facts(tuple(_facts(flow, topology))))
    shown, matched = [], 0
    for number, row in enumerate(rows()):
        applies = row.applies(flow, topology.profile)
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
        found.append(("destination", "a public address" if flow.internet else "no VM with a private route"))
    for end in {end.network.name: end for end in flow.ends}.values():
        network = end.network
        said = f"encryption enabled, {network.enforcement}" if network.encrypted else "encryption not enabled"
        found.append((f"network {network.name}", said))
    found.append(("profile", topology.profile.name))
    return found


def _about(end: Endpoint) -> str:
    vm = end.vm
    words = [f"size {vm.size}, which {'can' if vm.size_capable else 'cannot'} be encrypted"]
    words.append(f"accelerated networking {'on' if vm.accelerated_networking else 'off'}")
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


def why_not(row: Row, flow: Flow, profile: Profile) -> str:
    """Why a row does not apply to a flow, in a line: the first fact that its condition lacks."""
    return next(said for said in (each(flow, profile) for each in _REASONS[row.name]) if said)


def _routed(flow: Flow, _: Profile) -> str:
    if flow.destination is not None:
        return f"{flow.destination.vm.name} has a private route"
    return "the address is public" if flow.internet else ""


def _not_public(flow: Flow, _: Profile) -> str:
    return "" if flow.internet else "the destination is a private address"


def _some_encrypted(flow: Flow, _: Profile) -> str:
    names = [end.network.name for end in flow.ends if end.network.encrypted]
    return f"encryption is enabled in {names[0]}" if names else ""


def _all_encrypted(flow: Flow, _: Profile) -> str:
    names = dict.fromkeys(end.network.name for end in flow.ends)
    return f"encryption is enabled in {' and '.join(names)}"


def _other_hosts(flow: Flow, _: Profile) -> str:
    names = dict.fromkeys(end.host.name for end in flow.ends)
    return f"they live on {' and '.join(names)}" if len(names) > 1 else ""


def _no_fragment(flow: Flow, _: Profile) -> str:
    return "" if flow.fragment else "the packet is whole"


def _not_tolerated(_flow: Flow, profile: Profile) -> str:
    return "" if profile.fragments is Decided.CLEAR else "the profile drops fragments"


def _dropping(flow: Flow, _: Profile) -> str:
    names = [end.network.name for end in flow.ends if end.drops_unencrypted]
    return f"{names[0]} has DropUnencrypted" if names else ""


def _ready(_flow: Flow, _profile: Profile) -> str:
    return "the flow tables of both ends are ready"


def _discoverable(_flow: Flow, _profile: Profile) -> str:
    return "the hosts of both ends support discovery"


def _cards_there(_flow: Flow, _profile: Profile) -> str:
    return "no VM that can be encrypted is on a host without a card"


def _capable(_flow: Flow, _profile: Profile) -> str:
    return "both VMs can be encrypted: size, accelerated networking, started since"


def _not_failed(flow: Flow, _: Profile) -> str:
    return "" if flow.tunnel_failed else "no tunnel has failed"


def _not_building(flow: Flow, _: Profile) -> str:
    return "" if flow.tunnel_building else "no packet goes ahead of its tunnel"


def _waits(_flow: Flow, _profile: Profile) -> str:
    return "the profile has packets wait for their tunnel, or drops them"


def _accepted(_flow: Flow, _profile: Profile) -> str:
    return "both VMs and both cards can encrypt, and no tunnel has failed"


_REASONS: Final[dict[str, tuple[Callable[[Flow, Profile], str], ...]]] = {
    "no private route": (_routed,),
    "internet": (_not_public,),
    "neither network encrypted": (_some_encrypted,),
    "one network encrypted": (_all_encrypted,),
    "same host": (_other_hosts,),
    "fragment tolerated": (_no_fragment, _not_tolerated, _dropping),
    "fragment": (_no_fragment,),
    "flow table not ready": (_ready,),
    "no discovery": (_discoverable,),
    "no card": (_dropping, _cards_there),
    "incapable VM": (_dropping, _capable),
    "tunnel failed": (_dropping, _not_failed),
    "tunnel being built": (_dropping, _not_building, _waits),
    "not accepted": (_accepted,),
}
"""By name of the row; the last reason of each holds whenever the others do not and the row does not apply."""
