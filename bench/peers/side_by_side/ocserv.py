"""ocserv and openconnect: a VPN whose data goes over DTLS 1.2.

Certificates authenticate both ends over TLS. The data channel is then DTLS with a key derived from that session
(PSK), and the two negotiate its suite. If DTLS does not work they go on over TLS without complaint, so the suite
is read from openconnect's log, and that data goes in DTLS 1.2 records over UDP is seen on the wire.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from side_by_side.buffers import enlarge_udp_buffers
from side_by_side.certificates import issue
from side_by_side.errors import PeerError
from side_by_side.namespaces import host_pair
from side_by_side.peer import INSIDE_MTU, TUN_QUEUE, Tunnel
from side_by_side.processes import daemon, run
from side_by_side.underlay import unsealed, watch_pings


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from side_by_side.namespaces import Namespace
    from side_by_side.processes import Daemon
    from side_by_side.underlay import Sight


__all__ = ["Ocserv", "degradation"]

SERVER: Final = "server"
CLIENT: Final = "client"
PORT: Final = 4443
NETWORK: Final = "10.10.0.0"
INSIDE: Final = ("10.10.0.2", "10.10.0.1")
"""Client and server. The network has room for no other client, so the lease is known beforehand."""

DEVICE: Final = "tun0"

OVERHEAD: Final = 66
"""IPv4 20, UDP 8, DTLS 13 + 8 + 16, and 1 for AnyConnect's packet type: ocserv's `mtu` counts them in."""

CONNECTED: Final = r"Configured as (\S+), with"
SUITE: Final = r"Established DTLS connection \(using \w+\)\. Ciphersuite (\S+)\.\s"
WANTED: Final = ("(DTLS1.2)", "(AES-256-GCM)")

CONFIGURATION: Final = """\
auth = "certificate"
cert-user-oid = 2.5.4.3
ca-cert = {folder}/ca-peers.pem
server-cert = {folder}/host.pem
server-key = {folder}/host.key
listen-host = {address}
tcp-port = {port}
udp-port = {port}
isolate-workers = true
run-as-user = ocserv
run-as-group = ocserv
socket-file = /run/ocserv.socket
pid-file = /run/ocserv.pid
use-occtl = false
device = tun
ipv4-network = {network}
ipv4-netmask = 255.255.255.252
ping-leases = false
route = {gateway}/32
mtu = {mtu}
try-mtu-discovery = false
compression = false
dtls-legacy = false
keepalive = 32400
dpd = 90
"""

SCRIPT: Final = """\
#!/bin/sh
[ "$reason" = connect ] || exit 0
ip address add "$INTERNAL_IP4_ADDRESS" peer {gateway} dev "$TUNDEV"
"""
"""In place of vpnc-script, which would change the machine's resolver and routes."""


class Ocserv:
    """ocserv at the server's end, openconnect at the client's."""

    name: Final = "ocserv"
    packages: Final = ("ocserv", "openconnect")

    def version(self) -> str:
        """Both programs, each by the first line of its ``--version``."""
        server, client = (run([program, "--version"]) for program in self.packages)
        return f"{_first_line(server.stderr)}, {_first_line(client.stdout)}"

    @contextmanager
    def up(self, work: Path) -> Iterator[Tunnel]:
        """See :class:`side_by_side.peer.Peer`."""
        folders = issue(work, SERVER, CLIENT)
        with ExitStack() as stack:
            client, server = stack.enter_context(host_pair(work))
            configuration = _configure(work, folders[SERVER], server)
            argv = ["ocserv", "--foreground", "--debug=2", f"--config={configuration}"]
            listening = stack.enter_context(daemon(server.wrap(argv), work / "ocserv.log"))
            listening.wait_for("sec-mod initialized")
            folder = folders[CLIENT]
            argv = [
                *("openconnect", "--non-inter", "--verbose", f"--resolve={SERVER}:{server.underlay}"),
                *("--no-system-trust", f"--cafile={folder}/ca-peers.pem"),
                *(f"--certificate={folder}/host.pem", f"--sslkey={folder}/host.key"),
                *("--disable-ipv6", f"--interface={DEVICE}", f"--script={_script(work)}"),
                f"https://{SERVER}:{PORT}",
            ]
            connecting = stack.enter_context(daemon(client.wrap(argv), work / "openconnect.log"))
            address = connecting.wait_for(CONNECTED)[1]
            if address != INSIDE[0]:
                raise PeerError(f"the client was given {address}, not {INSIDE[0]}")
            for host in (client, server):
                settings = ("mtu", str(INSIDE_MTU), "txqueuelen", str(TUN_QUEUE))
                host.run("ip", "link", "set", DEVICE, *settings, "up")
            suite = _suite(connecting)
            processes = (listening.pid, connecting.pid)
            enlarge_udp_buffers(processes)

            def flaw() -> str:
                return degradation(suite, watch_pings(client, INSIDE[1], work / "sniffer.log"))

            yield Tunnel(client, server, *INSIDE, suite, flaw, processes)


def degradation(suite: str, sight: Sight) -> str:
    """Why this is not DTLS 1.2 with AES-256-GCM; empty when it is.

    Args:
        suite: as openconnect prints it.
        sight: what carried marked packets.
    """
    if not all(part in suite for part in WANTED):
        return f"negotiated {suite}, not {'-'.join(WANTED)}"
    return unsealed(sight)


def _configure(work: Path, folder: Path, server: Namespace) -> Path:
    path = work / "ocserv.conf"
    path.write_text(
        CONFIGURATION.format(
            folder=folder,
            address=server.underlay,
            port=PORT,
            network=NETWORK,
            gateway=INSIDE[1],
            mtu=INSIDE_MTU + OVERHEAD,
        )
    )
    return path


def _script(work: Path) -> Path:
    path = work / "script"
    path.write_text(SCRIPT.format(gateway=INSIDE[1]))
    path.chmod(0o700)
    return path


def _suite(connecting: Daemon) -> str:
    try:
        return connecting.wait_for(SUITE)[1]
    except PeerError:
        return "TLS over TCP"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
