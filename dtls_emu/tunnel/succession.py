"""Which association of a tunnel seals, what follows from what is heard, and when nothing is.

*Who seals.* The newest association that the peer is known to have. A client knows with the last flight, and seals
at once. A server whose last flight may be lost goes on with the old association until it hears its client on the new
one, however long that takes; the client confirms its keys at once (:mod:`dtls_emu.tunnel.confirmation`). Neither
closes the old association before it has heard the other on the new one. If the old key reaches its limit first,
packets wait, and the server begins an attempt of its own: as the client of that it needs no confirmation.

*A peer presumed dead.* Nothing was heard of it for a while, and a new handshake has failed. Its keys seal nothing
any more, but are kept for a while, to open with: a record that verifies shows that the peer lives, and the association
goes on.

It knows associations, but neither where their keys come from nor datagrams.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from dtls_emu.tunnel.associations import Associations
from dtls_emu.tunnel.confirmation import Confirmation
from dtls_emu.tunnel.happenings import Rekeyed, StateChanged
from dtls_emu.tunnel.liveness import Liveness
from dtls_emu.tunnel.retry import Retry
from dtls_emu.tunnel.states import TunnelEvent, TunnelState, next_state


if TYPE_CHECKING:
    from dtls_emu.tunnel.association import Association
    from dtls_emu.tunnel.happenings import Ends
    from dtls_emu.tunnel.journal import Journal
    from dtls_emu.tunnel.ports import LocalPorts
    from dtls_emu.tunnel.settings import TunnelSettings


__all__ = ["ATTEMPTING", "SEALING", "Succession"]

ATTEMPTING: Final = frozenset({TunnelState.HANDSHAKING, TunnelState.REKEYING})
"""States in which an attempt runs that the tunnel waits for."""

SEALING: Final = frozenset({TunnelState.UP, TunnelState.REKEYING})
"""States in which keys are in force."""

_ENDING: Final = frozenset({TunnelState.CLOSING, TunnelState.CLOSED})


class Succession:
    """The associations of one tunnel, and its state.

    Fields:
        state: see :mod:`dtls_emu.tunnel.states`.
        failure: why the last attempt failed, or the last association ended; "" again once an association is up, or
            when an attempt begins that knows nothing of the peer any more.
        associations: all that are alive.
        liveness, retry, confirmation: timers.
    """

    def __init__(
        self, settings: TunnelSettings, ports: LocalPorts, journal: Journal, session_idle: float = inf
    ) -> None:
        """
        Args:
            settings: knobs.
            ports: of the tunnel.
            journal: likewise.
            session_idle: seconds without data after which the keys in force are over.
        """
        self.state = TunnelState.IDLE
        self.failure = ""
        self.associations = Associations()
        self.liveness = Liveness(settings)
        self.retry = Retry(settings)
        self.confirmation = Confirmation(settings)
        self._settings = settings
        self._ports = ports
        self._journal = journal
        self._session_idle = session_idle
        self._in_force: Ends | None = None  # ports of the association that seals
        self._is_suspect = False  # nothing was heard for too long; an attempt is to show whether it is dead
        self._is_given_up = False  # it failed: the peer is presumed dead, and its keys are set aside

    # Questions

    def room(self) -> int:
        """How many packets may be sealed right now."""
        association = self.associations.active
        return 0 if association is None else association.room()

    @property
    def active(self) -> Association | None:
        """The association that seals, or None."""
        return self.associations.active

    @property
    def steady(self) -> Association | None:
        """The association that seals, while nothing but traffic is to be expected of it: for the fast path."""
        return self.active if self.state in SEALING and not self._is_suspect else None

    @property
    def is_ending(self) -> bool:
        """Whether it was closed by this end: it never seals again."""
        return self.state in _ENDING

    def has_failed(self, now: float) -> bool:
        """Whether the last that is known of the peer is that there is no tunnel to it.

        That is old once nobody has wanted the tunnel for long: the next packet asks anew, and waits for the answer.
        """
        if self.active is not None or not self.failure or self.is_ending or self.state is TunnelState.IDLE:
            return False
        return self.state is not TunnelState.BACKING_OFF or now < self.retry.believed_until

    def is_pausing(self, now: float) -> bool:
        """Whether the last attempt failed, and the next may not begin yet."""
        return self.state is TunnelState.BACKING_OFF and now < self.retry.at

    # What happens

    def begin_attempt(self, now: float) -> None:
        """An attempt begins that the tunnel waits for."""
        if self.active is None and not self.has_failed(now):
            self.failure = ""
        self.step(TunnelEvent.START)

    def fail_attempt(self, reason: str, now: float) -> None:
        """The last running attempt failed."""
        if self.state not in ATTEMPTING:
            return
        self.failure = reason
        self._journal.fail()
        self.retry.failed(now)
        if self._is_suspect:
            self._presume_dead(now)
        self.step(TunnelEvent.FAILED)

    def replace(self, ends: Ends) -> None:
        """The peer has restarted, and has proven itself on the ports of an association of before: that one goes."""
        former = self.associations.get(ends)
        if former is not None:
            self._discard(former)

    def enter(self, association: Association, now: float) -> None:
        """A fresh association stands."""
        replaces = len(self.associations) > 0
        self.associations.add(association)
        self.failure = ""
        self._is_suspect = self._is_given_up = False
        if association.is_client or self.active is None:
            self.retry.succeeded(now)
            self._promote(association)
            if association.is_client:
                self.send_empty(association)
                self.confirmation.begin(now, repeat=replaces)
        else:
            self.retry.succeeded(now + self._settings.confirm_timeout)
            association.answered = association.next_sequence  # the first confirmation is to be answered
            self._journal.touched = True
        # What the peer has sealed with the surplus is under way; its keys open it, as those of any that was left.
        self.associations.drain_surplus(now + self._settings.drain)
        for each in self.associations.beyond_count():
            self._forget(each)
        self.step(TunnelEvent.ESTABLISHED)

    def hear(self, association: Association, now: float, *, data: bool, seals: bool = True) -> None:
        """Something authentic came in.

        Args:
            association: under its keys.
            now: seconds.
            data: it was not empty.
            seals: it shows that the peer seals with these keys: a repeated flight, for one, does not.
        """
        is_active = association is self.associations.active
        if self.liveness.heard(now, data=data, answers=is_active):
            self._journal.touched = True
        if is_active and association.confirmed and not self._is_suspect:
            return
        if is_active and self._is_suspect:
            self._is_suspect = False
            self._journal.touched = True
        if seals and not self.is_ending and not (is_active and association.confirmed):
            self._follow(association, now)

    def confirm_again(self, now: float) -> None:
        """Records come under other keys than ours: perhaps the server does not know yet that we have these."""
        active = self.active
        if active is None or not active.is_client or active.confirmed:
            return
        if self.confirmation.may_send_again(now):
            self.send_empty(active)

    def lose(self, association: Association, *, say_goodbye: bool = False) -> None:
        """An association is over: overwrite its keys."""
        if say_goodbye:
            self._journal.send(association.ends, association.close_notify())
        was_active = association is self.active
        self._discard(association)
        self._ports.release(association.ends[0])
        if not was_active:
            return
        self.confirmation.end()
        if self.associations.succeed():
            self._change_keys()
        else:
            self._put_out_of_force()

    def send_empty(self, association: Association | None) -> None:
        """Send a record without data, where there is an association for it: we are here, and hold these keys."""
        if association is not None:
            self._journal.send(association.ends, association.empty_record())

    def close(self, now: float) -> None:
        """Say close_notify on every association and stop sealing; keys go when the peer answers, or after a while."""
        self.retry.is_wanted = self._is_suspect = self._is_given_up = False
        self.confirmation.end()
        self.liveness.reset()
        for association in self.associations:
            self._journal.send(association.ends, association.close_notify())
            if self.state not in SEALING:  # nobody waits for the answer
                self._discard(association)
                self._ports.release(association.ends[0])
        self.associations.drain_all(now + self._settings.confirm_timeout)
        self._change_keys()
        self.step(TunnelEvent.CLOSE)

    def abort(self) -> None:
        """Overwrite all keys now."""
        self.confirmation.end()
        self.retry.is_wanted = False
        for association in self.associations:
            self._discard(association)

    def step(self, event: TunnelEvent) -> None:
        """Go to another state, or stay.

        Raises:
            LocalProtocolError: nothing leads from this state by that event.
        """
        before, self.state = self.state, next_state(self.state, event)
        self._journal.touched = True
        if self._journal.is_observed and before is not self.state:
            self._journal.note(StateChanged(before, self.state, event, self.failure))

    # Timers

    def timeout(self) -> float:
        """When `handle_timeout`, or one of the questions below it, wants to be asked; infinity when none does."""
        return min(
            self.liveness.keepalive_at,
            self.liveness.dead_at,
            self.associations.timeout(),
            self.confirmation.repeat_at,
            self._session_end(),
        )

    def handle_timeout(self, now: float) -> None:
        """Confirm again, let go of what is drained, show that we are there."""
        if now >= self.confirmation.repeat_at:
            self.confirmation.repeat(now)
            self.send_empty(self.active)
        for association in self.associations.drained(now):
            self._forget(association)
        if now >= self.liveness.keepalive_at:
            self.liveness.keepalive_at = inf
            self.send_empty(self.active)

    def must_suspect(self, now: float) -> bool:
        """Whether nothing was heard for too long, so that a handshake is to show whether the peer is alive.

        If one runs already it is this one.
        """
        if now < self.liveness.dead_at:
            return False
        self.liveness.dead_at = inf
        self._is_suspect = self.state in SEALING
        self._journal.touched = True
        return self.state is TunnelState.UP

    def end_session(self, now: float) -> None:
        """Discard one-time keys that nobody has used for a while."""
        if self.active is not None and now >= self._session_end():
            self.lose(self.active, say_goodbye=True)

    # Steps of the above

    def _follow(self, association: Association, now: float) -> None:
        """The peer seals with an association: it has that one, and has left those that are older."""
        drained_at = now + self._settings.drain
        if self._is_given_up:  # it lives after all
            self._is_given_up = False
            self.failure = ""
            self.retry.succeeded(now)
            self._promote(association)
            self.step(TunnelEvent.REVIVED)
        elif self.associations.is_successor(association):
            self._promote(association)
        elif association is not self.active:
            self.associations.extend(association, drained_at)
            self.confirm_again(now)
        association.confirmed = True
        if association is self.active:
            self.confirmation.end()
        self.associations.drain_older(association, drained_at)
        self._journal.touched = True

    def _promote(self, association: Association) -> None:
        """From now on this one seals.

        A card decides its flows anew when keys change, so what is heard first on it is not left to compiled code.
        """
        self.associations.seal_with(association)
        self.confirmation.end()
        self.liveness.dead_at = inf
        self._is_suspect = False
        self.retry.is_wanted &= not association.room()
        self._change_keys()

    def _presume_dead(self, now: float) -> None:
        """A handshake has failed that was to show whether it lives: its keys are set aside, and open only."""
        self.associations.set_aside(now + self._settings.hold)
        self._put_out_of_force()
        self._is_given_up = True

    def _put_out_of_force(self) -> None:
        """No association seals any more."""
        self._is_suspect = False
        self.confirmation.end()
        self.liveness.reset()
        self._change_keys()
        self.step(TunnelEvent.LOST)

    def _change_keys(self) -> None:
        self._journal.change_keys()
        before, self._in_force = self._in_force, None if self.active is None else self.active.ends
        if self._journal.is_observed:
            self._journal.note(Rekeyed(self._in_force, before))

    def _forget(self, association: Association) -> None:
        """An association that nobody uses goes, and its peer is told."""
        if self.state is not TunnelState.CLOSING:
            self._journal.send(association.ends, association.close_notify())
        self._discard(association)
        self._ports.release(association.ends[0])

    def _discard(self, association: Association) -> None:
        # Of a peer presumed dead, whatever still comes is a sign of life; otherwise it is late.
        self.associations.discard(association, remember=not self._is_given_up)
        if self.state is TunnelState.CLOSING and not self.associations:
            self.step(TunnelEvent.DRAINED)

    def _session_end(self) -> float:
        if self.active is None:
            return inf
        return max(self.liveness.last_data, self.active.established_at) + self._session_idle
