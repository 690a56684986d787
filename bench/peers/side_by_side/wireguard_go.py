"""wireguard-go from Debian: WireGuard in userspace. Its cipher is fixed, ChaCha20-Poly1305."""

from __future__ import annotations

from base64 import b64encode
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from side_by_side.buffers import enlarge_udp_buffers
from side_by_side.namespaces import host_pair
from side_by_side.peer import INSIDE_MTU, TUN_QUEUE, Tunnel
from side_by_side.processes import daemon, run
from side_by_side.underlay import exposure, watch_pings


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["WireGuardGo"]

DEVICE: Final = "wg0"
PORT: Final = "51820"
INSIDE: Final = ("10.9.0.1", "10.9.0.2")

READY: Final = "UAPI listener started"


class WireGuardGo:
    """One wireguard-go process at either end, keys and addresses set by ``wg`` and ``ip``."""

    name: Final = "wireguard-go"
    packages: Final = ("wireguard-go", "wireguard-tools")

    def version(self) -> str:
        """First line of ``wireguard-go --version``."""
        return run(["wireguard-go", "--version"]).stdout.splitlines()[0]

    @contextmanager
    def up(self, work: Path) -> Iterator[Tunnel]:
        """See :class:`side_by_side.peer.Peer`."""
        keys = [X25519PrivateKey.generate() for _ in INSIDE]
        with ExitStack() as stack:
            hosts = stack.enter_context(host_pair(work))
            ends = []
            for here, host in enumerate(hosts):
                there = 1 - here
                argv = host.wrap(["wireguard-go", "--foreground", DEVICE])
                end = daemon(argv, work / f"wireguard-go-{here}.log", {"LOG_LEVEL": "verbose"})
                ends.append(stack.enter_context(end))
                ends[here].wait_for(READY)
                secret = work / f"key-{here}"
                secret.touch(mode=0o600)
                secret.write_bytes(b64encode(keys[here].private_bytes_raw()))
                other = b64encode(keys[there].public_key().public_bytes_raw()).decode()
                host.run(
                    *("wg", "set", DEVICE, "listen-port", PORT, "private-key", str(secret)),
                    *("peer", other, "endpoint", f"{hosts[there].underlay}:{PORT}"),
                    *("allowed-ips", f"{INSIDE[there]}/32"),
                )
                host.run("ip", "address", "add", INSIDE[here], "peer", INSIDE[there], "dev", DEVICE)
                settings = ("mtu", str(INSIDE_MTU), "txqueuelen", str(TUN_QUEUE))
                host.run("ip", "link", "set", DEVICE, *settings, "up")
            processes = tuple(end.pid for end in ends)
            enlarge_udp_buffers(processes)

            def flaw() -> str:
                return exposure(watch_pings(hosts[0], INSIDE[1], work / "sniffer.log"))

            yield Tunnel(*hosts, *INSIDE, "ChaCha20-Poly1305", flaw, processes)
