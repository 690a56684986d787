"""Which association of a tunnel seals, what follows from what is heard, and when nothing is.

The rules are in :mod:`dtls_emu.tunnel.tunnel`; here is what they do to associations, without a look at datagrams.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from dtls_emu.tunnel.associations import Associations
from dtls_emu.tunnel.confirmation import Confirmation
from dtls_emu.tunnel.exchange import Outgoing
from dtls_emu.tunnel.liveness import Liveness
from dtls_emu.tunnel.retry import Retry
from dtls_emu.tunnel.states import TunnelEvent, TunnelState, next_state


if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from dtls_emu.tunnel.association import Association
    from dtls_emu.tunnel.attempts import Ends
    from dtls_emu.tunnel.ports import PortAllocator
    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["Succession"]

_SEALING: Final = frozenset({TunnelState.UP, TunnelState.REKEYING})
_ENDING: Final = frozenset({TunnelState.CLOSING, TunnelState.CLOSED})


class Succession:
    """The part of a tunnel that knows associations, but neither handshakes nor datagrams.

    Fields:
        state, failure, failures, changes, touched: as in :class:`~dtls_emu.tunnel.tunnel.Tunnel`.
    """

    def __init__(self, settings: TunnelSettings, ports: PortAllocator) -> None:
        """
        Args:
            settings: knobs.
            ports: of the whole card.
        """
        self.state = TunnelState.IDLE
        self.failure = ""
        self.failures = 0
        self.changes = 0
        self.touched = False
        self._settings = settings
        self._ports = ports
        self._associations = Associations()
        self._liveness = Liveness(settings)
        self._retry = Retry(settings)
        self._confirmation = Confirmation(settings)
        self._is_suspect = False  # nothing was heard for too long; an attempt is to show whether it is dead
        self._is_given_up = False  # it failed: the peer is presumed dead, and its keys are set aside
        self._outgoing: list[Outgoing] = []
        self._closed_ports: list[int] = []

    def room(self) -> int:
        """How many packets may be sealed right now."""
        association = self._associations.active
        return 0 if association is None else association.room()

    @property
    def active(self) -> Association | None:
        """The association that seals, or None."""
        return self._associations.active

    @property
    def steady(self) -> Association | None:
        """The association that seals, while nothing but traffic is to be expected of it: for the fast path."""
        return self.active if self.state in _SEALING and not self._is_suspect else None

    @property
    def is_ending(self) -> bool:
        """Whether it was closed by this end: it never seals again."""
        return self.state in _ENDING

    @property
    def retry_at(self) -> float:
        """When the next attempt may begin, in seconds, if the last one failed."""
        return self._retry.at

    @property
    def times(self) -> NDArray[np.float64]:
        """When something was sent and heard, see :mod:`dtls_emu.tunnel.liveness`: for the fast path."""
        return self._liveness.times

    def take_outgoing(self) -> list[Outgoing]:
        """Datagrams to send now; they are handed out once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def take_closed_ports(self) -> list[int]:
        """Local ports that are no longer in use; they are handed out once."""
        ports, self._closed_ports = self._closed_ports, []
        return ports

    @property
    def associations(self) -> Iterable[Association]:
        """All that are alive: the one that seals, its successor, and those being drained."""
        return self._associations

    def _enter(self, association: Association, now: float) -> None:
        """A fresh association stands."""
        replaces = len(self._associations) > 0
        self._associations.add(association)
        self.failure = ""
        self._is_suspect = self._is_given_up = False
        if association.is_client or self.active is None:
            self._retry.succeeded(now)
            self._promote(association)
            if association.is_client:
                self._send_empty(association)
                self._confirmation.begin(now, repeat=replaces)
        else:
            self._retry.succeeded(now + self._settings.confirm_timeout)
            association.answered = association.next_sequence  # the first confirmation is to be answered
            self.touched = True
        surplus = self._associations.surplus()
        if surplus is not None:
            self._forget(surplus)

    def _promote(self, association: Association) -> None:
        """From now on this one seals.

        A card decides its flows anew when :attr:`changes` does, so what is heard first on it is not left to compiled code.
        """
        self._associations.seal_with(association)
        self._confirmation.end()
        self._liveness.dead_at = inf
        self._is_suspect = False
        self._retry.is_wanted &= not association.room()
        self.changes += 1
        self.touched = True

    def _hear(self, association: Association, now: float, *, data: bool, seals: bool = True) -> None:
        """Something authentic came in.

        Args:
            association: under its keys.
            now: seconds.
            data: it was not empty.
            seals: it shows that the peer seals with these keys: a repeated flight, for one, does not.
        """
        is_active = association is self._associations.active
        if self._liveness.heard(now, data=data, answers=is_active):
            self.touched = True
        if is_active and association.confirmed and not self._is_suspect:
            return
        if is_active and self._is_suspect:
            self._is_suspect = False
            self.touched = True
        if seals and not self.is_ending and not (is_active and association.confirmed):
            self._follow(association, now)

    def _follow(self, association: Association, now: float) -> None:
        """The peer seals with an association: it has that one, and has left those that are older."""
        drained_at = now + self._settings.drain
        if self._is_given_up:  # it lives after all
            self._is_given_up = False
            self.failure = ""
            self._retry.succeeded(now)
            self._promote(association)
            self._step(TunnelEvent.REVIVED)
        elif self._associations.is_successor(association):
            self._promote(association)
        elif association is not self.active:
            self._associations.extend(association, drained_at)
            self._confirm_again(now)
        association.confirmed = True
        if association is self.active:
            self._confirmation.end()
        self._associations.drain_older(association, drained_at)
        self.touched = True

    def _repeat_confirmation(self, now: float) -> None:
        """The server was not heard on the active association yet."""
        self._confirmation.repeat(now)
        self._send_empty(self.active)

    def _confirm_again(self, now: float) -> None:
        """Records come under other keys than ours: perhaps the server does not know yet that we have these."""
        active = self.active
        if active is None or not active.is_client or active.confirmed:
            return
        if self._confirmation.may_send_again(now):
            self._send_empty(active)

    def _lose(self, association: Association, *, say_goodbye: bool = False) -> None:
        """An association is over: overwrite its keys."""
        if say_goodbye:
            self._queue(association.ends, association.close_notify())
        was_active = association is self.active
        self._discard(association)
        self._release_port(association.ends[0])
        if not was_active:
            return
        self._confirmation.end()
        if self._associations.succeed():
            self.changes += 1
            self.touched = True
            return
        self._put_out_of_force()

    def _presume_dead(self, now: float) -> None:
        """A handshake has failed that was to show whether it lives: its keys are set aside, and open only."""
        self._associations.set_aside(now + self._settings.hold)
        self._put_out_of_force()
        self._is_given_up = True

    def _put_out_of_force(self) -> None:
        """No association seals any more."""
        self._is_suspect = False
        self._confirmation.end()
        self._liveness.reset()
        self.changes += 1
        self._step(TunnelEvent.LOST)

    def _forget(self, association: Association) -> None:
        """An association that nobody uses goes, and its peer is told."""
        if self.state is not TunnelState.CLOSING:
            self._queue(association.ends, association.close_notify())
        self._discard(association)
        self._release_port(association.ends[0])

    def _discard(self, association: Association) -> None:
        # Of a peer presumed dead, whatever still comes is a sign of life; otherwise it is late.
        self._associations.discard(association, remember=not self._is_given_up)
        if self.state is TunnelState.CLOSING and not self._associations:
            self._step(TunnelEvent.DRAINED)

    def _send_empty(self, association: Association | None) -> None:
        if association is not None:
            self._queue(association.ends, association.empty_record())

    def _release_port(self, port: int) -> None:
        if port != self._settings.port:
            self._ports.give_back(port)
            self._closed_ports.append(port)
            self.touched = True

    def _queue(self, ends: Ends, datagram: bytes) -> None:
        if datagram:
            self._outgoing.append(Outgoing(*ends, datagram))
            self.touched = True

    def _step(self, event: TunnelEvent) -> None:
        self.state = next_state(self.state, event)
        self.touched = True
