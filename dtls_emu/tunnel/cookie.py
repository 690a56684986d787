"""Stateless cookies (RFC 6347 4.2.1): a server keeps nothing for an address that has not answered from it.

A cookie binds the client's address and hello to a secret. Two secrets are in force, so that one can be
replaced while hellos are under way. An invalid cookie is treated as none at all.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from dtls_emu.wire.hello import ClientHello


__all__ = ["CookieJar"]

_LIFETIME: Final = 60.0
"""Seconds of one secret; a cookie lives one to two of them. A client's second hello follows in milliseconds."""


_COOKIE: Final = 32
"""Bytes of a cookie; RFC 6347 4.2.1 allows 255."""


class CookieJar:
    """Makes and recognises cookies.

    Args:
        secret: 32 random bytes; the secrets in force are derived from it and the time.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def bake(self, address: tuple[str, int], hello: ClientHello, now: float) -> bytes:
        """The cookie for a client, 32 bytes."""
        return self._cookie(address, hello, int(now // _LIFETIME))

    def accepts(self, address: tuple[str, int], hello: ClientHello, now: float) -> bool:
        """Whether the hello brings back a cookie of the current secret or the one before."""
        if not hello.cookie:
            return False
        period = int(now // _LIFETIME)
        return any(
            hmac.compare_digest(hello.cookie, self._cookie(address, hello, each))
            for each in (period, period - 1)
        )

    def _cookie(self, address: tuple[str, int], hello: ClientHello, period: int) -> bytes:
        bound = f"{period} {address[0]} {address[1]} ".encode() + hello.parameters
        # Keyed BLAKE2 (RFC 7693 2.9): a flood of hellos pays for it, and it is a tenth of an HMAC's cost here.
        return hashlib.blake2b(bound, key=self._secret, digest_size=_COOKIE).digest()
