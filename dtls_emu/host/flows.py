"""What a host says of its flow tables, entry by entry: JSON types only, with the keys of ``dtls-emu flows --json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dtls_emu.events import Direction
from dtls_emu.nic.flow_ledger import flow_id


if TYPE_CHECKING:
    from dtls_emu.nic.card import Card
    from dtls_emu.nic.flow_table import FlowStanding
    from dtls_emu.policy import Decision


__all__ = ["describe_flows"]


def describe_flows(card: Card, most: int, now: float) -> dict[str, Any]:
    """The flows of a card, out of its VMs and to them.

    Args:
        card: of the host.
        most: of each direction; where there are more, those with the newest packets.
        now: seconds on the card's clock.
    """
    out, into = card.egress.flows.standings(most), card.ingress.flows.standings(most)
    flows = [
        *(_entry(card, Direction.EGRESS, each.flow.vm, each, each.flow.decision, now) for each in out),
        *(_entry(card, Direction.INGRESS, each.flow.vm, each, None, now) for each in into),
    ]
    return {
        "host": card.host,
        "flows": flows,
        "left_out": len(card.egress.flows) + len(card.ingress.flows) - len(flows),
    }


def _entry(
    card: Card,
    direction: Direction,
    vm: str,
    standing: FlowStanding[Any],
    decision: Decision | None,
    now: float,
) -> dict[str, Any]:
    """One entry; the decision about packets to a VM is the sending host's."""
    code = None if decision is None else decision.code
    return {
        "host": card.host,
        "vm": vm,
        "direction": str(direction),
        **asdict(flow_id(standing.key)),
        "verdict": None if decision is None else str(decision.verdict),
        "encryption": None if code is None else str(code),
        "row": 0 if decision is None else decision.row.number,
        "name": "" if decision is None else decision.row.name,
        "path": "fast" if standing.is_fast else "slow",
        "packets": standing.packets,
        "bytes": standing.nbytes,
        "dropped": standing.dropped,
        "hits": standing.hits,
        "exceptions": standing.exceptions,
        "generation": standing.decided,
        "age_seconds": now - standing.began,
        "idle_seconds": now - standing.last_seen,
        "ended": "",
    }
