"""What compiled code has carried, told as the card tells of what it carries itself: the same events, in the same order.

Of packets out: ``offered``, ``classified``, ``forwarded``, and ``sealed``. Of packets in: ``received``, ``opened``,
``classified`` and ``delivered``. There are no bytes in them: who wants to see bytes has Python carry the packets.

A compiled loop carries more than can be told. So many records a second are, and of the others every event is counted by
its name. Counters of flows are exact all the same, because flow tables count every packet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.events import (
    Classified,
    Delivered,
    Direction,
    Forwarded,
    How,
    Offered,
    Opened,
    Received,
    Sealed,
    packet_of,
)
from dtls_emu.nic.event_ring import DELIVERED, SENT_CLEAR, SENT_SEALED, EventRing
from dtls_emu.nic.flow_ledger import flow_id
from dtls_emu.wire.inspect import unpack_key
from dtls_emu.wire.overhead import ENCAPSULATION, RECORD_OVERHEAD


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dtls_emu.events import Observer
    from dtls_emu.nic.event_ring import Noted
    from dtls_emu.nic.flow_table import FlowTable
    from dtls_emu.nic.offload.datapath import Datapath
    from dtls_emu.nic.watching import Watcher


__all__ = ["CarriedPackets"]

_RECORDS_A_SECOND: Final = 1600
"""Four events each, of 15 us in Python: a tenth of a core."""

_MOST_AT_ONCE: Final = 64

_OUT: Final = ("offered", "classified", "forwarded")
_IN: Final = ("received", "classified", "delivered")
_EVENTS: Final = ((*_OUT, "sealed"), _OUT, (*_IN, "opened"), _IN)
"""By kind of record: what is told of it."""


class CarriedPackets:
    """Tells an observer what a compiled loop has left in a ring.

    Fields:
        ring: where it is left.
    """

    def __init__(
        self,
        watcher: Watcher,
        observer: Observer,
        datapath: Datapath,
        leave_out: Callable[[str, int], object],
    ) -> None:
        """
        Args:
            watcher: of the card; it numbers packets.
            observer: told.
            datapath: of the card.
            leave_out: called with the name of events and how many of them are not told.
        """
        self.ring = EventRing()
        self._watcher = watcher
        self._observer = observer
        self._datapath = datapath
        self._leave_out = leave_out
        self._room = float(_MOST_AT_ONCE)
        self._told_at = 0.0

    def tell(self, now: float) -> None:
        """Empty the ring. Flows must be those that were there when it was written.

        Args:
            now: seconds; how much is told depends on how much there was to tell of late.
        """
        if self.ring.is_empty:
            return
        grown = self._room + max(now - self._told_at, 0.0) * _RECORDS_A_SECOND
        self._told_at, self._room = now, min(grown, float(_MOST_AT_ONCE))
        told, left_out = self.ring.take(int(self._room))
        self._room -= len(told)
        for noted in told:
            if noted.kind in {SENT_SEALED, SENT_CLEAR}:
                self._tell_sent(noted)
            else:
                self._tell_delivered(noted)
        for kind, count in enumerate(left_out):
            for name in _EVENTS[kind] if count else ():
                self._leave_out(name, count)

    def _tell_sent(self, noted: Noted) -> None:
        tell, paths = self._observer, self._datapath.paths
        flow = self._datapath.out[noted.flow]
        number = packet_of(self._watcher.next_tag(noted.packets))
        about = noted.time, self._watcher.host, 0, number
        count, decision = noted.packets, flow.decision
        tell(Offered(*about, flow.vm, count, noted.nbytes))
        tell(Classified(*about, Direction.EGRESS, flow.vm, count, self._flow(self._datapath.out, noted)))
        how = How.ENCRYPTED if noted.kind == SENT_SEALED else How.CLEAR
        tell(Forwarded(*about, how, count, decision.row.number, decision.verdict, decision.code))
        if noted.kind == SENT_SEALED:
            ends = paths.local_port(noted.path), paths.destination(noted.path)[1]
            peer = paths.peer(noted.path).name
            tell(Sealed(*about, peer, ends, paths.epoch(noted.path), noted.number, count))

    def _tell_delivered(self, noted: Noted) -> None:
        tell, paths = self._observer, self._datapath.paths
        about = noted.time, self._watcher.host, 0, 0
        count, is_sealed = noted.packets, noted.kind == DELIVERED
        overhead = ENCAPSULATION + (RECORD_OVERHEAD if is_sealed else 0)
        source, port = paths.destination(noted.path), paths.local_port(noted.path)
        tell(Received(*about, source, port, count, noted.nbytes + count * overhead, noted.tos))
        if is_sealed:
            numbers = tuple(range(noted.number, noted.number + count))
            peer = paths.peer(noted.path).name
            tell(Opened(*about, peer, (port, source[1]), paths.epoch(noted.path), numbers))
        tell(Classified(*about, Direction.INGRESS, "", count, self._flow(self._datapath.into, noted)))
        tell(Delivered(*about, self._datapath.into[noted.flow].vm, count, noted.nbytes))

    def _flow(self, table: FlowTable[Any], noted: Noted) -> Any:
        return flow_id(unpack_key(table.keys[noted.flow]))
