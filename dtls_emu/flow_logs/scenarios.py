"""Flow logs to test a parser with: valid files that have what public samples lack.

The traffic is invented, and so are its counters; the files are made by the writer that makes those of a run. In public
samples every status is ``NX``.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from dtls_emu.events import Direction, FlowContinued, FlowEnded, FlowId, FlowStarted
from dtls_emu.flow_logs.writing import FlowLog
from dtls_emu.lab import compile_lab
from dtls_emu.lab.loader import parse_lab
from dtls_emu.policy import rows
from dtls_emu.vocabulary import FlowEncryption, Verdict


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.events import Event
    from dtls_emu.flow_logs.writing import Entry
    from dtls_emu.lab.topology import Topology


__all__ = ["SCENARIOS", "START", "emit_scenario"]

START: Final = 1_767_225_600.0
"""2026-01-01, 00:00 UTC: when simulated time begins, in flow logs."""

_LAB: Final = """
name: all-codes
virtual_networks:
  allow: {address_prefixes: [10.0.0.0/16, "fd00:10::/64"], vni: 7001, encryption: {enabled: true}, peerings: [drop]}
  drop: {address_prefixes: [10.1.0.0/16], vni: 7002, encryption: {enabled: true, enforcement: DropUnencrypted}}
hosts:
  host-1: {underlay: 192.0.2.1}
  host-2: {underlay: 192.0.2.2}
  host-3: {underlay: 192.0.2.3, smartnic: {present: false}}
vms:
  web: {host: host-1, virtual_network: allow, address: 10.0.0.4, address_v6: "fd00:10::4"}
  api: {host: host-2, virtual_network: allow, address: 10.0.0.5, address_v6: "fd00:10::5"}
  cache: {host: host-1, virtual_network: allow, address: 10.0.0.6}
  old: {host: host-2, virtual_network: allow, address: 10.0.0.7, size: Standard_B2s}
  no-card: {host: host-3, virtual_network: allow, address: 10.0.0.8}
  booting: {host: host-2, virtual_network: allow, address: 10.0.0.9, flow_table_ready: false}
  no-discovery: {host: host-2, virtual_network: allow, address: 10.0.0.10, discovery: false}
  strict-old: {host: host-2, virtual_network: drop, address: 10.1.0.4, size: Standard_D2_v2}
"""

_TCP, _UDP, _ICMP = 6, 17, 1
_INTERNET: Final = "203.0.113.7"  # RFC 5737
_PROBE: Final = "168.63.129.16"
"""The platform's own address, for DHCP, DNS and health probes."""


class _Talk:
    """Flows between VMs, as the cards at both ends tell of them."""

    def __init__(self, topology: Topology, log: FlowLog) -> None:
        self._topology = topology
        self._tell = log
        self._ports = count(49_152)
        self._of = {address: vm for vm in topology.vms.values() for address in map(str, vm.addresses)}

    def __call__(
        self,
        source: str,
        destination: str,
        port: int,
        code: FlowEncryption,
        *counts: tuple[float, int, int],
        protocol: int = _TCP,
        verdict: Verdict = Verdict.CLEAR,
        at: float = 0.0,
    ) -> None:
        """A flow from one address to another.

        Args:
            source, destination: one of them may be of the internet.
            port: of the destination; 0 for protocols without.
            code: what is logged.
            counts: a time, and what each end has sent by then, in packets; the flow ends with the last.
            protocol: as IP numbers it.
            verdict: DROP for a flow that is denied.
            at: when it begins, in seconds.
        """
        flow = FlowId(0, protocol, source, destination, next(self._ports) if port else 0, port)
        row = next(each.number for each in rows() if (each.code, each.verdict) == (code, verdict))
        for address, direction in ((source, Direction.EGRESS), (destination, Direction.INGRESS)):
            vm = self._of.get(address)
            if vm is None or (verdict is Verdict.DROP and direction is Direction.INGRESS):
                continue  # what is dropped never gets to the other end
            words = vm.name, direction, flow, row, verdict, code
            self._tell(FlowStarted(at, vm.host, 0, 0, *words))
            for number, (when, there, back) in enumerate(counts, 1):
                sent, received = (there, there * 700), (back, back * 180)
                out, into = (sent, received) if direction is Direction.EGRESS else (received, sent)
                counters = *out, *into
                kind = FlowEnded if number == len(counts) else FlowContinued
                event: Event = kind(when, vm.host, *words, *counters)
                self._tell(event)


def _all_codes() -> Iterator[Entry]:
    """Every status and state; platform rule, IPv6, ICMP, a flow that continues, and one that ends and begins again."""
    topology = compile_lab(parse_lab(_LAB, "all-codes.yaml"))
    log = FlowLog(topology, START)
    talk = _Talk(topology, log)
    code = FlowEncryption
    encrypt, drop = Verdict.ENCRYPT, Verdict.DROP
    long = (300.0, 9_000, 4_000), (600.0, 18_500, 8_100), (744.0, 21_000, 9_000)
    talk("10.0.0.4", "10.0.0.5", 443, code.X, *long, verdict=encrypt, at=0.125)
    talk("fd00:10::4", "fd00:10::5", 443, code.X, (4.5, 30, 28), verdict=encrypt, at=1.0)
    talk("10.0.0.4", _INTERNET, 443, code.NX, (9.0, 22, 33), at=1.5)
    talk(_PROBE, "10.0.0.4", 80, code.NX, (15.0, 4, 4), at=14.9)
    talk("10.0.0.4", "10.0.0.6", 6379, code.NX_LOCAL_DST, (40.0, 120, 118), at=2.0)
    talk("10.0.0.4", "10.0.0.7", 5432, code.NX_FALLBACK, (61.0, 800, 640), at=3.0)
    talk("10.0.0.4", "10.0.0.8", 5432, code.NX_HW_NOT_SUPPORTED, (62.0, 90, 70), at=3.5)
    talk("10.0.0.4", "10.0.0.9", 443, code.NX_SW_NOT_READY, verdict=drop, at=4.0)
    talk("10.0.0.4", "10.0.0.10", 443, code.NX_NOT_SUPPORTED, verdict=drop, at=5.0)
    talk("10.0.0.4", "10.1.0.4", 445, code.NX_NOT_ACCEPTED, verdict=drop, at=6.0)
    talk(_INTERNET, "10.0.0.4", 22, code.NX, (7.5, 1, 0), at=7.0)
    talk("10.0.0.4", "10.0.0.5", 0, code.X, (20.0, 5, 5), protocol=_ICMP, verdict=encrypt, at=15.0)
    for begin in (10.0, 30.0):
        flow = FlowId(7001, _UDP, "10.0.0.4", "10.0.0.5", 53_000, 53)
        about = "web", Direction.EGRESS, flow, 16, encrypt, code.X
        log(FlowStarted(begin, "host-1", 0, 0, *about))
        log(FlowEnded(begin + 2.0, "host-1", *about, 2, 140, 2, 320))
    flow = FlowId(7001, _TCP, "10.0.0.4", "10.1.0.4", 53_001, 3389)
    log(FlowStarted(31.0, "host-1", 0, 0, "web", Direction.EGRESS, flow, 2, drop, code.NX))
    return log.take()


SCENARIOS: Final = {"all-codes": _all_codes}
"""By name."""


def emit_scenario(name: str) -> Iterator[Entry]:
    """What a scenario's blobs have; the same every time.

    Raises:
        KeyError: there is none of that name.
    """
    return SCENARIOS[name]()
