"""What every peer looks like to the runner: something that can be brought up, and the tunnel that it then is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from side_by_side.errors import PeerError
from side_by_side.processes import run


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path


__all__ = ["INSIDE_MTU", "TUN_QUEUE", "Peer", "Place", "Tunnel", "check_inside"]

INSIDE_MTU: Final = 1400
"""MTU inside every tunnel, bytes of an IP packet. With the largest overhead here (87) it fits in 1500."""

TUN_QUEUE: Final = 1000
"""Packets that wait in a peer's TUN device, as many as in a real one; TUN's own default is 500."""

PING_HEADERS: Final = 28
"""IPv4 and ICMP echo header: what ``ping -s`` does not count."""

FIRST_PINGS: Final = 10
"""A tunnel may build itself on the first packet; so many tries of a second each it gets."""


class Place(Protocol):
    """Where a command can run: a namespace, or a VM of a lab."""

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` there."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A peer that is up.

    Fields:
        client, server: where traffic starts and ends.
        client_address, server_address: IPv4 addresses inside the tunnel.
        cipher: what protects a packet, as the running peer reported it.
        flaw: looks at the running tunnel and says why it is not what should be compared; empty when it is.
        processes: ids of the processes that carry packets; their descendants count as well.
    """

    client: Place
    server: Place
    client_address: str
    server_address: str
    cipher: str
    flaw: Callable[[], str]
    processes: tuple[int, ...] = ()


class Peer(Protocol):
    """One tunnel to compare."""

    @property
    def name(self) -> str:
        """As ``--peers`` takes it."""

    @property
    def packages(self) -> tuple[str, ...]:
        """Debian packages it needs."""

    def version(self) -> str:
        """What runs, with its version.

        Raises:
            PeerError: it is not installed.
        """

    def up(self, work: Path) -> AbstractContextManager[Tunnel]:
        """Bring it up; leaving the context takes away all that was made.

        Args:
            work: an empty folder of its own, for keys, configuration and logs.

        Raises:
            PeerError: it did not come up.
        """


def check_inside(tunnel: Tunnel) -> None:
    """Make sure that packets pass and that the MTU inside is :data:`INSIDE_MTU`, both ways.

    Raises:
        PeerError: no answer, or another MTU.
    """
    for place, address in (
        (tunnel.client, tunnel.server_address),
        (tunnel.server, tunnel.client_address),
    ):
        if not any(_passes(place, address, INSIDE_MTU) for _ in range(FIRST_PINGS)):
            raise PeerError(f"no answer from {address} to a packet of {INSIDE_MTU} bytes")
        if _passes(place, address, INSIDE_MTU + 1):
            raise PeerError(f"{INSIDE_MTU + 1} bytes pass to {address}: the MTU is not {INSIDE_MTU}")


def _passes(place: Place, address: str, size: int) -> bool:
    """Whether one packet of ``size`` bytes that must not be fragmented is answered within a second."""
    argv = ["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", str(size - PING_HEADERS), address]
    return run(place.wrap(argv), check=False).returncode == 0
