"""Two hosts on real sockets and a clock that only moves when a test says so: the bench for a host's loop.

UDP sockets on loopback addresses of this process alone, devices that are pairs of sockets::

    rig = Rig()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert rig.guests["b"].received() == [ping("a", "b")]
    rig.close()
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.assembly.cards import choose_engine, issue_credentials, make_card
from dtls_emu.fabric.offload import Offload
from dtls_emu.fabric.syscalls import LIBC
from dtls_emu.fabric.udp import UdpFabric
from dtls_emu.host.device.tun import TunDevice
from dtls_emu.host.loop.agent import Agent
from dtls_emu.lab.topology import DEFAULT_DELAY, Topology
from dtls_emu.testing.waiting import rounds
from dtls_emu.testing.wire import make_topology
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.packet import tcp_packet, udp_packet
from dtls_emu.wire.virtio import GSO_TCPV4, NEEDS_CHECKSUM, NO_OFFLOAD, VNET_FIELDS
from dtls_emu.wire.vxlan import VXLAN_PORT


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from dtls_emu.fabric.syscalls import SystemCalls
    from dtls_emu.fabric.udp import UdpStatistics
    from dtls_emu.nic.card import Card
    from dtls_emu.nic.effects import Transmit
    from dtls_emu.tunnel.tunnel import Tunnel


__all__ = [
    "ADDRESSES",
    "PORTS",
    "Clock",
    "Guest",
    "Rig",
    "difference",
    "on_one_cpu",
    "ping",
    "rebuilt",
    "super_packet",
    "warmed",
    "with_link",
]

ADDRESSES: Final = {"a": "10.0.0.4", "a2": "10.0.0.5", "b": "10.0.0.6"}
"""Of the VMs: a and a2 live on host h1, b on h2."""

PORTS: Final = (TunnelSettings().port, VXLAN_PORT)

_ON: Final = Offload(state="on", reason="")
_DEVICE_OFFLOADS: Final = ("tun_vnet_header", "tun_checksum", "tun_tso", "tun_tso_ecn", "tun_uso")
_SEND_BUFFER: Final = 4 << 20
_PATIENCE: Final = 60.0
"""Seconds. For what the kernel does at once, or as soon as it has a moment; never for something that may not come."""


class Clock:
    """Seconds that pass when they are told to.

    Fields:
        now: may be set.
    """

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now


class Guest:
    """A VM: its end of the pair of sockets that is its device.

    Fields:
        device: the host's end.
        far: the VM's.

    Args:
        broken: the device gives an error at its first read.
    """

    def __init__(self, *, broken: bool = False) -> None:
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (near, self.far):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        descriptor = near.detach()
        if broken:  # a terminal whose other end is closed is readable, and gives an error
            os.close(descriptor)
            descriptor, other = os.openpty()
            os.set_blocking(descriptor, False)
            os.close(other)
        self.device = TunDevice(descriptor, "tun0", dict.fromkeys(_DEVICE_OFFLOADS, _ON))

    def send(self, packet: bytes, header: bytes = NO_OFFLOAD) -> None:
        """Send a packet, or a super-packet, behind a virtio header."""
        self.far.send(header + packet)

    def received(self) -> list[bytes]:
        """Each packet, or super-packet, that came, without its virtio header."""
        return [packet for _, packet in self.read()]

    def read(self) -> list[tuple[bytes, bytes]]:
        """Likewise, each with the header."""
        found: list[tuple[bytes, bytes]] = []
        with suppress(BlockingIOError):
            while True:
                data = self.far.recv(1 << 17)
                found.append((data[: VNET_FIELDS.size], data[VNET_FIELDS.size :]))
        return found

    def close(self) -> None:
        """Close both ends."""
        self.device.close()
        self.far.close()


class _Fence:
    """Tells when datagrams have arrived that were sent before: a datagram to itself, which the kernel queues behind them.

    What a CPU sends on loopback is handed over in its order, but not always before the send returns: on a busy
    machine a thread of the kernel does it later.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.connect(self._socket.getsockname())
        self._socket.settimeout(_PATIENCE)

    def wait(self) -> None:
        self._socket.send(b"\0")
        self._socket.recv(1)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Keep the calling thread on one CPU, on whose queue of loopback :meth:`Rig.arrive` can rely."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[os.getpid() % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


class LosingFabric(UdpFabric):
    """Sockets in a network that loses what it is told to, of what compiled code does not send.

    Fields:
        loses: says of each datagram whether it is lost; None while none is.
        lost: those that were.
    """

    def __init__(self, address: str, *, clock: Callable[[], float], calls: SystemCalls) -> None:
        super().__init__(address, clock=clock, calls=calls)
        self.loses: Callable[[bytes], bool] | None = None
        self.lost: list[bytes] = []

    def put(self, effect: Transmit) -> None:
        """Send what is not lost."""
        loses = self.loses
        if loses is None:
            super().put(effect)
            return
        for datagram in [row.tobytes() for row in effect.burst.rows()]:
            if loses(datagram):
                self.lost.append(datagram)
            else:
                single = Burst.from_packets([datagram], mark=effect.burst.mark)
                super().put(replace(effect, burst=single))


class Rig:
    """Hosts h1 (VMs a and a2) and h2 (VM b) as two agents on one clock, driven turn by turn.

    Fields:
        clock: of both.
        topology: of the lab; there is a host h3, which nobody plays.
        engine: of both cards.
        guests: by VM.
        agents, fabrics: by host.

    Args:
        link: settings of all links.
        backend: seals and opens.
        compiled: as :class:`~dtls_emu.host.loop.agent.Agent` takes it.
        time: seconds, of the agents instead of the clock's: loops that sleep need the monotonic one.
        broken: VMs whose device is broken.
        calls: system calls of the hosts' sockets.
        underlays: addresses of the hosts, by name; by default loopback ones that no other process has.
        options: of :func:`~dtls_emu.testing.wire.make_topology`.
    """

    def __init__(
        self,
        *,
        link: Mapping[str, Any] | None = None,
        backend: str = "cryptography",
        compiled: bool = True,
        time: Callable[[], float] | None = None,
        broken: Collection[str] = (),
        calls: SystemCalls = LIBC,
        underlays: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.clock = Clock()
        self._fence = _Fence()
        self._handed_over: Counter[str] = Counter()  # to devices, by host: by cards that are gone
        topology = make_topology(**options)
        # Other tests may run on the machine.
        net = f"127.{1 + os.getpid() % 200}.{os.getpid() // 200 % 250}"
        own = underlays or {name: f"{net}.{name.removeprefix('h')}" for name in topology.hosts}
        hosts = [replace(host, underlay=own[host.name]) for host in topology.hosts.values()]
        default = replace(topology.link("h1", "h2"), **{"delay": DEFAULT_DELAY, **(link or {})})
        self.topology = rebuilt(topology, hosts=hosts, default_link=default)
        self.engine = choose_engine(backend)
        self.guests = {name: Guest(broken=name in broken) for name in ADDRESSES}
        self.agents: dict[str, Agent] = {}
        self.fabrics: dict[str, LosingFabric] = {}
        self._frozen: dict[str, Agent] = {}
        self._compiled = compiled
        self._calls = calls
        self._time = time or self.clock
        self._credentials = issue_credentials(self.topology, datetime.now(UTC))
        for name in ("h1", "h2"):
            self.start(name)

    @property
    def encrypts(self) -> bool:
        """Whether any network of the lab is encrypted."""
        return any(network.encrypted for network in self.topology.networks.values())

    def start(self, name: str) -> None:
        """Start a host, for the first time or after :meth:`kill`."""
        card = make_card(
            self.topology,
            name,
            self._credentials[name],
            {"test": self._credentials[name].ca_certificate},
            engine=self.engine,
            wall_start=datetime.now(UTC),
        )
        fabric = self.fabrics[name] = LosingFabric(
            self.topology.hosts[name].underlay, clock=self._time, calls=self._calls
        )
        devices = {vm.name: self.guests[vm.name].device for vm in self.topology.vms_on(name)}
        self.agents[name] = Agent(
            card, fabric, devices, self.topology, ports=PORTS, clock=self._time, compiled=self._compiled
        )

    def kill(self, name: str) -> None:
        """As kill -9 does: nothing is said, the kernel closes the sockets."""
        self._handed_over[name] += _handed_over(self.agents[name].card)
        self.fabrics[name].close()
        del self.agents[name]

    def arrive(self) -> None:
        """Wait until everything that this thread has sent is where it can be read.

        Certain while the thread stays :func:`on_one_cpu`.
        """
        self._fence.wait()

    def freeze(self, name: str) -> None:
        """As SIGSTOP does: it has no turn, and the kernel keeps what arrives for it."""
        self._frozen[name] = self.agents.pop(name)

    def thaw(self, name: str) -> None:
        """As SIGCONT does."""
        self.agents[name] = self._frozen.pop(name)

    def settle(self, *names: str) -> None:
        """Turns of all hosts, or of those named, until they have nothing to do now, and nothing is on its way."""
        for _ in rounds(100_000, "nobody has anything to do"):
            self.arrive()
            if not sum(self.agents[name].turn(wait=False) for name in names or [*self.agents]):
                break

    def pass_time(self, seconds: float, step: float = 0.001) -> None:
        """Let time pass in small steps."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now = min(self.clock.now + step, until)
            self.settle()

    def tunnel(self, name: str) -> Tunnel:
        """Of a host, to the other."""
        return self.agents[name].card.tunnels["h2" if name == "h1" else "h1"]

    def warm(self, *ways: tuple[str, str]) -> None:
        """Have flows of pings offloaded at both ends: from a to b and back, or those that are named.

        Raises:
            AssertionError: a ping did not arrive.
        """
        for source, destination in ways or (("a", "b"), ("b", "a")):
            for _ in range(3):
                self.guests[source].send(ping(source, destination))
                self.settle()
            assert len(self.guests[destination].received()) == 3

    def own_port(self, host: str) -> int:
        """The port of a host's own association, where there is one."""
        (port,) = set(self.fabrics[host].ports) - set(PORTS)
        return port

    def count_calls(self, host: str) -> Counter[str]:
        """Methods of a card that packets of guests and of the fabric go through, as they are called from now on."""
        calls: Counter[str] = Counter()
        card = self.agents[host].card

        def count(name: str, method: Callable[..., Any], *arguments: Any) -> Any:
            calls[name] += 1
            return method(*arguments)

        for name in ("from_guest", "from_fabric", "from_opened"):
            setattr(card, name, partial(count, name, getattr(card, name)))
        return calls

    def close(self) -> None:
        """Close everything.

        Raises:
            AssertionError: somebody's counters do not balance, or do not agree with those of the next stage.
        """
        balanced = {f"device of {vm}": each.device.statistics().balanced for vm, each in self.guests.items()}
        for name, agent in self.agents.items():
            card, fabric = agent.card, self.fabrics[name].statistics()
            # A card counts records, and a datagram may hold several.
            extra = sum(tunnel.extra_records for tunnel in card.tunnels.values())
            offered = sum(device.statistics().offered for device in agent.devices.values())
            balanced |= {
                f"card of {name}": card.balanced,
                f"fabric of {name}": fabric.balanced,
                f"fabric and card of {name}": fabric.delivered == card.ingress.counters.received - extra,
                f"card and devices of {name}": offered == _handed_over(card) + self._handed_over[name],
            }
            agent.close()
            self.fabrics[name].close()
        for guest in self.guests.values():
            guest.close()
        self._fence.close()
        wrong = [whose for whose, right in balanced.items() if not right]
        assert not wrong, f"counters that do not balance: {', '.join(wrong)}"


def _handed_over(card: Card) -> int:
    """Packets that a card gave to devices."""
    out = card.egress.counters
    return card.ingress.counters.delivered + out.local + out.answered


def ping(source: str, destination: str, number: int = 0, size: int = 20) -> bytes:
    """A packet from one VM to another, by name; its payload is the number, over and over."""
    return udp_packet(ADDRESSES[source], ADDRESSES[destination], 1000, 2000, bytes([number % 256]) * size)


def super_packet(
    rows: int, source: str = "a", destination: str = "b", size: int = 1000
) -> tuple[bytes, bytes]:
    """TCP payload for so many packets of so many bytes, and the virtio header that asks for cutting."""
    payload = b"".join(number.to_bytes(2, "little") for number in range(rows * size // 2))
    packet = tcp_packet(ADDRESSES[source], ADDRESSES[destination], 1000, 2000, payload)
    return packet, VNET_FIELDS.pack(NEEDS_CHECKSUM, GSO_TCPV4, 40, size, 20, 16)


def warmed(make: Callable[..., Rig], **options: Any) -> Rig:
    """A rig with the flow of a super-packet from a to b offloaded, where it can be."""
    rig = make(**options)
    for _ in range(3):
        rig.guests["a"].send(*super_packet(2))
        rig.settle()
    assert len(rig.guests["b"].received()) == 3
    return rig


def difference(after: UdpStatistics, before: UdpStatistics) -> dict[str, int]:
    """What a fabric has counted since."""
    return {
        name: getattr(after, name) - getattr(before, name)
        for name in ("offered", "sent", "sends", "received", "delivered", "rejected", "gso_refusals")
        if getattr(after, name) != getattr(before, name)
    }


def rebuilt(topology: Topology, **changes: Any) -> Topology:
    """A topology with other parts."""
    parts: dict[str, Any] = {
        "name": topology.name,
        "profile": topology.profile,
        "seed": topology.seed,
        "networks": topology.networks.values(),
        "hosts": topology.hosts.values(),
        "vms": topology.vms.values(),
        "links": [],
        "default_link": topology.default_link,
    }
    return Topology(**parts | changes)


def with_link(topology: Topology, **settings: Any) -> Topology:
    """A topology whose links have other settings."""
    return rebuilt(topology, default_link=replace(topology.default_link, **settings))
