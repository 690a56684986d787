"""Attacks with packets of VMs: fragments that hide what they are, and lies about the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.events import Delivered, Dropped, Forwarded, Offered
from dtls_emu.teach.attacks.attack import Attempt
from dtls_emu.teach.attacks.scene import SECRET
from dtls_emu.teach.blocks import Facts, Octets, Table
from dtls_emu.teach.dissect import dissect_packet
from dtls_emu.vocabulary import FragmentShape
from dtls_emu.wire.icmp import packet_too_big
from dtls_emu.wire.packet import fragments, udp_packet


if TYPE_CHECKING:
    from dtls_emu.teach.attacks.scene import Scene


__all__ = ["lie_about_the_path", "smuggle"]

PORTS: Final = (40_000, 7)
LIED_MTU: Final = 296


def smuggle(scene: Scene) -> Attempt:
    """Send fragments of every shape, whose ports nobody can see, past the flow table."""
    scene.up()
    vms = scene.topology.vms
    source, destination = vms[scene.source], vms[scene.destination]
    rows, passed = [], 0
    shown = b""
    for shape in FragmentShape:
        version = 4 if shape.startswith("v4") else 6
        ends = source.address(version), destination.address(version)
        if None in ends:
            continue
        whole = udp_packet(str(ends[0]), str(ends[1]), *PORTS, SECRET * 40)
        (fragment,) = fragments(whole, (shape,))
        shown = shown or fragment
        scene.begin()
        scene.play.simulation.inject(scene.source, fragment)
        scene.play.settle()
        forwarded = scene.told(Forwarded)
        dropped = scene.told(Dropped)
        passed += bool(forwarded)
        rows.append((str(shape), (forwarded or dropped or ["nothing"])[0]))
    return Attempt(
        not passed,
        "A fragment of an encrypted flow is dropped, whatever its shape: it has no ports to find its flow by."
        if not passed
        else f"{passed} of {len(rows)} shapes left the card in clear.",
        [
            Octets("One of them", shown, dissect_packet(shown)),
            Table(("shape", "what happened"), tuple(rows)),
        ],
    )


def lie_about_the_path(scene: Scene) -> Attempt:
    """Tell a VM by ICMP that its packets are too big, to slow it down: about a packet that it has not sent."""
    scene.up()
    vms = scene.topology.vms
    source, destination = vms[scene.source], vms[scene.destination]
    version = next(each.version for each in source.addresses if destination.address(each.version))
    ends = str(source.address(version)), str(destination.address(version))
    quoted = udp_packet(*ends, *PORTS, bytes(1000))
    report = packet_too_big(quoted, LIED_MTU)
    assert report is not None  # it is an IP packet
    scene.begin()
    scene.play.simulation.inject(scene.destination, report)
    scene.play.settle()
    before = scene.play.simulation.cloud.cards[scene.hosts[0]].inner_mtu(scene.hosts[1], encrypted=True)
    scene.begin()
    large = bytes(1200)
    scene.send(large)
    scene.play.settle()
    whole = any(
        event.vm == scene.destination and event.nbytes > len(large)
        for event in scene.events
        if isinstance(event, Delivered)
    )
    offered = [event.nbytes for event in scene.events if isinstance(event, Offered)]
    return Attempt(
        whole,
        "No report about the path reaches a card, and a VM believes none about a packet that is not under way."
        if whole
        else "The VM sends smaller packets now.",
        [
            Octets("The lie", report, dissect_packet(report)),
            Facts(
                (
                    ("MTU of the lie", str(LIED_MTU)),
                    ("the card lets pass", str(before)),
                    ("the VM sends", ", ".join(map(str, offered))),
                )
            ),
        ],
    )
