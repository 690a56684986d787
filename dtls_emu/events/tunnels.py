"""What happens to tunnels, their keys and their ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtls_emu.events.base import Event


if TYPE_CHECKING:
    from dtls_emu.events.base import Association


__all__ = [
    "AssociationClosed",
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
        messages: names of the handshake messages, as far as they are in clear, and "encrypted" for one that is not.
        datagrams, nbytes: how many, of how many bytes of payload together. Bytes vary by some from run to run: an ECDSA
            signature is DER (RFC 3279 2.2.3).
    """

    peer: str
    association: Association
    messages: tuple[str, ...]
    datagrams: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class FlightSent(Flight):
    """A host sent a flight of a handshake (RFC 6347 4.2.4), and waits for the next one of its peer's."""


@dataclass(frozen=True, slots=True)
class FlightRetransmitted(Flight):
    """A host sent a flight again: nothing has answered it in time, or the peer has not got the last one."""


@dataclass(frozen=True, slots=True)
class FlightReceived(Flight):
    """Datagrams of a handshake came in: a flight, or a part of it."""


@dataclass(frozen=True, slots=True)
class StateChanged(Event):
    """A tunnel does something else now.

    Fields:
        peer: name of the host that it leads to.
        before, after: in words of :class:`~dtls_emu.tunnel.states.TunnelState`.
        cause: in words of :class:`~dtls_emu.tunnel.states.TunnelEvent`.
        failure: why the last attempt failed, or "".
    """

    peer: str
    before: str
    after: str
    cause: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Rekeyed(Event):
    """Another association seals from now on.

    Fields:
        peer: name of the other host.
        association: the new one.
        replaces: the one that sealed before.
    """

    peer: str
    association: Association
    replaces: Association


@dataclass(frozen=True, slots=True)
class AssociationOpened(Event):
    """Keys of an association stand.

    Fields:
        peer: name of the other host.
        association: its ports.
        client: this end was the client of the handshake, or asked the broker.
        keying: "handshake" or "broker".
        seconds: how long it took.
    """

    peer: str
    association: Association
    client: bool
    keying: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AssociationClosed(Event):
    """Keys of an association were overwritten.

    Fields:
        peer: name of the other host.
        association: its ports.
    """

    peer: str
    association: Association


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
