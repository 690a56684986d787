"""The unit of the fast path: rows of packets in one contiguous buffer.

A TCP super-packet cut by the segmenter, a ``UDP_SEGMENT`` send and a ``UDP_GRO`` receive all have this
shape: equal rows, the last may be shorter. Row ``i`` starts at ``i * stride`` of the buffer and looks
like this; a header that is added later grows into the headroom, a tag into the tailroom:

::

    |<------------------------------ stride ------------------------------>|
    |  headroom (offset)  |            packet (size)            | tailroom |

With ``offset == 0`` and ``size == stride`` the rows touch each other and :attr:`Burst.wire` is what one
``sendmsg`` with ``UDP_SEGMENT`` takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dtls_emu.errors import LocalProtocolError


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


__all__ = ["MAX_ROWS", "Burst", "Shape"]

MAX_ROWS = 64
"""Most rows of a burst: the kernel's limit of segments in one ``UDP_SEGMENT`` send."""


class Shape(NamedTuple):
    """How the rows of a :class:`Burst` lie in its buffer, for kernels: one argument in the place of five.

    Fields:
        stride, offset, size, rows, last: as in :class:`Burst`, whose `count` is the number of rows.
    """

    stride: int
    offset: int
    size: int
    rows: int
    last: int


class Burst:
    """Rows of packets of one size but the last, which may be shorter.

    Fields:
        buffer: ``uint8``, one-dimensional, C-contiguous.
        stride: bytes from one row's start to the next.
        offset: where a packet begins in its row, in bytes (the headroom left).
        size: length of the packets but the last, in bytes.
        count: number of rows, at least 1.
        last: length of the last packet, ``1 <= last <= size``; equals ``size`` for a single row.
        mark: an opaque number that follows the packets through the card, as Linux's skb mark does.
            0 means unmarked. The simulation uses it to say which traffic item a drop belongs to.
        tos: type of service, or traffic class, that is outside: of datagrams, and of packets that are to be such.
        gso_size: above 0, the single row is a TCP or UDP super-packet that is yet to be cut into packets of
            so many bytes of payload (virtio's ``gso_size``); 0 for packets.
        layout: of a super-packet, as :func:`~dtls_emu.wire.headers.super_packet_layout` says: negative when it
            cannot be cut, 0 when it is as :func:`~dtls_emu.wire.headers.transport_layout` will say.
        packets: how many packets the rows are, or will be once they are cut.
    """

    __slots__ = (
        "buffer",
        "count",
        "gso_size",
        "last",
        "layout",
        "mark",
        "offset",
        "packets",
        "size",
        "stride",
        "tos",
    )

    def __init__(
        self,
        buffer: NDArray[np.uint8],
        *,
        stride: int,
        offset: int,
        size: int,
        count: int,
        last: int,
        mark: int = 0,
        tos: int = 0,
        gso_size: int = 0,
        layout: int = 0,
        packets: int = 0,
    ) -> None:
        self.buffer = buffer
        self.stride = stride
        self.offset = offset
        self.size = size
        self.count = count
        self.last = last
        self.mark = mark
        self.tos = tos
        self.gso_size = gso_size
        self.layout = layout
        self.packets = packets or count

    @classmethod
    def allocate(
        cls, size: int, count: int = 1, last: int = 0, *, headroom: int = 0, tailroom: int = 0, mark: int = 0
    ) -> Burst:
        """A burst of uninitialised rows; ``last`` 0 means a full last row."""
        stride = headroom + size + tailroom
        return cls(
            np.empty(count * stride, np.uint8),
            stride=stride,
            offset=headroom,
            size=size,
            count=count,
            last=last or size,
            mark=mark,
        )

    @classmethod
    def from_packets(
        cls, packets: Sequence[bytes], *, headroom: int = 0, tailroom: int = 0, mark: int = 0
    ) -> Burst:
        """Copy packets of one size, the last of which may be shorter, into a burst.

        Raises:
            LocalProtocolError: the packets do not have the shape of a burst.
        """
        size, last = len(packets[0]), len(packets[-1])
        if any(len(packet) != size for packet in packets[:-1]) or not 0 < last <= size:
            raise LocalProtocolError("packets of a burst have one size; only the last may be shorter")
        burst = cls.allocate(size, len(packets), last, headroom=headroom, tailroom=tailroom, mark=mark)
        for index, packet in enumerate(packets):
            burst.row(index)[:] = np.frombuffer(packet, np.uint8)
        return burst

    @classmethod
    def from_datagrams(cls, data: NDArray[np.uint8], segment: int = 0, mark: int = 0, tos: int = 0) -> Burst:
        """View one receive of ``UDP_GRO``: ``segment`` bytes a datagram, 0 for a single one."""
        length = len(data)
        if segment <= 0 or segment >= length:
            return cls(data, stride=length, offset=0, size=length, count=1, last=length, mark=mark, tos=tos)
        count = -(-length // segment)
        return cls(
            data,
            stride=segment,
            offset=0,
            size=segment,
            count=count,
            last=length - (count - 1) * segment,
            mark=mark,
            tos=tos,
        )

    @classmethod
    def super_packet(
        cls,
        buffer: NDArray[np.uint8],
        *,
        offset: int,
        length: int,
        gso_size: int,
        packets: int,
        mark: int = 0,
        layout: int = 0,
    ) -> Burst:
        """View a super-packet of ``length`` bytes at ``offset``, which stands for so many packets."""
        return cls(
            buffer,
            stride=len(buffer),
            offset=offset,
            size=length,
            count=1,
            last=length,
            mark=mark,
            gso_size=gso_size,
            layout=layout,
            packets=packets,
        )

    @property
    def shape(self) -> Shape:
        """How the rows lie in the buffer."""
        return Shape(self.stride, self.offset, self.size, self.count, self.last)

    @property
    def nbytes(self) -> int:
        """Bytes of all packets, without head- and tailroom."""
        return (self.count - 1) * self.size + self.last

    @property
    def wire(self) -> NDArray[np.uint8]:
        """The packets back to back, without a copy.

        Raises:
            LocalProtocolError: rows do not touch, there is room between them.
        """
        if self.count > 1 and self.size != self.stride:
            raise LocalProtocolError(f"rows of {self.size} bytes in a stride of {self.stride} do not touch")
        return self.buffer[self.offset : self.offset + self.nbytes]

    def row(self, index: int) -> NDArray[np.uint8]:
        """The packet of one row, as a view."""
        start = index * self.stride + self.offset
        return self.buffer[start : start + (self.last if index == self.count - 1 else self.size)]

    def rows(self) -> Iterator[NDArray[np.uint8]]:
        """Every packet in turn, as views. For tests, traces and edges: not for the fast path."""
        return (self.row(index) for index in range(self.count))

    def slice(self, start: int, stop: int) -> Burst:
        """Rows ``start`` to ``stop``, as a view of the same buffer."""
        return Burst(
            self.buffer[start * self.stride : stop * self.stride],
            stride=self.stride,
            offset=self.offset,
            size=self.size if stop - start > 1 or stop < self.count else self.last,
            count=stop - start,
            last=self.last if stop == self.count else self.size,
            mark=self.mark,
            tos=self.tos,
        )

    def cut(self, index: int, length: int) -> Burst:
        """One row, without what is behind its first ``length`` bytes, as a view of the same buffer."""
        single = self.slice(index, index + 1)
        single.size = single.last = length
        return single

    def __repr__(self) -> str:
        """Shape only: a payload never reaches a log."""
        return f"Burst({self.count} rows of {self.size}, last {self.last}, offset {self.offset}, stride {self.stride})"
