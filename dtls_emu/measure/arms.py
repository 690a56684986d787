"""From a lab to the two hosts of each arm: which VMs talk, over which fabric, with which backend.

The lab gives hosts, VMs and virtual networks. A benchmark adds what it must fix for every arm alike: both
backends, a fabric without impairments, jumbo unless the lab says otherwise, and addresses on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab.topology import DEFAULT_DELAY, DEFAULT_LINK_MTU, Topology
from dtls_emu.measure.packets import Ends
from dtls_emu.measure.plan import PATH_MTU, PLAIN, PLAIN_AGAIN
from dtls_emu.policy import decide, flow_to
from dtls_emu.vocabulary import Verdict


if TYPE_CHECKING:
    from dtls_emu.lab.topology import Link, Vm


__all__ = ["Pair", "arm_topology", "encrypted_pair", "impairments", "path_mtu"]

PLAIN_BACKEND: Final = "null"
"""A plain arm seals nothing; this one needs no library, so that a card can be made anywhere."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The VMs that talk.

    Fields:
        sender, receiver: on two hosts, in encrypted networks.
        ends: their addresses, one for each IP version that both have, IPv4 first.
    """

    sender: Vm
    receiver: Vm
    ends: tuple[Ends, ...]


def encrypted_pair(topology: Topology) -> Pair:
    """The first two VMs of a lab whose traffic is encrypted.

    Raises:
        DtlsEmuError: the lab has none.
    """
    for sender in topology.vms.values():
        for receiver in topology.vms.values():
            ends = _ends(sender, receiver)
            if ends and all(_is_encrypted(topology, sender, end) for end in ends):
                return Pair(sender, receiver, ends)
    raise DtlsEmuError(
        f"lab {topology.name}: a benchmark needs two VMs on two hosts whose traffic is encrypted, and there are none"
    )


def arm_topology(topology: Topology, pair: Pair, arm: str, underlays: tuple[str, str]) -> Topology:
    """The lab's two hosts as one arm sees them.

    Args:
        topology: of the lab.
        pair: the VMs.
        arm: `plain`, `plain-again`, or a backend's name.
        underlays: fabric addresses of the sender's and the receiver's host.
    """
    plain = arm in {PLAIN, PLAIN_AGAIN}
    mtu = path_mtu(topology, pair)
    vms = [replace(vm, mtu=mtu) for vm in (pair.sender, pair.receiver)]
    hosts = [
        replace(topology.hosts[vm.host], underlay=underlay, backend=PLAIN_BACKEND if plain else arm)
        for vm, underlay in zip(vms, underlays, strict=True)
    ]
    # A perfect link: what a socket or a function call loses is measured, not simulated.
    link = replace(
        topology.link(hosts[0].name, hosts[1].name),
        mtu=mtu,
        delay=0.0,
        jitter=0.0,
        loss=0.0,
        reorder=0.0,
        duplicate=0.0,
        corrupt=0.0,
        rate=0.0,
    )
    return Topology(
        name=topology.name,
        profile=topology.profile,
        seed=topology.seed,
        networks=[
            replace(network, encrypted=network.encrypted and not plain)
            for network in topology.networks.values()
        ],
        hosts=hosts,
        vms=vms,
        links=[link, replace(link, source=link.destination, destination=link.source)],
        default_link=link,
    )


def path_mtu(topology: Topology, pair: Pair) -> int:
    """The MTU between the two hosts: what the lab says, and where it says nothing a jumbo one, which all sizes fit."""
    said = {link.mtu for link in _links(topology, pair)} - {DEFAULT_LINK_MTU}
    return min(said, default=PATH_MTU)


def impairments(topology: Topology, pair: Pair) -> list[str]:
    """What a lab says of the links between the two hosts, but for their delay's default and the MTU, in words."""
    return list(
        dict.fromkeys(
            f"{name} {_written(name, value)}"
            for link in _links(topology, pair)
            for name in ("delay", "jitter", "loss", "reorder", "duplicate", "corrupt", "rate", "ecn_mark")
            if (value := getattr(link, name)) not in {0, DEFAULT_DELAY}
        )
    )


def _links(topology: Topology, pair: Pair) -> tuple[Link, Link]:
    sender, receiver = pair.sender.host, pair.receiver.host
    return topology.link(sender, receiver), topology.link(receiver, sender)


def _written(name: str, value: float) -> str:
    if name in {"delay", "jitter"}:
        return f"{value * 1e3:g} ms"
    return f"{value / 1e6:g} Mbit/s" if name == "rate" else f"{value * 100:g} %"


def _ends(sender: Vm, receiver: Vm) -> tuple[Ends, ...]:
    found = []
    for version in (4, 6):
        source, destination = sender.address(version), receiver.address(version)
        if source is not None and destination is not None:
            found.append(Ends(source, destination))
    return tuple(found)


def _is_encrypted(topology: Topology, sender: Vm, ends: Ends) -> bool:
    return decide(flow_to(topology, sender, ends.destination), topology.profile).verdict is Verdict.ENCRYPT
