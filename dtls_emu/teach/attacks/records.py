"""Attacks on what is on the fabric: reading it, sending it again, changing it, making it up, holding it back."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from dtls_emu.crypto.danger_null import DANGER_CONSTANT_TAG
from dtls_emu.events import Refused
from dtls_emu.overhead import EXPLICIT_NONCE, RECORD_HEADER, TAG
from dtls_emu.teach.attacks.attack import Attempt
from dtls_emu.teach.attacks.scene import SECRET
from dtls_emu.teach.blocks import Facts, Octets, Text
from dtls_emu.teach.dissect.datagram import dissect_payload
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.protocol import APPLICATION_DATA


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.teach.attacks.scene import Scene
    from dtls_emu.teach.playground import OnWire


__all__ = ["eavesdrop", "forge", "hold_back", "replay", "tamper"]

_PREFIX: Final = RECORD_HEADER + EXPLICIT_NONCE

MORE_THAN_A_WINDOW: Final = 1100
"""Packets that pass a record which is held back: more than the default window remembers (1,024)."""


def eavesdrop(scene: Scene) -> Attempt:
    """Read every datagram, and look for what the VM has sent."""
    scene.up()
    before = len(scene.play.on_wire())
    scene.send(SECRET)
    scene.play.settle()
    seen = scene.play.on_wire()[before:]
    readable = [datagram for datagram in seen if SECRET in datagram.payload]
    tried = [
        Octets("What is on the fabric", datagram.payload, dissect_payload(datagram.payload))
        for datagram in (readable or seen)[:1]
    ]
    lengths = ", ".join(str(len(datagram.payload)) for datagram in seen)
    told = Facts((("what the VM sent", SECRET.decode()), ("datagrams", str(len(seen))), ("lengths", lengths)))
    by = (
        f"The payload is readable in {len(readable)} of {len(seen)} datagrams."
        if readable
        else "It is sealed with AES-256-GCM. What is left to read is who talks to whom, when, and how much."
    )
    return Attempt(not readable, by, [*tried, told])


def replay(scene: Scene) -> Attempt:
    """Send a datagram again that was there before."""
    scene.up()
    record = scene.capture()
    scene.begin()
    scene.play.put_on_wire(record)
    scene.play.settle()
    again = SECRET in b"".join(scene.delivered)
    return Attempt(
        not again,
        _refusals(scene, "It was delivered a second time: nothing tells a copy from the original."),
        [Octets("Sent again, to the byte", record.payload, dissect_payload(record.payload))],
    )


def tamper(scene: Scene) -> Attempt:
    """Swallow a datagram on its way, and let another go on in which one bit of the VM's payload is flipped."""
    scene.up()
    changed: list[bytes] = []

    def flip(payload: bytes) -> bytes:
        """The last bit of the VM's payload, which has the tag behind it in a record."""
        at = len(payload) - 1 - (TAG if payload[0] == APPLICATION_DATA else 0)
        changed.append(payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :])
        return changed[-1]

    _on_the_path(scene, flip)
    arrived = scene.delivered
    return Attempt(
        not arrived,
        _refusals(
            scene, "The changed packet was delivered: nothing covers its bytes but the VM's own checksum."
        ),
        [Octets("What goes on in its place", changed[0], dissect_payload(changed[0]))] if changed else [],
    )


def forge(scene: Scene) -> Attempt:
    """Make up a datagram with the next number and a packet of the attacker's own, as if a host had sent it."""
    scene.up()
    model = scene.capture()
    scene.begin()
    made = _made_up(model)
    scene.play.put_on_wire(model, made)
    scene.play.settle()
    believed = bool(scene.delivered)
    return Attempt(
        not believed,
        _refusals(scene, "It was delivered as if the other VM had sent it."),
        [Octets("Made up", made, dissect_payload(made))],
    )


def hold_back(scene: Scene) -> Attempt:
    """Keep a datagram, let many others pass, and bring it when its time is over."""
    scene.up()
    held: list[tuple[tuple[str, int], tuple[str, int], bytes]] = []

    def keep_the_first(source: tuple[str, int], destination: tuple[str, int], payload: bytes) -> list[bytes]:
        if not held and source[0] == scene.topology.hosts[scene.hosts[0]].underlay:
            held.append((source, destination, payload))
            return []
        return [payload]

    fabric = scene.play.simulation.cloud.fabric
    fabric.intrude(keep_the_first)
    scene.send(SECRET)
    scene.play.settle()
    fabric.intrude(None)
    for _ in range(MORE_THAN_A_WINDOW):
        scene.send(b"another one")
    scene.play.settle()
    scene.begin()
    scene.play.simulation.put_on_fabric(*held[0])
    scene.play.settle()
    late = SECRET in b"".join(scene.delivered)
    return Attempt(
        not late,
        _refusals(scene, "It was delivered, long after those that were sent behind it."),
        [
            Octets("Held back", held[0][2], dissect_payload(held[0][2])),
            Text(f"{MORE_THAN_A_WINDOW:,} packets passed before it was let go."),
        ],
    )


def _on_the_path(scene: Scene, change: Callable[[bytes], bytes]) -> None:
    """Send a packet while somebody changes what carries it."""
    source = scene.topology.hosts[scene.hosts[0]].underlay

    def intruder(origin: tuple[str, int], _destination: tuple[str, int], payload: bytes) -> list[bytes]:
        return [change(payload) if origin[0] == source else payload]

    fabric = scene.play.simulation.cloud.fabric
    fabric.intrude(intruder)
    scene.send(SECRET)
    scene.play.settle()
    fabric.intrude(None)


def _made_up(model: OnWire) -> bytes:
    """A datagram like another, with a number of its own and bytes that nobody has sealed."""
    payload = bytearray(model.payload)
    if payload[0] != APPLICATION_DATA:
        return bytes(payload)
    number = int.from_bytes(payload[5:11]) + 1
    epoch = int.from_bytes(payload[3:5])
    payload[5:11] = number.to_bytes(6)
    payload[RECORD_HEADER:_PREFIX] = struct.pack(">Q", epoch << 48 | number)
    payload[-TAG:] = DANGER_CONSTANT_TAG
    return bytes(payload)


def _refusals(scene: Scene, otherwise: str) -> str:
    """Which rule stopped it, in a sentence."""
    if not scene.refused:
        return otherwise
    told = scene.told(Refused)
    return f"{_RULES.get(scene.refused[0], 'It was refused')}: {told[0]}."


_RULES: Final = {
    DropReason.REPLAYED: "The replay window has that number already",
    DropReason.LATE: "The number is older than the replay window remembers",
    DropReason.AUTH_FAILED: "The tag does not verify",
    DropReason.NO_ASSOCIATION: "No association has these ports",
    DropReason.CLEAR_NOT_ACCEPTED: "The flow is an encrypted one, and this came in clear",
}
