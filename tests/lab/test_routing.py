"""Where routes lead: the longest prefix, then users' routes, connected groups, peers and gateways."""

import time
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from dtls_emu.lab import Lab, compile_lab, load_lab
from dtls_emu.lab.checks import check_lab
from dtls_emu.lab.problems import dotted
from dtls_emu.lab.routing import NextHop


@pytest.fixture(scope="module")
def topology():
    return compile_lab(load_lab("routes"))


def make(networks, *, vms=("a",), **more):
    """A lab of networks with one VM in each of those named, at the fourth address of the first prefix."""
    return Lab.model_validate(
        {
            "virtual_networks": {
                name: {"vni": number, **network} for number, (name, network) in enumerate(networks.items(), 1)
            },
            "hosts": {"h1": {"underlay": "192.0.2.1"}},
            "vms": {
                name: {
                    "host": "h1",
                    "virtual_network": name,
                    "address": str(ip_network(networks[name]["address_prefixes"][0])[4]),
                }
                for name in vms
            },
            **more,
        }
    )


def hops(lab, vm, *addresses):
    """Next hop and owner of each address."""
    topology = compile_lab(lab)
    return [tuple(topology.routing.hop_of(topology.vms[vm], ip_address(each))) for each in addresses]


def problems(lab):
    return [f"{dotted(each.path)}: {each.message}" for each in check_lab(lab)]


@pytest.mark.parametrize(
    ("vm", "address", "next_hop", "owner"),
    [
        ("a-front", "10.1.9.9", NextHop.VNET_LOCAL, "spoke-a"),
        ("a-front", "10.0.0.4", NextHop.PEERING, "hub"),
        ("a-front", "10.2.0.4", NextHop.CONNECTED_GROUP, "spoke-b"),
        ("a-front", "10.3.0.4", NextHop.NONE, ""),  # a mesh of one region
        ("a-front", "10.4.0.4", NextHop.CONNECTED_GROUP, "legacy"),
        ("a-front", "192.168.7.7", NextHop.GATEWAY, "gateway"),
        ("a-front", "203.0.113.7", NextHop.INTERNET, ""),
        ("a-closed", "203.0.113.7", NextHop.NONE, ""),  # a private subnet
        ("a-cut-off", "10.2.0.4", NextHop.NONE, ""),  # a user's route
        ("a-cut-off", "192.168.7.7", NextHop.NONE, ""),  # without propagation
        ("b", "192.168.7.7", NextHop.NONE, ""),  # does not use the hub's gateway
        ("hub-vm", "192.168.7.7", NextHop.GATEWAY, "gateway"),
    ],
)
def test_routes_of_the_shipped_lab(topology, vm, address, next_hop, owner):
    """Each kind of next hop, and each reason for there being none."""
    assert topology.routing.hop_of(topology.vms[vm], ip_address(address)) == (next_hop, owner)


def test_effective_routes_are_what_the_portal_prints(topology):
    """Sources, states and next hops; one line for each prefix."""
    rows = topology.routing.effective(topology.vms["a-cut-off"])
    lines = {(str(row.prefixes[0]), row.source, row.state, str(row.next_hop), row.name) for row in rows}
    assert lines >= {
        ("10.1.0.0/16", "Default", "Active", "VnetLocal", ""),
        ("10.0.0.0/16", "Default", "Active", "VNetPeering", ""),
        ("10.2.0.0/16", "Default", "Invalid", "ConnectedGroup", ""),
        ("10.2.0.0/16", "User", "Active", "None", "no-spoke-b"),
        ("0.0.0.0/0", "Default", "Active", "Internet", ""),
        ("10.0.0.0/8", "Default", "Active", "None", ""),
    }
    hub = topology.routing.effective(topology.vms["hub-vm"])
    assert {str(row.next_hop) for row in hub if row.leads_to == "spoke-far"} == {"GlobalVNetPeering"}
    (behind,) = [row for row in hub if row.source == "VirtualNetworkGateway"]
    assert (behind.next_hop_address, str(behind.next_hop)) == ("10.0.1.4", "VirtualNetworkGateway")


def test_a_mesh_goes_before_a_peering_and_a_users_route_before_both():
    """Of the same prefix."""
    networks = {
        "a": {
            "address_prefixes": ["10.1.0.0/16"],
            "peerings": ["b"],
            "subnets": {"s": {"address_prefixes": ["10.1.0.0/24"], "route_table": "t"}},
        },
        "b": {"address_prefixes": ["10.2.0.0/16"]},
    }
    table: dict[str, Any] = {"t": {"routes": {}}}
    mesh = {"groups": {"g": {"members": ["a", "b"]}}, "meshes": {"m": {"groups": ["g"]}}}
    assert hops(make(networks, route_tables=table), "a", "10.2.0.4") == [(NextHop.PEERING, "b")]
    joined = make(networks, route_tables=table, network_manager=mesh)
    assert hops(joined, "a", "10.2.0.4") == [(NextHop.CONNECTED_GROUP, "b")]
    table["t"]["routes"] = {"r": {"address_prefix": "10.2.0.0/16", "next_hop": "None"}}
    assert hops(make(networks, route_tables=table, network_manager=mesh), "a", "10.2.0.4") == [
        (NextHop.NONE, "")
    ]
    table["t"]["routes"] = {"r": {"address_prefix": "0.0.0.0/0", "next_hop": "None"}}
    found = hops(make(networks, route_tables=table, network_manager=mesh), "a", "10.2.0.4", "8.8.8.8")
    assert found == [(NextHop.CONNECTED_GROUP, "b"), (NextHop.NONE, "")]


def test_overlapping_prefixes_are_left_out_of_a_mesh():
    """Traffic to them goes nowhere; a member that is peered with an overlapping network goes on to route there."""
    networks = {
        "a": {"address_prefixes": ["10.1.0.0/16"]},
        "b": {"address_prefixes": ["10.2.0.0/16", "10.9.0.0/16"]},
        "c": {"address_prefixes": ["10.2.128.0/17", "10.3.0.0/16"]},
        "outside": {"address_prefixes": ["10.9.0.0/24"], "peerings": ["a"]},
    }
    mesh: dict[str, Any] = {"groups": {"g": {"members": ["a", "b", "c"]}}, "meshes": {"m": {"groups": ["g"]}}}
    lab = make(networks, vms=("a", "b"), network_manager=mesh)
    assert hops(lab, "a", "10.2.0.4", "10.2.128.4", "10.3.0.4", "10.9.0.4", "10.9.1.4") == [
        (NextHop.NONE, ""),
        (NextHop.NONE, ""),
        (NextHop.CONNECTED_GROUP, "c"),
        (NextHop.PEERING, "outside"),
        (NextHop.NONE, ""),
    ]
    assert hops(lab, "b", "10.2.0.4") == [(NextHop.VNET_LOCAL, "b")]
    mesh["meshes"]["m"]["address_overlap"] = "Disallowed"
    (said,) = problems(make(networks, network_manager=mesh))
    assert "address_overlap: 10.2.128.0/17 of `c` overlaps 10.2.0.0/16 of `b`" in said


def many(count, **network):
    return {
        f"n{number}": {"address_prefixes": [f"10.{number >> 8}.{number & 255}.0/24"], **network}
        for number in range(count)
    }


def test_the_vendors_limits_of_a_connected_group_are_errors():
    """250 networks, or 5,000 at high scale; and at most two groups for a network."""
    group = {"groups": {"g": {"tag": {"mesh": "yes"}}}, "meshes": {"m": {"groups": ["g"]}}}
    lab = many(251, tags={"mesh": "yes"})
    (said,) = problems(make(lab, vms=("n0",), network_manager=group))
    assert said.startswith("network_manager.meshes.m: joins 251 virtual networks")
    assert "`high_scale: true`" in said
    assert problems(make(lab, vms=("n0",), network_manager=group | {"high_scale": True})) == []
    thrice = {"groups": group["groups"], "meshes": {name: {"groups": ["g"]} for name in ("m", "n", "o")}}
    found = problems(make(many(2, tags={"mesh": "yes"}), vms=("n0",), network_manager=thrice))
    assert len(found) == 2
    assert "is in 3 meshes" in found[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"network_manager": {"groups": {"g": {"members": ["x"]}}}}, "no virtual network `x`"),
        ({"network_manager": {"meshes": {"m": {"groups": ["x"]}}}}, "no network group `x`"),
    ],
)
def test_names_must_exist(more, said):
    """Of networks, groups and route tables."""
    (problem,) = problems(make({"a": {"address_prefixes": ["10.1.0.0/16"]}}, **more))
    assert said in problem


@pytest.mark.parametrize(
    ("subnets", "said"),
    [
        ({"s": {"address_prefixes": ["10.2.0.0/24"]}}, "10.2.0.0/24 is outside `a`"),
        (
            {"s": {"address_prefixes": ["10.1.0.0/24"]}, "t": {"address_prefixes": ["10.1.0.128/25"]}},
            "10.1.0.128/25 overlaps 10.1.0.0/24 of `s`",
        ),
        ({"s": {"address_prefixes": ["10.1.0.0/24"], "route_table": "x"}}, "no route table `x`"),
    ],
)
def test_subnets_are_parts_of_their_network(subnets, said):
    """Inside it, and apart from each other."""
    (problem,) = problems(make({"a": {"address_prefixes": ["10.1.0.0/16"], "subnets": subnets}}))
    assert said in problem


def test_appliances_are_refused_in_words():
    """Rather than taken and not emulated."""
    with pytest.raises(ValueError, match="appliances that forward packets of others are not emulated"):
        make(
            {"a": {"address_prefixes": ["10.1.0.0/16"]}},
            route_tables={
                "t": {"routes": {"r": {"address_prefix": "0.0.0.0/0", "next_hop": "VirtualAppliance"}}}
            },
        )


def test_five_thousand_networks_in_a_mesh_take_time_in_proportion():
    """Compiled and looked up as two hundred are, in the time that their number asks for; not its square."""

    def seconds(count):
        group = {
            "high_scale": True,
            "groups": {"g": {"tag": {"mesh": "yes"}}},
            "meshes": {"m": {"groups": ["g"]}},
        }
        lab = make(many(count, tags={"mesh": "yes"}), vms=("n0",), network_manager=group)
        start = time.process_time()
        topology = compile_lab(lab)
        vm = topology.vms["n0"]
        for number in range(1, count):
            address = ip_address(f"10.{number >> 8}.{number & 255}.4")
            assert topology.routing.hop_of(vm, address).owner == f"n{number}"
        assert len(topology.routing.effective(vm)) > count
        return (time.process_time() - start) / count

    seconds(50)
    assert seconds(5000) < 8 * seconds(250)
