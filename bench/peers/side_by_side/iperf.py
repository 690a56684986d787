"""iperf3 through a tunnel: one server for one test, one client, the receiver's count believed."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from side_by_side.errors import PeerError
from side_by_side.processes import cpu_seconds, daemon, run


if TYPE_CHECKING:
    from collections.abc import Iterator

    from side_by_side.peer import Tunnel


__all__ = ["Datagrams", "Iperf", "Stream", "parse_datagrams", "parse_stream", "version"]

UDP_HEADERS: Final = 28
"""IPv4 and UDP: what ``iperf3 --length`` does not count."""

LISTENING: Final = "^Server listening"

PATIENCE_S: Final = 20.0
"""How much longer than asked a test may take: 64 handshakes through a full queue are slow."""

MAX_SOCKET_BUFFER: Final = 4 << 20
"""Of iperf3's own UDP sockets, as far as the machine's limits allow, so that a scheduling gap is no loss."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One TCP test.

    Fields:
        octets: payload bytes that the receiver got.
        seconds: its time.
        retransmits: the sender's count.
        cpu_s: CPU seconds of the tunnel's processes.
    """

    octets: int
    seconds: float
    retransmits: int
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Datagrams:
    """One UDP test.

    Fields:
        sent, received: packets.
        seconds: the sender's time.
        cpu_s: CPU seconds of the tunnel's processes.
    """

    sent: int
    received: int
    seconds: float
    cpu_s: float = 0.0

    @property
    def loss(self) -> float:
        """Share of what was sent."""
        return 1 - self.received / self.sent if self.sent else 1.0

    @property
    def sent_per_s(self) -> float:
        """Offered rate."""
        return self.sent / self.seconds

    @property
    def received_per_s(self) -> float:
        """Delivered rate, over the sender's time."""
        return self.received / self.seconds


class Iperf:
    """iperf3 between the ends of one tunnel."""

    def __init__(self, tunnel: Tunnel, work: Path, congestion: str) -> None:
        """``congestion``: TCP congestion control by its Linux name."""
        self._tunnel, self._log, self._congestion = tunnel, work / "iperf3-server.log", congestion
        self._socket_buffer = min(MAX_SOCKET_BUFFER, _limit("rmem_max"), _limit("wmem_max"))

    def tcp(self, flows: int, seconds: float) -> Stream:
        """As much as ``flows`` TCP connections carry in ``seconds``.

        Raises:
            PeerError: iperf3 failed.
        """
        options = ["--parallel", str(flows), "--congestion", self._congestion]
        document, cpu_s = self._measure(options, seconds)
        return parse_stream(document, cpu_s)

    def udp(self, size: int, seconds: float, packets_per_s: float = 0.0) -> Datagrams:
        """UDP in IP packets of ``size`` bytes at ``packets_per_s``; 0: as fast as iperf3 can.

        Raises:
            PeerError: iperf3 failed.
        """
        payload = size - UDP_HEADERS
        options = [
            *("--udp", "--length", str(payload), "--window", str(self._socket_buffer)),
            *("--bandwidth", str(round(packets_per_s * payload * 8))),
        ]
        document, cpu_s = self._measure(options, seconds)
        return parse_datagrams(document, cpu_s)

    def _measure(self, options: list[str], seconds: float) -> tuple[dict[str, Any], float]:
        tunnel = self._tunnel
        ends = ["--client", tunnel.server_address, "--bind", tunnel.client_address]
        client = ["iperf3", *ends, "--json", "--time", f"{seconds:g}", *options]
        with self._server() as log:
            before = cpu_seconds(tunnel.processes)
            done = run(tunnel.client.wrap(client), check=False, timeout=seconds + PATIENCE_S)
            cpu_s = cpu_seconds(tunnel.processes) - before
        try:
            document = json.loads(done.stdout)
        except ValueError as error:
            raise PeerError(f"iperf3: {(done.stderr or done.stdout).strip()[-200:]}") from error
        if "error" in document:
            raise PeerError(f"iperf3: {document['error']}; server: {_last_line(log)}")
        return document, cpu_s

    @contextmanager
    def _server(self) -> Iterator[Path]:
        """A server for one test, which has a port of its own since it has an address of its own."""
        argv = ["iperf3", "--server", "--one-off", "--forceflush", "--bind", self._tunnel.server_address]
        with daemon(self._tunnel.server.wrap(argv), self._log) as server:
            server.wait_for(LISTENING)
            yield server.log


def parse_stream(document: dict[str, Any], cpu_s: float = 0.0) -> Stream:
    """What a TCP client's JSON says.

    Raises:
        PeerError: nothing arrived.
    """
    end = document["end"]
    received = end["sum_received"]
    if not received["bytes"] or not received["seconds"]:
        raise PeerError("iperf3: no byte arrived")
    return Stream(received["bytes"], received["seconds"], end["sum_sent"].get("retransmits", 0), cpu_s)


def parse_datagrams(document: dict[str, Any], cpu_s: float = 0.0) -> Datagrams:
    """What a UDP client's JSON says: in ``sum_received`` iperf3 gives packets *sent*, and those lost of them."""
    end = document["end"]
    sent = end["sum_sent"]["packets"]
    return Datagrams(sent, sent - end["sum_received"]["lost_packets"], end["sum_sent"]["seconds"], cpu_s)


def version() -> str:
    """First line of ``iperf3 --version``."""
    return run(["iperf3", "--version"]).stdout.splitlines()[0]


def _limit(name: str) -> int:
    return int(Path("/proc/sys/net/core", name).read_text())


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"
