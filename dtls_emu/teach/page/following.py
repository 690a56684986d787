"""Listens to the hosts of a run, each in a thread of its own, and asks all of them for their status every second.

A host that ends, or is not there, is tried again: a card that is started anew tells on.
"""

from __future__ import annotations

from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.host.control.client import ControlError, ask
from dtls_emu.host.control.event_client import EventClient
from dtls_emu.paths import event_socket


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dtls_emu.host.control.event_client import Batch


__all__ = ["Follower", "report_of"]

PATIENCE: Final = 1.0
"""Seconds for which a host may have nothing to tell, until this looks whether it is to end."""

PAUSE: Final = 0.3
"""Seconds until a host that does not answer is tried again."""

STATUS_EVERY: Final = 1.0

_KEYS: Final = frozenset(("host", "pid", "uptime_seconds", "trouble", "io_path", "card"))
_CARD_KEYS: Final = frozenset(("backend", "protects", "egress", "ingress", "tunnels"))
"""What is used of a report, and of what it says of the card."""


class Follower:
    """Follows a run.

    Args:
        sockets: the control socket of each host.
        on_batch: called with each batch of events; from several threads.
        on_status: called with the reports of all hosts, and why some have none; by name of the host.
    """

    def __init__(
        self,
        sockets: Mapping[str, Path],
        on_batch: Callable[[Batch], object],
        on_status: Callable[[dict[str, dict[str, Any]], dict[str, str]], object],
    ) -> None:
        self._sockets = sockets
        self._on_batch = on_batch
        self._on_status = on_status
        self._is_over = Flag()
        self._threads = [
            *(Thread(target=self._listen, args=(path,), daemon=True) for path in sockets.values()),
            Thread(target=self._ask, daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, within :data:`PATIENCE`. Idempotent."""
        self._is_over.set()

    def _listen(self, control: Path) -> None:
        while not self._is_over.is_set():
            try:
                with EventClient(event_socket(control), timeout=PATIENCE) as client:
                    while self._hear(client):
                        pass
            except ControlError:
                pass  # the status says why
            self._is_over.wait(PAUSE)

    def _hear(self, client: EventClient) -> bool:
        """Pass on what a host tells until it says nothing for a while. False when it has ended, or this has."""
        try:
            for batch in client:
                self._on_batch(batch)
                if self._is_over.is_set():
                    return False
        except ControlError as error:
            return isinstance(error.__cause__, TimeoutError) and not self._is_over.is_set()
        return False

    def _ask(self) -> None:
        while not self._is_over.is_set():
            reports: dict[str, dict[str, Any]] = {}
            silent: dict[str, str] = {}
            for host, path in self._sockets.items():
                found = report_of(path)
                if isinstance(found, str):
                    silent[host] = found
                else:
                    reports[host] = found
            self._on_status(reports, silent)
            self._is_over.wait(STATUS_EVERY)


def report_of(control: Path) -> dict[str, Any] | str:
    """What a host says of itself, or why it says nothing."""
    if control.is_symlink():
        return f"{control} is a symbolic link"
    try:
        report: Any = ask(control, "status", timeout=PATIENCE)
    except ControlError as error:
        return str(error)
    if isinstance(report, dict) and report.keys() >= _KEYS:
        card = report["card"]
        if isinstance(card, dict) and card.keys() >= _CARD_KEYS:
            return report
    return f"{control}: what answers there is no host of this version"
