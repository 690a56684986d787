"""What a key log has of a handshake: the line of its secrets, and beside it a comment with its server random.

The format (NSS: draft-ietf-tls-keylogfile) has the client random and the master secret, and expects the reader to find
the server random in the handshake. With the comment, which other readers pass over, a record is opened without it: the
key block is made of both randoms (RFC 5246 6.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Callable

    from OpenSSL import SSL


__all__ = ["SERVER_RANDOM", "logging_to", "server_random_line"]

SERVER_RANDOM: Final = "# server_random"
"""What the comment begins with; client random and server random follow, in hexadecimal."""


def server_random_line(client_random: bytes, server_random: bytes) -> str:
    """The comment beside the secrets of a handshake."""
    return f"{SERVER_RANDOM} {client_random.hex()} {server_random.hex()}"


def logging_to(key_log: Callable[[bytes], None]) -> Callable[[SSL.Connection, bytes], None]:
    """A callback for OpenSSL that hands on its line of secrets, and the comment in front of it."""

    def log(connection: SSL.Connection, line: bytes) -> None:
        client_random, server_random = connection.client_random(), connection.server_random()
        if client_random is not None and server_random is not None:
            key_log(server_random_line(client_random, server_random).encode())
        key_log(line)

    return log
