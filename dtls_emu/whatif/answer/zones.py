"""Which pairs security rules deny as a whole: row 2 of the table.

A pair is denied where neither end may begin a connection with the other, on any protocol and port. Rules that are about
some ports, or some of the addresses, deny no pair. Administrators' rules come before those of security groups, and of
those each that is on the way is asked: at the subnet and at the interface.

Source: "Security admin rules in Azure Virtual Network Manager"; "Network security groups": default rules allow what is
within virtual networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.lab.prefixes import Prefix
    from dtls_emu.whatif.model.estate import Endpoint, Estate, SecurityRule


__all__ = ["Zone", "Zones", "is_denied"]

MAX_ZONES: Final = 300
"""More are not told apart: then what rules deny is counted as what it would be otherwise, and that is said."""

_EVERYWHERE: Final = frozenset({"*", "any", "virtualnetwork", "0.0.0.0/0", "::/0"})
_ELSEWHERE: Final = frozenset({"internet", "azureloadbalancer"})


@dataclass(frozen=True, slots=True)
class Zone:
    """Where the same rules are asked.

    Fields:
        prefixes: of the addresses in it.
        admin: rules of administrators; groups: those of each security group on the way. Each by priority.
    """

    prefixes: tuple[Prefix, ...]
    admin: tuple[SecurityRule, ...]
    groups: tuple[tuple[SecurityRule, ...], ...]


class Zones:
    """The zones of an estate.

    Fields:
        told_apart: some rule denies everything between prefixes, and there are few enough zones to look at each.
    """

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        self._known: dict[tuple[str, str, str], Zone] = {}
        rules = [each.rule for each in estate.admin_rules]
        rules += [rule for group in estate.security.values() for rule in group]
        where = {(each.network, each.subnet, each.security_group) for each in estate.endpoints.values()}
        self.told_apart = (
            any(rule.everything and not rule.allow for rule in rules) and len(where) <= MAX_ZONES
        )

    def of(self, endpoint: Endpoint) -> Zone | None:
        """The zone of an endpoint; None where zones make no difference."""
        if not self.told_apart:
            return None
        key = endpoint.network, endpoint.subnet, endpoint.security_group
        if key not in self._known:
            self._known[key] = self._zone(endpoint)
        return self._known[key]

    def _zone(self, endpoint: Endpoint) -> Zone:
        network = self._estate.networks[endpoint.network]
        subnet = network.subnets.get(endpoint.subnet)
        names = ("" if subnet is None else subnet.security_group, endpoint.security_group)
        return Zone(
            (subnet.prefixes if subnet is not None else ()) or network.prefixes,
            tuple(each.rule for each in self._estate.admin_rules if network.id in each.networks),
            tuple(self._estate.security[name] for name in names if name in self._estate.security),
        )


@lru_cache(maxsize=65_536)
def is_denied(one: Zone | None, other: Zone | None) -> bool:
    """Whether rules deny everything between two zones, whoever begins."""
    if one is None or other is None:
        return False
    return _is_blocked(one, other) and _is_blocked(other, one)


def _is_blocked(source: Zone, destination: Zone) -> bool:
    """Whether nothing that the source sends first arrives."""
    ends = source.prefixes, destination.prefixes
    return _stops(source, *ends, inbound=False) or _stops(destination, *ends, inbound=True)


def _stops(zone: Zone, source: tuple[Prefix, ...], destination: tuple[Prefix, ...], *, inbound: bool) -> bool:
    for rule in zone.admin:
        if rule.inbound is not inbound:
            continue
        if rule.allow and rule.final and _touches(rule, source, destination):
            return False  # always allowed, at least in part: no security group is asked
        if not rule.allow and _covers(rule, source, destination):
            return True
    return any(_group_stops(group, source, destination, inbound=inbound) for group in zone.groups)


def _group_stops(
    group: tuple[SecurityRule, ...],
    source: tuple[Prefix, ...],
    destination: tuple[Prefix, ...],
    *,
    inbound: bool,
) -> bool:
    for rule in group:
        if rule.inbound is not inbound:
            continue
        if rule.allow and _touches(rule, source, destination):
            return False
        if not rule.allow and _covers(rule, source, destination):
            return True
    return False


def _covers(rule: SecurityRule, source: tuple[Prefix, ...], destination: tuple[Prefix, ...]) -> bool:
    """Whether a rule is about everything between these."""
    return rule.everything and _all_in(source, rule.sources) and _all_in(destination, rule.destinations)


def _touches(rule: SecurityRule, source: tuple[Prefix, ...], destination: tuple[Prefix, ...]) -> bool:
    """Whether a rule may be about something between these; one whose addresses are not known may."""
    return _some_in(source, rule.sources) and _some_in(destination, rule.destinations)


def _all_in(prefixes: tuple[Prefix, ...], said: tuple[str, ...]) -> bool:
    if any(each.lower() in _EVERYWHERE for each in said):
        return True
    around = list(_prefixes(said))
    return bool(prefixes) and all(
        any(each.version == one.version and each.subnet_of(one) for one in around)  # type: ignore[arg-type]
        for each in prefixes
    )


def _some_in(prefixes: tuple[Prefix, ...], said: tuple[str, ...]) -> bool:
    named = {each.lower() for each in said}
    around = list(_prefixes(said))
    if not named or named & _EVERYWHERE or len(around) < len(named - _ELSEWHERE):
        return True
    return any(each.version == one.version and each.overlaps(one) for each in prefixes for one in around)


def _prefixes(said: tuple[str, ...]) -> Iterable[Prefix]:
    for each in said:
        try:
            yield ip_network(each, strict=False)
        except ValueError:
            continue
