"""What a host says of its flow tables: every packet that its VMs have sent or got, whoever has carried it."""

from __future__ import annotations

import json

from dtls_emu.host.flows import describe_flows
from dtls_emu.teach.flows import FlowEntry
from dtls_emu.testing.rig import ADDRESSES, ping
from dtls_emu.wire.packet import fragments, udp_packet


def described(rig, host, most=1000):
    return describe_flows(rig.agents[host].card, most, rig.clock.now)


def test_hits_and_exceptions_are_all_packets_of_a_flow(make_rig):
    """The first is an exception, and so is the one after a change of the lab; kernels or Python carry the rest."""
    rig = make_rig()
    rig.warm(("a", "b"))
    for number in range(5):
        rig.guests["a"].send(ping("a", "b", number))
        rig.settle()
    rig.clock.now += 2
    rig.agents["h1"].card.revalidate()
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    (flow,) = described(rig, "h1")["flows"]
    assert (flow["vm"], flow["direction"], flow["verdict"]) == ("a", "egress", "encrypt")
    assert (flow["source"], flow["destination"]) == (ADDRESSES["a"], ADDRESSES["b"])
    assert (flow["packets"], flow["bytes"]) == (9, 9 * len(ping("a", "b")))
    assert (flow["hits"], flow["exceptions"], flow["path"]) == (9 - flow["exceptions"], 3, "slow")
    assert flow["generation"] == 3  # new, with its tunnel up, and anew
    assert flow["age_seconds"] == 2
    (other,) = described(rig, "h2")["flows"]
    assert (other["vm"], other["direction"], other["packets"], other["verdict"]) == ("b", "ingress", 9, None)
    assert other["hits"] + other["exceptions"] == 9


def test_packets_of_a_flow_that_is_dropped_are_hits_that_were_dropped(make_rig):
    """They find their entry, and go no further: nothing was sent."""
    rig = make_rig()
    parts = fragments(udp_packet(ADDRESSES["a"], ADDRESSES["b"], 1000, 9, bytes(600)), size=400)
    for part in parts * 4:
        rig.guests["a"].send(part)
        rig.settle()
    flows = described(rig, "h1")["flows"]
    dropped = [flow for flow in flows if flow["fragment"]]
    assert sum(flow["dropped"] for flow in dropped) == 4 * len(parts)
    assert {flow["packets"] for flow in dropped} == {0}
    assert sum(flow["hits"] + flow["exceptions"] for flow in dropped) == 4 * len(parts)


def test_an_answer_is_bounded_and_says_what_it_leaves_out(make_rig):
    """Of so many flows those with the newest packets."""
    rig = make_rig()
    for port in range(20):
        rig.guests["a"].send(udp_packet(ADDRESSES["a"], ADDRESSES["b"], 1000 + port, 9, b"?"))
    rig.settle()
    found = described(rig, "h1", most=5)
    assert (len(found["flows"]), found["left_out"]) == (5, 15)


def test_an_entry_comes_back_from_json(make_rig):
    """As `status --flows` reads it: what it prints of a running host is what `flows` prints of a simulated one."""
    rig = make_rig()
    rig.warm()
    for data in described(rig, "h1")["flows"]:
        entry = FlowEntry.from_dict(json.loads(json.dumps(data)))
        assert entry.as_dict() == {name: value for name, value in data.items() if name != "dropped"}
