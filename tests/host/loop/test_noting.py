"""What who observes a host is told of packets that compiled code has carried: the same as if Python had."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from dtls_emu.events import Delivered, Offered, Opened, Sealed, name_of, observer_of
from dtls_emu.host.loop.noting import TELL_SECONDS
from dtls_emu.testing.rig import Rig, ping, super_packet, warmed


class Witness:
    """Observes both hosts of a rig; what could not be told is counted by name."""

    def __init__(self, rig, *, wants_bytes=False):
        self.events: list[Any] = []
        self.left_out: Counter[str] = Counter()
        observer = observer_of(self.events.append, wants_bytes=wants_bytes)
        for agent in rig.agents.values():
            agent.observe(observer, lambda name, count: self.left_out.update({name: count}))

    def counts(self):
        return Counter(map(name_of, self.events)) + self.left_out


def told(rig):
    """What is told of the same packets, out and in, ports aside; and how often a card was called for them."""
    rig.warm(("a", "b"), ("b", "a"))
    witness = Witness(rig)
    rig.warm(("a", "b"), ("b", "a"))  # decided again
    for _ in range(2):
        rig.guests["a"].send(*super_packet(5))
        rig.settle()
    calls = rig.count_calls("h1")
    before = len(witness.events)
    for number in range(3):
        rig.guests["a"].send(*super_packet(5 + number))
        rig.settle()
        rig.guests["b"].send(ping("b", "a", number))
        rig.settle()
    return [_without_ports(event) for event in witness.events[before:]], calls


def _without_ports(event):
    changes: dict[str, Any] = {"association": (0, 0)} if isinstance(event, Sealed | Opened) else {}
    changes |= {"source": ("", 0), "port": 0} if name_of(event) == "received" else {}
    return replace(event, **changes)


@pytest.mark.parametrize("encrypted", [True, False])
def test_packets_that_compiled_code_carries_are_told_as_others_are(make_compiled_rig, rigs, encrypted):
    """Every event with every field, in the same order, and no call of Python carried any of them."""
    rig = make_compiled_rig(encrypted=encrypted)
    by_kernels, calls = told(rig)
    assert calls.total() == 0
    rigs.pop().close()  # both have the same addresses
    rigs.append(Rig(backend=rig.engine.backend.name, compiled=False, encrypted=encrypted))
    by_python, _ = told(rigs[-1])
    assert by_kernels == by_python
    kinds = Counter(map(name_of, by_kernels))
    assert kinds["offered"] == kinds["delivered"] == 6
    assert kinds["sealed"] == kinds["opened"] == (6 if encrypted else 0)


def test_nothing_is_left_behind_when_nobody_observes(make_compiled_rig):
    """There is no ring; who observed has been told of everything until then, and of nothing after it."""
    rig = warmed(make_compiled_rig)
    assert rig.agents["h1"].card.ring is None
    witness = Witness(rig)
    rig.warm()
    for agent in rig.agents.values():
        agent.observe(None)
    before = list(witness.events)
    rig.warm()
    assert witness.events == before
    assert rig.agents["h1"].card.ring is None


def test_who_wants_flows_only_is_told_of_packets_when_others_want_them(make_compiled_rig):
    """The ring that the loop writes to is the one that the card reads, however often they change their mind."""
    rig = make_compiled_rig()
    rig.warm()
    witness = Witness(rig)
    for wanted in (False, True, False, True):
        for agent in rig.agents.values():
            agent.tell_of_carried(wanted=wanted)
        rig.warm()
        del witness.events[:]
        rig.guests["a"].send(ping("a", "b"))
        rig.settle()
        assert len(rig.guests["b"].received()) == 1
        assert [name_of(event) for event in witness.events][:1] == (["offered"] if wanted else [])


def test_more_than_can_be_told_is_counted(make_compiled_rig, monkeypatch):
    """By name: what is told and what is left out is everything, and a second later there is room again."""
    monkeypatch.setattr("dtls_emu.nic.carried._MOST_AT_ONCE", 8)
    rig = make_compiled_rig()
    rig.warm()
    witness = Witness(rig)
    rig.warm()
    before = witness.counts()
    for number in range(64):
        rig.guests["a"].send(ping("a", "b", number))
    rig.settle()
    found = witness.counts() - before
    assert {name: found[name] for name in ("offered", "classified", "forwarded", "sealed")} == {
        "offered": 64,
        "classified": 64 + found["received"],
        "forwarded": 64,
        "sealed": 64,
    }
    assert found["received"] == found["opened"] == found["delivered"] > 0
    assert witness.left_out["sealed"] >= 40
    rig.clock.now += 1
    rig.settle()
    left_out = +witness.left_out
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert witness.left_out == left_out


def test_a_sleeping_loop_wakes_up_to_tell(make_compiled_rig):
    """Within a fiftieth of a second: the timer that the kernel sets with the first record."""
    rig = make_compiled_rig()
    rig.warm()
    Witness(rig)
    rig.warm()
    card = rig.agents["h1"].card
    rig.guests["a"].send(ping("a", "b"))
    rig.agents["h1"].turn(wait=False)
    assert card.next_timeout() <= rig.clock.now + TELL_SECONDS


def test_who_wants_bytes_sees_them(make_compiled_rig):
    """Then Python carries all packets, as long as it is so: what went in, what was on the fabric, and what came out."""
    rig = make_compiled_rig()
    rig.warm()
    witness = Witness(rig, wants_bytes=True)
    rig.warm()
    del witness.events[:]
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    names = [name_of(event) for event in witness.events]
    assert names == [
        *("offered", "classified", "forwarded", "sealed", "sent"),
        *("received", "opened", "classified", "delivered"),
    ]
    offered, delivered = witness.events[0], witness.events[-1]
    assert isinstance(offered, Offered)
    assert isinstance(delivered, Delivered)
    assert offered.packets == delivered.packets == (ping("a", "b"),)
    assert witness.events[4].payload == witness.events[5].payloads[0]
    assert all(agent.shows_bytes for agent in rig.agents.values())
    rig.guests["b"].received()
    for agent in rig.agents.values():
        agent.observe(None)
    calls = rig.count_calls("h1")
    rig.guests["a"].send(ping("a", "b"))
    rig.settle()
    assert calls.total() == 0


def test_counters_of_flows_are_reported_as_they_stand(make_compiled_rig):
    """Once a second, and only of flows that went on: exact, whatever was told of their packets."""
    rig = make_compiled_rig()
    rig.warm()
    witness = Witness(rig)
    for number in range(20):
        rig.guests["a"].send(ping("a", "b", number))
    rig.settle()
    rig.pass_time(1.0, 0.5)
    reports = [event for event in witness.events if name_of(event) == "flow_continued"]
    assert [(each.host, each.packets_out, each.packets_in) for each in reports[-2:]] == [
        ("h1", 20, 0),
        ("h2", 0, 20),
    ]
    before = len(witness.events)
    rig.pass_time(1.0, 0.5)
    assert len(witness.events) == before
