"""The event socket of a host: a Unix stream socket beside its control socket, with the same mode, that tells events.

Whoever connects is told of everything from then on, in batches, one JSON object a line; it says nothing itself, but for
what it wants, in one line that may be left out::

    {"bytes": false, "secrets": false}
    {"host": "host-1", "events": [{"event": "sent", ...}, ...], "left_out": {}}
    {"host": "host-1", "events": [...], "left_out": {"sealed": 120, "forwarded": 120}}
    {"host": "host-1", "events": [...], "left_out": {"offered": 2}, "missed": {"vm-a": 90}, "secrets": ["CLIENT_RANDOM ..."]}

A line of what it wants is answered at once by a batch, be it empty: from then on it has what it wants.

Keys may be added to both; who does not know them passes them over. The events are those of :mod:`dtls_emu.events`.

A host does not wait for who listens: each listener has a queue of :data:`MAX_WAITING` events and :data:`MAX_WAITING_BYTES` bytes. A queue that fills up is told of some packets only: of
every sixteenth, by its number, from half of its room on, so that the paths of these are whole; of none from three
quarters on. The rest of the room is for tunnels, keys and flows, which are few and count more. What is left out is
counted by its name, and the next batch says it; of events with bytes, so are the packets, as ``missed``: by the VM inside
which, or the underlay address of the other end of the link on which, they would have been seen.

While nobody listens no event is built: the card is told when the first listener comes, and when the last one leaves.
Only who wants bytes is shown bytes. While anybody does, Python carries all packets of the host, and it tells ``sent`` for
each datagram; else compiled code carries those of known flows, and as many of them are told as there is time for.

Who wants secrets gets, before the records that they open, the lines of a TLS key log of every handshake from then on; those
of earlier ones are gone, and a host has to make fresh keys for the listener. Only the owner of the run can connect, and
nobody who does not ask gets them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import select
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.events import (
    Delivered,
    FlowStarted,
    Offered,
    PacketEvent,
    Received,
    Sent,
    name_of,
    to_line,
    without_bytes,
)
from dtls_emu.host.control.listening import identity, listen


if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from dtls_emu.events import Event


__all__ = ["EventServer"]

logger = logging.getLogger(__name__)

MAX_LISTENERS: Final = 4
"""At once; one more is turned away. A run has a page or two that follow it."""

MAX_WAITING: Final = 8192
"""Events of a listener's queue: a fifth of a second of a busy slow path."""

MAX_WAITING_BYTES: Final = 8 << 20
"""Bytes of a listener's queue: of so many events without the bytes of packets, or a few thousand packets with them."""

BATCH: Final = 256
"""Most events of one line."""

BATCH_SECONDS: Final = 0.02
"""How long an event waits for others at the most: what a page shows is not older."""

SAMPLED: Final = 16
"""Of a queue that fills up: of every how manyth packet it is told."""

MAX_WISH: Final = 4096
"""Bytes of a listener's own line."""


@dataclass(slots=True, eq=False)
class _Listener:
    """One of those who listen.

    Fields:
        connection: to it.
        wants_bytes: of packets.
        waiting, nbytes: events that are not in a batch yet, and the bytes of them.
        wants_secrets: of handshakes.
        left_out: events by name, since the last batch.
        missed: likewise packets, by place.
        secrets: likewise lines that are to be told.
        is_heard: its line was read, which the next batch tells it, be it empty.
        outgoing: what is left of a batch that is being sent.
        incoming: the beginning of its own line.
    """

    connection: socket.socket
    wants_bytes: bool = False
    waiting: deque[str] = field(default_factory=deque)
    nbytes: int = 0
    wants_secrets: bool = False
    left_out: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    secrets: list[str] = field(default_factory=list)
    is_heard: bool = False
    outgoing: memoryview = field(default_factory=lambda: memoryview(b""))
    incoming: bytearray = field(default_factory=bytearray)

    @property
    def has_something(self) -> bool:
        """Whether there is something to tell."""
        return bool(self.outgoing or self.waiting or self.left_out or self.secrets or self.is_heard)

    def admits(self, event: Event) -> bool:
        """Whether there is room for an event of its kind."""
        fill = max(len(self.waiting) / MAX_WAITING, self.nbytes / MAX_WAITING_BYTES)
        if not isinstance(event, PacketEvent) or isinstance(event, FlowStarted):
            return fill < 1
        return fill < 1 / 2 or (fill < 3 / 4 and not event.packet % SAMPLED)


class EventServer:
    """The socket, those who listen, and the observer that tells them. Not safe for concurrent use.

    A service of a host's loop, as the control socket is: `fileno`, `serve`, `next_timeout`.
    """

    def __init__(
        self,
        path: Path,
        host: str,
        on_listen: Callable[[EventServer | None], object],
        on_wish_for_secrets: Callable[[], object] = lambda: None,
    ) -> None:
        """
        Args:
            path: of the socket.
            host: name of the host.
            on_listen: called with this server, which wants to be told of events, when somebody listens, and with None
                when nobody does any more. Whether bytes are wanted may change meanwhile.
            on_wish_for_secrets: called when a listener wants secrets: :meth:`tell_secret` wants to be told from then on.

        Raises:
            ControlSocketError: another host answers there, or it may not be made.
        """
        self.path = path
        self._host = host
        self._on_listen = on_listen
        self._on_wish_for_secrets = on_wish_for_secrets
        self._listeners: dict[int, _Listener] = {}
        self._flush_at = float("inf")
        self._socket = listen(path, MAX_LISTENERS)
        self._identity = identity(path)
        self._epoll = select.epoll()
        self._epoll.register(self._socket, select.EPOLLIN)

    @property
    def wants_bytes(self) -> bool:
        """Whether any listener does."""
        return any(each.wants_bytes for each in self._listeners.values())

    def __call__(self, event: Event) -> None:
        """Tell an event to everybody, within :data:`BATCH_SECONDS`; its time is on the clock of `serve`."""
        lines: dict[bool, str] = {}  # by whether bytes are in it
        for listener in self._listeners.values():
            if not listener.admits(event):
                self._miss(listener, event)
                continue
            shows = listener.wants_bytes
            if shows not in lines:
                lines[shows] = to_line(event if shows else without_bytes(event))
            line = lines[shows]
            listener.waiting.append(line)
            listener.nbytes += len(line)
        self._flush_at = min(self._flush_at, event.time + BATCH_SECONDS)

    def leave_out(self, name: str, count: int) -> None:
        """Count events of a name that there was no time to tell of, for everybody."""
        for listener in self._listeners.values():
            listener.left_out[name] += count

    def tell_secret(self, line: bytes) -> None:
        """Tell a line of a TLS key log, at once, to those who want such."""
        for listener in self._listeners.values():
            if listener.wants_secrets:
                listener.secrets.append(line.decode())
                self._flush_at = 0.0

    def fileno(self) -> int:
        """One file number that is readable when there is something to do (an epoll)."""
        return self._epoll.fileno()

    def next_timeout(self) -> float:
        """When `serve` wants to be called at the latest, in seconds; infinity when there is nothing to tell."""
        return self._flush_at

    def serve(self, now: float) -> None:
        """Do what there is to do, without waiting: greet who comes, send each at most one batch."""
        for fileno, event in self._epoll.poll(0):
            if fileno == self._socket.fileno():
                self._accept()
            elif fileno in self._listeners and event & ~select.EPOLLOUT:
                self._hear(self._listeners[fileno])
        for listener in list(self._listeners.values()):
            self._send(listener)
        # Who reads slowly is waited for by its socket; who keeps up, for the next events.
        more = any(each.waiting and not each.outgoing for each in self._listeners.values())
        self._flush_at = now + BATCH_SECONDS if more else float("inf")

    def close(self) -> None:
        """Send what there is room for, dismiss everybody and remove the socket, unless it is another's. Idempotent."""
        for listener in list(self._listeners.values()):
            while listener.has_something and listener.connection.fileno() >= 0:
                self._send(listener)
                if listener.outgoing:
                    break
            self._dismiss(listener)
        self._epoll.close()
        self._socket.close()
        with contextlib.suppress(OSError):
            if identity(self.path) == self._identity:
                self.path.unlink()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return  # gone already, or no descriptors left: it waits in the backlog
        if len(self._listeners) >= MAX_LISTENERS:
            connection.close()
            return
        connection.setblocking(False)
        self._listeners[connection.fileno()] = _Listener(connection)
        self._epoll.register(connection, select.EPOLLIN)
        if len(self._listeners) == 1:
            self._on_listen(self)

    def _hear(self, listener: _Listener) -> None:
        """What a listener wants, or that it has gone."""
        try:
            part = listener.connection.recv(MAX_WISH)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        listener.incoming += part
        line, found, _ = listener.incoming.partition(b"\n")
        if not part or len(listener.incoming) > MAX_WISH:
            self._dismiss(listener)
        elif found:
            listener.incoming.clear()
            wish = _wish(bytes(line))
            if wish is None:
                self._dismiss(listener)
                return
            listener.wants_bytes, listener.wants_secrets = wish
            listener.is_heard = True
            if listener.wants_secrets:
                self._on_wish_for_secrets()

    def _send(self, listener: _Listener) -> None:
        """At most one batch, as far as the socket takes it."""
        if not listener.outgoing:
            if not listener.has_something:
                return
            listener.outgoing = memoryview(self._batch(listener))
        try:
            sent = listener.connection.send(listener.outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._dismiss(listener)
            return
        listener.outgoing = listener.outgoing[sent:]
        wanted = select.EPOLLIN | select.EPOLLOUT if listener.outgoing else select.EPOLLIN
        self._epoll.modify(listener.connection, wanted)

    def _batch(self, listener: _Listener) -> bytes:
        lines = [listener.waiting.popleft() for _ in range(min(BATCH, len(listener.waiting)))]
        listener.nbytes -= sum(map(len, lines))
        tail: dict[str, Any] = {"left_out": dict(listener.left_out)}
        tail |= {"missed": dict(listener.missed)} if listener.missed else {}
        tail |= {"secrets": listener.secrets} if listener.secrets else {}
        head = f'{{"host":{json.dumps(self._host)},"events":['
        batch = f"{head}{','.join(lines)}],{json.dumps(tail)[1:]}\n".encode()
        listener.left_out.clear()
        listener.missed.clear()
        listener.secrets.clear()
        listener.is_heard = False
        return batch

    def _miss(self, listener: _Listener, event: Event) -> None:
        """Count an event that there is no room for."""
        listener.left_out[name_of(event)] += 1
        if listener.wants_bytes:
            match event:
                case Offered() | Delivered() if event.vm:
                    listener.missed[event.vm] += event.count
                case Sent():
                    listener.missed[event.destination[0]] += 1
                case Received():
                    listener.missed[event.source[0]] += event.count

    def _dismiss(self, listener: _Listener) -> None:
        fileno = listener.connection.fileno()
        if self._listeners.pop(fileno, None) is None:
            return
        self._epoll.unregister(listener.connection)
        listener.connection.close()
        if not self._listeners:
            self._on_listen(None)


def _wish(line_untrusted: bytes) -> tuple[bool, bool] | None:
    """Whether a listener wants bytes, and secrets; None for a line that makes no sense."""
    try:
        wish: Any = json.loads(line_untrusted)
        shows, opens = wish.get("bytes", False), wish.get("secrets", False)
    except (ValueError, AttributeError, RecursionError):
        return None
    return (shows, opens) if isinstance(shows, bool) and isinstance(opens, bool) else None
