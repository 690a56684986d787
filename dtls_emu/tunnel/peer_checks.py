"""What a peer must be and say: which of its records in clear are believed, and what must have been negotiated.

Everything in clear can be forged. Only what a peer might send at this point reaches OpenSSL, which would give up the
handshake for less; what both Finished have confirmed is checked against the BCP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.errors import RemoteProtocolError
from dtls_emu.tunnel.context import ALPN
from dtls_emu.wire.hello import EXTENDED_MASTER_SECRET, RENEGOTIATION_INFO
from dtls_emu.wire.protocol import ALERT_NAMES, DTLS_1_2


if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from dtls_emu.wire.record import HandshakeHeader


__all__ = ["alert_name", "are_plausible", "check_negotiated"]

_MESSAGE_TYPES: Final = frozenset({0, 1, 2, 3, 4, 11, 12, 13, 14, 15, 16, 20})
"""HandshakeType of RFC 6347 4.3.2 and of the extensions that OpenSSL may answer."""

_MESSAGE_SEQUENCE_AHEAD: Final = 10
"""A flight has at most 5 messages; a message_seq further ahead than two flights is junk."""

_LONGEST_MESSAGE: Final = 2**14
"""A Certificate message of ours is under 1 KB; OpenSSL would buffer what a forged length asks for."""

_REQUIRED_OF_CLIENTS: Final = {EXTENDED_MASTER_SECRET: "extended master secret (RFC 7627)"}
"""RFC 9325 3.5: a peer without it is refused. What it said in clear is confirmed by its Finished. That a client
does secure renegotiation too need not be asked by a server that never renegotiates (RFC 5746 3.6), and wolfSSL's
does not say so."""

_REQUIRED_OF_SERVERS: Final = {
    **_REQUIRED_OF_CLIENTS,
    RENEGOTIATION_INFO: "secure renegotiation (RFC 5746)",
}
"""RFC 9325 3.5: a client cannot see whether its hello was spliced into somebody else's session otherwise."""


def are_plausible(messages: list[HandshakeHeader], highest_received: int) -> bool:
    """Whether the message fragments of a plaintext record may reach OpenSSL.

    Args:
        messages: their headers.
        highest_received: message_seq of the last that came before, -1 before the first.
    """
    for message_type, length, message_seq, _, _ in messages:
        if (
            message_type not in _MESSAGE_TYPES
            or length > _LONGEST_MESSAGE
            or message_seq > highest_received + _MESSAGE_SEQUENCE_AHEAD
        ):
            return False
    return bool(messages)


def alert_name(description: int) -> str:
    """An alert in words, with its number."""
    return f"alert {description} ({ALERT_NAMES.get(description, 'unknown')})"


def check_negotiated(
    *, is_client: bool, version: int, extensions: AbstractSet[int], alpn: bytes, require_alpn: bool
) -> None:
    """Refuse a peer with which something else was agreed on than this package does.

    Args:
        is_client: whether we are, and the peer is the server.
        version: of the protocol.
        extensions: that the peer's hello had.
        alpn: the application protocol that was chosen.
        require_alpn: whether it must be ours.

    Raises:
        RemoteProtocolError: says what is missing.
    """
    if version != DTLS_1_2:
        raise RemoteProtocolError(f"negotiated version {version:#06x}, not DTLS 1.2")
    required = _REQUIRED_OF_SERVERS if is_client else _REQUIRED_OF_CLIENTS
    for extension, name in required.items():
        if extension not in extensions:
            raise RemoteProtocolError(f"the peer does not do {name}")
    if require_alpn and alpn != ALPN:
        raise RemoteProtocolError(f"the peer does not speak {ALPN.decode()} (ALPN)")
