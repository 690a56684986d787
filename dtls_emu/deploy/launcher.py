"""The processes of cards: what each is given, how it is started, waited for and stopped.

A card runs in the namespace of its host and is nobody's child for long: it outlives the command that started
it. What it says goes to ``card.log`` in its host's folder.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.deploy.errors import explained
from dtls_emu.deploy.plan import NIC, namespace_name
from dtls_emu.errors import RunError
from dtls_emu.files.writing import is_folder, is_socket, replace_file
from dtls_emu.host import credentials as host_credentials
from dtls_emu.host.config import CONFIG, HostConfig, VmDevice, parse_host_config
from dtls_emu.host.control.client import ControlError, ask, is_served
from dtls_emu.machine.netns import entered
from dtls_emu.machine.processes import ProcessId, end_processes, is_alive
from dtls_emu.paths import control_socket_in


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography import x509

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.deploy.state import CardProcess, RunState
    from dtls_emu.lab.topology import Topology


__all__ = [
    "await_ready",
    "last_words",
    "process_of",
    "said_before",
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

LOG_BYTES: Final = 64 << 10
"""Of its end that are looked at for them."""


def write_credentials(
    folder: Path, credentials: HostCredentials, authorities: Mapping[str, x509.Certificate]
) -> None:
    """Write certificate and key of a host, and the CA certificate of each region, into its folder, which is made.

    Raises:
        RunError: one cannot be written.
    """
    with explained(folder):
        host_credentials.write_credentials(folder, credentials, authorities)


def write_config(
    folder: Path, state: RunState, topology: Topology, host: str, *, check: bool = False
) -> Path:
    """Write the ``host.json`` of a host into its folder, with the lab as it is now, and return its path.

    Args:
        folder: of the host.
        state: of its run.
        topology: the lab.
        host: its name.
        check: read it as the card will before it is written.

    Raises:
        RunError: it cannot be written; that of before is there still.
        LabFileError: no card would take it.
    """
    config = HostConfig(
        version=1,
        run=state.run,
        host=host,
        lab=state.lab,
        encryption=state.encryption,
        backend=state.backend,
        fast_path=state.fast_path,
        credentials=host_credentials.credential_paths(each.region for each in topology.hosts.values()),
        control_socket=control_socket_in(folder.parent, host),
        vms=tuple(
            VmDevice(vm=vm.name, netns=namespace_name(state.run, vm.name), device=NIC, create=False)
            for vm in topology.vms_on(host)
        ),
    )
    if state.flow_log is not None:
        config = config.model_copy(update={"flow_log": Path(state.flow_log)})
    path = folder / CONFIG
    text = config.to_json()
    if check:
        parse_host_config(text, path)
    _write(path, text.encode())
    return path


def _write(path: Path, data: bytes) -> None:
    """Write a file of a host into its folder, and through no symbolic link elsewhere.

    Raises:
        RunError: it cannot be.
    """
    if not is_folder(path.parent):
        raise RunError(
            f"{path.parent}: is no folder, so {path.name} cannot be written; `down` and `up` make it anew"
        )
    with explained(path):
        replace_file(path, data)


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
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    )
    try:
        with entered(namespace):
            # Python ignores SIGPIPE, and a child would inherit that.
            return os.posix_spawn(
                command[0], command, os.environ, file_actions=files, setsid=True, setsigdef=[signal.SIGPIPE]
            )
    except OSError as error:
        raise RunError(f"cannot start a card, or write its log {log}: {error.strerror}") from error


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
                raise RunError(f"the card of {card.host} has ended: {last_words(folder, card)}")
            if time.monotonic() > deadline:
                said = reason or last_words(folder, card)
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
        if not is_socket(card.socket):  # or a link to the socket of another
            continue
        with suppress(ControlError):
            ask(card.socket, "close", timeout=ASK_TIMEOUT)
            leaving.append(process)
    deadline = time.monotonic() + GOODBYE
    while any(map(is_alive, leaving)) and time.monotonic() < deadline:
        time.sleep(READY_POLL)
    left = end_processes(running)
    for card in cards:
        with suppress(OSError):
            # Else somebody has started it again, by hand; or has put something else there.
            if is_socket(card.socket) and not is_served(card.socket):
                card.socket.unlink(missing_ok=True)
        if card.pid is not None:
            with suppress(ChildProcessError):  # it is one only of the command that started it
                os.waitpid(card.pid, os.WNOHANG)
    return [running[process] for process in left]


def last_words(folder: Path, card: CardProcess) -> str:
    """What a card has said last since it was started."""
    path = folder / card.host / LOG
    try:
        with open(path, "rb", opener=_without_links) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(card.said, size), size - LOG_BYTES))
            lines = file.read(LOG_BYTES).decode("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return " | ".join(lines[-LOG_TAIL:]) or f"it said nothing; see {path}"


def said_before(folder: Path, host: str) -> int:
    """Bytes in the log of a card: what is behind them, its next start will have said."""
    try:
        return (folder / host / LOG).lstat().st_size
    except OSError:
        return 0


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
