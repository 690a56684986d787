"""Inner packets for a fuzzer: right, nearly right, or anything."""

from __future__ import annotations

from testbed import ADDRESSES, TEXT

from dtls_emu.wire.burst import Burst
from dtls_emu.wire.packet import fragments, icmp_echo, tcp_packet, udp_packet


A, B, A6, B6 = "10.0.0.4", "10.0.0.6", "fd00::4", "fd00::6"
STAMP = b"\x01\x01\x08\x0a" + bytes(8)
SOUND = (
    udp_packet(A, B, 1, 2, TEXT),
    udp_packet(A6, B6, 1, 2, TEXT),
    tcp_packet(A, B, 1, 2, TEXT * 20, options=STAMP, flags=0x10),
    tcp_packet(A6, B6, 1, 2, TEXT * 20, flags=0x18),
    icmp_echo(A, B, 1, 2, TEXT),
    udp_packet(A, B, 1, 2, TEXT * 100, df=False),
    udp_packet(A, "8.8.8.8", 1, 2, TEXT),
    *fragments(udp_packet(A, B, 1, 2, TEXT * 10), size=64),
    *fragments(udp_packet(A6, B6, 1, 2, TEXT * 10), size=96),
)
"""Between VMs a and b, and to the internet: each IP version, each protocol, each shape of fragment."""


def offload(testbed) -> None:
    """Have kernels carry the flows of right packets, if they are to carry any."""
    if testbed.is_offloaded:
        for each in SOUND * 3:
            testbed.hand_over("a", Burst.from_packets([each]))


def packet(script, longest: int = 1500) -> bytes:
    """One packet, never empty; its payload is at most so long if it is a right one."""
    kind = script.below(3)
    if kind == 0:
        chosen = script.edited(script.pick(SOUND))
    elif kind == 1:
        source, destination = script.pick(tuple(ADDRESSES.values())), script.pick(tuple(ADDRESSES.values()))
        make = script.pick((tcp_packet, udp_packet))
        options = {"flags": script.below(256)} if make is tcp_packet else {}
        body = (TEXT * (longest // len(TEXT) + 1))[: script.below(longest)]
        chosen = make(source, destination, script.below(4), 9, body, **options)
        if script.below(4) == 1:
            chosen = script.edited(chosen)
    else:
        chosen = script.blob()[:9000]
    return chosen or b"\0"
