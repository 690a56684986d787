"""Run a lab in this process: real cards and real handshakes, simulated fabric, virtual clock.

1. Compile the lab, put its cloud together, make an executor for each traffic item.
2. Start every item at its time; run one event of the clock after the other until all items are done, and then until
   nothing is under way.
3. Account: for each item, each card and the fabric, offered + duplicated = delivered + dropped by reason.
4. Compare with what the lab expects.

:func:`simulate` does it all; :class:`Simulation` does it a step at a time, and can be changed in between::

    with Simulation("two-vms") as simulation:
        simulation.run_until(0.5)
        simulation.set("host-1-host-2", "loss=5%")
        while simulation.step():
            ...
        print(simulation.outcome())
"""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Any, Final, Self

from dtls_emu.assembly.cards import choose_engine
from dtls_emu.assembly.lab_document import changed, compile_document, differences, without_traffic
from dtls_emu.assembly.targets import parse_words, plan_changes
from dtls_emu.crypto.registry import AUTO, load
from dtls_emu.errors import LocalProtocolError, RunError
from dtls_emu.events import CardRestarted, LabChanged
from dtls_emu.lab import compile_lab, load_lab
from dtls_emu.lab.quantities import format_duration
from dtls_emu.lab.schema import Lab
from dtls_emu.lab.traffic_checks import LONGEST_RUN
from dtls_emu.nic.card import Engine
from dtls_emu.nic.effects import Transmit
from dtls_emu.simulation.accounts import forward_mark, reverse_of
from dtls_emu.simulation.cloud import Cloud
from dtls_emu.simulation.guests.traffic import make_executor
from dtls_emu.simulation.outcome import Outcome
from dtls_emu.simulation.reporting import item_outcome, snapshot, tunnel_outcomes
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import Keying
from dtls_emu.wire.burst import Burst


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from dtls_emu.assembly.targets import Change
    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.events import Observer, UnderlayAddress
    from dtls_emu.progress import Progress
    from dtls_emu.simulation.accounts import Account
    from dtls_emu.vocabulary import FirstPacket


__all__ = ["DEADLINE", "Outcome", "Simulation", "simulate"]

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
    observer: Observer | None = None,
    key_log: Callable[[bytes], None] | None = None,
    progress: Progress | None = None,
    deadline: float = DEADLINE,
    report_flows_every: float = inf,
) -> Outcome:
    """Run a lab and say what became of its traffic.

    Args:
        lab, seed, first_packet, engines, observer, key_log, deadline, report_flows_every: as in :class:`Simulation`.
        progress: told now and then how far the run is.

    Raises:
        LabFileError: the lab is wrong.
        AccountingError: a packet is unaccounted for, or altered: the emulator is broken.
    """
    simulation = Simulation(
        lab,
        seed=seed,
        first_packet=first_packet,
        engines=engines,
        observer=observer,
        key_log=key_log,
        deadline=deadline,
        report_flows_every=report_flows_every,
    )
    with simulation:
        steps = 0
        while simulation.step():
            steps += 1
            if progress is not None and steps % _EVENTS_PER_REPORT == 0:
                simulation.report(progress)
        if progress is not None:
            simulation.report(progress)
        return simulation.outcome()


class Simulation:
    """A lab that is being run, one event of its virtual clock after the other. Not safe for concurrent use.

    Fields:
        lab: as it was at the beginning.
        cloud: its cards, guests and fabric, to be looked at.
    """

    def __init__(
        self,
        lab: Lab | str | Path,
        *,
        seed: int | None = None,
        first_packet: FirstPacket | None = None,
        engines: Mapping[str, Engine] | None = None,
        credentials: Mapping[str, HostCredentials] | None = None,
        observer: Observer | None = None,
        key_log: Callable[[bytes], None] | None = None,
        deadline: float = DEADLINE,
        report_flows_every: float = inf,
    ) -> None:
        """
        Args:
            lab: validated; or a path, or the name of a shipped lab.
            seed: instead of the lab's.
            first_packet: what happens to packets while their tunnel is built, instead of what the lab says.
            engines: cipher engine of each host, instead of what the lab says.
            credentials: certificate, key and CA of each host, instead of fresh ones.
            observer: told of everything that happens, in order (:mod:`dtls_emu.events`); the same for the same seed but
                for keys and nonces. It only watches: what it does must not reach into the simulation.
            key_log: called with the secrets of each handshake, lines of an NSS key log (:mod:`dtls_emu.tunnel.key_log`),
                by each of its two hosts; nobody has them otherwise. With `keying: broker` there are no handshakes.
            deadline: seconds of virtual time after which items that are not done are stopped.
            report_flows_every: seconds of virtual time after which the observer is told how every flow stands, also of
                those of which there is nothing new.

        Raises:
            LabFileError: the lab is wrong.
        """
        self.lab = _with_overrides(lab if isinstance(lab, Lab) else load_lab(lab), seed, first_packet)
        self.cloud = Cloud(
            compile_lab(self.lab),
            engines=engines,
            credentials=credentials,
            key_log=key_log,
            observer=observer,
        )
        self._document = without_traffic(
            self.lab.model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
        )
        self._observer = observer
        self._deadline = deadline
        self._report_every = self._report_at = report_flows_every
        self._injected = forward_mark(len(self.lab.traffic))
        self._settling: _Settling | None = None
        self._executors = [
            make_executor(self.cloud, item, index) for index, item in enumerate(self.lab.traffic)
        ]
        self._running = self._executors[::-1]  # at least those that have not ended
        for executor in self._executors:
            self.cloud.clock.call_at(executor.item.start, executor.start)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def now(self) -> float:
        """The virtual time, in seconds."""
        return self.cloud.clock.now

    @property
    def has_ended(self) -> bool:
        """Whether every traffic item is done. Packets and handshakes may still be under way."""
        while self._running and self._running[-1].ended_at is not None:
            self._running.pop()
        return not self._running

    def step(self) -> bool:
        """Run the next event of the clock. False when the run is over, and there was nothing to do."""
        self._report_flows(self.cloud.clock.next_event())
        if not self.has_ended:
            self._advance()
            return True
        if self._settling is None:
            self._settling = _Settling(self.cloud)
        if self._settling.is_over():
            return False
        self.cloud.clock.run_next()
        return True

    def run_until(self, when: float) -> int:
        """Run every event up to and including ``when`` seconds, also when the lab's traffic is over, and stand there.

        Returns:
            how many events were run.
        """
        clock = self.cloud.clock
        count = 0
        while (moment := clock.next_event()) is not None and moment <= when:
            self._report_flows(moment)
            if self.has_ended:
                clock.run_next()
            else:
                self._advance()
            count += 1
        self._report_flows(when)
        clock.run_until(when)
        return count

    def inject(self, vm: str, *packets: bytes) -> None:
        """Have a VM send IP packets now, besides what the lab says: of one size, of which the last may be shorter.

        What follows at this instant happens before it returns; the rest with the next steps.

        Raises:
            LocalProtocolError: no such VM, no packets, or packets that are no burst.
        """
        if vm not in self.cloud.guests:
            raise LocalProtocolError(f"no VM is called {vm}")
        if not packets:
            raise LocalProtocolError("there is no packet to send")
        self._settling = None  # packets are under way again
        self.cloud.send(vm, [Burst.from_packets(packets, mark=self._injected)])

    @property
    def injected(self) -> tuple[Account, Account]:
        """The accounts of injected packets, and of what came back because of them."""
        return self.cloud.account(self._injected), self.cloud.account(reverse_of(self._injected))

    def set(self, target: str, *words: str) -> list[Change]:
        """Change the lab while it runs, as ``dtls-emu set`` does: ``simulation.set("h1-h2", "loss=5%")``.

        Args:
            target: a virtual network, a VM, a link, and so on: see :mod:`dtls_emu.assembly.targets`.
            words: ``key=value``, in the lab file's spelling.

        Raises:
            RunError: no such target, words that cannot be read, or what cannot be changed while the lab runs.
            LabFileError: the lab would be wrong.
        """
        changes = plan_changes(self._document, target, parse_words(words))
        document = self._document
        for change in changes:
            document = changed(document, change.path, change.value)
        before = self.cloud.topology
        topology = compile_document(document, self.lab.name)
        fixed = differences(before, topology)
        if fixed:
            raise RunError(f"cannot be changed while the lab runs: {', '.join(sorted(fixed))}")
        self._document = document
        self._settling = None
        self.cloud.update(topology)
        if self._observer is not None:
            for change in changes:
                path = tuple(map(str, change.path))
                self._observer(LabChanged(self.now, "", path, json.dumps(change.value)))
        return changes

    def put_on_fabric(self, source: UnderlayAddress, destination: UnderlayAddress, payload: bytes) -> None:
        """Put a datagram on the link between two hosts: what an attacker there can do.

        Args:
            source: underlay address and UDP port that it claims to come from; of a host of the lab.
            destination: where it goes.
            payload: of the UDP datagram.
        """
        self._settling = None  # a datagram is under way again
        burst = Burst.from_packets([payload])
        self.cloud.fabric.transmit(source[0], Transmit(burst, source[1], destination))

    def shut_down(self, host: str) -> None:
        """Have a card close its tunnels, as when its host is stopped: it says so to its peers (RFC 5246 7.2.1).

        Raises:
            LocalProtocolError: no such host.
        """
        if host not in self.cloud.cards:
            raise LocalProtocolError(f"no host is called {host}")
        self._settling = None
        self.cloud.shut_down(host)

    def rekey(self, host: str, peer: str) -> None:
        """Have a card begin a handshake for fresh keys with another host, beside those in force. What follows takes time.

        Raises:
            LocalProtocolError: there is no tunnel between them that is up and makes its keys by handshake.
        """
        tunnel = self.cloud.cards[host].tunnels.made(peer) if host in self.cloud.cards else None
        if tunnel is None or tunnel.state is not TunnelState.UP:
            raise LocalProtocolError(f"no tunnel from {host} to {peer} is up")
        if self.cloud.topology.profile.keying is not Keying.HANDSHAKE:
            raise LocalProtocolError("keys come from the broker, a session at a time: there is no handshake")
        self._settling = None
        self.cloud.rekey(host, peer)

    def restart(self, host: str, *, backend: str = "") -> None:
        """Start the card of a host anew, as ``dtls-emu restart`` does: its tunnels, flows and counters begin again.

        Args:
            host: its name.
            backend: of the new card; "" for the same as before.

        Raises:
            LocalProtocolError: no such host.
            LabFileError: no such backend, or none that this lab can have.
            BackendUnavailableError: it does not work on this machine.
        """
        if host not in self.cloud.cards:
            raise LocalProtocolError(f"no host is called {host}")
        engine = self.cloud.cards[host].engine
        if backend:
            document = changed(self._document, ("hosts", host, "smartnic"), {"backend": backend})
            topology = compile_document(document, self.lab.name)
            engine = choose_engine(backend) if backend == AUTO else Engine(load(backend), "as was asked for")
            self._document = document
            self.cloud.update(topology)
        self._settling = None
        self.cloud.restart(host, engine)
        if self._observer is not None:
            self._observer(CardRestarted(self.now, host, engine.backend.name, engine.backend.protects))

    def snapshot(self) -> dict[str, Any]:
        """How everything stands, in JSON's types: clock, traffic items, tunnels, flows, counters and links."""
        return snapshot(self.cloud, self._executors, self.injected)

    def report(self, progress: Progress) -> None:
        """Say how far the run is."""
        running = [executor.item.name for executor in self._executors if executor.ended_at is None]
        done = sum(executor.progress for executor in self._executors) / max(len(self._executors), 1)
        progress(int(done * _STEPS), _STEPS, f"{self.now:.3f} s: {', '.join(running) or 'done'}")

    def outcome(self) -> Outcome:
        """What the run came to, once :meth:`step` has said that it is over.

        Raises:
            LocalProtocolError: it is not over.
            AccountingError: a packet is unaccounted for, or altered: the emulator is broken.
        """
        if not self.has_ended:
            raise LocalProtocolError("the run is not over: call step until it returns False")
        cloud = self.cloud
        cloud.check()
        for mark, what in (
            (self._injected, "injected packets"),
            (reverse_of(self._injected), "answers to them"),
        ):
            cloud.accounts.check(mark, what)
        return Outcome(
            lab=self.lab.name,
            profile=self.lab.profile,
            seed=cloud.topology.seed,
            duration=self.now,
            items=tuple(item_outcome(cloud, executor) for executor in self._executors),
            tunnels=tuple(tunnel_outcomes(cloud)),
            cards={name: card.status() for name, card in cloud.cards.items()},
            fabric=cloud.fabric.statistics(),
        )

    def close(self) -> None:
        """Overwrite all keys. Idempotent."""
        self.cloud.close()

    def _report_flows(self, until: float | None) -> None:
        """Before anything happens at this time, or later: the reports that are due."""
        while until is not None and self._report_at <= until:
            for card in self.cloud.cards.values():
                card.report_all_flows(self._report_at)
            self._report_at += self._report_every

    def _advance(self) -> None:
        """The next event while items are not done; at the deadline they are stopped."""
        clock = self.cloud.clock
        moment = clock.next_event()
        if moment is not None and moment <= self._deadline:
            clock.run_next()
            return
        clock.run_until(self._deadline)
        for executor in self._executors:
            executor.stop(f"stopped after {format_duration(self._deadline)}")


class _Settling:
    """Lets everything that is under way come to its end, however slow the links are.

    What links and the internet carry arrives at a known time. A record may be kept meanwhile, but not longer than
    an attempt to build a tunnel takes. Packets that wait for a tunnel do so for as long as it is tried.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._patience = cloud.clock.now + PATIENCE
        self._end = cloud.clock.now + DEADLINE
        self._limit = self._patience
        self._moves = -1

    def is_over(self) -> bool:
        """Whether the next event is of no matter any more."""
        cloud = self._cloud
        if cloud.is_idle:
            return True
        if cloud.accounts.moves != self._moves:
            self._limit, self._moves = cloud.settled_at() + PATIENCE, cloud.accounts.moves
        moment = cloud.clock.next_event()
        if moment is None or moment > (max(self._end, self._limit) if cloud.waiting else self._limit):
            return True
        return moment > self._patience and cloud.has_arrived


def _with_overrides(lab: Lab, seed: int | None, first_packet: FirstPacket | None) -> Lab:
    changes: dict[str, Any] = {}
    if seed is not None:
        changes["seed"] = seed
    if first_packet is not None:
        changes["overrides"] = lab.overrides.model_copy(update={"first_packet": first_packet})
    return lab.model_copy(update=changes)
