"""Security rules compiled: which packets a rule is about, in the order in which they are asked.

An administrator's rules of a network manager come first: Allow hands on to the security group, AlwaysAllow and Deny decide.
Then the rules of the subnet's security group, and its default rules behind them. Lower priorities come first.

Source: "Security admin rules in Azure Virtual Network Manager"; "Network security groups", default security rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from dtls_emu.lab.prefixes import PrefixSet


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dtls_emu.lab.prefixes import Prefix


__all__ = ["DEFAULT_RULES", "Access", "Question", "Rule", "Security", "Where"]


class Access(StrEnum):
    """What a rule does with what it matches."""

    ALLOW = "Allow"
    ALWAYS_ALLOW = "AlwaysAllow"
    DENY = "Deny"


class Where(StrEnum):
    """Service tags for one end of a packet."""

    ANY = "Any"
    VIRTUAL_NETWORK = "VirtualNetwork"
    INTERNET = "Internet"


Ports = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Fields:
        name: as flow logs have it.
        priority: lower ones come first.
        outbound: it is about what a VM sends; otherwise about what it gets.
        access: what it does.
        protocols: numbers of transport protocols; None for any.
        source, destination: where packets come from and go to; prefixes, or a tag.
        source_ports, destination_ports: ranges, both ends included; empty for any.
    """

    name: str
    priority: int
    outbound: bool
    access: Access
    protocols: frozenset[int] | None = None
    source: tuple[Prefix, ...] | Where = Where.ANY
    destination: tuple[Prefix, ...] | Where = Where.ANY
    source_ports: Ports = ()
    destination_ports: Ports = ()


DEFAULT_RULES: Final = (
    Rule(
        "DefaultRule_AllowVnetInBound",
        65_000,
        False,
        Access.ALLOW,
        None,
        Where.VIRTUAL_NETWORK,
        Where.VIRTUAL_NETWORK,
    ),
    Rule("DefaultRule_DenyAllInBound", 65_500, False, Access.DENY),
    Rule(
        "DefaultRule_AllowVnetOutBound",
        65_000,
        True,
        Access.ALLOW,
        None,
        Where.VIRTUAL_NETWORK,
        Where.VIRTUAL_NETWORK,
    ),
    Rule("DefaultRule_AllowInternetOutBound", 65_001, True, Access.ALLOW, None, Where.ANY, Where.INTERNET),
    Rule("DefaultRule_DenyAllOutBound", 65_500, True, Access.DENY),
)
"""Behind those of every security group. The one for probes of the vendor's load balancers is left out: there are none."""


class Question(NamedTuple):
    """A rule as it is asked: an end is None for any, True for private addresses, False for public ones, or prefixes."""

    rule: Rule
    protocols: frozenset[int] | None
    source: PrefixSet | bool | None
    destination: PrefixSet | bool | None
    source_ports: Ports
    destination_ports: Ports


class Security:
    """The rules of a lab, apart by direction and in the order of their priorities.

    Args:
        admin: of network managers, by name of the virtual network.
        groups: of security groups, by name, their default rules included.
    """

    def __init__(self, admin: Mapping[str, Iterable[Rule]], groups: Mapping[str, Iterable[Rule]]) -> None:
        self._admin = _tables(admin)
        self._groups = _tables(groups)

    def admin(self, network: str, *, outbound: bool) -> tuple[Question, ...]:
        """An administrator's rules for a virtual network."""
        return self._admin.get((network, outbound), ())

    def group(self, name: str, *, outbound: bool) -> tuple[Question, ...]:
        """The rules of a security group."""
        return self._groups[name, outbound]

    @property
    def rules(self) -> dict[str, list[tuple[str, Rule]]]:
        """All rules with the name of their network or group, to compare labs by."""
        tables = {"admin": self._admin, "groups": self._groups}
        return {
            kind: [(name, each.rule) for (name, _), asked in table.items() for each in asked]
            for kind, table in tables.items()
        }


def _tables(rules: Mapping[str, Iterable[Rule]]) -> dict[tuple[str, bool], tuple[Question, ...]]:
    return {
        (name, outbound): tuple(
            Question(
                rule,
                rule.protocols,
                _asked(rule.source),
                _asked(rule.destination),
                rule.source_ports,
                rule.destination_ports,
            )
            for rule in sorted(own, key=lambda rule: rule.priority)
            if rule.outbound is outbound
        )
        for name, own in rules.items()
        for outbound in (False, True)
    }


def _asked(end: tuple[Prefix, ...] | Where) -> PrefixSet | bool | None:
    if isinstance(end, Where):
        return None if end is Where.ANY else end is Where.VIRTUAL_NETWORK
    return PrefixSet(end)
