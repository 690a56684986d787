"""The illustrated DTLS 1.2 AES-256-GCM connection: every byte of one that was made, annotated and opened.

A tunnel of a lab comes up over a link that loses a flight of its handshake, carries two packets, and is closed. What is
shown are the datagrams that were on the fabric, in their order; sealed ones are opened with the keys of the run.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from dtls_emu.events import FlightRetransmitted
from dtls_emu.lab import load_lab
from dtls_emu.lab.schema import Lab
from dtls_emu.teach.blocks import Facts, Heading, Ladder, Octets, Text, Verdict
from dtls_emu.teach.dissect.datagram import dissect_payload
from dtls_emu.teach.dissect.handshake import proves
from dtls_emu.teach.dissect.names import HANDSHAKE_TYPES
from dtls_emu.teach.document import Document
from dtls_emu.teach.handshake import explain_handshake
from dtls_emu.teach.playground import Playground
from dtls_emu.teach.record import explain_sealed, pull_header
from dtls_emu.wire.protocol import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE
from dtls_emu.wire.record import pull_records_untrusted


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dtls_emu.teach.playground import OnWire
    from dtls_emu.teach.secrets import Secrets


__all__ = ["explain_connection"]

LOSS: Final = "loss=25%"
"""Of the link while the handshake is made: enough for a flight to be lost with one of a few seeds."""

MAX_SEEDS: Final = 100

PAYLOADS: Final = (b"the first packet", b"and the second")


def explain_connection(lab: Lab | str | Path = "two-vms", *, show_secrets: bool = False) -> Document:
    """Make a connection and show every byte of it.

    Args:
        lab: with two VMs on two hosts whose flow is encrypted.
        show_secrets: with the keys in the commands that open records.

    Raises:
        PlaygroundError: the lab has no such VMs.
        LabFileError: the lab is wrong.
    """
    loaded = lab if isinstance(lab, Lab) else load_lab(lab)
    with _played(loaded) as play:
        document = Document("The illustrated DTLS 1.2 AES-256-GCM connection")
        document.add(
            Text(
                "Each byte below was on the fabric of a run: a tunnel between two hosts comes up, carries two packets of "
                "VMs and is closed. The link lost a flight of the handshake on the way, which was sent again."
            )
        )
        whole = explain_handshake(play.trace, play.secrets(), show_secrets=show_secrets)
        document.add(Heading("The handshake at a glance"))
        document.add(*(block for block in whole.blocks if isinstance(block, Ladder)))
        seen: set[bytes] = set()
        for datagram in play.on_wire():
            _explain(document, datagram, play.secrets(), seen, show_secrets=show_secrets)
        start = next(at for at, block in enumerate(whole.blocks) if block == Heading("From secrets to keys"))
        document.add(*whole.blocks[start:])
    return document


def _played(lab: Lab) -> Playground:
    """A run in which a flight was lost and sent again, two packets were carried, and the tunnel was closed."""
    for seed in count(1):
        play = Playground(lab, seed=seed)
        source, destination = play.encrypted_pair()
        hosts = [play.simulation.cloud.topology.vms[vm].host for vm in (source, destination)]
        link = "-".join(hosts)
        play.set(link, LOSS)
        play.send(source, destination, PAYLOADS[0])
        play.settle()
        lost = any(isinstance(event, FlightRetransmitted) for event in play.trace.events)
        if seed >= MAX_SEEDS or (lost and play.delivered == 1):
            break
        play.close()
    play.set(link, "loss=0%")
    play.send(source, destination, PAYLOADS[1])
    play.settle()
    play.simulation.shut_down(hosts[0])
    play.run_until(play.now + 1.0)
    return play


def _explain(
    document: Document, datagram: OnWire, secrets: Sequence[Secrets], seen: set[bytes], *, show_secrets: bool
) -> None:
    title = ", ".join(_contents(datagram.payload))
    again = datagram.payload in seen
    seen.add(datagram.payload)
    document.add(
        Heading(f"{datagram.number}. {title}"),
        Facts(
            (
                ("at", f"{datagram.time * 1e3:.3f} ms"),
                ("from", f"{datagram.source[0]} port {datagram.source[1]}"),
                ("to", f"{datagram.destination[0]} port {datagram.destination[1]}"),
            )
        ),
    )
    if datagram.fate:
        document.add(Verdict(good=False, text=f"What its link did to it: {datagram.fate}."))
    if again:
        document.add(Text("The same datagram as before, to the byte."))
        return
    for record in pull_records_untrusted(datagram.payload):
        for kind in _kinds(record.header.content_type, record.header.epoch, bytes(record.fragment)):
            document.add(Text(f"{HANDSHAKE_TYPES[kind]}: {proves(kind)}."))
    document.add(Octets("UDP payload", datagram.payload, dissect_payload(datagram.payload)))
    for record in pull_records_untrusted(datagram.payload):
        if record.header.epoch:
            header = pull_header(bytes(record.record))
            explain_sealed(document, header, bytes(record.fragment), secrets, show_secrets=show_secrets)


def _kinds(content_type: int, epoch: int, fragment: bytes) -> list[int]:
    """Types of the handshake messages of a record in clear whose purpose can be told."""
    if content_type != HANDSHAKE or epoch or not fragment:
        return []
    return [fragment[0]] if proves(fragment[0]) else []


def _contents(payload: bytes) -> Iterator[str]:
    for record in pull_records_untrusted(payload):
        kind, epoch = record.header.content_type, record.header.epoch
        if kind == CHANGE_CIPHER_SPEC:
            yield "ChangeCipherSpec"
        elif kind == APPLICATION_DATA:
            yield f"a record, epoch {epoch}, number {record.header.sequence}"
        elif kind == ALERT:
            yield "an alert, sealed" if epoch else "an alert"
        elif epoch:
            yield "Finished, sealed"
        else:
            yield HANDSHAKE_TYPES.get(record.fragment[0], "handshake") if record.fragment else "handshake"
