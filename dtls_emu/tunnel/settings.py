"""Every knob of a tunnel, each with the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dtls_emu.vocabulary import Keying
from dtls_emu.wire.protocol import MAX_SEQUENCE


__all__ = ["CONTROL_RECORDS", "TunnelSettings"]

CONTROL_RECORDS: Final = 4096
"""Record numbers behind a key's limit that are left for alerts, keepalives and repeated Finished: eleven hours of
keepalives, and a six-thousandth of the default limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelSettings:
    """Knobs of one card's tunnels. Times in seconds, sizes in bytes."""

    port: int = 4433
    """UDP port where handshakes are answered. Azure does not document its own; 4433 is OpenSSL's habit."""

    replay_window: int = 1024
    """Records. RFC 6347 4.1.2.6 asks for 64; a GSO burst of 64 that overtakes another needs far more."""

    initial_timeout: float = 1.0
    """First retransmission timer (RFC 6347 4.2.4.1)."""

    longest_timeout: float = 60.0
    """Where doubling stops (RFC 6347 4.2.4.1)."""

    handshake_deadline: float = 15.0
    """One attempt's end. OpenSSL alone would try for 483 s, longer than any VM waits for a connection."""

    retry_backoff: float = 1.0
    """Pause after a failed attempt; doubles up to `longest_backoff`."""

    longest_backoff: float = 30.0
    """Where doubling of the pause stops."""

    half_open_limit: int = 64
    """Unfinished handshakes with one peer at once, each behind a good cookie; one costs up to 89 KB."""

    card_half_open_limit: int = 1024
    """The same over all peers of a card: at most 90 MB. A thousand peers that all start at once get through."""

    early_records: int = 64
    """Protected records kept while the Finished that explains them is on its way (RFC 6347 4.1)."""

    require_alpn: bool = True
    """Refuse a peer without our ALPN id (RFC 9325 3.8). Off only to talk to foreign command-line tools."""

    keying: Keying = Keying.HANDSHAKE
    """Where keys come from: a DTLS handshake, or a broker's one-time session keys."""

    rekey_records: int = 23_726_566
    """Records under one key: 2^24.5, the confidentiality limit of RFC 9325 4.4 for AES-GCM. A fresh association
    is begun at seven eighths of it (by a server: fifteen sixteenths); at the limit nothing more is sealed."""

    rekey_bytes: int = 0
    """Plaintext bytes under one key after which a fresh association is begun; 0 for no such limit."""

    rekey_seconds: float = 0.0
    """Age of an association after which a fresh one is begun; 0 for no such limit."""

    forgery_limit: int = 2**28
    """Failed authentications under one key, after which it is abandoned (RFC 9325 4.4)."""

    drain: float = 10.0
    """How long an association goes on opening once the peer has left it, or was last heard on it: for records under
    way."""

    confirm_timeout: float = 1.0
    """How long the server of a fresh association, its old key worn out, waits for the first record before it begins
    an attempt of its own; and whoever closes, for the answer."""

    keepalive: float = 10.0
    """After data was received and nothing sent for so long, an empty record tells the peer that we are there."""

    dead_after: float = 15.0
    """After data was sent and nothing authentic received for so long, the peer is presumed dead and a new
    handshake is tried. Above `keepalive` by more than a round trip."""

    hold: float = 120.0
    """How long the keys of a peer that is presumed dead are kept, to open with: a record of its that verifies shows
    that it lives, and the association goes on. A host may well be frozen for a minute; behind that it shakes hands."""

    session_idle: float = 30.0
    """A broker's session without data for so long is over, and its keys are discarded."""

    @property
    def data_end(self) -> int:
        """The first record number under which no data are sealed."""
        return min(self.rekey_records, MAX_SEQUENCE + 1)

    @property
    def number_end(self) -> int:
        """The first record number under which nothing at all is sealed: behind the data come control records."""
        return min(self.rekey_records + CONTROL_RECORDS, MAX_SEQUENCE + 1)
