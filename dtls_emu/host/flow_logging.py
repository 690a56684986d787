"""The flow logs of a running host: written to a folder as the flows of its VMs go on, a record a minute and interface.

Packets that compiled code carries are counted by flow tables, and told of with flows: to log costs nothing a packet.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Final

from dtls_emu.events import FlowCounters, FlowStarted
from dtls_emu.files.json_blobs import BlobFolder, BlobFolderError
from dtls_emu.flow_logs.naming import CONTAINER
from dtls_emu.flow_logs.writing import FlowLog


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dtls_emu.events import Event, FlowId
    from dtls_emu.host.control.event_server import EventServer
    from dtls_emu.lab.topology import Topology


__all__ = ["FlowLogging", "Watching"]

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = 5.0
"""Seconds; a record is in its blob so much later than its minute is over, at the most."""


class FlowLogging:
    """Keeps the flow logs of one host; an observer, and a service of its loop: `fileno`, `serve`, `next_timeout`."""

    wants_bytes = False

    def __init__(self, topology: Topology, folder: Path) -> None:
        """
        Args:
            topology: the lab.
            folder: of all hosts' blobs.

        Raises:
            BlobFolderError: it cannot be written to.
        """
        self._blobs = BlobFolder(folder, force=True)
        # While this process may still do anything: later it may write to folders of its own only.
        try:
            (folder / CONTAINER).mkdir(exist_ok=True)
        except OSError as error:
            raise BlobFolderError(
                f"{folder}: {error.strerror}; name a folder that can be written to"
            ) from None
        self._log = FlowLog(topology, time.time() - time.monotonic())
        self._due = time.monotonic() + LOOK_EVERY
        self._lost = 0
        self._never = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self._log(event)

    def update(self, topology: Topology) -> None:
        """Go on under a changed lab."""
        self._log.update(topology)

    def fileno(self) -> int:
        """A file that is never readable: there are only times at which to write."""
        return self._never

    def next_timeout(self) -> float:
        """When `serve` wants to be called at the latest, in seconds."""
        return self._due

    def serve(self, now: float) -> None:
        """Write the records of minutes that are over."""
        self._due = now + LOOK_EVERY
        self._write(now)

    def close(self) -> None:
        """Write what there is, once the card is closed. Idempotent."""
        if self._never >= 0:
            self._write(None)
            os.close(self._never)
            self._never = -1

    def _write(self, now: float | None) -> None:
        for entry in self._log.take(now):
            try:
                self._blobs.append(entry.path, entry.content)
            except BlobFolderError as error:
                self._lost += 1
                logger.warning("a record of flow logs is lost, the %d. of this host: %s", self._lost, error)


class Watching:
    """One observer for a card whose flows are logged, and for those who listen besides, who come and go.

    Fields:
        server: tells those who listen; None while there is nobody.
    """

    def __init__(self, logging_: FlowLogging, on_listen: Callable[[bool], object]) -> None:
        """
        Args:
            logging_: told of everything.
            on_listen: called with whether somebody listens besides.
        """
        self.server: EventServer | None = None
        self._logging = logging_
        self._on_listen = on_listen
        self._told: set[tuple[str, FlowId]] = set()

    @property
    def wants_bytes(self) -> bool:
        """Whether anybody who listens does."""
        return self.server is not None and self.server.wants_bytes

    def listen(self, server: EventServer | None) -> None:
        """Somebody listens from now on, or nobody any more."""
        self.server = server
        self._told.clear()
        self._on_listen(server is not None)

    def leave_out(self, name: str, count: int) -> None:
        """Events of a name that there was no time to tell of."""
        if self.server is not None:
            self.server.leave_out(name, count)

    def __call__(self, event: Event) -> None:
        """Take an event. Who has come late is told first that the flow has started which an event is about."""
        self._logging(event)
        server = self.server
        if server is None:
            return
        if isinstance(event, FlowStarted | FlowCounters):
            key = event.vm, event.flow
            if isinstance(event, FlowCounters) and key not in self._told:
                about = event.vm, event.direction, event.flow, event.row, event.verdict, event.code
                server(FlowStarted(event.time, event.host, 0, 0, *about, event.code_in))
            self._told.add(key)
        server(event)
