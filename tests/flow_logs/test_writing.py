"""Flow logs of runs: they validate, and their counters are the cards'."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dtls_emu.events import Direction, FlowContinued, FlowEnded, FlowId, FlowStarted, fan_out, observer_of
from dtls_emu.flow_logs.reading import read_records
from dtls_emu.flow_logs.scenarios import START, emit_scenario
from dtls_emu.flow_logs.schema import flow_log_schema
from dtls_emu.flow_logs.tally import Tally
from dtls_emu.flow_logs.writing import REPORT_EVERY, FlowLog
from dtls_emu.lab import compile_lab, load_lab, shipped_labs
from dtls_emu.lab.loader import parse_lab
from dtls_emu.simulation.simulation import simulate
from dtls_emu.vocabulary import FlowEncryption, Verdict


Sums = Counter[Any]
CLEAR = (FlowEncryption.NX, FlowEncryption.NX_FALLBACK, FlowEncryption.NX_HW_NOT_SUPPORTED)


def validated(entries):
    """Records by path, each blob checked against the schema."""
    blobs: dict[str, list[Any]] = {}
    for entry in entries:
        blobs.setdefault(entry.path, []).append(json.loads(entry.content))
    validator = Draft202012Validator(flow_log_schema())
    for path, records in blobs.items():
        assert [error.message for error in validator.iter_errors({"records": records})] == [], path
    return blobs


def lines_of(blobs):
    return [
        (acl["aclID"], group["rule"], line)
        for records in blobs.values()
        for record in records
        for acl in record["flowRecords"]["flows"]
        for group in acl["flowGroups"]
        for line in group["flowTuples"]
    ]


@pytest.mark.parametrize("name", shipped_labs())
def test_every_shipped_labs_log_validates_and_counts_as_its_cards(name):
    """To the packet: what left encrypted, in clear, within the host and to the gateway; and what was delivered."""
    lab = load_lab(name)
    log, seen = FlowLog(compile_lab(lab), START), Sums()

    def count(event):
        if isinstance(event, FlowEnded):
            seen["out"] += event.bytes_out
            seen["in"] += event.bytes_in

    outcome = simulate(lab, observer=fan_out([log, observer_of(count)]), report_flows_every=REPORT_EVERY)
    entries = list(log.take())
    validated(entries)
    tally = Tally()
    for record in read_records([b'{"records":[' + b",".join(each.content for each in entries) + b"]}"]):
        tally.add(record)
    tally.flush()
    sent, received, nbytes = Sums(), 0, Sums()
    for group in tally.groups():
        out, into = (group.packets_sent, group.packets_received)
        bytes_out, bytes_in = group.bytes_sent, group.bytes_received
        if group.side == "I":
            out, into, bytes_out, bytes_in = into, out, bytes_in, bytes_out
        sent[group.encryption, group.is_public] += out
        received += into
        nbytes["out"] += bytes_out
        nbytes["in"] += bytes_in
    cards = outcome.cards.values()
    egress = {
        key: sum(card["egress"][key] for card in cards) for key in ("encrypted", "clear", "local", "gateway")
    }
    assert sent["X", False] == egress["encrypted"]
    assert sent["NX", True] == egress["gateway"]
    in_clear = sum(sent[code, False] for code in CLEAR) + sent["NX_LOCAL_DST", False]
    assert in_clear == egress["clear"] + egress["local"]
    delivered = sum(card["ingress"]["delivered"] for card in cards)
    assert received == delivered + egress["local"]
    assert +nbytes == +seen


def test_the_scenario_has_every_status_state_and_rule():
    """And is the same every time."""
    blobs = validated(emit_scenario("all-codes"))
    lines = lines_of(blobs)
    fields = [line.split(",") for _, _, line in lines]
    assert {each[8] for each in fields} == set(map(str, FlowEncryption))
    assert {each[7] for each in fields} == set("BCED")
    assert {each[6] for each in fields} == {"I", "O"}
    assert {each[5] for each in fields} >= {"1", "6", "17"}
    assert any(":" in each[1] for each in fields)
    assert {rule for acl, rule, _ in lines if acl == "unspecified"} == {"unspecified"}
    assert {rule for acl, rule, _ in lines if acl.startswith("00000000-0000-0000")} == {"PlatformRule"}
    assert blobs == validated(emit_scenario("all-codes"))


def test_a_blob_is_an_hour_of_an_interface():
    """In the first of the vendor's three shapes of a path."""
    path = next(iter(validated(emit_scenario("all-codes"))))
    assert path.startswith("insights-logs-flowlogflowevent/flowLogResourceID=/SUBSCRIPTIONS/")
    assert "/y=2026/m=01/d=01/h=00/m=00/macAddress=" in path
    assert path.endswith("/PT1H.json")


class Flow:
    """A flow of `vm-a` in two-vms, told by hand."""

    ID = FlowId(5001, 6, "10.0.0.4", "10.0.0.5", 40_000, 443)

    def __init__(self):
        self.log = FlowLog(compile_lab(load_lab("two-vms")), START)

    def tell(self, kind, time, code, counters=(0, 0, 0, 0), verdict=Verdict.ENCRYPT, code_in=None):
        about = "vm-a", Direction.EGRESS, self.ID, 16, verdict, code
        if kind is FlowStarted:
            self.log(FlowStarted(time, "host-1", 0, 0, *about, code_in))
        else:
            self.log(kind(time, "host-1", *about, *counters, code_in))

    def lines(self):
        return [line.partition(",")[2] for _, _, line in lines_of(validated(self.log.take()))]


KEY = "10.0.0.4,10.0.0.5,40000,443,6,O"


def test_a_flow_continues_every_five_minutes_with_what_was_counted_since():
    """And not in between, however often it is asked for."""
    flow, code = Flow(), FlowEncryption.X
    flow.tell(FlowStarted, 0.0, code)
    for minute in range(1, 12):
        flow.tell(FlowContinued, minute * 60.0, code, (minute * 10, minute * 1000, minute, minute * 100))
    flow.tell(FlowEnded, 700.0, code, (120, 12_000, 12, 1200))
    assert flow.lines() == [
        f"{KEY},B,X,0,0,0,0",
        f"{KEY},C,X,50,5000,5,500",
        f"{KEY},C,X,50,5000,5,500",
        f"{KEY},E,X,20,2000,2,200",
    ]


def test_each_packet_is_counted_with_the_status_that_it_had():
    """A flow that falls back to clear ends, and begins anew."""
    flow = Flow()
    flow.tell(FlowStarted, 0.0, FlowEncryption.X)
    flow.tell(FlowContinued, 5.0, FlowEncryption.NX_FALLBACK, (3, 300, 2, 200), Verdict.CLEAR)
    flow.tell(FlowEnded, 9.0, FlowEncryption.NX_FALLBACK, (7, 700, 2, 200), Verdict.CLEAR)
    assert flow.lines() == [
        f"{KEY},B,X,0,0,0,0",
        f"{KEY},E,X,3,300,2,200",
        f"{KEY},B,NX_FALLBACK,0,0,0,0",
        f"{KEY},E,NX_FALLBACK,4,400,0,0",
    ]


def test_what_comes_back_in_clear_is_not_logged_as_encrypted():
    """Whatever the way there is."""
    flow = Flow()
    flow.tell(FlowStarted, 0.0, FlowEncryption.X)
    flow.tell(FlowContinued, 1.0, FlowEncryption.X, code_in=FlowEncryption.NX_FALLBACK)
    flow.tell(FlowEnded, 2.0, FlowEncryption.X, (1, 100, 1, 100), code_in=FlowEncryption.NX_FALLBACK)
    assert flow.lines()[-1] == f"{KEY},E,NX_FALLBACK,1,100,1,100"


def test_a_denied_flow_that_is_let_through_later_begins_then():
    """As one to a VM that is booting."""
    flow = Flow()
    flow.tell(FlowStarted, 0.0, FlowEncryption.NX_SW_NOT_READY, verdict=Verdict.DROP)
    flow.tell(FlowContinued, 400.0, FlowEncryption.NX_SW_NOT_READY, verdict=Verdict.DROP)
    flow.tell(FlowContinued, 500.0, FlowEncryption.X)
    flow.tell(FlowEnded, 501.0, FlowEncryption.X, (1, 100, 0, 0))
    assert flow.lines() == [
        f"{KEY},D,NX_SW_NOT_READY,0,0,0,0",
        f"{KEY},B,X,0,0,0,0",
        f"{KEY},E,X,1,100,0,0",
    ]


def test_minutes_that_run_are_not_given_yet():
    """And each is given once."""
    flow = Flow()
    flow.tell(FlowStarted, 59.0, FlowEncryption.X)
    flow.tell(FlowEnded, 61.0, FlowEncryption.X)
    assert len(list(flow.log.take(70.0))) == 1
    assert len(list(flow.log.take(119.0))) == 0
    assert len(list(flow.log.take())) == 1


GUARDED = """
virtual_networks:
  prod:
    address_prefixes: [10.0.0.0/16]
    vni: 1
    encryption: {enabled: true}
    subnets: {apps: {address_prefixes: [10.0.0.0/24], security_group: guard}}
security_groups:
  guard:
    rules:
      no-telnet: {priority: 100, direction: Outbound, access: Deny, protocol: Tcp, destination_ports: 23}
      no-database: {priority: 100, direction: Inbound, access: Deny, protocol: Tcp, destination_ports: 5432}
      web: {priority: 200, direction: Outbound, access: Allow, protocol: Tcp, destination_ports: 443}
hosts:
  h1: {underlay: 192.0.2.1}
  h2: {underlay: 192.0.2.2}
vms:
  vm-a: {host: h1, virtual_network: prod, address: 10.0.0.4}
  vm-b: {host: h2, virtual_network: prod, address: 10.0.0.5}
"""


@pytest.mark.parametrize(
    ("port", "verdict", "rule"),
    [
        (443, Verdict.ENCRYPT, "UserRule_web"),
        (80, Verdict.ENCRYPT, "DefaultRule_AllowVnetOutBound"),
        (23, Verdict.DROP, "UserRule_no-telnet"),
        (5432, Verdict.DROP, "UserRule_no-database"),
    ],
)
def test_the_rule_that_decided_is_named(tmp_path, port, verdict, rule):
    """That of the interface itself; where the other end's denies, that one."""
    topology = compile_lab(parse_lab(GUARDED, tmp_path / "lab.yaml"))
    log = FlowLog(topology, START)
    code = FlowEncryption.X if verdict is Verdict.ENCRYPT else FlowEncryption.NX
    flow = FlowId(1, 6, "10.0.0.4", "10.0.0.5", 40_000, port)
    log(FlowStarted(0.0, "h1", 0, 0, "vm-a", Direction.EGRESS, flow, 2, verdict, code))
    ((acl, named, line),) = lines_of(validated(log.take()))
    assert named == rule
    assert acl.endswith("/networkSecurityGroups/guard")
    assert (",D,NX," in line) is (verdict is Verdict.DROP)


FALLS_BACK = """
virtual_networks: {n: {address_prefixes: [10.0.0.0/24], vni: 1, encryption: {enabled: true}}}
hosts: {a: {underlay: 192.0.2.1}, b: {underlay: 192.0.2.2}}
vms: {x: {host: a, virtual_network: n, address: 10.0.0.4}, y: {host: b, virtual_network: n, address: 10.0.0.5}}
link_defaults: {loss: 60%, delay: 5ms}
traffic: [{name: s, kind: udp, from: x, to: y, count: 300, interval: 100ms}]
seed: 14
"""


def test_a_tunnel_that_fails_and_comes_back_is_logged_to_the_packet(tmp_path):
    """What went in clear meanwhile is fallback, at both ends; what was sealed is encrypted."""
    lab = parse_lab(FALLS_BACK, tmp_path / "lab.yaml")
    log = FlowLog(compile_lab(lab), START)
    outcome = simulate(lab, observer=log, report_flows_every=REPORT_EVERY)
    fields = [line.split(",") for _, _, line in lines_of(validated(log.take()))]
    sums = Sums()
    for each in fields:
        sums[each[6], each[8]] += int(each[9])
    card = outcome.cards["a"]["egress"]
    assert sums["O", "X"] == card["encrypted"] > 0
    assert sums["O", "NX_FALLBACK"] == card["clear"] > 0
    assert sums["I", "X"] + sums["I", "NX_FALLBACK"] == outcome.cards["b"]["ingress"]["delivered"]
