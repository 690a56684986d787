"""Security rules: administrators' before security groups', both ends, and what belongs to an allowed connection."""

from ipaddress import ip_address

import pytest

from dtls_emu.lab import Lab, compile_lab, load_lab
from dtls_emu.lab.checks import check_lab
from dtls_emu.lab.problems import dotted
from dtls_emu.policy import Transport, decide, flow_to
from dtls_emu.policy.security import Packet, judge_end
from dtls_emu.simulation import simulate


TCP, UDP, ICMP = 6, 17, 1


@pytest.fixture(scope="module")
def topology():
    return compile_lab(load_lab("security-rules"))


@pytest.mark.parametrize(
    ("source", "destination", "transport", "acl", "rule", "denies"),
    [
        ("web-1", "database", Transport(TCP, 40000, 5432), "data", "UserRule_web-only", False),
        ("web-1", "database", Transport(TCP, 40000, 80), "data", "UserRule_nobody-else", True),
        ("web-1", "web-2", Transport(TCP, 40000, 80), "web", "DefaultRule_AllowVnetInBound", False),
        ("web-1", "web-2", Transport(TCP, 40000, 23), "web", "UserRule_no-telnet", True),  # outbound
        ("web-1", "web-2", Transport(TCP, 40000, 22), "", "block-high-risk-ports", True),
        ("web-1", "web-2", Transport(UDP, 40000, 9100), "", "monitoring", False),  # AlwaysAllow
        ("web-1", "database", Transport(ICMP), "data", "UserRule_nobody-else", True),  # Allow hands on
        ("web-1", "web-2", None, "web", "DefaultRule_AllowVnetInBound", False),
    ],
)
def test_the_first_rule_that_matches_decides(topology, source, destination, transport, acl, rule, denies):
    """Administrators' first, then the sender's group, then the receiver's; the last one that allows is named."""
    other = topology.vms[destination]
    flow = flow_to(topology, topology.vms[source], other.addresses[0], transport=transport)
    assert flow.rule is not None
    assert (flow.rule.acl, flow.rule.rule, flow.rule.denies) == (acl, rule, denies)
    assert (decide(flow, topology.profile).row.number == 2) == denies


def test_the_internet_reaches_nobody_behind_a_security_group(topology):
    """By the default rules; and everybody reaches the internet."""
    web, far = topology.vms["web-1"], ip_address("203.0.113.7")
    packet = Packet(far, web.addresses[0], False, True, Transport(TCP, 1, 443))
    into = judge_end(topology, web, packet, outbound=False)
    assert into is not None
    assert (into.rule, into.denies) == ("DefaultRule_DenyAllInBound", True)
    out = flow_to(topology, web, far, transport=Transport(TCP, 1, 443))
    assert out.rule is not None
    assert (out.rule.rule, out.denied) == ("DefaultRule_AllowInternetOutBound", False)


def test_what_answers_an_allowed_flow_is_not_asked(topology):
    """Whoever says that it does, has a table of flows."""
    database, web = topology.vms["database"], topology.vms["web-1"]
    flow = flow_to(topology, web, database.addresses[0], transport=Transport(TCP, 1, 2), answers=True)
    assert (flow.denied, flow.rule) == (False, None)


@pytest.mark.parametrize("hosts", [("h1", "h2"), ("h1", "h1")])
def test_connections_are_allowed_both_ways_and_only_by_who_may_begin(hosts):
    """Between hosts and on one host: answers to an allowed ping pass, a ping of the other side's own does not."""
    lab = Lab.model_validate(
        {
            "virtual_networks": {
                "n": {
                    "address_prefixes": ["10.0.0.0/16"],
                    "vni": 1,
                    "encryption": {"enabled": True},
                    "subnets": {"closed": {"address_prefixes": ["10.0.1.0/24"], "security_group": "closed"}},
                }
            },
            "security_groups": {
                "closed": {"rules": {"in": {"priority": 100, "direction": "Inbound", "access": "Deny"}}}
            },
            "hosts": {"h1": {"underlay": "192.0.2.1"}, "h2": {"underlay": "192.0.2.2"}},
            "vms": {
                "inside": {"host": hosts[0], "virtual_network": "n", "address": "10.0.1.4"},
                "outside": {"host": hosts[1], "virtual_network": "n", "address": "10.0.2.4"},
                "other": {"host": hosts[1], "virtual_network": "n", "address": "10.0.2.5"},
            },
            "traffic": [
                {"name": "out", "kind": "ping", "from": "inside", "to": "outside", "count": 3},
                {"name": "in", "kind": "ping", "from": "other", "to": "inside", "count": 3},
                {"name": "far", "kind": "ping", "from": "inside", "to": "203.0.113.7", "count": 3},
            ],
        }
    )
    outcome = simulate(lab)
    assert [outcome[name].answered for name in ("out", "in", "far")] == [3, 0, 3]
    assert outcome["in"].dropped == {"denied": 3}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"rules": {"r": {"priority": 100, "direction": "Inbound", "access": "Deny", "source": "10.0.0"}}},
            "no address prefix",
        ),
        (
            {
                "rules": {
                    "r": {
                        "priority": 100,
                        "direction": "Inbound",
                        "access": "Deny",
                        "destination_ports": "80-70",
                    }
                }
            },
            "is no port",
        ),
        (
            {"rules": {"r": {"priority": 100, "direction": "Inbound", "access": "AlwaysAllow"}}},
            "Input should be",
        ),
        (
            {"rules": {"r": {"priority": 1, "direction": "Inbound", "access": "Deny"}}},
            "greater than or equal to 100",
        ),
    ],
)
def test_a_wrong_rule_is_refused(change, said):
    """Ends, ports, access and priority."""
    document = load_lab("security-rules").model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
    document["security_groups"]["web"] = change
    with pytest.raises(ValueError, match=said):
        Lab.model_validate(document)


def test_names_and_priorities_are_checked():
    """Groups that must exist, and priorities that are used once."""
    document = load_lab("security-rules").model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
    document["virtual_networks"]["prod"]["subnets"]["web"]["security_group"] = "wbe"
    document["network_manager"]["admin_rules"]["ping"]["groups"] = ["nothing"]
    rules = document["security_groups"]["data"]["rules"]
    rules["web-only"]["priority"] = rules["nobody-else"]["priority"]
    found = [f"{dotted(each.path)}: {each.message}" for each in check_lab(Lab.model_validate(document))]
    assert len(found) == 3
    assert any("no security group `wbe`; did you mean `web`?" in each for each in found)
    assert any("no network group `nothing`" in each for each in found)
    assert any("200 is already that of `web-only`" in each for each in found)


def test_a_lab_with_rules_is_the_same_when_it_is_written_and_read_again():
    """As `up` and `export` hand it to hosts."""
    lab = load_lab("security-rules")
    again = Lab.model_validate(lab.model_dump(mode="json", exclude_unset=True))
    first, second = compile_lab(lab).security, compile_lab(again).security
    assert first is not None
    assert second is not None
    assert first.rules == second.rules
