"""A whole run: every peer up at once, looked at, measured by plan, looked at again, taken down.

An idle tunnel uses no CPU worth mentioning, so all of them can be up while one is measured, and what is compared
is measured side by side.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.machine.environment import environment
from side_by_side.errors import PeerError
from side_by_side.iperf import version
from side_by_side.metrics import Probe, expected_seconds
from side_by_side.packages import install
from side_by_side.peer import INSIDE_MTU, TUN_QUEUE, check_inside
from side_by_side.plan import AGAIN, schedule
from side_by_side.result import End, Interval, PeerState, Result, Start, now, summarise


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from side_by_side.peer import Peer, Tunnel
    from side_by_side.plan import Plan


__all__ = ["Comparison"]

ATTEMPTS: Final = 2
"""To bring a peer up: on a busy machine its handshake may run into a timeout of its own."""

FAILURES: Final = 3
"""Measurements of one peer that may fail before it is left out: each costs the time of a timeout."""


@dataclass(slots=True)
class Runner:
    """A peer in this run, and what became of it."""

    peer: Peer
    version: str | None = None
    tunnel: Tunnel | None = None
    probe: Probe | None = None
    missing: str = ""
    degraded: str = ""
    gave_up: str = ""

    def state(self) -> PeerState:
        """As the result file has it."""
        return PeerState(
            name=self.peer.name,
            version=self.version,
            cipher=self.tunnel.cipher if self.tunnel else None,
            missing=self.missing,
            degraded=self.degraded,
            gave_up=self.gave_up,
        )


class Comparison:
    """One run. What it has found so far is there at any time, also when it is interrupted."""

    def __init__(self, peers: Sequence[Peer], plan: Plan, say: Callable[[str], None]) -> None:
        """``say`` is told of progress, a line at a time."""
        self._runners = {peer.name: Runner(peer) for peer in peers}
        self._plan, self._say = plan, say
        self._failures: Counter[str] = Counter()
        self._intervals: list[Interval] = []
        self._start: Start | None = None

    def bring_up(self, work: Path, stack: ExitStack) -> None:
        """Bring up every peer that can be; the others are noted with the reason.

        Args:
            work: for each peer a folder is made in it.
            stack: closing it takes down what was brought up.
        """
        for runner in self._runners.values():
            self._say(f"bringing up {runner.peer.name}")
            for attempt in range(1, ATTEMPTS + 1):
                folder = work / f"{runner.peer.name}-{attempt}"
                folder.mkdir(parents=True)
                try:
                    self._bring_up(runner, folder, stack)
                except PeerError as error:
                    runner.missing = str(error)
                else:
                    runner.missing = ""
                    break
                if runner.version is None:
                    break
            if runner.missing:
                self._say(f"not measured: {runner.peer.name}: {runner.missing}")

    def measure(self, references: Sequence[str]) -> None:
        """Measure all that is up, by plan, and look again at what was measured.

        Args:
            references: names; the first that is up is the one that the others are compared with.

        Raises:
            PeerError: none of them is up.
        """
        up = {name: runner.probe for name, runner in self._runners.items() if runner.probe}
        reference = next((name for name in references if name in up), None)
        if reference is None:
            raise PeerError(f"nothing to compare with: none of {', '.join(references)} is up")
        self._start = Start(
            started=now(),
            plan=self._plan,
            reference=reference,
            inside_mtu=INSIDE_MTU,
            tun_queue=TUN_QUEUE,
            iperf3=version(),
            load_average=os.getloadavg()[0],
            environment=environment(),
        )
        steps = list(schedule(self._plan, [*up, reference + AGAIN]))
        self._say(f"measuring: about {expected_seconds(self._plan) * (len(up) + 1) / 60:.0f} minutes")
        for place, step in enumerate(steps, 1):
            name = step.arm.removesuffix(AGAIN)
            if not self._runners[name].gave_up:
                interval = self._measure(up[name], step.round, step.metric, step.arm)
                self._intervals.append(interval)
                self._say(f"{place * 100 // len(steps):3d} %  {_line(interval)}")
        for name in up:
            self._look_again(self._runners[name])

    def result(self, *, interrupted: bool) -> Result | None:
        """What was found; None when nothing was."""
        if self._start is None or not self._intervals:
            return None
        end = End(
            finished=now(),
            stopped="interrupted" if interrupted else "complete",
            load_average=os.getloadavg()[0],
            peers=[runner.state() for runner in self._runners.values()],
            summary=summarise(self._intervals, self._start.reference),
        )
        return Result(start=self._start, intervals=self._intervals, end=end)

    def _bring_up(self, runner: Runner, folder: Path, stack: ExitStack) -> None:
        install(runner.peer.packages, self._say)
        runner.version = runner.peer.version()
        with ExitStack() as attempt:
            tunnel = attempt.enter_context(runner.peer.up(folder))
            check_inside(tunnel)
            runner.degraded = tunnel.flaw()
            probe = Probe(tunnel, folder, self._plan)
            probe.warm_up()
            runner.tunnel, runner.probe = tunnel, probe
            stack.push(attempt.pop_all())

    def _measure(self, probe: Probe, number: int, metric: str, arm: str) -> Interval:
        try:
            return Interval(round=number, metric=metric, arm=arm, figures=probe.measure(metric))
        except PeerError as error:
            name = arm.removesuffix(AGAIN)
            self._failures[name] += 1
            if self._failures[name] >= FAILURES:
                self._runners[name].gave_up = f"left out in round {number + 1}, after {FAILURES} failures"
            return Interval(round=number, metric=metric, arm=arm, figures={}, error=str(error))

    def _look_again(self, runner: Runner) -> None:
        """A tunnel that fell back to something else meanwhile was not measured as what it is called."""
        assert runner.tunnel is not None
        try:
            flaw = runner.tunnel.flaw()
        except PeerError as error:
            flaw = str(error)
        if flaw and not runner.degraded:
            runner.degraded = f"after the run: {flaw}"


def _line(interval: Interval) -> str:
    figures = ", ".join(f"{key} {value:.4g}" for key, value in interval.figures.items())
    return f"round {interval.round + 1}, {interval.metric}, {interval.arm}: {interval.error or figures}"
