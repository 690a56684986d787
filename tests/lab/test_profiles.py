"""The behaviour profiles, and what each of them refuses."""

import pytest

from dtls_emu.lab import Lab, compile_lab, load_lab
from dtls_emu.lab.checks import check_lab
from dtls_emu.lab.problems import dotted
from dtls_emu.lab.profile_checks import assumptions
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.sizes import supports_encryption
from dtls_emu.policy import decide, flow_to
from dtls_emu.vocabulary import Verdict


LISTED = {
    "preview-2023-05": "D4s_v4 E4_v4 M208s_v2 F4s_v2",
    "preview-2023-07": "D4s_v4 E4_v4 M208s_v2",
    "ga-2024-05": "D4s_v4 E4_v4 M208s_v2 M32ms_v2 M12s_v3 L8s_v3 D4s_v5 D4ads_v5 D4lds_v5 E4ds_v5",
    "ga-2024-07": "D4s_v4 E4_v4 M208s_v2 M32ms_v2 M12s_v3 L8s_v3 D4s_v5 D4ads_v5 D4lds_v5 E4ds_v5 D4as_v6 D4alds_v6 E4as_v6",
    "current": "D4s_v4 E4_v4 M208s_v2 M32ms_v2 M12s_v3 L8s_v3 D4s_v5 D4ads_v5 D4lds_v5 E4ds_v5 D4as_v6 D4alds_v6 E4as_v6 "
    "D4s_v6 D4ps_v5 E4bds_v5 F4as_v6 NC40ads_H100_v5",
}
"""A size of each family that a profile's document lists, without `Standard_`."""


def lab(**keys):
    """Two VMs in one network that drops unencrypted."""
    document = load_lab("two-vms").model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
    document["virtual_networks"]["prod"]["encryption"]["enforcement"] = "DropUnencrypted"
    return Lab.model_validate(document | keys, by_alias=True, by_name=False)


def problems(lab):
    return [(dotted(each.path), each.message) for each in check_lab(lab)]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_knows_the_sizes_of_its_document(profile):
    """No more, and no less."""
    everything = {size for sizes in LISTED.values() for size in sizes.split()}
    capable = {
        size for size in everything if supports_encryption(f"Standard_{size}", PROFILES[profile].sizes)
    }
    assert capable == set(LISTED[profile].split())


@pytest.mark.parametrize("profile", PROFILES)
def test_fragments_are_dropped_since_2025(profile):
    """Before, they passed in clear."""
    assert PROFILES[profile].fragments is (Verdict.DROP if profile == "current" else Verdict.CLEAR)


@pytest.mark.parametrize(("profile", "row"), [("preview-2023-07", 16), ("ga-2024-05", 13), ("current", 13)])
def test_a_restart_is_required_since_general_availability(profile, row):
    """The preview says that it may be."""
    document = load_lab("two-vms").model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
    document["profile"] = profile
    document["vms"]["vm-b"] |= {"restarted_since_encryption": False, "size": "Standard_D4s_v4"}
    document["vms"]["vm-a"] |= {"size": "Standard_D4s_v4"}
    topology = compile_lab(Lab.model_validate(document))
    a, b = topology.vms["vm-a"], topology.vms["vm-b"]
    assert decide(flow_to(topology, a, b.addresses[0]), topology.profile).row.number == row


@pytest.mark.parametrize(
    ("profile", "refused"),
    [("preview-2023-05", False), ("preview-2023-07", False), ("ga-2024-05", True), ("current", True)],
)
def test_drop_unencrypted_needs_its_feature_since_general_availability(profile, refused):
    """Where the lab says what the subscription has."""
    found = problems(lab(profile=profile, subscription_features=[]))
    assert [where for where, _ in found] == ["virtual_networks.prod.encryption.enforcement"] * refused
    assert all(
        "does not have the feature Microsoft.Network/AllowDropUnecryptedVnet" in why for _, why in found
    )
    registered = ["microsoft.network/allowdropunecryptedvnet"]
    assert problems(lab(profile=profile, subscription_features=registered)) == []


def test_without_a_list_of_features_it_is_said_what_is_assumed():
    """And only where it matters."""
    (said,) = assumptions(lab())
    assert "DropUnencrypted of prod" in said
    assert assumptions(lab(profile="preview-2023-05")) == []
    assert assumptions(lab(subscription_features=[])) == []
    assert assumptions(load_lab("two-vms")) == []


def test_accelerated_networking_of_another_year_is_an_error_with_the_reason():
    """On each VM that has it on."""
    found = problems(lab(overrides={"accelerated_networking": 2016}))
    assert [where for where, _ in found] == [
        f"vms.{name}.accelerated_networking" for name in ("vm-a", "vm-b")
    ]
    assert all(why.startswith("cannot be on: in 2016 only") for _, why in found)
    assert problems(lab(overrides={"accelerated_networking": "2022"})) == []


def test_what_counts_as_unsupported_is_a_knob():
    """As the vendor's text on gateways and firewalls of 2026-06 had it."""
    topology = compile_lab(load_lab("endpoints"))
    strict = load_lab("endpoints").model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
    strict["overrides"] = {"unsupported": ["firewall-standard", "firewall-premium", "application-gateway"]}
    other = compile_lab(Lab.model_validate(strict))

    def row(topology, name):
        flow = flow_to(topology, topology.vms["web"], topology.vms[name].addresses[0])
        return decide(flow, topology.profile).row.number

    names = ("firewall", "firewall-premium", "front", "resolver")
    assert [row(topology, name) for name in names] == [6, 16, 6, 7]
    assert [row(other, name) for name in names] == [7, 7, 7, 6]
