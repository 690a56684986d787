"""What the entries of a lab say of each other: names that must exist, addresses that must not clash."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from importlib.metadata import entry_points
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from dtls_emu.lab.kernel_names import name_clashes
from dtls_emu.lab.mtu_checks import check_mtus
from dtls_emu.lab.network_checks import check_networks
from dtls_emu.lab.prefixes import PrefixSet, clashes, nested
from dtls_emu.lab.problems import MAX_CHOICES, MAX_PROBLEMS, Problem, suggest
from dtls_emu.lab.profile_checks import check_profile
from dtls_emu.lab.traffic_checks import check_traffic
from dtls_emu.overhead import IPV6_MINIMUM_MTU
from dtls_emu.vocabulary import Keying


if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from dtls_emu.lab.placed import Placed
    from dtls_emu.lab.problems import KeyPath
    from dtls_emu.lab.schema import Lab, Link, VirtualNetwork


__all__ = ["Declared", "check_lab"]

BACKENDS: Final = "dtls_emu.backends"
"""Entry-point group of the cipher backends. Reading names imports none of them."""


@dataclass(frozen=True, slots=True)
class Declared:
    """Names that the file declares, also those whose entry is wrong elsewhere: a reference to them is right."""

    virtual_networks: frozenset[str] = field(default_factory=frozenset)
    hosts: frozenset[str] = field(default_factory=frozenset)
    vms: frozenset[str] = field(default_factory=frozenset)
    endpoints: frozenset[str] = field(default_factory=frozenset)

    @property
    def guests(self) -> frozenset[str]:
        """All that lives on hosts."""
        return self.vms | self.endpoints


def check_lab(lab: Lab, declared: Declared | None = None) -> list[Problem]:
    """The problems between the entries of a lab, one more than ``MAX_PROBLEMS`` at most; none when it can be compiled.

    Takes time in proportion to the lab: to its entries, their prefixes and their peerings.

    Args:
        lab: validated, entry by entry.
        declared: names beyond those of ``lab``, when it lacks entries of its file.
    """
    extra = declared or Declared()
    names = Declared(
        extra.virtual_networks | lab.virtual_networks.keys(),
        extra.hosts | lab.hosts.keys(),
        extra.vms | lab.vms.keys(),
        extra.endpoints | lab.endpoints.keys(),
    )
    missing = [*_check_sections(names)]
    if missing:  # every reference to it would be wrong
        return missing
    found = chain(
        _check_networks(lab, names),
        _check_hosts(lab),
        _check_vms(lab, names),
        _check_links(lab, names),
        check_mtus(lab),
        check_profile(lab),
        check_networks(lab),
        (
            replace(each, path=("endpoints", *each.path[1:]))
            if each.path[0] == "vms" and each.path[1] in names.endpoints
            else each
            for each in name_clashes(lab.hosts, names.guests)
        ),
        check_traffic(lab, names.guests),
    )
    return list(islice(found, MAX_PROBLEMS + 1))


def _check_sections(names: Declared) -> Iterator[Problem]:
    for section in fields(names):
        if section.name != "endpoints" and not getattr(names, section.name):
            yield Problem((section.name,), "missing or empty; write at least one entry")


def _check_networks(lab: Lab, names: Declared) -> Iterator[Problem]:
    seen = _Seen("VNI")
    for name, network in lab.virtual_networks.items():
        path: KeyPath = ("virtual_networks", name)
        yield from seen.check(network.vni, (*path, "vni"), name)
        for index, peer in enumerate(network.peerings):
            here = (*path, "peerings", index)
            if peer == name:
                yield Problem(here, f"`{name}` is peered with itself; write another network, or leave it out")
            elif peer not in names.virtual_networks:
                yield _unknown(here, "virtual network", peer, names.virtual_networks - {name})
        for pair in nested(network.address_prefixes):
            first, second = (network.address_prefixes[index] for index in sorted(pair))
            yield Problem(
                (*path, "address_prefixes", max(pair)), f"{second} overlaps {first}; write one of them"
            )
    yield from _check_overlaps(lab)


def _check_overlaps(lab: Lab) -> Iterator[Problem]:
    """A network and its peers share one address space: no two of them may overlap."""
    peers = lab.peers
    names = list(peers)
    numbers = {name: number for number, name in enumerate(names)}
    prefixes = [
        (prefix, numbers[name])
        for name, network in lab.virtual_networks.items()
        if peers[name]
        for prefix in network.address_prefixes
    ]
    neighbours = [sum(1 << numbers[peer] for peer in peers[name]) for name in names]
    for *pair, inner in clashes(prefixes, neighbours):
        first, second = (names[number] for number in sorted(pair))
        later = lab.virtual_networks[second].address_prefixes
        prefix = next(each for each in later if each.version == inner.version and each.overlaps(inner))
        if second in peers[first]:
            why = "which it is peered with"
        else:
            common = min(peers[first] & peers[second], key=numbers.__getitem__)
            why = f"and both are peered with `{common}`"
        yield Problem(
            ("virtual_networks", second, "address_prefixes"),
            f"{prefix} overlaps `{first}`, {why}; write prefixes that do not, or remove a peering",
        )


def _check_hosts(lab: Lab) -> Iterator[Problem]:
    seen = _Seen("underlay address")
    backends = {"auto", *entry_points(group=BACKENDS).names}
    version = next((host.underlay.version for host in lab.hosts.values()), 4)
    for name, host in lab.hosts.items():
        path: KeyPath = ("hosts", name)
        yield from seen.check(host.underlay, (*path, "underlay"), name)
        if host.underlay.version != version:
            first = next(iter(lab.hosts))
            yield Problem(
                (*path, "underlay"),
                f"{host.underlay} is IPv{host.underlay.version}, but host `{first}` has IPv{version}; "
                "write addresses of one version for all hosts",
            )
        if host.smartnic.backend not in backends:
            yield _unknown((*path, "smartnic", "backend"), "backend", host.smartnic.backend, backends)
        if host.smartnic.backend == "openssl" and lab.overrides.keying is Keying.BROKER:
            yield Problem(
                (*path, "smartnic", "backend"),
                "`openssl` has only the keys of its own handshake, and this lab's come from a broker; write another "
                "backend, or `keying: handshake`",
            )


def _check_vms(lab: Lab, names: Declared) -> Iterator[Problem]:
    addresses, macs = _Seen("address"), _Seen("MAC address")
    spaces = {name: PrefixSet(network.address_prefixes) for name, network in lab.virtual_networks.items()}
    placed = chain(
        (("vms", name, vm) for name, vm in lab.vms.items()),
        (("endpoints", name, endpoint) for name, endpoint in lab.endpoints.items()),
    )
    for section, name, vm in placed:
        path: KeyPath = (section, name)
        if section == "endpoints" and name in names.vms:
            yield Problem(path, f"a VM is called `{name}`, too; rename one of them")
        if vm.host not in names.hosts:
            yield _unknown((*path, "host"), "host", vm.host, names.hosts)
        if vm.virtual_network not in names.virtual_networks:
            yield _unknown(
                (*path, "virtual_network"), "virtual network", vm.virtual_network, names.virtual_networks
            )
        network = lab.virtual_networks.get(vm.virtual_network)
        for key, address in (("address", vm.address), ("address_v6", vm.address_v6)):
            if address is None:
                continue
            yield from addresses.check((vm.virtual_network, address), (*path, key), name, str(address))
            if network is not None:
                yield from _check_inside(network, spaces[vm.virtual_network], vm, (*path, key))
        if vm.mac is not None:
            yield from macs.check((vm.virtual_network, vm.mac), (*path, "mac"), name, vm.mac)
        if vm.address_v6 is not None and vm.mtu < IPV6_MINIMUM_MTU:
            yield Problem(
                (*path, "mtu"), f"{vm.mtu} is too small for IPv6; write at least {IPV6_MINIMUM_MTU}"
            )


def _check_inside(network: VirtualNetwork, space: PrefixSet, vm: Placed, path: KeyPath) -> Iterator[Problem]:
    address = vm.address if path[-1] == "address" else vm.address_v6
    assert address is not None
    inside = space.find(address)
    if inside is None:
        same_version = [prefix for prefix in network.address_prefixes if prefix.version == address.version]
        if same_version:
            more = ", or in another of its prefixes" if len(same_version) > MAX_CHOICES else ""
            spans = " or ".join(map(str, same_version[:MAX_CHOICES]))
            yield Problem(
                path, f"{address} is outside `{vm.virtual_network}`; write an address in {spans}{more}"
            )
        else:
            yield Problem(
                path,
                f"`{vm.virtual_network}` has no IPv{address.version} prefix; add one to its `address_prefixes`",
            )
    elif address.version == 4 and inside.prefixlen < 31 and address in {inside[0], inside[-1]}:
        yield Problem(
            path,
            f"{address} is the network or broadcast address of {inside}; write one from {inside[1]} to {inside[-2]}",
        )


def _check_links(lab: Lab, names: Declared) -> Iterator[Problem]:
    seen: set[Hashable] = set()
    for index, link in enumerate(lab.links):
        path: KeyPath = ("links", index)
        for key, host in _named_hosts(link):
            if host not in names.hosts:
                yield _unknown((*path, *key), "host", host, names.hosts)
        source, destination = link.directions[0]
        which = (source, destination) if link.between is None else frozenset(link.between)
        if source == destination:
            yield Problem(path, f"`{source}` is linked with itself; write two different hosts")
        elif which in seen:
            way = f"from `{source}` to" if link.between is None else f"between `{source}` and"
            yield Problem(path, f"an earlier entry is the link {way} `{destination}`; write one entry")
        seen.add(which)


def _named_hosts(link: Link) -> list[tuple[tuple[str | int, ...], str]]:
    if link.between is not None:
        return [(("between", side), host) for side, host in enumerate(link.between)]
    return list(zip((("from",), ("to",)), link.directions[0], strict=True))


def _unknown(path: KeyPath, what: str, name: str, names: frozenset[str] | set[str]) -> Problem:
    return Problem(path, f"no {what} `{name}`; {suggest(name, sorted(names))}")


class _Seen:
    """Finds the second use of what may be used once."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._owners: dict[Hashable, str] = {}

    def check(self, value: Hashable, path: KeyPath, owner: str, text: str = "") -> Iterator[Problem]:
        first = self._owners.setdefault(value, owner)
        if first != owner:
            yield Problem(path, f"{self._what} {text or value} is already that of `{first}`; write another")
