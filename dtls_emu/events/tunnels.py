"""What happens to tunnels, their keys and their ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtls_emu.events.base import Event


if TYPE_CHECKING:
    from dtls_emu.events.base import Association


__all__ = [
    "AssociationOpened",
    "Flight",
    "FlightReceived",
    "FlightRetransmitted",
    "FlightSent",
    "KeysRequested",
    "PortClosed",
    "PortOpened",
    "Rekeyed",
    "StateChanged",
]


@dataclass(frozen=True, slots=True)
class Flight(Event):
    """Datagrams of a handshake.

    Fields:
        peer: name of the other host.
        association: ports of the attempt.
        datagrams, nbytes: how many, of how many bytes of payload together. Bytes vary by some from run to run: an ECDSA
            signature is DER (RFC 3279 2.2.3).
    """

    peer: str
    association: Association
    datagrams: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class FlightSent(Flight):
    """A host sent a flight of a handshake (RFC 6347 4.2.4), and waits for the next one of its peer's."""


@dataclass(frozen=True, slots=True)
class FlightRetransmitted(Flight):
    """A host sent a flight again: nothing has answered it in time, or the peer has not got the last one.

    Fields:
        retransmission: 1 for the first time that it is sent again, then 2, 3, ...
    """

    retransmission: int


@dataclass(frozen=True, slots=True)
class FlightReceived(Flight):
    """Datagrams of a handshake came in: a flight, or a part of it."""


@dataclass(frozen=True, slots=True)
class StateChanged(Event):
    """A tunnel does something else now.

    Fields:
        peer: name of the host that it leads to.
        before, after: in words of :class:`~dtls_emu.tunnel.states.TunnelState`.
        cause: in words of :class:`~dtls_emu.tunnel.states.TunnelEvent`; "" where it is not told.
        failure: why the last attempt failed, or "".
    """

    peer: str
    before: str
    after: str
    cause: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class AssociationOpened(Event):
    """An association stands: this end has its keys.

    Fields:
        peer: name of the other host.
        association: its ports.
        client: this end was the client of the handshake, or has asked the broker.
        number: how many there have been in this tunnel, with this one.
    """

    peer: str
    association: Association
    client: bool
    number: int


@dataclass(frozen=True, slots=True)
class Rekeyed(Event):
    """What is sealed from now on, is sealed under other keys.

    Fields:
        peer: name of the other host.
        association: whose keys are in force; None when none are.
        replaces: whose keys were in force before; None when none were. A rekey in the narrower sense has both.
    """

    peer: str
    association: Association | None
    replaces: Association | None


@dataclass(frozen=True, slots=True)
class KeysRequested(Event):
    """A host asked the broker for the keys of a session.

    Fields:
        peer: name of the other host.
        port: local UDP port that it takes for the session.
    """

    peer: str
    port: int


@dataclass(frozen=True, slots=True)
class PortOpened(Event):
    """A host sends from a local UDP port for the first time, or since it was closed.

    Fields:
        port: which one.
    """

    port: int


@dataclass(frozen=True, slots=True)
class PortClosed(Event):
    """A host no longer uses a local UDP port.

    Fields:
        port: which one.
    """

    port: int
