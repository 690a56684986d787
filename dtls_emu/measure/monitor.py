"""A connection monitor: probes between chosen VMs, before, during and after changes of a simulated lab.

1. Each pair sends an echo request every so often, on the lab's virtual clock; what the lab says of traffic is left out.
2. At its time a change is made: as ``dtls-emu set`` makes it, or the card of a host is started anew.
3. An answer counts if it comes within :data:`TIMEOUT`; how a request left its card is what the card tells.
4. Times between two changes are a phase; probes count in the phase in which they were sent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import Delivered, Dropped, Forwarded, Offered
from dtls_emu.lab.problems import suggest
from dtls_emu.simulation.simulation import Simulation
from dtls_emu.wire.headers import ECHO_FIELDS, ICMP, ICMP_ECHO_REPLY
from dtls_emu.wire.packet import icmp_echo


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.events import Event
    from dtls_emu.lab import Lab
    from dtls_emu.progress import Progress


__all__ = ["MOST_PROBES", "TIMEOUT", "Change", "MonitorError", "Monitored", "Phase", "Probe", "monitor"]

TIMEOUT: Final = 1.0
"""Seconds for an answer."""

MOST_PROBES: Final = 100_000

RESTART: Final = "restart"

_FIRST_IDENTIFIER: Final = 0x4D00
_PAYLOAD: Final = bytes(range(56))  # as ping(8) sends


class MonitorError(DtlsEmuError):
    """What is asked for cannot be monitored. Says what to write instead."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is done to the lab.

    Fields:
        time: seconds since the beginning.
        target: a virtual network, a VM, a link, ..., as of ``dtls-emu set``; or ``restart``.
        words: ``key=value``; of a restart, the host.
    """

    time: float
    target: str
    words: tuple[str, ...]

    @property
    def label(self) -> str:
        """In words."""
        return " ".join((self.target, *self.words))


@dataclass(slots=True)
class Probe:
    """One echo request.

    Fields:
        source, destination: VMs.
        sent: seconds since the beginning.
        round_trip: seconds until the answer; None: none came in time.
        how: how it left its card: encrypted, clear, local or gateway; or why it was dropped; "" when it never left.
    """

    source: str
    destination: str
    sent: float
    round_trip: float | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """What became of the probes of one pair between two changes.

    Fields:
        source, destination: VMs.
        label: the change that it begins with; "before" for the first.
        begin, end: seconds.
        sent, answered: probes.
        fastest, median, slowest: round trips in seconds; None without any.
        longest_gap: seconds between the first of consecutive probes without an answer and the next answer; 0.0 without.
        how: probes by how they left, or why they did not.
    """

    source: str
    destination: str
    label: str
    begin: float
    end: float
    sent: int
    answered: int
    fastest: float | None
    median: float | None
    slowest: float | None
    longest_gap: float
    how: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Monitored:
    """All probes.

    Fields:
        lab: its name.
        duration: seconds.
        changes: in the order of their times.
        probes: in the order in which they were sent.
    """

    lab: str
    duration: float
    changes: tuple[Change, ...]
    probes: tuple[Probe, ...]

    def phases(self) -> list[Phase]:
        """By pair, then in time."""
        pairs = dict.fromkeys((each.source, each.destination) for each in self.probes)
        edges = [0.0, *(each.time for each in self.changes), inf]
        labels = ["before" if self.changes else "all", *(each.label for each in self.changes)]
        return [
            _phase(
                [each for each in self.probes if (each.source, each.destination) == pair],
                label,
                begin,
                end,
                self.duration,
            )
            for pair in pairs
            for label, (begin, end) in zip(labels, pairwise(edges), strict=True)
        ]

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "lab": self.lab,
            "seconds": self.duration,
            "changes": [{"time": each.time, "change": each.label} for each in self.changes],
            "phases": [each.as_dict() for each in self.phases()],
            "probes": [{name: getattr(each, name) for name in each.__slots__} for each in self.probes],
        }


def monitor(
    lab: Lab,
    pairs: Sequence[tuple[str, str]],
    *,
    every: float,
    duration: float,
    changes: Sequence[Change] = (),
    seed: int | None = None,
    progress: Progress | None = None,
) -> Monitored:
    """Probe pairs of VMs of a lab.

    Args:
        lab: validated; its traffic is left out.
        pairs: who probes whom, by name; IPv4.
        every: seconds between two probes of a pair.
        duration: seconds.
        changes: what is done meanwhile.
        seed: instead of the lab's.
        progress: told now and then.

    Raises:
        MonitorError: no such VM, too many probes, or a change after the end.
        RunError: a change cannot be made.
        LabFileError: after a change the lab would be wrong.
    """
    quiet = lab.model_copy(update={"traffic": ()})
    ordered = tuple(sorted(changes, key=lambda each: each.time))
    count = int(duration / every + 1e-9) + 1 if every > 0 else 0
    if not 0 < count * len(pairs) <= MOST_PROBES:
        raise MonitorError(
            f"{count * len(pairs):,} probes; at least one and at most {MOST_PROBES:,} are sent"
        )
    if ordered and ordered[-1].time > duration:
        raise MonitorError(f"`{ordered[-1].label}` comes after the end, {duration:g} s")
    watch = _Watch()
    with Simulation(quiet, seed=seed, observer=watch) as simulation:
        ends = [_ends(simulation, *pair) for pair in pairs]
        todo = list(ordered)
        for number in range(count):
            moment = number * every
            while todo and todo[0].time <= moment:
                _make(simulation, todo.pop(0))
            simulation.run_until(moment)
            for index, (pair, (source, destination)) in enumerate(zip(pairs, ends, strict=True)):
                identity = _FIRST_IDENTIFIER + index, number & 0xFFFF
                watch.expect(Probe(*pair, moment), identity)
                simulation.inject(pair[0], icmp_echo(source, destination, *identity, _PAYLOAD))
            if progress is not None:
                progress(number, count, f"{moment:.3f} s")
        for each in todo:
            _make(simulation, each)
        simulation.run_until(duration + TIMEOUT)
    return Monitored(lab.name, duration, ordered, tuple(watch.probes))


@dataclass(slots=True)
class _Watch:
    """Finds out what becomes of each probe."""

    wants_bytes: bool = True
    probes: list[Probe] = field(default_factory=list)
    _expected: dict[tuple[str, int, int], Probe] = field(default_factory=dict)
    _by_packet: dict[int, Probe] = field(default_factory=dict)
    _next: Probe | None = None

    def expect(self, probe: Probe, identity: tuple[int, int]) -> None:
        """The next packet that is offered is this probe."""
        self.probes.append(probe)
        self._expected[probe.source, *identity] = probe
        self._next = probe

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case Offered() if self._next is not None:
                self._by_packet[event.packet] = self._next
                self._next = None
            case Forwarded() if event.packet in self._by_packet:
                self._by_packet[event.packet].how = str(event.how)
            case Dropped() if event.packet in self._by_packet:
                self._by_packet[event.packet].how = f"dropped: {event.reason}"
            case Delivered():
                for packet in event.packets:
                    self._answered(event.vm, packet, event.time)

    def _answered(self, vm: str, packet: bytes, now: float) -> None:
        header = (packet[0] & 15) * 4
        if packet[0] >> 4 != 4 or packet[9] != ICMP or len(packet) < header + ECHO_FIELDS.size:
            return
        kind, _, _, identifier, sequence = ECHO_FIELDS.unpack_from(packet, header)
        probe = self._expected.pop((vm, identifier, sequence), None) if kind == ICMP_ECHO_REPLY else None
        if probe is not None and now - probe.sent <= TIMEOUT:
            probe.round_trip = now - probe.sent


def _ends(simulation: Simulation, source: str, destination: str) -> tuple[str, str]:
    found = []
    for name in (source, destination):
        vms = simulation.cloud.topology.vms
        if name not in vms:
            raise MonitorError(f"no VM is called {name}; {suggest(name, vms)}")
        address = vms[name].address(4)
        if address is None:
            raise MonitorError(f"{name} has no IPv4 address, and probes are IPv4")
        found.append(str(address))
    return found[0], found[1]


def _make(simulation: Simulation, change: Change) -> None:
    simulation.run_until(change.time)
    if change.target == RESTART:
        for host in change.words:
            simulation.restart(host)
    else:
        simulation.set(change.target, *change.words)


def _phase(probes: Sequence[Probe], label: str, begin: float, until: float, duration: float) -> Phase:
    end = min(until, duration)
    inside = [each for each in probes if begin <= each.sent < until]
    times = [each.round_trip for each in inside if each.round_trip is not None]
    return Phase(
        probes[0].source,
        probes[0].destination,
        label,
        begin,
        end,
        len(inside),
        len(times),
        min(times, default=None),
        median(times) if times else None,
        max(times, default=None),
        _longest_gap(inside, end),
        dict(Counter(each.how or "never left" for each in inside)),
    )


def _longest_gap(probes: Sequence[Probe], end: float) -> float:
    longest, since = 0.0, None
    for each in probes:
        if each.round_trip is None:
            since = each.sent if since is None else since
        elif since is not None:
            longest, since = max(longest, each.sent - since), None
    return longest if since is None else max(longest, end - since)
