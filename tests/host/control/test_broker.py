"""The broker: fresh keys for each session, the responder first, and nothing kept."""

import base64
import itertools
from pathlib import Path

import pytest

from dtls_emu.assembly.broker_keys import issue_session_keys
from dtls_emu.host.control import broker
from dtls_emu.host.control.broker import serve_keys
from dtls_emu.host.control.client import ControlError
from dtls_emu.tunnel.session_keys import SESSION_KEY_BYTES


SOCKETS = {"h1": Path("h1.sock"), "h2": Path("h2.sock")}


@pytest.fixture
def hosts(monkeypatch):
    """Hosts that answer from a script; what they were asked, in order."""

    class Hosts:
        def __init__(self):
            self.wanted, self.asked, self.silent = {}, [], set()

        def ask(self, path, command, **arguments):
            if path.stem in self.silent:
                raise ControlError(f"{path}: nobody answers")
            if command == "keys-wanted":
                return {"requests": self.wanted.pop(path.stem, [])}
            self.asked.append((path.stem, command, arguments))
            return {}

    hosts = Hosts()
    monkeypatch.setattr(broker, "ask", hosts.ask)
    return hosts


def rounds(number):
    left = iter(range(number))
    return lambda: next(left, None) is None


def test_both_ends_get_the_same_keys_the_responder_first(hosts):
    """The initiator sends at once."""
    hosts.wanted["h2"] = [{"peer": "h1", "port": 49_152}]
    assert serve_keys(SOCKETS, rounds(2), sleep=lambda _: None) == 1
    (first, _, one), (second, _, other) = hosts.asked
    assert (first, second) == ("h1", "h2")
    assert one["material"] == other["material"]
    assert len(base64.b64decode(one["material"])) == SESSION_KEY_BYTES
    assert (one["peer"], other["peer"]) == ("h2", "h1")
    assert {(each["initiator"], each["port"]) for each in (one, other)} == {("h2", 49_152)}


def test_no_two_sessions_share_keys(hosts):
    """One-time keys."""
    hosts.wanted["h1"] = [{"peer": "h2", "port": port} for port in range(50_000, 50_010)]
    assert serve_keys(SOCKETS, rounds(1), sleep=lambda _: None) == 10
    assert len({arguments["material"] for _, _, arguments in hosts.asked}) == 10


def test_a_host_that_is_gone_costs_only_its_own_sessions(hosts):
    """The others go on, and the initiator is not given keys that its peer does not have."""
    hosts.silent.add("h2")
    hosts.wanted["h1"] = [{"peer": "h2", "port": 1}, {"peer": "nobody", "port": 2}]
    assert serve_keys(SOCKETS, rounds(3), sleep=lambda _: None) == 0
    assert hosts.asked == []


def test_a_session_whose_peer_is_being_restarted_gets_its_keys_when_that_is_back(hosts):
    """The initiator asks once, and waits: it would lose all that it has to send until it gives up."""
    now = itertools.count()
    hosts.silent.add("h2")
    hosts.wanted["h1"] = [{"peer": "h2", "port": 50_000}]

    def back_in_the_third_round(_):
        if len(hosts.slept) == 2:
            hosts.silent.clear()
        hosts.slept.append(None)

    hosts.slept = []
    assert serve_keys(SOCKETS, rounds(6), sleep=back_in_the_third_round, clock=lambda: float(next(now))) == 1
    assert [host for host, _, _ in hosts.asked] == ["h2", "h1"]


def test_no_keys_are_handed_out_for_a_request_that_its_host_has_given_up(hosts):
    """It has closed that port."""
    now = itertools.count(step=10)
    hosts.silent.add("h2")
    hosts.wanted["h1"] = [{"peer": "h2", "port": 50_000}]

    def back_after_half_a_minute(_):
        hosts.slept += 10
        if hosts.slept == 30:
            hosts.silent.clear()

    hosts.slept = 0
    assert serve_keys(SOCKETS, rounds(6), sleep=back_after_half_a_minute, clock=lambda: float(next(now))) == 0
    assert hosts.asked == []


def test_the_two_copies_are_overwritten_one_by_one():
    """Each end wipes its own."""
    responder, initiator = issue_session_keys("h1", 49_152)
    assert responder.material == initiator.material
    assert responder.material is not initiator.material
    assert "material" not in repr(responder)
