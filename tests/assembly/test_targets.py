"""Words become what is merged into a lab: at the right place, and nothing else is touched."""

from __future__ import annotations

import pytest

from dtls_emu.assembly.lab_document import changed, compile_document
from dtls_emu.assembly.targets import Change, parse_words, plan_changes
from dtls_emu.errors import RunError


@pytest.fixture
def document():
    """A lab with two hosts whose names hold hyphens, one link of both directions and one of one."""
    return {
        "name": "demo",
        "virtual_networks": {
            "prod": {"address_prefixes": ["10.0.0.0/24"], "vni": 1, "encryption": {"enabled": True}},
            "vm-a": {"address_prefixes": ["10.1.0.0/24"], "vni": 2},
        },
        "hosts": {"host-1": {"underlay": "192.0.2.1"}, "host-2": {"underlay": "192.0.2.2"}},
        "vms": {"vm-a": {"host": "host-1", "virtual_network": "prod", "address": "10.0.0.4"}},
        "links": [
            {"between": ["host-2", "host-1"], "delay": "5ms", "mtu": 1650},
            {"from": "host-2", "to": "host-1", "mtu": 9000},
        ],
    }


def after(document, target, *words):
    for change in plan_changes(document, target, parse_words(words)):
        document = changed(document, change.path, change.value)
    return document


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["loss=1%"], {"loss": "1%"}),
        (["mtu=1400", "delay=5ms"], {"mtu": 1400, "delay": "5ms"}),
        (["encryption.enforcement=DropUnencrypted"], {"encryption": {"enforcement": "DropUnencrypted"}}),
        (
            ["encryption.enabled=true", "encryption.enforcement=DropUnencrypted"],
            {"encryption": {"enabled": True, "enforcement": "DropUnencrypted"}},
        ),
        (["loss="], {"loss": None}),
        (["loss=0"], {"loss": 0}),
        (["delay=1:30"], {"delay": "1:30"}),
        (["size=a=b"], {"size": "a=b"}),
    ],
)
def test_words_are_read_as_a_lab_file_is(words, values):
    """Numbers, switches and text as YAML has them; dots lead into mappings; nothing is the default again."""
    assert parse_words(words) == values


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to set; write key=value, such as loss=1%"),
        (["loss"], "`loss` is no assignment; write key=value, such as loss=1%"),
        (["=1"], "`=1` is no assignment"),
        (["a..b=1"], "`a..b=1` is no assignment"),
        (["a=1", "a.b=2"], "`a.b=2`: `a` has a value already"),
    ],
)
def test_words_that_set_nothing_are_refused(words, message):
    """With what to write."""
    with pytest.raises(RunError) as error:
        parse_words(words)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss=[1"], "`loss=[1`: the `[` that opens here is never closed; write `]`"),
        (
            ["loss=!!binary MSU="],
            "`loss=!!binary MSU=`: the tag `!!binary` has no place here; leave it out",
        ),
        (["mtu=01500"], "`mtu=01500`: `01500` may mean 1500 or, as octal, 832; write 1500 or 832, or"),
        (["loss=1%", "loss=2%"], "`loss=2%`: `loss` has a value already; write one of them"),
        (["a.b=1", "a={b: 2}"], "`a={b: 2}`: `a` has a value already; write one of them"),
        (["loss=*x"], "`loss=*x`: the alias `*x` has no anchor above it; write"),
        (["a={b: 1, b: 2}"], "`a={b: 1, b: 2}`: written twice, first on line 1; keep one of them"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused(words, message):
    """As in a lab file; nothing is set in its place."""
    with pytest.raises(RunError) as error:
        parse_words(words)
    assert str(error.value).startswith(message)


def test_a_network_keeps_what_is_not_named(document):
    """Enforcement changes, enabled stays."""
    new = after(document, "prod", "encryption.enforcement=DropUnencrypted")
    assert new["virtual_networks"]["prod"]["encryption"] == {
        "enabled": True,
        "enforcement": "DropUnencrypted",
    }
    assert {key: new[key] for key in new if key != "virtual_networks"} == {
        key: document[key] for key in document if key != "virtual_networks"
    }


def test_a_link_of_both_directions_is_named_by_its_hosts_in_either_order(document):
    """Hyphens in names of hosts are no obstacle."""
    for target in ("host-1-host-2", "host-2-host-1"):
        new = after(document, target, "loss=1%")
        assert new["links"] == [document["links"][0] | {"loss": "1%"}, document["links"][1]]


def test_what_one_direction_has_of_its_own_changes_with_both(document):
    """Else `mtu=1400` for both would leave one of them at 9000."""
    topology = compile_document(after(document, "host-1-host-2", "mtu=1400", "loss=1%"))
    links = [topology.link("host-1", "host-2"), topology.link("host-2", "host-1")]
    assert [(link.mtu, link.loss) for link in links] == [(1400, 0.01), (1400, 0.01)]
    assert links[0].delay == 0.005


def test_one_direction_is_named_with_an_arrow(document):
    """The entry that is there is changed; where there is none, one is added. The other direction stays."""
    new = after(after(document, "host-2->host-1", "loss=1%"), "host-1->host-2", "loss=2%")
    assert new["links"] == [
        document["links"][0],
        document["links"][1] | {"loss": "1%"},
        {"from": "host-1", "to": "host-2", "loss": "2%"},
    ]


def test_a_lab_without_links_gets_its_first(document):
    """As a list of one."""
    del document["links"]
    assert after(document, "host-1-host-2", "loss=1%")["links"] == [
        {"between": ["host-1", "host-2"], "loss": "1%"}
    ]


def test_a_pair_that_has_only_a_direction_gets_an_entry_for_both(document):
    """And what the direction has of its own is set there, too; the first index is as it was."""
    del document["links"][0]
    assert after(document, "host-1-host-2", "mtu=1400")["links"] == [
        {"from": "host-2", "to": "host-1", "mtu": 1400},
        {"between": ["host-1", "host-2"], "mtu": 1400},
    ]


def test_a_vm_is_named_with_its_section_where_a_network_has_its_name(document):
    """Else it is not clear which is meant."""
    with pytest.raises(
        RunError, match=r"`vm-a` is in virtual_networks and in vms; write virtual_networks.vm-a"
    ):
        plan_changes(document, "vm-a", {"discovery": False})
    new = after(document, "vms.vm-a", "discovery=false")
    assert new["vms"]["vm-a"]["discovery"] is False


@pytest.mark.parametrize("target", ["link_defaults", "overrides"])
def test_what_holds_for_the_whole_lab_is_named_by_its_key(document, target):
    """Like a lab file has it."""
    assert plan_changes(document, target, {"x": 1}) == [Change((target,), {"x": 1})]


def test_a_target_that_is_nothing_comes_with_what_there_is(document):
    """The nearest name, and how a link is written."""
    with pytest.raises(
        RunError, match=r"nothing here is called `prd`; did you mean `prod`\?.*link such as host-1-host-2"
    ):
        plan_changes(document, "prd", {"x": 1})
    with pytest.raises(RunError, match="nothing here is called `host-1->host-9`"):
        plan_changes(document, "host-1->host-9", {"x": 1})


def test_a_link_that_may_be_one_of_several_is_asked_about(document):
    """Names such as `a-b` and `b-a` can be split in two ways."""
    document["hosts"] = {"a": {}, "b-a": {}, "a-b": {}}
    with pytest.raises(RunError, match="`a-b-a` may mean several links; write a->b-a or a-b->a"):
        plan_changes(document, "a-b-a", {"x": 1})
