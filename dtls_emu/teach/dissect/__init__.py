"""Bytes, taken apart: every field of every layer with its place, its value and what it means.

Untrusted input is normal: whatever is truncated or malformed is shown as far as it makes sense, and what is behind it
as bytes. Nothing here needs a key, and nothing here is used by the datapath.
"""

from dtls_emu.teach.dissect.datagram import dissect_datagram
from dtls_emu.teach.dissect.packet import dissect_packet
from dtls_emu.teach.dissect.record import dissect_record


__all__ = ["dissect_datagram", "dissect_packet", "dissect_record"]
