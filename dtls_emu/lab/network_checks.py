"""What subnets, route tables and meshes say of the rest of the lab: names, prefixes, the vendor's limits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.lab.prefixes import nested
from dtls_emu.lab.problems import Problem, suggest
from dtls_emu.lab.routing import Group
from dtls_emu.vocabulary import EndpointKind


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dtls_emu.lab.problems import KeyPath
    from dtls_emu.lab.schema import Lab, VirtualNetwork


__all__ = ["check_networks", "groups_of", "members_of"]


@dataclass(frozen=True, slots=True)
class _Limits:
    """Of one connected group ("Limitations with Azure Virtual Network Manager", 2026-09)."""

    networks: int
    private_endpoints: int
    private_endpoints_each: int


_LIMITS: Final = {False: _Limits(250, 2_000, 1_000), True: _Limits(5_000, 20_000, 5_000)}
_ADMIN_RULES: Final = 100
_GROUPS_OF_A_NETWORK: Final = 2


def groups_of(lab: Lab) -> list[Group]:
    """The connected groups of a lab's meshes; a mesh that is not global is one for each region."""
    found: list[Group] = []
    for name, mesh in lab.network_manager.meshes.items():
        members = members_of(lab, mesh.groups)
        if mesh.is_global:
            found.append(Group(name, members))
            continue
        regions: dict[str, list[str]] = {}
        for each in members:
            regions.setdefault(lab.virtual_networks[each].region, []).append(each)
        found += [
            Group(name if len(regions) == 1 else f"{name} in {region}", tuple(each))
            for region, each in regions.items()
        ]
    return found


def check_networks(lab: Lab) -> Iterator[Problem]:
    """Every problem of subnets, route tables and meshes."""
    for name, network in lab.virtual_networks.items():
        yield from _check_subnets(lab, ("virtual_networks", name), network)
    manager = lab.network_manager
    for name, group in manager.groups.items():
        for index, member in enumerate(group.members):
            if member not in lab.virtual_networks:
                yield _unknown(
                    ("network_manager", "groups", name, "members", index),
                    "virtual network",
                    member,
                    lab.virtual_networks,
                )
    for name, mesh in manager.meshes.items():
        for index, each in enumerate(mesh.groups):
            if each not in manager.groups:
                here = ("network_manager", "meshes", name, "groups", index)
                yield _unknown(here, "network group", each, manager.groups)
    yield from _check_limits(lab)
    yield from _check_rules(lab)


def _check_subnets(lab: Lab, path: KeyPath, network: VirtualNetwork) -> Iterator[Problem]:
    spans = [
        (name, index, prefix)
        for name, subnet in network.subnets.items()
        for index, prefix in enumerate(subnet.address_prefixes)
    ]
    for name, index, prefix in spans:
        if not any(
            prefix.version == each.version and prefix.subnet_of(each)  # type: ignore[arg-type]
            for each in network.address_prefixes
        ):
            yield Problem(
                (*path, "subnets", name, "address_prefixes", index),
                f"{prefix} is outside `{path[-1]}`; write a part of {' or '.join(map(str, network.address_prefixes[:3]))}",
            )
    for first, second in (sorted(pair) for pair in nested([prefix for _, _, prefix in spans])):
        name, index, prefix = spans[second]
        yield Problem(
            (*path, "subnets", name, "address_prefixes", index),
            f"{prefix} overlaps {spans[first][2]} of `{spans[first][0]}`; write prefixes that do not",
        )
    for name, subnet in network.subnets.items():
        if subnet.route_table is not None and subnet.route_table not in lab.route_tables:
            here = (*path, "subnets", name, "route_table")
            yield _unknown(here, "route table", subnet.route_table, lab.route_tables)
        if subnet.security_group is not None and subnet.security_group not in lab.security_groups:
            here = (*path, "subnets", name, "security_group")
            yield _unknown(here, "security group", subnet.security_group, lab.security_groups)


def _check_rules(lab: Lab) -> Iterator[Problem]:
    for name, rule in lab.network_manager.admin_rules.items():
        for index, each in enumerate(rule.groups):
            if each not in lab.network_manager.groups:
                here = ("network_manager", "admin_rules", name, "groups", index)
                yield _unknown(here, "network group", each, lab.network_manager.groups)
    if len(lab.network_manager.admin_rules) > _ADMIN_RULES:
        yield Problem(
            ("network_manager", "admin_rules"),
            f"has {len(lab.network_manager.admin_rules)} rules, and a network manager has at most {_ADMIN_RULES}; write "
            "fewer, with lists of prefixes",
        )
    for name, group in lab.security_groups.items():
        seen: dict[tuple[str, int], str] = {}
        for each, one in group.rules.items():
            other = seen.setdefault((one.direction, one.priority), each)
            if other != each:
                yield Problem(
                    ("security_groups", name, "rules", each, "priority"),
                    f"{one.priority} is already that of `{other}`; write another",
                )


def _check_limits(lab: Lab) -> Iterator[Problem]:
    manager = lab.network_manager
    limits = _LIMITS[manager.high_scale]
    endpoints = Counter(
        each.virtual_network for each in lab.endpoints.values() if each.kind is EndpointKind.PRIVATE_ENDPOINT
    )
    joined: Counter[str] = Counter()
    for name, mesh in manager.meshes.items():
        path: KeyPath = ("network_manager", "meshes", name)
        members = members_of(lab, mesh.groups)
        joined.update(members)
        more = "" if manager.high_scale else ", or `high_scale: true`"
        if len(members) > limits.networks:
            yield Problem(
                path,
                f"joins {len(members)} virtual networks, and a connected group has at most {limits.networks}; write "
                f"smaller groups{more}",
            )
        count = sum(endpoints[member] for member in members)
        if count > limits.private_endpoints:
            yield Problem(
                path,
                f"has {count} private endpoints, and a connected group has at most {limits.private_endpoints}; write "
                f"smaller groups{more}",
            )
        for member in members:
            if endpoints[member] > limits.private_endpoints_each:
                yield Problem(
                    path,
                    f"`{member}` has {endpoints[member]} private endpoints, and a network of a connected group has at "
                    f"most {limits.private_endpoints_each}; take it out{more}",
                )
        if mesh.address_overlap == "Disallowed":
            yield from _check_overlap(lab, path, members)
    for name, count in joined.items():
        if count > _GROUPS_OF_A_NETWORK:
            yield Problem(
                ("virtual_networks", name),
                f"is in {count} meshes, and a virtual network is in at most {_GROUPS_OF_A_NETWORK} connected groups; "
                "take it out of a group",
            )


def _check_overlap(lab: Lab, path: KeyPath, members: tuple[str, ...]) -> Iterator[Problem]:
    pairs = [(prefix, name) for name in members for prefix in lab.virtual_networks[name].address_prefixes]
    for outer, inner in nested([prefix for prefix, _ in pairs]):
        (first, one), (second, other) = pairs[outer], pairs[inner]
        if one != other:
            yield Problem(
                (*path, "address_overlap"),
                f"{second} of `{other}` overlaps {first} of `{one}`; write other prefixes, or Allowed",
            )


def members_of(lab: Lab, groups: Iterable[str]) -> tuple[str, ...]:
    """Virtual networks of these network groups, in the lab's order; those that are not there are left out."""
    found: set[str] = set()
    for name in groups:
        group = lab.network_manager.groups.get(name)
        if group is None:
            continue
        found.update(group.members)
        if group.tag:
            found.update(
                each
                for each, network in lab.virtual_networks.items()
                if group.tag.items() <= network.tags.items()
            )
    return tuple(name for name in lab.virtual_networks if name in found)


def _unknown(path: KeyPath, what: str, name: str, names: Iterable[str]) -> Problem:
    known = sorted(names)
    return Problem(
        path, f"no {what} `{name}`; {suggest(name, known)}" if known else f"no {what} `{name}`; add it"
    )
