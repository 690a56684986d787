"""A host's compiled loop: its memory, and the way between it and the card, the devices and the sockets.

:mod:`dtls_emu.host.loop.kernels` does the work, :mod:`dtls_emu.host.loop.agent` what that returns for. This stands
between: it lays out what the kernel works on, keeps it in step with ports and ways that come and go, hands
exceptions on as the bursts that the slow path takes, and enters in everybody's books what was carried.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.fabric.offload import SOL_UDP, TOS_MESSAGE, UDP_SEGMENT
from dtls_emu.fabric.udp import RECEIVE_BYTES
from dtls_emu.host.loop import kernels
from dtls_emu.host.loop.kernels import LoopState, run_loop
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.merge import GROUP_WORDS
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray

    from dtls_emu.fabric.udp import UdpFabric
    from dtls_emu.host.device.tun import TunDevice
    from dtls_emu.lab.topology import Topology
    from dtls_emu.nic.card import Card
    from dtls_emu.nic.effects import UnderlayAddress


__all__ = ["FastLoop", "why_not"]

_WORKSPACE: Final = 1 << 17
"""Bytes of what is sent at once, or joined: 64 KB and what stands in front of the packets."""

_CONTROL: Final = struct.Struct("=QiiQ")
"""A control message with a number of up to eight bytes (``struct cmsghdr`` of 64-bit Linux: length, level, type)."""


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
        self._fabric = fabric
        self._devices = list(devices.values())
        self._vms = list(devices)
        self._datapath = card.offload(self._vms)
        self._paths = paths = self._datapath.paths
        paths.on_path = self._lead
        self._impaired: Collection[str] = ()
        self._files: dict[int, int] = {}  # of the fabric's ports, by their numbers
        self._ports_seen = -1
        self._names = np.zeros((len(paths.table), kernels.NAME_SPACE), np.uint8)
        self._ways: NDArray[np.int64] = np.zeros((len(paths.table), kernels.WAY_FIELDS), np.int64)
        self._ways[:, kernels.SOCKET] = -1
        self._numbers: NDArray[np.int64] = np.zeros(kernels.LOOP_WORDS, np.int64)
        self._numbers[[kernels.EPOLL, kernels.FABRIC_EPOLL]] = epoll, fabric.fileno()
        self._device_words: NDArray[np.int64] = np.zeros((len(devices), kernels.DEVICE_WORDS), np.int64)
        self._refused: NDArray[np.int64] = np.zeros((len(devices) + 1, kernels.ERRORS, 2), np.int64)
        self._arrived = np.empty(RECEIVE_BYTES, np.uint8)
        self._name = np.zeros(kernels.NAME_SPACE, np.uint8)
        # Both must tell their own length: of a C u16, and of a C int.
        tos_message = TOS_MESSAGE[
            socket.AF_INET6 if ":" in topology.hosts[card.host].underlay else socket.AF_INET
        ]
        self._numbers[[kernels.TOS_LEVEL, kernels.TOS_TYPE]] = tos_message
        control = _CONTROL.pack(socket.CMSG_LEN(2), SOL_UDP, UDP_SEGMENT, 0)
        control += _CONTROL.pack(socket.CMSG_LEN(4), *tos_message, 0)
        wire = np.empty(_WORKSPACE, np.uint8)
        vectors = np.zeros((2, 2), np.int64)
        controls = np.zeros(kernels.CONTROL_SPACE, np.uint8)
        self._state = LoopState(
            self._datapath.memory,
            np.zeros(1, np.int8),
            np.zeros(1, np.int32),
            self._device_words,
            self._ways,
            np.zeros(1, np.int64),
            self._numbers,
            fabric.segmentation,
            self._refused,
            self._arrived,
            wire,
            np.empty(_WORKSPACE, np.uint8),
            np.empty((MAX_ROWS, GROUP_WORDS), np.int64),
            np.zeros(kernels.MAX_EVENTS * 16, np.uint8),
            np.zeros(kernels.MAX_EVENTS * 16, np.uint8),
            np.array((0, 0, vectors[0].ctypes.data, 1, 0, 0, 0), np.int64),
            vectors[0],
            np.frombuffer(bytearray(control), np.uint8),
            np.array(
                (self._name.ctypes.data, 0, vectors[1].ctypes.data, 1, controls.ctypes.data, 0, 0), np.int64
            ),
            vectors[1],
            controls,
            self._name,
            np.zeros(4, np.int64),
        )
        vectors[1] = self._arrived.ctypes.data, RECEIVE_BYTES
        for way in range(paths.count):
            self._lead(way)
        for words, device, vm in zip(self._device_words, self._devices, self._vms, strict=True):
            words[kernels.FILE] = device.fileno()
            words[kernels.VNI] = topology.networks[topology.vms[vm].network].vni
            words[kernels.MEMORY] = device.memory_address
            words[kernels.CUTS_UDP] = device.cuts_udp

    def impair(self, peers: Collection[str]) -> None:
        """Leave what goes to these underlay addresses to the slow path: their links are impaired."""
        self._impaired = peers
        self._ports_seen = -1

    def run(self, now: float, until: float, *, forever: bool) -> int:
        """Work; see :func:`~dtls_emu.host.loop.kernels.run_loop` for what is returned, and when."""
        if self._ports_seen != self._fabric.ports_changed:
            self._watch_ports()
        memory = self._datapath.memory
        if memory is not self._state.card:
            self._state = self._state._replace(card=memory)
        return run_loop(self._state, now, until, forever)

    @property
    def unfinished(self) -> bool:
        """Whether an exception came amid a pass, which the next :meth:`run` goes on with."""
        return bool(self._numbers[kernels.NEXT] < self._numbers[kernels.READY])

    def take_attention(self) -> bool:
        """Whether a file that is not the loop's own was readable, since this was asked last."""
        seen = bool(self._numbers[kernels.SEEN_OTHER])
        self._numbers[kernels.SEEN_OTHER] = 0
        return seen

    # ------------------------------------------------------------------------------------ exceptions

    def guest_packet(self, deliver: Callable[[str, Burst], object]) -> None:
        """Hand on the guest's packet that is an exception."""
        number = int(self._numbers[kernels.PLACE])
        vm = self._vms[number]
        self._devices[number].take(int(self._numbers[kernels.LENGTH]), lambda burst: deliver(vm, burst))

    def device(self) -> TunDevice:
        """The device of an exception: the one with the packet, or the one that is broken."""
        return self._devices[int(self._numbers[kernels.PLACE])]

    def datagrams(self, deliver: Callable[[Burst, UnderlayAddress, int], object]) -> None:
        """Hand on datagrams that are an exception, as they came."""
        self._fabric.take(
            self._arrived[: self._numbers[kernels.LENGTH]],
            int(self._numbers[kernels.SEGMENT]),
            lambda burst: deliver(burst, self._sender(), self._port()),
            int(self._numbers[kernels.TOS_IN]),
        )

    def opened(self, deliver: Callable[[str, Burst, NDArray[np.uint8], int], object]) -> None:
        """Likewise datagrams that have been opened."""
        wire = Burst.from_datagrams(
            self._arrived[: self._numbers[kernels.LENGTH]], int(self._numbers[kernels.SEGMENT])
        )
        count = wire.count
        burst = Burst(
            wire.buffer,
            stride=wire.stride,
            offset=RECORD_PREFIX,
            size=wire.size - RECORD_OVERHEAD,
            count=count,
            last=wire.last - RECORD_OVERHEAD,
            tos=int(self._numbers[kernels.TOS_IN]),
        )
        peer = self._paths.peer(int(self._numbers[kernels.WAY_IN])).name
        deliver(peer, burst, self._datapath.rows.status[:count], int(self._numbers[kernels.OPENED_ROWS]))

    # ------------------------------------------------------------------------------------ in step

    def settle(self) -> None:
        """Enter in the books of devices and fabric what was carried; the card's are counted where they are."""
        numbers = self._numbers
        if numbers[kernels.FABRIC_OFFERED] or numbers[kernels.FABRIC_READS]:
            self._fabric.settle(
                offered=int(numbers[kernels.FABRIC_OFFERED]),
                sent=int(numbers[kernels.FABRIC_SENT]),
                sends=int(numbers[kernels.FABRIC_SENDS]),
                received=int(numbers[kernels.FABRIC_RECEIVED]),
                delivered=int(numbers[kernels.FABRIC_DELIVERED]),
                rejected=int(numbers[kernels.FABRIC_REJECTED]),
                reads=int(numbers[kernels.FABRIC_READS]),
                gso_refusals=int(numbers[kernels.REFUSALS]),
            )
            numbers[kernels.FABRIC_OFFERED : kernels.REFUSALS + 1] = 0
        for device, words in zip(self._devices, self._device_words, strict=True):
            if words[kernels.READS] or words[kernels.OFFERED]:
                device.settle(*words[kernels.READS :].tolist())
                words[kernels.READS :] = 0
        if self._refused.any():
            *devices, fabric = [
                [(error, *counts) for error, counts in enumerate(each) if counts[1]]
                for each in self._refused.tolist()
            ]
            for device, refused in zip(self._devices, devices, strict=True):
                for error, packets, calls in refused:
                    device.refuse(error, packets, calls)
            for error, packets, calls in fabric:
                self._fabric.refuse(error, packets, calls)
            self._refused[:] = 0
        if numbers[kernels.SEEN_TOO_LONG]:
            for way in np.flatnonzero(self._ways[:, kernels.TOO_LONG]).tolist():
                self._fabric.note_too_long(self._paths.destination(way)[0])
            self._ways[:, kernels.TOO_LONG] = 0
            numbers[kernels.SEEN_TOO_LONG] = 0

    def forget(self, device: TunDevice) -> None:
        """A device is gone: what is for it is the slow path's."""
        self._state.kinds[device.fileno()] = kernels.OTHER

    def _watch_ports(self) -> None:
        self._ports_seen = self._fabric.ports_changed
        self._files = dict(self._fabric.ports)
        files = [self._fabric.fileno(), *(each.fileno() for each in self._devices), *self._files.values()]
        kinds = np.zeros(max(files) + 1, np.int8)
        places = np.zeros(len(kinds), np.int32)
        kinds[self._fabric.fileno()] = kernels.FABRIC
        for place, device in enumerate(self._devices):
            if not device.gone:
                kinds[device.fileno()] = kernels.DEVICE
                places[device.fileno()] = place
        for place, file in enumerate(self._files.values()):
            kinds[file] = kernels.PORT
            places[file] = place
        ports = np.fromiter(self._files, np.int64, len(self._files))
        self._state = self._state._replace(kinds=kinds, places=places, ports=ports)
        ways = range(self._paths.count)
        self._ways[: len(ways), kernels.SOCKET] = [self._socket(way) for way in ways]

    def _lead(self, way: int) -> None:
        """Find the socket and the address of a way that has changed."""
        name = _socket_name(*self._paths.destination(way))
        self._names[way, : len(name)] = np.frombuffer(name, np.uint8)
        self._ways[way, : kernels.TOO_LONG] = self._socket(way), self._names[way].ctypes.data, len(name)

    def _socket(self, way: int) -> int:
        """File number of the port that a way leaves from, or -1."""
        impaired = self._paths.destination(way)[0] in self._impaired
        return -1 if impaired else self._files.get(self._paths.local_port(way), -1)

    def _port(self) -> int:
        return int(self._state.ports[self._numbers[kernels.PLACE]])

    def _sender(self) -> UnderlayAddress:
        name = self._name.tobytes()
        port = int.from_bytes(name[2:4], "big")
        if int(np.frombuffer(name[:2], np.uint16)[0]) == socket.AF_INET:
            return socket.inet_ntop(socket.AF_INET, name[4:8]), port
        return socket.inet_ntop(socket.AF_INET6, name[8:24]), port


def _socket_name(address: str, port: int) -> bytes:
    """A ``sockaddr_in`` or ``sockaddr_in6`` (ip(7), ipv6(7)): family, port, flow label, address, scope."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, parsed.packed)
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!H4x16s4x", port, parsed.packed)
