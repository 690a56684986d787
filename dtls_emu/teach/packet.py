"""Explain one packet: sent through a lab now, its bytes at every stage, and the same packet on the plain path beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from dtls_emu.capture.trace_file import TraceRecorder
from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import Decided, Delivered, Dropped, Forwarded, How, Lost, Offered, Refused, Sent
from dtls_emu.overhead import path_overhead
from dtls_emu.simulation.simulation import Simulation
from dtls_emu.teach.blocks import Facts, Heading, Octets, Table, Text, Verdict
from dtls_emu.teach.dissect import dissect_datagram, dissect_packet
from dtls_emu.teach.document import Document
from dtls_emu.teach.record import explain_sealed, pull_header
from dtls_emu.teach.secrets import parse_key_log, with_server_randoms
from dtls_emu.teach.story import packet_events, tell
from dtls_emu.teach.transcript import handshakes_of
from dtls_emu.wire.packet import udp_packet, with_tos
from dtls_emu.wire.protocol import APPLICATION_DATA


if TYPE_CHECKING:
    from dtls_emu.events import Event
    from dtls_emu.lab.schema import Lab
    from dtls_emu.lab.topology import Address
    from dtls_emu.teach.secrets import Secrets

    Kind = TypeVar("Kind", bound=Event)


__all__ = ["PacketNotSentError", "explain_packet"]

SOURCE_PORT: Final = 40_000
DESTINATION_PORT: Final = 7  # echo (RFC 862)

PATIENCE: Final = 60.0
"""Seconds of virtual time after which the packet is given up; a tunnel is tried for less."""


class PacketNotSentError(DtlsEmuError):
    """The packet came to no end, or cannot be sent. Says why."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What happened to the packet in one run.

    Fields:
        events: of the packet.
        secrets: of the run's handshakes.
    """

    events: list[Event]
    secrets: list[Secrets]

    def first(self, kind: type[Kind]) -> Kind | None:
        """Its first event of a kind."""
        return next((event for event in self.events if isinstance(event, kind)), None)

    @property
    def outer(self) -> bytes | None:
        """The packet that carries it over the fabric; None if none does."""
        sent = self.first(Sent)
        if sent is None:
            return None
        packet = udp_packet(
            sent.source[0], sent.destination[0], sent.source[1], sent.destination[1], sent.payload
        )
        return with_tos(packet, sent.tos) if sent.tos else packet


def explain_packet(
    lab: Lab,
    source: str,
    address: Address,
    destination: Address,
    payload: bytes,
    *,
    show_secrets: bool = False,
) -> Document:
    """Send a UDP datagram from a VM of a lab, and show what is made of it.

    Args:
        lab: validated; its own traffic is left out.
        source: name of the VM that sends.
        address: of that VM, of the destination's IP version.
        destination: where to.
        payload: of the datagram.
        show_secrets: with the key in the command that opens the record.

    Raises:
        PacketNotSentError: it came to no end.
        LabFileError: the lab is wrong.
    """
    packet = udp_packet(str(address), str(destination), SOURCE_PORT, DESTINATION_PORT, payload)
    run = _send(lab, source, packet)
    document = Document(f"A packet from {source} to {destination}")
    document.add(
        Heading("1. What the VM sends"),
        Octets("An IP packet", packet, dissect_packet(packet)),
        Heading("2. What its card decides"),
        Table(("time", "host", "what", ""), tuple(_rows(run))),
    )
    forwarded, dropped = run.first(Forwarded), run.first(Dropped)
    if forwarded is None:
        reason = dropped.reason if dropped is not None else "nothing"
        document.add(
            Verdict(
                good=False, text=f"It is dropped and counted as {reason}; nothing of it is on the fabric."
            )
        )
        return document
    _explain_fabric(document, run, forwarded, show_secrets=show_secrets)
    _explain_end(document, run, packet)
    if forwarded.how in {How.ENCRYPTED, How.CLEAR}:
        _explain_overhead(document, lab, run, len(packet), encrypted=forwarded.how is How.ENCRYPTED)
    if forwarded.how is How.ENCRYPTED:
        _explain_plain(document, _send(_without_encryption(lab), source, packet), run, payload)
    return document


def _send(lab: Lab, source: str, packet: bytes) -> _Run:
    recorder = TraceRecorder()
    lines: list[bytes] = []
    quiet = lab.model_copy(update={"traffic": []})
    with Simulation(quiet, observer=recorder, key_log=lines.append) as simulation:
        simulation.inject(source, packet)
        number = next(event.packet for event in recorder.events if isinstance(event, Offered))
        while not _has_ended(found := packet_events(recorder.events, number)):
            moment = simulation.cloud.clock.next_event()
            if moment is None or moment > PATIENCE:
                raise PacketNotSentError(
                    f"the packet came to no end within {PATIENCE:.0f} s of the lab's time"
                )
            simulation.run_until(moment)
    secrets = with_server_randoms(
        parse_key_log(b"\n".join(lines).decode("ascii")),
        [randoms for each in handshakes_of(recorder.events) if (randoms := each.randoms)],
    )
    return _Run(found, secrets)


def _has_ended(events: list[Event]) -> bool:
    return any(isinstance(event, Delivered | Dropped | Refused | Lost) for event in events)


def _without_encryption(lab: Lab) -> Lab:
    networks = {
        name: network.model_copy(
            update={"encryption": network.encryption.model_copy(update={"enabled": False})}
        )
        for name, network in lab.virtual_networks.items()
    }
    return lab.model_copy(update={"virtual_networks": networks})


def _rows(run: _Run) -> list[tuple[str, ...]]:
    """What is told until the packet leaves its card."""
    found: list[tuple[str, ...]] = []
    for event in run.events:
        line = tell(event)
        found.append((f"{line.time * 1e3:.3f} ms", line.host, line.what, line.text))
        if isinstance(event, Forwarded | Dropped):
            break
    return found


def _explain_fabric(document: Document, run: _Run, forwarded: Forwarded, *, show_secrets: bool) -> None:
    decided, sent, outer = run.first(Decided), run.first(Sent), run.outer
    name = f", {decided.name}" if decided is not None else ""
    document.add(
        Verdict(
            good=forwarded.how is How.ENCRYPTED,
            text=f"Row {forwarded.row}{name}: {'encrypted' if forwarded.how is How.ENCRYPTED else 'in clear'}.",
        )
    )
    if sent is None or outer is None:
        where = "a VM of the same host" if forwarded.how is How.LOCAL else "the internet"
        document.add(Text(f"It goes to {where}: no tunnel leads there, and nothing is added."))
        return
    document.add(
        Heading("3. What is on the fabric"), Octets("The outer packet", outer, dissect_datagram(outer))
    )
    if sent.payload[0] != APPLICATION_DATA:
        document.add(Text("Whoever is on the fabric reads all of it, and can change it."))
        return
    header = pull_header(sent.payload)
    explain_sealed(
        document, header, sent.payload[13 : 13 + header.length], run.secrets, show_secrets=show_secrets
    )


def _explain_end(document: Document, run: _Run, packet: bytes) -> None:
    after = [tell(event) for event in _after_fabric(run.events)]
    document.add(
        Heading("4. At the other end"),
        Table(
            ("time", "host", "what", ""),
            tuple((f"{line.time * 1e3:.3f} ms", line.host, line.what, line.text) for line in after),
        ),
    )
    delivered = run.first(Delivered)
    if delivered is None:
        document.add(Verdict(good=False, text="It did not arrive."))
    elif delivered.packets and delivered.packets[0] == packet:
        document.add(Verdict(good=True, text="What is delivered is what was sent, to the byte."))
    else:
        document.add(Verdict(good=False, text="What is delivered is not what was sent."))


def _after_fabric(events: list[Event]) -> list[Event]:
    at = next((at for at, event in enumerate(events) if isinstance(event, Sent | Forwarded)), len(events))
    last = next((at for at, event in enumerate(events) if isinstance(event, Sent)), at)
    return events[last + 1 :]


def _explain_overhead(document: Document, lab: Lab, run: _Run, length: int, *, encrypted: bool) -> None:
    version = next(host.underlay.version for host in lab.hosts.values())
    sealed, plain = (path_overhead(encrypted=each, underlay_version=version) for each in (True, False))
    names = (
        ("outer IP", "outer_ip"),
        ("UDP", "udp"),
        ("DTLS record header", "record_header"),
        ("explicit nonce", "explicit_nonce"),
        ("VXLAN", "vxlan"),
        ("inner Ethernet", "inner_ethernet"),
        ("the VM's packet", ""),
        ("tag", "tag"),
    )
    rows = [
        (name, *(str(length if not field else getattr(each, field)) for each in (sealed, plain)))
        for name, field in names
    ]
    totals = tuple(str(length + each.total) for each in (sealed, plain))
    document.add(
        Heading("5. What it costs"),
        Table(
            ("layer", ">encrypted", ">in clear"),
            (*rows, ("together", *totals)),
            "Bytes",
            frozenset({len(rows)}),
        ),
    )
    outer = run.outer
    there = str(len(outer)) if outer is not None else ""
    assert there == totals[0 if encrypted else 1], "the sum is what was on the fabric"


def _explain_plain(document: Document, plain: _Run, run: _Run, payload: bytes) -> None:
    outer, sealed = plain.outer, run.outer
    assert outer is not None
    assert sealed is not None
    document.add(
        Heading("6. The same packet with encryption off"),
        Octets("The outer packet", outer, dissect_datagram(outer)),
    )
    if payload:
        document.add(
            Facts(
                (
                    ("the payload is in it", "yes" if payload in outer else "no"),
                    ("and in the encrypted one", "YES" if payload in sealed else "no"),
                )
            )
        )
