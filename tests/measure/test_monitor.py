"""A connection monitor: what happens to probes before, during and after a change, and a plot of it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from dtls_emu.lab import load_lab
from dtls_emu.measure.monitor import Change, MonitorError, monitor
from dtls_emu.measure.monitor_plot import monitor_svg


def lab():
    """The shipped one, with VMs whose traffic is encrypted as soon as their network is."""
    shipped = load_lab("two-vms")
    return shipped.model_copy(
        update={"overrides": shipped.overrides.model_copy(update={"restart_required": False})}
    )


@pytest.fixture(scope="module")
def watched():
    """Two pairs of two-vms: encryption off, on, and a card that starts anew; VMs need no restart in between."""
    changes = [
        Change(3.0, "restart", ("host-2",)),
        Change(1.0, "prod", ("encryption.enabled=false",)),
        Change(2.0, "prod", ("encryption.enabled=true",)),
    ]
    pairs = [("vm-a", "vm-b"), ("vm-b", "vm-a")]
    return monitor(lab(), pairs, every=0.1, duration=4.0, changes=changes)


def test_each_change_begins_a_phase(watched):
    """In the order of their times, for each pair; every probe is in one."""
    phases = watched.phases()
    assert [each.label for each in phases[:4]] == [
        "before",
        "prod encryption.enabled=false",
        "prod encryption.enabled=true",
        "restart host-2",
    ]
    assert [(each.begin, each.end, each.sent) for each in phases[:4]] == [
        (0.0, 1.0, 10),
        (1.0, 2.0, 10),
        (2.0, 3.0, 10),
        (3.0, 4.0, 11),
    ]
    assert sum(each.sent for each in phases) == len(watched.probes) == 82
    assert {(each.source, each.destination) for each in phases[4:]} == {("vm-b", "vm-a")}


def test_how_probes_left_is_what_the_cards_say(watched):
    """Encrypted, then in clear, then encrypted again; and what a restart costs is seen."""
    before, off, on, restarted = watched.phases()[:4]
    assert (before.how, off.how, on.how) == ({"encrypted": 10}, {"clear": 10}, {"encrypted": 10})
    assert before.answered == off.answered == on.answered == 10
    assert before.median == pytest.approx(0.0001, rel=0.5)  # twice the lab's delay
    assert before.slowest > before.median  # the first waits for the handshake
    assert restarted.answered < restarted.sent
    assert 0 < restarted.longest_gap < 1.0


def test_the_same_seed_is_the_same_again(watched):
    """Probe by probe."""
    settings = {"every": 0.1, "duration": 4.0, "changes": watched.changes}
    again = monitor(lab(), [("vm-a", "vm-b"), ("vm-b", "vm-a")], **settings)
    assert again.as_dict() == watched.as_dict()


def test_the_plot_shows_every_probe_and_change(watched):
    """As one XML document, with a panel for each pair, light and dark."""
    text = monitor_svg(watched)
    root = ET.fromstring(text)
    tags = [each.tag.rpartition("}")[2] for each in root.iter()]
    lost = sum(each.round_trip is None for each in watched.probes)
    assert tags.count("circle") == len(watched.probes) - lost
    assert tags.count("rect") == lost > 0
    assert text.count('class="change"') == 6
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pairs": [("vm-a", "vm-x")]}, "no VM is called vm-x"),
        ({"every": 1e-9}, "at most 100,000 are sent"),
        ({"every": 0.0}, "0 probes"),
        ({"changes": [Change(9.0, "restart", ("host-1",))]}, "comes after the end"),
    ],
)
def test_what_cannot_be_monitored_is_refused(settings, said):
    """Before anything is sent."""
    given = {"pairs": [("vm-a", "vm-b")], "every": 0.5, "duration": 1.0} | settings
    with pytest.raises(MonitorError, match=said):
        monitor(load_lab("two-vms"), given.pop("pairs"), **given)
