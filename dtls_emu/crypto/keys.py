"""The TLS 1.2 key schedule for ECDHE-ECDSA-AES256-GCM-SHA384: from the master secret to traffic keys.

Sources: RFC 5246 5 (PRF) and 6.3 (key block), RFC 5288 3 and RFC 5289 3.2 (AES-256-GCM with SHA-384: no MAC
keys, two keys of 32 bytes, two implicit nonces of 4).
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.hmac import HMAC

from dtls_emu.crypto.backend import TrafficKeys


__all__ = ["KEY_BLOCK", "prf", "traffic_keys"]

KEY: Final = 32
SALT: Final = 4
KEY_BLOCK: Final = 2 * KEY + 2 * SALT
"""Bytes: client key 32, server key 32, client salt 4, server salt 4."""


def traffic_keys(
    master_secret: bytes, client_random: bytes, server_random: bytes, *, is_client: bool
) -> tuple[TrafficKeys, TrafficKeys]:
    """Derive the keys of both directions, as one end sees them (RFC 5246 6.3).

    Args:
        master_secret: 48 bytes; with the extended master secret (RFC 7627) nothing differs from here on.
        client_random: 32 bytes of the ClientHello.
        server_random: 32 bytes of the ServerHello.
        is_client: whether this end was the client of the handshake.

    Returns:
        The write keys and the read keys.
    """
    block = prf(master_secret, b"key expansion", server_random + client_random, KEY_BLOCK)
    salts = block[2 * KEY :]
    client = TrafficKeys(block[:KEY], salts[:SALT])
    server = TrafficKeys(block[KEY : 2 * KEY], salts[SALT:])
    block[:] = bytes(KEY_BLOCK)
    salts[:] = bytes(2 * SALT)
    return (client, server) if is_client else (server, client)


def prf(secret: bytes, label: bytes, seed: bytes, length: int) -> bytearray:
    """The PRF of TLS 1.2 with SHA-384, P_hash (RFC 5246 5).

    Returns:
        ``length`` bytes. A ``bytearray``, so that the caller can overwrite it.
    """
    seed = label + seed
    keyed = HMAC(secret, SHA384())
    output = bytearray()
    chain = seed
    while len(output) < length:
        chain = _hmac(keyed, chain)
        output += _hmac(keyed, chain + seed)
    output[length:] = b""
    return output


def _hmac(keyed: HMAC, message: bytes) -> bytes:
    state = keyed.copy()
    state.update(message)
    return state.finalize()
