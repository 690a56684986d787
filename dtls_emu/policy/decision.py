"""The decision: the first row of the table that applies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dtls_emu.policy.table import rows
from dtls_emu.vocabulary import FirstPacket


if TYPE_CHECKING:
    from dtls_emu.lab.profiles import Profile
    from dtls_emu.policy.facts import Flow
    from dtls_emu.policy.table import Row
    from dtls_emu.vocabulary import DropReason, FlowEncryption, Verdict


__all__ = ["Decision", "decide", "in_clear_meanwhile", "while_building"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a flow.

    Fields:
        verdict: encrypt, clear or drop.
        code: field 9 of the flow-log tuple; None where no tuple is written (a dropped fragment).
        reason: what dropped packets are counted as; None unless the verdict is DROP.
        row: the row that decided, with its condition, basis and source.
    """

    verdict: Verdict
    code: FlowEncryption | None
    reason: DropReason | None
    row: Row


def decide(flow: Flow, profile: Profile) -> Decision:
    """Decide a flow."""
    row = next(row for row in rows() if row.applies(flow, profile))
    return Decision(row.verdict, row.code, row.reason, row)


def while_building(flow: Flow, profile: Profile) -> FirstPacket:
    """What happens to packets of a flow to be encrypted while its tunnel is being built.

    The profile's choice; but where a network has DropUnencrypted, `clear` becomes `queue`: no packet between
    two encrypted networks may then be in clear on the fabric.
    """
    if profile.first_packet is FirstPacket.CLEAR and any(end.drops_unencrypted for end in flow.ends):
        return FirstPacket.QUEUE
    return profile.first_packet


def in_clear_meanwhile(flow: Flow, profile: Profile) -> Decision:
    """The decision for packets of a flow to be encrypted that are not to wait for their tunnel."""
    return decide(replace(flow, tunnel_building=True), profile)
