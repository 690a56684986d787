"""A tunnel: every attempt and association between this host and one other.

Ends are pairs of UDP ports. The parts, each in a file of its own:

* :mod:`~dtls_emu.tunnel.keying`: where keys come from, a handshake or a broker;
* :mod:`~dtls_emu.tunnel.renewal`: when an attempt for the next keys begins, and what becomes of it;
* :mod:`~dtls_emu.tunnel.succession`: which association seals, and when none does;
* :mod:`~dtls_emu.tunnel.inbound`: what becomes of datagrams that come in;
* :mod:`~dtls_emu.tunnel.journal`: what a call causes, until it returns.

This one is what a card calls: the life of a tunnel, and its timers. Each call that can cause something returns one
:class:`~dtls_emu.tunnel.outcome.Outcome`.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from dtls_emu.errors import LocalProtocolError
from dtls_emu.tunnel.broker_keys import BrokerKeys
from dtls_emu.tunnel.handshake_keys import HalfOpen, HandshakeKeys
from dtls_emu.tunnel.inbound import Inbound
from dtls_emu.tunnel.journal import Journal
from dtls_emu.tunnel.outcome import NOTHING
from dtls_emu.tunnel.ports import LocalPorts
from dtls_emu.tunnel.renewal import Renewal
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.tunnel.succession import Succession
from dtls_emu.vocabulary import Keying
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER, RECORD_OVERHEAD, UDP_HEADER


if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.crypto.backend import Backend
    from dtls_emu.tunnel.association import Association
    from dtls_emu.tunnel.keying import KeySource
    from dtls_emu.tunnel.outcome import Outcome
    from dtls_emu.tunnel.peers import Identity, Peer
    from dtls_emu.tunnel.ports import PortAllocator
    from dtls_emu.tunnel.session_keys import SessionKeys
    from dtls_emu.tunnel.settings import TunnelSettings
    from dtls_emu.wire.burst import Burst


__all__ = ["Tunnel"]


class Tunnel:
    """Everything between this host and one peer.

    Fields:
        peer: whom it leads to.
        key_source: where its keys come from.
    """

    def __init__(
        self,
        identity: Identity,
        peer: Peer,
        *,
        backend: Backend,
        settings: TunnelSettings,
        ports: PortAllocator,
        path_mtu: int,
        half_open: HalfOpen | None = None,
        is_observed: bool = False,
    ) -> None:
        """
        Args:
            identity: this host.
            peer: the other.
            backend: seals and opens.
            settings: knobs.
            ports: of the whole card.
            path_mtu: largest outer IP packet on the path to the peer.
            half_open: of the whole card; by default of this tunnel alone.
            is_observed: as in the field of this name; it costs nothing when nobody observes.
        """
        self.peer = peer
        self._settings = settings
        self._path_mtu = path_mtu
        version = ip_address(peer.address).version
        self._outer_headers = UDP_HEADER + (IPV4_HEADER if version == 4 else IPV6_HEADER)
        self._journal = journal = Journal(is_observed=is_observed)
        local_ports = LocalPorts(ports, settings.port, journal)
        mtu = path_mtu - self._outer_headers
        source: KeySource
        if settings.keying is Keying.BROKER:
            source = BrokerKeys((identity.name, peer.name), settings, local_ports, journal, mtu)
        else:
            source = HandshakeKeys(
                identity,
                peer,
                settings,
                half_open or HalfOpen(),
                local_ports,
                journal,
                keep_connection=backend.needs_connection,
                mtu=mtu,
            )
        self.key_source = source
        self._succession = Succession(settings, local_ports, journal, source.session_idle)
        self._associations = self._succession.associations
        self._liveness = self._succession.liveness
        self._renewal = Renewal(source, self._succession, backend, settings, local_ports, journal)
        self._inbound = Inbound(source, self._succession, self._renewal, settings, journal)

    # What can be asked

    @property
    def state(self) -> TunnelState:
        """See :mod:`dtls_emu.tunnel.states`."""
        return self._succession.state

    @property
    def failure(self) -> str:
        """Why the last attempt failed; "" again once an association is up, or that is too long ago to matter."""
        return self._succession.failure

    def has_failed(self, now: float) -> bool:
        """Whether the last that is known is that there is no tunnel to the peer; old knowledge does not count."""
        return self._succession.has_failed(now)

    def is_pausing(self, now: float) -> bool:
        """Whether the last attempt failed, and the next may not begin yet: there is nothing to wait for."""
        return self._succession.is_pausing(now)

    def room(self) -> int:
        """How many packets may be sealed right now."""
        return self._succession.room()

    @property
    def active(self) -> Association | None:
        """The association that seals, or None."""
        return self._associations.active

    @property
    def steady(self) -> Association | None:
        """The association that seals, while nothing but traffic is to be expected of it: for the fast path."""
        return self._succession.steady

    @property
    def associations(self) -> Iterable[Association]:
        """All that are alive: the one that seals, its successor, and those being drained."""
        return self._associations

    @property
    def is_ending(self) -> bool:
        """Whether it was closed by this end: it never seals again."""
        return self._succession.is_ending

    @property
    def retry_at(self) -> float:
        """When the next attempt may begin, in seconds, if the last one failed."""
        return self._succession.retry.at

    @property
    def times(self) -> NDArray[np.float64]:
        """When something was sent and heard, see :mod:`dtls_emu.tunnel.liveness`: for the fast path."""
        return self._liveness.times

    @property
    def handshakes(self) -> int:
        """Associations that came up."""
        return self._renewal.handshakes

    @property
    def last_handshake(self) -> float:
        """Seconds the last one took."""
        return self._renewal.last_handshake

    @property
    def forgeries(self) -> int:
        """Records that did not verify, over all associations."""
        return self._inbound.forgeries

    @property
    def extra_records(self) -> int:
        """Records beyond one for each datagram so far, as in :class:`~dtls_emu.tunnel.outcome.Outcome`."""
        return self._journal.total_extra_records

    @property
    def path_mtu(self) -> int:
        """Largest outer IP packet on the path to the peer, in bytes; may change at any time."""
        return self._path_mtu

    @path_mtu.setter
    def path_mtu(self, size: int) -> None:
        self._path_mtu = size
        self.key_source.mtu = size - self._outer_headers

    @property
    def is_observed(self) -> bool:
        """Whether outcomes say what happens to the tunnel (:mod:`dtls_emu.tunnel.happenings`); may change any time."""
        return self._journal.is_observed

    @is_observed.setter
    def is_observed(self, wanted: bool) -> None:
        self._journal.is_observed = wanted

    # Life, in its order

    def connect(self, now: float, *, waiting: bool = False) -> Outcome:
        """Traffic wants the tunnel, and it has no room: start an attempt unless one runs or must wait its turn.

        Args:
            now: seconds.
            waiting: packets are kept until there is room, or until an outcome says that an attempt has failed. An
                attempt that must wait its turn begins by itself then.
        """
        self._renewal.want(now, waiting=waiting)
        return self._journal.take()

    def rekey(self, now: float) -> Outcome:
        """Begin a fresh association beside the live one; nothing happens when there is none, or one is begun already."""
        if self.state is TunnelState.UP:
            self._renewal.start(now)
        return self._journal.take()

    def install(self, keys: SessionKeys, now: float) -> Outcome:
        """Take a broker's keys for one session; they are overwritten in `keys`, also when they are refused.

        Raises:
            LocalProtocolError: this tunnel makes its keys by handshake, or is closed; or the keys are spent, are those
                of other hosts, or are for a port of ours that asked for none.
        """
        if self.is_ending:
            keys.discard()
            raise LocalProtocolError(f"a tunnel that is {self.state} does not take session keys")
        self._renewal.apply(self.key_source.install(keys, now), now)
        return self._journal.take()

    def port_unavailable(self, port: int, now: float) -> Outcome:
        """A local port cannot be opened: if this tunnel has taken it, go on with the next one at once.

        An attempt goes on as if it had begun there; an association, whose port was lost, is over. The outcome is quiet
        when the port is none of this tunnel's.
        """
        if port == self._settings.port or self.is_ending:
            return NOTHING
        if self.key_source.give_up(port):
            self._renewal.start_elsewhere(now)
            return self._journal.take()
        lost = [each for each in self._associations if each.local_port == port]
        for association in lost:
            self._succession.lose(association)
        if lost and self.active is None:
            self._renewal.want(now)
        return self._journal.take()

    def close(self, now: float) -> Outcome:
        """Say close_notify on every association and stop sealing; keys go when the peer answers, or after a while."""
        self.key_source.close()
        self._succession.close(now)
        return self._journal.take()

    def abort(self) -> None:
        """Overwrite all keys now, and say nothing to anybody."""
        self._succession.abort()
        self._journal.take()

    # Data

    def seal(self, burst: Burst, now: float) -> tuple[Association, Outcome]:
        """Seal every row; the ports to send from and to are those of the association returned.

        Raises:
            LocalProtocolError: no association, or no room.
        """
        association = self._associations.active
        if association is None:
            raise LocalProtocolError(f"a tunnel that is {self.state} seals nothing")
        association.seal(burst)
        if self._liveness.sent_data(now):
            self._journal.touched = True
        if association.worn:
            self._renewal.start_when_worn(association, now)
        return association, self._journal.take() if self._journal.touched else NOTHING

    def receive(self, burst: Burst, local_port: int, remote_port: int, now: float) -> Outcome:
        """Take datagrams from the peer's address; ``burst.offset`` is 0. Never raises for their content."""
        self._inbound.receive(burst, (local_port, remote_port), now)
        return self._journal.take()

    def receive_opened(self, burst: Burst, status: NDArray[np.uint8], ok: int, now: float) -> Outcome:
        """Take records that the fast path has opened for the active association, as :meth:`receive` goes on.

        Args:
            burst: what became of them; all were candidates.
            status: a :class:`~dtls_emu.wire.protocol.RowStatus` for each.
            ok: how many of them verified.
            now: seconds.

        Raises:
            LocalProtocolError: there is no active association.
        """
        association = self.active
        if association is None:
            raise LocalProtocolError(f"a tunnel that is {self.state} opens nothing")
        if ok != burst.count:
            association.count_failures(status)
        lengths = burst.size + RECORD_OVERHEAD, burst.last + RECORD_OVERHEAD
        self._inbound.receive_opened(association, burst, lengths, status, ok, now)
        return self._journal.take()

    # Timers

    def timeout(self) -> float:
        """When `handle_timeout` wants to be called; infinity when it does not."""
        return min(self._succession.timeout(), self._renewal.timeout())

    def handle_timeout(self, now: float) -> Outcome:
        """Retransmit, give up, switch over, show that we are there, let go of what is drained."""
        self._renewal.handle_timeout(now)
        self._succession.handle_timeout(now)
        if self._succession.must_suspect(now):
            self._renewal.start(now)
        self._renewal.start_due(now)
        self._succession.end_session(now)
        return self._journal.take()
