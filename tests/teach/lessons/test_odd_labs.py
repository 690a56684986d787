"""Labs that no lesson leads to: a check says of each question that it cannot be asked, or finds what there is, and never fails."""

from __future__ import annotations

import pytest
import yaml

from dtls_emu.lab.loader import parse_lab
from dtls_emu.teach.lessons import lesson, lessons
from dtls_emu.teach.lessons.checking import Laboratory, check
from dtls_emu.teach.lessons.lab_run import LabRun, TooLargeError


def nothing_sent(lab):
    lab["traffic"] = []


def everything_lost(lab):
    lab["link_defaults"] = {"loss": "100%"}
    lab.pop("links", None)


def in_clear(lab):
    for network in lab["virtual_networks"].values():
        network.pop("encryption", None)


def no_handshake(lab):
    lab.setdefault("overrides", {})["keying"] = "broker"


def other_traffic(lab):
    kinds: list[dict[str, object]] = [
        {"kind": "bulk", "bytes": "2KB"},
        {"kind": "fragments", "shapes": ["v4-first", "v4-last"]},
        {"kind": "ping", "count": 1},
    ]
    lab["traffic"] = [
        {"name": item["name"], "from": item["from"], "to": item["to"]} | kinds[number % len(kinds)]
        for number, item in enumerate(lab["traffic"])
    ]
    for number, item in enumerate(lab["traffic"]):
        if item["kind"] == "bulk":
            item["source_port"] = 40_000 + number


def over_ipv6(lab):
    for number, host in enumerate(lab["hosts"].values(), 1):
        host["underlay"] = f"2001:db8::{number}"


def on_one_host(lab):
    for vm in lab["vms"].values():
        vm["host"] = next(iter(lab["hosts"]))


ODD = (nothing_sent, everything_lost, in_clear, no_handshake, other_traffic, over_ipv6, on_one_host)


@pytest.mark.parametrize(
    ("change", "number"),
    [
        pytest.param(change, each.number, id=f"{each.name}-{change.__name__}")
        for change in ODD
        for each in lessons()
        # Attacks take time, and leave a lab's own traffic out.
        if each.name != "attacks" or change in {everything_lost, on_one_host}
    ],
)
def test_an_odd_lab_is_checked_all_the_same(number, change):
    """Every question has its mark, and no lab of these has everything done and answered."""
    found = lesson(number)
    document = yaml.safe_load(found.lab_text(len(found.steps)))
    change(document)
    checked = check(found, Laboratory(found, parse_lab(yaml.safe_dump(document), "lab.yaml")), {})
    assert [mark.name for mark in checked.marks] == [each.name for each in found.asked]
    assert not checked.ok


def test_figures_follow_the_version_of_the_fabric():
    """Over IPv6 an outer header is 20 bytes longer."""
    document = yaml.safe_load(lesson(5).lab_text())
    over_ipv6(document)
    laboratory = Laboratory(lesson(5), parse_lab(yaml.safe_dump(document), "lab.yaml"))
    answers = {each.name: laboratory.ask(each.answer).value for each in lesson(5).questions}
    assert (answers["told"], answers["segment"], answers["fabric"]) == (1393, 1353, 1607)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"count": 30_000}, "sends 30,000 packets"),
        ({"kind": "bulk", "bytes": "1GB"}, "packets, and a lesson's at most 20,000"),
        ({"kind": "fragments", "shapes": ["v4-first"] * 3, "count": 9_000}, "sends 27,000 packets"),
    ],
)
def test_a_lab_of_another_size_is_not_run(change, said):
    """Whatever its packets are."""
    document = yaml.safe_load(lesson(1).lab_text())
    (item,) = document["traffic"]
    document["traffic"] = [{key: item[key] for key in ("name", "kind", "from", "to")} | change]
    with pytest.raises(TooLargeError, match=said):
        LabRun(parse_lab(yaml.safe_dump(document), "lab.yaml"))


def test_a_lab_with_no_end_is_given_up(monkeypatch):
    """After so many events of its clock."""
    monkeypatch.setattr("dtls_emu.teach.lessons.lab_run.MAX_STEPS", 3)
    with pytest.raises(TooLargeError, match="not done after 3 events"):
        _ = LabRun(lesson(1).lab()).outcome


def test_many_machines_are_no_lessons():
    """A student's lab may not be a data centre."""
    document = yaml.safe_load(lesson(1).lab_text())
    document["hosts"] = {f"host-{n}": {"underlay": f"192.0.2.{n}"} for n in range(1, 40)}
    with pytest.raises(TooLargeError, match="39 hosts and 2 VMs"):
        LabRun(parse_lab(yaml.safe_dump(document), "lab.yaml"))
