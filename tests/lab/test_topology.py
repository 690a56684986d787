"""The compiled lab: what is looked up, and what it is compiled from."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.errors import LabFileError
from dtls_emu.lab import Lab, compile_lab, load_lab
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.topology import Link, Network, Topology, is_internet
from dtls_emu.vocabulary import Enforcement, FirstPacket


@pytest.fixture(scope="module")
def topology():
    return compile_lab(load_lab("mixed-sizes"))


def test_names_lead_to_everything(topology):
    """In the lab file's order."""
    assert list(topology.networks) == ["allow", "drop", "plain"]
    assert list(topology.hosts) == ["host-1", "host-2", "host-3"]
    assert [vm.name for vm in topology.vms_on("host-3")] == ["allow-no-card", "drop-no-card"]
    assert topology.host_by_underlay("192.0.2.3") is topology.hosts["host-3"]
    assert topology.network_by_vni(6002) is topology.networks["drop"]
    assert (topology.host_by_underlay("192.0.2.9"), topology.network_by_vni(1)) == (None, None)


def test_facts_of_the_lab_file_arrive(topology):
    """What the decision table asks for."""
    plain, drop = topology.networks["plain"], topology.networks["drop"]
    assert (plain.encrypted, drop.encrypted, drop.enforcement) == (False, True, Enforcement.DROP_UNENCRYPTED)
    assert (topology.hosts["host-3"].smartnic_present, topology.hosts["host-1"].smartnic_present) == (
        False,
        True,
    )
    vms = topology.vms
    assert [vms[name].size_capable for name in ("allow-a", "allow-burstable", "drop-old")] == [
        True,
        False,
        False,
    ]
    assert vms["drop-slow-nic"].accelerated_networking is False
    assert vms["allow-not-restarted"].restarted is False
    assert vms["allow-booting"].flow_table_ready is False
    assert vms["allow-no-discovery"].discovery is False


def test_peering_holds_for_both_sides_and_no_further(topology):
    """Whichever side says so; peers of peers are strangers unless they say so too."""
    assert topology.networks["allow"].peers == {"drop", "plain"}
    assert topology.networks["plain"].peers == {"allow", "drop"}
    networks = {
        name: {"address_prefixes": [f"10.{number}.0.0/16"], "vni": number, "peerings": peers}
        for number, (name, peers) in enumerate([("a", ["b"]), ("b", ["c"]), ("c", [])], 1)
    }
    vms = {
        name: {"host": "h", "virtual_network": name, "address": f"10.{n}.0.4"}
        for n, name in enumerate("abc", 1)
    }
    hosts = {"h": {"underlay": "192.0.2.1"}}
    lab = Lab.model_validate({"virtual_networks": networks, "hosts": hosts, "vms": vms})
    compiled = compile_lab(lab)
    found = {
        name: [number for number in (1, 2, 3) if compiled.locate(name, ip_address(f"10.{number}.0.4"))]
        for name in "abc"
    }
    assert found == {"a": [1, 2], "b": [1, 2, 3], "c": [2, 3]}
    assert not compiled.is_private_route("a", ip_address("10.3.0.4"))


def test_an_address_is_located_in_its_network_and_its_peers(topology):
    """Other addresses of the same prefixes have a route, but nobody lives there."""
    located = topology.locate("allow", IPv4Address("10.2.0.5"))
    assert located is not None
    assert located.name == "drop-b"
    assert topology.locate("allow", IPv4Address("10.2.9.9")) is None
    assert topology.is_private_route("allow", IPv4Address("10.2.9.9"))
    assert not topology.is_private_route("allow", IPv4Address("10.4.0.1"))
    assert not topology.is_private_route("allow", IPv6Address("fd00::1"))


PREFIXES = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda pair: ip_network(pair, strict=False)),
    st.tuples(st.integers(2**64, 2**128 - 1), st.integers(0, 128)).map(
        lambda pair: ip_network(pair, strict=False)
    ),
)
PERFECT = Link("", "", 1650, delay=0.0)


@given(st.lists(PREFIXES, max_size=5), st.data())
def test_a_route_is_there_when_a_prefix_holds_the_address(prefixes, data):
    """The same answer as asking prefix by prefix."""
    network = Network("n", 1, tuple(prefixes), True, Enforcement.ALLOW_UNENCRYPTED, frozenset())
    topology = Topology(
        name="lab",
        profile=PROFILES["current"],
        seed=1,
        networks=[network],
        hosts=[],
        vms=[],
        links=[],
        default_link=PERFECT,
    )
    inside = [st.integers(int(prefix[0]), int(prefix[-1])).map(type(prefix[0])) for prefix in prefixes]
    address = data.draw(st.one_of(st.ip_addresses(), *inside))
    expected = any(address in prefix for prefix in prefixes if prefix.version == address.version)
    assert topology.is_private_route("n", address) == expected


@pytest.mark.parametrize(
    ("address", "internet"),
    [
        ("8.8.8.8", True),
        ("203.0.113.7", True),  # documentation addresses stand for the internet
        ("172.32.0.1", True),
        ("2001:db8::7", True),
        ("10.0.0.1", False),
        ("172.31.255.255", False),
        ("192.168.1.1", False),
        ("100.127.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.1", False),
        ("224.0.0.5", False),
        ("255.255.255.255", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("ff02::1", False),
        ("::1", False),
    ],
)
def test_the_internet_is_what_the_default_routes_say(address, internet):
    """Everything but private, shared, local and multicast addresses."""
    assert is_internet(ip_address(address)) == internet


def lab_with(**changes):
    return Lab(
        **{
            "virtual_networks": {"blue": {"address_prefixes": ["10.0.0.0/24"], "vni": 1}},
            "hosts": {f"h{number}": {"underlay": f"192.0.2.{number}"} for number in (1, 2, 3)},
            "vms": {"vm": {"host": "h1", "virtual_network": "blue", "address": "10.0.0.4"}},
            **changes,
        }
    )


def test_links_are_laid_on_from_general_to_specific():
    """Defaults of the package, of the lab, of a pair, of a direction; whatever the order in the file."""
    topology = compile_lab(
        lab_with(
            link_defaults={"mtu": 9216, "loss": "1%", "jitter": "1us"},
            links=[
                {"from": "h1", "to": "h2", "delay": "9ms", "rate": "1Gbit/s"},
                {"between": ["h2", "h1"], "loss": "2%", "delay": "3ms", "corrupt": "5%", "duplicate": 0},
            ],
        )
    )
    there, back = topology.link("h1", "h2"), topology.link("h2", "h1")
    assert there == Link("h1", "h2", 9216, 0.009, 1e-6, 0.02, 0.0, 0.0, 0.05, 1e9)
    assert back == Link("h2", "h1", 9216, 0.003, 1e-6, 0.02, 0.0, 0.0, 0.05, 0.0)
    assert topology.link("h3", "h1") == Link("h3", "h1", 9216, 50e-6, 1e-6, 0.01, 0.0, 0.0, 0.0, 0.0)
    assert topology.link("h3", "h1") is topology.link("h3", "h1")


def test_links_of_a_lab_without_any_are_the_defaults():
    """MTU 1650, 50 us, perfect."""
    assert compile_lab(lab_with()).link("h1", "h2") == replace(
        PERFECT, source="h1", destination="h2", delay=50e-6
    )


def test_a_mac_is_derived_from_name_and_address():
    """The same in every run, locally administered, and not a neighbour's."""
    vms = {
        f"vm-{number}": {"host": "h1", "virtual_network": "blue", "address": f"10.0.0.{number}"}
        for number in range(1, 200)
    }
    macs = [vm.mac for vm in compile_lab(lab_with(vms=vms)).vms.values()]
    assert len(set(macs)) == len(vms)
    assert {(len(mac), mac[0]) for mac in macs} == {(6, 0x02)}
    assert macs[3].hex() == "0257da41992d"


def test_a_mac_may_be_given():
    """In either case."""
    vms = {"vm": {"host": "h1", "virtual_network": "blue", "address": "10.0.0.4", "mac": "00:0D:3A:00:00:01"}}
    assert compile_lab(lab_with(vms=vms)).vms["vm"].mac == bytes.fromhex("000d3a000001")


def test_overrides_change_the_profile_of_this_lab_only():
    """What is not overridden stays."""
    topology = compile_lab(
        lab_with(overrides={"first_packet": "drop", "replay_window": 64, "icmp_too_big": False})
    )
    changed = replace(
        PROFILES["current"], first_packet=FirstPacket.DROP, replay_window=64, icmp_too_big=False
    )
    assert topology.profile == changed
    assert PROFILES["current"].replay_window == 1024


def test_a_lab_made_in_python_is_checked_as_well():
    """With the key, for want of a line."""
    with pytest.raises(LabFileError) as caught:
        compile_lab(lab_with(vms={"vm": {"host": "h9", "virtual_network": "blue", "address": "10.0.0.4"}}))
    assert caught.value.problems == ["lab lab: vms.vm.host: no host `h9`; write one of: h1, h2, h3"]
