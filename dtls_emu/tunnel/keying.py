"""Where a tunnel's keys come from: one protocol, and what it tells the tunnel.

Two sources implement it: a DTLS handshake (:mod:`dtls_emu.tunnel.handshake_keys`) and a broker's one-time keys
(:mod:`dtls_emu.tunnel.broker_keys`). The tunnel knows neither. It chooses the local port of each attempt of its own
and hears at the end that there are keys, or why not; what a source sends, asks for or drops meanwhile goes into the
journal that it shares with the tunnel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from dtls_emu.vocabulary import DropReason


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.crypto.backend import Established
    from dtls_emu.tunnel.finished import Finished
    from dtls_emu.tunnel.happenings import Ends
    from dtls_emu.tunnel.session_keys import SessionKeys


__all__ = ["AttemptFailed", "Begun", "KeySource", "NewKeys", "Result", "Verdict"]


class NewKeys(NamedTuple):
    """An attempt ended well.

    Fields:
        ends: ports of the association to be.
        established: its keys.
        finished: to repeat the last flight of its handshake with; None where there was no handshake.
        is_client: which side of it this end was.
        started_at: when the attempt began, in seconds.
        early: protected records that came before their keys, each with its mark, to be received now.
    """

    ends: Ends
    established: Established
    finished: Finished | None
    is_client: bool
    started_at: float
    early: Sequence[tuple[bytes, int]] = ()


class AttemptFailed(NamedTuple):
    """The last running attempt failed, and why."""

    reason: str


Result = NewKeys | AttemptFailed | None
"""What a call of a source came to; None while nothing is decided."""


class Begun(NamedTuple):
    """An attempt of the peer's has begun, and what it has come to so far."""

    result: Result


Verdict = DropReason | bytes | Begun | None
"""Of a datagram for ports that nothing is known of: why it is dropped; or a datagram to answer with, of which nothing
is kept; or that an attempt has begun; or None where it is passed over, because an attempt of our own has precedence."""


class KeySource(Protocol):
    """Makes keys. Ends are pairs of a local and a remote port; times are in seconds.

    Fields:
        mtu: UDP payload bytes that the path carries; may change at any time.
        session_idle: seconds without data after which an association's keys are over; infinity for no such limit.
    """

    mtu: int
    session_idle: float

    @property
    def is_asking(self) -> bool:
        """Whether it has asked for keys that may come yet, so that there is no sense in asking again."""

    @property
    def is_running(self) -> bool:
        """Whether an attempt is under way, ours or the peer's."""

    def begin(self, port: int, now: float) -> Result:
        """Begin an attempt of our own from this local port; the source gives the port back when it fails."""

    def give_up(self, port: int) -> bool:
        """A local port cannot be opened: end the attempt that has it. Whether there was one."""

    def withdraw(self, reason: str) -> None:
        """The peer's attempt was first: end those of our own that it makes pointless."""

    def close(self) -> None:
        """End every attempt."""

    def owns(self, ends: Ends) -> bool:
        """Whether an attempt that runs has these ends."""

    def has_failed(self, ends: Ends) -> bool:
        """Whether one that had these ends failed lately: what its peer sealed may still come."""

    def receive(self, datagram: bytes, ends: Ends, mark: int, now: float) -> Result:
        """A datagram for an attempt that runs. Never raises for its content."""

    def meet(self, datagram: bytes, ends: Ends, now: float) -> Verdict:
        """A datagram for ends that neither an attempt nor an association has. Never raises for its content."""

    def install(self, keys: SessionKeys, now: float) -> NewKeys:
        """Take keys that somebody else has made; they are overwritten in `keys`, also when they are refused.

        Raises:
            LocalProtocolError: this source makes its own, or they are spent, or were not asked for.
        """

    def timeout(self) -> float:
        """When `handle_timeout` wants to be called; infinity when it does not."""

    def handle_timeout(self, now: float) -> Result:
        """Retransmit, or give up."""
