"""What a change brings with it, and what a PUT of a virtual network leaves off."""

import pytest

from dtls_emu.assembly.put import values_of_put
from dtls_emu.assembly.targets import plan_changes
from dtls_emu.errors import RunError


@pytest.fixture
def document():
    return {
        "virtual_networks": {"prod": {"encryption": {"enabled": False}}, "other": {}},
        "hosts": {"h1": {}},
        "vms": {
            "a": {"virtual_network": "prod"},
            "b": {"virtual_network": "prod", "state": "stopped"},
            "c": {"virtual_network": "other"},
        },
    }


def further(document, target, values):
    return [(each.path, each.value) for each in plan_changes(document, target, values)[1:]]


def test_enabling_encryption_asks_for_a_restart_of_the_vms_that_run(document):
    """Of that network; a stopped one is started anyway."""
    waiting = [(("vms", "a"), {"restarted_since_encryption": False})]
    assert further(document, "prod", {"encryption": {"enabled": True}}) == waiting
    assert further(document, "prod", {"encryption": {"enabled": "yes"}}) == waiting
    assert further(document, "prod", {"encryption": {"enforcement": "DropUnencrypted"}}) == []
    assert further(document, "prod", {"encryption": {"enabled": False}}) == []
    document["virtual_networks"]["prod"]["encryption"]["enabled"] = True
    assert further(document, "prod", {"encryption": {"enabled": True}}) == []


def test_the_previews_ask_for_none(document):
    """Nor does a lab that says so."""
    enable = {"encryption": {"enabled": True}}
    assert further(document | {"profile": "preview-2023-07"}, "prod", enable) == []
    assert further(document | {"overrides": {"restart_required": False}}, "prod", enable) == []


def test_to_start_a_vm_is_a_restart(document):
    """Of one that was stopped."""
    restarted = [(("vms", "b"), {"restarted_since_encryption": True})]
    assert further(document, "b", {"state": "running"}) == restarted
    assert further(document, "a", {"state": "running"}) == []
    assert further(document, "b", {"state": "running", "restarted_since_encryption": False}) == []


def test_accelerated_networking_is_changed_while_a_vm_is_stopped(document):
    """Where the lab keeps to the vendor's text of 2022."""
    change = {"accelerated_networking": False}
    assert further(document, "a", change) == []
    strict = document | {"overrides": {"accelerated_networking": 2022}}
    with pytest.raises(RunError, match="a is running"):
        plan_changes(strict, "a", change)
    assert further(strict, "b", change) == []
    assert further(strict, "a", change | {"state": "stopped"}) == []


@pytest.mark.parametrize(
    ("properties", "values"),
    [
        ({}, {"encryption": {"enabled": False, "enforcement": "AllowUnencrypted"}}),
        (
            {"encryption": {"enabled": True}},
            {"encryption": {"enabled": True, "enforcement": "AllowUnencrypted"}},
        ),
        (
            {"encryption": None, "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": []},
            {
                "encryption": {"enabled": False, "enforcement": "AllowUnencrypted"},
                "address_prefixes": ["10.0.0.0/16"],
            },
        ),
    ],
)
def test_what_a_put_leaves_out_is_off(properties, values):
    """A missing `encryption` turns it off, and a missing enforcement is the default again."""
    assert values_of_put({"name": "prod", "properties": properties}) == values


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"properties": []},
        {"properties": {"encryption": True}},
        {"properties": {"encryption": {}}},
        {"properties": {"encryption": {"enabled": True, "mode": 1}}},
        {"properties": {"addressSpace": []}},
    ],
)
def test_what_is_no_body_of_a_put_is_refused(body):
    """With what to write."""
    with pytest.raises(RunError, match="properties"):
        values_of_put(body)
