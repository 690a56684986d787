"""The soak finds what it is there to find, and a short one finds nothing."""

from __future__ import annotations

import copy
import sys
import threading
from pathlib import Path
from typing import Any

import pytest


sys.path.append(str(Path(__file__).parents[2] / "bench"))

import soak as soaking
from soak import Card, Report, Worker, leaks, print_report, soak, wrong_books

from dtls_emu.deploy.namespaces import set_link_up


BALANCED = {
    "host": "host-1",
    "card": {
        "egress": {
            "offered": 10,
            "encrypted": 5,
            "clear": 1,
            "local": 1,
            "gateway": 0,
            "waiting": 0,
            "answered": 2,
            "dropped": {"too_big": 3},
        },
        "ingress": {"received": 9, "delivered": 6, "control": 2, "dropped": {"replayed": 1}},
        "tunnels": {"host-2": {"link": {"balanced": True}}, "host-3": {"link": None}},
    },
    "devices": {"vm-a": {"balanced": True, "received": 10, "offered": 9}},
    "fabric": {"balanced": True},
}


def test_books_that_balance_are_no_failure():
    """From the VM's device to the fabric and back."""
    assert wrong_books(BALANCED) == []


@pytest.mark.parametrize(
    ("path", "value", "books"),
    [
        (("card", "egress", "clear"), 0, ["egress"]),
        (("card", "ingress", "control"), 3, ["ingress"]),
        (("card", "tunnels", "host-2", "link", "balanced"), False, ["links"]),
        (("fabric", "balanced"), False, ["fabric"]),
        (("devices", "vm-a", "balanced"), False, ["devices"]),
        (("devices", "vm-a", "received"), 11, ["from VMs"]),
        (("devices", "vm-a", "offered"), 8, ["to VMs"]),
    ],
)
def test_a_packet_that_is_nowhere_is_found(path, value, books):
    """And in which book."""
    report = copy.deepcopy(BALANCED)
    place: Any = report
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert wrong_books(report) == [f"host-1: the books of {name} are wrong" for name in books]


def test_what_a_card_did_not_let_go_is_found():
    """One descriptor, or memory beyond what any program gathers."""
    report = Report(before={host: Card(14, 100) for host in soaking.HOSTS})
    report.after = {"host-1": Card(13, 100), "host-2": Card(15, 100 + soaking.MEMORY_GROWTH)}
    assert leaks(report) == []
    report.after = {"host-1": Card(14, 100), "host-2": Card(15, 101 + soaking.MEMORY_GROWTH)}
    assert leaks(report) == [
        "28 descriptors became 29",
        f"host-2: 100 bytes of memory became {101 + soaking.MEMORY_GROWTH}",
    ]


def test_the_error_of_a_thread_is_not_lost():
    """It is raised where the thread is joined."""

    def fail(_stopping):
        raise ValueError("in a thread")

    with pytest.raises(ValueError, match="in a thread"):
        Worker(fail, threading.Event()).join()


@pytest.mark.root
def test_traffic_resumes_nothing_leaks_and_all_is_accounted_for(monkeypatch, capsys):
    """Every disturbance once, under load, with every control socket hammered; then a clean stretch."""
    monkeypatch.setattr(soaking, "CALM", 0.5)
    monkeypatch.setattr(soaking, "CLEAN", 1.0)
    report = soak(0.0, seed=1)
    print_report(report)
    print(capsys.readouterr().out)  # shown when something below fails
    assert report.failures == []
    assert report.disturbances == dict.fromkeys(soaking.DISTURBANCES, 1)
    assert report.requests > 0
    assert report.transferred > 0
    assert report.clean["received"] == report.clean["sent"] > 0


@pytest.mark.root
def test_traffic_that_does_not_resume_is_found(monkeypatch):
    """A cable that stays out."""

    def cut(*place, up):
        if not up:
            set_link_up(*place, up=False)
            monkeypatch.setattr(soaking, "RESUMED_IN", 2.0)  # only now: at first everything must flow

    monkeypatch.setattr(soaking, "set_link_up", cut)
    monkeypatch.setattr(soaking, "CALM", 0.0)
    monkeypatch.setattr(soaking, "SETTLED_IN", 0.0)
    monkeypatch.setattr(soaking, "CLEAN", 0.0)
    monkeypatch.setattr(soaking, "DISTURBANCES", {"cable out": soaking.pull_near})
    failures = soak(0.0).failures
    assert "cable out: nothing arrived within 2 seconds: vm-a to vm-b, vm-b to vm-a, TCP" in failures
