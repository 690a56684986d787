"""OpenVPN 2.6 over UDP, in userspace (``--disable-dco``), TLS mode with a throw-away CA, AES-256-GCM."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from side_by_side.buffers import enlarge_udp_buffers
from side_by_side.certificates import issue
from side_by_side.namespaces import host_pair
from side_by_side.peer import INSIDE_MTU, TUN_QUEUE, Tunnel
from side_by_side.processes import daemon, run
from side_by_side.underlay import exposure, watch_pings


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["OpenVpn"]

CIPHER: Final = "AES-256-GCM"
PORT: Final = "1194"
ROLES: Final = ("client", "server")
INSIDE: Final = ("10.8.0.1", "10.8.0.2")

READY: Final = "Initialization Sequence Completed"
DATA_CHANNEL: Final = r"Data Channel: cipher '([^']+)'"


class OpenVpn:
    """One OpenVPN process at either end, point to point."""

    name: Final = "openvpn"
    packages: Final = ("openvpn",)

    def version(self) -> str:
        """First words of ``openvpn --version``, which older versions end with status 1."""
        return " ".join(run(["openvpn", "--version"], check=False).stdout.split()[:2])

    @contextmanager
    def up(self, work: Path) -> Iterator[Tunnel]:
        """See :class:`side_by_side.peer.Peer`."""
        folders = issue(work, *ROLES)
        with ExitStack() as stack:
            hosts = stack.enter_context(host_pair(work))
            ends = []
            for here, role in enumerate(ROLES):
                there = 1 - here
                authority, certificate, key = (
                    str(folders[role] / name) for name in ("ca-peers.pem", "host.pem", "host.key")
                )
                argv = [
                    *("openvpn", "--mode", "p2p", f"--tls-{role}", "--proto", "udp4", "--port", PORT),
                    *("--local", hosts[here].underlay, "--remote", hosts[there].underlay),
                    *("--ca", authority, "--cert", certificate, "--key", key),
                    *("--dh", "none", "--verify-x509-name", ROLES[there], "name"),
                    *("--data-ciphers", CIPHER, "--disable-dco", "--fast-io", "--verb", "4"),
                    *("--dev", "tun0", "--ifconfig", INSIDE[here], INSIDE[there]),
                    *("--tun-mtu", str(INSIDE_MTU), "--mssfix", "0", "--txqueuelen", str(TUN_QUEUE)),
                ]
                ends.append(stack.enter_context(daemon(hosts[here].wrap(argv), work / f"{role}.log")))
            for end in ends:
                end.wait_for(READY)
            processes = tuple(end.pid for end in ends)
            enlarge_udp_buffers(processes)
            cipher = ends[0].wait_for(DATA_CHANNEL)[1]

            def flaw() -> str:
                if cipher != CIPHER:
                    return f"negotiated {cipher}, not {CIPHER}"
                return exposure(watch_pings(hosts[0], INSIDE[1], work / "sniffer.log"))

            yield Tunnel(*hosts, *INSIDE, cipher, flaw, processes)
