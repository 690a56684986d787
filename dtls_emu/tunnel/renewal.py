"""How a tunnel comes to its next association: when an attempt begins, on which port, and what becomes of it.

An end of our own takes a fresh local port and goes to the peer's tunnel port; so two associations of one pair of hosts
never share a 4-tuple, and a new one comes up before the old one goes.

*A failed attempt* is always followed by a pause, whatever the state. While packets wait the next attempt begins by
itself; so a tunnel for which packets wait has a timer in every state.

*A restarted peer.* It may use a 4-tuple again that a live association has. That one is given up when the new
keys are proven, not before (RFC 6347 4.2.8).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dtls_emu.tunnel.association import Association
from dtls_emu.tunnel.happenings import AssociationOpened
from dtls_emu.tunnel.keying import NewKeys
from dtls_emu.tunnel.ports import PORT_TRIES
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.tunnel.succession import ATTEMPTING, SEALING


if TYPE_CHECKING:
    from dtls_emu.crypto.backend import Backend
    from dtls_emu.tunnel.journal import Journal
    from dtls_emu.tunnel.keying import KeySource, Result
    from dtls_emu.tunnel.ports import LocalPorts
    from dtls_emu.tunnel.settings import TunnelSettings
    from dtls_emu.tunnel.succession import Succession


__all__ = ["Renewal"]


class Renewal:
    """The attempts of one tunnel, wherever its keys come from.

    Fields:
        handshakes: associations that came up.
        last_handshake: seconds the last one took.
    """

    def __init__(
        self,
        source: KeySource,
        succession: Succession,
        backend: Backend,
        settings: TunnelSettings,
        ports: LocalPorts,
        journal: Journal,
    ) -> None:
        """
        Args:
            source: makes keys.
            succession: gets the associations.
            backend: seals and opens.
            settings: knobs.
            ports: of the tunnel.
            journal: likewise.
        """
        self.handshakes = 0
        self.last_handshake = 0.0
        self._source = source
        self._succession = succession
        self._backend = backend
        self._settings = settings
        self._ports = ports
        self._journal = journal
        self._refused_ports = 0  # of this attempt, that could not be opened

    def want(self, now: float, *, waiting: bool = False) -> None:
        """Traffic wants the tunnel, and it has no room: start an attempt unless one runs or must wait its turn."""
        succession = self._succession
        if succession.room() or succession.is_ending:
            return
        succession.retry.is_wanted |= waiting
        self._journal.touched = True
        state = succession.state
        if state is TunnelState.IDLE or (state not in ATTEMPTING and now >= succession.retry.at):
            self.start(now)

    def start(self, now: float) -> None:
        """Begin an attempt of our own."""
        self._succession.begin_attempt(now)
        if not self._source.is_asking:
            self._refused_ports = 0
            self._begin(now)

    def start_elsewhere(self, now: float) -> None:
        """The attempt has no port, because it cannot be opened: take another one."""
        self._refused_ports += 1
        if self._refused_ports < PORT_TRIES:
            self._begin(now)
        elif not self._source.is_running:
            self._succession.fail_attempt(f"none of {PORT_TRIES} UDP ports can be opened", now)

    def start_by_peer(self, result: Result, now: float) -> None:
        """An attempt of the peer's has begun.

        A live tunnel stays what it is: whoever can repeat a hello with its cookie changes nothing by it.
        """
        if self._succession.state in {TunnelState.IDLE, TunnelState.BACKING_OFF}:
            self._succession.begin_attempt(now)
        self.apply(result, now)

    def start_when_worn(self, association: Association, now: float) -> None:
        """An association has sealed: it may near a limit of its key."""
        succession = self._succession
        if association.worn and succession.state is TunnelState.UP and now >= succession.retry.at:
            self.start(now)

    def heed_unknown(self, now: float) -> None:
        """The peer, or anybody, seals with keys of which nobody here knows: this host may have restarted."""
        succession = self._succession
        if succession.state in SEALING:
            succession.confirm_again(now)
        elif succession.state is TunnelState.BACKING_OFF:
            if now >= succession.retry.at or succession.retry.hint(now):
                self.start(now)
        elif not self.handshakes:
            self.want(now)

    def apply(self, result: Result, now: float) -> None:
        """Carry out what a call of the source came to. Early records are left to whoever receives."""
        if result is None:
            return
        if isinstance(result, NewKeys):
            self._add(result, now)
        else:
            self._succession.fail_attempt(result.reason, now)

    def timeout(self) -> float:
        """When `handle_timeout` wants to be called; infinity when it does not."""
        return min(self._source.timeout(), self._due())

    def handle_timeout(self, now: float) -> None:
        """Let attempts retransmit, or give up."""
        self.apply(self._source.handle_timeout(now), now)

    def start_due(self, now: float) -> None:
        """Begin an attempt whose time has come."""
        if now >= self._due():
            self.start(now)

    def _begin(self, now: float) -> None:
        self.apply(self._source.begin(self._ports.take(), now), now)

    def _add(self, keys: NewKeys, now: float) -> None:
        """A fresh association stands."""
        self._succession.replace(keys.ends)
        association = Association(
            keys.established,
            self._backend,
            keys.finished,
            self._settings,
            is_client=keys.is_client,
            ends=keys.ends,
            now=now,
        )
        self.handshakes += 1
        self.last_handshake = now - keys.started_at
        if self._journal.is_observed:
            self._journal.note(AssociationOpened(keys.ends, keys.is_client, self.handshakes))
        self._source.withdraw("the peer's own attempt was first")
        self._succession.enter(association, now)

    def _due(self) -> float:
        """When an attempt begins by itself: packets wait for it, or the active association is too old.

        Its age is its client's business, so that only one end begins.
        """
        succession, active = self._succession, self._succession.active
        due = inf
        if succession.retry.is_wanted and not succession.is_ending and succession.state not in ATTEMPTING:
            due = succession.retry.at
        if (
            self._settings.rekey_seconds
            and active is not None
            and active.is_client
            and succession.state is TunnelState.UP
        ):
            due = min(due, max(active.established_at + self._settings.rekey_seconds, succession.retry.at))
        return due
