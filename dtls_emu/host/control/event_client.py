"""Listen to the events of a running host, over its event socket: batches, one JSON object a line."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from dtls_emu.events import EventError, from_json
from dtls_emu.host.control.client import ControlError


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from dtls_emu.events import Event


__all__ = ["Batch", "EventClient"]

MAX_BATCH: Final = 64 << 20
"""Bytes of a line: of 256 events, each with the bytes of a whole burst in hexadecimal digits, there are fewer."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one host, in order.

    Fields:
        host: its name.
        events: what happened.
        left_out: events that were not told, by name, since the batch before: there was no room for them.
        missed: packets that were not shown since then, by the VM inside which, or the underlay address at the other end
            of the link on which, they would have been seen; only where bytes are wanted.
        secrets: lines of a TLS key log, if they are wanted.
    """

    host: str
    events: tuple[Event, ...]
    left_out: Mapping[str, int]
    missed: Mapping[str, int] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


class EventClient:
    """A listener. Usable with ``with``; iterating waits for the next batch, until the host ends::

    with EventClient(path) as client:
        for batch in client:
            ...
    """

    def __init__(
        self,
        path: Path | str,
        *,
        wants_bytes: bool = False,
        wants_secrets: bool = False,
        timeout: float | None = None,
    ) -> None:
        """
        Args:
            path: of the event socket.
            wants_bytes: be shown the bytes of packets and datagrams.
            wants_secrets: be told the secrets of handshakes.
            timeout: seconds to wait for a batch; None waits for as long as it takes.

        Raises:
            ControlError: no host answers there.
        """
        self.path = path
        self._received = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(str(path))
            wish = {"bytes": wants_bytes, "secrets": wants_secrets}
            self._socket.sendall(json.dumps(wish).encode() + b"\n")
        except OSError as error:
            self._socket.close()
            raise ControlError(f"{path}: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        """The batches, until the host ends.

        Raises:
            ControlError: it tells what makes no sense, or nothing for longer than the timeout.
        """
        while (line := self._read_line()) is not None:
            yield self._parsed(line)

    def take(self) -> tuple[list[Batch], bool]:
        """The batches that have come, without waiting; and whether the host has ended.

        Raises:
            ControlError: it tells what makes no sense.
        """
        is_over = False
        self._socket.setblocking(False)
        try:
            while len(self._received) <= MAX_BATCH:
                part = self._socket.recv(1 << 18)
                self._received += part
                if not part:
                    is_over = True
                    break
        except BlockingIOError:
            pass
        except OSError:
            is_over = True
        whole, _, rest = self._received.rpartition(b"\n")
        self._received = rest
        return [self._parsed(bytes(line)) for line in whole.split(b"\n") if line], is_over

    def fileno(self) -> int:
        """Readable when the host has told something."""
        return self._socket.fileno()

    def close(self) -> None:
        """Listen no more. Idempotent."""
        self._socket.close()

    def _read_line(self) -> bytes | None:
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > MAX_BATCH:
                raise ControlError(f"{self.path}: a batch of more than {MAX_BATCH} bytes")
            try:
                part = self._socket.recv(1 << 16)
            except TimeoutError as error:
                raise ControlError(f"{self.path}: nothing is told") from error
            except OSError as error:
                raise ControlError(f"{self.path}: {error.strerror or error}") from error
            if not part:
                return None
            self._received += part
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

    def _parsed(self, line_untrusted: bytes) -> Batch:
        try:
            data = json.loads(line_untrusted)
            left_out, missed = _counts(data["left_out"]), _counts(data.get("missed", {}))
            secrets = tuple(map(str, data.get("secrets", ())))
            return Batch(str(data["host"]), tuple(map(from_json, data["events"])), left_out, missed, secrets)
        except (EventError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ControlError(f"{self.path}: no batch of events: {line_untrusted[:80]!r}") from error


def _counts(found_untrusted: Mapping[str, int]) -> dict[str, int]:
    return {str(name): int(count) for name, count in found_untrusted.items()}
