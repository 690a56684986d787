"""From a lab's security groups and admin rules to the rules that the policy asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.lab.network_checks import members_of
from dtls_emu.lab.rules import DEFAULT_RULES, Rule, Security


if TYPE_CHECKING:
    from dtls_emu.lab.schema import Lab
    from dtls_emu.lab.security import AdminRule, SecurityRule


__all__ = ["compile_rules"]

_PROTOCOLS: Final = {
    "Any": None,
    "Tcp": frozenset({6}),
    "Udp": frozenset({17}),
    "Icmp": frozenset({1, 58}),
    "Esp": frozenset({50}),
    "Ah": frozenset({51}),
}


def compile_rules(lab: Lab) -> Security | None:
    """All rules of a lab, sorted; None where it has none."""
    admin: dict[str, list[Rule]] = {}
    for name, rule in lab.network_manager.admin_rules.items():
        compiled = _compile(name, rule)
        for network in members_of(lab, rule.groups):
            admin.setdefault(network, []).append(compiled)
    groups = {
        name: [_compile(f"UserRule_{each}", rule) for each, rule in group.rules.items()] + list(DEFAULT_RULES)
        for name, group in lab.security_groups.items()
    }
    if not admin and not groups:
        return None
    return Security(admin, groups)


def _compile(name: str, rule: AdminRule | SecurityRule) -> Rule:
    return Rule(
        name=name,
        priority=rule.priority,
        outbound=rule.direction == "Outbound",
        access=rule.access,
        protocols=_PROTOCOLS[rule.protocol],
        source=rule.source,
        destination=rule.destination,
        source_ports=rule.source_ports,
        destination_ports=rule.destination_ports,
    )
