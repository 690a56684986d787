"""What a handshake of a lab was like."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from dtls_emu.events import AssociationOpened, FlightRetransmitted, FlightSent, StateChanged
from dtls_emu.teach.attacks.labs import without_encryption
from dtls_emu.teach.dissect.names import HANDSHAKE_TYPES
from dtls_emu.teach.lessons.expected import Expected
from dtls_emu.teach.lessons.lab_run import CannotAskError, LabRun
from dtls_emu.teach.record import open_record, pull_header
from dtls_emu.teach.secrets import with_server_randoms
from dtls_emu.teach.transcript import HELLO_VERIFY_REQUEST
from dtls_emu.tunnel.states import TunnelState


if TYPE_CHECKING:
    from dtls_emu.capture.datagrams import Datagram
    from dtls_emu.teach.transcript import Handshake


__all__ = [
    "client_of",
    "cookie_bytes",
    "first_round_trip",
    "first_sealed",
    "flights_of",
    "hashed_messages",
    "link_delay_is",
    "lost_flight",
    "one_way_trips",
    "resend_wait",
    "slower_pings",
    "state_begins",
]

_MILLISECONDS = 1e3
_COOKIE_AT = 3  # of a HelloVerifyRequest: version and a length are before it (RFC 6347 4.2.1)
_CLIENT_FLIGHTS = {1: "first_hello", 3: "second_hello", 5: "certificate"}


def client_of(run: LabRun, *, number: int = 1) -> str:
    """Host that was the client of a handshake."""
    return run.handshake(number).client


def flights_of(run: LabRun, *, number: int = 1) -> Expected:
    """How many flights a handshake has; a repeated one counts once."""
    handshake = run.handshake(number)
    flights = len(_flights(handshake))
    messages = len(handshake.messages)
    return Expected(
        flights, ((messages, "Those are messages. A flight is all that one end sends before it waits."),)
    )


def one_way_trips(run: LabRun, *, number: int = 1) -> Expected:
    """How often a link's delay passes from the first datagram of a handshake until its client has keys."""
    handshake = run.handshake(number)
    opened = next(
        (
            event.time
            for event in run.events
            if isinstance(event, AssociationOpened)
            and (event.host, event.association) == (handshake.client, handshake.ports)
        ),
        None,
    )
    if opened is None:
        raise CannotAskError(f"handshake {number} of your lab came to no end")
    delay = run.topology.link(handshake.client, handshake.server).delay
    trips = round((opened - handshake.datagrams[0][1].sent.time) / delay) if delay else 0
    return Expected(trips, ((trips // 2, "Those are round trips; each is two ways."),))


def cookie_bytes(run: LabRun, *, number: int = 1) -> Expected:
    """Length of the cookie that the server asks for."""
    for message in run.handshake(number).messages:
        if message.kind == HELLO_VERIFY_REQUEST:
            cookie = len(message.body) - _COOKIE_AT
            return Expected(cookie, ((len(message.body), "The message has two fields before the cookie."),))
    raise CannotAskError("no cookie was asked for in a run of your lab")


def state_begins(run: LabRun, *, number: int = 1) -> str:
    """The message of the client with which its server begins to keep something for it."""
    handshake = run.handshake(number)
    began = next(
        (
            event.time
            for event in run.events
            if isinstance(event, StateChanged)
            and (event.host, event.peer) == (handshake.server, handshake.client)
            and event.after == TunnelState.HANDSHAKING
        ),
        None,
    )
    if began is None:
        raise CannotAskError(f"the server of handshake {number} of your lab heard nothing that it would keep")
    arrived = 0
    for place, (by_client, datagrams) in enumerate(_flights(handshake), 1):
        if by_client and any(0 <= each.sent.arrival <= round(began * 1e9) for each in datagrams):
            arrived = place
    return _CLIENT_FLIGHTS.get(arrived, "finished")


def first_sealed(run: LabRun, *, number: int = 1) -> str:
    """The first message of a handshake that is encrypted."""
    handshake = run.handshake(number)
    randoms = [handshake.randoms] if handshake.randoms else []
    secrets = with_server_randoms(run.secrets, randoms)
    opened = None
    for record in handshake.finished[:1]:
        opened = open_record(pull_header(record.header), record.fragment, secrets)
    if opened is None:
        raise CannotAskError(f"handshake {number} of your lab has no encrypted message")
    return HANDSHAKE_TYPES[opened.plaintext[0]]


def hashed_messages(run: LabRun, *, number: int = 1) -> Expected:
    """How many messages the client's Finished vouches for."""
    handshake = run.handshake(number)
    hashed = len(handshake.hashed_messages)
    return Expected(
        hashed,
        (
            (
                len(handshake.messages),
                "Not all of them: what came before the cookie was sent back is left out.",
            ),
            (
                hashed + 1,
                "The client's own Finished is not in it, and the HelloVerifyRequest is not, either.",
            ),
            (hashed - 1, "One is missing. Both certificates count, and so does the ServerHelloDone."),
        ),
    )


def lost_flight(run: LabRun, *, number: int) -> Expected:
    """Number of the flight of which the link loses a datagram first, from 1."""
    for place, (_, datagrams) in enumerate(_flights(run.handshake(number)), 1):
        if any(each.fate.lost for each in datagrams):
            return Expected(place, ((place - 1, "That one arrived; look for the sign at the arrow's end."),))
    raise CannotAskError(
        f"no datagram of handshake {number} is lost in your lab; leave link and seed as they were"
    )


def resend_wait(run: LabRun, *, number: int) -> Expected:
    """Milliseconds from a flight to its first retransmission."""
    handshake = run.handshake(number)
    sent = 0.0
    for event in run.events:
        if isinstance(event, FlightSent | FlightRetransmitted) and {event.host, event.peer} == {
            handshake.client,
            handshake.server,
        }:
            if isinstance(event, FlightRetransmitted):
                trip = 2 * run.topology.link(handshake.client, handshake.server).delay * _MILLISECONDS
                return Expected(
                    round((event.time - sent) * _MILLISECONDS, 6),
                    ((trip, "A sender does not know how long a round trip takes before the first one."),),
                )
            sent = event.time
    raise CannotAskError(
        f"nothing of handshake {number} is sent again in your lab; leave link and seed as they were"
    )


def slower_pings(run: LabRun, *, item: str) -> str:
    """Which echoes take longer than they would in clear: all, the first, or none."""
    here = run.item(item).round_trips
    plain = LabRun(without_encryption(run.lab)).item(item).round_trips
    if here.first is None or plain.first is None or here.minimum is None or plain.minimum is None:
        raise CannotAskError(f"item {item} of your lab is no ping with several answers")
    if here.minimum > plain.minimum:
        return "all"
    return "first" if here.first > plain.first else "none"


def first_round_trip(run: LabRun, *, item: str) -> Expected:
    """Milliseconds from the first echo request to its reply."""
    trips = run.item(item).round_trips
    if trips.first is None or trips.minimum is None:
        raise CannotAskError(f"item {item} of your lab is no ping with several answers")
    first, later = trips.first * _MILLISECONDS, trips.minimum * _MILLISECONDS
    return Expected(
        round(first, 6),
        (
            (round(later, 6), "So long take the later ones. What does the first one wait for?"),
            (round(first - later, 6), "That is the handshake alone; then the ping has to go there and back."),
            (round(first - later / 2, 6), "The reply has to come back, too."),
        ),
    )


def link_delay_is(run: LabRun, *, item: str, milliseconds: float) -> bool:
    """Whether the link that an item crosses has this delay, both ways."""
    traffic = run.traffic(item)
    vms = run.topology.vms
    if traffic.source not in vms or str(traffic.destination) not in vms:
        return False
    ends = vms[traffic.source].host, vms[str(traffic.destination)].host
    return all(
        abs(run.topology.link(*way).delay * _MILLISECONDS - milliseconds) < 1e-6 for way in (ends, ends[::-1])
    )


def _flights(handshake: Handshake) -> list[tuple[bool, list[Datagram]]]:
    """Datagrams that one end sends before the other does; with who it is."""
    return [
        (by_client, [datagram for _, datagram in group])
        for by_client, group in groupby(handshake.datagrams, key=lambda each: each[0])
    ]
