"""What happens to a tunnel, as whoever observes it is told: small records, built only when somebody does.

Times and hosts are the observer's to add: a tunnel is told the time with every call, and its card knows both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from dtls_emu.tunnel.outcome import Ends
    from dtls_emu.tunnel.states import TunnelEvent, TunnelState


__all__ = [
    "FlightReceived",
    "FlightSent",
    "Happening",
    "KeysEstablished",
    "KeysInForce",
    "KeysRequested",
    "PortClosed",
    "PortOpened",
    "StateChanged",
]


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The tunnel went from one state to another; a rekey begins with the step from UP to REKEYING."""

    before: TunnelState
    after: TunnelState
    cause: TunnelEvent


@dataclass(frozen=True, slots=True)
class FlightSent:
    """A handshake's flight went out, or a part of it (RFC 6347 4.2.4).

    Fields:
        ends: ports of the attempt.
        datagrams, nbytes: how many, and bytes of UDP payload together.
        retransmission: 0 for the first sending, then 1, 2, ...
    """

    ends: Ends
    datagrams: int
    nbytes: int
    retransmission: int


@dataclass(frozen=True, slots=True)
class FlightReceived:
    """A datagram of a handshake came in; of ports that no attempt has yet, it is a hello."""

    ends: Ends
    nbytes: int


@dataclass(frozen=True, slots=True)
class KeysEstablished:
    """A fresh association stands.

    Fields:
        ends: its ports.
        is_client: which side of it this end is.
        number: how many there have been, with this one; from the second on it is a rekey.
    """

    ends: Ends
    is_client: bool
    number: int


@dataclass(frozen=True, slots=True)
class KeysInForce:
    """From now on the association with these ports seals; None when none does."""

    ends: Ends | None


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
    | FlightReceived
    | KeysEstablished
    | KeysInForce
    | KeysRequested
    | PortOpened
    | PortClosed
)
