"""A host's compiled loop: its memory, and what stands between it and the card, the devices and the sockets.

:mod:`dtls_emu.host.loop.turn` does the work, :mod:`dtls_emu.host.loop.agent` what that returns for. This stands
between: it lays out what the kernel works on, keeps it in step with ports and paths that come and go, and hands
exceptions on as the bursts that the slow path takes. What is sent, received, read and written is counted in the memory
of the fabric and of the devices, which kernels work on whoever calls them.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from dtls_emu.fabric.syscalls import EVENT, POLLFD, TIMESPEC
from dtls_emu.fabric.udp_send import NO_SOCKET, WIRE_BYTES, lead_path, make_paths
from dtls_emu.host.loop.state import DEVICE, FABRIC, FILE, GUEST, LOOP, MAX_EVENTS, OTHER, LoopState
from dtls_emu.host.loop.turn import run_loop
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.merge import GROUP_WORDS
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray

    from dtls_emu.fabric.udp import UdpFabric
    from dtls_emu.fabric.underlay import Receive
    from dtls_emu.host.device.tun import TunDevice
    from dtls_emu.lab.topology import Topology
    from dtls_emu.nic.card import Card
    from dtls_emu.nic.event_ring import EventRing


__all__ = ["FastLoop", "why_not"]


def why_not(card: Card, fabric: UdpFabric, devices: Mapping[str, TunDevice], topology: Topology) -> str:
    """Why a host's packets cannot be carried by compiled code; "" when they can."""
    backend = card.engine.backend
    encrypts = any(network.encrypted for network in topology.networks.values())
    if encrypts and not card.engine.is_native:
        return f"backend {backend.name} has no native functions"
    for vm in topology.vms_on(card.host):
        if vm.name not in devices:
            return f"{vm.name} has no device"
    for name, device in devices.items():
        if not device.merges:
            return f"the device of {name} has no virtio header"
    offloads = fabric.offloads()
    for name in ("udp_gso", "udp_gro"):
        if offloads[name]["state"] != "on":
            return f"{name} is off"
    return "" if struct.calcsize("P") == 8 else "not a 64-bit machine"


class FastLoop:
    """The compiled loop of one host. Not safe for concurrent use.

    Args:
        card: of the host.
        fabric, devices: they stay the caller's to close.
        topology: the lab.
        epoll: file number of the epoll that has the devices and the fabric.
    """

    def __init__(
        self, card: Card, fabric: UdpFabric, devices: Mapping[str, TunDevice], topology: Topology, epoll: int
    ) -> None:
        self._ring: EventRing | None = None  # keeps alive what the loop points to
        self._fabric = fabric
        self._devices = list(devices.values())
        self._vms = list(devices)
        self._datapath = card.offload(self._vms)
        self._card_paths = self._datapath.paths
        self._card_paths.on_path = self._lead
        self._impaired: Collection[str] = ()
        self._files: Mapping[int, int] = {}  # of the fabric's ports, by their numbers
        self._ports_seen = -1
        self._paths = make_paths(len(self._card_paths.table))
        self._loop: NDArray[np.void] = np.zeros(1, LOOP)
        self._loop["epoll"] = epoll
        self._state = LoopState(
            card=self._datapath.memory,
            loop=self._loop,
            files=self._kinds_of_files(),
            guests=np.array(
                [
                    (device.memory.address, topology.networks[topology.vms[vm].network].vni)
                    for vm, device in devices.items()
                ],
                GUEST,
            ),
            sender=fabric.sender.state,
            receiver=fabric.receiver.state,
            ports=fabric.port_of_file,
            paths=self._paths,
            arrived=fabric.receiver.memory,
            wire=fabric.sender.wire,
            joined=np.empty(WIRE_BYTES, np.uint8),
            groups=np.empty((MAX_ROWS, GROUP_WORDS), np.int64),
            events=np.zeros(MAX_EVENTS, EVENT),
            time=np.zeros(1, TIMESPEC),
            poll=np.zeros(1, POLLFD),
        )

    def watch(self, ring: EventRing | None) -> None:
        """Leave what is carried in a ring from now on; None: nobody wants to know."""
        self._ring = ring
        self._loop["ring"] = 0 if ring is None else ring.address

    def impair(self, peers: Collection[str]) -> None:
        """Leave what goes to these underlay addresses to the slow path: their links are impaired."""
        self._impaired = peers
        self._ports_seen = -1

    def run(self, now: float, until: float, *, forever: bool) -> int:
        """Work; see :func:`~dtls_emu.host.loop.turn.run_loop` for what is returned, and when."""
        if self._ports_seen != self._fabric.ports_changed:
            self._look_at_ports()
        memory = self._datapath.memory
        if memory is not self._state.card:
            self._state = self._state._replace(card=memory)
        code = run_loop(self._state, now, until, forever)
        self._fabric.attend(self._paths)
        return code

    @property
    def unfinished(self) -> bool:
        """Whether an exception came amid a pass, which the next :meth:`run` goes on with."""
        return bool(self._loop["next"][0] < self._loop["ready"][0])

    def take_attention(self) -> bool:
        """Whether a file that is not the loop's own was readable, since this was asked last."""
        seen = bool(self._loop["seen_other"][0])
        self._loop["seen_other"] = 0
        return seen

    # ------------------------------------------------------------------------------------ exceptions

    def guest_packet(self, deliver: Callable[[str, Burst], object]) -> None:
        """Hand on the guest's packet that is an exception."""
        vm = self._vms[self._guest]
        self._devices[self._guest].take(lambda burst: deliver(vm, burst))

    def device(self) -> TunDevice:
        """The device of an exception: the one with the packet, or the one that is broken."""
        return self._devices[self._guest]

    def datagrams(self, deliver: Receive, now: float) -> None:
        """Hand on datagrams that are an exception, as they came."""
        self._fabric.take(deliver, now)

    def opened(self, deliver: Callable[[str, Burst, NDArray[np.uint8], int], object]) -> None:
        """Likewise datagrams that have been opened."""
        _, count, size, last, tos = self._state.receiver["arrival"].item()
        burst = Burst(
            self._state.arrived[: (count - 1) * size + last],
            stride=size,
            offset=RECORD_PREFIX,
            size=size - RECORD_OVERHEAD,
            count=count,
            last=last - RECORD_OVERHEAD,
            tos=tos,
        )
        peer = self._card_paths.peer(int(self._loop["path"][0])).name
        deliver(peer, burst, self._datapath.rows.status[:count], int(self._loop["opened"][0]))

    @property
    def _guest(self) -> int:
        return int(self._loop["guest"][0])

    # ------------------------------------------------------------------------------------ in step

    def forget(self, device: TunDevice) -> None:
        """A device is gone: what is for it is the slow path's."""
        self._state.files["kind"][device.fileno()] = OTHER

    def _kinds_of_files(self) -> NDArray[np.void]:
        numbers = [self._fabric.fileno(), *(device.fileno() for device in self._devices)]
        files: NDArray[np.void] = np.zeros(max(numbers) + 1, FILE)
        files["kind"][self._fabric.fileno()] = FABRIC
        for guest, device in enumerate(self._devices):
            files[device.fileno()] = DEVICE, guest
        return files

    def _look_at_ports(self) -> None:
        self._ports_seen = self._fabric.ports_changed
        self._files = self._fabric.ports
        self._state = self._state._replace(ports=self._fabric.port_of_file)
        for path in range(self._card_paths.count):
            self._lead(path)

    def _lead(self, path: int) -> None:
        """Find the socket and the address of a path that has changed."""
        address = self._card_paths.destination(path)
        port = self._card_paths.local_port(path)
        is_ours = address[0] not in self._impaired
        lead_path(self._paths, path, self._files.get(port, NO_SOCKET) if is_ours else NO_SOCKET, address)
