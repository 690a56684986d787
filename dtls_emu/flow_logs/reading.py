"""Reading flow logs: the vendor's blobs, and what collectors make of them.

What real files have, besides what the documents show, and is read: whole resource ids as ``aclID``, one list twice, the
zero GUID with ``PlatformRule``, one flow that runs B,E,B,E, empty counters, seconds for milliseconds, one record a line,
arrays of records, records as text inside of others, one event for each tuple. A stream may have any length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.flow_logs.errors import FlowLogError
from dtls_emu.flow_logs.json_values import cut_values
from dtls_emu.flow_logs.records import parse_record


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dtls_emu.flow_logs.records import Record


__all__ = ["read_records"]


def read_records(chunks: Iterable[bytes]) -> Iterator[Record]:
    """The records of a stream.

    Args:
        chunks: its bytes, in pieces of any size.

    Raises:
        FlowLogError: it is no flow log of version 4, or damaged. Says at which byte, and what it is.
    """
    for position, value in cut_values(chunks):
        try:
            yield parse_record(value)
        except FlowLogError as error:
            raise FlowLogError(f"byte {position}: {error}") from None
