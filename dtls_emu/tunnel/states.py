"""The life of a tunnel as a table, so that code, tests and the documentation's diagram have one source."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from dtls_emu.errors import LocalProtocolError


__all__ = ["TRANSITIONS", "TunnelEvent", "TunnelState", "next_state"]


class TunnelState(StrEnum):
    """What a tunnel is doing."""

    IDLE = "idle"  # no traffic has wanted it yet
    HANDSHAKING = "handshaking"  # an attempt runs, ours or the peer's
    UP = "up"  # keys are in force
    BACKING_OFF = "backing-off"  # an attempt failed; the next waits its turn
    CLOSED = "closed"  # by us, for good


class TunnelEvent(StrEnum):
    """What moves it."""

    START = "start"  # traffic wants it, or the peer proved its address in a handshake
    ESTABLISHED = "established"  # a handshake ended well
    FAILED = "failed"  # the last running attempt failed
    LOST = "lost"  # the peer closed the last association
    CLOSE = "close"  # we close


TRANSITIONS: Final[dict[tuple[TunnelState, TunnelEvent], TunnelState]] = {
    (TunnelState.IDLE, TunnelEvent.START): TunnelState.HANDSHAKING,
    (TunnelState.IDLE, TunnelEvent.ESTABLISHED): TunnelState.UP,
    (TunnelState.IDLE, TunnelEvent.CLOSE): TunnelState.CLOSED,
    (TunnelState.HANDSHAKING, TunnelEvent.START): TunnelState.HANDSHAKING,
    (TunnelState.HANDSHAKING, TunnelEvent.ESTABLISHED): TunnelState.UP,
    (TunnelState.HANDSHAKING, TunnelEvent.FAILED): TunnelState.BACKING_OFF,
    (TunnelState.HANDSHAKING, TunnelEvent.CLOSE): TunnelState.CLOSED,
    (TunnelState.UP, TunnelEvent.START): TunnelState.UP,
    (TunnelState.UP, TunnelEvent.ESTABLISHED): TunnelState.UP,
    (TunnelState.UP, TunnelEvent.FAILED): TunnelState.UP,
    (TunnelState.UP, TunnelEvent.LOST): TunnelState.IDLE,
    (TunnelState.UP, TunnelEvent.CLOSE): TunnelState.CLOSED,
    (TunnelState.BACKING_OFF, TunnelEvent.START): TunnelState.HANDSHAKING,
    (TunnelState.BACKING_OFF, TunnelEvent.ESTABLISHED): TunnelState.UP,
    (TunnelState.BACKING_OFF, TunnelEvent.CLOSE): TunnelState.CLOSED,
    (TunnelState.CLOSED, TunnelEvent.CLOSE): TunnelState.CLOSED,
}


def next_state(state: TunnelState, event: TunnelEvent) -> TunnelState:
    """Where an event leads.

    Raises:
        LocalProtocolError: the table has no such transition.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise LocalProtocolError(f"a tunnel that is {state} cannot take {event}") from None
