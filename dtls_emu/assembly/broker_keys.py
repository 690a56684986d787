"""One-time keys of a session, as a controller issues them (`keying: broker`) and backup products of that kind do.

For each session it makes fresh random keys, gives them to both hosts over a channel of its own, which is not the
fabric, and forgets them. Used once, discarded at the session's end. In a simulation the channel is a function
call; between real hosts it is their control sockets (:mod:`dtls_emu.host.control.broker`).
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from dtls_emu.tunnel.session_keys import SESSION_KEY_BYTES, SessionKeys


__all__ = ["issue_session_keys"]


def issue_session_keys(initiator: str, port: int) -> tuple[SessionKeys, SessionKeys]:
    """Make the keys of one session.

    Args:
        initiator: name of the host that asked.
        port: the UDP port that it takes for the session.

    Returns:
        Two copies, for the responder and for the initiator, to be installed in this order: the initiator
        sends at once.
    """
    keys = SessionKeys(initiator, port, bytearray(secrets.token_bytes(SESSION_KEY_BYTES)))
    return replace(keys, material=bytearray(keys.material)), keys
