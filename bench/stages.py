"""Where the microseconds of one super-packet go, stage by stage, on its way from guest to guest.

Two hosts in one process: real cards and real UDP sockets on loopback, and pairs of sockets in the place of TUN
devices, so no root is needed. Each stage is timed alone and warm, the lower decile of many runs; a real host pays
more, because the guests' TCP and other programs share its caches. Then whole turns of the loop, interpreted and
compiled; a compiled one is entered from Python each time, which under load it is not, so what a turn with nothing
to do takes can be subtracted from it::

    python bench/stages.py [--backend NAME]
"""

from __future__ import annotations

import argparse
import os
import socket
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dtls_emu.assembly.cards import choose_engine, issue_credentials, make_card
from dtls_emu.fabric.udp import UdpFabric
from dtls_emu.host.device.tun import TunDevice
from dtls_emu.host.loop.agent import Agent
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.lab.loader import parse_lab
from dtls_emu.nic.effects import Deliver, Transmit
from dtls_emu.testing.rig import rebuilt
from dtls_emu.testing.waiting import rounds
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.packet import tcp_packet
from dtls_emu.wire.segment import segment
from dtls_emu.wire.virtio import GSO_TCPV4, NEEDS_CHECKSUM, NO_OFFLOAD, VNET_FIELDS


if TYPE_CHECKING:
    from collections.abc import Callable


MTU = 1400
PAYLOAD = MTU - 52  # IPv4, TCP with timestamps
ROWS = 43  # what super_packet_limit leaves
RUNS = 3000
OPTIONS = bytes.fromhex("0101080a0000000100000002")
LAB = """
virtual_networks: {{prod: {{address_prefixes: [10.0.0.0/24], vni: 1, encryption: {{enabled: {encrypted}}}}}}}
hosts: {{h1: {{underlay: 192.0.2.1}}, h2: {{underlay: 192.0.2.2}}}}
vms:
  a: {{host: h1, virtual_network: prod, address: 10.0.0.4, mtu: 1400}}
  b: {{host: h2, virtual_network: prod, address: 10.0.0.5, mtu: 1400}}
"""
UNDERLAYS = {"h1": "127.83.0.1", "h2": "127.83.0.2"}
"""Loopback, which is no underlay of a lab: both hosts are in this process."""

OFFLOADS = ("tun_vnet_header", "tun_checksum", "tun_tso", "tun_tso_ecn", "tun_uso")


class Side:
    """One host, and its VM's end of the device."""

    def __init__(
        self, topology: Any, host: str, vm: str, credentials: Any, engine: Any, *, compiled: bool
    ) -> None:
        near, self.guest = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (near, self.guest):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.device = TunDevice(
            near.detach(), "tun0", {name: {"state": "on", "reason": ""} for name in OFFLOADS}
        )
        authorities = {"eastus": credentials[host].ca_certificate}
        self.card = make_card(
            topology, host, credentials[host], authorities, engine=engine, wall_start=datetime.now(UTC)
        )
        self.fabric = UdpFabric(topology.hosts[host].underlay)
        self.agent = Agent(
            self.card, self.fabric, {vm: self.device}, topology, ports=(4433, 4789), compiled=compiled
        )

    def close(self) -> None:
        """Let go of everything."""
        self.agent.close()
        self.fabric.close()
        self.device.close()
        self.guest.close()


def main() -> None:
    """Print stages and turns with encryption on and off, side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", default="auto")
    engine = choose_engine(parser.parse_args().backend)
    print(f"us for a super-packet of {ROWS} x {PAYLOAD} bytes; {engine.backend.detail}")
    columns = {name: between(engine, name == "on", stages, compiled=False) for name in ("on", "off")}
    print_columns(columns)
    columns = {
        f"{kind} {name}": between(engine, name == "on", turns, compiled=kind == "compiled")
        for kind in ("interpreted", "compiled")
        for name in ("on", "off")
    }
    print_columns(columns)


def print_columns(columns: dict[str, dict[str, float]]) -> None:
    """A line for each thing that was timed."""
    print(f"\n{'':44}" + "".join(f"{name:>16}" for name in columns))
    for line in next(iter(columns.values())):
        print(f"{line:44}" + "".join(f"{values[line]:16.1f}" for values in columns.values()))


def between(
    engine: Any, encrypted: bool, timer: Callable[[Side, Side], dict[str, float]], *, compiled: bool
) -> dict[str, float]:
    """What is timed between two hosts."""
    topology = compile_lab(parse_lab(LAB.format(encrypted=str(encrypted).lower()), "stages.yaml"))
    hosts = [replace(host, underlay=UNDERLAYS[host.name]) for host in topology.hosts.values()]
    topology = rebuilt(topology, hosts=hosts)
    credentials = issue_credentials(topology, datetime.now(UTC))
    near = Side(topology, "h1", "a", credentials, engine, compiled=compiled)
    far = Side(topology, "h2", "b", credentials, engine, compiled=compiled)
    try:
        return timer(near, far)
    finally:
        near.close()
        far.close()


def packets(near: Side, far: Side) -> tuple[bytes, bytes]:
    """A super-packet and an acknowledgement as their guests send them; the tunnel is up, the flows are known."""
    data = tcp_packet("10.0.0.4", "10.0.0.5", 1, 2, os.urandom(ROWS * PAYLOAD), options=OPTIONS)
    data = VNET_FIELDS.pack(NEEDS_CHECKSUM, GSO_TCPV4, 52, PAYLOAD, 20, 16) + data
    answer = NO_OFFLOAD + tcp_packet("10.0.0.5", "10.0.0.4", 2, 1, b"", options=OPTIONS)
    for _ in range(3):
        near.guest.send(data)
        run_until_idle(near, far)
        far.guest.send(answer)
        run_until_idle(near, far)
    return data, answer


def turns(near: Side, far: Side) -> dict[str, float]:
    """Microseconds of whole turns."""
    data, answer = packets(near, far)

    def send(guest: socket.socket, packet: bytes, side: Side) -> None:
        guest.send(packet)
        side.agent.turn(wait=False)

    def turn(side: Side) -> Callable[[], object]:
        return lambda: side.agent.turn(wait=False)

    def take(side: Side) -> Callable[[], object]:
        def turn_and_drain() -> None:
            side.agent.turn(wait=False)
            drain(side.guest)

        return turn_and_drain

    return {
        "super-packet: its sender": timed(turn(near), before=lambda: near.guest.send(data), after=take(far)),
        "super-packet: its receiver": timed(
            turn(far), before=lambda: send(near.guest, data, near), after=lambda: drain(far.guest)
        ),
        "acknowledgement: its sender": timed(
            turn(far), before=lambda: far.guest.send(answer), after=take(near)
        ),
        "acknowledgement: its receiver": timed(
            turn(near), before=lambda: send(far.guest, answer, far), after=lambda: drain(near.guest)
        ),
        "nothing to do": timed(turn(near)),
    }


def stages(near: Side, far: Side) -> dict[str, float]:
    """Microseconds of each stage, with what the one before it hands on."""
    data, _ = packets(near, far)
    now = time.monotonic()
    kept: list[Any] = []
    near.guest.send(data)
    near.device.receive(kept.append)
    packet = kept[-1]

    def sent() -> Transmit:
        (effect,) = near.card.from_guest("a", packet, now)
        assert isinstance(effect, Transmit)
        return effect

    arrived: list[Any] = []

    def arrive() -> None:
        near.fabric.transmit(sent())
        arrived.clear()
        far.fabric.receive(lambda *each: arrived.extend(each), now)

    frozen = sent()
    wire = Burst.from_datagrams(frozen.burst.wire.copy(), frozen.burst.size)
    frozen = Transmit(wire, frozen.source_port, frozen.destination)
    arrive()
    (delivery,) = (each for each in far.card.from_fabric(*arrived) if isinstance(each, Deliver))
    joined = Burst.super_packet(
        delivery.burst.buffer.copy(),
        offset=delivery.burst.offset,
        length=delivery.burst.size,
        gso_size=delivery.burst.gso_size,
        packets=delivery.burst.packets,
    )
    row = packet.row(0)
    return {
        "sender: read from the device": timed(
            lambda: near.device.receive(ignore), before=lambda: near.guest.send(data)
        ),
        "sender: card": timed(lambda: near.card.from_guest("a", packet, now)),
        "  of which segmentation and checksums": timed(
            lambda: segment(row, PAYLOAD, headroom=43, tailroom=16)
        ),
        "sender: UDP_SEGMENT send": timed(
            lambda: near.fabric.transmit(frozen), after=lambda: far.fabric.receive(ignore, now)
        ),
        "receiver: UDP_GRO read": timed(
            lambda: far.fabric.receive(ignore, now), before=lambda: near.fabric.transmit(frozen)
        ),
        "receiver: card": timed(lambda: far.card.from_fabric(*arrived), before=arrive),
        "receiver: write to the device": timed(
            lambda: far.device.write(joined), after=lambda: drain(far.guest)
        ),
    }


def timed(
    run: Callable[[], object],
    *,
    before: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> float:
    """The lower decile of many runs, in microseconds."""
    times = []
    for _ in range(RUNS):
        before()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
        after()
    return sorted(times)[RUNS // 10] * 1e6


def run_until_idle(*sides: Side) -> None:
    """Turns until nobody has anything to do."""
    for _ in rounds(100_000, "nobody has anything to do"):
        if not sum(side.agent.turn(wait=False) for side in sides):
            break
    for side in sides:
        drain(side.guest)


def drain(guest: socket.socket) -> None:
    """Read what came."""
    with suppress(BlockingIOError):
        while True:
            guest.recv(1 << 17)


def ignore(*_: Any) -> None:
    """Take a burst, and do nothing with it."""


if __name__ == "__main__":
    main()
