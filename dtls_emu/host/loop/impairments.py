"""What a lab says of its links, done to real datagrams by the agent that sends them.

The model is that of the simulated fabric, on a clock that follows the real one: same order, same seed, same
books. It is in user space because the kernel's own (tc-netem) is not everywhere, needs privileges and has no
seed. A link that says nothing costs nothing: its datagrams never come here.

A delay of up to :data:`~dtls_emu.lab.topology.DEFAULT_DELAY` is not added: it is the default of every link,
and two real network stacks take as long. An impaired link adds its delay to the real one. The granularity is that
of the loop: some 50 us, more under load.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dtls_emu.fabric.clock import VirtualClock
from dtls_emu.fabric.simulated import SimulatedFabric
from dtls_emu.lab.topology import DEFAULT_DELAY
from dtls_emu.nic.effects import Transmit


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dtls_emu.fabric.underlay import FabricStatistics
    from dtls_emu.lab.topology import Link, Topology
    from dtls_emu.nic.effects import UnderlayAddress
    from dtls_emu.wire.burst import Burst


__all__ = ["ImpairedLinks", "is_impaired"]


def is_impaired(link: Link) -> bool:
    """Whether there is anything to do to what goes over a link; its MTU is the card's and the device's business."""
    chances = link.loss, link.reorder, link.duplicate, link.corrupt, link.ecn_mark, link.jitter, link.rate
    return any(chances) or link.delay > DEFAULT_DELAY


class ImpairedLinks:
    """The links away from one host that have impairments.

    Fields:
        peers: underlay addresses of the hosts behind them.

    Args:
        topology: the lab.
        host: that sends.
        send: called when a datagram has had its delay.
        now: seconds, of the clock that is passed to every call.
    """

    def __init__(self, topology: Topology, host: str, send: Callable[[Transmit], object], now: float) -> None:
        self._host = host
        self._address = topology.hosts[host].underlay
        self._clock = VirtualClock(now)
        self._fabric = SimulatedFabric(topology, self._clock, topology.seed)
        self._names = {other.underlay: other.name for other in topology.hosts.values() if other.name != host}
        for address in self._names:
            self._fabric.attach(address, partial(_pass_on, send, address))
        self.peers: frozenset[str] = frozenset()
        self.reconfigure(topology)

    def reconfigure(self, topology: Topology) -> None:
        """Take the links of another topology with the same hosts. What is under way stays as it is."""
        links = {address: topology.link(self._host, name) for address, name in self._names.items()}
        for link in links.values():
            self._fabric.reconfigure(link)
        self.peers = frozenset(address for address, link in links.items() if is_impaired(link))

    def transmit(self, effect: Transmit, now: float) -> None:
        """Send over an impaired link; the burst is copied."""
        self._clock.run_until(now)
        self._fabric.transmit(self._address, effect)

    def next_timeout(self) -> float | None:
        """When `handle_timeout` wants to be called, in seconds, or None."""
        return self._clock.next_event()

    def handle_timeout(self, now: float) -> None:
        """Send what has had its delay."""
        self._clock.run_until(now)

    def statistics(self) -> Mapping[str, FabricStatistics]:
        """The books of each link that is impaired, or was when something was sent, by the name of the host behind it."""
        books = {
            address: self._fabric.link_statistics(self._host, name) for address, name in self._names.items()
        }
        return {
            self._names[address]: link
            for address, link in sorted(books.items())
            if address in self.peers or link.offered
        }


def _pass_on(
    send: Callable[[Transmit], object],
    peer: str,
    burst: Burst,
    source: UnderlayAddress,
    port: int,
    _now: float,
) -> None:
    send(Transmit(burst, source[1], (peer, port)))
