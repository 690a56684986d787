"""What runs have left, and what running hosts tell, comes with what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dtls_emu import paths
from dtls_emu.deploy import health
from dtls_emu.deploy.queries import RunCondition, RunSummary
from dtls_emu.errors import DtlsEmuError, RunError
from dtls_emu.host.control.client import ControlError
from dtls_emu.machine.probe import Offer, OfferState


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        (
            RunSummary("demo", RunCondition.DEAD, ("4 namespaces", "2 cards")),
            ("run demo: 4 namespaces, 2 cards", "dtls-emu down demo"),
        ),
        (
            RunSummary("demo", RunCondition.UNREADABLE, ("demo/state.json: no",)),
            ("run demo: demo/state.json: no", "dtls-emu down demo"),
        ),
        (
            RunSummary("demo", RunCondition.IMPAIRED, (), ("host-2",)),
            ("run demo: cards have ended: host-2", "dtls-emu restart --run demo host-2"),
        ),
    ],
)
def test_what_runs_have_left_comes_with_the_command_that_helps(monkeypatch, summary, expected):
    """A run that is up, or being made, is none of them."""
    others = [RunSummary("well", RunCondition.UP), RunSummary("coming", RunCondition.BUSY)]
    monkeypatch.setattr(health, "summaries", lambda: [summary, *others])
    monkeypatch.setattr(health, "hosts_by_hand", list)
    (offer,) = health.leftovers()
    assert (offer.state, offer.reason, offer.remedy) == (OfferState.LIMITED, *expected)
    monkeypatch.setattr(health, "summaries", lambda: others)
    assert health.leftovers() == [Offer("no leftovers", OfferState.YES, "up: well, coming")]


def test_a_card_that_has_ended_is_named_by_its_socket_and_what_helps(monkeypatch, tmp_path):
    """With others that run, it is started anew; alone, the run is cleared up."""
    found = [
        RunSummary("half", RunCondition.IMPAIRED, (), ("h2",)),
        RunSummary("gone", RunCondition.DEAD, (), ("h1",)),
        RunSummary("well", RunCondition.UP),
    ]
    monkeypatch.setattr(health, "summaries", lambda: found)
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr(paths, "is_root", lambda: True)
    half = {
        f"{tmp_path}/half/h2.sock": "the card of h2 has ended; `sudo dtls-emu restart --run half h2` starts it anew"
    }
    gone = {
        f"{tmp_path}/gone/h1.sock": "the card of h1 has ended; all of gone have: `sudo dtls-emu down gone` clears up"
    }
    assert health.stopped_cards() == half | gone
    assert health.stopped_cards("half") == half


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([], "started by hand: /run/dtls-emu/mine/h1.sock"),
        ([RunSummary("well", RunCondition.UP)], "up: well; started by hand: /run/dtls-emu/mine/h1.sock"),
    ],
)
def test_a_host_that_was_started_by_hand_is_not_left_over(monkeypatch, runs, said):
    """It is said where it is."""
    monkeypatch.setattr(health, "summaries", lambda: runs)
    monkeypatch.setattr(health, "hosts_by_hand", lambda: [Path("/run/dtls-emu/mine/h1.sock")])
    assert health.leftovers() == [Offer("no leftovers", OfferState.YES, said)]


def test_what_runs_have_left_may_not_be_seen_without_root(monkeypatch):
    """Their folder is root's."""

    def refuse():
        raise RunError("/run/dtls-emu: Permission denied; it needs root")

    monkeypatch.setattr(health, "summaries", refuse)
    (offer,) = health.leftovers()
    assert (offer.state, offer.remedy) == (OfferState.LIMITED, "run as root")


def test_what_running_hosts_want_somebody_to_know_is_said(monkeypatch):
    """With what to do; a host that is silent is no reason to fail, nor one of an older version."""
    hint = {"about": "h2", "what": "the path carries 1300", "remedy": "raise it"}
    reports: dict[str, Any] = {
        "a.sock": {"host": "h1", "hints": [hint]},
        "b.sock": {"host": "h2"},
        "c.sock": None,
    }

    def ask(socket, command, *, timeout):
        assert command == "status"
        assert 0 < timeout <= 5
        if reports[socket] is None:
            raise ControlError("silent")
        return reports[socket]

    monkeypatch.setattr(health, "control_sockets", lambda: list(reports))
    monkeypatch.setattr(health, "ask", ask)
    expected = Offer("running hosts", OfferState.LIMITED, "h1, h2: the path carries 1300", "raise it")
    assert health.hints() == [expected]
    reports["a.sock"]["hints"] = []
    assert [offer.state for offer in health.hints()] == [OfferState.YES]


def test_without_a_place_for_sockets_no_running_host_is_found(monkeypatch):
    """As for a user without a session; it is said, and no probe fails."""

    def refuse():
        raise DtlsEmuError("XDG_RUNTIME_DIR is not set")

    monkeypatch.setattr(health, "control_sockets", refuse)
    (offer,) = health.hints()
    assert (offer.state, offer.reason) == (OfferState.LIMITED, "not looked: XDG_RUNTIME_DIR is not set")
