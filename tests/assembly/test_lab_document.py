"""A lab's document is changed in one place at a time, and what cannot change while it runs is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dtls_emu.assembly.lab_document import changed, compile_document, differences
from dtls_emu.errors import LabFileError


LAB: dict[str, Any] = {
    "name": "two",
    "virtual_networks": {
        "prod": {"address_prefixes": ["10.0.0.0/24"], "vni": 5, "encryption": {"enabled": True}},
    },
    "hosts": {"h1": {"underlay": "192.0.2.1"}, "h2": {"underlay": "192.0.2.2"}},
    "vms": {
        "a": {"host": "h1", "virtual_network": "prod", "address": "10.0.0.4"},
        "b": {"host": "h2", "virtual_network": "prod", "address": "10.0.0.5"},
    },
    "links": [{"between": ["h1", "h2"], "loss": "1%"}],
}


@pytest.mark.parametrize(
    ("path", "value", "where", "result"),
    [
        (("seed",), 5, ("seed",), 5),
        (("link_defaults", "loss"), "1%", ("link_defaults",), {"loss": "1%"}),
        (("links", 0, "delay"), "5ms", ("links", 0), LAB["links"][0] | {"delay": "5ms"}),
        (("links", 0), {"loss": "2%"}, ("links", 0), LAB["links"][0] | {"loss": "2%"}),
        (("links", 0), {"loss": None}, ("links", 0), {"between": ["h1", "h2"]}),
        (("links", 0, "loss"), None, ("links", 0), {"between": ["h1", "h2"]}),
        (("links", 1), {"from": "h1", "to": "h2"}, ("links", 1), {"from": "h1", "to": "h2"}),
        (("links", 0), None, ("links",), []),
        (("links", 1), None, ("links",), LAB["links"]),
        (("nothing",), None, (), LAB),
        (
            ("virtual_networks", "prod", "encryption", "enforcement"),
            "DropUnencrypted",
            ("virtual_networks", "prod", "encryption"),
            {"enabled": True, "enforcement": "DropUnencrypted"},
        ),
        (
            ("virtual_networks", "prod"),
            {"encryption": {"enforcement": "DropUnencrypted"}},
            ("virtual_networks", "prod", "encryption"),
            {"enabled": True, "enforcement": "DropUnencrypted"},
        ),
    ],
)
def test_one_thing_is_changed_and_nothing_else(path, value, where, result):
    """Mappings are merged; the document that was is left as it was."""
    before = json.dumps(LAB)
    found = changed(LAB, path, value)
    place = found
    for step in where:
        place = place[step]
    assert place == result
    assert json.dumps(LAB) == before
    untouched = LAB.keys() - {path[0]}
    assert {key: found[key] for key in untouched if key in found} == {key: LAB[key] for key in untouched}


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("x",) * 9,
        (0,),
        ("links", "a"),
        ("links", 2),
        ("links", -1),
        ("links", True),
        ("seed", "x"),
        ("vms", 1),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path):
    """Whatever it is, it raises what a client is told."""
    with pytest.raises(LabFileError):
        changed(LAB | {"seed": 1}, path, 1)


def test_what_cannot_change_while_running_is_named():
    """Names, places and addresses; policy and links may."""
    old = compile_document(LAB)
    assert differences(old, compile_document(changed(LAB, ("links", 0, "loss"), "9%"))) == []
    assert differences(old, compile_document(changed(LAB, ("vms", "a", "discovery"), value=False))) == []
    assert differences(old, compile_document(changed(LAB, ("overrides", "fragments"), "clear"))) == []
    for path, value, expected in (
        (("hosts", "h1", "underlay"), "192.0.2.9", ["underlay of h1"]),
        (("vms", "a", "address"), "10.0.0.9", ["addresses of a", "mac of a"]),
        (("vms", "a", "mtu"), 1400, ["mtu of a"]),
        (("vms", "b"), None, ["the set of VMs"]),
        (("hosts", "h3"), {"underlay": "192.0.2.3"}, ["the set of hosts"]),
        (("virtual_networks", "prod", "vni"), 6, ["vni of prod"]),
        (("overrides", "replay_window"), 128, ["replay_window of the profile"]),
    ):
        assert sorted(differences(old, compile_document(changed(LAB, path, value)))) == expected
