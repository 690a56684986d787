"""The processes of cards: what each is given, how it is started, waited for and stopped.

A card runs in the namespace of its host and is nobody's child for long: it outlives the command that started
it. What it says goes to ``card.log`` in its host's folder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.serialization import Encoding

from dtls_emu.crypto.credential_files import save_credentials
from dtls_emu.host.control_client import ControlError, ask, is_served
from dtls_emu.host.netns import entered
from dtls_emu.host.plan import CONFIG, NIC, namespace_name
from dtls_emu.host.processes import ProcessId, end_processes, is_alive
from dtls_emu.host.run_state import RunError


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryptography import x509

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.host.run_state import CardProcess, RunState
    from dtls_emu.lab.topology import Topology


__all__ = [
    "await_ready",
    "last_words",
    "process_of",
    "start_card",
    "stop_cards",
    "write_config",
    "write_credentials",
]

READY_TIMEOUT: Final = 300.0
"""Seconds. A card is ready in two, but the very first one compiles every kernel, on a slow machine for minutes."""

READY_POLL: Final = 0.05

ASK_TIMEOUT: Final = 2.0
"""Seconds for an answer of a card that is starting or ending."""

GOODBYE: Final = 3.0
"""Seconds that a card may take to say goodbye to its peers."""

LOG: Final = "card.log"
LOG_TAIL: Final = 5
"""Lines of it that a failure shows."""

_CERTIFICATE: Final = "host.pem"
_KEY: Final = "host.key"


def write_credentials(
    folder: Path, credentials: HostCredentials, authorities: Mapping[str, x509.Certificate]
) -> None:
    """Write certificate and key of a host, and the CA certificate of each region, into its folder."""
    save_credentials(credentials, folder)
    for region, certificate in authorities.items():
        (folder / _authority(region)).write_bytes(certificate.public_bytes(Encoding.PEM))


def write_config(folder: Path, state: RunState, topology: Topology, card: CardProcess) -> Path:
    """Write the ``host.json`` of a host into its folder, with the lab as it is now, and return its path."""
    regions = sorted({host.region for host in topology.hosts.values()})
    document: dict[str, Any] = {
        "version": 1,
        "run": state.run,
        "host": card.host,
        "lab": state.lab,
        "encryption": state.encryption,
        "backend": state.backend,
        "fast_path": state.fast_path,
        "credentials": {
            "certificate": _CERTIFICATE,
            "private_key": _KEY,
            "authorities": {region: _authority(region) for region in regions},
        },
        "control_socket": str(card.socket),
        "vms": [
            {"vm": vm.name, "netns": namespace_name(state.run, vm.name), "device": NIC, "create": False}
            for vm in topology.vms_on(card.host)
        ],
    }
    path = folder / CONFIG
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path


def start_card(config: Path, namespace: str) -> int:
    """Start a card in the namespace of its host, and return the number of its process.

    Raises:
        RunError: no process can be made.
        NamespaceError: the namespace is not there.
    """
    # -P: as root, nothing may be imported from the folder that the command happens to be given in.
    command = [sys.executable, "-P", "-m", "dtls_emu", "host", "--config", str(config)]
    log = str(config.with_name(LOG))
    files = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    )
    try:
        with entered(namespace):
            # Python ignores SIGPIPE, and a child would inherit that.
            return os.posix_spawn(
                command[0], command, os.environ, file_actions=files, setsid=True, setsigdef=[signal.SIGPIPE]
            )
    except OSError as error:
        raise RunError(f"cannot start a card: {error.strerror}") from error


def await_ready(cards: Sequence[CardProcess], folder: Path, timeout: float = READY_TIMEOUT) -> None:
    """Wait until packets get through every card.

    Args:
        cards: that were started.
        folder: of the run.
        timeout: seconds.

    Raises:
        RunError: one has ended, or is not ready in time; with what it said last.
    """
    deadline = time.monotonic() + timeout
    reason = ""
    for card in cards:
        while True:
            with suppress(ControlError):
                answer = ask(card.socket, "ready", timeout=ASK_TIMEOUT)
                if answer["ready"]:
                    break
                reason = answer["reason"]
            if process_of(card) is None:
                raise RunError(f"the card of {card.host} has ended: {last_words(folder, card.host)}")
            if time.monotonic() > deadline:
                said = reason or last_words(folder, card.host)
                raise RunError(f"the card of {card.host} is not ready after {timeout:g} seconds: {said}")
            time.sleep(READY_POLL)


def process_of(card: CardProcess) -> ProcessId | None:
    """The process of a card, while it runs."""
    if card.pid is None or card.started is None:
        return None
    process = ProcessId(card.pid, card.started)
    return process if is_alive(process) else None


def stop_cards(cards: Sequence[CardProcess]) -> list[CardProcess]:
    """Have cards say goodbye and end; by force those that do not. Their sockets go, too.

    Returns:
        Those that are still there.
    """
    running = {process: card for card in cards if (process := process_of(card)) is not None}
    leaving: list[ProcessId] = []
    for process, card in running.items():
        with suppress(ControlError):
            ask(card.socket, "close", timeout=ASK_TIMEOUT)
            leaving.append(process)
    deadline = time.monotonic() + GOODBYE
    while any(map(is_alive, leaving)) and time.monotonic() < deadline:
        time.sleep(READY_POLL)
    left = end_processes(running)
    for card in cards:
        with suppress(OSError):
            if not is_served(card.socket):  # else somebody has started it again, by hand
                card.socket.unlink(missing_ok=True)
        if card.pid is not None:
            with suppress(ChildProcessError):  # it is one only of the command that started it
                os.waitpid(card.pid, os.WNOHANG)
    return [running[process] for process in left]


def last_words(folder: Path, host: str) -> str:
    """What the card of a host said last."""
    path = folder / host / LOG
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return " | ".join(lines[-LOG_TAIL:]) or f"it said nothing; see {path}"


def _authority(region: str) -> str:
    return f"ca-{region}.pem"
