"""Where an attack happens: a lab with an attacker on its fabric, and two VMs whose packets he is after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.events import Delivered, Refused
from dtls_emu.teach.playground import Playground
from dtls_emu.teach.story import tell


if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.events import Event
    from dtls_emu.lab.schema import Lab
    from dtls_emu.lab.topology import Topology
    from dtls_emu.teach.playground import OnWire
    from dtls_emu.vocabulary import DropReason


__all__ = ["SECRET", "Scene"]

SECRET: Final = b"attack at dawn, by the river"
"""What the VM sends, and nobody else should read."""


class Scene:
    """A lab, two VMs on two hosts, and what happens to them.

    Fields:
        play: the lab.
        source, destination: names of the VMs: the first whose flow is encrypted under the lab as it was written.

    Args:
        lab: as it is to be attacked.
        pair: names of the VMs.
        credentials: of hosts, instead of fresh ones.
    """

    def __init__(
        self, lab: Lab, pair: tuple[str, str], *, credentials: Mapping[str, HostCredentials] | None = None
    ) -> None:
        self.play = Playground(lab, seed=1, credentials=credentials)
        self.source, self.destination = pair
        self._mark = 0

    @property
    def topology(self) -> Topology:
        """The lab, compiled."""
        return self.play.simulation.cloud.topology

    @property
    def hosts(self) -> tuple[str, str]:
        """Names of the hosts of the two VMs."""
        vms = self.topology.vms
        return vms[self.source].host, vms[self.destination].host

    def up(self) -> None:
        """Send a packet, so that a tunnel is there where one is needed; what happens from here on counts."""
        self.send(b"hello")
        self.play.settle()
        self.begin()

    def begin(self) -> None:
        """What happens from here on counts."""
        self._mark = len(self.play.trace.events)

    def send(self, payload: bytes = SECRET) -> int:
        """Have the first VM send a packet to the second. Its number."""
        return self.play.send(self.source, self.destination, payload)

    def capture(self, payload: bytes = SECRET) -> OnWire:
        """Have a packet sent, and give the datagram that carried it."""
        before = len(self.play.on_wire())
        self.send(payload)
        self.play.settle()
        return self.play.on_wire()[before:][-1]

    @property
    def events(self) -> list[Event]:
        """What happened since it counts."""
        return self.play.trace.events[self._mark :]

    @property
    def delivered(self) -> list[bytes]:
        """IP packets that the second VM got since it counts."""
        return [
            packet
            for event in self.events
            if isinstance(event, Delivered) and event.vm == self.destination
            for packet in event.packets
        ]

    @property
    def refused(self) -> list[DropReason]:
        """Why datagrams were refused since it counts, one for each."""
        return [
            event.reason for event in self.events if isinstance(event, Refused) for _ in range(event.count)
        ]

    def told(self, *kinds: type[Event]) -> list[str]:
        """What happened since it counts, in words; only of these kinds."""
        lines = [tell(event) for event in self.events if isinstance(event, kinds)]
        return [f"{line.host} {line.what}: {line.text}" for line in lines]
