"""A lab to play with, for a notebook or a Python prompt: send, step, look at the wire, open a record, send it again.

::

    from dtls_emu import Playground

    play = Playground("two-vms")
    play.send("vm-a", "vm-b", b"hello")
    play.settle()
    play.on_wire()[-1]                 # what an eavesdropper has
    play.decrypt(play.on_wire()[-1])   # with the keys of the run
    play.put_on_wire(play.on_wire()[-1])
    play.settle()
    play.story()[-1]                   # refused: replayed

It is a :class:`~dtls_emu.simulation.simulation.Simulation` whose events and secrets are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final, Self

from dtls_emu.capture.datagrams import Datagrams
from dtls_emu.capture.trace_file import TraceRecorder
from dtls_emu.capture.views import capture_trace
from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import Delivered, FlowCounters, Offered
from dtls_emu.files.results import READABLE, SECRET, ResultFile
from dtls_emu.lab import load_lab
from dtls_emu.lab.problems import suggest
from dtls_emu.lab.schema import Lab
from dtls_emu.policy import decide, flow_to
from dtls_emu.simulation.simulation import Simulation
from dtls_emu.teach.blocks import Octets, Table
from dtls_emu.teach.dissect.datagram import dissect_payload
from dtls_emu.teach.document import Document
from dtls_emu.teach.handshake import explain_handshake, why_lost
from dtls_emu.teach.record import explain_record, open_record, pull_header
from dtls_emu.teach.secrets import parse_key_log, with_server_randoms
from dtls_emu.teach.story import packet_events, tell
from dtls_emu.teach.transcript import handshakes_of
from dtls_emu.vocabulary import Verdict
from dtls_emu.wire.packet import udp_packet
from dtls_emu.wire.protocol import APPLICATION_DATA, is_handshake


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from dtls_emu.assembly.targets import Change
    from dtls_emu.capture.datagrams import Datagram
    from dtls_emu.capture.trace_file import Trace
    from dtls_emu.capture.views import Capture
    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.teach.secrets import Secrets


__all__ = ["OnWire", "Playground", "PlaygroundError", "Story"]

PORTS: Final = (40_000, 7)
"""UDP ports of what is sent: any, and echo's (RFC 862)."""

MAX_STEPS: Final = 1_000_000
"""Events of the clock that `settle` runs at most."""


class PlaygroundError(DtlsEmuError):
    """What was asked for is not there, or cannot be done. Says what is there."""


@dataclass(frozen=True, slots=True, repr=False)
class OnWire:
    """A datagram that was on the fabric.

    Fields:
        number: in the run, from 1.
        time: seconds.
        source, destination: underlay address and UDP port.
        payload: of the UDP datagram.
        fate: what its link did to it, in a word or two; empty when it arrived as it was.
    """

    number: int
    time: float
    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes
    fate: str

    def hex(self) -> str:
        """The payload in hexadecimal."""
        return self.payload.hex(" ")

    @property
    def kind(self) -> str:
        """What it is, as its first byte tells an eavesdropper."""
        if self.payload[0] == APPLICATION_DATA:
            return "record"
        return "handshake" if is_handshake(self.payload[0]) else "in clear"

    def explain(self) -> Document:
        """Every field that can be read without a key."""
        return Document(repr(self), [Octets("UDP payload", self.payload, dissect_payload(self.payload))])

    def __repr__(self) -> str:
        fate = f", {self.fate}" if self.fate else ""
        return (
            f"<{self.number}: {self.time * 1e3:.3f} ms, {self.source[0]}:{self.source[1]} to "
            f"{self.destination[0]}:{self.destination[1]}, {self.kind}, {len(self.payload)} bytes{fate}>"
        )

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


class Story(list[str]):
    """Lines that tell what happened; a notebook shows one below the other."""

    def __repr__(self) -> str:
        return "\n".join(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"


class Playground:
    """A lab that waits for what is done with it.

    Args:
        lab: a lab, its path, or the name of a shipped one. Its own traffic is left out.
        seed: instead of the lab's.
        credentials: certificate, key and CA of each host, instead of fresh ones.

    Raises:
        LabFileError: the lab is wrong.
    """

    def __init__(
        self,
        lab: Lab | str | Path = "two-vms",
        *,
        seed: int | None = None,
        credentials: Mapping[str, HostCredentials] | None = None,
    ) -> None:
        loaded = lab if isinstance(lab, Lab) else load_lab(lab)
        self._recorder = TraceRecorder(
            title=loaded.name, lab=loaded.model_dump(mode="json", exclude_unset=True)
        )
        self._lines: list[bytes] = []
        self.simulation = Simulation(
            loaded.model_copy(update={"traffic": []}),
            seed=seed,
            credentials=credentials,
            observer=self._recorder,
            key_log=self._lines.append,
        )
        """To go on with where this class does not reach."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        topology = self.simulation.cloud.topology
        return (
            f"<Playground {self._recorder.title}: {len(topology.hosts)} hosts, VMs {', '.join(topology.vms)}; "
            f"{self.now * 1e3:.3f} ms, {len(self.on_wire())} datagrams on the wire>"
        )

    @property
    def trace(self) -> Trace:
        """Everything that happened so far."""
        return self._recorder

    @property
    def delivered(self) -> int:
        """How many packets were delivered to VMs so far."""
        return sum(
            event.count for event in self._recorder.events if isinstance(event, Delivered) and event.vm
        )

    @property
    def now(self) -> float:
        """Seconds on the lab's clock."""
        return self.simulation.now

    def encrypted_pair(self) -> tuple[str, str]:
        """Two VMs on two hosts whose flow is encrypted.

        Raises:
            PlaygroundError: the lab has none.
        """
        topology = self.simulation.cloud.topology
        for source in topology.vms.values():
            for other in topology.vms.values():
                address = next((each for each in other.addresses if source.address(each.version)), None)
                if source.host == other.host or address is None:
                    continue
                if decide(flow_to(topology, source, address), topology.profile).verdict is Verdict.ENCRYPT:
                    return source.name, other.name
        raise PlaygroundError("the lab has no two VMs on two hosts whose flow is encrypted")

    def pair_on_two_hosts(self) -> tuple[str, str]:
        """Two VMs on two hosts: whose flow is encrypted where there are such, else any whose packets leave their host.

        Raises:
            PlaygroundError: the lab has none.
        """
        try:
            return self.encrypted_pair()
        except PlaygroundError:
            vms = self.simulation.cloud.topology.vms.values()
            for source in vms:
                for other in vms:
                    if source.host != other.host and source.network == other.network:
                        return source.name, other.name
            raise

    # ------------------------------------------------------------------------------------------------- do

    def send(self, source: str, destination: str, payload: bytes = b"hello") -> int:
        """Have a VM send a UDP datagram to another. What follows takes time: :meth:`step` or :meth:`settle`.

        Returns:
            the packet's number, for :meth:`story`.

        Raises:
            PlaygroundError: no such VM, or no IP version in common.
        """
        vms = self.simulation.cloud.topology.vms
        for name in (source, destination):
            if name not in vms:
                raise PlaygroundError(f"no VM is called {name}; {suggest(name, vms)}")
        to = next((each for each in vms[destination].addresses if vms[source].address(each.version)), None)
        if to is None:
            raise PlaygroundError(f"{source} and {destination} have no IP version in common")
        packet = udp_packet(str(vms[source].address(to.version)), str(to), *PORTS, payload)
        self.simulation.inject(source, packet)
        return max(event.packet for event in self._recorder.events if isinstance(event, Offered))

    def put_on_wire(self, datagram: OnWire, payload: bytes | None = None) -> None:
        """Put a datagram on the fabric, as an attacker there can: the same ends, the same bytes or others.

        Args:
            datagram: one that was there.
            payload: instead of its own.
        """
        content = datagram.payload if payload is None else payload
        self.simulation.put_on_fabric(datagram.source, datagram.destination, content)

    def set(self, target: str, *words: str) -> list[Change]:
        """Change the lab, as ``dtls-emu set`` does; see :meth:`Simulation.set`."""
        return self.simulation.set(target, *words)

    def step(self, events: int = 1) -> Story:
        """Run so many events of the clock; what happened is returned in words."""
        before = len(self._recorder.events)
        for _ in range(events):
            moment = self.simulation.cloud.clock.next_event()
            if moment is None:
                break
            self.simulation.cloud.clock.run_next()
        return self._told(before)

    def run_until(self, when: float) -> Story:
        """Run every event up to so many seconds; what happened is returned in words."""
        before = len(self._recorder.events)
        self.simulation.run_until(when)
        return self._told(before)

    def settle(self) -> Story:
        """Run until nothing is under way; what happened is returned in words.

        Raises:
            PlaygroundError: there is no end of it.
        """
        before = len(self._recorder.events)
        for _ in range(MAX_STEPS):
            if not self.simulation.step():
                return self._told(before)
        raise PlaygroundError(f"not settled after {MAX_STEPS} events of the clock")

    def close(self) -> None:
        """Overwrite all keys. Idempotent."""
        self.simulation.close()

    # ----------------------------------------------------------------------------------------------- look

    def on_wire(self) -> list[OnWire]:
        """Every datagram that was on the fabric so far, also those that were lost."""
        datagrams = Datagrams()
        for event in self._recorder.events:
            datagrams(event)
        return [_on_wire(each) for each in datagrams.seen]

    def decrypt(self, datagram: OnWire | bytes) -> bytes | None:
        """What is inside a record: VXLAN and the VM's packet; None where no key of the run opens it."""
        payload = datagram.payload if isinstance(datagram, OnWire) else datagram
        header = pull_header(payload)
        opened = open_record(header, payload[13 : 13 + header.length], self.secrets())
        return None if opened is None else opened.plaintext

    def explain(self, datagram: OnWire | bytes, *, show_secrets: bool = False) -> Document:
        """A record field by field, opened with the keys of the run."""
        payload = datagram.payload if isinstance(datagram, OnWire) else datagram
        return explain_record(payload, self.secrets(), show_secrets=show_secrets)

    def handshake(self, number: int = 1, *, show_secrets: bool = False) -> Document:
        """A handshake of the run, explained."""
        return explain_handshake(self._recorder, self.secrets(), number=number, show_secrets=show_secrets)

    def story(self, packet: int | None = None) -> Story:
        """Everything that happened so far, or what happened to one packet."""
        events = self._recorder.events
        return _story(events if packet is None else packet_events(events, packet))

    def flows(self) -> Document:
        """Every flow that the cards have seen, with its counters as they were last told."""
        last: dict[tuple[Any, ...], FlowCounters] = {}
        for event in self._recorder.events:
            if isinstance(event, FlowCounters):
                last[event.host, event.vm, event.flow] = event
        rows = tuple(
            (
                each.host,
                each.vm,
                f"{each.flow.source} to {each.flow.destination}",
                str(each.verdict or "-"),
                str(each.code or "-"),
                str(each.packets_out),
                str(each.packets_in),
            )
            for each in last.values()
        )
        return Document(
            "Flows", [Table(("host", "VM", "flow", "verdict", "code", ">packets out", ">packets in"), rows)]
        )

    def capture(
        self, path: str | Path | None = None, *, secrets: bool = True, force: bool = False
    ) -> Capture:
        """Everything that was seen anywhere so far, as a pcapng for Wireshark; ``dtls-emu capture`` says more of it.

        Args:
            path: where it is written to, if it is.
            secrets: with what opens the records; without, it has what an eavesdropper has.
            force: a file that is there may be replaced.

        Returns:
            its content, and how much there is in it.

        Raises:
            DtlsEmuError: it cannot be written there, or a file is there already.
        """
        mode = SECRET if secrets else READABLE
        file = None if path is None else ResultFile(path, force=force, mode=mode)
        known = {each.client_random: each.master_secret for each in self.secrets()}
        made = capture_trace(self._recorder, known if secrets else None)
        if file is not None and (trouble := file.save(made.content).trouble):
            raise PlaygroundError(trouble)
        return made

    def counters(self) -> dict[str, Any]:
        """What every card has counted, by host, in JSON's types."""
        return {name: card.status() for name, card in self.simulation.cloud.cards.items()}

    def _told(self, start: int) -> Story:
        return _story(self._recorder.events[start:])

    def secrets(self) -> list[Secrets]:
        """Of every handshake so far."""
        randoms = [each.randoms for each in handshakes_of(self._recorder.events)]
        found = parse_key_log(b"\n".join(self._lines).decode("ascii"))
        return with_server_randoms(found, [each for each in randoms if each])


def _on_wire(datagram: Datagram) -> OnWire:
    sent, fate = datagram.sent, datagram.fate
    words = [why_lost(fate.lost)] if fate.lost else []
    words += ["twice"] if fate.duplicated else []
    words += [f"bit {fate.damaged} flipped"] if fate.damaged >= 0 else []
    words += ["overtaken"] if fate.reordered else []
    return OnWire(sent.datagram, sent.time, sent.source, sent.destination, sent.payload, ", ".join(words))


def _story(events: list[Any]) -> Story:
    lines = [tell(event) for event in events]
    width = max((len(line.host) for line in lines), default=0)
    return Story(
        f"{line.time * 1e3:10.3f} ms  {line.host:<{width}}  {line.what:<12}  {line.text}" for line in lines
    )
