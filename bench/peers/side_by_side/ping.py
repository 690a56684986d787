"""Round-trip times through a tunnel: ``ping`` at a short, steady interval on an otherwise idle tunnel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from side_by_side.errors import PeerError
from side_by_side.processes import run


if TYPE_CHECKING:
    from side_by_side.peer import Tunnel


__all__ = ["RoundTrips", "parse_ping", "ping"]

PINGS: Final = 200
INTERVAL_S: Final = 0.005

TIME: Final = re.compile(r"icmp_seq=\d+ .*\btime=([0-9.]+) ms$", re.MULTILINE)
SENT: Final = re.compile(r"^(\d+) packets transmitted", re.MULTILINE)
REPEATED: Final = "(DUP!)"


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Round-trip times in microseconds: median and 99th percentile, and how many pings were lost."""

    p50_us: float
    p99_us: float
    lost: int


def ping(tunnel: Tunnel) -> RoundTrips:
    """Ping the server's end, the default payload of 56 bytes.

    Raises:
        PeerError: no answer at all.
    """
    argv = ["ping", "-n", "-c", str(PINGS), "-i", str(INTERVAL_S), "-W", "1", tunnel.server_address]
    return parse_ping(run(tunnel.client.wrap(argv), check=False).stdout)


def parse_ping(text: str) -> RoundTrips:
    """What ``ping`` of iputils prints.

    Raises:
        PeerError: it holds no round-trip time.
    """
    lines = "\n".join(line for line in text.splitlines() if not line.endswith(REPEATED))
    times = [1_000 * float(ms) for ms in TIME.findall(lines)]
    sent = SENT.search(text)
    if not times or sent is None:
        raise PeerError(f"ping: no answer: {text.strip()[-200:] or 'it said nothing'}")
    p50, p99 = np.percentile(times, (50, 99))
    return RoundTrips(float(p50), float(p99), int(sent[1]) - len(times))
