"""A look at the veth under a tunnel: is the payload hidden, and what carries it?"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from side_by_side.namespaces import LINK
from side_by_side.processes import daemon, run


if TYPE_CHECKING:
    from collections.abc import Iterable

    from side_by_side.peer import Place


__all__ = ["PINGS", "Sight", "exposure", "parse_frames", "unsealed", "watch_pings"]

MARKER: Final = bytes.fromhex("d715e30a9c42b16f")
"""Payload that no header holds by chance."""

PINGS: Final = 20
PAYLOAD: Final = 500
"""Bytes of it in each ping; frames shorter than that carry something else."""

PATIENCE_S: Final = 2.0
"""How long frames that have passed may need to be printed, on a busy machine."""

ETHERNET: Final = 14
ETHERTYPE_IPV4: Final = b"\x08\x00"
UDP_HEADER: Final = 8
PROTOCOLS: Final = {6: "TCP", 17: "UDP"}

DTLS_APPLICATION_DATA: Final = b"\x17\xfe\xfd"
"""Content type 23, version DTLS 1.2 (RFC 6347 4.1)."""

SNIFFER: Final = Path(__file__).with_name("sniffer.py").resolve()


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen.

    Fields:
        carried: frames long enough to hold a marked payload, by transport (``UDP``, ``TCP``, ``other``).
        clear: those in which it could be read.
        dtls: UDP datagrams that begin as DTLS 1.2 application data of an epoch with keys.
    """

    carried: dict[str, int]
    clear: int
    dtls: int

    @property
    def frames(self) -> int:
        """All that could hold a marked payload; twice :data:`PINGS` when nothing was missed."""
        return sum(self.carried.values())


def watch_pings(client: Place, address: str, log: Path, wire: tuple[Place, str] | None = None) -> Sight:
    """Send pings with a marked payload and watch what carries them.

    Args:
        client: where they start.
        address: whom they are for.
        log: file for the frames.
        wire: where to watch and which interface; by default the client's end of the veth.

    Raises:
        PeerError: a ping was not answered.
    """
    place, interface = wire or (client, LINK)
    with daemon(place.wrap([sys.executable, str(SNIFFER), interface]), log) as sniffer:
        sniffer.wait_for("^ready$")
        marked = ["ping", "-n", "-q", "-c", str(PINGS), "-i", "0.02", "-s", str(PAYLOAD), "-p", MARKER.hex()]
        run(client.wrap([*marked, address]))
        deadline = time.monotonic() + PATIENCE_S
        while True:
            sight = parse_frames(sniffer.text().splitlines()[1:])
            if sight.frames >= 2 * PINGS or time.monotonic() > deadline:
                return sight
            time.sleep(PATIENCE_S / 20)


def exposure(sight: Sight) -> str:
    """Why a tunnel does not hide what it carries, or cannot be seen to; empty when it does."""
    if sight.clear:
        return f"{sight.clear} of {sight.frames} packets were in clear on the underlay"
    if sight.frames < 2 * PINGS:
        return f"{PINGS} pings and their answers gave only {sight.frames} frames on the underlay"
    return ""


def unsealed(sight: Sight) -> str:
    """Why not everything was sealed in DTLS 1.2 records; empty when it was."""
    if reason := exposure(sight):
        return reason
    if sight.dtls < sight.frames:
        carriers = ", ".join(f"{count} by {name}" for name, count in sorted(sight.carried.items()))
        return f"only {sight.dtls} of {sight.frames} packets went in DTLS 1.2 records ({carriers})"
    return ""


def parse_frames(lines: Iterable[str]) -> Sight:
    """What Ethernet frames, each a line of hexadecimal digits, say. A line that is not whole yet is left out."""
    clear = dtls = 0
    carried: dict[str, int] = {}
    for line in lines:
        if len(line) % 2:
            continue
        frame = bytes.fromhex(line)
        if len(frame) < ETHERNET + PAYLOAD or frame[12:14] != ETHERTYPE_IPV4:
            continue
        clear += MARKER in frame
        transport = PROTOCOLS.get(frame[ETHERNET + 9], "other")
        carried[transport] = carried.get(transport, 0) + 1
        if transport == "UDP":
            header = 4 * (frame[ETHERNET] & 0x0F)
            datagram = frame[ETHERNET + header + UDP_HEADER :]
            dtls += datagram.startswith(DTLS_APPLICATION_DATA) and datagram[3:5] != b"\x00\x00"
    return Sight(carried, clear, dtls)
