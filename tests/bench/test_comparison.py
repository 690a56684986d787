"""A whole run with peers that only pretend: who is measured, who is left out, and what is said of it."""

from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from side_by_side import comparison
from side_by_side.comparison import ATTEMPTS, FAILURES, Comparison
from side_by_side.errors import PeerError
from side_by_side.peer import Tunnel
from side_by_side.plan import AGAIN, Plan


class Pretender:
    """A peer that fails and degrades as it is told."""

    packages = ()

    def __init__(
        self,
        name,
        *,
        rate=1.0,
        bad_starts=0,
        installed=True,
        bad_trials=0,
        interrupts_after=99,
        flaws=("", ""),
    ):
        self.name, self.rate, self.bad_starts, self.bad_trials = name, rate, bad_starts, bad_trials
        self.installed, self.interrupts_after, self.flaws = installed, interrupts_after, iter(flaws)
        self.starts = self.trials = 0
        self.is_up = False

    def version(self):
        if not self.installed:
            raise PeerError(f"{self.name} is not installed")
        return f"{self.name} 1.0"

    @contextmanager
    def up(self, work):
        assert not list(work.iterdir())
        self.starts += 1
        if self.starts <= self.bad_starts:
            raise PeerError("handshake timed out")
        self.is_up = True
        try:
            place: Any = self
            yield Tunnel(place, place, "10.0.0.1", "10.0.0.2", "AES-256-GCM", lambda: next(self.flaws))
        finally:
            self.is_up = False


class FakeProbe:
    """Measures a pretender."""

    def __init__(self, tunnel, work, plan):
        self.peer = tunnel.client

    def warm_up(self):
        pass

    def measure(self, metric):
        assert self.peer.is_up
        self.peer.trials += 1
        if self.peer.trials <= self.peer.bad_trials:
            raise PeerError("iperf3: no byte arrived")
        if self.peer.trials > self.peer.interrupts_after:
            raise KeyboardInterrupt
        return {"gbit_per_s": self.peer.rate}


@pytest.fixture
def compared(monkeypatch, tmp_path):
    monkeypatch.setattr(comparison, "Probe", FakeProbe)
    monkeypatch.setattr(comparison, "check_inside", bool)
    monkeypatch.setattr(comparison, "version", lambda: "iperf 3.12")
    monkeypatch.setattr(comparison, "environment", lambda: {"cpu": {"usable_cores": 2}})

    def compare(*peers, rounds=3, references=("dtls-emu", "openvpn")):
        run = Comparison(peers, Plan(rounds, 1.0, ("tcp-1",), "cubic", 1), lambda _line: None)
        interrupted = False
        try:
            with ExitStack() as stack:
                run.bring_up(tmp_path, stack)
                run.measure(references)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            assert not any(peer.is_up for peer in peers)
        return run.result(interrupted=interrupted)

    return compare


def _state(result, name):
    return next(state for state in result.end.peers if state.name == name)


def _values(result, arm):
    return [interval.figures.get("gbit_per_s") for interval in result.intervals if interval.arm == arm]


def test_every_peer_is_measured_in_every_round_and_the_reference_twice(compared):
    """The first reference that is up is the one."""
    result = compared(Pretender("openvpn"), Pretender("dtls-emu", rate=6.0))
    assert result.start.reference == "dtls-emu"
    assert _values(result, "openvpn") == [1.0] * 3
    assert _values(result, "dtls-emu") == _values(result, "dtls-emu" + AGAIN) == [6.0] * 3
    ratios = {summary.arm: summary.ratio for summary in result.end.summary}
    assert ratios["openvpn"].value == 6.0


def test_a_peer_that_is_not_installed_is_named_and_the_others_go_on(compared):
    """It is not tried a second time."""
    absent = Pretender("dtls-emu", installed=False)
    result = compared(Pretender("openvpn"), absent)
    assert result.start.reference == "openvpn"
    state = _state(result, "dtls-emu")
    assert (state.missing, state.cipher) == ("dtls-emu is not installed", None)
    assert absent.starts == 0


def test_a_peer_that_does_not_start_gets_a_second_attempt(compared):
    """And no third."""
    slow, broken = Pretender("ocserv", bad_starts=1), Pretender("openvpn", bad_starts=9)
    result = compared(slow, broken, references=("ocserv",))
    assert _state(result, "ocserv").missing == ""
    assert _state(result, "openvpn").missing == "handshake timed out"
    assert (slow.starts, broken.starts) == (2, ATTEMPTS)


def test_a_failed_trial_is_kept_with_its_reason(compared):
    """It costs one round, not the run."""
    result = compared(Pretender("openvpn"), Pretender("ocserv", bad_trials=1))
    assert _values(result, "ocserv") == [None, 1.0, 1.0]
    assert [interval.error for interval in result.intervals if interval.error] == ["iperf3: no byte arrived"]
    assert not _state(result, "ocserv").gave_up


def test_a_peer_that_fails_again_and_again_is_left_out(compared):
    """Each failure may take as long as a timeout."""
    dead = Pretender("ocserv", bad_trials=99)
    result = compared(Pretender("openvpn"), dead, rounds=6)
    assert dead.trials == FAILURES
    assert _state(result, "ocserv").gave_up == f"left out in round {FAILURES}, after {FAILURES} failures"
    assert len(_values(result, "openvpn")) == 6


def test_what_a_tunnel_fell_back_to_meanwhile_is_noticed(compared):
    """It is looked at before the first trial and after the last."""
    result = compared(
        Pretender("openvpn", flaws=("", "TLS over TCP")), Pretender("ocserv", flaws=("CBC", "CBC"))
    )
    assert _state(result, "openvpn").degraded == "after the run: TLS over TCP"
    assert _state(result, "ocserv").degraded == "CBC"


def test_without_a_reference_there_is_no_comparison(compared):
    """And everything is taken down again."""
    with pytest.raises(PeerError, match="none of dtls-emu, openvpn is up"):
        compared(Pretender("veth"))


def test_an_interrupted_run_keeps_what_it_has(compared):
    """The figures until then; it says that it is not complete, and everything is taken down."""
    result = compared(Pretender("openvpn", interrupts_after=3))
    assert _values(result, "openvpn") + _values(result, "openvpn" + AGAIN) == [1.0] * 3
    assert result.end.stopped == "interrupted"


def test_nothing_measured_is_no_result():
    """Not an empty file."""
    assert (
        Comparison([], Plan(1, 1.0, ("ping",), "cubic", 1), lambda _line: None).result(interrupted=True)
        is None
    )
