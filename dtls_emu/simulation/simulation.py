"""Run a lab in this process: real cards and real handshakes, simulated fabric, virtual clock.

1. Compile the lab, put its cloud together, make an executor for each traffic item.
2. Start every item at its time; let the clock run until all are done, and then until nothing is under way.
3. Account: for each item, each card and the fabric, offered + duplicated = delivered + dropped by reason.
4. Compare with what the lab expects.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.lab import compile_lab, load_lab
from dtls_emu.lab.quantities import format_duration
from dtls_emu.lab.schema import Lab
from dtls_emu.lab.traffic_checks import LONGEST_RUN
from dtls_emu.simulation.accounts import reverse_of
from dtls_emu.simulation.cloud import Cloud
from dtls_emu.simulation.expectations import check_expectations
from dtls_emu.simulation.guests.traffic import BulkExecutor, make_executor
from dtls_emu.simulation.outcome import ItemOutcome, Outcome, RoundTrips, TunnelOutcome
from dtls_emu.tunnel.context import SUITE
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import Keying


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dtls_emu.events import WireEvent
    from dtls_emu.nic.card import Card, Engine
    from dtls_emu.progress import Progress
    from dtls_emu.simulation.guests.traffic import Executor
    from dtls_emu.tunnel.tunnel import Tunnel
    from dtls_emu.vocabulary import FirstPacket


__all__ = ["DEADLINE", "Outcome", "simulate"]

DEADLINE: Final = LONGEST_RUN

PATIENCE: Final = TunnelSettings().handshake_deadline
"""Seconds of virtual time for handshakes that are still under way when all packets are there: one attempt's. A lab
whose keys wear out faster than its links make new ones is never without."""

_EVENTS_PER_REPORT: Final = 500
_STEPS: Final = 1000
"""Of a progress report."""


def simulate(
    lab: Lab | str | Path,
    *,
    seed: int | None = None,
    first_packet: FirstPacket | None = None,
    engines: Mapping[str, Engine] | None = None,
    trace: Callable[[WireEvent], object] | None = None,
    internet: Callable[[float, bytes], object] | None = None,
    key_log: Callable[[bytes], None] | None = None,
    progress: Progress | None = None,
    deadline: float = DEADLINE,
) -> Outcome:
    """Run a lab and say what became of its traffic.

    Args:
        lab: validated; or a path, or the name of a shipped lab.
        seed: instead of the lab's.
        first_packet: what happens to packets while their tunnel is built, instead of what the lab says.
        engines: cipher engine of each host, instead of what the lab says.
        trace: shown every datagram that is put on the fabric, in order.
        internet: shown time and bytes of every packet that leaves for the internet, or comes from there.
        key_log: called with the secrets of each handshake, a line of an NSS key log; nobody has them otherwise. With
            `keying: broker` there are no handshakes.
        progress: told now and then how far the run is.
        deadline: seconds of virtual time after which items that are not done are stopped.

    Raises:
        LabFileError: the lab is wrong.
        AccountingError: a packet is unaccounted for, or altered: the emulator is broken.
    """
    lab = _with_overrides(lab if isinstance(lab, Lab) else load_lab(lab), seed, first_packet)
    topology = compile_lab(lab)
    cloud = Cloud(topology, engines=engines, key_log=key_log, internet=internet)
    if trace is not None:
        cloud.fabric.tap(trace)
    executors = [make_executor(cloud, item, index) for index, item in enumerate(lab.traffic)]
    _run(cloud, executors, deadline, progress)
    cloud.check()
    items = tuple(_item_outcome(cloud, executor) for executor in executors)
    outcome = Outcome(
        lab=lab.name,
        profile=lab.profile,
        seed=topology.seed,
        duration=cloud.clock.now,
        items=items,
        tunnels=tuple(_tunnel_outcomes(cloud)),
        cards={name: card.status() for name, card in cloud.cards.items()},
        fabric=cloud.fabric.statistics(),
    )
    cloud.close()
    return outcome


def _with_overrides(lab: Lab, seed: int | None, first_packet: FirstPacket | None) -> Lab:
    changes: dict[str, Any] = {}
    if seed is not None:
        changes["seed"] = seed
    if first_packet is not None:
        changes["overrides"] = lab.overrides.model_copy(update={"first_packet": first_packet})
    return lab.model_copy(update=changes)


def _run(cloud: Cloud, executors: Sequence[Executor], deadline: float, progress: Progress | None) -> None:
    clock = cloud.clock
    for executor in executors:
        clock.call_at(executor.item.start, executor.start)
    events = 0
    while any(executor.ended_at is None for executor in executors):
        moment = clock.next_event()
        if moment is None or moment > deadline:
            clock.run_until(deadline)
            for executor in executors:
                executor.stop(f"stopped after {format_duration(deadline)}")
            break
        clock.run_next()
        events += 1
        if progress is not None and events % _EVENTS_PER_REPORT == 0:
            _report(clock.now, executors, progress)
    _settle(cloud)
    if progress is not None:
        _report(clock.now, executors, progress)


def _settle(cloud: Cloud) -> None:
    """Let everything that is under way come to its end, however slow the links are.

    What links and the internet carry arrives at a known time. A record may be kept meanwhile, but not longer than
    an attempt to build a tunnel takes. Packets that wait for a tunnel do so for as long as it is tried.
    """
    clock, accounts = cloud.clock, cloud.accounts
    patience, end = clock.now + PATIENCE, clock.now + DEADLINE
    limit, moves = patience, -1
    while not cloud.is_idle:
        if accounts.moves != moves:
            limit, moves = cloud.settled_at() + PATIENCE, accounts.moves
        moment = clock.next_event()
        if moment is None or moment > (max(end, limit) if cloud.waiting else limit):
            return
        if moment > patience and cloud.has_arrived:
            return
        clock.run_next()


def _report(now: float, executors: Sequence[Executor], progress: Progress) -> None:
    running = [executor.item.name for executor in executors if executor.ended_at is None]
    done = sum(executor.progress for executor in executors) / max(len(executors), 1)
    progress(int(done * _STEPS), _STEPS, f"{now:.3f} s: {', '.join(running) or 'done'}")


def _item_outcome(cloud: Cloud, executor: Executor) -> ItemOutcome:
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


def _tunnel_outcomes(cloud: Cloud) -> list[TunnelOutcome]:
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
