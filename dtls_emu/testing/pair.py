"""Two tunnels and the wire between them, on a virtual clock: the bench for everything about a handshake.

A test decides the fate of each datagram::

    pair = Pair(fate=lambda sender, number, datagram: [])   # loses everything
    pair.connect()
    pair.run(until=60.0)
    assert pair.client.failure
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from math import inf
from typing import TYPE_CHECKING

from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.crypto.registry import load
from dtls_emu.testing.waiting import rounds
from dtls_emu.tunnel.context import build_contexts
from dtls_emu.tunnel.cookie import CookieJar
from dtls_emu.tunnel.peers import Identity, Peer
from dtls_emu.tunnel.ports import PortAllocator
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.tunnel import Tunnel
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_PREFIX, TAG


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dtls_emu.crypto.backend import Backend
    from dtls_emu.tunnel.happenings import Happening
    from dtls_emu.tunnel.outcome import Outcome
    from dtls_emu.tunnel.session_keys import SessionKeys
    from dtls_emu.vocabulary import DropReason

    Fate = Callable[[str, int, bytes], Sequence[tuple[float, bytes]]]
    """``fate(sender, number, datagram)``: the copies that arrive, each with its delay in seconds."""


__all__ = ["Pair"]

_DELAY = 0.001


class Pair:
    """Hosts ``alpha`` (10.255.0.1) and ``beta`` (10.255.0.2), a tunnel each, towards one another.

    Fields:
        client, server: the tunnels of alpha and beta.
        protects: whether their backend does.
        now: the virtual time, in seconds.
        wire: every datagram sent: time, sender, local and remote port of the sender, bytes.
        received: plaintext packets that came out, by receiver.
        dropped: by receiver, then by reason.
        key_requests: local ports for which session keys are wanted, by asking host; a test answers, and clears them.
        happenings: what happened to each tunnel, in order, if it is observed.
    """

    def __init__(
        self,
        *,
        backend: str | Backend = "cryptography",
        fate: Fate | None = None,
        settings: TunnelSettings | None = None,
        server_settings: TunnelSettings | None = None,
        path_mtu: int = 1500,
        is_observed: bool = False,
    ) -> None:
        settings = settings or TunnelSettings()
        engine = _backend(backend) if isinstance(backend, str) else backend
        self.protects = engine.protects
        self.now = 0.0
        self.wire: list[tuple[float, str, int, int, bytes]] = []
        self.received: dict[str, list[bytes]] = {"alpha": [], "beta": []}
        self.dropped: dict[str, Counter[DropReason]] = {"alpha": Counter(), "beta": Counter()}
        self.key_requests: dict[str, list[int]] = {"alpha": [], "beta": []}
        self.happenings: dict[str, list[Happening]] = {"alpha": [], "beta": []}
        self._fate = fate or (lambda _sender, _number, datagram: [(_DELAY, datagram)])
        self._events: list[tuple[float, int, str, int, int, bytes]] = []
        self._order = itertools.count()
        self._sent: Counter[str] = Counter()
        self._frozen: dict[str, list[tuple[int, int, bytes]]] = {}  # and what waits in their sockets
        authority, identities = _identities()

        def tunnel(name: str, peer: str, knobs: TunnelSettings) -> Tunnel:
            return Tunnel(
                identities[name],
                Peer(peer, identities[peer].address, authority.certificate),
                backend=engine,
                settings=knobs,
                ports=PortAllocator(),
                path_mtu=path_mtu,
                is_observed=is_observed,
            )

        self.client = tunnel("alpha", "beta", settings)
        self.server = tunnel("beta", "alpha", server_settings or settings)
        self._tunnels = {"alpha": self.client, "beta": self.server}

    def connect(self, *names: str) -> None:
        """Traffic wants the tunnel at these ends, alpha when none is named."""
        for name in names or ("alpha",):
            self.carry_out(name, self._tunnels[name].connect(self.now))

    def rekey(self, name: str = "alpha") -> bool:
        """Have an end begin a fresh association; whether it does."""
        outcome = self._tunnels[name].rekey(self.now)
        self.carry_out(name, outcome)
        return not outcome.is_quiet

    def install(self, name: str, keys: SessionKeys) -> None:
        """Give an end a broker's keys."""
        self.carry_out(name, self._tunnels[name].install(keys, self.now))

    def close(self, name: str = "alpha") -> None:
        """Have an end say goodbye."""
        self.carry_out(name, self._tunnels[name].close(self.now))

    def send(self, sender: str, *packets: bytes) -> None:
        """Seal packets of one size and put them on the wire."""
        burst = Burst.from_packets(packets, headroom=RECORD_PREFIX, tailroom=TAG)
        association, outcome = self._tunnels[sender].seal(burst, self.now)
        for row in burst.rows():
            self.pass_on(sender, *association.ends, row.tobytes())
        self.carry_out(sender, outcome)

    def inject(self, receiver: str, local_port: int, remote_port: int, datagram: bytes) -> None:
        """A datagram from nowhere, with the peer's address; the ports are the receiver's view."""
        self._arrive(receiver, local_port, remote_port, datagram)

    def carry_out(self, name: str, outcome: Outcome) -> None:
        """Do what a call of an end's tunnel has caused."""
        for burst, status in outcome.opened:
            rows = zip(burst.rows(), status.tolist(), strict=True)
            self.received[name] += [row.tobytes() for row, code in rows if code == 0]
        for reason, count, _mark in outcome.dropped:
            self.dropped[name][reason] += count
        self.key_requests[name] += outcome.key_requests
        self.happenings[name] += outcome.happenings
        for out in outcome.datagrams:
            self.pass_on(name, out.local_port, out.remote_port, out.datagram)

    def freeze(self, name: str) -> None:
        """As SIGSTOP does: what arrives waits in the host's sockets, and its timers are late."""
        self._frozen[name] = []

    def thaw(self, name: str) -> None:
        """As SIGCONT does: it sees first what has arrived, then what time it is."""
        for arrival in self._frozen.pop(name):
            self._arrive(name, *arrival)

    def run(self, until: float) -> None:
        """Let time pass: datagrams arrive and timers fire."""
        for _ in rounds(1_000_000, f"nothing is due before {until}"):
            moment = self._next_moment()
            if moment > until:
                break
            self.now = max(self.now, moment)
            while self._events and self._events[0][0] <= self.now:
                _, _, receiver, local_port, remote_port, datagram = heapq.heappop(self._events)
                if receiver in self._frozen:
                    self._frozen[receiver].append((local_port, remote_port, datagram))
                else:
                    self._arrive(receiver, local_port, remote_port, datagram)
            for name, tunnel in self._awake():
                if tunnel.timeout() <= self.now:
                    self.carry_out(name, tunnel.handle_timeout(self.now))
        self.now = until

    def _next_moment(self) -> float:
        arrival = self._events[0][0] if self._events else inf
        return min([arrival, *(tunnel.timeout() for _, tunnel in self._awake())])

    def _awake(self) -> list[tuple[str, Tunnel]]:
        return [(name, tunnel) for name, tunnel in self._tunnels.items() if name not in self._frozen]

    def pass_on(self, sender: str, local_port: int, remote_port: int, datagram: bytes) -> None:
        """Put a datagram on the wire."""
        self.wire.append((self.now, sender, local_port, remote_port, datagram))
        number = self._sent[sender]
        self._sent[sender] += 1
        receiver = "beta" if sender == "alpha" else "alpha"
        for delay, copy in self._fate(sender, number, datagram):
            event = (self.now + delay, next(self._order), receiver, remote_port, local_port, copy)
            heapq.heappush(self._events, event)

    def _arrive(self, receiver: str, local_port: int, remote_port: int, datagram: bytes) -> None:
        if not datagram:
            return
        burst = Burst.from_packets([datagram])
        self.carry_out(receiver, self._tunnels[receiver].receive(burst, local_port, remote_port, self.now))


_backend = cache(load)
"""Loading proves a backend with known answers: worth it once."""


@cache
def _identities() -> tuple[RegionAuthority, dict[str, Identity]]:
    """Certificates are dear and harmless to share: one set for every pair of a test run."""
    now = datetime.now(UTC)
    authority = RegionAuthority.create("test", now)
    identities = {
        name: Identity(
            name,
            address,
            build_contexts(authority.issue(name, now), [authority.certificate]),
            CookieJar(b"cookie secret of " + name.encode()),
            now,
        )
        for name, address in (("alpha", "10.255.0.1"), ("beta", "10.255.0.2"))
    }
    return authority, identities
