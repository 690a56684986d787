"""What kernels say of packets: that they have done with them, or why these are an exception, which Python takes."""

from __future__ import annotations

from enum import IntEnum


__all__ = ["In", "Out"]


class Out(IntEnum):
    """Of a burst from a VM."""

    SEND = 0  # to another host: laid out, counted, and sealed where the backend has a native sealer
    MIXED = 1  # rows of several flows, classes or types of service
    MALFORMED = 2  # truncated or malformed headers, or a super-packet that cannot be cut
    PADDED = 3  # bytes behind a packet's end
    MISS = 4  # not decided, or to be decided again
    FOREIGN_VM = 5  # a flow of another VM of this host
    DROP = 6
    TOO_BIG = 7
    LOCAL = 8  # for a VM of this host
    GATEWAY = 9  # for the internet
    NO_PATH = 10  # no tunnel, or a worn key
    TOO_MANY_ROWS = 11  # a super-packet that is cut into more than 64 packets
    NO_ROOM = 12  # the memory for its rows is too small


class In(IntEnum):
    """Of rows of one flow from the fabric: why they are not delivered as they are."""

    MISS = -1
    NONE = -2  # not looked at: it was dropped before
    MALFORMED = -3
    REFUSED = -4  # as the flow's decision says
    FOREIGN_SOURCE = -5  # from another host than the flow's
    CLEAR_NOT_ACCEPTED = -6
    CE_NOT_CAPABLE = -7  # congestion outside, and packets that cannot say so
