"""The bare veth: the kernel's own TCP/IP with nothing in between. No tunnel; what this machine can do at all."""

from __future__ import annotations

import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from side_by_side.namespaces import host_pair
from side_by_side.peer import INSIDE_MTU, Tunnel
from side_by_side.underlay import PINGS, watch_pings


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["Veth"]


class Veth:
    """Two namespaces and a veth."""

    name: Final = "veth"
    packages: Final = ()

    def version(self) -> str:
        """The kernel's."""
        return f"Linux {platform.release()}"

    @contextmanager
    def up(self, work: Path) -> Iterator[Tunnel]:
        """See :class:`side_by_side.peer.Peer`."""
        with host_pair(work, mtu=INSIDE_MTU) as (client, server):

            def flaw() -> str:
                # Here the payload is in clear. Not to see it would mean that the look at the others is blind.
                sight = watch_pings(client, server.underlay, work / "sniffer.log")
                return "" if sight.clear == 2 * PINGS else f"only {sight.clear} packets were seen in clear"

            yield Tunnel(client, server, client.underlay, server.underlay, "none (no protection)", flaw)
