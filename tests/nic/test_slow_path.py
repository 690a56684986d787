"""The slow path keeps decisions for as long as they hold: counts of what is decided, no clocks."""

from collections import Counter
from dataclasses import replace

import pytest

from dtls_emu.nic import slow_path
from dtls_emu.testing.packets import udp


@pytest.fixture
def wire(make_wire):
    wire = make_wire()
    wire.send("a", udp())
    return wire


@pytest.fixture
def decided(wire, monkeypatch):
    """How often the policy was asked, by host and direction."""
    counts = Counter[tuple[str, str]]()

    def counted(host, name, real):
        def count(*args):
            counts[host, name] += 1
            return real(*args)

        return count

    for host, card in wire.cards.items():
        path = card._slow_path
        for name in ("decide_egress", "decide_ingress"):
            monkeypatch.setattr(path, name, counted(host, name, getattr(path, name)))
    return counts


def test_flows_between_the_same_addresses_are_decided_once(wire, decided):
    """On either card; each has an entry of its own, which shares the decision."""
    for port in range(1000, 1100):
        wire.send("a", udp(sport=port))
    assert decided == {}
    out, into = wire.cards["h1"].egress.flows, wire.cards["h2"].ingress.flows
    assert len(out) == len(into) == 101
    assert len({id(each.flow) for each in out}) == len({id(each.flow) for each in into}) == 1


def test_another_address_is_decided_by_itself(wire, decided):
    """Also one that leads nowhere."""
    wire.send("a", udp(destination="10.0.0.77"))
    assert decided == {("h1", "decide_egress"): 1}


def test_nothing_is_kept_when_policy_links_or_tunnels_have_changed(wire, decided):
    """The next packet of every flow is decided anew, and that decision is kept again."""
    wire.cards["h1"].revalidate()
    for port in range(1000, 1010):
        wire.send("a", udp(sport=port))
    assert decided == {("h1", "decide_egress"): 1}


def test_a_decision_that_is_to_be_made_again_is_not_kept(wire, monkeypatch):
    """One for want of a tunnel holds for a second."""
    path = wire.cards["h1"]._slow_path
    asked = []

    def fall_back(vm, key, now, real=path.decide_egress):
        asked.append(key.source_port)
        return replace(real(vm, key, now), expires_at=now + 1.0)

    monkeypatch.setattr(path, "decide_egress", fall_back)
    wire.cards["h1"].revalidate()
    for port in (1001, 1002, 1003):
        wire.send("a", udp(sport=port))
    assert asked == [1001, 1002, 1003]


def test_a_scan_of_addresses_cannot_fill_the_memory(wire, monkeypatch):
    """What is kept is bounded."""
    monkeypatch.setattr(slow_path, "_MOST_KEPT", 8)
    for number in range(100):
        wire.send("a", udp(destination=f"8.8.8.{number}"))
    assert len(wire.cards["h1"]._slow_path._kept_out) <= 8
