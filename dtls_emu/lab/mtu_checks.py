"""Whether links carry what must cross them: a handshake, and the smallest packet that IPv6 may be held to.

A sender of IPv6 need not make packets smaller than 1280 bytes (RFC 8200 5), so on a smaller path it hears of the MTU
and goes on as before: nothing arrives. An IPv4 guest goes lower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.lab.problems import Problem
from dtls_emu.overhead import IPV6_MINIMUM_MTU, path_overhead, smallest_handshake_mtu


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.lab.problems import KeyPath
    from dtls_emu.lab.schema import Lab


__all__ = ["check_mtus"]

_DEFAULTS: Final = ("link_defaults", "mtu")


def check_mtus(lab: Lab) -> Iterator[Problem]:
    """Every MTU of a link over which something can never pass."""
    version = next((host.underlay.version for host in lab.hosts.values()), 4)
    least = smallest_handshake_mtu(version)
    handshakes = [
        Problem(path, f"{mtu} is too small for a handshake over IPv{version}; write at least {least}")
        for path, mtu in _written(lab)
        if mtu < least
    ]
    yield from handshakes
    reported = {problem.path for problem in handshakes}
    for path, mtu, ends, needed in _black_holes(lab, version):
        if path not in reported:
            reported.add(path)
            yield Problem(
                path,
                f"{mtu} is too small for IPv6 between `{ends[0]}` and `{ends[1]}`: a packet of {IPV6_MINIMUM_MTU} bytes, "
                f"and no VM need send smaller ones (RFC 8200 5), has {needed} there; write at least {needed}, or give "
                "their VMs no `address_v6`",
            )


def _written(lab: Lab) -> Iterator[tuple[KeyPath, int]]:
    """Every MTU that the lab file has for a link, and where."""
    if lab.link_defaults.mtu is not None:
        yield _DEFAULTS, lab.link_defaults.mtu
    for index, link in enumerate(lab.links):
        if link.mtu is not None:
            yield ("links", index, "mtu"), link.mtu


def _black_holes(lab: Lab, version: int) -> Iterator[tuple[KeyPath, int, tuple[str, str], int]]:
    """Directions between IPv6 guests whose MTU is too small: where it is written, MTU, hosts, and what is needed."""
    # By whether a record is around the packet. A size that cannot encrypt may be changed while the lab is up, so
    # only the networks count.
    needed = {
        encrypted: path_overhead(encrypted=encrypted, underlay_version=version).total + IPV6_MINIMUM_MTU
        for encrypted in (False, True)
    }
    own = _by_direction(lab)
    if all(mtu >= needed[True] for _, mtu in _written(lab)):
        return
    peers = lab.peers
    hosts: dict[str, set[str]] = {}  # with an IPv6 guest, by network
    networks: dict[str, set[str]] = {}  # of IPv6 guests, by host
    for vm in lab.guests.values():
        if vm.address_v6 is not None and vm.virtual_network in lab.virtual_networks and vm.host in lab.hosts:
            hosts.setdefault(vm.virtual_network, set()).add(vm.host)
            networks.setdefault(vm.host, set()).add(vm.virtual_network)

    def need(one: str, other: str) -> int:
        return needed[all(lab.virtual_networks[name].encryption.enabled for name in (one, other))]

    for (source, destination), (path, mtu) in own.items():
        there = networks.get(destination, set())
        needs = (
            need(one, other)
            for one in networks.get(source, set())
            for other in there & {one, *peers.get(one, frozenset())}
        )
        if source != destination and mtu < (most := max(needs, default=0)):
            yield path, mtu, (source, destination), most
    default = lab.link_defaults.mtu
    if default is None:
        return
    for one, sources in sorted(hosts.items()):
        for other in sorted(hosts.keys() & {one, *peers.get(one, frozenset())}):
            if default >= need(one, other):
                continue
            pair = next(
                (
                    (source, destination)
                    for source in sorted(sources)
                    for destination in sorted(hosts[other])
                    if source != destination and (source, destination) not in own
                ),
                None,
            )
            if pair is not None:
                yield _DEFAULTS, default, pair, need(one, other)
                return


def _by_direction(lab: Lab) -> dict[tuple[str, str], tuple[KeyPath, int]]:
    """Directions that have an MTU of their own: where it is written, and how much. One direction goes before both."""
    own: dict[tuple[str, str], tuple[KeyPath, int]] = {}
    for index, link in sorted(enumerate(lab.links), key=lambda entry: entry[1].between is None):
        if link.mtu is not None:
            own.update(dict.fromkeys(link.directions, (("links", index, "mtu"), link.mtu)))
    return own
