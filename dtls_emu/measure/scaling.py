"""What a card takes as tunnels and flows become many: CPU time, memory, flows that were decided.

CPU seconds are those of the thread, told apart by end: with many tunnels the other ends are many cards in one process,
whose memory is cold whenever their turn comes, as it is on no host. What the hub takes is what a host would.
"""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.measure.hub import HUB, Stream
from dtls_emu.measure.machine import one_core, undisturbed
from dtls_emu.simulation.accounts import AccountingError


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.measure.hub import Hub


__all__ = ["Load", "Opened", "open_flows", "open_tunnels", "resident_bytes", "use_flows", "use_tunnels"]

PACKETS: Final = 45
"""Of a burst: a 64 KB super-packet of 1400-byte packets, cut."""

MOST_FLOWS: Final = 32_768 * 64
"""As many pairs of ports as are used for flows between two VMs."""

_FIRST_PORT: Final = 32_768
_PORTS: Final = 32_768


@dataclass(frozen=True, slots=True)
class Opened:
    """What new tunnels or flows took.

    Fields:
        count: how many are new.
        hub_s, peer_s: CPU seconds of the hub, and of the other end.
        resident: bytes by which the process has grown, both ends together.
    """

    count: int
    hub_s: float
    peer_s: float
    resident: int


@dataclass(frozen=True, slots=True)
class Load:
    """What traffic over so many tunnels or flows took.

    Fields:
        packets: that arrived, but for single ones.
        hub_s, peer_s: CPU seconds of the hub, and of the other ends.
        delays: of bursts of one packet, out, seconds of CPU in both cards.
        decided: flows that missed a table of the hub's and were decided meanwhile.
    """

    packets: int
    hub_s: float
    peer_s: float
    delays: tuple[float, ...]
    decided: int


def open_tunnels(hub: Hub, first: int, last: int) -> Opened:
    """Set up the tunnels to these peers, by one packet to each.

    Raises:
        DtlsEmuError: one does not come up.
    """

    def connect() -> tuple[float, float]:
        started = time.thread_time()
        for peer in range(first, last + 1):
            hub.connect(peer)
        return time.thread_time() - started, 0.0

    return _grown(last + 1 - first, connect)


def use_tunnels(hub: Hub, count: int, *, size: int, bursts: int, singles: int) -> Load:
    """Send in turn over the first so many tunnels, as many bursts in either direction, then single packets out.

    Args:
        hub: whose tunnels are up.
        count: of tunnels.
        size: of each packet, in bytes.
        bursts: in each direction.
        singles: bursts of one packet, for their delays.

    Raises:
        AccountingError: a packet did not arrive.
    """
    return _use(hub, size, bursts, singles, lambda number: (1 + number % count, _FIRST_PORT, 9))


def open_flows(hub: Hub, first: int, count: int) -> Opened:
    """Send one packet in each of so many new flows from the hub's VM to that of peer 1, whose tunnel is up.

    Raises:
        AccountingError: a packet did not arrive.
    """
    stream = Stream(1, 64)

    def send() -> tuple[float, float]:
        hub_ns = peer_ns = 0
        for flow in range(first, first + count):
            leg = hub.pass_on(HUB, 1, stream.address(HUB, 1, *_ports(flow)), time.monotonic())
            if leg.delivered != 1:
                raise AccountingError(f"the packet of flow {flow} did not arrive")
            hub_ns += leg.sender_ns
            peer_ns += leg.receiver_ns
        return hub_ns / 1e9, peer_ns / 1e9

    return _grown(count, send)


def use_flows(hub: Hub, count: int, *, size: int, bursts: int, singles: int) -> Load:
    """As :func:`use_tunnels`, but out only, over one tunnel and in turn in the first so many flows, spread evenly."""
    # A step without a common factor with their number visits all, and no two neighbours.
    step = next(step for step in range(max(count * 5 // 8, 1), 2 * count + 1) if gcd(step, count) == 1)
    return _use(hub, size, bursts, singles, lambda number: (1, *_ports(number * step % count)), back=False)


def resident_bytes() -> int:
    """Memory of this process, in bytes (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _use(
    hub: Hub,
    size: int,
    bursts: int,
    singles: int,
    choose: Callable[[int], tuple[int, int, int]],
    *,
    back: bool = True,
) -> Load:
    many, one = Stream(PACKETS, size), Stream(1, size)
    hub_ns = peer_ns = delivered = 0
    delays = []
    tables = hub.cards[HUB].egress.flows, hub.cards[HUB].ingress.flows
    before = sum(len(table) for table in tables)
    with one_core(), undisturbed():
        for number in range(bursts):
            peer, source_port, port = choose(number)
            now = time.monotonic()
            out = hub.pass_on(HUB, peer, many.address(HUB, peer, source_port, port), now)
            hub_ns += out.sender_ns
            peer_ns += out.receiver_ns
            delivered += out.delivered
            if back:
                answer = hub.pass_on(peer, HUB, many.address(peer, HUB, port, source_port), now)
                hub_ns += answer.receiver_ns
                peer_ns += answer.sender_ns
                delivered += answer.delivered
        for number in range(singles):
            peer, source_port, port = choose(number)
            leg = hub.pass_on(HUB, peer, one.address(HUB, peer, source_port, port), time.monotonic())
            delays.append((leg.sender_ns + leg.receiver_ns) / 1e9)
            delivered += leg.delivered
    packets = (1 + back) * bursts * PACKETS
    if delivered != packets + singles:
        raise AccountingError(f"{delivered} of {packets + singles} packets arrived")
    decided = sum(len(table) for table in tables) - before
    return Load(packets, hub_ns / 1e9, peer_ns / 1e9, tuple(delays), decided)


def _grown(count: int, work: Callable[[], tuple[float, float]]) -> Opened:
    gc.collect()
    before = resident_bytes()
    with one_core():
        hub_s, peer_s = work()
    gc.collect()
    return Opened(count, hub_s, peer_s, resident_bytes() - before)


def _ports(flow: int) -> tuple[int, int]:
    """Source and destination port of a flow between two VMs."""
    return _FIRST_PORT + flow % _PORTS, 1 + flow // _PORTS
