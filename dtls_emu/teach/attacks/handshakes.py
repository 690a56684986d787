"""Attacks on how a tunnel comes up: flooding it, weakening it, keeping it away, and pretending to be its other end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dtls_emu.assembly.cards import issue_credentials
from dtls_emu.crypto.authority import HostCredentials, RegionAuthority
from dtls_emu.events import AssociationOpened, Dropped, Forwarded, How, StateChanged
from dtls_emu.lab import compile_lab
from dtls_emu.teach.attacks.attack import Attempt
from dtls_emu.teach.attacks.scene import SECRET, Scene
from dtls_emu.teach.blocks import Facts, Octets, Text
from dtls_emu.teach.dissect.datagram import dissect_payload
from dtls_emu.wire.protocol import is_handshake


if TYPE_CHECKING:
    from dtls_emu.lab.schema import Lab


__all__ = ["downgrade", "flood", "impersonate_host", "impersonate_region", "strip"]

HELLOS: Final = 500

PATIENCE: Final = 40.0
"""Seconds of the lab's time in which an attempt has failed for good."""

_STRONG: Final = b"\xc0\x2c"  # TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
_WEAK: Final = b"\xc0\x09"  # TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA


def flood(scene: Scene) -> Attempt:
    """Send many ClientHellos from made-up ports of a host, to have its peer keep state or send more than it gets."""
    scene.up()
    hello = scene.play.on_wire()[0]
    scene.begin()
    before = len(scene.play.on_wire())
    for number in range(HELLOS):
        source = (hello.source[0], 20_000 + number)
        scene.play.simulation.put_on_fabric(source, hello.destination, hello.payload)
    scene.play.settle()
    answers = [each for each in scene.play.on_wire()[before:] if each.source == hello.destination]
    into, out = HELLOS * len(hello.payload), sum(len(each.payload) for each in answers)
    opened = [event for event in scene.events if isinstance(event, AssociationOpened)]
    begun = [event for event in scene.events if isinstance(event, StateChanged)]
    return Attempt(
        not opened and not begun and out <= into,
        f"Each is answered with a cookie and forgotten: no state is kept, and {out:,} bytes went out for {into:,} that came.",
        [
            Octets(f"One of {HELLOS} like it", hello.payload, dissect_payload(hello.payload)),
            Facts((("answers", str(len(answers))), ("handshakes begun", str(len(begun))))),
        ],
    )


def downgrade(scene: Scene) -> Attempt:
    """Change every ClientHello on its way, so that it asks for a weak cipher suite."""
    changed: list[bytes] = []

    def intruder(_source: tuple[str, int], _destination: tuple[str, int], payload: bytes) -> list[bytes]:
        if is_handshake(payload[0]) and _STRONG in payload and payload[RECORD_TYPE_AT] == CLIENT_HELLO:
            changed.append(payload.replace(_STRONG, _WEAK, 1))
            return [changed[-1]]
        return [payload]

    scene.play.simulation.cloud.fabric.intrude(intruder)
    scene.begin()
    scene.send()
    scene.play.run_until(scene.play.now + PATIENCE)
    opened = [event for event in scene.events if isinstance(event, AssociationOpened)]
    failures = [event.failure for event in scene.events if isinstance(event, StateChanged) and event.failure]
    return Attempt(
        not opened,
        f"No association came up: {failures[-1]}." if failures else "No association came up.",
        [Octets("A changed hello", changed[0], dissect_payload(changed[0]))] if changed else [],
    )


RECORD_TYPE_AT: Final = 13
"""Where the type of a handshake message is, behind the header of its record."""

CLIENT_HELLO: Final = 1


def strip(scene: Scene) -> Attempt:
    """Swallow every handshake, so that the cards give up and send in clear."""
    lost = 0

    def intruder(_source: tuple[str, int], _destination: tuple[str, int], payload: bytes) -> list[bytes]:
        nonlocal lost
        if is_handshake(payload[0]):
            lost += 1
            return []
        return [payload]

    scene.play.simulation.cloud.fabric.intrude(intruder)
    scene.begin()
    scene.send(b"the first one")
    scene.play.run_until(scene.play.now + PATIENCE)
    scene.send(SECRET)
    scene.play.run_until(scene.play.now + PATIENCE)
    clear = [event for event in scene.events if isinstance(event, Forwarded) and event.how is How.CLEAR]
    readable = any(SECRET in datagram.payload for datagram in scene.play.on_wire())
    told = scene.told(Forwarded, Dropped)
    by = (
        f"The tunnel did not come up, and the network allows unencrypted: {told[-1]}."
        if clear or readable
        else f"The tunnel did not come up, and the network drops what cannot be encrypted: {told[-1]}."
        if told
        else "Nothing left the card."
    )
    return Attempt(not (clear or readable), by, [Text(f"{lost} datagrams of handshakes were swallowed.")])


def impersonate_region(lab: Lab, pair: tuple[str, str]) -> Scene:
    """A scene in which the second VM's host has a certificate of another authority."""
    topology = compile_lab(lab)
    now = datetime.now(UTC)
    credentials = issue_credentials(topology, now)
    host = topology.vms[pair[1]].host
    rogue = RegionAuthority.create(topology.hosts[host].region, now).issue(host, now)
    real = credentials[host].ca_certificate
    credentials[host] = HostCredentials(rogue.certificate, rogue.private_key, real)
    return Scene(lab, pair, credentials=credentials)


def impersonate_host(lab: Lab, pair: tuple[str, str]) -> Scene:
    """A scene in which the second VM's host has a good certificate, of the right authority, of another host."""
    topology = compile_lab(lab)
    now = datetime.now(UTC)
    regions = {host.region for host in topology.hosts.values()}
    authorities = {region: RegionAuthority.create(region, now) for region in regions}
    rogue = topology.vms[pair[1]].host
    credentials = {
        host.name: authorities[host.region].issue("another-host" if host.name == rogue else host.name, now)
        for host in topology.hosts.values()
    }
    return Scene(lab, pair, credentials=credentials)


def be_believed(scene: Scene) -> Attempt:
    """Answer the handshake with the certificate that one has."""
    scene.begin()
    scene.send()
    scene.play.run_until(scene.play.now + PATIENCE)
    believed = any(
        isinstance(event, AssociationOpened) and event.host == scene.hosts[0] for event in scene.events
    )
    failures = [event.failure for event in scene.events if isinstance(event, StateChanged) and event.failure]
    return Attempt(
        not believed,
        f"The certificate is refused: {failures[0]}." if failures else "An association came up.",
    )
