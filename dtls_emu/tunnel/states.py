"""The life of a tunnel as a table, so that code, tests and the documentation's diagram have one source."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from dtls_emu.errors import LocalProtocolError


__all__ = ["TRANSITIONS", "TunnelEvent", "TunnelState", "next_state"]


class TunnelState(StrEnum):
    """What a tunnel is doing."""

    IDLE = "idle"  # nothing has wanted it yet, or its peer has closed it
    HANDSHAKING = "handshaking"  # an attempt runs, ours or the peer's; no keys are in force
    UP = "up"  # keys are in force
    REKEYING = "rekeying"  # the same, and an attempt for the next ones runs
    BACKING_OFF = "backing-off"  # the last attempt failed; the next waits its turn
    CLOSING = "closing"  # close_notify is sent; records under way are still opened
    CLOSED = "closed"  # for good; every key is overwritten


class TunnelEvent(StrEnum):
    """What moves it."""

    START = "start"  # an attempt begins: traffic wants the tunnel, a key is worn, or the peer asks
    ESTABLISHED = "established"  # an attempt ended well
    FAILED = "failed"  # the last running attempt failed
    LOST = "lost"  # no association seals any more: closed by the peer, presumed dead, or forged at too often
    REVIVED = "revived"  # the peer was presumed dead, and is heard under keys that are still there
    CLOSE = "close"  # we close
    DRAINED = "drained"  # the peer has answered, or its time is over


_S, _E = TunnelState, TunnelEvent

TRANSITIONS: Final[dict[tuple[TunnelState, TunnelEvent], TunnelState]] = {
    (_S.IDLE, _E.START): _S.HANDSHAKING,
    (_S.IDLE, _E.ESTABLISHED): _S.UP,  # a broker's keys
    (_S.IDLE, _E.CLOSE): _S.CLOSED,
    (_S.HANDSHAKING, _E.ESTABLISHED): _S.UP,
    (_S.HANDSHAKING, _E.FAILED): _S.BACKING_OFF,
    (_S.HANDSHAKING, _E.REVIVED): _S.REKEYING,
    (_S.HANDSHAKING, _E.CLOSE): _S.CLOSED,
    (_S.UP, _E.START): _S.REKEYING,
    (_S.UP, _E.ESTABLISHED): _S.UP,
    (_S.UP, _E.LOST): _S.IDLE,
    (_S.UP, _E.CLOSE): _S.CLOSING,
    (_S.REKEYING, _E.ESTABLISHED): _S.UP,
    (_S.REKEYING, _E.FAILED): _S.UP,
    (_S.REKEYING, _E.LOST): _S.HANDSHAKING,
    (_S.REKEYING, _E.CLOSE): _S.CLOSING,
    (_S.BACKING_OFF, _E.START): _S.HANDSHAKING,
    (_S.BACKING_OFF, _E.ESTABLISHED): _S.UP,
    (_S.BACKING_OFF, _E.REVIVED): _S.UP,
    (_S.BACKING_OFF, _E.CLOSE): _S.CLOSED,
    (_S.CLOSING, _E.LOST): _S.CLOSING,
    (_S.CLOSING, _E.DRAINED): _S.CLOSED,
    (_S.CLOSED, _E.CLOSE): _S.CLOSED,
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
