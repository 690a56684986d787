"""Memory of an idle tunnel: what one of its two ends holds on to once the handshake is over.

Measured in a process of its own, as growth of resident memory: part of it is OpenSSL's, which Python does not
see, and a process that has run trials has freed memory that new tunnels would use up first.
"""

from __future__ import annotations

import gc
import os
import secrets
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.crypto.registry import load
from dtls_emu.errors import DtlsEmuError
from dtls_emu.tunnel.context import build_contexts
from dtls_emu.tunnel.cookie import CookieJar
from dtls_emu.tunnel.peers import Identity, Peer
from dtls_emu.tunnel.ports import PortAllocator
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.tunnel import Tunnel
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_PREFIX, TAG


if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from dtls_emu.crypto.backend import Backend
    from dtls_emu.tunnel.outcome import Outcome


__all__ = ["idle_tunnel_bytes"]

PAIRS: Final = 400
"""Of tunnels: enough for pages and arenas, which memory comes in, not to matter."""

PATH_MTU: Final = 1500

WARM_UP: Final = 40
"""Pairs made before: what is allocated once for all is not a tunnel's."""


def idle_tunnel_bytes(backend: str) -> int:
    """Bytes of one end of an idle tunnel with this backend: a fresh process measures it.

    Raises:
        DtlsEmuError: the process failed, with what it said.
    """
    command = [sys.executable, "-m", __spec__.name, backend]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # ourselves
    if outcome.returncode:
        last = outcome.stderr.strip().rpartition("\n")[2]
        raise DtlsEmuError(f"memory of idle tunnels could not be measured: {last}")
    return int(outcome.stdout)


class _Ends:
    """Two tunnels towards each other. What one sends, the other receives at once."""

    def __init__(self, identities: Sequence[Identity], authority: x509.Certificate, backend: Backend) -> None:
        self.tunnels = tuple(
            Tunnel(
                own,
                Peer(other.name, other.address, authority),
                backend=backend,
                settings=TunnelSettings(),
                ports=PortAllocator(),
                path_mtu=PATH_MTU,
            )
            for own, other in (identities, identities[::-1])
        )

    def bring_up(self) -> None:
        """By a handshake; then a packet in either direction, with which OpenSSL lets go of its buffers."""
        self._carry(0, self.tunnels[0].connect(0.0), 0.0)
        self._let_time_pass(1.0)
        for number, sender in enumerate(self.tunnels):
            burst = Burst.from_packets([bytes(100)], headroom=RECORD_PREFIX, tailroom=TAG)
            association, outcome = sender.seal(burst, 1.0)
            self._carry(number, outcome, 1.0)
            local_port, remote_port = association.ends
            answer = self.tunnels[1 - number].receive(burst, remote_port, local_port, 1.0)
            self._carry(1 - number, answer, 1.0)
        self._let_time_pass(2.0)

    def _let_time_pass(self, now: float) -> None:
        for number, tunnel in enumerate(self.tunnels):
            if tunnel.timeout() <= now:
                self._carry(number, tunnel.handle_timeout(now), now)

    def _carry(self, sender: int, outcome: Outcome, now: float) -> None:
        """Hand over what a tunnel's call has caused, and what that causes, until both are silent."""
        waiting = [(sender, out) for out in outcome.datagrams]
        while waiting:
            number, out = waiting.pop(0)
            datagram = Burst.from_packets([out.datagram])
            answer = self.tunnels[1 - number].receive(datagram, out.remote_port, out.local_port, now)
            waiting += [(1 - number, each) for each in answer.datagrams]


def _grow(name: str) -> int:
    """How much resident memory grows with one end."""
    backend = load(name)
    now = datetime.now(UTC)
    authority = RegionAuthority.create("idle", now)
    identities = [
        Identity(
            host,
            address,
            build_contexts(authority.issue(host, now), [authority.certificate]),
            CookieJar(secrets.token_bytes(32)),
            now,
        )
        for host, address in (("alpha", "10.255.0.1"), ("beta", "10.255.0.2"))
    ]

    def establish(count: int) -> list[_Ends]:
        pairs = [_Ends(identities, authority.certificate, backend) for _ in range(count)]
        for pair in pairs:
            pair.bring_up()
        return pairs

    kept = establish(WARM_UP)
    gc.collect()
    before = _resident()
    kept += establish(PAIRS)
    gc.collect()
    grown = _resident() - before
    assert all(tunnel.active for pair in kept for tunnel in pair.tunnels)
    return grown // (2 * PAIRS)


def _resident() -> int:
    """Resident bytes of this process (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(_grow(sys.argv[1]))  # noqa: T201  # for the process that has started this one
