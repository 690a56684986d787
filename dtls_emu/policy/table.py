"""The decision as a table of rows: data, evaluated from the top; the first that applies decides.

The numbers are those of the reference table that the emulator follows; a number whose row depends on a knob of the
profile, or on more than one fact, stands at several rows. Of row 9 the table decides fragments; a packet that does not
fit the path is the card's to drop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dtls_emu.policy.conditions import Condition
from dtls_emu.vocabulary import Basis, DropReason, FlowEncryption, Verdict


__all__ = ["Basis", "Row", "rows"]

_NONE: Final = Condition(0)


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Fields:
        number: of the reference table.
        name: short, for reports.
        condition: when it applies, in words.
        verdict: what happens to the flow.
        code: field 9 of the flow-log tuple; None where no tuple is written.
        reason: what the dropped packets are counted as; None unless ``verdict`` is DROP.
        basis, source: how sure, and where it is said.
        needs: conditions that all hold.
        lacks: conditions none of which holds.
        any_of: conditions of which one holds at least; none are named where nothing is asked.
    """

    number: int
    name: str
    condition: str
    verdict: Verdict
    code: FlowEncryption | None
    reason: DropReason | None
    basis: Basis
    source: str
    needs: Condition = _NONE
    lacks: Condition = _NONE
    any_of: Condition = _NONE

    def applies(self, conditions: int) -> bool:
        """Whether the row applies where these :class:`~dtls_emu.policy.conditions.Condition` bits hold."""
        if conditions & self.needs != self.needs or conditions & self.lacks:
            return False
        return not self.any_of or bool(conditions & self.any_of)


def rows() -> tuple[Row, ...]:
    """The table, top to bottom."""
    return _ROWS


# From row 8 on both networks are encrypted: rows 4 and 5 have taken every other flow.
_ROWS: Final = (
    Row(
        1,
        "no private route",
        "no VM that runs and that the sender has a private route to, and no public address; or the sender is stopped",
        Verdict.DROP,
        FlowEncryption.NX,
        DropReason.NO_ROUTE,
        Basis.INF,
        "routing: neither a prefix of the network, nor of a peered one, nor the internet",
        needs=Condition.NO_ROUTE,
    ),
    Row(
        2,
        "denied",
        "a security rule denies it: of an administrator, or of a security group",
        Verdict.DROP,
        FlowEncryption.NX,
        DropReason.DENIED,
        Basis.DOC,
        "flow logs: denied flows have D and NX, and the rule that denies",
        needs=Condition.DENIED,
    ),
    Row(
        3,
        "internet",
        "the destination is a public address",
        Verdict.CLEAR,
        FlowEncryption.NX,
        None,
        Basis.DOC,
        "preview overview: public IP traffic is neither dropped nor encrypted in either mode",
        needs=Condition.PUBLIC,
    ),
    Row(
        4,
        "neither network encrypted",
        "encryption is enabled in neither network",
        Verdict.CLEAR,
        FlowEncryption.NX,
        None,
        Basis.DOC,
        "flow logs: NX is the default",
        lacks=Condition.ENCRYPTED_NETWORK,
    ),
    Row(
        5,
        "plain peer refused",
        "encryption is enabled in one network only, which drops unencrypted, and the lab says `plain_peer: drop`",
        Verdict.DROP,
        FlowEncryption.NX_NOT_ACCEPTED,
        DropReason.NOT_ACCEPTED,
        Basis.INF,
        "not documented by the vendor; the strict reading of DropUnencrypted",
        needs=Condition.PLAIN_NETWORK | Condition.DROPS | Condition.PLAIN_PEERS_DROP,
    ),
    Row(
        5,
        "one network encrypted",
        "encryption is enabled in one network only, in either enforcement mode",
        Verdict.CLEAR,
        FlowEncryption.NX,
        None,
        Basis.INF,
        "flow logs: NX covers an end that lacks encryption, NX_NOT_ACCEPTED needs both",
        needs=Condition.PLAIN_NETWORK,
    ),
    Row(
        6,
        "end never encrypted",
        "an end is of a kind that is reachable and never encrypted: a gateway, a private endpoint, a firewall",
        Verdict.CLEAR,
        FlowEncryption.NX,
        None,
        Basis.DOC,
        "overview, supported scenarios: supported, not encrypted; that the code is NX is inferred",
        needs=Condition.CLEAR_END,
    ),
    Row(
        6,
        "connected group in clear",
        "the ends are joined by a network manager's connected group, and the lab says `connected_group: clear`",
        Verdict.CLEAR,
        FlowEncryption.NX,
        None,
        Basis.INF,
        "not documented by the vendor; by default a connected group is taken like a peering",
        needs=Condition.GROUP_IN_CLEAR,
    ),
    Row(
        7,
        "end loses connectivity",
        "an end is of a kind that is not supported: a DNS private resolver, a load balancer of mixed sizes",
        Verdict.DROP,
        None,
        DropReason.UNSUPPORTED_END,
        Basis.DOC,
        "overview, supported scenarios: not supported; no flow-log code is documented",
        needs=Condition.FAILING_END,
    ),
    Row(
        8,
        "same host refused",
        "both VMs live on one host, a network drops unencrypted, and the lab says `same_host: drop`",
        Verdict.DROP,
        FlowEncryption.NX_NOT_ACCEPTED,
        DropReason.NOT_ACCEPTED,
        Basis.INF,
        "not documented by the vendor; the strict reading of DropUnencrypted",
        needs=Condition.SAME_HOST | Condition.DROPS | Condition.SAME_HOST_DROPS,
    ),
    Row(
        8,
        "same host",
        "both VMs live on one host",
        Verdict.CLEAR,
        FlowEncryption.NX_LOCAL_DST,
        None,
        Basis.DOC,
        "flow logs: not encrypted by design; that DropUnencrypted does not change it is inferred",
        needs=Condition.SAME_HOST,
    ),
    Row(
        9,
        "fragment tolerated",
        "an IP fragment, the lab says `fragments: clear`, and neither network drops unencrypted",
        Verdict.CLEAR,
        FlowEncryption.NX,
        None,
        Basis.DOC,
        "FAQ 2023: fragmented packets are not offloaded and do not get encrypted",
        needs=Condition.FRAGMENT | Condition.FRAGMENTS_PASS,
        lacks=Condition.DROPS,
    ),
    Row(
        9,
        "fragment",
        "an IP fragment",
        Verdict.DROP,
        None,  # no status is documented for it, and none is invented
        DropReason.FRAGMENT,
        Basis.EXC,
        "FAQ since 2025: fragmented packets are not offloaded to hardware and are therefore dropped",
        needs=Condition.FRAGMENT,
    ),
    Row(
        10,
        "flow table not ready",
        "the flow table of an end is not ready: first boot, restart, servicing of its host",
        Verdict.DROP,
        FlowEncryption.NX_SW_NOT_READY,
        DropReason.SW_NOT_READY,
        Basis.DOC,
        "flow logs: in all these scenarios the packet is dropped",
        needs=Condition.NOT_READY,
    ),
    Row(
        11,
        "no discovery",
        "the networking stack of an end does not support discovery",
        Verdict.DROP,
        FlowEncryption.NX_NOT_SUPPORTED,
        DropReason.NOT_SUPPORTED,
        Basis.DOC,
        "flow logs: the session was not established, the packet is dropped",
        needs=Condition.NO_DISCOVERY,
    ),
    Row(
        12,
        "no card refused",
        "as the next row, and the lab says `card_missing: drop`",
        Verdict.DROP,
        FlowEncryption.NX_HW_NOT_SUPPORTED,
        DropReason.HW_NOT_SUPPORTED,
        Basis.INF,
        "flow logs document the code, not whether the packet passes",
        needs=Condition.NO_CARD | Condition.MISSING_CARD_DROPS,
        lacks=Condition.DROPS,
    ),
    Row(
        12,
        "no card",
        "a VM's size can encrypt but its host's card is absent or faulty, and both networks allow unencrypted",
        Verdict.CLEAR,
        FlowEncryption.NX_HW_NOT_SUPPORTED,
        None,
        Basis.INF,
        "flow logs document the code, not whether the packet passes",
        needs=Condition.NO_CARD,
        lacks=Condition.DROPS,
    ),
    Row(
        13,
        "incapable VM, by hardware",
        "as the next row, and the lab says `incapable_code: NX_HW_NOT_SUPPORTED`",
        Verdict.CLEAR,
        FlowEncryption.NX_HW_NOT_SUPPORTED,
        None,
        Basis.INF,
        "overview: traffic to unsupported VMs is unencrypted; which code it gets is not said",
        needs=Condition.INCAPABLE | Condition.INCAPABLE_IS_HARDWARE,
        lacks=Condition.DROPS,
    ),
    Row(
        13,
        "incapable VM",
        "a size cannot encrypt, accelerated networking is off, or a VM was not stopped and started since "
        "encryption was enabled, and both networks allow unencrypted",
        Verdict.CLEAR,
        FlowEncryption.NX_FALLBACK,
        None,
        Basis.INF,
        "overview: traffic to unsupported VMs is unencrypted; which code it gets is not said",
        needs=Condition.INCAPABLE,
        lacks=Condition.DROPS,
    ),
    Row(
        14,
        "tunnel failed",
        "the tunnel did not come up, and both networks allow unencrypted",
        Verdict.CLEAR,
        FlowEncryption.NX_FALLBACK,
        None,
        Basis.DOC,
        "flow logs: encryption was attempted and had a problem, the flow is allowed",
        needs=Condition.TUNNEL_FAILED,
        lacks=Condition.DROPS,
    ),
    Row(
        14,
        "tunnel being built",
        "the tunnel is being built, the lab says `first_packet: clear`, and both networks allow unencrypted",
        Verdict.CLEAR,
        FlowEncryption.NX_FALLBACK,
        None,
        Basis.INF,
        "first packets are not documented; NX_FALLBACK is the code of what was attempted and went in clear",
        needs=Condition.TUNNEL_BUILDING | Condition.FIRST_PACKETS_PASS,
        lacks=Condition.DROPS,
    ),
    Row(
        15,
        "not accepted",
        "as 12 or 13, or the tunnel did not come up, but a network drops unencrypted",
        Verdict.DROP,
        FlowEncryption.NX_NOT_ACCEPTED,
        DropReason.NOT_ACCEPTED,
        Basis.DOC,
        "flow logs, for DropUnencrypted on both ends; for one end inferred, as NX_FALLBACK needs Allow on both",
        any_of=Condition.NO_CARD | Condition.INCAPABLE | Condition.TUNNEL_FAILED,
    ),
    Row(
        16,
        "encrypted",
        "both ends can encrypt and the tunnel is up, or is to be built",
        Verdict.ENCRYPT,
        FlowEncryption.X,
        None,
        Basis.DOC,
        "flow logs: encryption is configured, and the platform encrypted the connection",
    ),
)
