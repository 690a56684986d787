"""What a simulation came to, and how it stands: made from its cloud and the executors of its traffic."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from dtls_emu.simulation.accounts import reverse_of
from dtls_emu.simulation.expectations import check_expectations
from dtls_emu.simulation.guests.traffic import BulkExecutor
from dtls_emu.simulation.outcome import ItemOutcome, RoundTrips, TunnelOutcome
from dtls_emu.tunnel.context import SUITE
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import Keying
from dtls_emu.wire.inspect import unpack_key


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dtls_emu.fabric.underlay import FabricStatistics
    from dtls_emu.nic.card import Card
    from dtls_emu.simulation.accounts import Account
    from dtls_emu.simulation.cloud import Cloud
    from dtls_emu.simulation.guests.traffic import Executor
    from dtls_emu.tunnel.tunnel import Tunnel
    from dtls_emu.wire.inspect import FlowKey


__all__ = ["item_outcome", "snapshot", "tunnel_outcomes"]


def item_outcome(cloud: Cloud, executor: Executor) -> ItemOutcome:
    """What became of a traffic item, which has ended.

    Raises:
        AccountingError: a packet is unaccounted for, or altered.
    """
    item, mark = executor.item, executor.mark
    payload_bytes = None
    if isinstance(executor, BulkExecutor):
        executor.check()
        payload_bytes = executor.received
    for each, direction in ((mark, "its packets"), (reverse_of(mark), "what came back")):
        cloud.accounts.check(each, f"traffic item {item.name}, {direction}")
    assert executor.ended_at is not None, "the run went on until every item had ended"
    outcome = ItemOutcome(
        name=item.name,
        kind=item.kind,
        source=item.source,
        destination=str(item.destination or ""),
        forward=cloud.account(mark),
        reverse=cloud.account(reverse_of(mark)),
        round_trips=RoundTrips.of(executor.round_trips),
        path_mtu=executor.path_mtu(),
        payload_bytes=payload_bytes,
        duration=max(executor.ended_at - item.start, 0.0),
        note=executor.note,
        stopped=executor.stopped,
    )
    return replace(outcome, checks=check_expectations(item, outcome))


def tunnel_outcomes(cloud: Cloud) -> list[TunnelOutcome]:
    """The ends of tunnels that somebody wanted."""
    ciphers = {Keying.HANDSHAKE: SUITE.decode(), Keying.BROKER: "AES-256-GCM, keys from the broker"}

    def cipher(card: Card, tunnel: Tunnel) -> str:
        is_sealed = card.engine.backend.protects and tunnel.handshakes
        return ciphers[cloud.topology.profile.keying] if is_sealed else ""

    return [
        TunnelOutcome(
            host=card.host,
            peer=peer,
            state=str(tunnel.state),
            cipher=cipher(card, tunnel),
            backend=card.engine.backend.name,
            backend_reason=card.engine.reason,
            protects=card.engine.backend.protects,
            handshakes=tunnel.handshakes,
            handshake_seconds=tunnel.last_handshake,
            failure=tunnel.failure,
        )
        for card in cloud.cards.values()
        for peer, tunnel in card.tunnels.items()
        if tunnel.state is not TunnelState.IDLE or tunnel.handshakes or tunnel.failure
    ]


def snapshot(
    cloud: Cloud, executors: Sequence[Executor], injected: tuple[Account, Account]
) -> dict[str, Any]:
    """How everything stands, in JSON's types::

        {"time", "seed", "items": {NAME: {"done", "progress", "note", "forward", "reverse"}},
         "injected": {"forward", "reverse"}, "tunnels": [...], "flows": {HOST: [...]},
         "cards": {HOST: what `status` says}, "links": {"HOST->HOST": {settings and counters}}}

    Accounts are those of :mod:`dtls_emu.simulation.accounts`; tunnels, :class:`TunnelOutcome`.
    """
    return {
        "time": cloud.clock.now,
        "seed": cloud.topology.seed,
        "items": {
            executor.item.name: {
                "done": executor.ended_at is not None,
                "progress": executor.progress,
                "note": executor.note,
                "forward": cloud.account(executor.mark).as_dict(),
                "reverse": cloud.account(reverse_of(executor.mark)).as_dict(),
            }
            for executor in executors
        },
        "injected": {"forward": injected[0].as_dict(), "reverse": injected[1].as_dict()},
        "tunnels": [asdict(tunnel) for tunnel in tunnel_outcomes(cloud)],
        "flows": {name: list(_flows(card)) for name, card in cloud.cards.items()},
        "cards": {name: card.status() for name, card in cloud.cards.items()},
        "links": dict(_links(cloud)),
    }


def _flows(card: Card) -> Iterator[dict[str, Any]]:
    """What a card's flow tables hold, those of its VMs' packets first."""
    egress, ingress = card.egress.flows, card.ingress.flows
    for row, leaving in enumerate(egress):
        decision = leaving.decision
        yield {
            **_key(unpack_key(egress.keys[row])),
            "direction": "egress",
            "vm": leaving.vm,
            "row": decision.row.number,
            "verdict": str(decision.verdict),
            "encryption": decision.code,
            "packets": leaving.packets,
            "bytes": leaving.nbytes,
            "last_seen": leaving.last_seen,
        }
    for row, coming in enumerate(ingress):
        yield {
            **_key(unpack_key(ingress.keys[row])),
            "direction": "ingress",
            "vm": coming.vm,
            "refused": None if coming.refused is None else str(coming.refused),
            "packets": coming.packets,
            "bytes": coming.nbytes,
            "last_seen": coming.last_seen,
        }


def _key(key: FlowKey) -> dict[str, Any]:
    return {
        "vni": key.vni,
        "protocol": key.protocol,
        "source": str(key.source),
        "destination": str(key.destination),
        "source_port": key.source_port,
        "destination_port": key.destination_port,
        "fragment": key.is_fragment,
    }


def _links(cloud: Cloud) -> Iterator[tuple[str, dict[str, Any]]]:
    """The directions of links that were used."""
    for link, counters in cloud.fabric.links():
        yield f"{link.source}->{link.destination}", asdict(link) | {"counters": _counters(counters)}


def _counters(statistics: FabricStatistics) -> dict[str, Any]:
    dropped = {str(reason): count for reason, count in sorted(statistics.dropped.items())}
    return asdict(statistics) | {"dropped": dropped}
