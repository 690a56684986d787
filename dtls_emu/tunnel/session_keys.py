"""One-time keys from a broker, instead of a handshake (`keying: broker`).

A lab's controller makes fresh random keys for a pair of hosts, hands them to both over its own authenticated
channel, and forgets them; they serve one session and are discarded at its end. The record layer is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dtls_emu.crypto.backend import Established, TrafficKeys
from dtls_emu.errors import LocalProtocolError


__all__ = ["SESSION_KEY_BYTES", "SessionKeys"]

_KEY: Final = 32
_SALT: Final = 4
SESSION_KEY_BYTES: Final = 2 * (_KEY + _SALT)


@dataclass(slots=True)
class SessionKeys:
    """Keys of one session.

    Fields:
        initiator: name of the host that asked for them; the other end is the responder.
        initiator_port: UDP port that it takes for this session.
        material: 72 random bytes: key and salt of the initiator, key and salt of the responder.
    """

    initiator: str
    initiator_port: int
    material: bytearray = field(repr=False)

    def established(self, *, is_initiator: bool) -> Established:
        """The keys as one end sees them; `material` is overwritten.

        Raises:
            LocalProtocolError: `material` has not 72 bytes, or was used before.
        """
        material = self.material
        if len(material) != SESSION_KEY_BYTES or not any(material):
            raise LocalProtocolError(f"session keys are {SESSION_KEY_BYTES} random bytes, used once")
        half = _KEY + _SALT
        initiator = TrafficKeys(material[:_KEY], material[_KEY:half])
        responder = TrafficKeys(material[half : half + _KEY], material[half + _KEY :])
        self.discard()
        write, read = (initiator, responder) if is_initiator else (responder, initiator)
        return Established(write, read, epoch=1, next_sequence=0)

    def discard(self) -> None:
        """Overwrite `material`."""
        self.material[:] = bytes(len(self.material))
