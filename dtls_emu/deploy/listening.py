"""All hosts of a run, listened to at once over their event sockets, until the run is ended.

A host whose card is started anew is listened to again as soon as it answers; the run has ended when none has answered for
a while.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Final, Self

from dtls_emu.errors import RunError
from dtls_emu.host.control.client import ControlError, ask
from dtls_emu.host.control.event_client import EventClient
from dtls_emu.paths import event_socket


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from dtls_emu.host.control.event_client import Batch


__all__ = ["Listeners"]

_AGAIN: Final = 0.5
"""Seconds between two tries to reach a host that does not answer."""

_PATIENCE: Final = 5.0
"""Seconds after which hosts of which none answers are taken to have ended; and that one is given to hear a wish."""


class Listeners:
    """The event sockets of the hosts of a run. Usable with ``with``.

    Args:
        sockets: control socket of each host, by name.
        wants_bytes, wants_secrets: as of :class:`~dtls_emu.host.control.event_client.EventClient`.
        on_lost: called with the name of a host that has ended, or does not answer any more.

    Raises:
        RunError: a host does not answer.
    """

    def __init__(
        self,
        sockets: Mapping[str, Path],
        *,
        wants_bytes: bool,
        wants_secrets: bool,
        on_lost: Callable[[str], object] = lambda _host: None,
    ) -> None:
        self._sockets = dict(sockets)
        self._wish = {"wants_bytes": wants_bytes, "wants_secrets": wants_secrets}
        self._on_lost = on_lost
        self._clients: dict[str, EventClient] = {}
        self._try_at = 0.0
        self._silent_since: float | None = None
        try:
            for host, path in self._sockets.items():
                self._clients[host] = EventClient(event_socket(path), timeout=_PATIENCE, **self._wish)
        except ControlError as error:
            self.close()
            raise RunError(f"{error}; is the run up, and yours?") from error

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Listen no more. Idempotent."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def wait_until_heard(self) -> list[Batch]:
        """Wait until every host knows what is wanted; what was told until then.

        Raises:
            RunError: one does not say so.
        """
        told = []
        for host, client in self._clients.items():
            try:
                told.append(next(iter(client)))
            except (ControlError, StopIteration) as error:
                raise RunError(f"{host} does not tell what happens: {error}") from error
        return told

    def refresh_keys(self) -> int:
        """Ask for fresh keys on every tunnel that is up, so that their secrets are told. Returns how many were asked for.

        Raises:
            ControlError: a host does not answer.
        """
        asked = 0
        for host, path in self._sockets.items():
            tunnels = ask(path, "status")["card"]["tunnels"]
            for peer, tunnel in tunnels.items():
                if tunnel["state"] == "up" and (host < peer or peer not in self._sockets):
                    asked += len(ask(path, "rekey", peer=peer)["peers"])
        return asked

    def batches(self, seconds: float) -> list[Batch] | None:
        """What was told, after waiting for so long at the most; None when every host has ended.

        Raises:
            ControlError: a host tells what makes no sense.
        """
        now = time.monotonic()
        if len(self._clients) < len(self._sockets) and now >= self._try_at:
            self._try_at = now + _AGAIN
            self._connect_again()
        if self._clients:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > _PATIENCE or not self._may_come_back():
            return None
        if not self._clients:
            time.sleep(min(seconds, _AGAIN))
            return []
        readable, _, _ = select.select(list(self._clients.values()), (), (), seconds)
        told: list[Batch] = []
        for host, client in list(self._clients.items()):
            if client in readable:
                found, is_over = client.take()
                told += found
                if is_over:
                    self._on_lost(host)
                    del self._clients[host]
                    client.close()
        return told

    def _connect_again(self) -> None:
        for host in self._sockets.keys() - self._clients.keys():
            try:
                path = event_socket(self._sockets[host])
                self._clients[host] = EventClient(path, timeout=_PATIENCE, **self._wish)
            except ControlError:
                continue

    def _may_come_back(self) -> bool:
        """Whether the run has a folder: it goes when the run is ended."""
        return any(path.parent.is_dir() for path in self._sockets.values())
