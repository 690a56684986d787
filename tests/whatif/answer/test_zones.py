"""A pair is denied where no packet of either end would arrive, and nowhere else."""

from ipaddress import ip_network

import pytest

from dtls_emu.whatif.answer.zones import Zone, is_denied
from dtls_emu.whatif.model.estate import SecurityRule
from tests.whatif.conftest import totals


ONE, OTHER = "10.1.0.0/24", "10.2.0.0/24"


def rule(
    access="deny",
    inbound=True,
    sources=("*",),
    destinations=("*",),
    priority=100,
    everything=True,
    final=False,
):
    return SecurityRule("r", priority, inbound, access == "allow", everything, sources, destinations, final)


def zone(prefix, *group, admin=()):
    return Zone((ip_network(prefix),), tuple(admin), (tuple(group),) if group else ())


def denied(one, other):
    assert is_denied(one, other) is is_denied(other, one)
    return is_denied(one, other)


def test_without_rules_everything_is_allowed():
    """Default rules allow what is within virtual networks."""
    assert not denied(zone(ONE), zone(OTHER))
    assert not denied(None, zone(OTHER))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule()], False),  # the other may still be called
        ([rule(), rule(inbound=False)], True),
        ([rule(sources=(OTHER,)), rule(inbound=False, destinations=(OTHER,))], True),
        ([rule(sources=("10.0.0.0/8",)), rule(inbound=False, destinations=("10.0.0.0/8",))], True),
        ([rule(sources=("10.2.0.0/25",)), rule(inbound=False, destinations=(OTHER,))], False),
        ([rule(everything=False), rule(inbound=False)], False),
        ([rule("allow", sources=(OTHER,), priority=50), rule(), rule(inbound=False)], False),
        ([rule("allow", sources=("192.0.2.0/24",), priority=50), rule(), rule(inbound=False)], True),
        ([rule("allow", everything=False, priority=50), rule(), rule(inbound=False)], False),
        ([rule("allow", sources=("AzureCloud",), priority=50), rule(), rule(inbound=False)], False),
        ([rule("allow", sources=("Internet",), priority=50), rule(), rule(inbound=False)], True),
        ([rule("allow", sources=(), priority=50), rule(), rule(inbound=False)], False),
    ],
)
def test_a_security_group_denies_a_pair_only_as_a_whole(rules, expected):
    """Both ways, every address, every port; what may be allowed in part is not denied."""
    assert denied(zone(ONE, *rules), zone(OTHER)) is expected


def test_an_administrators_rule_comes_first():
    """`AlwaysAllow` keeps security groups from being asked; `Allow` does not; `Deny` is final."""
    closed = (rule(), rule(inbound=False))
    always = [rule("allow", final=True), rule("allow", inbound=False, final=True)]
    assert not denied(zone(ONE, *closed, admin=always), zone(OTHER))
    assert denied(zone(ONE, *closed, admin=[rule("allow")]), zone(OTHER))
    assert denied(zone(ONE, rule("allow"), admin=closed), zone(OTHER))


def test_a_security_group_is_read_from_the_files(lists, ask):
    """On the subnet of one VM: its pair with the other is row 2."""
    lists.network("net", "10.0.0.0/16", {"name": "apart", "addressPrefix": "10.0.9.0/24"})
    group = lists.add("Microsoft.Network/networkSecurityGroups", "closed", securityRules=[
        {"name": way, "priority": 100, "direction": way, "access": "Deny", "protocol": "*", "sourcePortRange": "*",
         "destinationPortRange": "*", "sourceAddressPrefix": "*", "destinationAddressPrefix": "*"}
        for way in ("Inbound", "Outbound")
    ])  # fmt: skip
    lists.items[0]["subnets"][1]["networkSecurityGroup"] = {"id": group}
    lists.vm("a", "net")
    lists.vm("b", "net")
    lists.vm("c", "net", subnet="apart")
    found = ask(lists)
    assert totals(found) == {"encrypted": 1, "denied": 2}
    assert {each.ruling.row.number for each in found.pairs.groups} == {2, 16}
