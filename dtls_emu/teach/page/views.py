"""What the page shows of a run besides its events, in JSON's types: each made of the run's events when it is asked for."""

from __future__ import annotations

from functools import cache
from ipaddress import ip_address
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.crypto.registry import available
from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import Decided, Delivered, Dropped, LabChanged, Offered, PacketEvent, Received, Sent
from dtls_emu.lab.problems import suggest
from dtls_emu.lab.topology import is_internet
from dtls_emu.teach.attacks import ATTACKS
from dtls_emu.teach.blocks import Octets
from dtls_emu.teach.decision import explain_decision
from dtls_emu.teach.dissect import dissect_datagram, dissect_packet
from dtls_emu.teach.document import Document
from dtls_emu.teach.handshake import explain_handshake
from dtls_emu.teach.page.journal import KINDS
from dtls_emu.teach.page.scene import arrange
from dtls_emu.teach.page.sending import MOST_PACKETS, What
from dtls_emu.teach.page.session import ACTIONS
from dtls_emu.teach.record import explain_sealed, pull_header
from dtls_emu.teach.selection import of_packet
from dtls_emu.teach.story import tell
from dtls_emu.teach.transcript import handshakes_of
from dtls_emu.vocabulary import Enforcement
from dtls_emu.wire.packet import udp_packet, with_tos
from dtls_emu.wire.protocol import APPLICATION_DATA


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.events import Event
    from dtls_emu.lab.topology import Address, Link, Topology, Vm
    from dtls_emu.teach.page.session import Session


__all__ = [
    "ViewError",
    "about",
    "datagram",
    "decision",
    "handshake",
    "handshakes",
    "packet",
    "settings",
    "status",
]

MOST_LINKS: Final = 12
"""Hosts up to which the settings of every link are told; of more, only those that are not as the lab's defaults."""

SIZES: Final = ("Standard_D4s_v5", "Standard_B2s", "Standard_D2_v2")
"""Sizes to choose from: one that can be encrypted, and two that cannot."""


class ViewError(DtlsEmuError):
    """A run has nothing of what was asked for. Says what there is."""


def about(session: Session) -> dict[str, Any]:
    """What a page has to know before it draws anything."""
    vms = session.vms()
    internet = _uses_internet(session.trace.lab)
    return {
        "title": session.trace.title,
        "description": str(session.trace.lab.get("description", "")),
        "seed": session.trace.seed,
        "live": session.is_live,
        "kind": session.kind,
        "era": session.era,
        "refusals": {what: why for what in ACTIONS if (why := session.refusal(what))},
        "events": len(session.events),
        "now": session.now,
        "ended": session.has_ended,
        "kinds": list(KINDS),
        "scenes": {name: arrange(vms, wide=name == "wide", internet=internet) for name in ("wide", "tall")},
        "settings": settings(session),
        "sends": [str(each) for each in What],
        "most_packets": MOST_PACKETS,
        "attacks": [{"name": each.name, "summary": each.summary} for each in ATTACKS.values()],
        "enforcements": [str(each) for each in Enforcement],
        "sizes": list(SIZES),
        "backends": _backends() if session.is_live else [],
    }


def settings(session: Session) -> dict[str, Any]:
    """Networks, VMs, links and cards as they are set now; empty where the lab is not known."""
    topology = session.topology
    if topology is None:
        return {"networks": {}, "vms": {}, "links": {}, "hosts": {}}
    return {
        "networks": {
            name: {"encrypted": network.encrypted, "enforcement": str(network.enforcement)}
            for name, network in topology.networks.items()
        },
        "vms": {name: _vm(vm) for name, vm in topology.vms.items()},
        "hosts": {name: {"backend": backend} for name, backend in session.backends().items()},
        "links": {f"{a}-{b}": _link(topology.link(a, b)) for a, b in combinations(topology.hosts, 2)}
        if len(topology.hosts) <= MOST_LINKS
        else {},
    }


def status(session: Session) -> dict[str, Any]:
    """What real hosts say of themselves: see :meth:`~dtls_emu.teach.page.session.Session.status`.

    Raises:
        SessionError: there are none.
    """
    return session.status()


def packet(session: Session, number: int) -> dict[str, Any]:
    """One packet's whole path::

        {"packet", "title", "lines": [{"event", "time", "host", "what", "text"}],
         "devices": [{"name", "in": octets, "out": octets}], "decision": {"row", "name", "verdict", "host"} or null,
         "plain": octets or null, "sealed": octets or null, "record": document or null}

    Raises:
        SelectionError: no packet has that number.
    """
    with session.lock:
        events = of_packet(session.trace, number)
        places = {id(event): at for at, event in enumerate(session.events)}
    lines = [(places[id(event)], tell(event)) for event in events]
    plain = _first(_bytes_of(event, number) for event in events if isinstance(event, Offered))
    sent = next((event for event in events if isinstance(event, Sent) and event.payload), None)
    decided = next((event for event in events if isinstance(event, Decided)), None)
    first = tell(events[0])
    return {
        "packet": number,
        "title": f"Packet {number}: {first.text}",
        "lines": [
            {"event": at, "time": line.time, "host": line.host, "what": line.what, "text": line.text}
            for at, line in lines
        ],
        "devices": _devices(events, number),
        "decision": None
        if decided is None
        else {
            "row": decided.row,
            "name": decided.name,
            "verdict": str(decided.verdict),
            "host": decided.host,
            "vm": decided.vm,
            "to": decided.flow.destination,
        },
        "plain": _octets("What the VM sends", plain),
        "sealed": None if sent is None else _fabric(sent).as_dict(),
        "record": None if sent is None else _record(session, sent),
    }


def datagram(session: Session, number: int) -> dict[str, Any]:
    """A datagram that was on the fabric, as a document.

    Raises:
        ViewError: there was none of that number, or its bytes were left out of the trace.
    """
    with session.lock:
        found = next(
            (event for event in session.events if isinstance(event, Sent) and event.datagram == number), None
        )
    if found is None:
        raise ViewError(f"datagram {number}: there is none in this run")
    if not found.payload:
        raise ViewError("the bytes of datagrams were left out of this trace")
    document = Document(f"Datagram {number}, from {found.host}")
    document.add(_fabric(found))
    return document.as_dict()


def handshakes(session: Session) -> list[dict[str, Any]]:
    """Which handshakes there were."""
    with session.lock:
        found = handshakes_of(session.events)
    return [
        {
            "number": number,
            "client": each.client,
            "server": each.server,
            "opened": each.opened,
            "time": each.datagrams[0][1].sent.time,
        }
        for number, each in enumerate(found, 1)
    ]


def handshake(session: Session, number: int) -> dict[str, Any]:
    """One of them, explained.

    Raises:
        NoHandshakeError: there is none of that number.
    """
    with session.lock:
        return explain_handshake(session.trace, session.secrets(), number=number).as_dict()


def decision(session: Session, source: str, destination: str) -> dict[str, Any]:
    """Which row decides for a flow, and why those above it do not, as the lab is now.

    Args:
        session: the run.
        source: name of the VM that sends.
        destination: name of a VM, or an IP address.

    Raises:
        ViewError: no such VM, or the lab is not known.
    """
    topology = session.topology
    if topology is None:
        raise ViewError("the lab is not in this trace, and its decisions cannot be made again")
    if source not in topology.vms:
        raise ViewError(f"no VM is called {source}; {suggest(source, topology.vms)}")
    vm = topology.vms[source]
    return explain_decision(topology, vm, _address(topology, vm, destination)).as_dict()


# ------------------------------------------------------------------------------------------------- its parts


def _address(topology: Topology, source: Vm, destination: str) -> Address:
    if destination in topology.vms:
        for each in topology.vms[destination].addresses:
            if source.address(each.version) is not None:
                return each
        raise ViewError(f"{source.name} and {destination} have no IP version in common")
    try:
        found = ip_address(destination)
    except ValueError:
        raise ViewError(
            f"`{destination}` is no VM and no IP address; {suggest(destination, topology.vms)}"
        ) from None
    if source.address(found.version) is None:
        raise ViewError(f"{source.name} has no address of IP version {found.version}")
    return found


@cache
def _backends() -> list[dict[str, str]]:
    """What a card can be started with, and why it cannot where that is so. Each is loaded for it, which takes time once."""
    return [{"name": name, "missing": found if isinstance(found, str) else ""} for name, found in available()]


def _vm(vm: Vm) -> dict[str, Any]:
    return {
        "host": vm.host,
        "network": vm.network,
        "addresses": [str(address) for address in vm.addresses],
        "size": vm.size,
        "capable": vm.size_capable,
        "accelerated": vm.accelerated_networking,
        "mtu": vm.mtu,
    }


def _link(link: Link) -> dict[str, float]:
    return {"loss": link.loss, "delay": link.delay, "mtu": link.mtu}


def _uses_internet(lab: dict[str, Any]) -> bool:
    """Whether a traffic item goes to a public address."""
    for item in lab.get("traffic", []):
        try:
            if is_internet(ip_address(str(item.get("to", "")))):
                return True
        except ValueError:
            continue  # the name of a VM
    return False


def _bytes_of(event: Event, number: int) -> bytes | None:
    """The packet's own bytes in an event that has those of a burst."""
    packets: tuple[bytes, ...] = getattr(event, "packets", ()) or getattr(event, "payloads", ())
    if not packets or not isinstance(event, PacketEvent):
        return None
    place = number - event.packet
    return packets[place] if 0 <= place < len(packets) else packets[0]


def _first(found: Any) -> bytes | None:
    return next((each for each in found if each), None)


def _octets(title: str, data: bytes | None) -> dict[str, Any] | None:
    return None if data is None else Octets(title, data, dissect_packet(data)).as_dict()


def _fabric(sent: Sent) -> Octets:
    """The outer packet that carries a datagram."""
    packet = udp_packet(
        sent.source[0], sent.destination[0], sent.source[1], sent.destination[1], sent.payload
    )
    outer = with_tos(packet, sent.tos) if sent.tos else packet
    return Octets("What is on the fabric", outer, dissect_datagram(outer))


def _record(session: Session, sent: Sent) -> dict[str, Any] | None:
    if sent.payload[0] != APPLICATION_DATA:
        return None
    header = pull_header(sent.payload)
    document = Document("The record")
    explain_sealed(
        document, header, sent.payload[13 : 13 + header.length], session.secrets(), show_secrets=False
    )
    return document.as_dict()


def _devices(events: Sequence[Event], number: int) -> list[dict[str, Any]]:
    """Each device on the packet's path, with what came in and what went out."""
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        if not event.host or isinstance(event, LabChanged):
            continue
        device = found.setdefault(event.host, {"name": f"card of {event.host}", "in": None, "out": None})
        if isinstance(event, Offered) and device["in"] is None:
            device["in"] = _octets(f"From {event.vm or 'the internet'}", _bytes_of(event, number))
        elif isinstance(event, Received) and device["in"] is None and event.payloads:
            device["in"] = _received(events, event)
        elif isinstance(event, Sent) and device["out"] is None and event.payload:
            device["out"] = _fabric(event).as_dict() | {"title": "To the fabric"}
        elif isinstance(event, Delivered):
            device["out"] = _octets(f"To {event.vm or 'the internet'}", _bytes_of(event, number))
        elif isinstance(event, Dropped):
            device["dropped"] = str(event.reason)
    return [each for each in found.values() if each["in"] or each["out"] or "dropped" in each]


def _received(events: Sequence[Event], event: Received) -> dict[str, Any] | None:
    """What came in, with the headers of the packet that carried it."""
    sent = next((each for each in events if isinstance(each, Sent) and each.payload), None)
    if sent is None:
        return None
    payload = sent.payload if sent.payload in event.payloads else event.payloads[0]
    packet = udp_packet(sent.source[0], sent.destination[0], sent.source[1], sent.destination[1], payload)
    outer = with_tos(packet, event.tos) if event.tos else packet
    return Octets("From the fabric", outer, dissect_datagram(outer)).as_dict()
