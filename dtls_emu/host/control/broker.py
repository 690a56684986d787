"""The controller that hands one-time keys to running hosts (`keying: broker`), over their control sockets.

Only their owner can open these. The keys are made by :mod:`dtls_emu.assembly.broker_keys`.
"""

from __future__ import annotations

import base64
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.assembly.broker_keys import issue_session_keys
from dtls_emu.host.control.client import ControlError, ask
from dtls_emu.tunnel.session_keys import SESSION_KEY_BYTES
from dtls_emu.tunnel.settings import TunnelSettings


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


__all__ = ["serve_keys"]

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.02
"""Between two rounds of questions: what a first packet waits for its session at the most, beside the answers."""

_Request = tuple[str, str, int]
"""Who wants keys, for a session with whom, and on which of its UDP ports."""

_PATIENCE: Final = TunnelSettings().handshake_deadline - 1.0
"""Seconds for which a request is tried. A host that has given up has closed the port."""

RETRY_SECONDS: Final = 0.2
"""Between two tries to give a session its keys, while one of its hosts is being restarted."""


def serve_keys(
    sockets: Mapping[str, Path],
    until: Callable[[], bool],
    *,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Be the broker of running hosts, until told to end.

    A host that does not answer is asked again in the next round. A request whose peer does not answer is tried for as
    long as the host that made it waits: it is told once, and asks anew only when it has given up.

    Args:
        sockets: control socket of each host, by name.
        until: asked before each round; True ends it.
        sleep: waits between two rounds.
        clock: seconds.

    Returns:
        How many sessions were given keys.
    """
    sessions = 0
    unmet: dict[_Request, tuple[float, float]] = {}  # when each is tried next, and when it is given up
    while not until():
        now = clock()
        for host in sockets:
            for request in _wanted(sockets, host):
                unmet[host, request["peer"], request["port"]] = (now, now + _PATIENCE)
        for each, (due, end) in list(unmet.items()):
            if now < due:
                continue
            level = logging.DEBUG if now > end - _PATIENCE else logging.WARNING
            if _hand_out(sockets, *each, level):
                sessions += 1
            elif each[1] in sockets and now + RETRY_SECONDS < end:
                unmet[each] = (now + RETRY_SECONDS, end)
                continue
            del unmet[each]
        sleep(POLL_SECONDS)
    return sessions


def _wanted(sockets: Mapping[str, Path], host: str) -> list[dict[str, Any]]:
    try:
        requests: list[dict[str, Any]] = ask(sockets[host], "keys-wanted")["requests"]
    except ControlError as error:
        logger.debug("%s: %s", host, error)
        return []
    return requests


def _hand_out(sockets: Mapping[str, Path], initiator: str, responder: str, port: int, level: int) -> bool:
    responders, initiators = issue_session_keys(initiator, port)
    try:
        for host, peer, keys in ((responder, initiator, responders), (initiator, responder, initiators)):
            material = base64.b64encode(keys.material).decode()
            ask(sockets[host], "install-keys", peer=peer, initiator=initiator, port=port, material=material)
    except (ControlError, KeyError) as error:
        logger.log(level, "no session from %s to %s yet: %s", initiator, responder, error)
        return False
    finally:
        responders.material[:] = initiators.material[:] = bytes(SESSION_KEY_BYTES)
    logger.info("session keys from %s to %s, port %d", initiator, responder, port)
    return True
