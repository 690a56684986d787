"""Two hosts joined by a veth, each a network namespace without a name.

A namespace lives as long as a process in it, so nothing has to be cleaned up by name: when the two holders
end, which the kernel sees to even if this process is killed, namespaces and veth are gone. Each host also has
a mount namespace with an empty ``/run`` of its own: wireguard-go and others put sockets there.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from side_by_side.processes import Daemon, daemon, run


if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence
    from pathlib import Path


__all__ = ["LINK", "Namespace", "host_pair"]

LINK: Final = "under0"
"""Name of the veth's end in either namespace."""

UNDERLAY: Final = ("198.18.0.1", "198.18.0.2")
"""Benchmarking addresses (RFC 2544 C.2.2); every pair has the same, nobody sees another's."""

HOLDER: Final = "mount -t tmpfs tmpfs /run && ip link set lo up && echo ready && exec sleep infinity"


class Namespace:
    """One host."""

    def __init__(self, holder: Daemon, underlay: str) -> None:
        self._holder = holder
        self.underlay = underlay

    @property
    def pid(self) -> int:
        """A process inside, which stands for the namespace."""
        return self._holder.pid

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` inside; ``nsenter`` replaces itself by it."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--", *argv]

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end.

        Raises:
            PeerError: it failed.
        """
        return run(self.wrap(argv))


@contextmanager
def host_pair(work: Path, *, mtu: int = 1500) -> Iterator[tuple[Namespace, Namespace]]:
    """Two fresh hosts, joined by a veth of ``mtu`` bytes, and gone on the way out.

    Raises:
        PeerError: not root, or no namespaces here.
    """
    with ExitStack() as stack:
        hosts = []
        for name, address in zip(("client", "server"), UNDERLAY, strict=True):
            argv = ["unshare", "--net", "--mount", "sh", "-c", HOLDER]
            holder = stack.enter_context(daemon(argv, work / f"{name}-namespace.log"))
            holder.wait_for("^ready$")
            hosts.append(Namespace(holder, address))
        client, server = hosts
        there = ("peer", "name", LINK, "netns", str(server.pid))
        client.run("ip", "link", "add", LINK, "type", "veth", *there)
        for host in hosts:
            host.run("ip", "address", "add", f"{host.underlay}/30", "dev", LINK)
            host.run("ip", "link", "set", LINK, "mtu", str(mtu), "up")
        yield client, server
