"""A capture of hosts that are up, written as it comes about: the batches that they tell, merged by time.

Each host tells what it has seen in batches of its own, and late by a fiftieth of a second; so what is written is as old
as :data:`HELD`, and in order. What a host was not able to show is counted by the place where it would have been seen,
and stands in the statistics of that interface at the end of the capture.

Secrets are those of handshakes from the beginning of the capture on: older ones are gone, and hosts are asked for fresh
keys when it begins.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from dtls_emu.capture.views import CaptureStream
from dtls_emu.events import KeysRequested


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dtls_emu.events import Event


__all__ = ["HELD", "LiveCapture"]

HELD: Final = 0.25
"""Seconds that an event waits for those of other hosts: ten batches."""

_SECRETS: Final = "CLIENT_RANDOM"


class LiveCapture:
    """Batches in, blocks of a pcapng capture out.

    Fields:
        missed: packets that were not shown, by host and place there.

    Args:
        addresses: underlay address by host.
        opens: it has secrets, the inside of VMs and remarks; else it is what an eavesdropper has.
        epoch_ns: what the capture's clock shows at second 0 of the hosts', in nanoseconds.
    """

    def __init__(self, addresses: Mapping[str, str], *, opens: bool, epoch_ns: int) -> None:
        self.missed: Counter[tuple[str, str]] = Counter()
        self._secrets: dict[bytes, bytes] = {}
        self._stream = CaptureStream(addresses, self._secrets if opens else None, epoch_ns=epoch_ns)
        self._waiting: list[Event] = []
        self._sessions = 0

    @property
    def packets(self) -> int:
        """How many are in the capture."""
        return self._stream.packets

    @property
    def interfaces(self) -> int:
        """At how many interfaces."""
        return len(self._stream.interfaces)

    @property
    def handshakes(self) -> tuple[int, int]:
        """How many have records in the capture, and of how many of them it has the secrets."""
        return len(self._stream.handshakes), len(self._stream.opened)

    @property
    def sessions(self) -> int:
        """How many there were with a broker's keys, of which there are no secrets."""
        return self._sessions

    def header(self, comments: Iterable[str]) -> bytes:
        """The block that the capture begins with."""
        return self._stream.header(comments)

    def take(
        self, host: str, events: Sequence[Event], missed: Mapping[str, int], secrets: Iterable[str]
    ) -> None:
        """Take a batch of a host."""
        self._waiting += events
        self._sessions += sum(isinstance(event, KeysRequested) for event in events)
        for place, count in missed.items():
            self.missed[host, place] += count
        for line in secrets:
            words = line.split()
            if len(words) == 3 and words[0] == _SECRETS:
                self._secrets[bytes.fromhex(words[1])] = bytes.fromhex(words[2])

    def blocks(self, now: float) -> Iterator[bytes]:
        """The blocks of what has waited long enough.

        Args:
            now: seconds on the hosts' clock; infinity: all of it.
        """
        # By whole moments: what one call of a card has told is remarked on together.
        due = [event for event in self._waiting if event.time < now - HELD]
        self._waiting = [event for event in self._waiting if event.time >= now - HELD]
        due.sort(key=lambda event: event.time)  # stable: each host's own order is kept
        return self._stream.blocks(due)

    def end(self, now: float) -> Iterator[bytes]:
        """The blocks of what is left, and of what is missing.

        Args:
            now: seconds on the hosts' clock.
        """
        yield from self.blocks(float("inf"))
        yield from self._stream.statistics(self.missed, now)
