"""Loops that wait end by themselves, and say what did not happen."""

import itertools
import subprocess
import sys
from types import SimpleNamespace

import pytest

from dtls_emu.testing.present import present
from dtls_emu.testing.waiting import await_line, eventually, killed_after, rounds


SLEEPER = "import time; print('awake', flush=True); time.sleep(600)"


@pytest.fixture
def clock(monkeypatch):
    """A virtual clock in the place of the machine's; each look at it moves it by a second."""
    now = itertools.count(100.0)
    slept: list[float] = []
    double = SimpleNamespace(monotonic=lambda: next(now), sleep=slept.append)
    monkeypatch.setattr("dtls_emu.testing.waiting.time", double)
    return slept


def test_the_answer_is_returned_when_it_is_true(clock):
    """It is asked for again after a pause, until then."""
    answers = iter([0, None, "", "here"])
    assert eventually(lambda: next(answers), "something is here") == "here"
    assert len(clock) == 3


def test_what_did_not_happen_is_said(clock):
    """With the time that it was given."""
    with pytest.raises(AssertionError, match=r"^not within 5 s: the card has ended$"):
        eventually(lambda: False, "the card has ended", seconds=5)
    assert len(clock) == 4


def test_it_is_asked_once_more_after_the_end(clock):
    """Who was stalled himself does not blame others."""
    asked = []
    with pytest.raises(AssertionError):
        eventually(lambda: asked.append(len(asked)), "nothing", seconds=-1)
    assert (asked, clock) == ([0], [])


def test_rounds_are_counted_and_end():
    """A loop that leaves by itself sees numbers."""
    assert list(itertools.islice(rounds(5, "never"), 3)) == [0, 1, 2]
    with pytest.raises(AssertionError, match=r"^not within 2 rounds: the wire is silent$"):
        list(rounds(2, "the wire is silent"))


def start(program):
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_a_line_is_awaited_and_what_comes_before_it_is_passed_over():
    """The process goes on."""
    with start("print('one'); print('it is ready'); input()") as process:
        assert await_line(process, process.stdout, "ready") == "it is ready\n"
        process.kill()


def test_a_process_that_ends_without_the_line_is_quoted():
    """So that the reason is seen."""
    with start("print('no such device')") as process, pytest.raises(AssertionError, match="no such device"):
        await_line(process, process.stdout, "ready")


def test_a_process_that_is_silent_for_too_long_is_killed():
    """And reading from it ends."""
    with start(SLEEPER) as process:
        await_line(process, process.stdout, "awake")
        with pytest.raises(AssertionError, match=r"killed after 0\.1 s, without 'ready'; said: \[\]"):
            await_line(process, process.stdout, "ready", seconds=0.1)
        assert process.wait() < 0
    with start(SLEEPER) as process, killed_after(process, seconds=0.1):
        assert present(process.stdout).read() in {"", "awake\n"}


def test_none_is_no_value_and_everything_else_is():
    """Nothing that is merely false is refused."""
    assert [present(each) for each in (0, "", False)] == [0, "", False]
    with pytest.raises(AssertionError, match="None, where there must be something"):
        present(None)
