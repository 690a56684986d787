"""The shipped templates, each with the answer as it was worked out by hand.

A pair is counted where one of its ends is a VM, a node or a pod; n VMs that all reach each other have n(n-1)/2.
"""

import pytest

from tests.whatif.conftest import EXAMPLES, totals


def parameters(**values):
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"
    return {"$schema": schema, "parameters": {name: {"value": value} for name, value in values.items()}}


def rows(found):
    """Pairs by row of the table and by what they end at."""
    counted: dict[tuple[str, int | None, str], int] = {}
    for group in found.pairs.groups:
        row = None if group.ruling.row is None else group.ruling.row.number
        key = str(group.ruling.fate), row, str(group.kind)
        counted[key] = counted.get(key, 0) + group.pairs
    return counted


def test_every_example_is_worked_out_here():
    """None is shipped without an answer."""
    assert {path.name for path in EXAMPLES.iterdir()} == {
        "hub-and-spoke.json",
        "aks-private-database.json",
        "scale-set-behind-load-balancer.json",
        "mesh-with-admin-rules.json",
        "landing-zone.json",
        "landing-zone.parameters.json",
    }


def test_hub_and_spoke_with_a_standard_firewall(ask):
    """Hub: jump (B2s, no accelerated networking), firewall, VPN gateway. Two spokes with two VMs each.

    In the hub jump has 2 pairs, with firewall and gateway: row 6. In each spoke 1 pair is encrypted: 2. Across the
    peerings 4 VMs have 4 pairs with each of jump (row 13), firewall and gateway (row 6). Spokes reach each other by
    their default route: 2 x 2 pairs through the firewall, whose legs are in clear: row 6.
    """
    found = ask("hub-and-spoke.json")
    assert totals(found) == {"encrypted": 2, "clear": 18}
    assert rows(found) == {
        ("encrypted", 16, "vm"): 2,
        ("clear", 13, "vm"): 4,
        ("clear", 6, "vpn-gateway"): 5,
        ("clear", 6, "firewall-standard"): 5 + 4,
    }
    assert found.breakages == ()
    assert [(action.remedy, action.count) for action in found.actions] == [
        ("resize", 1),
        ("accelerated-networking", 1),
        ("restart", 5),
    ]


def test_hub_and_spoke_with_a_premium_firewall(ask):
    """It is encrypted as VMs are: 4 pairs with it, and the 4 between the spokes, leg by leg. Jump's is row 13."""
    found = ask("hub-and-spoke.json", parameters(firewallTier="Premium"))
    assert totals(found) == {"encrypted": 2 + 4 + 4, "clear": 1 + 1 + 4 + 4}


def test_hub_and_spoke_enforced(ask):
    """Row 13 becomes row 15: jump's 4 pairs with the spokes are dropped. What row 6 is about is not."""
    found = ask("hub-and-spoke.json", enforcement="DropUnencrypted")
    assert totals(found) == {"encrypted": 2, "clear": 14, "dropped": 4}
    assert any("AllowDropUnecryptedVnet" in remark.text for remark in found.remarks)


def test_hub_and_spoke_with_only_the_spokes_encrypted(ask):
    """Pairs with the hub are row 5, but in the hub row 4. Spoke to spoke: legs to a network in clear are row 5."""
    found = ask("hub-and-spoke.json", enable=("spoke-1", "spoke-2"))
    assert totals(found) == {"encrypted": 2, "clear": 18}
    assert sorted({group.ruling.row.number for group in found.pairs.groups}) == [4, 5, 16]


def test_aks_with_a_private_database(ask):
    """Nodes 3 x D4s_v5 and 2 x B4ms, pods of each pool counted once, an admin VM D2s_v5, a private endpoint.

    Capable: 3 nodes, their pods, admin: 5, so 10 pairs are encrypted. All 8 have 28 pairs; the other 18 have a B4ms
    end: row 13. Each of the 8 has a pair with the private endpoint: row 6.
    """
    found = ask("aks-private-database.json")
    assert totals(found) == {"encrypted": 10, "clear": 18 + 8}
    assert rows(found)["clear", 6, "private-endpoint"] == 8
    assert totals(ask("aks-private-database.json", enforcement="DropUnencrypted")) == {
        "encrypted": 10,
        "clear": 8,
        "dropped": 18,
    }


def test_aks_with_a_subnet_for_pods(ask):
    """Pods are row 6: the 2 kinds of pods have 1 pair with each other, 6 each with nodes and admin, 1 each with the endpoint.

    Left are 3 nodes and admin that can be encrypted: 6 pairs; with 2 B4ms nodes 15 - 6 = 9 are row 13; 6 pairs of nodes and
    admin with the endpoint are row 6.
    """
    found = ask("aks-private-database.json", parameters(podSubnet=True))
    assert totals(found) == {"encrypted": 6, "clear": 9 + 1 + 12 + 2 + 6}
    assert rows(found)["clear", 13, "vm"] == 9


@pytest.mark.parametrize(
    ("size", "breaks"), [("Standard_D4s_v5", True), ("Standard_D4s_v3", False)], ids=["v5", "v3"]
)
def test_an_api_server_in_the_network_is_blocked_by_newer_nodes(ask, size, breaks):
    """With v4 and newer nodes it breaks; with older ones it is in clear, as they are."""
    pools = [{"name": "one", "size": size, "count": 3}]
    found = ask("aks-private-database.json", parameters(apiServerSubnet=True, pools=pools))
    assert [(each.what, each.certain, each.basis) for each in found.breakages] == (
        [("AKS API server orders", True, "REP")] if breaks else []
    )


def test_a_scale_set_behind_a_load_balancer_with_an_old_vm(ask):
    """3 x D4s_v5 and a DS2_v2 behind it, a client E4s_v5: 4 can be encrypted, 6 pairs. The old one's 4 are row 13.

    Sizes are mixed, so the load balancer loses connectivity: its 5 pairs are row 7.
    """
    found = ask("scale-set-behind-load-balancer.json")
    assert totals(found) == {"encrypted": 6, "clear": 4, "broken": 5}
    assert [each.what for each in found.breakages] == ["load balancer front"]
    assert "Standard_DS2_v2" in found.breakages[0].why


def test_a_scale_set_behind_a_load_balancer_alone(ask):
    """Without the old VM all sizes can be encrypted: 6 pairs of VMs and 4 with the load balancer."""
    found = ask("scale-set-behind-load-balancer.json", parameters(withLegacy=False))
    assert totals(found) == {"encrypted": 6 + 4}
    assert found.breakages == ()


def test_a_mesh_with_admin_rules(ask):
    """Three networks with a VM each: D4s_v5, E8s_v5, D2s_v3. Of 3 pairs the one of the first two is encrypted.

    Rules deny everything between the first and the third, both ways: row 2. The pair of the second and third is row 13.
    The rule about ports of the internet denies no pair.
    """
    found = ask("mesh-with-admin-rules.json")
    assert totals(found) == {"encrypted": 1, "clear": 1, "denied": 1}
    assert rows(found) == {("encrypted", 16, "vm"): 1, ("clear", 13, "vm"): 1, ("denied", 2, "vm"): 1}
    assert {route for group in found.pairs.groups for route in group.routes} == {"connected group mesh"}


def test_a_landing_zone_without_its_parameters(ask):
    """Hub: jump D2s_v5 and a DNS resolver. Spoke: two VMs of a size that has no value.

    The resolver's 3 pairs are broken. The size decides about 2 pairs with jump and 1 in the spoke: unknown. The linked
    template is named.
    """
    found = ask("landing-zone.json")
    assert totals(found) == {"unknown": 3, "broken": 3}
    doubts = {each.why: each.matters for each in found.estate.doubts}
    assert doubts["parameter `vmSize` has no value; give a parameter file"] is True
    assert doubts["linked template monitoring.json is not fetched"] is False
    assert doubts["parameter `adminPassword` is a secret"] is False


def test_a_landing_zone_with_its_parameters(ask):
    """Size E4s_v5: the 3 pairs are encrypted; the resolver breaks as before."""
    found = ask("landing-zone.json", "landing-zone.parameters.json")
    assert totals(found) == {"encrypted": 3, "broken": 3}
    assert [each.what for each in found.breakages] == ["DNS resolver resolver/in"]
