"""Where the parts of a tunnel write down what a call causes, until it returns.

One for each tunnel, shared by its parts; :meth:`Journal.take` makes the call's outcome of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.tunnel.happenings import KeysRequested, PortClosed
from dtls_emu.tunnel.outcome import NOTHING, Dropped, Opened, Outcome, Outgoing


if TYPE_CHECKING:
    from dtls_emu.tunnel.happenings import Ends, Happening
    from dtls_emu.vocabulary import DropReason


__all__ = ["Journal"]


class Journal:
    """Collects the outcome of one call.

    Args:
        is_observed: whether happenings are wanted. Whoever would build one looks at this first.

    Fields:
        is_observed: see above; may change between calls.
        opened: bursts with plaintext.
        control, extra_records, keys_changed, attempt_failed: as in :class:`~dtls_emu.tunnel.outcome.Outcome`.
        total_extra_records: over all calls.
        touched: something was caused, or a timer was set: the outcome is not quiet.
    """

    __slots__ = (
        "_closed_ports",
        "_datagrams",
        "_dropped",
        "_happenings",
        "_key_requests",
        "attempt_failed",
        "control",
        "extra_records",
        "is_observed",
        "keys_changed",
        "opened",
        "total_extra_records",
        "touched",
    )

    def __init__(self, *, is_observed: bool = False) -> None:
        self.is_observed = is_observed
        self.total_extra_records = 0
        self.touched = self.keys_changed = self.attempt_failed = False
        self.control = self.extra_records = 0
        self.opened: list[Opened] = []
        self._dropped: list[Dropped] = []
        self._datagrams: list[Outgoing] = []
        self._closed_ports: list[int] = []
        self._key_requests: list[int] = []
        self._happenings: list[Happening] = []

    def take(self) -> Outcome:
        """The outcome of the call; the next one begins with an empty page."""
        opened = tuple(self.opened)
        self.opened.clear()
        if not self.touched:
            return Outcome(opened) if opened else NOTHING
        outcome = Outcome(
            opened,
            tuple(self._dropped),
            self.control,
            self.extra_records,
            tuple(self._datagrams),
            tuple(self._closed_ports),
            tuple(self._key_requests),
            self.keys_changed,
            self.attempt_failed,
            False,
            tuple(self._happenings),
        )
        self.touched = self.keys_changed = self.attempt_failed = False
        self.control = self.extra_records = 0
        self._dropped.clear()
        self._datagrams.clear()
        self._closed_ports.clear()
        self._key_requests.clear()
        self._happenings.clear()
        return outcome

    def drop(self, reason: DropReason, count: int, mark: int) -> None:
        """Records or datagrams go no further."""
        self._dropped.append(Dropped(reason, count, mark))
        self.touched = True

    def count_control(self) -> None:
        """A record was the tunnel's own business."""
        self.control += 1
        self.touched = True

    def count_extra(self, records: int) -> None:
        """A datagram held more records than one, or records are counted a second time."""
        if records:
            self.extra_records += records
            self.total_extra_records += records
            self.touched = True

    def send(self, ends: Ends, datagram: bytes) -> None:
        """A datagram is to go to the peer; nothing happens when it is empty."""
        if datagram:
            self._datagrams.append(Outgoing(*ends, datagram))
            self.touched = True

    def close_port(self, port: int) -> None:
        """A local port is no longer in use."""
        self._closed_ports.append(port)
        self.touched = True
        if self.is_observed:
            self._happenings.append(PortClosed(port))

    def request_keys(self, port: int) -> None:
        """A broker's keys are wanted for a local port."""
        self._key_requests.append(port)
        self.touched = True
        if self.is_observed:
            self._happenings.append(KeysRequested(port))

    def change_keys(self) -> None:
        """Keys came into force, or went."""
        self.keys_changed = self.touched = True

    def fail(self) -> None:
        """An attempt failed that mattered."""
        self.attempt_failed = self.touched = True

    def note(self, happening: Happening) -> None:
        """Somebody observes, and this is for them."""
        self._happenings.append(happening)
        self.touched = True
