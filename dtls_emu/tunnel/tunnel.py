"""A tunnel: every handshake and association between this host and one other.

Ends are pairs of UDP ports. A client's attempt takes a fresh local port and goes to the peer's tunnel port;
so two associations of one pair of hosts never share a 4-tuple, and a new one can come up before the old one
goes. The newest association seals; older ones go on opening for a while.

Both ends starting at once: the host with the numerically lower underlay address stays client. It does not
answer the other's ClientHello while its own attempt runs; the other answers, and drops its own attempt when
that association stands. Anyone can send a ClientHello, so nothing is given up before a Finished is verified:
not an attempt, and not a live association whose 4-tuple a restarted peer uses again (RFC 6347 4.2.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.lab.vocabulary import DropReason
from dtls_emu.tunnel.association import Association
from dtls_emu.tunnel.handshake import CLIENT_HELLO, Handshake
from dtls_emu.tunnel.states import TunnelEvent, TunnelState, next_state
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import IPV4_HEADER, IPV6_HEADER, UDP_HEADER
from dtls_emu.wire.record import (
    ALERT,
    APPLICATION_DATA,
    HANDSHAKE,
    RowStatus,
    pull_handshake_header,
    pull_records_untrusted,
)


if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from cryptography import x509
    from numpy.typing import NDArray

    from dtls_emu.crypto.backend import Backend
    from dtls_emu.tunnel.context import Contexts
    from dtls_emu.tunnel.settings import TunnelSettings
    from dtls_emu.wire.record import RecordView


__all__ = ["Identity", "Opened", "Outgoing", "Peer", "PortAllocator", "Tunnel"]

Ends = tuple[int, int]
"""Local and remote UDP port."""

Opened = tuple[Burst, "NDArray[np.uint8]"]
"""A burst after opening and the status of each row; rows that are OK hold plaintext."""

DROPPED: Final = {
    RowStatus.AUTH_FAILED: DropReason.AUTH_FAILED,
    RowStatus.REPLAYED: DropReason.REPLAYED,
    RowStatus.LATE: DropReason.LATE,
    RowStatus.BAD_DATAGRAM: DropReason.BAD_DATAGRAM,
    RowStatus.BAD_VERSION: DropReason.BAD_VERSION,
    RowStatus.OVERSIZE: DropReason.OVERSIZE_RECORD,
    RowStatus.WRONG_EPOCH: DropReason.WRONG_EPOCH,
}

_DRAIN: Final = 10.0
"""Seconds an association that was replaced goes on opening: records under way, and the peer's switch-over."""

_FINAL_FLIGHT_PAUSE: Final = 0.25
"""Seconds between two answers to a repeated flight; the peer's own timer is 1 s."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this host is.

    Fields:
        name: host name, as in its certificate.
        address: underlay IP address.
        contexts: what OpenSSL may negotiate.
        wall_start: date and time that belong to second 0 of the caller's clock.
        clock: turns the caller's seconds into an interval since `wall_start`.
    """

    name: str
    address: str
    contexts: Contexts
    wall_start: datetime
    clock: Callable[[float], timedelta]


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a tunnel leads to: host name, underlay IP address, the CA of its region."""

    name: str
    address: str
    ca_certificate: x509.Certificate


@dataclass(slots=True)
class Outgoing:
    """A datagram of a tunnel's own (handshake, alert) to send to its peer."""

    local_port: int
    remote_port: int
    datagram: bytes


class PortAllocator:
    """Local UDP ports for a card's client attempts: the dynamic range in turn (RFC 6335 6)."""

    _FIRST: Final = 49_152
    _LAST: Final = 65_535

    def __init__(self) -> None:
        self._next = self._FIRST
        self._taken: set[int] = set()

    def take(self) -> int:
        """A port that is not in use."""
        while self._next in self._taken:
            self._step()
        port = self._next
        self._taken.add(port)
        self._step()
        return port

    def give_back(self, port: int) -> None:
        """The port may be used again, after all others."""
        self._taken.discard(port)

    def _step(self) -> None:
        self._next = self._FIRST if self._next == self._LAST else self._next + 1


class Tunnel:
    """Everything between this host and one peer.

    Fields:
        peer: whom it leads to.
        path_mtu: largest outer IP packet on the way there, in bytes; may change at any time.
        state: see :mod:`dtls_emu.tunnel.states`.
        failure: why the last attempt failed; "" again once an association is up.
        retry_at: when the next attempt may start, in seconds; meaningful while backing off.
        active: the association that seals, or None.
        control: records that were the tunnel's own business (handshake, alerts), for the accounts.
        extra_records: records beyond one for each datagram, likewise: of datagrams that held several, and
            early ones, which are counted when they come and again when they are opened.
        handshakes: attempts that ended well.
        last_handshake: seconds the last one took.
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
        """
        self.peer = peer
        self.state = TunnelState.IDLE
        self.failure = ""
        self.retry_at = 0.0
        self.active: Association | None = None
        self.control = 0
        self.extra_records = 0
        self.handshakes = 0
        self.last_handshake = 0.0
        self._identity = identity
        self._backend = backend
        self._settings = settings
        self._ports = ports
        self._drop = on_drop
        self._backoff = settings.retry_backoff
        version = ip_address(peer.address).version
        self._outer_headers = UDP_HEADER + (IPV4_HEADER if version == 4 else IPV6_HEADER)
        self._stays_client = ip_address(identity.address).packed < ip_address(peer.address).packed
        self.path_mtu = path_mtu
        self._associations: dict[Ends, Association] = {}
        self._attempts: dict[Ends, Handshake] = {}
        self._draining: dict[Ends, float] = {}
        self._outgoing: list[Outgoing] = []
        self._closed_ports: list[int] = []
        self._final_flight_at = -_FINAL_FLIGHT_PAUSE

    # What the card calls, in the order of a tunnel's life

    def connect(self, now: float) -> None:
        """Traffic wants the tunnel: start an attempt unless one runs, it is up, or must wait its turn."""
        waiting = self.state is TunnelState.BACKING_OFF and now < self.retry_at
        if self.state not in {TunnelState.IDLE, TunnelState.BACKING_OFF} or waiting:
            return
        self._step(TunnelEvent.START)
        self._start_attempt((self._ports.take(), self._settings.port), is_client=True, now=now)

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
        size, count, last = burst.size, burst.count, burst.last
        status, ok = association.open(burst)
        if ok:
            opened.append((burst, status))
        if ok != count:
            for index in np.flatnonzero(status).tolist():
                start = index * burst.stride
                length = last if index == count - 1 else size
                code = RowStatus(int(status[index]))
                if code is RowStatus.CONTROL or burst.buffer[start] == HANDSHAKE:
                    raw = burst.buffer[start : start + length].tobytes()
                    self._receive_control(association, raw, ends, burst.mark, opened, now)
                else:
                    self._drop(DROPPED[code], 1, burst.mark)
        return opened

    def timeout(self) -> float | None:
        """When `handle_timeout` wants to be called, or None."""
        moments = [
            attempt.timeout_at for attempt in self._attempts.values() if attempt.timeout_at is not None
        ]
        moments += self._draining.values()
        return min(moments, default=None)

    def handle_timeout(self, now: float) -> None:
        """Retransmit, give up, and let go of drained associations."""
        for ends, attempt in list(self._attempts.items()):
            attempt.handle_timeout(now)
            self._settle(ends, attempt, [], now)
        for ends in [ends for ends, until in self._draining.items() if now >= until]:
            self._forget(ends)

    def close(self) -> None:
        """Say close_notify on every association, overwrite all keys, end every attempt."""
        for ends, association in list(self._associations.items()):
            self._queue(ends, association.close())
            self._forget(ends)
        for ends, attempt in list(self._attempts.items()):
            attempt.abandon("closed")
            self._end_attempt(ends)
        self.active = None
        self._step(TunnelEvent.CLOSE)

    def take_outgoing(self) -> list[Outgoing]:
        """Datagrams to send now; they are handed out once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def take_closed_ports(self) -> list[int]:
        """Local ports that are no longer in use; they are handed out once."""
        ports, self._closed_ports = self._closed_ports, []
        return ports

    # Attempts

    def _start_attempt(self, ends: Ends, *, is_client: bool, now: float) -> Handshake:
        attempt = Handshake(
            self._identity.contexts,
            is_client=is_client,
            peer_name=self.peer.name,
            peer_address=(self.peer.address, ends[1]),
            ca_certificate=self.peer.ca_certificate,
            wall_clock=self._identity.wall_start + self._identity.clock(now),
            mtu=self.path_mtu - self._outer_headers,
            settings=self._settings,
            keep_connection=self._backend.needs_connection,
            now=now,
        )
        self._attempts[ends] = attempt
        self._settle(ends, attempt, [], now)
        return attempt

    def _receive_attempt(
        self, datagram: bytes, ends: Ends, mark: int, opened: list[Opened], now: float
    ) -> None:
        """A datagram for ends that no association has, or for a challenger of the one that has them."""
        attempt = self._attempts.get(ends)
        if attempt is None:
            refusal = self._refuse(datagram, ends)
            if refusal is not None:
                self._drop(refusal, 1, mark)
                return
            attempt = self._start_attempt(ends, is_client=False, now=now)
        noise = attempt.noise
        attempt.receive(datagram, now)
        if attempt.noise > noise:
            self._drop(DropReason.HANDSHAKE_NOISE, 1, mark)
        else:
            self.control += 1
        self._settle(ends, attempt, opened, now)

    def _refuse(self, datagram: bytes, ends: Ends) -> DropReason | None:
        """Why no attempt is started for a datagram, None when it is: only a ClientHello starts one."""
        records = pull_records_untrusted(datagram)
        if not records:
            return DropReason.BAD_DATAGRAM
        record = records[0]
        if record.header.epoch:
            return DropReason.NO_ASSOCIATION
        if ends[0] != self._settings.port or not _is_client_hello(record):
            return DropReason.HANDSHAKE_NOISE
        if self.state is TunnelState.CLOSED:
            return DropReason.NO_ASSOCIATION
        if self._stays_client and any(attempt.is_client for attempt in self._attempts.values()):
            return DropReason.HANDSHAKE_NOISE
        if sum(not attempt.is_client for attempt in self._attempts.values()) < self._settings.half_open_limit:
            return None
        # The oldest that never brought its cookie back makes room: a flood must not lock a real peer out.
        for other, attempt in self._attempts.items():
            if not attempt.peer_proven:
                attempt.abandon("made room for another")
                self._end_attempt(other)
                return None
        return DropReason.HALF_OPEN_LIMIT

    def _settle(self, ends: Ends, attempt: Handshake, opened: list[Opened], now: float) -> None:
        """Carry out what an attempt came to."""
        for datagram in attempt.take_datagrams():
            self._queue(ends, datagram)
        if attempt.established is not None:
            self._establish(ends, attempt, opened, now)
        elif attempt.failure:
            self._end_attempt(ends)
            if attempt.peer_proven and not self._running():
                self._fail(attempt.failure, now)
        elif attempt.peer_proven and self.state in {TunnelState.IDLE, TunnelState.BACKING_OFF}:
            self._step(TunnelEvent.START)

    def _establish(self, ends: Ends, attempt: Handshake, opened: list[Opened], now: float) -> None:
        assert attempt.established is not None
        assert attempt.finished is not None
        early = attempt.early
        del self._attempts[ends]
        if ends in self._associations:  # the peer restarted and has proven itself on the same ports
            self._associations[ends].close()
            self._draining.pop(ends, None)
        association = Association(
            attempt.established,
            self._backend,
            attempt.finished,
            is_client=attempt.is_client,
            local_port=ends[0],
            remote_port=ends[1],
            replay_window=self._settings.replay_window,
            now=now,
        )
        for other in self._associations:
            self._draining.setdefault(other, now + _DRAIN)
        self._associations[ends] = association
        self.active = association
        self.failure = ""
        self._backoff = self._settings.retry_backoff
        self.handshakes += 1
        self.last_handshake = now - attempt.started_at
        self._step(TunnelEvent.ESTABLISHED)
        for rival_ends, rival in list(self._attempts.items()):
            if rival.is_client:
                rival.abandon("the peer's own attempt was first")
                self._end_attempt(rival_ends)
        self.extra_records += len(early)
        for record in early:
            opened += self.receive(Burst.from_packets([record]), *ends, now)

    def _running(self) -> bool:
        return any(attempt.peer_proven for attempt in self._attempts.values())

    def _fail(self, reason: str, now: float) -> None:
        self.failure = reason
        if self.state is TunnelState.HANDSHAKING:
            self.retry_at = now + self._backoff
            self._backoff = min(self._backoff * 2, self._settings.longest_backoff)
        self._step(TunnelEvent.FAILED)

    def _end_attempt(self, ends: Ends) -> None:
        del self._attempts[ends]
        self._release_port(ends)

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
        challenger = self._attempts.get(ends)
        records = pull_records_untrusted(datagram)
        self.extra_records += len(records) - 1
        for record in records:
            raw = bytes(record.record)
            if record.header.epoch == 0 and (challenger is not None or _is_client_hello(record)):
                self._receive_attempt(raw, ends, mark, opened, now)
            elif record.header.epoch == 0:
                self._drop(DropReason.WRONG_EPOCH, 1, mark)
            elif record.header.content_type == APPLICATION_DATA:
                single = Burst.from_packets([raw], mark=mark)
                status, ok = association.open(single)
                if ok:
                    opened.append((single, status))
                else:
                    self._drop(DROPPED[RowStatus(int(status[0]))], 1, mark)
            else:
                verdict, plaintext = association.open_control(raw)
                if verdict is RowStatus.OK:
                    self._receive_authentic(
                        association, record.header.content_type, plaintext, ends, mark, now
                    )
                elif challenger is not None:
                    self._receive_attempt(raw, ends, mark, opened, now)
                else:
                    self._drop(DROPPED[verdict], 1, mark)

    def _receive_authentic(
        self, association: Association, content_type: int, plaintext: bytes, ends: Ends, mark: int, now: float
    ) -> None:
        if content_type == ALERT and len(plaintext) == 2:
            self.control += 1
            if plaintext[1] == 0 or plaintext[0] == 2:  # close_notify is answered, a fatal alert is not
                notice = association.close()
                self._queue(ends, notice if plaintext[1] == 0 else b"")
                self._lose(ends)
        elif content_type == HANDSHAKE and not association.is_client:
            self.control += 1
            if now - self._final_flight_at >= _FINAL_FLIGHT_PAUSE:
                self._final_flight_at = now
                self._queue(ends, association.final_flight())
        else:
            self._drop(DropReason.UNEXPECTED_CONTENT, 1, mark)

    def _lose(self, ends: Ends) -> None:
        """An association ended by its peer."""
        was_active = self.active is self._associations[ends]
        self._forget(ends)
        if was_active:
            self.active = None
            self._step(TunnelEvent.LOST)

    def _forget(self, ends: Ends) -> None:
        self._associations.pop(ends).close()
        self._draining.pop(ends, None)
        self._release_port(ends)

    def _release_port(self, ends: Ends) -> None:
        if ends[0] != self._settings.port:
            self._ports.give_back(ends[0])
            self._closed_ports.append(ends[0])

    def _queue(self, ends: Ends, datagram: bytes) -> None:
        if datagram:
            self._outgoing.append(Outgoing(*ends, datagram))

    def _step(self, event: TunnelEvent) -> None:
        self.state = next_state(self.state, event)


def _is_client_hello(record: RecordView) -> bool:
    if record.header.content_type != HANDSHAKE or record.header.epoch:
        return False
    header = pull_handshake_header(record.fragment)
    return header is not None and header.message_type == CLIENT_HELLO
