"""The decision as a table of rows.

The numbers are those of the reference table that the emulator follows. Each row is reached by some lab. Rows 2, 6 and 7 (security rules, and
ends that are no VM: gateways, private endpoints, load balancers) need facts that a lab file cannot state yet.
Of row 9 the table decides fragments; a packet that does not fit the path is the card's to drop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from dtls_emu.vocabulary import DropReason, FirstPacket, FlowEncryption, Verdict


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.lab.profiles import Profile
    from dtls_emu.policy.facts import Flow


__all__ = ["Basis", "Row", "rows"]


class Basis(StrEnum):
    """How sure the source of a row is."""

    DOC = "DOC"  # stated in the vendor's document
    EXC = "EXC"  # seen in an excerpt or a translation of it
    INF = "INF"  # inferred from documented text, which does not say it outright


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Fields:
        number: of the reference table; a number that depends on the profile has several rows.
        name: short, for reports.
        condition: when it applies, in words.
        applies: the same as a predicate.
        verdict: what happens to the flow.
        code: field 9 of the flow-log tuple; None where no tuple is written.
        reason: what the dropped packets are counted as; None unless ``verdict`` is DROP.
        basis, source: how sure, and where it is said.
    """

    number: int
    name: str
    condition: str
    applies: Callable[[Flow, Profile], bool]
    verdict: Verdict
    code: FlowEncryption | None
    reason: DropReason | None
    basis: Basis
    source: str


def rows() -> tuple[Row, ...]:
    """The table, top to bottom."""
    return _ROWS


def _no_private_route(flow: Flow, _: Profile) -> bool:
    return flow.destination is None and not flow.internet


def _internet(flow: Flow, _: Profile) -> bool:
    return flow.internet


def _neither_encrypted(flow: Flow, _: Profile) -> bool:
    return not any(end.network.encrypted for end in flow.ends)


def _one_encrypted(flow: Flow, _: Profile) -> bool:
    return not all(end.network.encrypted for end in flow.ends)


def _same_host(flow: Flow, _: Profile) -> bool:
    return len({end.host.name for end in flow.ends}) == 1


def _fragment_tolerated(flow: Flow, profile: Profile) -> bool:
    return flow.fragment and profile.fragments is Verdict.CLEAR and _nobody_drops(flow)


def _fragment(flow: Flow, _: Profile) -> bool:
    return flow.fragment


def _flow_table_not_ready(flow: Flow, _: Profile) -> bool:
    return not all(end.vm.flow_table_ready for end in flow.ends)


def _no_discovery(flow: Flow, _: Profile) -> bool:
    return not all(end.vm.discovery for end in flow.ends)


def _card_missing(flow: Flow, _: Profile) -> bool:
    return _nobody_drops(flow) and any(
        end.vm.size_capable and not end.host.smartnic_present for end in flow.ends
    )


def _end_incapable(flow: Flow, _: Profile) -> bool:
    return _nobody_drops(flow) and not all(end.can_encrypt for end in flow.ends)


def _tunnel_failed(flow: Flow, _: Profile) -> bool:
    return _nobody_drops(flow) and flow.tunnel_failed


def _tunnel_building(flow: Flow, profile: Profile) -> bool:
    return _nobody_drops(flow) and flow.tunnel_building and profile.first_packet is FirstPacket.CLEAR


def _not_accepted(flow: Flow, _: Profile) -> bool:
    return flow.tunnel_failed or not all(end.can_encrypt and end.host.smartnic_present for end in flow.ends)


def _otherwise(_flow: Flow, _: Profile) -> bool:
    return True


def _nobody_drops(flow: Flow) -> bool:
    return not any(end.drops_unencrypted for end in flow.ends)


# From row 8 on both networks are encrypted: rows 4 and 5 have taken every other flow.
_ROWS: Final = (
    Row(
        1,
        "no private route",
        "no VM that the sender has a private route to, and no public address",
        _no_private_route,
        Verdict.DROP,
        FlowEncryption.NX,
        DropReason.NO_ROUTE,
        Basis.INF,
        "routing: neither a prefix of the network, nor of a peered one, nor the internet",
    ),
    Row(
        3,
        "internet",
        "the destination is a public address",
        _internet,
        Verdict.CLEAR,
        FlowEncryption.NX,
        None,
        Basis.DOC,
        "preview overview: public IP traffic is neither dropped nor encrypted in either mode",
    ),
    Row(
        4,
        "neither network encrypted",
        "encryption is enabled in neither network",
        _neither_encrypted,
        Verdict.CLEAR,
        FlowEncryption.NX,
        None,
        Basis.DOC,
        "flow logs: NX is the default",
    ),
    Row(
        5,
        "one network encrypted",
        "encryption is enabled in one network only, in either enforcement mode",
        _one_encrypted,
        Verdict.CLEAR,
        FlowEncryption.NX,
        None,
        Basis.INF,
        "flow logs: NX covers an end that lacks encryption, NX_NOT_ACCEPTED needs both",
    ),
    Row(
        8,
        "same host",
        "both VMs live on one host",
        _same_host,
        Verdict.CLEAR,
        FlowEncryption.NX_LOCAL_DST,
        None,
        Basis.DOC,
        "flow logs: not encrypted by design; that DropUnencrypted does not change it is inferred",
    ),
    Row(
        9,
        "fragment tolerated",
        "an IP fragment, the lab says `fragments: clear`, and neither network drops unencrypted",
        _fragment_tolerated,
        Verdict.CLEAR,
        FlowEncryption.NX,
        None,
        Basis.DOC,
        "FAQ 2023: fragmented packets are not offloaded and do not get encrypted",
    ),
    Row(
        9,
        "fragment",
        "an IP fragment",
        _fragment,
        Verdict.DROP,
        None,  # no status is documented for it, and none is invented
        DropReason.FRAGMENT,
        Basis.EXC,
        "FAQ since 2025: fragmented packets are not offloaded to hardware and are therefore dropped",
    ),
    Row(
        10,
        "flow table not ready",
        "the flow table of an end is not ready: first boot, restart, servicing of its host",
        _flow_table_not_ready,
        Verdict.DROP,
        FlowEncryption.NX_SW_NOT_READY,
        DropReason.SW_NOT_READY,
        Basis.DOC,
        "flow logs: in all these scenarios the packet is dropped",
    ),
    Row(
        11,
        "no discovery",
        "the networking stack of an end does not support discovery",
        _no_discovery,
        Verdict.DROP,
        FlowEncryption.NX_NOT_SUPPORTED,
        DropReason.NOT_SUPPORTED,
        Basis.DOC,
        "flow logs: the session was not established, the packet is dropped",
    ),
    Row(
        12,
        "no card",
        "a VM's size can encrypt but its host's card is absent or faulty, and both networks allow unencrypted",
        _card_missing,
        Verdict.CLEAR,
        FlowEncryption.NX_HW_NOT_SUPPORTED,
        None,
        Basis.INF,
        "flow logs document the code, not whether the packet passes",
    ),
    Row(
        13,
        "incapable VM",
        "a size cannot encrypt, accelerated networking is off, or a VM was not stopped and started since "
        "encryption was enabled, and both networks allow unencrypted",
        _end_incapable,
        Verdict.CLEAR,
        FlowEncryption.NX_FALLBACK,
        None,
        Basis.INF,
        "overview: traffic to unsupported VMs is unencrypted; which code it gets is not said",
    ),
    Row(
        14,
        "tunnel failed",
        "the tunnel did not come up, and both networks allow unencrypted",
        _tunnel_failed,
        Verdict.CLEAR,
        FlowEncryption.NX_FALLBACK,
        None,
        Basis.DOC,
        "flow logs: encryption was attempted and had a problem, the flow is allowed",
    ),
    Row(
        14,
        "tunnel being built",
        "the tunnel is being built, the lab says `first_packet: clear`, and both networks allow unencrypted",
        _tunnel_building,
        Verdict.CLEAR,
        FlowEncryption.NX_FALLBACK,
        None,
        Basis.INF,
        "first packets are not documented; NX_FALLBACK is the code of what was attempted and went in clear",
    ),
    Row(
        15,
        "not accepted",
        "as 12 or 13, or the tunnel did not come up, but a network drops unencrypted",
        _not_accepted,
        Verdict.DROP,
        FlowEncryption.NX_NOT_ACCEPTED,
        DropReason.NOT_ACCEPTED,
        Basis.DOC,
        "flow logs, for DropUnencrypted on both ends; for one end inferred, as NX_FALLBACK needs Allow on both",
    ),
    Row(
        16,
        "encrypted",
        "both ends can encrypt and the tunnel is up, or is to be built",
        _otherwise,
        Verdict.ENCRYPT,
        FlowEncryption.X,
        None,
        Basis.DOC,
        "flow logs: encryption is configured, and the platform encrypted the connection",
    ),
)
