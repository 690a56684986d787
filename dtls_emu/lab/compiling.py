"""From a validated lab to what the floors above look things up in: the lab file's entries as a topology."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import LabFileError
from dtls_emu.lab.card_models import CARD_MODELS
from dtls_emu.lab.checks import check_lab
from dtls_emu.lab.endpoint_kinds import resolved
from dtls_emu.lab.network_checks import groups_of
from dtls_emu.lab.problems import dotted
from dtls_emu.lab.profile_checks import profile_of
from dtls_emu.lab.routing import Subnet, UserRoute
from dtls_emu.lab.rule_compiling import compile_rules
from dtls_emu.lab.sizes import supports_encryption
from dtls_emu.lab.topology import DEFAULT_DELAY, DEFAULT_LINK_MTU, Host, Link, Network, Topology, Vm


if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

    from dtls_emu.lab import schema
    from dtls_emu.lab.placed import Placed
    from dtls_emu.lab.profiles import Profile


__all__ = ["compile_lab"]


def compile_lab(lab: schema.Lab) -> Topology:
    """Compile a validated lab.

    Raises:
        LabFileError: entries contradict each other. :func:`dtls_emu.lab.load_lab` has checked that, but a lab
            may also be made in Python.
    """
    problems = check_lab(lab)
    if problems:
        raise LabFileError([f"lab {lab.name}: {dotted(each.path)}: {each.message}" for each in problems])
    profile = profile_of(lab)
    peers = lab.peers
    groups = groups_of(lab)
    joined: dict[str, list[str]] = {}
    for group in groups:
        for member in group.members:
            joined.setdefault(member, []).append(group.name)
    return Topology(
        name=lab.name,
        profile=profile,
        seed=lab.seed,
        networks=(
            Network(
                name,
                network.vni,
                network.address_prefixes,
                network.encryption.enabled,
                network.encryption.enforcement,
                peers[name],
                network.region,
                network.use_remote_gateways,
                frozenset(joined.get(name, ())),
            )
            for name, network in lab.virtual_networks.items()
        ),
        hosts=(
            Host(
                name,
                str(host.underlay),
                host.region,
                host.smartnic.backend,
                host.smartnic.present,
                None if host.smartnic.model is None else CARD_MODELS[host.smartnic.model],
                host.smartnic.line_rate,
            )
            for name, host in lab.hosts.items()
        ),
        vms=(
            *(_compile_vm(lab, name, vm, profile) for name, vm in lab.vms.items()),
            *(_compile_endpoint(lab, name, each, profile) for name, each in lab.endpoints.items()),
        ),
        links=_compile_links(lab),
        default_link=replace(_PERFECT_LINK, **_settings(lab.link_defaults)),
        subnets=_compile_subnets(lab),
        groups=groups,
        security=compile_rules(lab),
    )


def _compile_subnets(lab: schema.Lab) -> Iterator[Subnet]:
    for name, network in lab.virtual_networks.items():
        for each, subnet in network.subnets.items():
            table = None if subnet.route_table is None else lab.route_tables[subnet.route_table]
            yield Subnet(
                each,
                name,
                subnet.address_prefixes,
                private=not subnet.default_outbound_access,
                routes=tuple(
                    UserRoute(route, entry.address_prefix, entry.next_hop)
                    for route, entry in (() if table is None else table.routes.items())
                ),
                security_group=subnet.security_group or "",
                propagates=table is None or table.gateway_route_propagation,
            )


def _compile_vm(lab: schema.Lab, name: str, vm: schema.Vm, profile: Profile) -> Vm:
    return Vm(
        **_place(name, vm),
        size=vm.size if isinstance(vm.size, str) else vm.size.name,
        size_capable=(
            supports_encryption(vm.size, profile.sizes) if isinstance(vm.size, str) else vm.size.can_encrypt
        ),
        accelerated_networking=vm.accelerated_networking,
        restarted=vm.restarted_since_encryption or not profile.restart_required,
        flow_table_ready=vm.flow_table_ready and not lab.hosts[vm.host].servicing,
        discovery=vm.discovery,
        running=vm.state == "running",
    )


def _compile_endpoint(lab: schema.Lab, name: str, endpoint: schema.Endpoint, profile: Profile) -> Vm:
    can_encrypt = endpoint.can_encrypt is not False
    return Vm(
        **_place(name, endpoint),
        size=endpoint.kind,
        size_capable=can_encrypt,
        accelerated_networking=True,
        restarted=True,
        flow_table_ready=not lab.hosts[endpoint.host].servicing,
        discovery=True,
        kind=endpoint.kind,
        prefixes=endpoint.prefixes,
        outcome=resolved(endpoint.kind, profile.unsupported, can_encrypt=can_encrypt),
    )


def _place(name: str, placed: Placed) -> dict[str, Any]:
    """Where something lives, and what its NIC is like."""
    return {
        "name": name,
        "host": placed.host,
        "network": placed.virtual_network,
        "addresses": (
            (placed.address,) if placed.address_v6 is None else (placed.address, placed.address_v6)
        ),
        "mac": (
            _derived_mac(name, placed.address)
            if placed.mac is None
            else bytes.fromhex(placed.mac.replace(":", ""))
        ),
        "mtu": placed.mtu,
    }


def _derived_mac(name: str, address: IPv4Address) -> bytes:
    """A locally administered unicast MAC (IEEE 802 8.4) that is the same in every run."""
    return b"\x02" + sha256(f"{name} {address}".encode()).digest()[:5]


def _compile_links(lab: schema.Lab) -> list[Link]:
    """Each direction that the lab file names; the more specific an entry, the later it is laid on."""
    settings: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in sorted(lab.links, key=lambda entry: entry.between is None):
        for direction in entry.directions:
            settings.setdefault(direction, _settings(lab.link_defaults)).update(_settings(entry))
    return [
        replace(_PERFECT_LINK, source=source, destination=destination, **values)
        for (source, destination), values in settings.items()
    ]


def _settings(entry: schema.LinkSettings) -> dict[str, Any]:
    """What an entry says of a link, without the hosts that it names."""
    return entry.model_dump(exclude_none=True, by_alias=False, exclude={"between", "source", "destination"})


_PERFECT_LINK: Final = Link("", "", DEFAULT_LINK_MTU, DEFAULT_DELAY)
