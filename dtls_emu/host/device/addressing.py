"""What the kernel is told of a VM's device: addresses, MTU, routes, and how large a super-packet may be.

All that is set of a device goes with it, and nothing else of its namespace is touched; but for a container's,
where the routes around the card are closed.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dtls_emu.errors import DtlsEmuError
from dtls_emu.fabric.offload import MAX_SEND_BYTES, MAX_SEND_SEGMENTS
from dtls_emu.machine.netns import entered
from dtls_emu.wire.overhead import ENCAPSULATION, IPV6_HEADER, RECORD_OVERHEAD


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.lab.topology import Topology, Vm


__all__ = [
    "AddressingError",
    "check_underlays",
    "close_other_ways",
    "configure_device",
    "limit_super_packets",
    "super_packet_limit",
]

TCP_HEADER_WITH_TIMESTAMPS: Final = 32

KERNEL_RESERVE: Final = 320
"""Bytes that Linux takes off ``gso_max_size`` before it fills a super-packet (``MAX_TCP_HEADER``)."""

NO_DETECTION: Final = 0x02
"""``IFA_F_NODAD``: no other host is on the device, and an address on probation can be no source of a route."""

NO_LINK_LOCAL: Final = 1
"""``IN6_ADDR_GEN_MODE_NONE``: a VM has the addresses of the lab, and no other that the card would call spoofed."""


LAST_METRIC: Final = 2**32 - 1
"""Of a route that is used only when there is no other."""


class AddressingError(DtlsEmuError):
    """A device does not take what the lab says of it, or the lab and the fabric have the same addresses."""


def close_other_ways(vms: Iterable[Vm], topology: Topology) -> None:
    """Let what is for the networks of these VMs leave this namespace through their devices or not at all.

    A container has a default route. While there is no device, because the host is not that far yet or was killed,
    packets of the VMs would take it, in clear. So these routes stay.

    Raises:
        AddressingError: the kernel refuses.
    """
    prefixes = {prefix for vm in vms for prefix in topology.routing.reachable(vm)}
    try:
        with IPRoute() as kernel:
            for prefix in sorted(map(str, prefixes)):
                kernel.route("replace", dst=prefix, type="unreachable", priority=LAST_METRIC)
    except NetlinkError as error:
        raise AddressingError(f"no route can be made: {error}; it needs CAP_NET_ADMIN") from error


def check_underlays(vms: Iterable[Vm], topology: Topology) -> None:
    """Refuse a lab whose fabric is where its VMs are: sealed packets would go back into the card.

    Args:
        vms: whose devices are in the namespace that sealed packets leave from.
        topology: the lab, with the hosts' addresses as they are.

    Raises:
        AddressingError: a host's address lies in a network of one of the VMs.
    """
    for vm in vms:
        for prefix in topology.routing.reachable(vm):
            for host in topology.hosts.values():
                if ip_address(host.underlay) in prefix:
                    raise AddressingError(
                        f"{host.name} has the address {host.underlay} on the fabric, and {prefix} is a network of "
                        f"{vm.name}; write another prefix in the lab, or give the fabric other addresses"
                    )


def configure_device(device: str, netns: str | None, vm: Vm, topology: Topology, metric: int) -> None:
    """Give a device the VM's addresses and MTU, set it up, and route the VM's networks into it.

    Args:
        device: name of the interface.
        netns: where it is.
        vm: whose it is.
        topology: the lab.
        metric: of the routes. Devices of several VMs in one namespace have the same routes: there the one with
            the lowest metric is used, and a program that is another VM binds to that one's device.

    Raises:
        AddressingError: the kernel refuses.
    """
    with entered(netns):
        try:
            with IPRoute() as kernel:
                index = _index(kernel, device)
                kernel.link("set", index=index, mtu=vm.mtu, IFLA_AF_SPEC=_ADDRESS_GENERATION)
                for address in vm.addresses:
                    kernel.addr(
                        "add",
                        index=index,
                        address=str(address),
                        prefixlen=address.max_prefixlen,
                        flags=NO_DETECTION if address.version == 6 else 0,
                    )
                kernel.link("set", index=index, state="up")
                for prefix in topology.routing.reachable(vm):
                    own = vm.address(prefix.version)
                    if own is not None:
                        kernel.route("add", dst=str(prefix), oif=index, prefsrc=str(own), priority=metric)
                for prefix in vm.prefixes:  # what is behind a gateway answers here, too (AnyIP)
                    kernel.route(
                        "add", dst=str(prefix), oif=index, type="local", table=_LOCAL_TABLE, scope=_HOST_SCOPE
                    )
        except NetlinkError as error:
            raise AddressingError(f"{device} of {vm.name}: {error}") from error


def super_packet_limit(inner_mtu: int) -> int:
    """The ``gso_max_size`` whose super-packets are sealed and sent in one piece, in bytes.

    One send takes 64 datagrams and 65,507 bytes (udp(7)), and sealed packets are longer than those of the VM. A
    super-packet of a few packets more costs a second send, receive, write and acknowledgement.

    Args:
        inner_mtu: of the packets that a super-packet is cut into, in bytes.
    """
    rows = min(MAX_SEND_SEGMENTS, MAX_SEND_BYTES // (inner_mtu + ENCAPSULATION + RECORD_OVERHEAD))
    payload = inner_mtu - IPV6_HEADER - TCP_HEADER_WITH_TIMESTAMPS
    return rows * payload + KERNEL_RESERVE


def limit_super_packets(device: str, netns: str | None, size: int) -> str:
    """Set the ``gso_max_size`` of a device. Returns why that failed, or ""."""
    with entered(netns):
        try:
            with IPRoute() as kernel:
                kernel.link("set", index=_index(kernel, device), gso_max_size=size)
        except NetlinkError as error:
            return str(error)
    return ""


_LOCAL_TABLE: Final = 255
_HOST_SCOPE: Final = 254
"""Routes to the machine itself (linux/rtnetlink.h)."""

_ADDRESS_GENERATION: Final = {
    "attrs": [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", NO_LINK_LOCAL]]}]]
}


def _index(kernel: Any, device: str) -> int:
    found: list[int] = kernel.link_lookup(ifname=device)
    if not found:
        raise NetlinkError(19, f"no interface {device}")  # ENODEV
    return found[0]
