"""Every knob of a tunnel, each with the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass


__all__ = ["TunnelSettings"]


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
    """Unfinished handshakes that a card answers at once; one costs about 22 KB before its cookie is back."""

    early_records: int = 64
    """Protected records kept while the Finished that explains them is on its way (RFC 6347 4.1)."""

    require_alpn: bool = True
    """Refuse a peer without our ALPN id (RFC 9325 3.8). Off only to talk to foreign command-line tools."""
