"""A student's lab, run once when it is first asked about, within bounds: a lab from outside may be of any size."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import Offered, Sent
from dtls_emu.lab import compile_lab
from dtls_emu.lab.traffic import Bulk, Fragments, Pcap
from dtls_emu.simulation.accounts import forward_mark
from dtls_emu.simulation.simulation import Simulation
from dtls_emu.teach.attacks import attack
from dtls_emu.teach.playground import PlaygroundError
from dtls_emu.teach.recording import recorder_for
from dtls_emu.teach.secrets import parse_key_log
from dtls_emu.teach.story import packet_events
from dtls_emu.teach.transcript import handshakes_of


if TYPE_CHECKING:
    from pathlib import Path

    from dtls_emu.capture.trace_file import TraceRecorder
    from dtls_emu.events import Event
    from dtls_emu.lab.schema import Lab
    from dtls_emu.lab.topology import Topology
    from dtls_emu.lab.traffic import Traffic
    from dtls_emu.simulation.outcome import ItemOutcome, Outcome
    from dtls_emu.teach.attacks import Report
    from dtls_emu.teach.secrets import Secrets
    from dtls_emu.teach.transcript import Handshake


__all__ = ["CannotAskError", "LabRun", "TooLargeError", "require_small"]

MAX_VMS: Final = 32
MAX_HOSTS: Final = 16
MAX_PACKETS: Final = 20_000
MAX_STEPS: Final = 500_000
"""Of the clock, in a run. The largest lesson takes a hundredth of it."""

SMALLEST_SEGMENT: Final = 1_000
"""Bytes of payload by which the packets of a transfer are estimated."""


class CannotAskError(DtlsEmuError):
    """A question cannot be asked of a lab, because what it is about is not there. Says what is missing."""


class TooLargeError(DtlsEmuError):
    """A lab is larger than any that a lesson makes."""


def require_small(lab: Lab) -> None:
    """Refuse a lab that no lesson leads to, before it is run.

    Raises:
        TooLargeError: too many hosts, VMs or packets, or packets of a capture.
    """
    if len(lab.hosts) > MAX_HOSTS or len(lab.vms) > MAX_VMS:
        raise TooLargeError(
            f"the lab has {len(lab.hosts)} hosts and {len(lab.vms)} VMs, and a lesson's at most {MAX_HOSTS} and {MAX_VMS}"
        )
    if any(isinstance(item, Pcap) for item in lab.traffic):
        raise TooLargeError("the lab replays a capture, which no lesson does; leave the item out")
    packets = sum(map(_packets, lab.traffic))
    if packets > MAX_PACKETS:
        raise TooLargeError(f"the lab sends {packets:,} packets, and a lesson's at most {MAX_PACKETS:,}")


def _packets(item: Traffic) -> int:
    if isinstance(item, Bulk):
        return item.size // min(item.mss or SMALLEST_SEGMENT, SMALLEST_SEGMENT) + 1
    if isinstance(item, Fragments):
        return item.count * len(item.shapes)
    assert not isinstance(item, Pcap)
    return item.count


class LabRun:
    """A lab that is asked about.

    Args:
        lab: validated.
        folder: where the student's other files are; None where there are none.

    Raises:
        TooLargeError: a lesson's lab is smaller.
    """

    def __init__(self, lab: Lab, folder: Path | None = None) -> None:
        require_small(lab)
        self.lab = lab
        self.folder = folder
        self._recorder = recorder_for(lab)
        self._lines: list[bytes] = []
        self._attacks: dict[str, Report] = {}

    @cached_property
    def outcome(self) -> Outcome:
        """What became of its traffic.

        Raises:
            TooLargeError: there is no end of it.
            AccountingError: a packet is unaccounted for: the emulator is broken.
        """
        with Simulation(self.lab, observer=self._recorder, key_log=self._lines.append) as simulation:
            for _ in range(MAX_STEPS):
                if not simulation.step():
                    return simulation.outcome()
        raise TooLargeError(f"the lab is not done after {MAX_STEPS:,} events of its clock")

    @cached_property
    def topology(self) -> Topology:
        """The lab, compiled."""
        return compile_lab(self.lab)

    @property
    def trace(self) -> TraceRecorder:
        """Everything that happened."""
        _ = self.outcome
        return self._recorder

    @property
    def events(self) -> list[Event]:
        """The same as a list."""
        return self.trace.events

    @property
    def secrets(self) -> list[Secrets]:
        """Of its handshakes, each once."""
        _ = self.outcome
        return parse_key_log(b"\n".join(self._lines).decode("ascii"))

    def item(self, name: str) -> ItemOutcome:
        """What became of a traffic item.

        Raises:
            CannotAskError: the lab has none of that name.
        """
        try:
            return self.outcome[name]
        except KeyError:
            raise CannotAskError(
                f"your lab has no traffic item {name}; the question is about it, so put it back"
            ) from None

    def traffic(self, name: str) -> Traffic:
        """A traffic item as it is written.

        Raises:
            CannotAskError: the lab has none of that name.
        """
        self.item(name)
        return next(item for item in self.lab.traffic if item.name == name)

    def mark(self, item: str) -> int:
        """What the events about an item's packets are marked with; those about answers to them are not.

        Raises:
            CannotAskError: the lab has none of that name.
        """
        self.item(item)
        return forward_mark(next(at for at, each in enumerate(self.lab.traffic) if each.name == item))

    def offered(self, item: str) -> list[Offered]:
        """The packets of an item, as its VM hands them to the card, in order.

        Raises:
            CannotAskError: the lab has none of that name.
        """
        mark = self.mark(item)
        return [event for event in self.events if isinstance(event, Offered) and event.mark == mark]

    def first(self, item: str) -> Offered:
        """The first packets of an item.

        Raises:
            CannotAskError: the lab has no such item, or it sends none.
        """
        offered = self.offered(item)
        if not offered:
            raise CannotAskError(f"item {item} of your lab sends no packet")
        return offered[0]

    def packet(self, item: str, place: int = 1) -> int:
        """The number in the run of a packet of a traffic item.

        Args:
            item: name of it.
            place: of the packet in the item, from 1.

        Raises:
            CannotAskError: there is no such item, or it has fewer packets.
        """
        left = place
        for event in self.offered(item):
            if left <= event.count:
                return event.packet + left - 1
            left -= event.count
        raise CannotAskError(f"item {item} of your lab sends fewer than {place} packets; let it send more")

    def datagram(self, item: str, place: int = 1) -> Sent:
        """The datagram that carries a packet of a traffic item.

        Raises:
            CannotAskError: there is no such packet, or it is never on the fabric.
        """
        path = packet_events(self.events, self.packet(item, place))
        found = next((event for event in path if isinstance(event, Sent)), None)
        if found is None:
            raise CannotAskError(f"packet {place} of item {item} is not on the fabric in a run of your lab")
        return found

    def handshake(self, number: int = 1) -> Handshake:
        """A handshake of the run, from 1.

        Raises:
            CannotAskError: there were fewer.
        """
        found = handshakes_of(self.events)
        if len(found) < number:
            raise CannotAskError(f"there is no handshake {number} in a run of your lab")
        return found[number - 1]

    def attacked(self, name: str) -> Report:
        """What comes of an attack on the lab; its own traffic is left out.

        Raises:
            CannotAskError: it has no two VMs on two hosts.
        """
        if name not in self._attacks:
            try:
                self._attacks[name] = attack(name, self.lab)
            except PlaygroundError as error:
                raise CannotAskError(f"your lab cannot be attacked: {error}") from None
        return self._attacks[name]
