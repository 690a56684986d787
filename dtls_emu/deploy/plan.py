"""From a lab to what has to be made for it, step by step; pure, so it is printed where nothing may be made.

Each host and each VM is a network namespace. Two hosts are joined by a cable, which is a veth pair: one for
each pair of hosts, so that every link of the lab is a real one that can be cut, watched and given an MTU. A
host's underlay address is on every cable of it, with the other host as the peer of the address: such a route
comes back by itself when a cable that was down is up again. A VM has one NIC, a TUN device, whose other side
is the card of its host. Nothing is in the namespace that the machine itself lives in, so addresses of a lab
clash neither with the machine's nor with those of another lab.

The commands of a step say the same in words of iproute2. They are what ``up --dry-run`` prints; a test runs them
and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from itertools import combinations
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import RunError
from dtls_emu.host.config import CONFIG
from dtls_emu.lab.kernel_names import cable_device, name_clashes, namespace_name, socket_trouble
from dtls_emu.lab.problems import dotted
from dtls_emu.overhead import IPV6_MINIMUM_MTU
from dtls_emu.paths import control_socket_in


if TYPE_CHECKING:
    from pathlib import Path

    from dtls_emu.lab.topology import Address, Prefix, Topology, Vm


__all__ = [
    "NIC",
    "CableEnd",
    "JoinHosts",
    "MakeFolder",
    "MakeNamespace",
    "MakeNic",
    "Plan",
    "StartCard",
    "Step",
    "cable_device",
    "cable_mtu",
    "namespace_name",
    "plan_run",
]

NIC: Final = "eth0"
"""Name of a VM's NIC in its namespace."""


IPV6_OFF: Final = {"disable_ipv6": 1}
IPV6_QUIET: Final = {
    "accept_dad": 0,  # nobody else is there to have the address
    "accept_ra": 0,
    "addr_gen_mode": 1,  # no address that the lab has not
    "keep_addr_on_down": 1,  # else a cable that was down comes back without
    "router_solicitations": 0,
}
"""Defaults in ``net.ipv6.conf`` of a namespace: no packet there that nobody sent."""


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """What one host may know: its certificate, its key, its ``host.json``."""

    host: str
    path: Path

    @property
    def commands(self) -> tuple[str, ...]:
        """In words of a shell."""
        return (f"install -d -m 0700 {self.path}", f"# host.json, certificate and key of {self.host}")

    @property
    def undo(self) -> str:
        """In words of a shell."""
        return f"rm -r {self.path}"


@dataclass(frozen=True, slots=True)
class MakeNamespace:
    """A host, or a VM, with nothing but a loopback.

    Fields:
        name: in ``/run/netns``.
        ipv6: whether anything in it has an IPv6 address.
        address: of a host, on its loopback: it can be bound even while every cable is down.
    """

    name: str
    ipv6: bool
    address: Address | None = None

    @property
    def settings(self) -> dict[str, int]:
        """Of ``net.ipv6.conf.default``, from which every interface takes its own."""
        return IPV6_QUIET if self.ipv6 else IPV6_OFF

    @property
    def commands(self) -> tuple[str, ...]:
        """In words of a shell."""
        pairs = " ".join(f"net.ipv6.conf.default.{key}={value}" for key, value in self.settings.items())
        commands = (
            f"ip netns add {self.name}",
            f"ip netns exec {self.name} sysctl -qw {pairs}",
            f"ip -n {self.name} link set lo up",
        )
        if self.address is None:
            return commands
        return (*commands, f"ip -n {self.name} address add {self.address} dev lo")

    @property
    def undo(self) -> str:
        """In words of a shell."""
        return f"ip netns del {self.name}"


@dataclass(frozen=True, slots=True)
class CableEnd:
    """One end of a cable.

    Fields:
        namespace: of its host.
        device: name of the interface, after the host at the other end.
        address, peer: underlay addresses of this host and of the other.
    """

    namespace: str
    device: str
    address: Address
    peer: Address


@dataclass(frozen=True, slots=True)
class JoinHosts:
    """A cable between two hosts; with one end goes the other.

    Fields:
        ends: at both hosts.
        mtu: of both.
    """

    ends: tuple[CableEnd, CableEnd]
    mtu: int

    @property
    def commands(self) -> tuple[str, ...]:
        """In words of a shell."""
        near, far = self.ends
        link = f"type veth peer name {far.device} mtu {self.mtu} netns {far.namespace}"
        return (
            f"ip -n {near.namespace} link add {near.device} mtu {self.mtu} {link}",
            *(
                command
                for end in self.ends
                for command in (
                    f"ip -n {end.namespace} link set {end.device} up",
                    f"ip -n {end.namespace} address add {end.address} peer {end.peer} dev {end.device}",
                )
            ),
        )

    @property
    def undo(self) -> str:
        """In words of a shell."""
        return f"ip -n {self.ends[0].namespace} link del {self.ends[0].device}"


@dataclass(frozen=True, slots=True)
class MakeNic:
    """A VM's NIC.

    Fields:
        vm: in the lab.
        namespace, device: where it is.
        mtu: in bytes.
        addresses: each with the length of the prefix that it is in.
        behind: prefixes that it answers for, too; of a gateway.
    """

    vm: str
    namespace: str
    device: str
    mtu: int
    addresses: tuple[tuple[Address, int], ...]
    behind: tuple[Prefix, ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        """In words of a shell."""
        ip = f"ip -n {self.namespace}"
        return (
            f"{ip} tuntap add {self.device} mode tun",
            f"{ip} link set {self.device} mtu {self.mtu} up",
            *(
                command
                for address, length in self.addresses
                for command in (
                    f"{ip} address add {address}/{length} dev {self.device}",
                    f"{ip} -{address.version} route add default dev {self.device}",
                )
            ),
            *(f"{ip} route add local {prefix} dev {self.device}" for prefix in self.behind),
        )

    @property
    def undo(self) -> str:
        """In words of a shell."""
        return f"ip -n {self.namespace} link del {self.device}"


@dataclass(frozen=True, slots=True)
class StartCard:
    """The card of a host, as a process.

    Fields:
        host: in the lab.
        namespace: where it runs.
        config: its ``host.json``.
        socket: its control socket.
    """

    host: str
    namespace: str
    config: Path
    socket: Path

    @property
    def commands(self) -> tuple[str, ...]:
        """In words of a shell."""
        return (f"ip netns exec {self.namespace} dtls-emu host --config {self.config} &",)

    @property
    def undo(self) -> str:
        """In words of a shell."""
        return f'echo \'{{"command": "close"}}\' | socat - UNIX-CONNECT:{self.socket}'


Step = MakeFolder | MakeNamespace | JoinHosts | MakeNic | StartCard


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a run.

    Fields:
        run: its name.
        folder: where its state and its hosts' folders are.
        steps: in the order in which they are made; undone in the opposite one.
    """

    run: str
    folder: Path
    steps: tuple[Step, ...]


def plan_run(topology: Topology, run: str, folder: Path) -> Plan:
    """What has to be made for a lab.

    Args:
        topology: the lab.
        run: name of the run.
        folder: of the run.

    Raises:
        RunError: names of the lab do not fit into those of Linux.
    """
    _check_names(topology, run, folder)
    hosts, vms = topology.hosts, topology.vms.values()
    return Plan(
        run,
        folder,
        (
            *(MakeFolder(host, folder / host) for host in hosts),
            *(_make_host(topology, run, host) for host in hosts),
            *(MakeNamespace(namespace_name(run, vm.name), ipv6=vm.address(6) is not None) for vm in vms),
            *(_join(topology, run, one, other) for one, other in combinations(hosts, 2)),
            *(_make_nic(topology, run, vm) for vm in vms),
            *(_start_card(run, folder, host) for host in hosts),
        ),
    )


def cable_mtu(topology: Topology, one: str, other: str) -> int:
    """The MTU of a cable: a veth has one for both directions; the card keeps to that of each."""
    mtu = max(topology.link(one, other).mtu, topology.link(other, one).mtu)
    # With less Linux takes IPv6 off an interface.
    return max(mtu, IPV6_MINIMUM_MTU) if _underlay(topology, one).version == 6 else mtu


def _make_host(topology: Topology, run: str, host: str) -> MakeNamespace:
    address = _underlay(topology, host)
    return MakeNamespace(namespace_name(run, host), ipv6=address.version == 6, address=address)


def _join(topology: Topology, run: str, one: str, other: str) -> JoinHosts:
    near, far = (
        CableEnd(
            namespace_name(run, host),
            cable_device(peer),
            _underlay(topology, host),
            _underlay(topology, peer),
        )
        for host, peer in ((one, other), (other, one))
    )
    return JoinHosts((near, far), cable_mtu(topology, one, other))


def _make_nic(topology: Topology, run: str, vm: Vm) -> MakeNic:
    prefixes = topology.networks[vm.network].prefixes
    addresses = tuple(
        (address, next(prefix.prefixlen for prefix in prefixes if address in prefix))
        for address in vm.addresses
    )
    return MakeNic(vm.name, namespace_name(run, vm.name), NIC, vm.mtu, addresses, vm.prefixes)


def _start_card(run: str, folder: Path, host: str) -> StartCard:
    return StartCard(host, namespace_name(run, host), folder / host / CONFIG, control_socket_in(folder, host))


def _underlay(topology: Topology, host: str) -> Address:
    return ip_address(topology.hosts[host].underlay)


def _check_names(topology: Topology, run: str, folder: Path) -> None:
    for clash in name_clashes(topology.hosts, topology.vms):
        raise RunError(f"{dotted(clash.path)}: {clash.message}")
    trouble = socket_trouble(run, topology.hosts, folder.parent)
    if trouble:
        raise RunError(trouble)
