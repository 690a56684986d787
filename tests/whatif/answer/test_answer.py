"""Pairs are counted right, decided by the policy's table, and what breaks is found."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.lab import compile_lab, load_lab
from dtls_emu.policy import decide, flow_to
from dtls_emu.whatif.answer.comparison import compare_answers
from dtls_emu.whatif.answer.question import QuestionError
from dtls_emu.whatif.report.lab_file import as_lab
from dtls_emu.whatif.report.page import page
from tests.whatif.conftest import GROUP, NETWORK, Lists, totals


def mesh(lists, networks, everywhere="True"):
    group = lists.add(
        "Microsoft.Network/networkManagers/networkGroups",
        "m/g",
        groupMembers=[{"resourceId": each} for each in networks],
    )
    lists.add(
        "Microsoft.Network/networkManagers/connectivityConfigurations",
        "m/mesh",
        connectivityTopology="Mesh",
        isGlobal=everywhere,
        appliesToGroups=[{"networkGroupId": group}],
    )


def test_two_networks_that_are_not_joined_have_no_pairs(lists, ask):
    """Only pairs within each are counted."""
    for name in ("one", "two"):
        lists.network(name, "10.0.0.0/24")
        lists.vm(f"{name}-a", name)
        lists.vm(f"{name}-b", name)
    assert totals(ask(lists)) == {"encrypted": 2}


def test_the_policy_decides_about_a_lab_as_it_does_in_a_run(ask):
    """Every pair of VMs of a shipped lab, one by one, beside the groups."""
    topology = compile_lab(load_lab("mixed-sizes"))
    expected: dict[str, int] = {}
    vms = list(topology.vms.values())
    for index, one in enumerate(vms):
        for other in vms[index + 1 :]:
            verdict = decide(flow_to(topology, one, other.addresses[0]), topology.profile)
            expected[str(verdict.verdict)] = expected.get(str(verdict.verdict), 0) + 1
    spread = [each.host for each in vms]
    same_host = sum(spread[a] == spread[b] for a in range(len(spread)) for b in range(a + 1, len(spread)))
    found = totals(ask("mixed-sizes", enable="written"))
    assert sum(found.values()) == sum(expected.values())
    assert abs(found["dropped"] - expected["drop"]) + abs(found["clear"] - expected["clear"]) <= 2 * same_host
    assert found["encrypted"] >= expected["encrypt"]


SIZES = ("Standard_D4s_v5", "Standard_B2s", "Standard_E8s_v5")


def brute_force(vms, joined):
    """Pairs that are joined, one by one: encrypted, or not."""
    found = {"encrypted": 0, "clear": 0}
    for index, (network, size, accelerated) in enumerate(vms):
        for other_network, other_size, other_accelerated in vms[index + 1 :]:
            if network == other_network or frozenset((network, other_network)) in joined:
                good = "Standard_B2s" not in {size, other_size} and accelerated and other_accelerated
                found["encrypted" if good else "clear"] += 1
    return {key: value for key, value in found.items() if value}


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_groups_count_what_pairs_are_counted_one_by_one(seed):
    """Random networks: some peered, some in one or two overlapping meshes."""
    import json
    import tempfile
    from pathlib import Path

    from dtls_emu.whatif.answer.answer import answer
    from dtls_emu.whatif.answer.question import Question
    from dtls_emu.whatif.documents import read_documents
    from dtls_emu.whatif.model.build import build

    print(f"seed {seed}")
    rng = random.Random(seed)
    lists = Lists()
    names = [f"net-{number}" for number in range(rng.randint(1, 6))]
    ids = [lists.network(name, f"10.{number}.0.0/24") for number, name in enumerate(names)]
    vms = [
        (rng.randrange(len(names)), rng.choice(SIZES), rng.random() < 0.7) for _ in range(rng.randint(0, 12))
    ]
    for number, (network, size, accelerated) in enumerate(vms):
        lists.vm(f"vm-{number}", names[network], size, accelerated)
    joined = set()
    for one in range(len(names)):
        for other in range(one + 1, len(names)):
            if rng.random() < 0.3:
                lists.peer(names[one], names[other])
                joined.add(frozenset((one, other)))
    for number in range(rng.randint(0, 2)):
        members = [index for index in range(len(names)) if rng.random() < 0.6]
        group = lists.add(
            "Microsoft.Network/networkManagers/networkGroups",
            f"m/g{number}",
            groupMembers=[{"resourceId": ids[each]} for each in members],
        )
        lists.add(
            "Microsoft.Network/networkManagers/connectivityConfigurations",
            f"m/c{number}",
            connectivityTopology="Mesh",
            isGlobal=True,
            appliesToGroups=[{"networkGroupId": group}],
        )
        joined |= {frozenset((one, other)) for one in members for other in members if one != other}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lists.json"
        path.write_text(json.dumps(lists.items))
        found = answer(build(read_documents([str(path)])), Question())
    counted = {str(group.ruling.fate): 0 for group in found.pairs.groups}
    for group in found.pairs.groups:
        counted[str(group.ruling.fate)] += group.pairs
    assert counted == brute_force(vms, joined)


def test_a_regional_mesh_joins_within_regions_only(lists, ask):
    """Two regions: two groups."""
    ids = [lists.network(f"n{number}", f"10.{number}.0.0/24") for number in range(4)]
    for number, item in enumerate(lists.items):
        item["location"] = "eastus" if number < 2 else "westus"
    for number in range(4):
        lists.vm(f"vm-{number}", f"n{number}")
    mesh(lists, ids, everywhere="False")
    found = ask(lists)
    assert totals(found) == {"encrypted": 2}
    assert {route for group in found.pairs.groups for route in group.routes} == {
        "connected group mesh in eastus",
        "connected group mesh in westus",
    }


def test_spokes_of_a_virtual_wan_reach_each_other_through_the_hub(lists, ask):
    """Each leg ends at the hub, which is never encrypted: row 6."""
    lists.add("Microsoft.Network/virtualHubs", "hub")
    for number in range(3):
        network = lists.network(f"n{number}", f"10.{number}.0.0/24")
        lists.vm(f"vm-{number}", f"n{number}")
        lists.add(
            "Microsoft.Network/virtualHubs/hubVirtualNetworkConnections",
            f"hub/c{number}",
            remoteVirtualNetwork={"id": network},
        )
    found = ask(lists)
    assert totals(found) == {"clear": 3}
    assert found.pairs.groups[0].ruling.row.number == 6


def test_a_network_that_no_file_declares_is_unknown(lists, ask):
    """Unless the peering says what it is like; its endpoints are in no file, so there are no pairs either."""
    lists.network("own", "10.0.0.0/24", virtualNetworkPeerings=[
        {"remoteVirtualNetwork": {"id": f"{GROUP}/{NETWORK}/theirs"}, "remoteVirtualNetworkEncryption": {"enabled": True, "enforcement": "AllowUnencrypted"}},
        {"remoteVirtualNetwork": {"id": f"{GROUP}/{NETWORK}/others"}},
    ])  # fmt: skip
    lists.vm("a", "own")
    lists.vm("b", "own")
    found = ask(lists)
    states = {found.estate.networks[each].name: state.encrypted for each, state in found.states.items()}
    assert states == {"own": True, "theirs": True, "others": None}


@pytest.mark.parametrize(
    ("size", "said"), [("Standard_D4_s_v5", "Standard_D4s_v5"), ("Standard_Q1", "in no catalogue")]
)
def test_a_size_that_is_in_no_catalogue_is_unknown(lists, ask, size, said):
    """It is never taken for one that cannot; what may be meant is said."""
    lists.network("net", "10.0.0.0/24")
    lists.vm("odd", "net", size)
    lists.vm("usual", "net")
    found = ask(lists)
    assert totals(found) == {"unknown": 1}
    assert said in found.pairs.groups[0].causes[0].text


def test_what_breaks_is_found(lists, ask):
    """A mirror, a load balancer with secondary addresses, a confidential size, a gateway beside an appliance."""
    lists.network("net", "10.0.0.0/24")
    pool = f"{GROUP}/Microsoft.Network/loadBalancers/lb/backendAddressPools/all"
    lists.vm("vm", "net", size="Standard_DC2as_v5")
    nic = next(item for item in lists.items if item["name"] == "vm-nic")
    nic["ipConfigurations"] += [
        {
            "name": "two",
            "primary": False,
            "subnet": lists.subnet("net"),
            "loadBalancerBackendAddressPools": [{"id": pool}],
        }
    ]
    nic["ipConfigurations"][0]["privateIPAddress"] = "10.0.0.9"
    lists.add(
        "Microsoft.Network/loadBalancers",
        "lb",
        frontendIPConfigurations=[{"subnet": lists.subnet("net")}],
        backendAddressPools=[{"name": "all"}],
    )
    tap = lists.add("Microsoft.Network/virtualNetworkTaps", "tap")
    lists.add(
        "Microsoft.Network/networkInterfaces/tapConfigurations", "vm-nic/t", virtualNetworkTap={"id": tap}
    )
    lists.add(
        "Microsoft.Network/virtualNetworkGateways",
        "vpn",
        gatewayType="Vpn",
        ipConfigurations=[{"subnet": lists.subnet("net")}],
    )
    lists.add(
        "Microsoft.Network/routeTables",
        "rt",
        routes=[
            {
                "name": "r",
                "addressPrefix": "0.0.0.0/0",
                "nextHopType": "VirtualAppliance",
                "nextHopIpAddress": "10.0.0.9",
            }
        ],
    )
    found = ask(lists)
    assert [(each.what, each.certain, each.basis) for each in found.breakages] == [
        ("load balancer lb", True, "DOC"),
        ("mirror tap of vm", True, "DOC"),
        ("VM vm", False, "DOC"),
        ("VPN gateway vpn", False, "REP"),
    ]


def test_nothing_breaks_where_nothing_is_turned_on(lists, ask):
    """Asked about the files as they are."""
    lists.network("net", "10.0.0.0/24")
    lists.vm("a", "net", "Standard_B2s")
    lists.vm("b", "net")
    found = ask(lists, enable="written")
    assert totals(found) == {"clear": 1}
    assert found.pairs.groups[0].ruling.row.number == 4
    assert (found.breakages, found.actions) == ((), ())


def test_advice_begins_with_what_is_worth_most(lists, ask):
    """Three VMs of one size before one of another; restarts after what makes them worth it."""
    lists.network("net", "10.0.0.0/24")
    for number in range(3):
        lists.vm(f"b-{number}", "net", "Standard_B2s")
    lists.vm("old", "net", "Standard_D2_v2")
    for number in range(5):
        lists.vm(f"d-{number}", "net")
    texts = [each.text for each in ask(lists).advice]
    assert texts[0].startswith(
        "resize Standard_B2s to one that can be encrypted, such as Standard_D2s_v5: 3 VMs"
    )
    assert texts[1].startswith("resize Standard_D2_v2")
    assert texts[2].startswith("stop (deallocate) and start what runs already: 9 VMs")


def test_an_older_profile_knows_fewer_sizes(lists, ask):
    """In the preview of 2023 v5 was not encrypted; what is proposed instead is what then was."""
    lists.network("net", "10.0.0.0/24")
    lists.vm("a", "net")
    lists.vm("b", "net", "Standard_D4s_v4")
    assert totals(ask(lists)) == {"encrypted": 1}
    found = ask(lists, profile="preview-2023-07")
    assert totals(found) == {"clear": 1}
    assert "Standard_D4s_v4" in found.actions[0].text


@pytest.mark.parametrize(
    ("question", "said"),
    [({"profile": "none"}, "no profile `none`"), ({"enable": ("nett",)}, "did you mean `net`")],
)
def test_a_question_that_makes_no_sense_is_refused(lists, ask, question, said):
    """With what to ask instead."""
    lists.network("net", "10.0.0.0/24")
    with pytest.raises(QuestionError, match=said):
        ask(lists, **question)


def test_two_states_are_compared_by_who_is_in_them(ask):
    """Encryption off and on, and a VM that is resized: what changes for whom."""

    def state(enabled, size):
        lists = Lists()
        lists.network(
            "net", "10.0.0.0/24", encryption={"enabled": enabled, "enforcement": "AllowUnencrypted"}
        )
        lists.vm("a", "net", size)
        lists.vm("b", "net")
        lists.vm("c", "net")
        return ask(lists, enable="written")

    found = compare_answers(state(False, "Standard_B2s"), state(True, "Standard_B2s"))
    assert found.totals == (("encrypted", 0, 1), ("clear", 3, 2))
    assert found.changes == (
        ("b in net", "clear", "encrypted, clear"),
        ("c in net", "clear", "encrypted, clear"),
    )
    assert found.things == (
        ("network net", "not encrypted", "encrypted"),
        ("VMs of network net", "as they are", "3 to be stopped (deallocated) and started"),
    )
    same = compare_answers(state(True, "Standard_B2s"), state(True, "Standard_B2s"))
    assert (same.changes, same.things) == ((), ())


def test_that_vms_were_restarted_is_said_where_it_is_taken_for_granted(lists, ask):
    """Of a network that is encrypted already; what a file cannot say is no fact."""
    lists.network("net", "10.0.0.0/24", encryption={"enabled": True, "enforcement": "AllowUnencrypted"})
    lists.vm("a", "net")
    found = ask(lists, enable="written")
    assert any(
        remark.text.startswith("a: taken to have been stopped and started") for remark in found.remarks
    )
    assert found.actions == ()


def test_a_vm_whose_network_is_not_known_is_in_no_pair(lists, ask):
    """It is listed, and everything can still be shown."""
    lists.network("net", "10.0.0.0/24")
    lists.vm("a", "net")
    lists.vm("b", "net")
    lists.vm("lost", "net")
    nic = next(item for item in lists.items if item["name"] == "lost-nic")
    nic["ipConfigurations"] = [{"name": "one"}]
    found = ask(lists)
    assert totals(found) == {"encrypted": 1}
    assert [(each.what, each.why) for each in found.estate.doubts] == [
        ("lost", "its virtual network cannot be made out")
    ]
    assert page(found, "x")
    assert as_lab(found)
    assert compare_answers(found, found).changes == ()
