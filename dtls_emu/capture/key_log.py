"""The key log of a run, in the format that Wireshark reads (NSS: draft-ietf-tls-keylogfile).

Both hosts of a handshake hand in its secrets, and each is there once, with a comment that has its server random, by which
`dtls-emu explain record` opens a record that has come without its handshake. The keys of a broker are of no handshake: the
format has no line for them, so a comment says between whom, and when, there were such.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dtls_emu.events import KeysRequested


if TYPE_CHECKING:
    from dtls_emu.events import Event


__all__ = ["KeyLog"]


class KeyLog:
    """Collects the secrets of a run: ``simulate(lab, key_log=log.add, observer=log)``.

    Fields:
        secrets: how many handshakes it has the secrets of.
        sessions: how many sessions there were with a broker's keys.
    """

    wants_bytes: ClassVar = False

    def __init__(self) -> None:
        self.sessions = 0
        self._lines: dict[bytes, None] = {}  # in order, and each once

    def add(self, line: bytes) -> None:
        """Take a line about a handshake from one of its hosts, its secrets or a comment, without its end."""
        self._lines[line] = None

    def __call__(self, event: Event) -> None:
        """Take an event of the run: only requests for a broker's keys matter."""
        if isinstance(event, KeysRequested):
            self.sessions += 1
            comment = (
                f"# {event.time:.6f} s: {event.host} asks the broker for the keys of a session with {event.peer}, "
                f"from its port {event.port}: no handshake, so there is no secret to log"
            )
            self._lines[comment.encode()] = None

    @property
    def secrets(self) -> int:
        """See the class."""
        return sum(not line.startswith(b"#") for line in self._lines)

    def encode(self) -> bytes:
        """The file; empty when there was neither a handshake nor a session."""
        return b"".join(line + b"\n" for line in self._lines)
