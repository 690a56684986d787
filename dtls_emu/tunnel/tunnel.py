"""A tunnel: every attempt and association between this host and one other.

Ends are pairs of UDP ports. A client's attempt takes a fresh local port and goes to the peer's tunnel port;
so two associations of one pair of hosts never share a 4-tuple, and a new one comes up before the old one goes.

*Who seals.* The newest association that the peer is known to have. A client knows with the last flight, and seals
at once. A server whose last flight may be lost goes on with the old association until it hears its client on the new
one, however long that takes; the client confirms its keys at once (:mod:`dtls_emu.tunnel.confirmation`). Neither
closes the old association before it has heard the other on the new one. If the old key reaches its limit first,
packets wait, and the server begins an attempt of its own: as the client of that it needs no confirmation.

*Both ends starting at once.* The host with the numerically lower underlay address stays client. It does not
answer the other's ClientHello while its own attempt runs; the other answers, and drops its own attempt when
that association stands.

*A peer presumed dead.* Nothing was heard of it for a while, and a new handshake has failed. Its keys seal nothing
any more, but are kept for a while, to open with: a record that verifies shows that the peer lives, and the association
goes on. Records that nobody can verify, because the keys are gone, bring the next attempt forward, at most once in the
longest pause: anybody may have written them.

*A failed attempt* is always followed by a pause, whatever the state. While packets wait the next attempt begins by
itself; so a tunnel for which packets wait has a timer in every state.

*A restarted peer.* It may use a 4-tuple again that a live association has. That one is given up when the new
Finished is verified, not before (RFC 6347 4.2.8).
"""

from __future__ import annotations

from ipaddress import ip_address
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.errors import LocalProtocolError
from dtls_emu.tunnel.association import Association
from dtls_emu.tunnel.attempts import Attempts, Ends, HalfOpen
from dtls_emu.tunnel.exchange import DROPPED, Opened, is_client_hello
from dtls_emu.tunnel.handshake import Finished, Handshake, Hello
from dtls_emu.tunnel.ports import PORT_TRIES
from dtls_emu.tunnel.states import TunnelEvent, TunnelState
from dtls_emu.tunnel.succession import Succession
from dtls_emu.vocabulary import DropReason, Keying
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import (
    EXPLICIT_NONCE,
    IPV4_HEADER,
    IPV6_HEADER,
    RECORD_OVERHEAD,
    TAG,
    UDP_HEADER,
)
from dtls_emu.wire.record import (
    ALERT,
    APPLICATION_DATA,
    HANDSHAKE,
    RowStatus,
    pull_records_untrusted,
)


if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dtls_emu.crypto.backend import Backend, Established
    from dtls_emu.tunnel.peers import Identity, Peer
    from dtls_emu.tunnel.ports import PortAllocator
    from dtls_emu.tunnel.session_keys import SessionKeys
    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["Tunnel"]

FINISHED: Final = b"\x14"
"""First byte of a Finished: HandshakeType 20 (RFC 5246 7.4.9)."""

_EMPTY_RECORD: Final = EXPLICIT_NONCE + TAG
"""Length field of a record without plaintext."""

_ALERT_TYPE: Final = bytes((ALERT,))
_ATTEMPTING: Final = frozenset({TunnelState.HANDSHAKING, TunnelState.REKEYING})
_SEALING: Final = frozenset({TunnelState.UP, TunnelState.REKEYING})


class Tunnel(Succession):
    """Everything between this host and one peer.

    Fields:
        peer: whom it leads to.
        path_mtu: largest outer IP packet on the way there, in bytes; may change at any time.
        state: see :mod:`dtls_emu.tunnel.states`.
        failure: why the last attempt failed; "" again once an association is up.
        failures: attempts that failed, of those that mattered: none of the peer's beside a live association.
        changes: how often keys came into force, or went; what a flow's decision rests on.
        touched: a timer was set, or there is something to send: the card looks after it and clears this.
        control: records that were the tunnel's own business (handshake, alerts), for the accounts.
        extra_records: records beyond one for each datagram, likewise: of datagrams that held several, and
            early ones, which are counted when they come and again when they are opened or dropped.
        handshakes: associations that came up.
        last_handshake: seconds the last one took.
        forgeries: records that did not verify, over all associations.
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
        on_drop: Callable[[DropReason, int, int], None],
        half_open: HalfOpen | None = None,
    ) -> None:
        """
        Args:
            identity: this host.
            peer: the other.
            backend: seals and opens.
            settings: knobs.
            ports: of the whole card.
            path_mtu: largest outer IP packet on the way to the peer.
            on_drop: called with reason, count and mark for every record dropped here.
            half_open: of the whole card; by default of this tunnel alone.
        """
        super().__init__(settings, ports)
        self.peer = peer
        self._path_mtu = path_mtu
        self.control = 0
        self.extra_records = 0
        self.handshakes = 0
        self.last_handshake = 0.0
        self.forgeries = 0
        self._identity = identity
        self._backend = backend
        self._drop = on_drop
        version = ip_address(peer.address).version
        self._outer_headers = UDP_HEADER + (IPV4_HEADER if version == 4 else IPV6_HEADER)
        self._attempts = Attempts(
            identity, peer, settings, half_open or HalfOpen(), keep_connection=backend.needs_connection
        )
        self._asked_broker: tuple[int, float] | None = None  # local port, and when we give up
        self._refused_ports = 0  # of this attempt, that could not be opened
        self._key_requests: list[int] = []

    # Life: what the card calls, in the order of a tunnel's

    def connect(self, now: float, *, waiting: bool = False) -> None:
        """Traffic wants the tunnel, and it has no room: start an attempt unless one runs or must wait its turn.

        Args:
            now: seconds.
            waiting: packets are kept until there is room, or until :attr:`failures` says that there is none. An
                attempt that must wait its turn begins by itself then.
        """
        if self.room() or self.is_ending:
            return
        self._retry.is_wanted |= waiting
        self.touched = True
        if self.state is TunnelState.IDLE or (self.state not in _ATTEMPTING and now >= self._retry.at):
            self._start(now)

    def rekey(self, now: float) -> bool:
        """Begin a fresh association beside the live one; False when there is none, or one is begun already."""
        if self.state is not TunnelState.UP:
            return False
        self._start(now)
        return True

    def install(self, keys: SessionKeys, now: float) -> None:
        """Take a broker's keys for one session; they are overwritten in `keys`.

        Raises:
            LocalProtocolError: this tunnel makes its keys by handshake, or is closed, or the keys are spent.
        """
        if self._settings.keying is not Keying.BROKER or self.is_ending:
            raise LocalProtocolError(f"a tunnel that is {self.state} does not take session keys")
        is_initiator = keys.initiator == self._identity.name
        ends = (
            (keys.initiator_port, self._settings.port)
            if is_initiator
            else (self._settings.port, keys.initiator_port)
        )
        established = keys.established(is_initiator=is_initiator)
        asked_at = (
            now if self._asked_broker is None else self._asked_broker[1] - self._settings.handshake_deadline
        )
        if is_initiator:
            self._asked_broker = None
        self._add(ends, established, Finished(b"", 0), is_client=is_initiator, started_at=asked_at, now=now)

    def port_unavailable(self, port: int, now: float) -> bool:
        """A local port that this tunnel has taken cannot be opened: go on with the next one at once.

        An attempt goes on as if it had begun there; an association, whose port was lost, is over.

        Returns:
            whether the port is this tunnel's.
        """
        if port == self._settings.port or self.is_ending:
            return False
        attempt = next((ends for ends in self._attempts.running if ends[0] == port), None)
        lost = [each for each in self._associations if each.local_port == port]
        if attempt is not None:
            self._end_attempt(attempt, f"port {port} cannot be opened")
            self._begin_elsewhere(now)
        elif self._asked_broker is not None and self._asked_broker[0] == port:
            self._asked_broker = None
            self._release_port(port)
            self._begin_elsewhere(now)
        elif lost:
            for association in lost:
                self._lose(association)
            if self.active is None:
                self.connect(now)
        else:
            return False
        return True

    def close(self, now: float) -> None:
        """Say close_notify on every association and stop sealing; keys go when the peer answers, or after a while."""
        for ends in list(self._attempts.running):
            self._end_attempt(ends, "closed")
        self._retry.is_wanted = self._is_suspect = self._is_given_up = False
        self._confirmation.end()
        self._liveness.reset()
        for association in self._associations:
            self._queue(association.ends, association.close_notify())
            if self.state not in _SEALING:  # nobody waits for the answer
                self._discard(association)
                self._release_port(association.ends[0])
        self._associations.drain_all(now + self._settings.confirm_timeout)
        self.changes += 1
        self._step(TunnelEvent.CLOSE)

    def abort(self) -> None:
        """Overwrite all keys now."""
        self._confirmation.end()
        self._retry.is_wanted = False
        for association in self._associations:
            self._discard(association)

    # Data

    def seal(self, burst: Burst, now: float) -> Association:
        """Seal every row; the ports to send from and to are those of the association returned.

        Raises:
            LocalProtocolError: no association, or no room.
        """
        association = self._associations.active
        if association is None:
            raise LocalProtocolError(f"a tunnel that is {self.state} seals nothing")
        association.seal(burst)
        if self._liveness.sent_data(now):
            self.touched = True
        if association.worn and self.state is TunnelState.UP and now >= self._retry.at:
            self._start(now)
        return association

    def receive(self, burst: Burst, local_port: int, remote_port: int, now: float) -> list[Opened]:
        """Take datagrams from the peer's address; ``burst.offset`` is 0.

        Returns:
            Bursts with opened rows; everything else was dropped by reason or was the tunnel's own.
        """
        ends = (local_port, remote_port)
        association = self._associations.get(ends)
        opened: list[Opened] = []
        if association is None:
            for row in burst.rows():
                self._receive_attempt(row.tobytes(), ends, burst.mark, opened, now)
            return opened
        lengths = burst.size, burst.last
        status, ok = association.open(burst)
        self._receive_opened(association, burst, lengths, status, ok, opened, now)
        return opened

    def receive_opened(self, burst: Burst, status: NDArray[np.uint8], ok: int, now: float) -> list[Opened]:
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
        opened: list[Opened] = []
        lengths = burst.size + RECORD_OVERHEAD, burst.last + RECORD_OVERHEAD
        self._receive_opened(association, burst, lengths, status, ok, opened, now)
        return opened

    def _receive_opened(
        self,
        association: Association,
        burst: Burst,
        lengths: tuple[int, int],
        status: NDArray[np.uint8],
        ok: int,
        opened: list[Opened],
        now: float,
    ) -> None:
        """What was opened is handed on, the rest is the tunnel's own or dropped; `lengths` are the records'."""
        if ok:
            opened.append((burst, status))
            self._hear(association, now, data=True)
        if ok == burst.count:
            return
        size, last = lengths
        for index in np.flatnonzero(status).tolist():
            start = index * burst.stride
            code = RowStatus(int(status[index]))
            if code is RowStatus.CONTROL or burst.buffer[start] == HANDSHAKE:
                raw = burst.buffer[start : start + (last if index == burst.count - 1 else size)].tobytes()
                self._receive_control(association, raw, association.ends, burst.mark, opened, now)
            else:
                self._drop(DROPPED[code], 1, burst.mark)
                self.forgeries += code is RowStatus.AUTH_FAILED
        self._check_forgeries(association.ends, association)

    # Timers, and what is handed out

    def timeout(self) -> float:
        """When `handle_timeout` wants to be called; infinity when it does not."""
        return min(
            self._liveness.keepalive_at,
            self._liveness.dead_at,
            self._associations.timeout(),
            self._confirmation.repeat_at,
            inf if self._asked_broker is None else self._asked_broker[1],
            self._wanted_at(),
            self._worn_at(),
            self._session_end(),
            self._attempts.timeout(),
        )

    def handle_timeout(self, now: float) -> None:
        """Retransmit, give up, switch over, show that we are there, let go of what is drained."""
        for ends, attempt in list(self._attempts.running.items()):
            attempt.handle_timeout(now)
            self._settle(ends, attempt, [], now)
        if self._asked_broker is not None and now >= self._asked_broker[1]:
            self._release_port(self._asked_broker[0])
            self._asked_broker = None
            self._fail("no keys from the broker", now)
        if now >= self._confirmation.repeat_at:
            self._repeat_confirmation(now)
        for association in self._associations.drained(now):
            self._forget(association)
        if now >= self._liveness.keepalive_at:
            self._liveness.keepalive_at = inf
            self._send_empty(self.active)
        if now >= self._liveness.dead_at:
            self._liveness.dead_at = inf
            self._suspect(now)
        if now >= min(self._worn_at(), self._wanted_at()):
            self._start(now)
        if now >= self._session_end() and self.active is not None:
            self._lose(self.active, say_goodbye=True)

    @property
    def path_mtu(self) -> int:
        """Largest outer IP packet on the way to the peer, in bytes."""
        return self._path_mtu

    @path_mtu.setter
    def path_mtu(self, size: int) -> None:
        self._path_mtu = size
        for attempt in self._attempts.running.values():
            attempt.mtu = size - self._outer_headers

    def take_key_requests(self) -> list[int]:
        """Local ports for which a broker's session keys are wanted; they are handed out once."""
        requests, self._key_requests = self._key_requests, []
        return requests

    # Attempts

    def _start(self, now: float) -> None:
        """Begin an attempt as the client."""
        self._step(TunnelEvent.START)
        if self._asked_broker is not None:  # it may answer yet
            return
        self._refused_ports = 0
        self._begin(now)

    def _begin_elsewhere(self, now: float) -> None:
        """The attempt has no port, because it cannot be opened: take another one."""
        self._refused_ports += 1
        if self._refused_ports < PORT_TRIES:
            self._begin(now)
        elif not self._attempts.running:
            self._fail(f"none of {PORT_TRIES} UDP ports can be opened", now)

    def _begin(self, now: float) -> None:
        port = self._ports.take()
        if self._settings.keying is Keying.BROKER:
            self._asked_broker = (port, now + self._settings.handshake_deadline)
            self._key_requests.append(port)
            self.touched = True
        else:
            self._attempt((port, self._settings.port), None, now)

    def _attempt(self, ends: Ends, hello: Hello | None, now: float) -> None:
        attempt = self._attempts.begin(ends, hello, self.path_mtu - self._outer_headers, now)
        self._settle(ends, attempt, [], now)

    def _receive_attempt(
        self, datagram: bytes, ends: Ends, mark: int, opened: list[Opened], now: float
    ) -> None:
        """A datagram for ends that no association has, or for a challenger of the one that has them."""
        attempt = self._attempts.running.get(ends)
        if attempt is None:
            self._receive_stranger(datagram, ends, mark, now)
            return
        noise, early = attempt.noise, len(attempt.early)
        attempt.receive(datagram, now, mark)
        if attempt.noise > noise:
            # A mark is that of one packet; the record that was kept has it.
            self._drop(DropReason.HANDSHAKE_NOISE, 1, mark if len(attempt.early) == early else 0)
        else:
            self.control += 1
        self._settle(ends, attempt, opened, now)

    def _receive_stranger(self, datagram: bytes, ends: Ends, mark: int, now: float) -> None:
        if self._associations.has_departed(ends) and datagram[:1] == _ALERT_TYPE:
            self.control += 1  # goodbyes of both ends have crossed
            return
        verdict = DropReason.NO_ASSOCIATION if self.is_ending else self._attempts.judge(datagram, ends, now)
        if isinstance(verdict, DropReason):
            self._drop(verdict, 1, mark)
            is_late = self._associations.has_departed(ends) or self._attempts.has_failed(ends)
            if verdict is DropReason.NO_ASSOCIATION and not is_late:
                self._heed_unknown(now)
            return
        self.control += 1
        if isinstance(verdict, bytes):
            self._queue(ends, verdict)
            if self.active is not None and self._confirmation.may_reassure(ends, self.active, now):
                # It asks again, and has heard nothing of us between: it may presume us dead.
                self._send_empty(self.active)
        elif verdict is not None:
            # A live tunnel stays what it is: whoever can repeat a hello with its cookie changes nothing by it.
            if self.state in {TunnelState.IDLE, TunnelState.BACKING_OFF}:
                self._step(TunnelEvent.START)
            self._attempt(ends, verdict, now)

    def _heed_unknown(self, now: float) -> None:
        """The peer, or anybody, seals with keys of which nobody here knows: this host may have restarted."""
        if self.state in _SEALING:
            self._confirm_again(now)
        elif self.state is TunnelState.BACKING_OFF:
            if now >= self._retry.at or self._retry.hint(now):
                self._start(now)
        elif not self.handshakes:
            self.connect(now)

    def _settle(self, ends: Ends, attempt: Handshake, opened: list[Opened], now: float) -> None:
        """Carry out what an attempt came to."""
        for datagram in attempt.take_datagrams():
            self._queue(ends, datagram)
        if attempt.established is not None:
            self._attempts.end(ends)
            assert attempt.finished is not None  # set together
            self._add(
                ends,
                attempt.established,
                attempt.finished,
                is_client=attempt.is_client,
                started_at=attempt.started_at,
                now=now,
            )
            self.extra_records += len(attempt.early)
            for record, mark in attempt.early:
                opened += self.receive(Burst.from_packets([record], mark=mark), *ends, now)
        elif attempt.failure:
            self._end_attempt(ends, attempt.failure)
            if not self._attempts.running:
                self._fail(attempt.failure, now)

    def _fail(self, reason: str, now: float) -> None:
        """The last running attempt failed."""
        if self.state not in _ATTEMPTING:
            return
        self.failure = reason
        self.failures += 1
        self._retry.failed(now)
        if self._is_suspect:
            self._presume_dead(now)
        self._step(TunnelEvent.FAILED)

    def _end_attempt(self, ends: Ends, reason: str) -> None:
        attempt = self._attempts.fail(ends, reason)
        self.extra_records += len(attempt.early)
        for _, mark in attempt.early:
            self._drop(DropReason.NO_ASSOCIATION, 1, mark)
        self._release_port(ends[0])

    # Associations

    def _add(
        self,
        ends: Ends,
        established: Established,
        finished: Finished,
        *,
        is_client: bool,
        started_at: float,
        now: float,
    ) -> None:
        """A fresh association stands."""
        former = self._associations.get(ends)
        if former is not None:  # the peer restarted and has proven itself on the same ports
            self._discard(former)
        association = Association(
            established, self._backend, finished, self._settings, is_client=is_client, ends=ends, now=now
        )
        self.handshakes += 1
        self.last_handshake = now - started_at
        for rival_ends, rival in list(self._attempts.running.items()):
            if rival.is_client:
                self._end_attempt(rival_ends, "the peer's own attempt was first")
        self._enter(association, now)
        if self.state is not TunnelState.UP or not self._attempts.running:
            self._step(TunnelEvent.ESTABLISHED)

    def _suspect(self, now: float) -> None:
        """Nothing was heard for too long. A handshake shows whether the peer is alive: this one, if one runs."""
        self._is_suspect = self.state in _SEALING
        self.touched = True
        if self.state is TunnelState.UP:
            self._start(now)

    def _check_forgeries(self, ends: Ends, association: Association) -> None:
        if association.failed_authentications >= self._settings.forgery_limit:
            if self._associations.get(ends) is not None:
                self._lose(association)
            self.failure = f"{self._settings.forgery_limit} records did not verify (RFC 9325 4.4)"

    # Protected records that are no application data, or share a datagram

    def _receive_control(
        self,
        association: Association,
        datagram: bytes,
        ends: Ends,
        mark: int,
        opened: list[Opened],
        now: float,
    ) -> None:
        records = pull_records_untrusted(datagram)
        if not records:
            self._drop(DropReason.BAD_DATAGRAM, 1, mark)
            return
        self.extra_records += len(records) - 1
        for index, record in enumerate(records):
            if index:
                mark = 0  # a mark is that of one packet, and a card sends one in a datagram
            raw = bytes(record.record)
            is_challenge = ends in self._attempts.running or is_client_hello(record)
            if association.closed:
                self._drop(DropReason.NO_ASSOCIATION, 1, mark)
            elif record.header.epoch == 0 and is_challenge:
                self._receive_attempt(raw, ends, mark, opened, now)
            elif record.header.epoch == 0:
                self._drop(DropReason.WRONG_EPOCH, 1, mark)
            elif record.header.content_type == APPLICATION_DATA and record.header.length != _EMPTY_RECORD:
                single = Burst.from_packets([raw], mark=mark)
                status, ok = association.open(single)
                if ok:
                    opened.append((single, status))
                    self._hear(association, now, data=True)
                else:
                    self._drop(DROPPED[RowStatus(int(status[0]))], 1, mark)
            else:
                verdict, plaintext = association.open_control(raw)
                if verdict is RowStatus.OK:
                    is_data = record.header.content_type == APPLICATION_DATA
                    self._hear(association, now, data=False, seals=is_data)
                    self._receive_authentic(association, record.header.content_type, plaintext, mark, now)
                elif ends in self._attempts.running:
                    self._receive_attempt(raw, ends, mark, opened, now)
                else:
                    self._drop(DROPPED[verdict], 1, mark)

    def _receive_authentic(
        self, association: Association, content_type: int, plaintext: bytes, mark: int, now: float
    ) -> None:
        if content_type == APPLICATION_DATA:
            self.control += 1
            is_confirmation = association is self.active and not association.is_client and not plaintext
            if is_confirmation and self._confirmation.may_answer(association, now):
                self._send_empty(association)
        elif content_type == ALERT and len(plaintext) == 2:
            self.control += 1
            if plaintext[1] == 0:
                self._lose(association, say_goodbye=self.state is not TunnelState.CLOSING)
            elif plaintext[0] == 2:  # fatal, not answered (RFC 5246 7.2.2)
                self._lose(association)
        elif content_type == HANDSHAKE and plaintext[:1] == FINISHED and not association.is_client:
            self.control += 1
            if self._confirmation.may_repeat_flight(now):
                self._queue(association.ends, association.final_flight())
        else:
            self._drop(DropReason.UNEXPECTED_CONTENT, 1, mark)

    # Small change

    def _worn_at(self) -> float:
        """When the active association is too old; its client's business, so that only one end begins."""
        active = self.active
        if not self._settings.rekey_seconds or active is None or not active.is_client:
            return inf
        if self.state is not TunnelState.UP:
            return inf
        return max(active.established_at + self._settings.rekey_seconds, self._retry.at)

    def _wanted_at(self) -> float:
        """When the next attempt begins by itself, because packets wait."""
        if not self._retry.is_wanted or self.is_ending or self.state in _ATTEMPTING:
            return inf
        return self._retry.at

    def _session_end(self) -> float:
        if self._settings.keying is not Keying.BROKER or self.active is None:
            return inf
        return max(self._liveness.last_data, self.active.established_at) + self._settings.session_idle
