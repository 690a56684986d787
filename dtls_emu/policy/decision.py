"""The decision: the first row of the table that applies.

There are a few dozen combinations of conditions in a lab: each is looked for in the table once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dtls_emu.policy.conditions import conditions_of, drops_unencrypted
from dtls_emu.policy.table import rows
from dtls_emu.vocabulary import FirstPacket


if TYPE_CHECKING:
    from dtls_emu.lab.profiles import Profile
    from dtls_emu.policy.facts import Flow
    from dtls_emu.policy.table import Row
    from dtls_emu.vocabulary import DropReason, FlowEncryption, Verdict


__all__ = ["Decision", "decide", "decide_conditions", "in_clear_meanwhile", "while_building"]


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
    conditions = conditions_of(flow, profile)
    return _decided.get(conditions) or decide_conditions(conditions)


def decide_conditions(conditions: int) -> Decision:
    """Decide where these :class:`~dtls_emu.policy.conditions.Condition` bits hold, whatever they come from."""
    row = next(row for row in rows() if row.applies(conditions))
    decision = _decisions[row.name]
    if len(_decided) < _MOST_KEPT:
        _decided[conditions] = decision
    return decision


_decisions: Final = {row.name: Decision(row.verdict, row.code, row.reason, row) for row in rows()}

_decided: Final[dict[int, Decision]] = {}
_MOST_KEPT: Final = 4096
"""Combinations that are remembered: more than labs have, and fewer than there are."""


def while_building(flow: Flow, profile: Profile) -> FirstPacket:
    """What happens to packets of a flow to be encrypted while its tunnel is being built.

    The profile's choice; but where a network has DropUnencrypted, `clear` becomes `queue`: no packet between
    two encrypted networks may then be in clear on the fabric.
    """
    if profile.first_packet is FirstPacket.CLEAR and drops_unencrypted(flow, profile):
        return FirstPacket.QUEUE
    return profile.first_packet


def in_clear_meanwhile(flow: Flow, profile: Profile) -> Decision:
    """The decision for packets of a flow to be encrypted that are not to wait for their tunnel."""
    return decide(replace(flow, tunnel_building=True), profile)
