"""The secrets of handshakes, read from a key log, and the traffic keys that follow from them.

A key log in NSS's format (`draft-ietf-tls-keylogfile`) has, for TLS 1.2, a client random and a master secret on each
line. The keys of records need the server random as well; where a line `# server_random CLIENT SERVER` beside it has
that, as in the key logs written here, a record can be opened without its handshake.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.files.reading import read_file
from dtls_emu.tunnel.key_log import SERVER_RANDOM, server_random_line


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


__all__ = ["KeyLogError", "Secrets", "parse_key_log", "read_key_log", "server_random_line"]

MAX_KEY_LOG: Final = 16 << 20
"""Bytes of a key log's file."""

_LABEL: Final = "CLIENT_RANDOM"
_RANDOM: Final = 32
_MASTER: Final = 48


class KeyLogError(DtlsEmuError):
    """A line of a key log is malformed. Says which, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Of one handshake.

    Fields:
        client_random: 32 bytes.
        master_secret: 48 bytes.
        server_random: 32 bytes; None where it is not known.
    """

    client_random: bytes
    master_secret: bytes
    server_random: bytes | None = None


def read_key_log(path: Path) -> list[Secrets]:
    """The handshakes of a key log's file; see :func:`parse_key_log`.

    Raises:
        KeyLogError: it cannot be read, or a line is malformed.
    """
    try:
        data = read_file(path, MAX_KEY_LOG)
    except OSError as error:
        raise KeyLogError(f"{path}: {error.strerror}") from error
    try:
        return parse_key_log(data.decode("ascii", "replace"))
    except KeyLogError as error:
        raise KeyLogError(f"{path}: {error}") from error


def parse_key_log(text: str) -> list[Secrets]:
    """The handshakes of TLS 1.2 that a key log has secrets of, each once, in their order.

    Lines of other labels and comments are left out.

    Raises:
        KeyLogError: a line that should be one of ours is malformed.
    """
    found: dict[bytes, Secrets] = {}
    servers: dict[bytes, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(SERVER_RANDOM):
            client, server = _values(number, line.removeprefix(SERVER_RANDOM).split(), (_RANDOM, _RANDOM))
            servers[client] = server
        elif line.startswith(f"{_LABEL} "):
            client, master = _values(number, line.split()[1:], (_RANDOM, _MASTER))
            found[client] = Secrets(client, master)
    return [replace(each, server_random=servers.get(each.client_random)) for each in found.values()]


def with_server_randoms(secrets: Iterable[Secrets], randoms: Iterable[tuple[bytes, bytes]]) -> list[Secrets]:
    """Secrets with the server randoms of their handshakes.

    Args:
        secrets: of handshakes.
        randoms: client random and server random of each handshake that was seen.
    """
    servers = dict(randoms)
    return [
        replace(each, server_random=servers.get(each.client_random, each.server_random)) for each in secrets
    ]


def _values(number: int, words: list[str], sizes: Iterable[int]) -> list[bytes]:
    try:
        values = [bytes.fromhex(word) for word in words]
    except ValueError:
        values = []
    if [len(value) for value in values] != list(sizes):
        wanted = " and ".join(f"{2 * size}" for size in sizes)
        raise KeyLogError(
            f"line {number} of the key log: expected {wanted} hexadecimal digits behind the label"
        )
    return values
