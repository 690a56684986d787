"""Who this host is, and whom a tunnel leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from dtls_emu.tunnel.context import Contexts
    from dtls_emu.tunnel.cookie import CookieJar


__all__ = ["Identity", "Peer"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this host is.

    Fields:
        name: host name, as in its certificate.
        address: underlay IP address.
        contexts: what OpenSSL may negotiate.
        cookies: for clients that come to this host.
        wall_start: date and time that belong to second 0 of the caller's clock.
    """

    name: str
    address: str
    contexts: Contexts
    cookies: CookieJar
    wall_start: datetime


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a tunnel leads to: host name, underlay IP address, the CA of its region."""

    name: str
    address: str
    ca_certificate: x509.Certificate
