"""Security rules compiled: which packets a rule is about, in the order in which they are asked.

An administrator's rules of a network manager come first: Allow hands on to the security group, AlwaysAllow and Deny decide.
Then the rules of the subnet's security group, and its default rules behind them. Lower priorities come first.

Source: "Security admin rules in Azure Virtual Network Manager"; "Network security groups", default security rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtls_emu.lab.prefixes import Prefix


__all__ = ["DEFAULT_RULES", "Access", "Rule", "Security", "Where"]


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


@dataclass(frozen=True, slots=True)
class Security:
    """The rules of a lab.

    Fields:
        admin: of network managers, by name of the virtual network; sorted by priority.
        groups: of security groups, by name, their default rules included; sorted by priority.
    """

    admin: Mapping[str, tuple[Rule, ...]]
    groups: Mapping[str, tuple[Rule, ...]]
