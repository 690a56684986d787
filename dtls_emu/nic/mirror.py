"""A mirror (virtual network TAP): copies of everything that a VM sends and gets, for a collector.

A view of a card's events, as flow logs and captures are: what is mirrored does not go through the VM's path, and counts in
none of its counters. Packets are copied where the VM has its interface: what it sends before anything is decided of it,
what it gets once it is delivered.

Source of the rules and limits: "Virtual network TAP" (2025-04-21, preview).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final
from zlib import crc32

from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import Delivered, Offered
from dtls_emu.vocabulary import EndpointKind
from dtls_emu.wire.tap import TAP_VNI, ethernet_frame, tap_packet


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.events import Event
    from dtls_emu.lab.topology import Topology, Vm


__all__ = ["GATEWAY_MAC", "Mirror", "MirrorRefusedError", "check_mirror"]

GATEWAY_MAC: Final = bytes.fromhex("123456789abc")
"""What a VM of the vendor's sees as the MAC of every next hop that is no VM beside it."""

_COLLECTORS: Final = (EndpointKind.VM, EndpointKind.LOAD_BALANCER)
_SIZE_6: Final = re.compile(r"_v6\Z", re.IGNORECASE)
_FIRST_PORT, _PORTS = 49_152, 16_384
"""Ports that the outer packets come from (RFC 7348 5)."""


class MirrorRefusedError(DtlsEmuError):
    """The vendor refuses such a mirror. Says why, and what to do."""


def check_mirror(topology: Topology, source: Vm, collector: Vm) -> None:
    """Refuse what the vendor does.

    Raises:
        MirrorRefusedError: with the rule.
    """
    own, other = topology.networks[source.network], topology.networks[collector.network]
    if source.kind is not EndpointKind.VM:
        raise MirrorRefusedError(
            f"{source.name} is no VM, but {source.kind}; only interfaces of VMs are mirrored"
        )
    if collector.kind not in _COLLECTORS:
        raise MirrorRefusedError(
            f"{collector.name} is {collector.kind}; a collector is a VM or an internal load balancer"
        )
    if source is collector:
        raise MirrorRefusedError(f"{source.name} cannot collect what it sends itself; name another collector")
    if own.encrypted:
        raise MirrorRefusedError(
            f"{source.name} is in {own.name}, whose encryption is enabled: VMs of such a network cannot be mirrored"
        )
    if other is not own and (other.name not in own.peers or other.region != own.region):
        raise MirrorRefusedError(
            f"{collector.name} is in {other.name}, which is neither the network of {source.name} nor one of its region "
            "that is peered with it; peer them first"
        )
    if _SIZE_6.search(source.size):
        raise MirrorRefusedError(
            f"{source.name} has size {source.size}: sizes of version 6 cannot be mirrored yet"
        )
    if not source.accelerated_networking or not source.restarted:
        raise MirrorRefusedError(
            f"the NIC of {source.name} is not on fastpath: it needs accelerated networking, and the VM has to be stopped "
            "(deallocated) and started once after the mirror was made"
        )
    if source.address(4) is None or collector.address(4) is None:
        raise MirrorRefusedError("a mirror needs an IPv4 address at both ends")


class Mirror:
    """Copies what a VM sends and gets: an observer of its card.

    Fields:
        mirrored: copies so far.
        left_out: IPv6 packets, which are not mirrored.
    """

    wants_bytes = True

    def __init__(
        self,
        topology: Topology,
        source: Vm,
        collector: Vm,
        emit: Callable[[float, bytes], object],
        *,
        vni: int = TAP_VNI,
    ) -> None:
        """
        Args:
            topology: the lab.
            source: the VM that is mirrored.
            collector: who gets the copies.
            emit: called with the time, in seconds, and each copy with its outer Ethernet header.
            vni: of the mirror.

        Raises:
            MirrorRefusedError: as :func:`check_mirror`.
        """
        check_mirror(topology, source, collector)
        self.mirrored = 0
        self.left_out = 0
        self._topology = topology
        self._vm = source
        self._source = _end(source)
        self._collector = _end(collector)
        self._emit = emit
        self._vni = vni

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, Offered | Delivered) and event.vm == self._vm.name:
            for packet in event.packets:
                self._copy(event.time, packet, is_sent=isinstance(event, Offered))

    def _copy(self, time: float, packet: bytes, *, is_sent: bool) -> None:
        if packet[0] >> 4 != 4:
            self.left_out += 1
            return
        own, other = self._vm.mac, self._mac_of(packet[16:20] if is_sent else packet[12:16])
        frame = ethernet_frame(own, other, packet) if is_sent else ethernet_frame(other, own, packet)
        # Both directions of a flow from one port: addresses and protocol, whoever is first.
        ends = b"".join(sorted((packet[12:16], packet[16:20])))
        port = _FIRST_PORT + crc32(ends + packet[9:10]) % _PORTS
        self._emit(time, tap_packet(frame, self._source, self._collector, port, vni=self._vni))
        self.mirrored += 1

    def _mac_of(self, address: bytes) -> bytes:
        """The MAC of a VM with this address, as far as this one can reach it; of the gateway otherwise."""
        found = self._topology.locate(self._vm.network, IPv4Address(address))
        return GATEWAY_MAC if found is None else found.mac


def _end(vm: Vm) -> tuple[bytes, IPv4Address]:
    address = vm.address(4)
    assert isinstance(address, IPv4Address)
    return vm.mac, address
