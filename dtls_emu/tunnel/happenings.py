"""What happens to a tunnel, as whoever observes it is told: small records, built only when somebody does.

Each becomes the event of the same name in :mod:`dtls_emu.events`, which has the time, the host and the name of the peer
besides: a tunnel is told the time with every call, and its card knows both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from dtls_emu.tunnel.states import TunnelEvent, TunnelState


__all__ = [
    "AssociationOpened",
    "Ends",
    "FlightReceived",
    "FlightRetransmitted",
    "FlightSent",
    "Happening",
    "KeysRequested",
    "PortClosed",
    "PortOpened",
    "Rekeyed",
    "StateChanged",
]

Ends = tuple[int, int]
"""Local and remote UDP port of an association."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The tunnel went from one state to another.

    Fields:
        before, after: the states.
        cause: what has moved it.
        failure: why the last attempt failed, or "".
    """

    before: TunnelState
    after: TunnelState
    cause: TunnelEvent
    failure: str


@dataclass(frozen=True, slots=True)
class FlightSent:
    """A flight of a handshake went out (RFC 6347 4.2.4).

    Fields:
        association: ports of the attempt.
        datagrams, nbytes: how many, and bytes of UDP payload together.
    """

    association: Ends
    datagrams: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class FlightRetransmitted:
    """A flight went out again: nothing has answered it in time, or the peer has repeated its own.

    Fields:
        association, datagrams, nbytes: as in :class:`FlightSent`.
        retransmission: 1, 2, ...
    """

    association: Ends
    datagrams: int
    nbytes: int
    retransmission: int


@dataclass(frozen=True, slots=True)
class FlightReceived:
    """A datagram of a handshake came in: a flight, or a part of it. A hello without a cookie is none yet."""

    association: Ends
    datagrams: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class AssociationOpened:
    """A fresh association stands.

    Fields:
        association: its ports.
        client: this end was the client of the handshake, or has asked the broker.
        number: how many there have been, with this one.
    """

    association: Ends
    client: bool
    number: int


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """From now on other keys seal.

    Fields:
        association: ports of the one whose keys are in force; None when none are.
        replaces: likewise before.
    """

    association: Ends | None
    replaces: Ends | None


@dataclass(frozen=True, slots=True)
class KeysRequested:
    """A broker's session keys are wanted for this local port."""

    port: int


@dataclass(frozen=True, slots=True)
class PortOpened:
    """A local port was taken for an attempt."""

    port: int


@dataclass(frozen=True, slots=True)
class PortClosed:
    """A local port is no longer in use."""

    port: int


Happening = (
    StateChanged
    | FlightSent
    | FlightRetransmitted
    | FlightReceived
    | AssociationOpened
    | Rekeyed
    | KeysRequested
    | PortOpened
    | PortClosed
)
